"""``gshell relay doctor``: is a relay's directory, its journal, its keys and what runs of it in
order? Looks, changes nothing; every fault comes with what to type."""

from __future__ import annotations

import os
import resource
import socket
import sqlite3
import stat
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from gshell.errors import GshellError
from gshell.net import address
from relay import auth, state

ROOM_BYTES = 64 << 20
SOON_S = 14 * 86400.0
FEW_DESCRIPTORS = 4096
CONNECT_S = 5.0
_START = "gshell relay start --listen HOST:PORT"


class Finding(NamedTuple):
    level: str
    """ok, note or bad."""
    text: str
    fix: str = ""


def examine(
    folder: str, facts: dict[str, Any] | None, ask: Callable[[], dict[str, Any]], now: float
) -> list[tuple[str, Finding]]:
    """(what was looked at, what was found). ``facts``: `state.running` of the folder; ``ask``: for
    the broker's own words, empty if it has none."""
    out: list[tuple[str, Finding]] = []

    def look(name: str, check: Callable[[], list[Finding]]) -> None:
        try:
            out.extend((name, finding) for finding in check())
        except GshellError as error:
            out.append((name, Finding("bad", error.message, error.hint or "")))

    if not os.path.isdir(folder):
        return [("state", Finding("bad", f"no relay has ever run from {folder}", _START))]
    look("state", lambda: directory(folder))
    look("keys", lambda: keys(folder, now))
    look("journal", lambda: journal(folder))
    look("running", lambda: running(folder, facts, ask))
    return out


def directory(folder: str) -> list[Finding]:
    found = []
    status = os.stat(folder)
    if status.st_uid != os.geteuid():
        return [Finding("bad", f"{folder} belongs to another user (uid {status.st_uid})",
                        "run this as that user, or --state DIR")]  # fmt: skip
    if stat.S_IMODE(status.st_mode) & 0o077:
        found.append(Finding("bad", f"others may look into {folder}", f"chmod 700 {folder}"))
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return [Finding("bad", f"{folder} cannot be read and written", f"chmod 700 {folder}")]
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        status = os.lstat(path)
        if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
            found.append(Finding("bad", f"others may read {path}", f"chmod 600 {path}"))
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if free < ROOM_BYTES:
        found.append(
            Finding("bad", f"only {free >> 20} MiB are free in {folder}", f"df -h {folder}")
        )
    return found or [Finding("ok", f"{folder}, {free >> 30} GiB free")]


def keys(folder: str, now: float) -> list[Finding]:
    found = []
    for name, what in ((auth.CA_CERT, "the CA's"), (auth.RELAY_CERT, "the relay's own")):
        path = os.path.join(folder, name)
        try:
            with open(path, encoding="ascii") as file:
                begins, ends = auth.validity(file.read())
        except (OSError, ValueError) as error:
            text = f"{what} certificate {path} cannot be read: {error}"
            fix = "restore it from a copy; without it everybody enrols anew"
            found.append(Finding("bad", text, fix))
            continue
        day = time.strftime("%Y-%m-%d", time.localtime(ends))
        anew = "start with a new state directory, and enrol everybody anew"
        if now > ends:
            found.append(Finding("bad", f"{what} certificate expired on {day}", anew))
        elif now < begins:
            found.append(Finding("bad", f"{what} certificate is not valid yet: a wrong clock?",
                                 "timedatectl status"))  # fmt: skip
        elif ends - now < SOON_S:
            found.append(Finding("note", f"{what} certificate expires on {day}", anew))
        else:
            found.append(Finding("ok", f"{what} certificate is good until {day}"))
    auth.mac_secret(folder)
    return found


def journal(folder: str) -> list[Finding]:
    path = os.path.join(folder, state.JOURNAL)
    away = f"gshell relay stop; mv {path} {path}.bad; start it again: jobs and credentials are lost"
    if not os.path.exists(path):
        return [Finding("note", f"there is no journal {path} yet", _START)]
    try:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)
        try:
            said = [row[0] for row in db.execute("PRAGMA quick_check(3)")]
        finally:
            db.close()
    except sqlite3.Error as error:
        return [Finding("bad", f"the journal {path} cannot be read: {error}", away)]
    if said != ["ok"]:
        return [Finding("bad", f"the journal {path} is damaged: {said[0].splitlines()[0]}", away)]
    size = os.path.getsize(path)
    return [Finding("ok", f"the journal is whole ({size >> 10} KiB)")]


def running(
    folder: str, facts: dict[str, Any] | None, ask: Callable[[], dict[str, Any]]
) -> list[Finding]:
    if facts is None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        return [Finding("note", "it is not running", _START), *descriptors(None, hard)]
    found = []
    log = os.path.join(folder, state.LOG)
    for name in ("broker", "door"):
        pid = facts.get(f"{name}_pid")
        if isinstance(pid, int) and not os.path.exists(f"/proc/{pid}"):
            found.append(Finding("bad", f"the {name} (pid {pid}) is dead", f"tail {log}"))
    said = ask()
    if not said:
        found.append(Finding("bad", "the broker does not answer", f"tail {log}"))
    listens = str(facts.get("listen", ""))
    trouble = connects(listens)
    if trouble:
        found.append(
            Finding("bad", f"nobody can connect to {listens} here: {trouble}", f"tail {log}")
        )
    for where in facts.get("relays", ()):
        trouble = connects(str(where)) if where != listens else ""
        if trouble:
            text = f"tickets name {where}, which cannot be reached from here: {trouble}"
            found.append(Finding("note", text, "gshell relay start --advertise HOST:PORT"))
    if facts.get("ssh_attach"):
        text = "it shows sessions to ssh 42@gshell-relay (--ssh-attach): those it can read"
        found.append(Finding("note", text, "gshell relay start without --ssh-attach, if unwanted"))
    found += descriptors(said.get("fds"), said.get("fds_limit"))
    return found or [Finding("ok", f"it listens on {listens}; {said.get('agents')} agents, "
                                   f"{said.get('jobs')} jobs")]  # fmt: skip


def descriptors(used: object, limit: object) -> list[Finding]:
    fix = "ulimit -Hn 65536 (as root, or in the unit: LimitNOFILE=65536), and start it again"
    if not isinstance(limit, int) or limit == resource.RLIM_INFINITY:
        return []
    if isinstance(used, int) and used > 0.9 * limit:
        return [Finding("bad", f"{used} of {limit} descriptors are in use", fix)]
    if limit < FEW_DESCRIPTORS:
        return [Finding("note", f"{limit} descriptors: about {limit // 2} sessions", fix)]
    return []


def connects(where: str) -> str:
    """Why one cannot connect; empty: one can."""
    try:
        family, target = address.split(where)
        if family == socket.AF_UNIX:
            with socket.socket(socket.AF_UNIX) as sock, address.unix_path(str(target)) as path:
                sock.settimeout(CONNECT_S)
                sock.connect(path)
        else:
            assert isinstance(target, tuple)
            host, port = target
            near = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1"}.get(str(host), str(host))
            socket.create_connection((near, int(port)), CONNECT_S).close()
    except GshellError as error:
        return error.message
    except OSError as error:
        return error.strerror or str(error)
    return ""
