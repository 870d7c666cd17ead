"""`gshell audit verify|show`: reads a relay's audit log on its own host. Asks no relay."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import deque
from typing import NoReturn

from gshell.errors import GshellError, UsageError
from gshell.model.sanitize import sanitize
from relay import audit, state
from relay.audit import Line, Mark

SHOWN = 50  # entries, unless told otherwise
JSON_SCHEMA = 1  # of what --json prints: fields are added, never changed
_HELP = "The relay's audit log: who did what. It lies in the relay's state directory."


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"{self.prog} --help")


def run(argv: list[str]) -> int:
    """The exit status: 1 if the log is not what the relay wrote."""
    parser = _Parser(prog="gshell audit", description=_HELP)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verify|show")
    verify = verbs.add_parser("verify", help="is the log whole and unchanged?")
    verify.add_argument("--state", metavar="DIR", help="the relay's directory")
    verify.add_argument("files", nargs="*", metavar="FILE", help="these instead, the oldest first")
    show = verbs.add_parser("show", help="print its entries")
    show.add_argument("--state", metavar="DIR", help="the relay's directory")
    show.add_argument("-n", type=int, default=SHOWN, metavar="N", help=f"the last N ({SHOWN})")
    show.add_argument("--json", action="store_true")
    show.add_argument("--user", metavar="U", help="by or about this user")
    show.add_argument("--job", metavar="J", help="about this job")
    args = parser.parse_args(argv)
    try:
        return _verify(args) if args.verb == "verify" else _show(args)
    except GshellError as error:
        print(f"gshell: {error.explained()}", file=sys.stderr)
        return error.exit_code


def _log_of(args: argparse.Namespace) -> tuple[list[str], str]:
    folder = os.path.abspath(args.state or state.default())
    paths = audit.files(os.path.join(folder, audit.NAME))
    if not paths and not os.path.exists(os.path.join(folder, state.JOURNAL)):
        raise GshellError(
            f"there is no audit log in {folder}",
            hint="gshell audit --state DIR, on the relay's host",
        )
    return paths, folder


def _verify(args: argparse.Namespace) -> int:
    mark: Mark | None = None
    paths = args.files
    if not paths:
        paths, folder = _log_of(args)
        # First the mark: the relay may write on meanwhile, and the file is never behind it.
        mark = _mark(os.path.join(folder, state.JOURNAL))
        paths = audit.files(os.path.join(folder, audit.NAME))
    count, bad = audit.verify(paths, mark)
    if bad is not None:
        print(f"gshell: the audit log is not as it was written: {bad}", file=sys.stderr)
        print(f"  {count} entries before that are good", file=sys.stderr)
        return 1
    whole = "" if mark is not None else " (whether its end is missing, only the relay's host knows)"
    print(f"{count} entries, unchanged and complete{whole}")
    return 0


def _mark(path: str) -> Mark | None:
    """Where the journal says that the log ends."""
    import sqlite3

    try:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)
        row = db.execute("SELECT value FROM meta WHERE key='audit'").fetchone()
        db.close()
        return Mark(**json.loads(row[0])) if row else None
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise GshellError(f"cannot read the journal {path}: {error}") from None


def _show(args: argparse.Namespace) -> int:
    paths, _ = _log_of(args)
    found = deque(
        (line for line in audit.entries(paths) if _wanted(line, args.user, args.job)),
        maxlen=max(0, args.n),
    )
    if args.json:
        print(json.dumps({"schema": JSON_SCHEMA, "entries": list(found)}, indent=1))
        return 0
    for line in found:
        print(_shown(line))
    return 0


def _wanted(line: Line, user: str | None, job: str | None) -> bool:
    who, object = str(line.get("who")), str(line.get("object"))
    theirs = who == user or who.endswith(f" of {user}") or object == f"user {user}"
    return (user is None or theirs) and (job is None or object == f"job {job}")


def _shown(line: Line) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(line.get("at", 0.0))))
    source = f" from {line['from']}" if line.get("from") else ""
    detail = line.get("detail") or {}
    facts = " ".join(f"{key}={value}" for key, value in detail.items())
    words = (at, str(line.get("seq")), str(line.get("who") or "-") + source, str(line.get("verb")),
             str(line.get("object")), str(line.get("result")), facts)  # fmt: skip
    return sanitize("  ".join(word for word in words if word))
