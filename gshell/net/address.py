"""Addresses: ``host:port`` and ``unix:/path``. Dialling and listening, nothing above."""

from __future__ import annotations

import errno
import os
import socket

from gshell.errors import UsageError

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    pass

_UNIX_PATH_MAX = 107  # bytes that fit into sockaddr_un


def split(address: str) -> tuple[int, str | tuple[str, int]]:
    """(family hint, what the socket module wants) of an address.

    Raises:
        UsageError: neither form.
    """
    if address.startswith("unix:"):
        return socket.AF_UNIX, address[5:]
    host, colon, port = address.rpartition(":")
    host = host.strip("[]")
    if not colon or not host or not port.isdigit() or not 0 <= int(port) < 65536:
        raise UsageError(
            f"{address!r} is not an address", hint="write HOST:PORT, [IPV6]:PORT or unix:/PATH"
        )
    return socket.AF_UNSPEC, (host, int(port))


def tune(sock: socket.socket) -> None:
    """What every connection of ours wants: no Nagle, dead peers noticed."""
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 25)  # below common NAT time-outs
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


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
    infos = socket.getaddrinfo(*target, type=socket.SOCK_STREAM)
    kind, proto = infos[0][1], infos[0][2]
    sock = socket.socket(infos[0][0], kind, proto)
    sock.setblocking(False)
    tune(sock)
    code = sock.connect_ex(infos[0][4])
    if code in (0, errno.EINPROGRESS):
        return sock, code == 0
    sock.close()
    raise OSError(code, os.strerror(code))


def listen(address: str, backlog: int = 1024) -> socket.socket:
    """A listening, non-blocking socket. A unix socket's file is made 0600 and replaced if stale.

    Raises:
        OSError: taken, not permitted, no such host.
    """
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
