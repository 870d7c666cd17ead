"""Addresses: ``host:port`` and ``unix:/path``. Dialling and listening, nothing above.

And ``head:HOST:PORT/WORD``: a forwarder of our own on the way there, see `preface`.
"""

from __future__ import annotations

import errno
import os
import struct

from gshell.errors import UsageError

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    import socket
    from typing import Any
else:
    import _socket as socket  # what that is made of: it loads `enum` and more, and costs 6 ms


ONE_OF_SEVERAL_S = 1.5  # for each address of a name that has several
RESOLVE_S = 2.0  # a name server that does not answer must not stop a loop for its own half minute
HALF_OPEN_S = 35.0  # without an answer to what we sent; looked at every 10 s, noticed within 45
_UNIX_PATH_MAX = 107  # bytes that fit into sockaddr_un
HEAD = "head:"  # a node without a way out dials the head of its pilot, which hands it on


def split(address: str) -> tuple[int, str | tuple[str, int]]:
    """(family hint, what the socket module wants) of an address.

    Raises:
        UsageError: neither form.
    """
    if address.startswith("unix:"):
        return socket.AF_UNIX, address[5:]
    if address.startswith(HEAD):
        address = address[len(HEAD) :].partition("/")[0]
    host, colon, port = address.rpartition(":")
    host = host.strip("[]")
    number = port.isascii() and port.isdigit() and len(port) <= 5
    if not colon or not host or not number or int(port) >= 65536:
        raise UsageError(
            f"{address!r} is not an address", hint="write HOST:PORT, [IPV6]:PORT or unix:/PATH"
        )
    return socket.AF_UNSPEC, (host, int(port))


def preface(address: str) -> bytes:
    """What is said first on a connection to ``address``: to a pilot's head, the word by which it
    knows its nodes; to anybody else nothing. What follows is between us and the relay."""
    if not address.startswith(HEAD):
        return b""
    return address.partition("/")[2].encode() + b"\n"


def tune(sock: socket.socket) -> None:
    """What every connection of ours wants: no Nagle, dead peers noticed."""
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 25)  # below common NAT time-outs
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


_TCP_INFO = struct.Struct("8B13I")


def half_open(sock: socket.socket) -> bool:
    """Has the other side of a TCP connection stopped to answer what we send?

    Keep-alive finds who is silent only while nothing is on its way to them; and TCP_USER_TIMEOUT
    would take a program that is stopped for dead. Its kernel answers for it, which is seen here.
    """
    if sock.family == socket.AF_UNIX:  # no cable to pull: the kernel tells at once
        return False
    try:
        return _unanswered(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
    except OSError:
        return False


def _unanswered(info: bytes) -> bool:
    if len(info) < _TCP_INFO.size:
        return False
    fields = _TCP_INFO.unpack(info)
    probes, unacked, last_ack_s = fields[3], fields[8 + 4], fields[8 + 12] / 1e3
    return bool(last_ack_s > HALF_OPEN_S and (unacked > 0 or probes > 1))


def start_connect(address: str) -> tuple[socket.socket, bool]:
    """A non-blocking socket on its way to ``address``, and whether it is connected already.

    Raises:
        OSError: it cannot even start (no such host, refused at once).
    """
    family, target = split(address)
    if family == socket.AF_UNIX:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with unix_path(str(target)) as path:
                sock.connect(path)  # never waits long: a local queue
        except BaseException:
            sock.close()
            raise
        sock.setblocking(False)
        return sock, True
    assert isinstance(target, tuple)
    infos = _resolve(*target)
    if len(infos) > 1:
        return _connect_to_one(address, infos), True
    sock = socket.socket(*infos[0][:3])
    sock.setblocking(False)
    tune(sock)
    code = sock.connect_ex(infos[0][4])
    if code in (0, errno.EINPROGRESS):
        return sock, code == 0
    sock.close()
    raise OSError(code, os.strerror(code))


_resolved: dict[tuple[str, int], list[Any]] = {}  # for when the name server is away


def _resolve(host: str, port: int) -> list[Any]:
    """What a name means, or meant last time.

    Raises:
        OSError: nothing, or nobody says.
    """
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    import _thread

    said: list[Any] = []
    done = _thread.allocate_lock()
    done.acquire()

    def look_up() -> None:
        try:
            said.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            said.append(error)
        finally:
            done.release()

    _thread.start_new_thread(look_up, ())
    done.acquire(timeout=RESOLVE_S)
    answer = said[0] if said else socket.gaierror(socket.EAI_AGAIN, "the name server is silent")
    if isinstance(answer, list):
        _resolved[host, port] = answer
        return answer
    before = _resolved.get((host, port))
    if before is None:
        raise answer
    return before


_answered: dict[str, object] = {}  # address -> which of its several meanings worked last


def _connect_to_one(address: str, infos: list[Any]) -> socket.socket:
    """To the first that answers of a name's several addresses (IPv6 and IPv4, most often), the one
    that did last time first. Waits, but for one round trip if all is well."""
    infos = sorted(infos, key=lambda info: info[4] != _answered.get(address))
    problem: OSError = OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
    for info in infos:
        sock = socket.socket(*info[:3])
        try:
            tune(sock)
            sock.settimeout(ONE_OF_SEVERAL_S)
            sock.connect(info[4])
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            problem = error
            continue
        _answered[address] = info[4]
        return sock
    raise problem


def listen(address: str, backlog: int = 1024) -> socket.socket:
    """A listening, non-blocking socket. A unix socket's file is made 0600 and replaced if stale.

    Raises:
        OSError: taken, not permitted, no such host.
    """
    import socket  # who listens accepts, which only this one's can

    family, target = split(address)
    if family == socket.AF_UNIX:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with unix_path(str(target)) as path:
                try:
                    sock.connect(path)
                except OSError:
                    pass
                else:
                    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            sock.close()
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with unix_path(str(target)) as path:
                if os.path.lexists(path):
                    os.unlink(path)
                sock.bind(path)
                os.chmod(path, 0o600)
        except BaseException:
            sock.close()
            raise
    else:
        assert isinstance(target, tuple)
        info = socket.getaddrinfo(*target, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        sock = socket.socket(info[0], info[1], info[2])
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(info[4])
        except BaseException:
            sock.close()
            raise
    sock.listen(backlog)
    sock.setblocking(False)
    return sock


def peer_name(sock: socket.socket) -> str:
    """Where a connection comes from, for logs: ``HOST:PORT``, or ``uid N`` of a local process."""
    try:
        if sock.family == socket.AF_UNIX:
            size = struct.calcsize("3i")
            raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            return f"uid {struct.unpack('3i', raw)[1]}"
        host, port = sock.getpeername()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    except OSError:
        return ""


class unix_path:
    """A path that fits into sockaddr_un however long the real one is: through the directory's
    descriptor in /proc."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> str:
        if len(os.fsencode(self._path)) <= _UNIX_PATH_MAX:
            return self._path
        folder, name = os.path.split(self._path)
        self._fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._fd}/{name}"

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
