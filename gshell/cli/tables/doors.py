"""The commands of other ways in: stock SSH and a browser. Knows not what they do."""

from __future__ import annotations

from gshell.cli.options import Command, Option
from gshell.cli.sessions import GLOBAL

WEB = Command(
    "web",
    "serve shared jobs to browsers, while it runs",
    (
        Option("--listen", "HOST:PORT", "where (else 127.0.0.1:8080)", default="127.0.0.1:8080"),
        Option("--once", help="for one visit; it ends when that leaves"),
        Option("--name", "HOST", "a name by which browsers know it", repeat=True),
        Option("--cert", "FILE", "with TLS: its certificate (PEM)"),
        Option("--key", "FILE", "and that one's key"),
        Option("--clear", help="listen without TLS where others could read along"),
    ),
    examples=(
        ("gshell web", "for browsers on this machine"),
        ("gshell web --once", "until the first visitor leaves"),
    ),
    about="`gshell share ID --web URL` prints an address to open. The page is a terminal: who has "
    "the address sees the job and, if shared with --write, types. The session is decrypted in this "
    "process, so its visitors trust who runs it; the page says so. The secret is the part of the "
    "address behind #, which browsers do not send.",
    common=GLOBAL,
    module="gshell.cli.web",
    packages=True,
)

COMMANDS: tuple[Command, ...] = (WEB,)
