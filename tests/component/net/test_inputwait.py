"""Programs in real terminals: who waits for input, and who does not."""

import fcntl
import os
import shutil
import signal
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from gshell.errors import GshellError
from gshell.net import inputwait
from gshell.net.inputwait import Watched
from gshell.net.loop import Loop
from gshell.replay import targets
from gshell.replay.targets import Local
from kit.procs import until

PATIENCE_S = 30.0
MPIRUN = "mpirun.openmpi --oversubscribe --allow-run-as-root -n 2"
WAIT = {
    "the first rank of mpirun": f"{MPIRUN} sh -c 'read x; sleep 100'",
    "the first rank of MPICH's mpiexec": "mpiexec.hydra -n 2 sh -c 'read x; sleep 100'",
    "cat": "cat",
    "sh": "sh -c 'read x; sleep 100'",
    "bash": "bash --norc -i",
    "python3": "python3 -q",
    "gdb": "gdb -q -nx",
    "vim": "vim -u NONE",
    "less": "less /etc/passwd /etc/passwd",
    "nano": "nano -I",
    "top": "top",
    "dialog": "dialog --inputbox x 10 30",
    "a pipeline's reader": "sh -c 'cat | sort'",
    "a reader of /dev/tty": "sh -c 'echo x | (read a; read b </dev/tty; sleep 100)'",
}
WORK = {
    "mpirun whose ranks work": f"{MPIRUN} sh -c 'echo on; exec sleep 100'",
    "sleep": "sh -c 'echo on; exec sleep 100'",
    "a shell that waits for its child": "bash --norc -ic 'echo on; sleep 100; true'",
    "a busy loop": "sh -c 'echo on; while :; do :; done'",
    "the reader of a pipe": "sh -c 'echo on; sleep 100 | cat'",
    "a reader in the background": "bash --norc -ic 'cat & echo on; sleep 100; true'",
    "a server": 'python3 -c \'import socket; s = socket.create_server(("127.0.0.1", 0));'
    ' print("on", flush=True); s.accept()\'',
}


class Heard:
    """What a program printed."""

    def __init__(self) -> None:
        self.data = b""

    def on_output(self, rank: int, error: bool, data: bytes) -> None:
        self.data += data

    def on_change(self) -> None: ...

    def on_ended(self, status: int) -> None:
        self.data += b"ended"

    def on_failed(self, error: GshellError) -> None:
        raise error


class Started:
    """All of them at once: it takes as long as the slowest."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.targets: dict[str, Local] = {}
        self.heard: dict[str, Heard] = {}
        for name, line in {**WAIT, **WORK}.items():
            if shutil.which(line.split()[0]) is None:
                continue
            env = {**os.environ, "TERM": "xterm", "LESS": "", "INPUTRC": "/dev/null"}
            target = Local(self.loop, ["sh", "-c", f"exec {line}"], env)
            self.targets[name], self.heard[name] = target, Heard()
            target.start(self.heard[name])

    def target(self, name: str) -> Local:
        if name not in self.targets:
            pytest.skip(f"no {name} here")
        return self.targets[name]


@pytest.fixture(scope="module")
def started() -> Iterator[Started]:
    if not inputwait.CALLS:
        pytest.skip("system calls are not known for this processor")
    all_of_them = Started()
    yield all_of_them
    patch = pytest.MonkeyPatch()
    patch.setattr(targets, "KILL_AFTER_S", 0.2)
    for target in all_of_them.targets.values():
        target.close()  # mpirun ends its ranks by itself
    all_of_them.loop.close()
    patch.undo()


@pytest.mark.parametrize("name", WAIT)
def test_it_waits_for_input(started, name):
    target = started.target(name)
    assert started.loop.run_until(lambda: target.waiting is not None, PATIENCE_S)
    assert target.waiting.where == "tty"


@pytest.mark.parametrize("name", WORK)
def test_it_does_not_wait_for_input(started, name):
    target, heard = started.target(name), started.heard[name]
    assert started.loop.run_until(lambda: b"on" in heard.data, PATIENCE_S)
    children = started.loop.run_until(
        lambda: name == "a busy loop" or len(inputwait.processes(target.pid)) > 0, PATIENCE_S
    )
    assert children
    for _ in range(5):
        started.loop.once(0.01)
        assert target.waiting is None
        assert target.look() is None


def test_what_is_typed_ends_the_wait_until_it_was_read(started):
    target = started.target("cat")
    heard = started.heard["cat"]
    assert started.loop.run_until(lambda: target.waiting is not None, PATIENCE_S)
    target.type(b"hello\n")
    assert target.waiting is None
    assert started.loop.run_until(lambda: target.waiting is not None, PATIENCE_S)
    assert heard.data.count(b"hello") == 2  # its echo, and what cat printed


def test_the_reader_of_a_pipe_waits_until_something_is_in_it():
    reads, writes = os.pipe()
    pid = os.posix_spawn("/bin/cat", ["cat"], dict(os.environ), file_actions=[
        (os.POSIX_SPAWN_DUP2, reads, 0), (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
        (os.POSIX_SPAWN_CLOSE, writes),
    ])  # fmt: skip
    os.close(reads)
    try:
        loop = Loop()
        program = Watched(pid, -1, -1, writes)

        def waits() -> bool:
            loop.once(0.005)
            return inputwait.looks(program) is not None

        assert loop.run_until(waits, PATIENCE_S)
        found = inputwait.looks(program)
        assert found is not None
        assert (found.name, found.where) == ("cat", "pipe")
        loop.close()
    finally:
        os.close(writes)
        os.waitpid(pid, 0)


# It is woken once by what is typed, leaves it where it is, and sleeps on.
POLLS = """import os, select, tty
tty.setraw(0)
os.write(1, b"prompt")
poll = select.epoll()
poll.register(0, select.EPOLLIN | select.EPOLLET)
poll.poll()
os.write(1, b"woken")
poll.poll()
"""


def test_nobody_waits_while_something_is_on_its_way():
    """Neither with a prompt that was not seen yet, nor with an answer that was not taken."""
    if not inputwait.CALLS:
        pytest.skip("system calls are not known for this processor")
    master, slave = os.openpty()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for fd in range(3):
            os.dup2(slave, fd)
        os.execv(sys.executable, [sys.executable, "-S", "-c", POLLS])
    program = Watched(pid, master, slave, -1)
    try:
        until(lambda: inputwait.queued(master) == len("prompt") and sleeps(pid, "epoll"))
        assert inputwait.looks(program) is None
        os.read(master, 99)
        assert inputwait.looks(program) is not None
        os.write(master, b"answer")
        assert os.read(master, 99) == b"woken"
        until(lambda: sleeps(pid, "epoll"))
        assert inputwait.queued(slave) == len("answer")
        assert inputwait.looks(program) is None
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(master)
        os.close(slave)


def sleeps(pid: int, call: str) -> bool:
    """In this system call?"""
    number = Path(f"/proc/{pid}/syscall").read_text().split()[0]
    return number.isdigit() and inputwait.CALLS.get(int(number)) == call
