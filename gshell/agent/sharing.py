"""Files that one node has or is being sent, passed on to other nodes: a broadcast's inner part.

A client gives all nodes of one transfer the same new certificate and its key, over their sessions,
which are encrypted end to end. Node to node it is TLS 1.3 in which both ends show that certificate
and take no other: nobody else reads along, asks for a file or answers in a node's place. Whether
what came is what the client has, its digest says at the end (`files`). A file is passed on while it
comes in. Each connection has a thread, which reads what the service writes.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import deque

from gshell.errors import GshellError
from gshell.model.ticket import Ticket
from gshell.net import channels, filewire
from gshell.net.incoming import READ_BYTES, Incoming
from gshell.net.place import Place
from gshell.net.tls import Tls, client_context, server_context
from gshell.net.trouble import Trouble

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Callable

CONNECT_S = 1.0  # for each address: a node of another site does not answer at all
GREET_S = 10.0  # from being connected to having seen each other's certificate
KEEP_S = 2.0  # a node that waits for the file itself says so, so often
SILENT_S = 15.0  # nothing at all for so long: it is gone
STALLED_S = 60.0  # it is there, and has nothing for so long: its own client is gone, most likely
SLOW_S = 60.0  # who takes nothing for so long is gone
CONNECTIONS = 64
COMING, WHOLE, LOST = range(3)


class _Item:
    """A file. Invariant: ``fd`` is open while it is coming, and only then."""

    __slots__ = ("at", "fd", "path", "size", "state")

    def __init__(self, path: str, size: int, fd: int = -1) -> None:
        self.path = path
        self.size = size
        self.fd = fd
        self.at = 0
        """Bytes of it that are here."""
        self.state = COMING

    def close(self, state: int) -> None:
        self.state = state
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Shares:
    """What a session has of a transfer's files, by their numbers; and the node it has them from.

    Invariant: items are touched with ``_news`` held only.
    """

    def __init__(self, place: Place, certificate: str, key: str, address: str = "*") -> None:
        """``address``: where to listen; ``*``: on all that this node has.

        Raises:
            Trouble: no certificate, or nobody can be listened to.
        """
        ours = Ticket(kind="", user="", agent_id="", relays=[], pin="", ca=certificate,
                      cert=certificate, key=key, mac_id="", mac_key="")  # fmt: skip
        try:
            self._serving, self._asking = server_context(ours), client_context(ours)
            self._listener = channels.listen(address, 0)
        except (OSError, ValueError) as error:  # ssl's errors are the former
            raise Trouble("io", f"files cannot be passed on from here: {error}") from None
        self._listener.setblocking(True)
        self.port = int(self._listener.getsockname()[1])
        self._place = place
        self._items: dict[int, _Item] = {}
        self._news = threading.Condition()
        self._room = threading.Semaphore(CONNECTIONS)
        self._parent: tuple[list[tuple[str, int]], _Talk | None] = ([], None)
        self._start(self._accept)

    def close(self) -> None:
        """No more is passed on to who is new."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)  # else `accept` would wait for ever
        except OSError:
            pass
        self._listener.close()
        self._leave_parent()

    @staticmethod
    def _start(call: Callable[..., None], *words: Any) -> None:
        threading.Thread(target=call, args=words, daemon=True).start()

    # -- from the service, in its thread

    def begin(self, number: int, path: str, incoming: Incoming) -> None:
        """It is about to be written from ``incoming.at`` on. Who reads it already goes on, if it is
        the same part."""
        with self._news:
            item = self._items.get(number)
            if item is not None:
                fd = incoming.dup()
                same = item.fd >= 0 and os.path.samestat(os.fstat(item.fd), os.fstat(fd))
                os.close(fd)
                if same and incoming.at >= item.at:
                    item.at = incoming.at
                    return
                item.close(LOST)
            item = self._items[number] = _Item(path, incoming.size, incoming.dup())
            item.at = incoming.at
            self._news.notify_all()

    def came(self, number: int, at: int) -> None:
        with self._news:
            item = self._items.get(number)
            if item is not None:
                item.at = at
                self._news.notify_all()

    def whole(self, number: int, path: str, size: int) -> None:
        """It is there, under its name."""
        with self._news:
            item = self._items.setdefault(number, _Item(path, size))
            item.at = size
            item.close(WHOLE)
            self._news.notify_all()

    def lost(self, number: int) -> None:
        """It will not be had from here."""
        with self._news:
            self._items.setdefault(number, _Item("", 0)).close(LOST)
            self._news.notify_all()

    # -- passing on: a thread for each connection

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                if self._listener.fileno() < 0:
                    return
                time.sleep(0.1)  # no descriptor left, perhaps
                continue
            if self._room.acquire(blocking=False):
                self._start(self._serve, sock)
            else:
                sock.close()

    def _serve(self, sock: socket.socket) -> None:
        try:
            with sock:
                talk = _Talk(sock, Tls(self._serving, server_side=True))
                talk.greet()
                while True:
                    sock.settimeout(None)  # it may be busy with something else
                    asked = talk.hear()
                    sock.settimeout(SLOW_S)
                    if isinstance(asked, bytes):
                        return
                    self._pass_on(talk, filewire.number(asked, "id"),
                                  filewire.number(asked, "offset"))  # fmt: skip
        except (OSError, GshellError):
            return  # it says so to its client, or is gone
        finally:
            self._room.release()

    def _pass_on(self, talk: _Talk, number: int, at: int) -> None:
        fd, first = -1, None
        try:
            while True:
                item, have = self._more(talk, number, at)
                if first is None:
                    first = item
                    talk.say({"m": "file", "size": item.size})
                if item.state == LOST or item is not first:
                    raise Trouble("lost", "it was begun anew, or given up")
                if fd < 0:
                    fd = self._open(item)
                while at < have:
                    data = os.pread(fd, min(READ_BYTES, have - at), at)
                    if not data:
                        raise Trouble("lost", "it became shorter")
                    talk.send(filewire.data_head(len(data)) + data)
                    at += len(data)
                if at >= item.size:  # its hash is the client's to know
                    talk.say({"m": "end"})
                    return
        except Trouble:
            talk.say({"m": "error"})
        finally:
            if fd >= 0:
                os.close(fd)

    def _more(self, talk: _Talk, number: int, at: int) -> tuple[_Item, int]:
        """The item, and how much of it is here: more than ``at``, if it will ever be."""
        while True:
            with self._news:
                for _ in range(2):
                    item = self._items.get(number)
                    if item is not None and (
                        item.at > at or item.state != COMING or at >= item.size
                    ):
                        return item, item.at
                    if _ == 0:
                        self._news.wait(KEEP_S)
            talk.say({"m": "wait"})

    def _open(self, item: _Item) -> int:
        """A descriptor of our own: the service closes its any time.

        Raises:
            Trouble: it cannot be read.
        """
        with self._news:
            if item.fd >= 0:
                return os.dup(item.fd)
        return self._place.open(item.path)[0]

    # -- from another node

    def fetch(
        self, addresses: list[tuple[str, int]], number: int, offset: int, size: int
    ) -> Iterator[bytes]:
        """What comes of a file from the node with these addresses, from ``offset`` on.

        Raises:
            Trouble: ``away``: it cannot be reached, ``gone``: it could, ``lost``: it has it not.
        """
        if self._parent[0] != addresses:
            self._leave_parent()
            self._parent = addresses, self._connect(addresses)
        talk = self._parent[1]
        if talk is None:
            raise Trouble("away", "the node that has it cannot be reached from here")
        try:
            talk.say({"m": "get", "id": number, "offset": offset})
            left, came_at = size - offset, time.monotonic()
            while True:
                heard = talk.hear()
                if isinstance(heard, bytes):
                    left, came_at = left - len(heard), time.monotonic()
                    yield heard
                elif time.monotonic() - came_at > STALLED_S:
                    raise ConnectionError("it waits, too")
                elif heard.get("m") == "end":
                    break
                elif heard.get("m") == "error":
                    raise Trouble("lost", "the node that had it has it no more")
                elif heard.get("m") == "file" and heard.get("size") != size:
                    raise Trouble("lost", "the node that has it has another one")
        except (OSError, GshellError) as error:
            if isinstance(error, Trouble):
                raise
            self._leave_parent()
            self._parent = addresses, None  # what is asked of it next is answered at once
            raise Trouble("gone", "the node that it came from is gone") from None
        if left:
            raise Trouble("lost", "the node that has it sent less")

    def _connect(self, addresses: list[tuple[str, int]]) -> _Talk | None:
        for host, port in addresses:
            sock = None
            try:
                sock = socket.create_connection((host, port), CONNECT_S)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                talk = _Talk(sock, Tls(self._asking, server_side=False))
                talk.greet()
                sock.settimeout(SILENT_S)
                return talk
            except (OSError, GshellError, OverflowError):
                if sock is not None:
                    sock.close()
        return None

    def _leave_parent(self) -> None:
        talk = self._parent[1]
        if talk is not None:
            talk.sock.close()
        self._parent = [], None


class _Talk:
    """One TLS connection between two nodes, as files and messages. It blocks."""

    def __init__(self, sock: socket.socket, tls: Tls) -> None:
        self.sock = sock
        self._tls = tls
        self._decoder = filewire.Decoder()
        self._heard: deque[Any] = deque()

    def greet(self) -> None:
        """
        Raises:
            OSError, GshellError: it is none of ours.
        """
        self.sock.settimeout(GREET_S)
        self.sock.sendall(self._tls.start())
        while not self._tls.ready:
            self._read()

    def send(self, data: bytes) -> None:
        self.sock.sendall(self._tls.write(data))

    def say(self, message: dict[str, Any]) -> None:
        self.send(filewire.encode(message))

    def hear(self) -> dict[str, Any] | bytes:
        while not self._heard:
            self._read()
        item: dict[str, Any] | bytes = self._heard.popleft()
        return item

    def _read(self) -> None:
        data = self.sock.recv(READ_BYTES)
        chunks = self._tls.feed(data)
        answer = self._tls.outgoing()
        if answer:
            self.sock.sendall(answer)
        if not data or (chunks and not chunks[-1]):
            raise ConnectionResetError("the other node has ended")
        for chunk in chunks:
            self._heard.extend(self._decoder.feed(chunk))
