"""Clocks that are wrong: who can be helped is."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from kit.procs import Env


@pytest.fixture
def env():
    if shutil.which("faketime") is None:
        pytest.skip("faketime is not installed: apt install faketime")
    one = Env()
    try:
        one.start_agent("agent", one.start_relay())
        yield one
    finally:
        one.close()


def test_a_client_goes_by_the_relays_clock_when_its_own_is_wrong(env: Env) -> None:
    done = subprocess.run(
        ["faketime", "-f", "+1h", *env.argv("run", "--", "echo", "yes")],
        env=env.client_env(background=False), stdin=subprocess.DEVNULL, capture_output=True,
        timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"yes\n"), done.stderr.decode() + env.logs()
