"""Opens, and listens for, connections on this node over stdin and stdout: the far end of
port forwarding (gshell/net/FORWARD.md).

A service: the session that carries it gives resume and back-pressure. It may do what any program
of the user may; where a connection that comes *here* leads is the client's to say.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile

from gshell.errors import GshellError, RemoteProtocolError
from gshell.net import mux, x11
from gshell.net.channels import Channel, Channels, accept_all, listen, listen_unix
from gshell.net.loop import IN, OUT, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

READ_BYTES = 1 << 18
HIGH_WATER_BYTES = 1 << 19  # towards the client; beyond it sockets are not read
FIRST_DISPLAY, LAST_DISPLAY = 10, 1000  # as sshd: below are the machine's own


class _Listener:
    """A listening socket here, and what goes with it."""

    def __init__(self, sock: socket.socket, path: str = "", folder: str = "") -> None:
        self.sock = sock
        self.path = path
        """A unix socket's file, ours to delete."""
        self.folder = folder
        """A directory of ours, with the display's cookie."""


class Node:
    """Between stdin and stdout and the sockets here, until stdin ends."""

    def __init__(self, loop: Loop, reads: int, writes: int) -> None:
        self.loop = loop
        self.status: int | None = None
        self._reads, self._writes = reads, writes
        self._out = bytearray()
        self._waits = False  # for stdout, in the loop
        self._heard_at = loop.clock()
        self._listeners: dict[int, _Listener] = {}
        self.channels = Channels(loop, self, first=2)
        self.channels.on_open = self._open
        self.channels.on_frame = self._frame
        for fd in (reads, writes):
            os.set_blocking(fd, False)
        loop.add(reads, IN, self._read)
        loop.later(mux.KEEP_S, self._look)

    # -- the way to the client

    @property
    def room(self) -> bool:
        return len(self._out) < HIGH_WATER_BYTES

    def send(self, data: bytes) -> None:
        self._out += data
        if not self._waits:
            self._waits = True
            self.loop.soon(lambda: self._write(0))

    def _write(self, mask: int) -> None:
        if self.status is not None:
            return
        try:
            while self._out:
                del self._out[: os.write(self._writes, self._out)]
        except BlockingIOError:
            pass
        except OSError:  # nobody reads any more
            self.status = 1
            return
        if self._out and not mask:
            self.loop.add(self._writes, OUT, self._write)
        elif not self._out:
            if mask:
                self.loop.remove(self._writes)
            self._waits = False
        self.channels.flow()

    def _read(self, mask: int) -> None:
        try:
            data = os.read(self._reads, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.status = 0
            return
        self._heard_at = self.loop.clock()
        try:
            self.channels.feed(data)
        except RemoteProtocolError as error:
            sys.stderr.write(f"gshell forward: {error.message}\n")
            self.status = 1

    def _look(self) -> None:
        """A client that says nothing for so long is gone, and listeners are not left behind."""
        if self.loop.clock() - self._heard_at > mux.SILENT_S:
            self.status = 0
        self.loop.later(mux.KEEP_S, self._look)

    # -- what the client wants

    def _open(self, channel: Channel, message: dict[str, Any]) -> None:
        path, host, port = message.get("unix"), message.get("host"), message.get("port")
        if isinstance(path, str) and path and "\0" not in path:
            self.channels.connect_unix(channel, os.path.expanduser(path))
        elif isinstance(host, str) and isinstance(port, int) and 0 < port < 65536:
            self.channels.connect(channel, host, port)
        else:
            self.channels.refuse(channel, "no such place", "")

    def _frame(self, frame: mux.Frame) -> None:
        if frame.kind == mux.LISTEN:
            self._listen(frame.channel, frame.message)
        elif frame.kind == mux.UNLISTEN:
            self._unlisten(frame.channel)

    def _listen(self, id: int, message: dict[str, Any]) -> None:
        try:
            if id in self._listeners or len(self._listeners) >= mux.MAX_LISTENERS:
                raise ValueError("too many listeners")
            answer = self._make(id, message)
        except (OSError, ValueError, TypeError, OverflowError, GshellError) as error:
            why = getattr(error, "strerror", None) or str(error)
            answer = {"error": why[:500]}
        self.send(mux.encode(mux.LISTENING, id, answer))

    def _make(self, id: int, message: dict[str, Any]) -> dict[str, Any]:
        if "x11" in message:
            return self._make_display(id, dict(message["x11"]))
        path = message.get("unix")
        if path is not None:
            path = os.path.abspath(os.path.expanduser(str(path)))
            sock = listen_unix(path)
            self._add(id, _Listener(sock, path))
            return {"at": path}
        sock = listen(str(message.get("host", "localhost")), int(message.get("port", 0)))
        self._add(id, _Listener(sock))
        return {"port": sock.getsockname()[1]}

    def _make_display(self, id: int, wanted: dict[str, Any]) -> dict[str, Any]:
        """A display on this host's loopback, and a file with the cookie that opens it."""
        cookie = bytes.fromhex(str(wanted.get("cookie", "")))
        named = wanted.get("display")
        number, sock = _free_display(None if named is None else int(named))
        path, folder = str(wanted.get("authority") or ""), ""
        try:
            if path:
                folder = os.path.dirname(path)
                os.mkdir(folder, 0o700)  # it must be new: nobody else's
            else:
                folder = tempfile.mkdtemp(prefix="gshell-x11-")
                path = folder + "/authority"
            fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:
                file.write(x11.authority(number, cookie))
            os.rename(path + ".new", path)
        except OSError:
            sock.close()
            raise
        self._add(id, _Listener(sock, folder=folder))
        return {"display": f"localhost:{number}.0", "authority": path}

    def _add(self, id: int, listener: _Listener) -> None:
        self._listeners[id] = listener

        def came(sock: socket.socket) -> None:
            self.channels.offer(sock, {"listener": id})

        self.loop.add(listener.sock.fileno(), IN, lambda mask: accept_all(listener.sock, came))

    def _unlisten(self, id: int) -> None:
        listener = self._listeners.pop(id, None)
        if listener is None:
            return
        self.loop.remove(listener.sock.fileno())
        listener.sock.close()
        if listener.path:
            try:
                os.unlink(listener.path)
            except OSError:
                pass
        if listener.folder:
            shutil.rmtree(listener.folder, ignore_errors=True)

    def close(self) -> None:
        for id in list(self._listeners):
            self._unlisten(id)
        self.channels.close()


def _free_display(named: int | None) -> tuple[int, socket.socket]:
    """A display's number and its listener; the named one, or the first that is free.

    Raises:
        OSError: none is.
    """
    number = FIRST_DISPLAY if named is None else named
    while True:
        try:
            return number, listen("127.0.0.1", x11.FIRST_TCP_PORT + number)
        except OSError:
            if named is not None or number >= LAST_DISPLAY:
                raise
        number += 1


def main(words: list[str]) -> int:
    """Serve one client; the exit status."""
    import signal

    loop = Loop()
    node = Node(loop, 0, 1)
    ends: list[int] = []
    for name in ("TERM", "HUP", "INT"):
        signal.signal(getattr(signal, "SIG" + name), lambda number, frame: ends.append(number))
    reads, writes = socket.socketpair()
    writes.setblocking(False)
    signal.set_wakeup_fd(writes.fileno(), warn_on_full_buffer=False)

    def woken(mask: int) -> None:
        reads.recv(64)

    loop.add(reads.fileno(), IN, woken)
    try:
        while node.status is None and not ends:
            loop.once()
    finally:
        node.close()
    return node.status or 0
