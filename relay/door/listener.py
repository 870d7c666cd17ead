"""Takes connections and tells them apart by their first bytes, within limits on what a stranger
costs.

Knows nothing of what follows: TLS goes to `control`, a whole preamble to `meet`, SSH to another
process (`sshdoor`), the rest is closed.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Protocol

from gshell.errors import ProtocolError
from gshell.net import rendezvous
from gshell.net.address import tune
from gshell.net.loop import IN, Loop, Timer
from gshell.net.rendezvous import Preamble
from relay.door import limits
from relay.door.limits import Limits, Turns
from relay.door.splice import Farewells
from relay.door.tally import Tally

ACCEPT_AT_ONCE = 64  # then the established sessions have their turn
_PAUSE_S = 0.5  # with no descriptor left: something may close meanwhile
_READ_BYTES = 16_384  # the longest preamble is 6 KiB; more than this is not taken from a stranger
_CROWD = 64  # strangers at once whose memory is worth giving back
_TLS = 0x16
_SSH = ord("S")  # nothing else of ours begins so
SSH_SILENT_S = 5.0  # some SSH clients wait for the server to speak first; others may be slow
_NO_SSH = b"gshell relay: there is no SSH door here\r\n"
_OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_log = logging.getLogger("relay.door")


class Stranger(Protocol):
    """Who connected; ends without a word when its time is up."""

    def expire(self) -> None: ...


class Listener:
    """Accepts on sockets which it does not own; every stranger has a deadline and a source."""

    def __init__(
        self,
        loop: Loop,
        socks: Sequence[socket.socket],
        to_control: Callable[[socket.socket], Stranger],
        to_meet: Callable[[socket.socket, Preamble, bytes], None],
        farewells: Farewells,
        only_uid: int | None = None,
        tally: Tally | None = None,
        to_ssh: Callable[[socket.socket, str], None] | None = None,
    ) -> None:
        """``to_ssh`` gets connections of which nothing was read, and their source."""
        self.loop = loop
        self.to_ssh = to_ssh
        self.tally = tally or Tally()
        self.farewells = farewells
        self.socks = list(socks)
        self.to_control = to_control
        self.to_meet = to_meet
        self.only_uid = only_uid
        self.limits = Limits()
        self.strangers: dict[int, Stranger] = {}
        self._turns = Turns()  # TLS handshakes that have not begun
        self._taking_turns = False
        self._sweeping = False
        self._most = 0  # strangers at once, since memory was given back
        self._open = False
        self._said_shut = 0

    def open(self) -> None:
        if not self._open:
            self._open = True
            for sock in self.socks:
                self.loop.add(sock.fileno(), IN, self._accepting(sock))

    def close(self) -> None:
        """Accept no more; strangers that are here keep their time."""
        if self._open:
            self._open = False
            for sock in self.socks:
                self.loop.remove(sock.fileno())

    # ------------------------------------------------------------------------------------ strangers

    def admit(self, stranger: Stranger, source: str) -> int:
        """Watch it until `leave`; returns its key."""
        now = self.loop.clock()
        key = self.limits.arrive(source, now)
        self.strangers[key] = stranger
        self._most = max(self._most, len(self.strangers))
        victim = self.limits.too_many(source)
        if victim:
            self._expire(victim, limits.CROWDED)
        if not self._sweeping:
            self._sweeping = True
            self.loop.later(limits.DEADLINE_S, self._sweep)
        return key

    def leave(self, key: int, penalty: float = 0.0) -> None:
        """It is none any more: known, handed on, or gone; and what that costs its source."""
        if self.strangers.pop(key, None) is not None:
            self.limits.gone(key, self.loop.clock(), penalty)

    def vouch(self, sock: socket.socket) -> None:
        """Somebody known is at the other end."""
        source = source_of(sock)
        if source:
            self.limits.known(source, self.loop.clock())

    def blame(self, sock: socket.socket, penalty: float) -> None:
        """Who is at the other end wasted our time."""
        source = source_of(sock)
        if source:
            self.limits.blame(source, penalty, self.loop.clock())

    def expire_all(self) -> None:
        while self.strangers:
            self._expire(next(iter(self.strangers)), 0.0)

    def _expire(self, key: int, penalty: float) -> None:
        stranger = self.strangers.pop(key)
        self.tally.silent += 1
        self.limits.gone(key, self.loop.clock(), penalty)
        stranger.expire()

    def _sweep(self) -> None:
        now = self.loop.clock()
        while key := self.limits.overdue(now):
            self._expire(key, limits.TOO_SLOW)
        if self._most > _CROWD and len(self.strangers) < self._most / 8:
            self._most = 0
            give_back()
        next_at = self.limits.next_deadline()
        if next_at is not None:
            self.loop.later(next_at - now, self._sweep)
        else:
            self._sweeping = False

    # ----------------------------------------------------------------------------------- handshakes

    def queue(self, source: str, begin: Callable[[], None]) -> None:
        """``begin`` a TLS handshake when it is this source's turn: a few in each round, for what
        they cost is taken from everybody's keystrokes."""
        self._turns.add(source, begin)
        if not self._taking_turns:
            self._taking_turns = True
            self.loop.soon(self._take_turns)

    def _take_turns(self) -> None:
        for begin in self._turns.take(limits.HELLOS_A_ROUND):
            begin()
        if self._turns:
            self.loop.soon(self._take_turns)
        else:
            self._taking_turns = False

    # ------------------------------------------------------------------------------------ accepting

    def _accepting(self, sock: socket.socket) -> Callable[[int], None]:
        return lambda _: self._accept(sock)

    def _accept(self, listening: socket.socket) -> None:
        for _turn in range(ACCEPT_AT_ONCE):
            try:
                sock, _address = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self.tally.accept_errors += 1
                if error.errno in _OUT_OF:
                    _log.error("cannot accept: %s", os.strerror(error.errno or 0))
                    self.close()
                    self.loop.later(_PAUSE_S, self.open)
                    return
                continue  # that one connection was broken already
            self.tally.accepted += 1
            sock.setblocking(False)
            if self.only_uid is not None and _peer_uid(sock) not in (self.only_uid, 0):
                sock.close()
                continue
            source = source_of(sock)
            if not self.limits.may_come(source, self.loop.clock()):
                sock.close()
                self._say_shut(source)
                continue
            try:
                tune(sock)
            except OSError:
                sock.close()
                continue
            _First(self, sock, source)

    def _say_shut(self, source: str) -> None:
        """Into the log, at doubling intervals: a flood must not fill the disk either."""
        if self.limits.shut_out >= 2 * self._said_shut:
            self._said_shut = self.limits.shut_out
            _log.warning("%s is shut out for a while: too much nonsense from there (%d refused)",
                         source, self.limits.shut_out)  # fmt: skip


class _First:
    """A connection of which nothing is known. Owns its socket until it is handed on."""

    __slots__ = ("_data", "_gone", "_key", "_listener", "_silence", "_sock", "_source")

    def __init__(self, listener: Listener, sock: socket.socket, source: str) -> None:
        self._listener = listener
        self._sock = sock
        self._source = source
        self._data = b""
        self._gone = False
        self._silence: Timer | None = None
        self._key = listener.admit(self, source)
        if not self._gone:
            listener.loop.add(sock.fileno(), IN, self._on_event)
            if listener.to_ssh is not None and sock.family != socket.AF_UNIX:
                self._silence = listener.loop.later(SSH_SILENT_S, self._to_ssh)

    def expire(self) -> None:
        self._be_gone()
        self._listener.loop.remove(self._sock.fileno())
        self._sock.close()

    def _be_gone(self) -> None:
        self._gone = True
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _to_ssh(self) -> None:
        to_ssh = self._listener.to_ssh
        if not self._gone and not self._data and to_ssh is not None:
            to_ssh(self._release(), self._source)

    def _release(self, penalty: float = 0.0) -> socket.socket:
        self._be_gone()
        self._listener.leave(self._key, penalty)
        self._listener.loop.remove(self._sock.fileno())
        return self._sock

    def _hush(self, penalty: float = 0.0) -> None:
        self._listener.tally.silent += 1
        self._release(penalty).close()

    def _to_control(self) -> None:
        """Its turn has come."""
        if not self._gone:
            self._listener.to_control(self._release())

    def _on_event(self, _: int) -> None:
        try:
            if not self._data:
                first = self._sock.recv(1, socket.MSG_PEEK)
                if first and self._silence is not None:
                    self._silence.cancel()
                    self._silence = None
                if first and first[0] == _SSH and self._listener.to_ssh is not None:
                    self._to_ssh()
                    return
                if first and first[0] == _TLS:
                    self._listener.loop.modify(self._sock.fileno(), 0)
                    self._listener.queue(self._source, self._to_control)
                    return
            data = self._sock.recv(_READ_BYTES - len(self._data))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._data += data
        if not data:
            self._hush()
            return
        if self._data[:4] == b"SSH-":
            sock = self._release(limits.GARBAGE)
            try:
                sock.send(_NO_SSH)
            except OSError:
                pass
            self._listener.farewells.take(sock)
            return
        try:
            preamble = rendezvous.parse(self._data)
        except ProtocolError:
            self._hush(limits.GARBAGE)
            return
        if preamble is not None:
            self._listener.to_meet(self._release(), preamble, self._data[preamble.size :])


def give_back() -> None:
    """What the C library keeps for later goes back to the system: OpenSSL's buffers are big."""
    import ctypes  # hardly ever needed
    import gc

    gc.collect()  # a connection and its owner know each other
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):  # not every C library has it
        pass


def source_of(sock: socket.socket) -> str:
    """Of what a stranger's source is; empty for a process of this machine (a unix socket)."""
    if sock.family == socket.AF_UNIX:
        return ""
    try:
        host = str(sock.getpeername()[0])
    except OSError:  # it has gone already
        return ""
    return limits.source_of(sock.family == socket.AF_INET6, host)


def _peer_uid(sock: socket.socket) -> int:
    size = struct.calcsize("3i")
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    uid: int = struct.unpack("3i", raw)[1]
    return uid
