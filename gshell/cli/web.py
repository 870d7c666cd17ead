"""``gshell web``: a gateway through which a browser shows a shared job."""

from __future__ import annotations

import ipaddress
import socket
import sys
import time
from collections.abc import Callable

from gshell.cli import launch
from gshell.cli.options import Parsed
from gshell.errors import GshellError, UsageError
from gshell.model.ticket import Ticket
from gshell.net import address


def web(parsed: Parsed) -> int:
    family, target = address.split(parsed["listen"])
    if family == socket.AF_UNIX or not isinstance(target, tuple):
        raise UsageError("--listen: browsers know no unix sockets", hint="--listen 127.0.0.1:8080")
    host, port = target
    if bool(parsed["cert"]) != bool(parsed["key"]):
        raise UsageError("--cert and --key: one without the other", hint="PEM files, both")
    if not parsed["cert"] and not parsed["clear"] and not _is_loopback(host):
        raise UsageError(
            f"--listen {parsed['listen']}: without TLS everybody on the way could read along",
            hint="--cert FILE --key FILE, or listen on 127.0.0.1 behind a proxy that has them; "
            "--clear if the network is yours",
        )
    ticket = launch.ticket_for(parsed, start=False)
    try:
        from gshell.web import main
        from gshell.web.gateway import Settings
    except ImportError as error:
        raise GshellError(
            f"the gateway needs the package {error.name}", hint="pip install 'gshell[web]'"
        ) from None
    there = Ticket("", "", "", ticket.relays, ticket.pin, "", "", "", "", "")
    names = {socket.gethostname(), *parsed["name"]}
    settings = Settings(
        there,
        ticket.user,
        frozenset(name.lower() for name in names),
        main.context_of(parsed["cert"], parsed["key"]) if parsed["cert"] else None,
        once=bool(parsed["once"]),
        log=lambda line: _log(f"{time.strftime('%H:%M:%S')} {line}"),
    )

    def ready(url: str) -> None:
        _log(url)
        if not parsed["quiet"]:
            sys.stderr.write(
                f"gshell: serves jobs shared at {', '.join(ticket.relays)}; Ctrl-C ends it\n"
                "  It decrypts what it shows: its visitors have to trust this machine, and you.\n"
                f"  give out:  gshell share ID --web {url.rstrip('/')}\n"
            )
            sys.stderr.flush()

    return main.run(settings, host, port, ready)


def _log(line: str) -> None:
    print(line, flush=True)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


VERBS: dict[str, Callable[[Parsed], int]] = {"web": web}
