"""What the agent tells those who record, of programs on real terminals: never a password."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gshell.agent.attachment import Attachment
from gshell.agent.budget import Budget
from gshell.agent.session import Session
from gshell.agent.spec import StepSpec
from gshell.agent.spool import Spool
from gshell.net.loop import Loop
from gshell.wire.constants import INPUT_WINDOW, stdin_of, stdout_of
from gshell.wire.peer import Peer

PATIENCE_S = 20.0
SECRET = b"Hunter2Zq"
PYTHON = f"exec {sys.executable} -I -S -c"


class Owner:
    """The agent, as a session sees it: most of what it is told does not matter here."""

    archiving = False

    def __init__(self, folder: Path) -> None:
        self.loop = Loop()
        self.folder = folder
        self.disk = Budget(1 << 30)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None

    def make_spool(self, session: Session, stream: int) -> Spool:
        return Spool(str(self.folder / str(stream)))


class Bench:
    """A program on a terminal, who types to it, and who records."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.session: Session

    def start(self, argv: list[str], terminal: bool = True) -> None:
        session = self.session = Session(self.owner, "1", 0, 1, "me")  # type: ignore[arg-type]
        self.writer = self.come("first")
        env = {"PATH": "/usr/bin:/bin", "TERM": "xterm", "PS1": "ready$ ", "HOME": "/nowhere"}
        spec = {"argv": argv, "env": env, "pty": [24, 80] if terminal else None}
        session.start(StepSpec.parse(spec))

    def come(self, name: str, user: str = "me", rights: str = "rw", share: str = "") -> Attachment:
        peer = Peer(client=False)
        peer.add_recv(stdin_of(0), INPUT_WINDOW)
        one = Attachment(self.session, name, user, rights, peer)
        one.share = share
        self.session.add(one)
        return one

    def type(self, data: bytes) -> None:
        receiving = self.writer.peer.receiving(stdin_of(0))
        assert receiving is not None
        receiving.on_data(receiving.have, data, False)
        self.session.take_input(0, data, self.writer)

    @property
    def shown(self) -> bytes:
        log = self.session.ranks[0].logs[stdout_of(0)]
        return log.read(0, 1 << 20) if log.end else b""

    def until(self, condition: Callable[[], bool]) -> None:
        assert self.owner.loop.run_until(condition, PATIENCE_S), self.shown

    def wait_for(self, text: bytes) -> None:
        self.until(lambda: text in self.shown)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    owner = Owner(tmp_path)
    bench = Bench(owner)
    yield bench
    bench.session.signal_all(9)
    bench.until(lambda: bench.session.state == "ended")
    bench.session.forget()
    owner.loop.close()


def traced(bench: Bench, **more: Any) -> Attachment:
    one = bench.come("recorder", **more)
    one._control({"t": "trace", "input": True})
    return one


def told(one: Attachment) -> list[dict[str, Any]]:
    control = one.peer.control
    if control.end == control.start:
        return []
    lines = control.read(control.start, 1 << 20).decode().splitlines()
    return [message for message in map(json.loads, lines) if message["t"] == "typed"]


def open_text(one: Attachment) -> bytes:
    return b"".join(bytes.fromhex(message.get("data", "")) for message in told(one))


def judged(one: Attachment) -> int:
    """How much of the writer's input was told of, one way or the other."""
    return max((message["until"] for message in told(one)), default=0)


STARS = """
import os, sys, termios, tty
tty.setcbreak(0); modes = termios.tcgetattr(0)
print("ready", flush=True)
word = b""
while (key := os.read(0, 1)) not in b"\\r\\n":
    word += key; os.write(1, b"*")
print(f"\\r\\ngot {len(word)}", flush=True)
"""
LIKE_SSH = """
import os, termios
tty = os.open("/dev/tty", os.O_RDWR)
modes = termios.tcgetattr(tty); modes[3] &= ~termios.ECHO
termios.tcsetattr(tty, termios.TCSAFLUSH, modes)
os.write(tty, b"ready")
word = os.read(tty, 100).strip()
os.write(tty, b"got %d" % len(word))
"""
ASKING = {
    "cat": ["sh", "-c", "stty -echo; echo ready; read x; echo got ${#x}"],
    "read -s": ["bash", "-c", "read -s -p ready x; echo got ${#x}"],
    "read -s -n": ["bash", "-c", f"read -s -n {len(SECRET)} -p ready x; echo got ${{#x}}"],
    "getpass": ["sh", "-c", f"{PYTHON} 'import getpass; print(\"got\", len(getpass.getpass(\"ready\")))'"],
    "ssh": [sys.executable, "-I", "-S", "-c", LIKE_SSH],
    "stars": [sys.executable, "-I", "-S", "-c", STARS],
}  # fmt: skip


@pytest.mark.parametrize("way", ["keys", "line"])
@pytest.mark.parametrize("program", ASKING)
def test_a_password_is_not_told(bench: Bench, program: str, way: str) -> None:
    if ASKING[program][0] == "bash" and shutil.which("bash") is None:
        pytest.skip("no bash")
    bench.start(ASKING[program])
    one = traced(bench)
    bench.wait_for(b"ready")
    line = SECRET if program == "read -s -n" else SECRET + b"\r"
    for key in [line] if way == "line" else [line[n : n + 1] for n in range(len(line))]:
        bench.type(key)
    bench.wait_for(b"got %d" % len(SECRET))
    bench.until(lambda: judged(one) == len(line))
    assert open_text(one) in (b"", b"\r")
    assert all("data" not in message for message in told(one) if message["secret"])


def test_what_is_typed_to_a_prompt_is_told_before_its_echo_is_sent(bench: Bench) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    bench.start(["env", "PS1=bash-$ ", bash, "--norc", "--noprofile", "-i"])
    one = traced(bench)
    bench.wait_for(b"bash-")
    bench.until(lambda: b"bash-" in bench.shown and bench.shown.endswith(b" "))
    end = len(bench.shown)
    bench.type(b"echo a''b")
    bench.until(lambda: len(bench.shown) > end)
    assert open_text(one) == b"echo a''b"
    bench.type(b"\r")
    bench.wait_for(b"ab\r\n")
    assert open_text(one) == b"echo a''b\r"


def test_what_a_terminal_echoes_is_told(bench: Bench) -> None:
    bench.start(["cat"])
    one = traced(bench)
    bench.type(b"some words\r")
    bench.until(lambda: judged(one) == 11)
    assert open_text(one) == b"some words\r"


def test_what_is_piped_in_is_told(bench: Bench) -> None:
    bench.start(["cat"], terminal=False)
    one = traced(bench)
    bench.type(b"bytes\xff")
    bench.until(lambda: judged(one) == 6)
    assert open_text(one) == b"bytes\xff"


def test_a_password_typed_ahead_is_not_told_if_it_is_read_without_an_echo(bench: Bench) -> None:
    script = "stty -echo -icanon; echo ready; sleep 0.3; stty icanon; read x; echo got ${#x}"
    bench.start(["sh", "-c", script])
    one = traced(bench)
    bench.wait_for(b"ready")
    bench.type(SECRET + b"\r")
    bench.wait_for(b"got %d" % len(SECRET))
    bench.until(lambda: judged(one) == len(SECRET) + 1)
    assert open_text(one) == b"\r"


@pytest.mark.parametrize(
    "who",
    [{"share": "s1", "user": "other"}, {"user": "other", "rights": "r"}, {"user": "@archive"}],
)
def test_only_the_owner_is_told(bench: Bench, who: dict[str, Any]) -> None:
    bench.start(["cat"])
    stranger = traced(bench, **who)
    owner = bench.come("mine")
    owner._control({"t": "trace", "input": True})
    bench.type(b"words\r")
    bench.until(lambda: judged(owner) == 6)
    assert told(stranger) == []


def test_without_input_only_offsets_are_told(bench: Bench) -> None:
    bench.start(["cat"])
    one = bench.come("recorder")
    one._control({"t": "trace", "input": False})
    bench.type(b"words\r")
    bench.until(lambda: judged(one) == 6)
    assert all("data" not in message for message in told(one))


def test_who_records_is_told_of_the_size_and_of_the_next(bench: Bench) -> None:
    bench.start(["cat"])
    one = traced(bench)
    assert one._welcome()["window"] == [24, 80]
    bench.session.resize(30, 100)
    control = one.peer.control
    assert b'"size"' in control.read(control.start, 1 << 16)


def test_when_what_was_printed_before_came_is_told_to_who_asks(bench: Bench) -> None:
    bench.start(["sh", "-c", "echo x; cat"])
    bench.wait_for(b"x\r\n")
    peer = Peer(client=False)
    one = Attachment(bench.session, "late", "me", "r", peer)
    one.since = "start"
    one.wants_ranks({"op": "attach", "times": True})
    bench.session.add(one)
    first = json.loads(peer.control.read(0, 1 << 16).decode().splitlines()[0])
    assert (first["t"], first["stream"], first["marks"][0][2]) == ("times", stdout_of(0), 0)


def recorded(bench: Bench, **more: Any) -> dict[str, Any]:
    one = bench.come("asks", rights="r", **more)
    one._control({"t": "record", "on": True, "file": str(bench.owner.folder / "a"), "input": True})
    control = one.peer.control
    lines = control.read(control.start, 1 << 16).decode().splitlines() if control.end else []
    bench.session.remove(one)
    return next((m for m in map(json.loads, lines) if m["t"] == "recording"), {})


def test_a_recording_at_the_agent_has_the_past_and_goes_on_when_nobody_is_there(
    bench: Bench,
) -> None:
    bench.start(["sh", "-c", "stty -echo; echo before; read x; echo after; exit 3"])
    bench.wait_for(b"before\r\n")
    assert recorded(bench) == {"t": "recording", "on": True, "file": str(bench.owner.folder / "a")}
    bench.type(SECRET + b"\r")
    bench.session.remove(bench.writer)
    bench.until(lambda: bench.session.state == "ended")
    path = bench.owner.folder / "a"
    assert path.stat().st_mode & 0o777 == 0o600
    events = [json.loads(line)[1:] for line in path.read_text().splitlines()[1:]]
    assert "".join(data for code, data in events if code == "o") == "before\r\nafter\r\n"
    assert [event for event in events if event[0] in "is"] == [["s", "1"], ["i", "\r"]]
    assert events[-1] == ["x", "3"]


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 5000, "no/such/place"])
def test_a_name_that_no_file_can_have_is_an_answer_and_harms_nobody(
    bench: Bench, name: str
) -> None:
    bench.start(["cat"])
    one = bench.come("recorder")
    one._control({"t": "record", "on": True, "file": name})
    control = one.peer.control
    lines = control.read(control.start, 1 << 20).decode().splitlines()
    answers = [m for m in map(json.loads, lines) if m["t"] == "recording"]
    assert [answer["on"] for answer in answers] == [False]
    assert answers[0]["error"]
    assert bench.session.taps.tape is None


def test_nobody_else_has_a_job_recorded_and_no_file_is_overwritten(bench: Bench) -> None:
    bench.start(["cat"])
    assert recorded(bench, user="other", share="s1") == {}
    (bench.owner.folder / "a").write_text("mine")
    assert "exists" in recorded(bench)["error"]
    assert (bench.owner.folder / "a").read_text() == "mine"
    assert bench.session.taps.tape is None
