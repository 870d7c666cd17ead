"""The prompt where the terminal can do nothing but lines: no escape is ever written."""

from __future__ import annotations

import sys

from gshell.cli.options import Parsed
from gshell.model.sanitize import sanitize
from gshell.repl import reading, scripts
from gshell.repl.session import Leave, Session


def words_of(session: Session) -> str:
    """What stands before the line: where one is, and the last status if it is not 0."""
    status = f"[{session.status}] " if session.status else ""
    return f"{status}{sanitize(session.place.short(), 40) or 'gshell'}> "


def talk(parsed: Parsed) -> int:
    """Until Ctrl-D or `exit`; the status."""
    session = Session()
    session.interactive = True
    try:
        if not parsed["no_rc"]:
            scripts.startup(session)
        while True:
            try:
                text = _line(words_of(session))
                while reading.is_open(text) and not text.lstrip().startswith("!"):
                    text += "\n" + _line("... ")
            except EOFError:
                print()
                return session.status
            except KeyboardInterrupt:
                print()
                session.status = 0
                continue
            session.execute(text)
    except Leave as leave:
        return leave.status


def _line(words: str) -> str:
    sys.stdout.write(words)
    sys.stdout.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\n")
