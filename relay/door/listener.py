"""Takes connections and tells them apart by their first bytes, within limits on what a stranger
costs.

Knows nothing of what follows: TLS goes to `control`, a whole preamble to `meet`, the rest is
closed.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import struct
from collections.abc import Callable
from typing import Protocol

from gshell.errors import ProtocolError
from gshell.net import rendezvous
from gshell.net.address import tune
from gshell.net.loop import IN, Loop
from gshell.net.rendezvous import Preamble
from relay.door.splice import Farewells
from relay.door.tally import Tally

DEADLINE_S = 10.0  # from the connection to who it is
STRANGERS = 1024  # connections not authenticated yet; beyond that the oldest goes
ACCEPT_AT_ONCE = 64  # then the established sessions have their turn
_PAUSE_S = 0.5  # with no descriptor left: something may close meanwhile
_READ_BYTES = 16_384  # the longest preamble is 6 KiB; more than this is not taken from a stranger
_TLS = 0x16
_NO_SSH = b"gshell relay: there is no SSH door here\r\n"
_OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_log = logging.getLogger("relay.door")


class Stranger(Protocol):
    """Who connected; ends without a word when its time is up."""

    def expire(self) -> None: ...


class Listener:
    """Accepts on one socket, which it does not own; every stranger has a deadline."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        to_control: Callable[[socket.socket], Stranger],
        to_meet: Callable[[socket.socket, Preamble, bytes], None],
        farewells: Farewells,
        only_uid: int | None = None,
        tally: Tally | None = None,
    ) -> None:
        self.loop = loop
        self.tally = tally or Tally()
        self.farewells = farewells
        self.sock = sock
        self.to_control = to_control
        self.to_meet = to_meet
        self.only_uid = only_uid
        self.strangers: dict[int, tuple[float, Stranger]] = {}  # in order of arrival
        self._keys = 0
        self._sweeping = False
        self._open = False

    def open(self) -> None:
        if not self._open:
            self._open = True
            self.loop.add(self.sock.fileno(), IN, self._accept)

    def close(self) -> None:
        """Accept no more; strangers that are here keep their time."""
        if self._open:
            self._open = False
            self.loop.remove(self.sock.fileno())

    # ------------------------------------------------------------------------------------ strangers

    def admit(self, stranger: Stranger) -> int:
        """Watch it until `known`; returns its key."""
        if len(self.strangers) >= STRANGERS:
            oldest = next(iter(self.strangers))
            self.tally.silent += 1
            self.strangers.pop(oldest)[1].expire()
        self._keys += 1
        self.strangers[self._keys] = (self.loop.clock() + DEADLINE_S, stranger)
        if not self._sweeping:
            self._sweeping = True
            self.loop.later(DEADLINE_S, self._sweep)
        return self._keys

    def known(self, key: int) -> None:
        self.strangers.pop(key, None)

    def expire_all(self) -> None:
        while self.strangers:
            self.strangers.popitem()[1][1].expire()

    def _sweep(self) -> None:
        now = self.loop.clock()
        while self.strangers:
            key = next(iter(self.strangers))
            when, stranger = self.strangers[key]
            if when > now:
                self.loop.later(when - now, self._sweep)
                return
            del self.strangers[key]
            self.tally.silent += 1
            stranger.expire()
        self._sweeping = False

    # ------------------------------------------------------------------------------------ accepting

    def _accept(self, _: int) -> None:
        for _turn in range(ACCEPT_AT_ONCE):
            try:
                sock, _address = self.sock.accept()
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
            try:
                tune(sock)
            except OSError:
                sock.close()
                continue
            _First(self, sock)


class _First:
    """A connection of which nothing is known. Owns its socket until it is handed on."""

    __slots__ = ("_data", "_key", "_listener", "_sock")

    def __init__(self, listener: Listener, sock: socket.socket) -> None:
        self._listener = listener
        self._sock = sock
        self._data = b""
        self._key = listener.admit(self)
        listener.loop.add(sock.fileno(), IN, self._on_event)

    def expire(self) -> None:
        self._listener.loop.remove(self._sock.fileno())
        self._sock.close()

    def _release(self) -> socket.socket:
        self._listener.known(self._key)
        self._listener.loop.remove(self._sock.fileno())
        return self._sock

    def _hush(self) -> None:
        self._listener.tally.silent += 1
        self._release().close()

    def _on_event(self, _: int) -> None:
        try:
            if not self._data:
                first = self._sock.recv(1, socket.MSG_PEEK)
                if first and first[0] == _TLS:
                    self._listener.to_control(self._release())
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
            sock = self._release()
            try:
                sock.send(_NO_SSH)
            except OSError:
                pass
            self._listener.farewells.take(sock)
            return
        try:
            preamble = rendezvous.parse(self._data)
        except ProtocolError:
            self._hush()
            return
        if preamble is not None:
            self._listener.to_meet(self._release(), preamble, self._data[preamble.size :])


def _peer_uid(sock: socket.socket) -> int:
    size = struct.calcsize("3i")
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    uid: int = struct.unpack("3i", raw)[1]
    return uid
