"""The same small thing many times over: complete, and right, each time.

The short form is the default; GSHELL_FAULT_FULL=1 makes it 1,000 and 100 runs.
"""

from __future__ import annotations

import time

import pytest
from fault.lab import FULL, warm

from kit.procs import Env


@pytest.mark.timeout(900 if FULL else 120)
@pytest.mark.parametrize(
    ("background", "runs"),
    [(True, 1000 if FULL else 200), (False, 100 if FULL else 30)],
    ids=["background", "direct"],
)
def test_out_err_and_status_are_right_each_time(background: bool, runs: int) -> None:
    env = Env()
    try:
        env.start_agent("agent", env.start_relay())
        if background:
            warm(env)
        before = {job["id"] for job in env.jobs()}
        began = time.monotonic()
        for number in range(runs):
            done = env.gshell(
                "run", "--", "sh", "-c", "printf out; printf err >&2; exit 7", background=background
            )
            seen = (done.returncode, done.stdout, done.stderr)
            assert seen == (7, b"out", b"err"), f"run {number}\n{env.logs()}"
        print(f"{runs} runs, {(time.monotonic() - began) / runs * 1000:.1f} ms each")
        jobs = [job for job in env.jobs() if job["id"] not in before and job["state"] != "HELD"]
        assert len(jobs) == runs
        assert {(job["state"], job["code"]) for job in jobs} == {("FAILED", 7)}
    finally:
        env.close()
