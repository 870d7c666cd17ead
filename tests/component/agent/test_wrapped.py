"""A batch job around its program, by a real agent with real programs; the relay is the test's."""

from __future__ import annotations

import os
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gshell.agent import agent as agent_module
from gshell.agent import rankoutput
from gshell.agent.agent import Agent
from gshell.agent.perusal import Perusal
from gshell.agent.session import Session
from gshell.agent.slots import Facts
from gshell.net.loop import Loop
from gshell.wire.constants import stderr_of, stdout_of
from kit.uplink import Uplink

PATIENCE_S = 20.0
PATH = {"PATH": "/usr/bin:/bin"}


class Node:
    """An agent, and what its relay hears."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loop = Loop()
        ticket: Any = types.SimpleNamespace(user="alice", agent_id="n1")
        self.agent: Any = Agent(self.loop, ticket, Facts(4, []), "1", str(folder), boot="b7")

    def start(self, argv: list[str], job: dict[str, Any] | None, **more: Any) -> None:
        spec = {
            "argv": argv,
            "env": PATH,
            "extra_env": PATH,
            "timeout_s": more.pop("timeout", None),
        }
        if job is not None:
            spec["job"] = job
        spec["tasks"] = more.pop("tasks", 1)
        message = {"job": "5", "index": 0, "size": 1, "user": "alice", "attempt": 1}
        self.agent.on_control({"m": "start", **message, "spec": spec, **more})

    def workdir(self, **more: Any) -> Path:
        self.agent.on_control({"m": "workdir", "job": "5", "index": 0, **more})
        return Path(self.agent.workdirs.path("5", 0))

    def said(self, kind: str) -> list[dict[str, Any]]:
        return [m for m in self.agent._uplink.said if m["m"] == kind]

    def until(self, done: Any, what: str) -> None:
        end = self.loop.clock() + PATIENCE_S
        while not self.loop.run_until(lambda: bool(done()), 0.02):  # files tell no loop
            assert self.loop.clock() < end, f"{what}: {self.agent._uplink.said}"

    def end(self) -> dict[str, Any]:
        self.until(lambda: self.said("ended"), "the end")
        return self.said("ended")[-1]

    @property
    def session(self) -> Session:
        return next(iter(self.agent.steps.by_key.values()))

    def logged(self, stream: int) -> bytes:
        log = self.session.ranks[0].logs[stream]
        return log.read(0, log.end) if log.end else b""


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setattr(agent_module, "Uplink", Uplink)
    node = Node(tmp_path)
    yield node
    node.agent.end_steps()
    node.loop.run_until(lambda: node.agent.idle, PATIENCE_S)
    node.agent.shut_down()
    node.loop.close()
    assert list(tmp_path.iterdir()) == []


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


def test_files_come_from_and_go_to_the_work_directory_and_logs_show_them(node: Node) -> None:
    folder = node.workdir()
    (folder / "in.txt").write_text("hello\n")
    node.start(sh("cat; echo oops >&2; pwd; echo $GSHELL_WORKDIR"),
               {"stdin": "in.txt", "stdout": "out/o.txt", "stderr": "e.txt",
                "inputs": ["in.txt"]})  # fmt: skip
    end = node.end()
    assert (end["code"], end["started"], end["phase"]) == (0, True, "run")
    assert (folder / "out/o.txt").read_text() == f"hello\n{folder}\n{folder}\n"
    assert (folder / "e.txt").read_text() == "oops\n"
    assert node.logged(stdout_of(0)) == (folder / "out/o.txt").read_bytes()
    assert node.logged(stderr_of(0)) == b"oops\n"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_one_file_may_take_both_and_every_rank(node: Node) -> None:
    folder = node.workdir()
    node.start(sh("echo o; echo e >&2"), {"stdout": "all", "stderr": "./all"}, tasks=3)
    assert node.end()["code"] == 0
    assert sorted((folder / "all").read_text().split()) == ["e"] * 3 + ["o"] * 3


def test_what_goes_to_no_file_is_not_kept_if_so_said(node: Node) -> None:
    node.start(sh("echo o; echo e >&2"), {"stderr": "err", "discard": True})
    assert node.end()["code"] == 0
    assert node.logged(stdout_of(0)) == b""
    assert node.logged(stderr_of(0)) == b"e\n"


def test_a_staged_program_needs_no_permission_and_no_path(node: Node) -> None:
    folder = node.workdir()
    (folder / "prog").write_text("#!/bin/sh\necho ran $0\n")
    (folder / "prog").chmod(0o600)
    node.start(["prog"], {"workdir": True, "stdout": "o"})
    assert node.end()["code"] == 0
    assert (folder / "o").read_text() == "ran ./prog\n"


def test_scripts_run_before_and_after_and_only_the_log_has_what_they_print(node: Node) -> None:
    folder = node.workdir()
    (folder / "before.sh").write_text("echo before; echo $1 > trace\n")
    node.start(sh("echo run; echo run >> trace; exit 3"),
               {"stdout": "o", "prologue": ["before.sh", "a b"],
                "epilogue": sh("echo after; echo after >> trace")})  # fmt: skip
    end = node.end()
    assert (end["code"], end["started"], end["phase"], end["error"]) == (3, True, "epilogue", None)
    assert (folder / "trace").read_text() == "a b\nrun\nafter\n"
    assert (folder / "o").read_text() == "run\n"
    assert node.logged(stdout_of(0)) == b"before\nrun\nafter\n"


def test_a_program_may_be_quiet_for_long_after_a_script_that_ended_with_a_word(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rankoutput, "DRAIN_AFTER_EXIT_S", 0.1)
    folder = node.workdir()
    node.start(sh("until test -e go; do sleep 0.02; done; echo run"),
               {"workdir": True, "prologue": sh("echo before")})  # fmt: skip
    script = node.session.pids()[0]
    stat = Path(f"/proc/{script}/stat")
    while stat.read_text().rpartition(")")[2].split()[0] != "Z":
        pass  # its last word, its end and its exit are found in one round
    node.until(lambda: node.session.launched, "the program")
    assert not node.loop.run_until(lambda: node.session.ranks[0].overdue, 0.3)
    (folder / "go").touch()
    assert node.end()["code"] == 0
    assert node.logged(stdout_of(0)) == b"before\nrun\n"


@pytest.mark.parametrize(
    ("argv", "job", "code", "phase", "started", "says"),
    [
        (["true"], {"inputs": ["a", "b"]}, 125, "stage-in", False, "missing: a, b"),
        (["true"], {"stdin": "a"}, 125, "stage-in", False, "missing: a"),
        (["true"], {"prologue": sh("exit 7")}, 7, "prologue", False, "prologue failed with error"),
        (["true"], {"prologue": ["nothing"]}, 127, "prologue", False, "nothing: command not found"),
        (["true"], {"prologue": sh("kill -9 $$")}, 137, "prologue", False, "failed with error 137"),
        (["nothing"], {"epilogue": ["true"]}, 127, "run", False, "nothing: command not found"),
        (["true"], {"stdout": "o", "prologue": ["mkdir", "o"]}, 125, "run", False, "directory"),
        (["false"], {"workdir": True}, 1, "run", True, None),
        (["true"], {"epilogue": sh("exit 9")}, 9, "epilogue", True, "epilogue failed with error 9"),
        (["false"], {"epilogue": ["nothing"]}, 127, "epilogue", True, "nothing: command not found"),
    ],
)
def test_how_each_step_fails(
    node: Node, argv: Any, job: Any, code: int, phase: str, started: bool, says: str | None
) -> None:
    node.start(argv, job)
    end = node.end()
    assert (end["code"], end["phase"], end["started"]) == (code, phase, started)
    assert says in end["error"] if says else end["error"] is None
    assert bool(node.said("started")) == started
    assert len(node.said("ended")) == 1
    assert node.session.exit_message(node.session.ranks[0])["code"] == code


def test_a_file_that_cannot_be_completed_is_told(node: Node) -> None:
    folder = node.workdir()
    (folder / "o").symlink_to("/dev/full")
    node.start(["echo", "x"], {"stdout": "o"})
    end = node.end()
    assert end["code"] == 0
    assert end["error"] == "o is not complete: No space left on device"


@pytest.mark.parametrize("phase", ["prologue", "run", "epilogue"])
def test_canceled_in_any_phase_it_ends_there(node: Node, phase: str) -> None:
    wait = sh(f"echo x > {phase}; exec sleep 1000")
    scripts = {"prologue": ["true"], "run": ["true"], "epilogue": ["true"], phase: wait}
    folder = node.workdir()
    job = {"workdir": True, "prologue": scripts["prologue"], "epilogue": scripts["epilogue"]}
    node.start(scripts["run"], job)
    node.until(lambda: (folder / phase).exists(), phase)
    node.agent.on_control({"m": "cancel", "job": "5"})
    end = node.end()
    assert (end["phase"], end["started"], end["code"]) == (phase, phase != "prologue", 143)


def test_each_phase_has_the_time_that_was_given(node: Node) -> None:
    node.start(["true"], {"prologue": ["sleep", "1000"]}, timeout=0.1)
    end = node.end()
    assert end["error"] == "prologue failed with error 143 (time limit)"
    assert not end["started"]


def test_the_program_waits_for_the_token_and_the_relay_is_asked_again(node: Node) -> None:
    folder = node.workdir()
    node.start(["touch", "ran"], {"workdir": True}, token=True, attempt=2)
    asked = {"m": "token", "job": "5", "index": 0, "attempt": 2}
    assert node.said("token") == [asked]
    node.agent.on_welcome()
    assert node.said("token") == [asked, asked]
    node.agent.on_control({"m": "token-ok", "job": "5", "index": 0, "attempt": 1})
    assert not node.said("started")
    for _ in range(2):  # said twice, it is one start
        node.agent.on_control({"m": "token-ok", "job": "5", "index": 0, "attempt": 2})
    assert node.end()["attempt"] == 2
    assert len(node.said("started")) == 1
    assert (folder / "ran").exists()


def test_without_the_token_it_ends_quietly(node: Node) -> None:
    folder = node.workdir()
    node.start(["touch", "ran"], None, token=True)
    node.agent.on_control({"m": "token-no", "job": "5", "index": 0, "attempt": 1})
    node.until(lambda: not folder.exists(), "its directory goes")
    assert node.agent.hello()["sessions"] == []
    assert not node.said("ended")
    assert not node.said("started")


def test_canceled_while_it_waits_for_the_token_it_never_ran(node: Node) -> None:
    node.start(["true"], None, token=True)
    node.agent.on_control({"m": "cancel", "job": "5"})
    assert (node.end()["started"], node.end()["code"]) == (False, 143)
    node.agent.on_control({"m": "token-ok", "job": "5", "index": 0, "attempt": 1})
    assert not node.said("started")


@pytest.mark.parametrize(("number", "code"), [(15, 143), (2, 130), (9, 137)])
def test_a_signal_before_there_is_a_program_is_not_lost(node: Node, number: int, code: int) -> None:
    node.start(["sleep", "1000"], None, token=True)
    node.agent.on_control({"m": "signal", "job": "5", "sig": number})
    assert (node.end()["started"], node.end()["code"]) == (False, code)


def test_what_means_no_end_does_nothing_before_there_is_a_program(node: Node) -> None:
    node.start(["true"], None, token=True)
    node.agent.on_control({"m": "signal", "job": "5", "sig": 10})
    node.agent.on_control({"m": "token-ok", "job": "5", "index": 0, "attempt": 1})
    assert node.end()["code"] == 0


def test_the_next_attempt_begins_with_an_empty_directory(node: Node) -> None:
    first = node.workdir()
    node.start(sh("touch old; exit 1"), {"workdir": True})
    node.end()
    second = node.workdir(attempt=2)
    assert second != first
    node.start(["ls"], {"stdout": "o"}, attempt=2)
    node.until(lambda: len(node.said("ended")) == 2, "the second end")
    assert (second / "o").read_text() == "o\n"
    node.until(lambda: not first.exists(), "the first one's directory goes")


def test_the_directory_stays_until_all_was_fetched(node: Node) -> None:
    folder = node.workdir()
    node.start(sh("touch big; sleep 0.01"), {"workdir": True})
    node.agent.on_control({"m": "workdir-done", "job": "5", "index": 0})  # it runs: not now
    node.end()
    assert (folder / "big").exists()
    node.agent.on_control({"m": "workdir-done", "job": "5", "index": 0})
    node.until(lambda: not folder.exists(), "it goes")


def test_what_is_perused_is_kept_in_slices(node: Node) -> None:
    folder = node.workdir()
    os.mkfifo(folder / "go")
    node.start(sh("printf one > f; cat go; printf two >> f"),
               {"perusal": {"every": 1, "files": ["f", "absent"]}})  # fmt: skip
    kept = folder / ".perusal"
    node.until(lambda: kept.exists() and list(kept.glob("f.*_1")), "the first slice")
    (folder / "go").write_text("")
    assert node.end()["code"] == 0
    slices = sorted(kept.iterdir(), key=lambda p: p.name.rpartition("_")[2])
    assert [p.read_text() for p in slices] == ["one", "two"]
    assert slices[0].name[:2] == "f."


def test_a_perused_file_that_begins_anew_is_sliced_from_its_start(tmp_path: Path) -> None:
    perusal = Perusal(str(tmp_path), ("a/f",))
    (tmp_path / "a").mkdir()
    (tmp_path / "a/f").write_text("long text")
    (first,) = perusal.slice(0.0)
    assert first.endswith("a_f.19700101000000_1")
    assert perusal.slice(1.0) == []
    (tmp_path / "a/f").write_text("new")
    (second,) = perusal.slice(2.0)
    assert Path(second).read_text() == "new"
