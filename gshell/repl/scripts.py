"""Lines from a file or from stdin, done as if they were typed; at the first that fails it stops."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator

from gshell import config
from gshell.errors import GshellError, UsageError
from gshell.model.sanitize import sanitize
from gshell.repl import reading
from gshell.repl.session import Leave, Session

MAX_BYTES = 1 << 22  # of one file; a data file that was given by mistake is not a script


def of_file(session: Session, path: str, keep_going: bool = False) -> int:
    """Its status: of the line that failed, else of the last one.

    Raises:
        UsageError: it cannot be read.
        Leave: by `exit`.
    """
    return _run(session, path, reading.commands(_text(path)), keep_going)


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        what = f"cannot read {sanitize(path)}: {error.strerror}"
        raise UsageError(what, hint="gshell help") from None
    return _decoded(data, path)


def _decoded(data: bytes, path: str) -> str:
    if len(data) > MAX_BYTES:
        raise UsageError(f"{sanitize(path)} is no script: it is larger than {MAX_BYTES >> 20} MiB")
    if b"\0" in data:
        raise UsageError(f"{sanitize(path)} is no script: it has a byte 0")
    text = data.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    return text.removeprefix("\ufeff")  # editors of Windows begin so


def of_stdin(session: Session, keep_going: bool = False) -> int:
    """As `of_file`; a line is done as soon as it is there."""
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    session.stdin = null  # else the first program would eat the lines that follow
    try:
        return _run(session, "stdin", _from_stdin(), keep_going)
    finally:
        session.stdin = None
        os.close(null)


def _from_stdin() -> Iterator[tuple[int, str]]:
    held, first = "", 0
    for number, data in enumerate(sys.stdin.buffer, 1):
        line = _decoded(data, "stdin").rstrip("\n")
        held, first = (held + "\n" + line, first) if held else (line, number)
        if held.lstrip().startswith("!") or not reading.is_open(held):
            if held.strip():
                yield first, held
            held = ""
    if held.strip():
        yield first, held


def _run(session: Session, name: str, lines: Iterable[tuple[int, str]], keep_going: bool) -> int:
    status = failed = 0
    for number, command in lines:
        if not command.strip() or command.lstrip().startswith("#"):
            continue
        status = session.status = session.one(command)
        if status == 0:
            continue
        failed = status
        shown = sanitize(command.strip().partition("\n")[0], 60)
        sys.stdout.flush()
        sys.stderr.write(f"gshell: {sanitize(name)}:{number}: status {status}: {shown}\n")
        if not keep_going or status == 130:
            return status
    return failed or status


def rc_file() -> str:
    return config.config_dir() + "/gshellrc"


def startup(session: Session) -> None:
    """Do the lines of the rc file, if it is ours alone to write. Whatever is wrong is said, and
    the prompt comes nevertheless."""
    from gshell.cli.main import complain

    path = rc_file()
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return
    except OSError as error:
        complain(GshellError(f"cannot read {sanitize(path)}: {error.strerror}"))
        return
    with open(fd, "rb") as file:
        why = distrust(os.fstat(fd), os.getuid())
        if why:
            complain(GshellError(f"{sanitize(path)} is not read: {why}", hint=f"!ls -l {path}"))
            return
        try:
            text = _decoded(file.read(MAX_BYTES + 1), path)
            _run(session, path, reading.commands(text), keep_going=True)
        except UsageError as error:
            complain(error)
        except Leave:
            raise
    session.status = 0


def distrust(status: os.stat_result, uid: int) -> str:
    """Why what stands in such a file is not to be done; empty if nothing is wrong."""
    if not stat.S_ISREG(status.st_mode):
        return "it is no file"
    if status.st_uid != uid:
        return "it belongs to somebody else"
    if status.st_mode & stat.S_IWOTH:
        return "everybody may write it"
    if status.st_mode & stat.S_IWGRP and not is_private(status.st_gid, uid):
        return "its group may write it"
    return ""


def is_private(group: int, user: int) -> bool:
    """Has that group nobody in it but that user? (Where each has one, files are group-writable.)"""
    import grp
    import pwd

    try:
        who, found = pwd.getpwuid(user), grp.getgrgid(group)
    except KeyError:
        return False
    alone = set(found.gr_mem) <= {who.pw_name}
    return who.pw_gid == group and found.gr_name == who.pw_name and alone
