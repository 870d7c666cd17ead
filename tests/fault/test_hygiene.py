"""No secret of ours where others or a backup could read it, and no core dump that has them all."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault.test_blind import processes

from kit.procs import Env, below, until

SOFT = 1 << 20  # a user's limit for core dumps that nobody sets by chance


@pytest.fixture
def env() -> Iterator[Env]:
    before = resource.getrlimit(resource.RLIMIT_CORE)
    if before[1] != resource.RLIM_INFINITY and before[1] < SOFT:
        pytest.skip("no core dumps allowed here")
    resource.setrlimit(resource.RLIMIT_CORE, (SOFT, before[1]))
    made = Env()
    made.env["GSHELL_LOG"] = "debug"
    try:
        yield made
    finally:
        made.close()
        resource.setrlimit(resource.RLIMIT_CORE, before)


def core_limit(pid: int) -> str:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line.split()[4] for line in lines if line.startswith("Max core file size"))


def ours(env: Env) -> dict[int, str]:
    """Our processes that stay, by their command line."""
    found = {}
    mark = f"GSHELL_HOME={env.home}".encode()
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (path / "cmdline").read_bytes()
            if mark in (path / "environ").read_bytes().split(b"\0") and b"gshell" in line:
                found[int(path.name)] = line.replace(b"\0", b" ").decode(errors="replace")
    return found


def test_nothing_of_ours_leaves_a_core_dump_and_programs_have_the_user_s_limit(env):
    said = env.gshell("run", "--", "sh", "-c", "ulimit -Sc")  # the private relay and agent
    assert said.returncode == 0, said.stderr
    assert int(said.stdout) == SOFT // 512 or int(said.stdout) == SOFT // 1024
    said = env.gshell("run", "-t", "--", "sh", "-c", "ulimit -Sc")
    assert int(said.stdout.split()[0]) in (SOFT // 512, SOFT // 1024)
    until(lambda: len(ours(env)) >= 5, "the background process, relay, door, broker, keeper, agent")
    limits = {}
    for pid, line in ours(env).items():
        with contextlib.suppress(OSError, StopIteration):  # a compiler's, say: it has ended
            limits[line] = core_limit(pid)
    assert set(limits.values()) == {"0"}, limits


def test_secrets_are_in_no_argument_environment_log_journal_or_state(env):
    invite = env.start_relay()
    env.start_agent("agent", invite)
    done = env.gshell("run", "--env", "PAYLOAD=payloadkwzq", "--", "sh", "-c", "echo $PAYLOAD")
    assert done.stdout == b"payloadkwzq\n", done.stderr
    ticket = json.loads((env.home / "config" / "client.ticket").read_text())
    body = "".join(ticket["key"].split("-----")[2].split())
    secrets = {
        "invite": invite.rpartition("#")[2], "mac key": ticket["mac_key"],
        "key": body[20:60], "payload": "payloadkwzq",
    }  # fmt: skip
    forms = {
        name: {text.encode(), base64.b64encode(text.encode()).rstrip(b"=")[:-2]}
        for name, text in secrets.items()
    }

    def found(data: bytes) -> list[str]:
        return [name for name, all_ in forms.items() if any(form in data for form in all_)]

    assert found(("x " + secrets["invite"]).encode()) == ["invite"]
    for line in processes():
        assert not found(line.encode(errors="replace")), line
    private = {env.home / "config" / "client.ticket", env.root / "agent.invite"}
    looked = 0
    for path in below(env.root):
        if path.is_file() and path not in private:
            with contextlib.suppress(FileNotFoundError):  # it was for a moment
                assert not found(path.read_bytes()), path
                looked += 1
    assert looked > 5
    for path in private:
        assert os.stat(path).st_mode & 0o077 == 0
