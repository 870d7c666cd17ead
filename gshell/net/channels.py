"""Sockets at one end, channels to the other: either end of port forwarding, whatever carries it.

Both ends are alike; who may be asked to do what is the owner's to say. Back-pressure is a read
that doesn't happen: of a socket whose channel has no credit, and of all of them while the way
itself is full. A channel that stands still holds at most its window and delays no other.
"""

from __future__ import annotations

import _thread
import errno
import os
import socket
import stat

from gshell.errors import RemoteProtocolError
from gshell.net import mux
from gshell.net.loop import IN, OUT, Loop

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol
else:
    Protocol = object

CONNECT_S = 30.0
READ_BYTES = mux.MAX_DATA


class Gate(Protocol):
    """Looks at the first bytes that go to a socket."""

    def feed(self, data: bytes) -> bytes | None:
        """What to write instead; None: more is needed.

        Raises:
            ValueError: close it.
        """


class Way(Protocol):
    """What carries the frames."""

    @property
    def room(self) -> bool: ...

    def send(self, data: bytes) -> None: ...


class Channel:
    """A socket and its channel. Invariant: of what came, ``out`` has not been written and is not
    credited."""

    __slots__ = (
        "closed", "credit", "gate", "got_eof", "id", "mask", "on_answer", "open", "out", "owed",
        "prepaid", "read_eof", "room", "sent_eof", "sock", "wrote_eof",
    )  # fmt: skip

    def __init__(self, id: int, sock: socket.socket | None) -> None:
        self.id = id
        self.sock = sock
        self.open = False
        self.closed = False
        self.credit = mux.WINDOW  # that we may send
        self.room = mux.WINDOW  # that they may
        self.owed = 0  # taken, and not said yet
        self.prepaid = 0  # bytes of `out` that were credited when they came
        self.out = bytearray()
        self.read_eof = self.sent_eof = self.got_eof = self.wrote_eof = False
        self.mask = -1  # not in the loop
        self.gate: Gate | None = None
        self.on_answer: Callable[[dict[str, Any] | None], None] | None = None
        """Told of OPENED (None) or REFUSED (why), once, by who opened it."""


class Channels:
    """All of one end. ``feed`` what arrives; ``flow`` when the way has room again."""

    def __init__(self, loop: Loop, way: Way, first: int) -> None:
        """``first``: the first channel's number, 1 at the client, 2 at the node; then every
        second."""
        self.loop = loop
        self.way = way
        self.on_open: Callable[[Channel, dict[str, Any]], None] = self._refuse_open
        self.on_frame: Callable[[mux.Frame], None] = lambda frame: None
        self._next = first
        self._all: dict[int, Channel] = {}
        self._decoder = mux.Decoder()
        self._stalled = False
        self._connected: list[tuple[Channel, socket.socket | OSError]] = []
        self._handing = _thread.allocate_lock()  # a connection, by the thread that made it
        self._reads, self._writes = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        loop.add(self._reads, IN, self._woken)

    def __len__(self) -> int:
        return len(self._all)

    def close(self) -> None:
        for channel in list(self._all.values()):
            self._drop(channel)
        with self._handing:
            self.loop.remove(self._reads)
            os.close(self._reads)
            os.close(self._writes)
            self._reads = -1
            for _, found in self._connected:
                if not isinstance(found, OSError):
                    found.close()

    # -- what the other end says

    def feed(self, data: bytes) -> None:
        """
        Raises:
            RemoteProtocolError: it breaks a rule.
        """
        for frame in self._decoder.feed(data):
            kind = frame.kind
            if kind == mux.DATA:
                self._on_data(frame)
            elif kind == mux.OPEN:
                self._on_open(frame)
            elif kind in (mux.LISTEN, mux.LISTENING, mux.UNLISTEN, mux.KEEP):
                self.on_frame(frame)
            else:
                channel = self._all.get(frame.channel)
                if channel is not None:
                    self._on_small(channel, frame)

    def _on_data(self, frame: mux.Frame) -> None:
        channel = self._all.get(frame.channel)
        if channel is None:
            return  # closed here; they will hear of it
        size = len(frame.data)
        if size > channel.room or channel.got_eof:
            raise RemoteProtocolError("over-limit", f"channel {frame.channel}")
        channel.room -= size
        if channel.gate is None:
            channel.out += frame.data
        else:
            self._took(channel, size)
            try:
                passed = channel.gate.feed(frame.data)
            except ValueError:
                self.reset(channel)
                return
            if passed is None:
                return
            channel.gate = None
            channel.out += passed
            channel.prepaid = len(passed)
        self._write(channel)

    def _on_open(self, frame: mux.Frame) -> None:
        if frame.channel in self._all or frame.channel % 2 == self._next % 2:
            raise RemoteProtocolError("bad-channel", f"{frame.channel}")
        channel = Channel(frame.channel, None)
        if len(self._all) >= mux.MAX_CHANNELS:
            self.refuse(channel, "too many connections at a time", "")
            return
        self._all[channel.id] = channel
        self.on_open(channel, frame.message)

    def _refuse_open(self, channel: Channel, message: dict[str, Any]) -> None:
        self.refuse(channel, "nothing is opened here", "")

    def _on_small(self, channel: Channel, frame: mux.Frame) -> None:
        kind = frame.kind
        if kind == mux.CREDIT:
            channel.credit += frame.number
            if channel.credit > mux.WINDOW:
                raise RemoteProtocolError("bad-grant", f"channel {channel.id}")
            self._want(channel)
        elif kind == mux.OPENED and channel.on_answer is not None:
            channel.open = True
            told, channel.on_answer = channel.on_answer, None
            told(None)
            self._want(channel)
        elif kind == mux.REFUSED and channel.on_answer is not None:
            told, channel.on_answer = channel.on_answer, None
            told(frame.message)
            self._finish_out(channel)
        elif kind == mux.EOF:
            channel.got_eof = True
            self._write(channel)
        elif kind == mux.RESET:
            self._drop(channel, hard=True)

    def _finish_out(self, channel: Channel) -> None:
        """Refused: what was answered to a SOCKS client still goes out."""
        if channel.out and channel.sock is not None:
            try:
                channel.sock.send(channel.out)
            except OSError:
                pass
        self._drop(channel)

    # -- opening

    def offer(
        self,
        sock: socket.socket,
        message: dict[str, Any],
        told: Callable[[Channel, dict[str, Any] | None], None] | None = None,
    ) -> Channel | None:
        """A connection was accepted here: have the other end open its other half."""
        if len(self._all) >= mux.MAX_CHANNELS:
            sock.close()
            return None
        sock.setblocking(False)
        channel = Channel(self._next, sock)
        self._next += 2
        channel.on_answer = lambda why: told(channel, why) if told else None
        self._all[channel.id] = channel
        self.way.send(mux.encode(mux.OPEN, channel.id, message))
        return channel

    def send_first(self, channel: Channel, data: bytes) -> None:
        """Bytes that were read from the socket before it was ours."""
        channel.credit -= len(data)
        self.way.send(mux.data(channel.id, data))

    def connect(self, channel: Channel, host: str, port: int) -> None:
        """To a host, by its name here: in a thread, for name servers may be slow."""

        def go() -> None:
            found: socket.socket | OSError
            try:
                found = socket.create_connection((host, port), CONNECT_S)
            except OSError as error:
                found = error
            except (ValueError, OverflowError) as error:  # a name that cannot be one
                found = OSError(errno.EINVAL, str(error))
            with self._handing:
                if self._reads < 0:  # nobody waits any more, and the descriptor is another's
                    if not isinstance(found, OSError):
                        found.close()
                    return
                self._connected.append((channel, found))
                try:
                    os.write(self._writes, b"!")
                except BlockingIOError:  # full: it will be read
                    pass

        try:
            _thread.start_new_thread(go, ())
        except RuntimeError:
            self.refuse(channel, "no thread to be had", "EAGAIN")

    def connect_unix(self, channel: Channel, path: str) -> None:
        from gshell.net.address import unix_path

        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            with unix_path(path) as short:
                sock.connect(short)
        except (OSError, ValueError) as error:
            sock.close()
            self._refuse(channel, error)
            return
        self._opened(channel, sock)

    def _woken(self, mask: int) -> None:
        try:
            os.read(self._reads, 4096)
        except BlockingIOError:
            pass
        done, self._connected = self._connected, []
        for channel, found in done:
            if not isinstance(found, OSError):
                if channel.closed or self._all.get(channel.id) is not channel:
                    found.close()
                else:
                    self._opened(channel, found)
            elif not channel.closed:
                self._refuse(channel, found)

    def _opened(self, channel: Channel, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        channel.sock = sock
        channel.open = True
        self.way.send(mux.encode(mux.OPENED, channel.id))
        self._write(channel)

    def _refuse(self, channel: Channel, error: OSError | ValueError) -> None:
        number = getattr(error, "errno", None)
        code = errno.errorcode.get(number or 0, "")
        if isinstance(error, socket.gaierror):
            code = "name"
        elif isinstance(error, TimeoutError):
            code = "ETIMEDOUT"
        self.refuse(channel, getattr(error, "strerror", None) or str(error), code)

    def refuse(self, channel: Channel, why: str, code: str) -> None:
        """Say no to what they wanted opened."""
        message = {"why": why[:500], "code": code}
        self.way.send(mux.encode(mux.REFUSED, channel.id, message))
        self._drop(channel)

    # -- the socket's side

    def _want(self, channel: Channel) -> None:
        """Ask the loop for what can be done now."""
        sock = channel.sock
        if sock is None or channel.closed:
            return
        reading = channel.open and not channel.read_eof and channel.credit > 0
        if reading and not self.way.room:
            self._stalled = True
            reading = False
        mask = (IN if reading else 0) | (OUT if channel.out else 0)
        if channel.mask < 0:
            if mask:
                channel.mask = mask
                self.loop.add(sock.fileno(), mask, lambda mask: self._ready(channel, mask))
        elif mask != channel.mask:
            channel.mask = mask
            self.loop.modify(sock.fileno(), mask)

    def flow(self) -> None:
        """The way has room."""
        if self._stalled and self.way.room:
            self._stalled = False
            for channel in list(self._all.values()):
                self._want(channel)

    def _ready(self, channel: Channel, mask: int) -> None:
        if mask & OUT and channel.mask & OUT:
            self._write(channel)
        if mask & IN and channel.mask > 0 and channel.mask & IN and not channel.closed:
            self._read(channel)

    def _read(self, channel: Channel) -> None:
        assert channel.sock is not None
        if not self.way.room:
            self._want(channel)
            return
        try:
            data = channel.sock.recv(min(READ_BYTES, channel.credit))
        except BlockingIOError:
            return
        except OSError:
            self.reset(channel)
            return
        if data:
            channel.credit -= len(data)
            self.way.send(mux.data(channel.id, data))
        else:
            channel.read_eof = True
            channel.sent_eof = True
            self.way.send(mux.encode(mux.EOF, channel.id))
            self._check_over(channel)
        self._want(channel)

    def _write(self, channel: Channel) -> None:
        sock = channel.sock
        if sock is None or channel.closed or (not channel.open and channel.on_answer is None):
            return
        if channel.out:
            try:
                sent = sock.send(channel.out)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.reset(channel)
                return
            del channel.out[:sent]
            paid = min(sent, channel.prepaid)
            channel.prepaid -= paid
            self._took(channel, sent - paid)
        if channel.got_eof and not channel.out and not channel.wrote_eof:
            channel.wrote_eof = True
            try:
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # they are gone: reading says so
            self._check_over(channel)
        self._want(channel)

    def _took(self, channel: Channel, count: int) -> None:
        channel.owed += count
        if 2 * channel.owed >= mux.WINDOW:
            self.way.send(mux.credit(channel.id, channel.owed))
            channel.room += channel.owed
            channel.owed = 0

    def answer(self, channel: Channel, data: bytes) -> None:
        """Bytes of our own to the local side, ahead of the channel's (SOCKS)."""
        channel.out += data
        channel.prepaid += len(data)
        self._write(channel)

    # -- ends

    def _check_over(self, channel: Channel) -> None:
        if channel.sent_eof and channel.wrote_eof:
            self._drop(channel)

    def reset(self, channel: Channel) -> None:
        """It broke, here."""
        if not channel.closed:
            self.way.send(mux.encode(mux.RESET, channel.id))
            self._drop(channel)

    def _drop(self, channel: Channel, hard: bool = False) -> None:
        channel.closed = True
        if self._all.get(channel.id) is channel:
            del self._all[channel.id]
        sock = channel.sock
        if sock is not None:
            channel.sock = None
            if channel.mask >= 0:
                self.loop.remove(sock.fileno())
            if hard and sock.family != socket.AF_UNIX:
                try:  # a reset there is a reset here, not an end of file
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                except OSError:
                    pass
            sock.close()
        channel.out = bytearray()


def listen(host: str, port: int) -> socket.socket:
    """A TCP listener for a forwarding; ``*`` or empty: on all addresses.

    Raises:
        OSError: it cannot be.
    """
    from gshell.net import address

    if host in ("", "*"):
        try:
            return address.listen(f"[::]:{port}", 128)
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
            return address.listen(f"0.0.0.0:{port}", 128)
    return address.listen(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", 128)


def listen_unix(path: str) -> socket.socket:
    """A unix socket for a forwarding. A stale one is replaced, anything else is left alone.

    Raises:
        OSError: it cannot be.
    """
    from gshell.net import address

    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        pass
    else:
        if not stat.S_ISSOCK(mode):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    return address.listen("unix:" + path, 128)


def accept_all(sock: socket.socket, came: Callable[[socket.socket], None]) -> None:
    """Every connection that waits at a listener."""
    for _ in range(64):
        try:
            connection, _ = sock.accept()
        except BlockingIOError:
            return
        except OSError:  # no descriptor left, or it is gone again
            return
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        came(connection)
