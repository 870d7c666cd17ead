"""The socket at which a launcher's ranks ask for their streams, and its remote shell for another
node. Knows no session: who opened a door decides.

A launcher (mpirun) starts `rankexec.py` where it would start a rank, and where it would start ssh.
One socket of the agent in a private directory; each job has a key of its own, its *door*. Packets
are in gshell/mpi/MPI.md.
"""

from __future__ import annotations

import array
import functools
import hmac
import logging
import os
import re
import shlex
import socket
import struct
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Callable, NamedTuple, Protocol

from gshell.agent.spoolplace import Kind, SpoolPlace
from gshell.net.loop import IN, OUT, Loop, Timer

if TYPE_CHECKING:
    from gshell.agent.mpitopology import Topology
    from gshell.agent.rankbuild import Build

SAY_S = 20.0  # from connecting to having said who it is
PACKET_BYTES = 1 << 17
SENT_BYTES = 1 << 15  # of a daemon's output in one packet
BACKLOG = 512  # a node's ranks come all at once
MOST_WAITING = 4096
LONGEST_PATH = 100  # of a socket: the kernel has room for 108
NAMES = re.compile(r"(socket|rankexec(\.pyc?|\.c|\.new)?|topology-\d+\.xml)\Z")

log = logging.getLogger("gshell.agent")


class Request(NamedTuple):
    """A rank that asks."""

    rank: int
    """The job's number."""
    size: int
    """As its launcher says; 0: it does not."""
    pid: int
    cwd: str
    argv0: str


class Offer(NamedTuple):
    """What it gets."""

    fds: tuple[int, ...]
    """stdin, stdout, stderr; or a terminal. Closed here once they were handed over."""
    pty: bool
    cwd: str
    program: str
    """To be executed for its first word; empty: that."""
    env: dict[str, str]
    taken: Callable[[int], None]
    """It has them: the number of the process that is the rank."""
    left: Callable[[], None]
    """It was gone before it had."""


class Owner(Protocol):
    """Who opened a door: what is between an MPI job and its launcher."""

    def claim(self, request: Request) -> Offer | None:
        """None: this rank is not ours."""

    def remote(self, host: str, command: str, shell: RemoteShell) -> bool:
        """Run it there and tell ``shell``; False: there is no such host."""


class RemoteShell:
    """One run of the remote shell: where the command that it is for is heard. Invariant: after
    ``on_gone`` was called, or all of `exited` was taken, it is closed."""

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        self._loop = loop
        self._sock = sock
        self._waiting: list[bytes] = []  # packets that it has no room for
        self._paused = False
        self._over = False
        self._mask = IN
        self.on_input: Callable[[bytes], None] = lambda data: None
        """What it was fed; empty: the end."""
        self.on_gone: Callable[[], None] = lambda: None
        """Who asked is there no more: the launcher wants it ended."""
        self.on_sent: Callable[[int], None] = lambda count: None
        """So many bytes of output have been taken."""

    def listen(self) -> None:
        self._loop.add(self._sock.fileno(), IN, self._ready)

    def pause(self, paused: bool) -> None:
        """What it is fed is not heard for a while: the other side is behind."""
        if paused != self._paused:
            self._paused = paused
            self._look()

    def output(self, fd: int, data: bytes) -> None:
        for start in range(0, len(data), SENT_BYTES):
            self.say(b"%d" % fd + data[start : start + SENT_BYTES])

    def exited(self, code: int) -> None:
        self._over = True
        self.say(b"x%d" % code)

    def close(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.remove(self._sock.fileno())
            self._sock.close()

    def say(self, packet: bytes) -> None:
        """Nothing happens if who asked is gone."""
        if self._sock.fileno() < 0:
            return
        self._waiting.append(packet)
        if len(self._waiting) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._waiting and self._sock.fileno() >= 0:
            try:
                self._sock.send(self._waiting[0])
            except BlockingIOError:
                break
            except OSError:
                pass  # its end is heard
            packet = self._waiting.pop(0)
            if packet[:1].isdigit() and not self._over:
                self.on_sent(len(packet) - 1)
        if self._over and not self._waiting:
            self.close()
        self._look()

    def _look(self) -> None:
        if self._sock.fileno() >= 0:
            mask = (0 if self._paused else IN) | (OUT if self._waiting else 0)
            if mask != self._mask:
                self._mask = mask
                self._loop.modify(self._sock.fileno(), mask)

    def _ready(self, mask: int) -> None:
        if self._waiting and mask & OUT:
            self._flush()
        if mask & IN and self._sock.fileno() >= 0:
            self._heard()

    def _heard(self) -> None:
        try:
            packet = self._sock.recv(PACKET_BYTES)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if packet:
            self.on_input(packet[1:])
        else:
            self.close()
            self.on_gone()


class Claims:
    """The socket, while the agent lives; made when the first door is opened."""

    def __init__(self, loop: Loop, base: str | None = None) -> None:
        self._loop = loop
        self._place = SpoolPlace(base, PLACE)
        self._socket: socket.socket | None = None
        self._doors: dict[str, Owner] = {}
        self._asking: dict[int, tuple[socket.socket, Timer]] = {}
        self.path = ""
        self.helper: list[str] = []
        """The start of an argv: of `rankexec.py`, which follows "rank" or "rsh"."""
        self.compiled = ""
        """The same program of C, for ranks without a terminal; empty: there is none (yet)."""
        self.build: Build | None = None
        """Once a launcher's program has run here."""
        self.topology: Topology | None = None
        """Once an MPICH program has run here."""

    def open(self, owner: Owner) -> str:
        """A key for this job's ranks.

        Raises:
            OSError: there is no place for a socket.
        """
        if self._socket is None:
            self._listen()
        key = os.urandom(16).hex()
        self._doors[key] = owner
        return key

    def shut(self, key: str) -> None:
        """Who still has it gets no answer."""
        self._doors.pop(key, None)

    def environment(self, key: str, terminals: bool = False) -> dict[str, str]:
        """What a launcher's daemon needs to have, for ranks and remote shells to find us;
        ``terminals``: some ranks get one."""
        compiled = self.compiled and not terminals and os.path.exists(self.compiled)
        words = [*([self.compiled] if compiled else self.helper), "rank"]
        return {"GSHELL_RANKS": self.path, "GSHELL_RANKS_KEY": key,
                "GSHELL_RANK_EXEC": shlex.join(words)}  # fmt: skip

    def close(self) -> None:
        """The agent ends."""
        for beside in (self.topology, self.build):
            if beside is not None:
                beside.close()
        self._doors.clear()
        for sock, timer in list(self._asking.values()):
            self._forget(sock, timer)
            sock.close()
        if self._socket is not None:
            self._loop.remove(self._socket.fileno())
            self._socket.close()
            self._socket = None
        self._place.remove()

    def keep(self, name: str, data: bytes) -> str:
        """A file for ranks to read, as long as the agent lives; ``name`` is one of NAMES.

        Raises:
            OSError: it cannot be written.
        """
        path = os.path.join(self._place.path(), name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def leftovers(self) -> Iterator[str]:
        """Remove what dead agents left, a file with each step."""
        return self._place.leftovers()

    # -- asking

    def _listen(self) -> None:
        folder = self._place.path()
        path = os.path.join(folder, "socket")
        if len(path) > LONGEST_PATH:
            self._place.remove()
            self._place = SpoolPlace("/tmp", PLACE)  # noqa: S108 - a directory of our own in it
            folder = self._place.path()
            path = os.path.join(folder, "socket")
        self.helper = [sys.executable, "-I", "-S", self._write_helper(folder)]
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            sock.setblocking(False)
            sock.bind(path)
            sock.listen(BACKLOG)
            self._loop.add(sock.fileno(), IN, self._come)
        except OSError:
            sock.close()
            raise
        self._socket = sock
        self.path = path

    def _write_helper(self, folder: str) -> str:
        """A file of its own, whatever we came in: what starts with every rank unpacks nothing."""
        import pkgutil  # only where a launcher is used
        import py_compile

        source = os.path.join(folder, "rankexec.py")
        with open(source, "wb") as file:
            file.write(pkgutil.get_data("gshell.agent", "rankexec.py") or b"")
        compiled = source + "c"
        try:
            py_compile.compile(source, compiled, doraise=True)
        except py_compile.PyCompileError:
            return source
        return compiled

    def _come(self, mask: int) -> None:
        assert self._socket is not None
        while len(self._asking) < MOST_WAITING:
            try:
                sock, _ = self._socket.accept()
            except OSError:  # all were taken; or no descriptors are left, and epoll tells again
                return
            sock.setblocking(False)
            timer = self._loop.later(SAY_S, functools.partial(self._give_up, sock))
            self._asking[sock.fileno()] = sock, timer
            self._loop.add(sock.fileno(), IN, functools.partial(self._asked, sock))

    def _give_up(self, sock: socket.socket) -> None:
        if sock.fileno() in self._asking:
            self._forget(sock, self._asking[sock.fileno()][1])
            sock.close()

    def _forget(self, sock: socket.socket, timer: Timer) -> None:
        timer.cancel()
        self._asking.pop(sock.fileno(), None)
        self._loop.remove(sock.fileno())

    def _asked(self, sock: socket.socket, mask: int) -> None:
        try:
            packet = sock.recv(PACKET_BYTES)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        self._forget(sock, self._asking[sock.fileno()][1])
        pid, uid = peer(sock)
        words = packet.split(b"\0")
        owner = self._owner(words[1]) if len(words) > 1 and uid == os.getuid() else None
        if owner is None:
            sock.close()
        elif words[0] == b"rank" and len(words) == 6:
            self._offer(sock, owner, pid, words)
        elif words[0] == b"rsh" and len(words) == 4:
            shell = RemoteShell(self._loop, sock)
            host, command = os.fsdecode(words[2]), os.fsdecode(words[3])
            shell.listen()  # its end is heard, if there is nobody any more
            shell.say(b"ok")
            if not owner.remote(host, command, shell):
                shell.output(2, b"gshell: no member of this job is at " + words[2] + b"\n")
                shell.exited(255)
        else:
            sock.close()

    def _owner(self, key: bytes) -> Owner | None:
        found = None
        for known, owner in self._doors.items():
            if hmac.compare_digest(known.encode(), key):
                found = owner
        return found

    def _offer(self, sock: socket.socket, owner: Owner, pid: int, words: list[bytes]) -> None:
        request = Request(
            _number(words[2]), max(0, _number(words[3])), pid, *map(os.fsdecode, words[4:])
        )
        offer = owner.claim(request) if request.rank >= 0 else None
        if offer is None:
            sock.close()
            return
        kind = b"pty" if offer.pty else b"pipes"
        env = [os.fsencode(f"{name}={value}") for name, value in offer.env.items()]
        answer = b"\0".join([b"ok", kind, os.fsencode(offer.cwd), os.fsencode(offer.program), *env])
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", offer.fds))]
        try:
            sock.sendmsg([answer], rights)
            sent = True
        except OSError:
            sent = False
        for fd in offer.fds:
            os.close(fd)
        if not sent:
            sock.close()
            offer.left()
        elif not offer.pty:
            sock.close()  # what was sent is read all the same
            offer.taken(pid)
        else:
            self._await_child(sock, pid, offer)

    def _await_child(self, sock: socket.socket, pid: int, offer: Offer) -> None:
        """Who has a terminal may be a child of who asked, and says so."""

        def heard(mask: int) -> None:
            try:
                said = _number(sock.recv(64))
            except BlockingIOError:
                return
            except OSError:
                said = -1
            timer = self._asking[sock.fileno()][1]
            self._forget(sock, timer)
            sock.close()
            if said == pid or (said > 1 and parent_of(said) == pid):
                offer.taken(said)
            else:
                offer.left()

        def give_up() -> None:
            self._give_up(sock)
            offer.left()

        self._asking[sock.fileno()] = sock, self._loop.later(SAY_S, give_up)
        self._loop.add(sock.fileno(), IN, heard)


def peer(sock: socket.socket) -> tuple[int, int]:
    """(process, user) at the other end of a unix socket."""
    size = struct.calcsize("3i")
    pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return pid, uid


def parent_of(pid: int) -> int:
    """0: there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError):
        return 0


def _number(text: bytes) -> int:
    """
    >>> _number(b"12"), _number(b"x"), _number(b"")
    (12, -1, -1)
    """
    return int(text) if text.isdigit() and len(text) < 10 else -1


def _remove(above: int, name: str) -> Iterator[str]:
    try:
        os.unlink(name, dir_fd=above)
        yield name
    except OSError:
        pass


PLACE = Kind("ranks", NAMES, _remove)
