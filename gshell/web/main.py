"""Starts a gateway and keeps it until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import ssl
from typing import TYPE_CHECKING

from gshell.errors import GshellError, UsageError
from gshell.web.gateway import Gateway, Settings

if TYPE_CHECKING:
    from collections.abc import Callable


def context_of(cert: str, key: str) -> ssl.SSLContext:
    """
    Raises:
        UsageError: these files are no certificate and its key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"--cert {cert}, --key {key}: {error}") from None
    return context


def run(settings: Settings, host: str, port: int, ready: Callable[[str], None]) -> int:
    """Serve; ``ready`` gets the page's address. The exit status.

    Raises:
        GshellError: it cannot listen there.
    """
    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # a scanner's noise; no secrets
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(settings, host, port, ready))
    return 0


async def _serve(settings: Settings, host: str, port: int, ready: Callable[[str], None]) -> None:
    gateway = Gateway(settings)
    try:
        server = await gateway.start(host, port)
    except OSError as error:
        raise GshellError(
            f"cannot listen on {host}:{port}: {_why(error)}",
            hint="gshell web --listen 127.0.0.1:0    takes any free port",
        ) from None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, gateway.over.set)
    bound = next(iter(server.sockets)).getsockname()[1]
    scheme = "https" if settings.context else "http"
    ready(f"{scheme}://{f'[{host}]' if ':' in host else host}:{bound}/")
    await gateway.over.wait()
    server.close()
    await server.wait_closed()


def _why(error: OSError) -> str:
    number = error.errno or 0  # a name's are negative, and asyncio words the others its own way
    return os.strerror(number) if number > 0 else str(error.strerror or error)
