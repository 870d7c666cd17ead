"""How asyncssh is loaded and asked, so that a short command on many hosts is soon done."""

from __future__ import annotations

import asyncio
import ctypes.util
import functools
import glob
import os
import socket
import sys
import threading
from collections.abc import Mapping
from typing import Any

KNOCK_S = 5.0  # after that they are connections of their own
# The quickest first of what is as good (a handshake's arithmetic is much of a short command), but
# behind those that a quantum computer would not break.
_KEX, _BEFORE = "ecdh-sha2-nistp256", "curve25519"
_CIPHER = "aes128-gcm@openssh.com"
_LIBRARIES = (
    "/lib", "/lib64", "/lib/*-linux-gnu*", "/usr/lib", "/usr/lib64", "/usr/lib/*-linux-gnu*",
    "/usr/local/lib", "/usr/local/lib64",
)  # fmt: skip


def library() -> Any:
    """asyncssh.

    It looks for libraries that it may use, with `ctypes.util.find_library`, which asks a compiler
    and a linker for those that are not there: a third of the import's time. So not for these.

    Raises:
        ImportError: it is not installed.
    """
    if "asyncssh" not in sys.modules:
        found, here = ctypes.util.find_library, threading.get_ident()

        def find(name: str) -> str | None:
            if threading.get_ident() == here and sys.platform == "linux":
                places = [*_LIBRARIES, *os.environ.get("LD_LIBRARY_PATH", "").split(":")]
                if not any(glob.glob(f"{p}/lib{name}.so*") for p in places if p):
                    return None
            return found(name)

        ctypes.util.find_library = find
        try:
            import asyncssh
        finally:
            ctypes.util.find_library = found
    import asyncssh

    return asyncssh


class Knocks:
    """Connections to servers, begun with before asyncssh is there: a server does a good deal when
    it gets one. asyncssh goes on with them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._knocks: dict[tuple[str, int], asyncio.Task[socket.socket]] = {}

    def knock(self, address: str, port: int, most: int) -> None:
        """Unless ``most`` were begun with."""
        if (address, port) not in self._knocks and len(self._knocks) < most:
            knock = self._loop.create_task(self._knock(address, port))
            knock.add_done_callback(looked_at)
            self._knocks[address, port] = knock

    async def _knock(self, address: str, port: int) -> socket.socket:
        error: OSError | None = None
        for family, kind, protocol, _, where in await self._loop.getaddrinfo(
            address, port, type=socket.SOCK_STREAM
        ):
            one = socket.socket(family, kind, protocol)
            one.setblocking(False)
            try:
                await self._loop.sock_connect(one, where)
            except OSError as refused:
                one.close()
                error = error or refused
            except BaseException:
                one.close()
                raise
            else:
                return one
        raise error or OSError(f"{address} has no address")

    async def taken(self, address: str, port: int, most_s: float) -> socket.socket | None:
        """The one to there, if there is one.

        Raises:
            OSError: it came to nothing.
        """
        knock = self._knocks.pop((address, port), None)
        if knock is None:
            return None
        try:
            return await asyncio.wait_for(knock, most_s)
        except TimeoutError:
            raise OSError(f"no answer within {most_s:g} s") from None

    def forget(self) -> None:
        """A server waits for some time only."""
        for knock in self._knocks.values():
            if not knock.done():
                knock.cancel()
            elif not knock.cancelled() and knock.exception() is None:
                knock.result().close()
        self._knocks.clear()


def may_be_elsewhere(refused: Any) -> bool:
    """A session that this connection has no room for, rather than a command that the host refuses;
    nothing was begun."""
    import asyncssh

    return refused.code in (
        asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, asyncssh.OPEN_CONNECT_FAILED,
        asyncssh.OPEN_RESOURCE_SHORTAGE,
    )  # fmt: skip


def quick(said: Mapping[str, Any]) -> dict[str, list[str]]:
    """The algorithms that are asked for, where the user's configuration (``said``) names none."""
    quickest = _quickest()
    return {name: names for name, names in quickest.items() if not said.get(name)}


@functools.cache
def _quickest() -> dict[str, list[str]]:
    import asyncssh

    usual = asyncssh.SSHClientConnectionOptions(config=None, client_keys=None, known_hosts=None)
    kex = [one.decode() for one in usual.kex_algs]
    ciphers = [one.decode() for one in usual.encryption_algs]
    chosen = {}
    if _KEX in kex:
        kex.remove(_KEX)
        at = next((n for n, one in enumerate(kex) if one.startswith(_BEFORE)), 0)
        chosen["kex_algs"] = [*kex[:at], _KEX, *kex[at:]]
    if _CIPHER in ciphers:
        ciphers.remove(_CIPHER)
        chosen["encryption_algs"] = [_CIPHER, *ciphers]
    return chosen


def looked_at(task: asyncio.Task[Any]) -> None:
    """How it went is no news for the loop, if nobody waits for it any more."""
    if not task.cancelled():
        task.exception()


def configured() -> bool:
    """What asyncssh reads on its own."""
    return os.access(home("~/.ssh/config"), os.R_OK)


def home(path: str) -> str:
    return os.path.expanduser(path)
