"""An agent killed with jobs in every phase: no process is left, stopped or not, and no directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gshell
from gshell.agent.proctree import look
from gshell.model.ticket import Ticket
from gshell.net import rendezvous
from kit.hostilerelay import USER, HostileRelay
from kit.procs import until
from relay import auth

ROOT = Path(gshell.__file__).parents[1]
SPIN = [sys.executable, "-S", "-c", "while True: pass"]


def agent_ticket(relay: HostileRelay) -> Ticket:
    state = str(relay.folder)
    made = auth.issue(state, f"gshell:agent:{USER}:n1", agent=True)
    key = rendezvous.client_key(auth.mac_secret(state), made.serial).hex()
    return Ticket("agent", USER, "n1", [relay.address], auth.pin(state), auth.ca_text(state),
                  made.cert, made.key, made.serial, key)  # fmt: skip


def sleeping(pids: Path, phase: str) -> list[str]:
    return ["sh", "-c", f"echo $$ > {pids}/{phase}; exec sleep 1000"]


def start(job: int, argv: list[str], part: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    spec = {"argv": argv, "env": {"PATH": "/usr/bin:/bin"}, "job": part}
    return {
        "m": "start",
        "job": str(job),
        "index": 0,
        "size": 1,
        "user": USER,
        "spec": spec,
        **more,
    }


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[HostileRelay]:
    with HostileRelay(tmp_path / "relay") as relay:
        yield relay


def test_killed_in_any_phase_it_leaves_nothing(relay: HostileRelay, tmp_path: Path) -> None:
    pids, spool = tmp_path / "pids", tmp_path / "spool"
    pids.mkdir()
    spool.mkdir()
    heard: list[dict[str, Any]] = []

    def answer(message: dict[str, Any]) -> list[dict[str, Any]]:
        heard.append(message)
        if message["m"] != "hello":
            return []
        welcome = {"m": "welcome", "park_key": "00" * 32, "spares": 0, "now": 0, "archive": "off"}
        if "was" in message:  # its keeper, who says that it is dead
            return [welcome]
        wait = {phase: sleeping(pids, phase) for phase in ("prologue", "run", "epilogue")}
        return [
            welcome,
            start(1, ["true"], {"workdir": True, "prologue": wait["prologue"]}),
            start(2, ["true"], {"workdir": True}, token=True),
            start(3, wait["run"], {"stdout": "o"}),
            start(4, ["true"], {"workdir": True, "epilogue": wait["epilogue"]}),
            start(5, SPIN, {"workdir": True}),
            start(6, SPIN, None, lane="interactive", loss=1),
        ]

    relay.answer = answer
    ticket = tmp_path / "ticket"
    ticket.write_text(agent_ticket(relay).dump())
    ticket.chmod(0o600)
    main = str(ROOT / "gshell/agent/__main__.py")
    keeper = subprocess.Popen(
        [sys.executable, main, "--ticket", str(ticket), "--spool", str(spool), "--slots", "9"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "GSHELL_LANE": "stop"},
    )
    try:
        until(lambda: len([p for p in pids.iterdir() if p.read_text()]) == 3, "all phases")
        until(lambda: any(m["m"] == "token" for m in heard), "the token is asked for")
        agent = next(m["pid"] for m in heard if m["m"] == "hello")
        steps = {child.pid for child in map(look, children_of(agent)) if child is not None}
        assert len(steps) == 5
        until(lambda: any(state_of(pid) == "T" for pid in steps), "one is stopped")
        assert list(spool.glob("gshell-work-*/gshell-3.0-*/o"))
        os.kill(agent, signal.SIGKILL)
        assert keeper.wait(20) == 137
    finally:
        keeper.kill()
        keeper.wait(20)
    assert {state_of(pid) for pid in steps} <= {"", "Z"}
    assert list(spool.iterdir()) == []


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def state_of(pid: int) -> str:
    process = look(pid)
    return process.state if process is not None else ""
