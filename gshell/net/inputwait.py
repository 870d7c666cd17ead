"""Does the program in front wait for input? Asked of /proc, for processes of our own user.

A program waits when one of its threads sleeps in a read of its terminal (or stdin pipe), or in a
poll, select or epoll that has it among its descriptors, and nothing that was typed is left for it.
Programs that start others elsewhere (mpirun) always poll: there it is their first rank that counts.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import platform
import stat
import struct
import termios
from typing import NamedTuple

X86_64 = {
    0: "read", 19: "read", 7: "poll", 271: "poll", 23: "select", 270: "select",
    232: "epoll", 281: "epoll", 441: "epoll", 45: "read", 47: "read",
}  # fmt: skip
AARCH64 = {63: "read", 65: "read", 73: "poll", 72: "select", 22: "epoll", 441: "epoll", 207: "read"}
CALLS = {"x86_64": X86_64, "aarch64": AARCH64}.get(platform.machine(), {})
SLEEPS = ("wait_woken", "n_tty_read", "pipe_read", "pipe_wait", "poll_schedule_timeout",
          "do_select", "do_poll", "do_sys_poll", "ep_poll", "tty_read")  # fmt: skip
MANY_POLLED = 1024
MANY_PROCESSES = 512
STARTERS = frozenset((
    "mpirun", "mpiexec", "orterun", "prterun", "mpiexec.hydra", "srun", "prun",
    "mpirun.openmpi", "mpiexec.openmpi", "mpirun.mpich", "mpiexec.mpich",
))  # fmt: skip
FIRST_RANK = (b"OMPI_COMM_WORLD_RANK=0", b"PMIX_RANK=0", b"PMI_RANK=0", b"SLURM_PROCID=0")
RELAYS = frozenset(("ssh", "tmux: client", "tmux", "screen", "mosh-client", "docker", "kubectl",
                    "script", "telnet", "gshell", *STARTERS))  # fmt: skip
"""They read the terminal always, for somebody else: that they wait says little."""
CONSOLE = os.makedev(5, 0)  # /dev/tty: one's own terminal, whichever that is


class Reader(NamedTuple):
    """Who waits, and where in its life."""

    pid: int
    tid: int
    slept: int
    """How often that thread gave up the processor: another number, another wait."""
    name: str
    where: str
    """``tty`` or ``pipe``."""
    sure: bool
    """Seen by its system call, not guessed."""


class Watched(NamedTuple):
    """A program as its keeper has it."""

    pid: int
    """The session's leader."""
    terminal: int
    """Our end of its pty; -1: it has pipes."""
    slave: int
    """The other end, if it is held open; -1."""
    pipe: int
    """Our end of its stdin pipe; -1: none."""


# ------------------------------------------------------------------------------------------ who


def looks(program: Watched) -> Reader | None:
    """Who waits for input now; None: nobody, or there is something left to read, or to print."""
    if program.terminal >= 0:
        return _on_terminal(program)
    return _on_pipe(program)


def queued(fd: int) -> int:
    """Bytes that wait to be read there; 0 where that cannot be asked."""
    count = array.array("i", [0])
    try:
        fcntl.ioctl(fd, termios.FIONREAD, count)
    except OSError:
        return 0
    return count[0]


def _on_terminal(program: Watched) -> Reader | None:
    try:
        front = os.tcgetpgrp(program.terminal)
        device = _slave_device(program)
    except OSError:
        return None
    if front <= 0 or not device or queued(program.terminal):
        return None  # it has printed what nobody has read yet
    if program.slave >= 0 and queued(program.slave):
        return None
    found: Reader | None = None
    for pid in processes(program.pid):
        fields = _stat(pid)
        if fields is None or int(fields[4]) != front:
            continue
        reader = _reads(pid, fields[0], device)
        if reader is not None and fields[0] in STARTERS:
            return _first_rank(pid, reader)
        found = found or reader
    return found


def _on_pipe(program: Watched) -> Reader | None:
    if program.pipe < 0 or queued(program.pipe):
        return None
    try:
        there = os.fstat(program.pipe)
    except OSError:
        return None
    for pid in processes(program.pid):
        fields = _stat(pid)
        if fields is None:
            continue
        reader = _reads(pid, fields[0], (there.st_dev, there.st_ino))
        if reader is not None and fields[0] in STARTERS:
            return _first_rank(pid, reader)
        if reader is not None:
            return reader
    return None


def _first_rank(starter: int, reader: Reader) -> Reader | None:
    """Of a program that always looks at its input for its ranks: does the first of them wait?"""
    for pid in processes(starter):
        if pid == starter or not _is_first_rank(pid):
            continue
        try:
            there = os.stat(f"/proc/{pid}/fd/0")
        except OSError:
            return None
        if _left_in(pid):
            return None
        for each in processes(pid):  # it may be a script: whoever has the same stdin
            fields = _stat(each)
            found = _reads(each, fields[0], (there.st_dev, there.st_ino)) if fields else None
            if found is not None:
                return found._replace(where=reader.where)
        return None
    return None


def _is_first_rank(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            words = file.read(1 << 18).split(b"\0")
    except OSError:
        return False
    return any(word in words for word in FIRST_RANK)


def _left_in(pid: int) -> int:
    """What waits in its stdin."""
    try:
        fd = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return queued(fd)
    finally:
        os.close(fd)


def _slave_device(program: Watched) -> int:
    """Number of the terminal's device as its program has it."""
    if program.slave >= 0:
        return os.fstat(program.slave).st_rdev
    number = array.array("i", [0])
    fcntl.ioctl(program.terminal, 0x80045430, number)  # TIOCGPTN
    return os.stat(f"/dev/pts/{number[0]}").st_rdev


# ---------------------------------------------------------------------------------- the processes


def processes(pid: int) -> list[int]:
    """It and its descendants, parents first."""
    found = [pid]
    for each in found:
        found += _children(each)
        if len(found) > MANY_PROCESSES:
            break
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return children
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                children += [int(word) for word in file.read().split()]
        except OSError as error:
            if error.errno == errno.ENOENT and os.path.exists(f"/proc/{pid}/task/{thread}/stat"):
                return _children_by_table(pid)  # a kernel without that file
    return children


def _children_by_table(pid: int) -> list[int]:
    children = []
    for name in os.listdir("/proc"):
        fields = _stat(int(name)) if name.isdigit() else None
        if fields is not None and int(fields[3]) == pid:
            children.append(int(name))
    return children


def _stat(pid: int, thread: int = 0) -> list[str] | None:
    """Name, pid, state (as in /proc/PID/stat, the name first), parent, group, session ..."""
    path = f"/proc/{pid}/task/{thread}/stat" if thread else f"/proc/{pid}/stat"
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError:
        return None
    head, _, tail = text.rpartition(b")")
    number, _, name = head.partition(b"(")
    words = tail.split()
    if len(words) < 4:
        return None
    return [os.fsdecode(name), words[0].decode(), number.decode().strip()] + [
        word.decode() for word in words[1:4]
    ]


# ------------------------------------------------------------------------------------ one process


def _reads(pid: int, name: str, what: object) -> Reader | None:
    """A thread of it that sleeps reading ``what``: a terminal's device number, or (device, inode)
    of a pipe."""
    where = "tty" if isinstance(what, int) else "pipe"
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return None
    for thread in threads:
        tid = int(thread)
        slept = _sleeping(pid, tid)
        if slept is None:
            continue
        sure = True
        try:
            with open(f"/proc/{pid}/task/{tid}/syscall", "rb") as file:
                words = file.read().split()
        except OSError:
            words, sure = [], False
        if not CALLS:
            sure = False
        if sure:
            waits = len(words) >= 7 and _waits(pid, words, what)
        else:
            waits = _seems(pid, tid, what)
        if waits and _sleeping(pid, tid) == slept:  # it was the same sleep all the time
            return Reader(pid, tid, slept, name, where, sure)
    return None


def _sleeping(pid: int, tid: int) -> int | None:
    """How often it has slept, if it sleeps (and was not stopped)."""
    try:
        with open(f"/proc/{pid}/task/{tid}/status", "rb") as file:
            text = file.read()
    except OSError:
        return None
    at = text.find(b"\nState:")
    if text[at + 7 : at + 12].strip()[:1] != b"S":
        return None
    at = text.find(b"\nvoluntary_ctxt_switches:")
    return int(text[at + 25 :].split(None, 1)[0]) if at >= 0 else 0


def _waits(pid: int, words: list[bytes], what: object) -> bool:
    """Is this system call a read of it?"""
    kind = CALLS.get(int(words[0]))
    first, second = (int(word, 16) for word in words[1:3])
    if kind == "read":
        return _is(pid, first, what)
    if kind == "poll":
        fds = _polled(pid, first, second)
    elif kind == "select":
        fds = _selected(pid, first, second)
    elif kind == "epoll":
        fds = _in_epoll(pid, first)
    else:
        return False
    if fds is None:  # its memory is not ours to read
        return _is(pid, 0, what)
    return any(_is(pid, fd, what) for fd in fds)


def _seems(pid: int, tid: int, what: object) -> bool:
    """Without its system call: it has the thing as stdin, and sleeps where readers do."""
    try:
        with open(f"/proc/{pid}/task/{tid}/wchan") as file:
            where = file.read()
    except OSError:
        where = ""
    named = where not in ("", "0")
    return _is(pid, 0, what) and (not named or any(each in where for each in SLEEPS))


def _is(pid: int, fd: int, what: object) -> bool:
    fd &= 0xFFFFFFFF
    try:
        there = os.stat(f"/proc/{pid}/fd/{fd}")
    except OSError:
        return False
    if isinstance(what, int):
        return stat.S_ISCHR(there.st_mode) and there.st_rdev in (what, CONSOLE)
    return (there.st_dev, there.st_ino) == what


def _memory(pid: int, address: int, size: int) -> bytes | None:
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
            file.seek(address)
            data = file.read(size)
    except (OSError, OverflowError, ValueError):
        return None
    return data if data is not None and len(data) == size else None


def _polled(pid: int, address: int, count: int) -> list[int] | None:
    count = min(count, MANY_POLLED)
    data = _memory(pid, address, 8 * count)
    if data is None:
        return None
    return [fd for fd, events, _ in struct.iter_unpack("=ihh", data) if fd >= 0 and events & 0x41]


def _selected(pid: int, most: int, address: int) -> list[int] | None:
    most = min(most, MANY_POLLED)
    if not address or most <= 0:
        return []
    data = _memory(pid, address, (most + 63) // 64 * 8)
    if data is None:
        return None
    return [fd for fd in range(most) if data[fd // 8] >> (fd % 8) & 1]


def _in_epoll(pid: int, fd: int) -> list[int] | None:
    try:
        with open(f"/proc/{pid}/fdinfo/{fd}", "rb") as file:
            lines = file.read().split(b"\n")
    except OSError:
        return None
    found = []
    for line in lines:
        words = line.split()
        if len(words) >= 4 and words[0] == b"tfd:" and int(words[3], 16) & 1:
            found.append(int(words[1]))
    return found
