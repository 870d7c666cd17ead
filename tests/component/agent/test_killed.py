"""An agent killed with jobs in every phase: no process is left, stopped or not, and no directory."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from gshell.agent.proctree import children, look
from kit.oneagent import OneAgent, start_message
from kit.procs import until

SPIN = [sys.executable, "-S", "-c", "while True: pass"]


def test_killed_in_any_phase_it_leaves_nothing(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    pids.mkdir()
    wait = {
        phase: ["sh", "-c", f"echo $$ > {pids}/{phase}; exec sleep 1000"]
        for phase in ("prologue", "run", "epilogue")
    }
    node = OneAgent(tmp_path, "--slots", "9", GSHELL_LANE="stop")
    node.say(
        start_message(1, ["true"], part={"workdir": True, "prologue": wait["prologue"]}),
        start_message(2, ["true"], part={"workdir": True}, token=True),
        start_message(3, wait["run"], part={"stdout": "o"}),
        start_message(4, ["true"], part={"workdir": True, "epilogue": wait["epilogue"]}),
        start_message(5, SPIN, part={"workdir": True}),
        start_message(6, SPIN, lane="interactive", loss=1),
    )
    with node:
        until(lambda: len([p for p in pids.iterdir() if p.read_text()]) == 3, "all phases")
        until(lambda: node.said("token"), "the token is asked for")
        steps = children(node.pid)
        assert len(steps) == 5
        until(lambda: any(state_of(pid) == "T" for pid in steps), "one is stopped")
        assert list(node.spool.glob("gshell-work-*/gshell-3.0-*/o"))
        os.kill(node.pid, signal.SIGKILL)
        assert node.keeper.wait(20) == 137
    assert {state_of(pid) for pid in steps} <= {"", "Z"}
    assert list(node.spool.iterdir()) == []


def state_of(pid: int) -> str:
    process = look(pid)
    return process.state if process is not None else ""
