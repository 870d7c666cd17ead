"""Listens on the relay's address, and says in a person's words why it cannot. Accepts nothing."""

from __future__ import annotations

import errno
import ipaddress
import socket

from gshell.errors import GshellError, UsageError
from gshell.net import address


def listen(where: str) -> socket.socket:
    """
    Raises:
        GshellError: taken, not permitted, no such address; and what to do.
    """
    try:
        return address.listen(where)
    except OSError as error:
        raise GshellError(*_why_not(where, error)) from None


def _why_not(where: str, error: OSError) -> tuple[str, str]:
    if error.errno == errno.EADDRINUSE:
        port = where.rpartition(":")[2]
        if where.startswith("unix:"):
            return (f"{where[5:]} is in use by another program",
                    "gshell relay status    or choose another --listen")  # fmt: skip
        return (f"{where} is in use by another program",
                f"ss -ltnp 'sport = :{port}'    or choose another port: --listen")  # fmt: skip
    if error.errno in (errno.EACCES, errno.EPERM):
        return (f"no permission to listen on {where}",
                "choose a port above 1023: --listen HOST:PORT")  # fmt: skip
    if isinstance(error, socket.gaierror):
        return f"{where}: {error.strerror}", "--listen 0.0.0.0:PORT listens on all addresses"
    if error.errno == errno.EADDRNOTAVAIL:
        return (f"{where} is not an address of this machine",
                "--listen 0.0.0.0:PORT listens on all addresses")  # fmt: skip
    return f"cannot listen on {where}: {error.strerror}", "choose another --listen"


def bound(where: str, sock: socket.socket) -> str:
    """The address with the port that the kernel chose for port 0."""
    if where.startswith("unix:"):
        return where
    host = where.rpartition(":")[0]
    return f"{host}:{sock.getsockname()[1]}"


def local(listen: str) -> str:
    """What a process on this machine dials."""
    host, colon, port = listen.rpartition(":")
    if listen.startswith("unix:") or host.strip("[]") not in ("0.0.0.0", "::", "*", ""):
        return listen
    return f"{'[::1]' if '::' in host else '127.0.0.1'}{colon}{port}"


def reachable(listen: str) -> str:
    """What others dial: our name, if we listen on all addresses."""
    if listen.startswith("unix:"):
        return listen
    host, _, port = listen.rpartition(":")
    if host.strip("[]") in ("0.0.0.0", "::", "*"):
        return f"{socket.getfqdn()}:{port}"
    return listen


def check_metrics(where: str, anywhere: bool) -> str:
    """An address for scrapers: this machine's own, as they are not asked who they are.

    Raises:
        UsageError: others could connect, or it is no address.
    """
    family, target = address.split(where)
    if family == socket.AF_UNIX or anywhere:
        return where
    host = str(target[0])
    try:
        near = ipaddress.ip_address(host).is_loopback
    except ValueError:
        near = host == "localhost"
    if not near:
        raise UsageError(
            f"--metrics {where}: others could read the figures there",
            hint="--metrics 127.0.0.1:9464, unix:PATH, or add --metrics-anywhere",
        )
    return where
