"""The relay's directory: who may use it, what lies where, whether a relay runs from it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import time
from typing import Any

from gshell.errors import GshellError, UsageError

BUS = "bus"  # ZeroMQ's socket file
FEED = "feed"  # the event feed's
SSH = "ssh"  # where the door passes SSH connections to
JOURNAL = "journal.sqlite"
LOCK = "lock"  # held by the relay that runs; the kernel lets go of it however that ends
LOG = "relay.log"
RELAY = "relay.json"
CLIENT_TICKET, AGENT_TICKET = "client.ticket", "agent.ticket"
ARCHIVE = "archive"  # a directory: finished steps' output
DEPOT = "depot"  # a directory: jobs' sandboxes
ARCHIVE_RULES = "archive.json"  # what of it is kept: the next start's default
ARCHIVE_CLIENT, ARCHIVE_AGENT = "archive-client.ticket", "archive-agent.ticket"

LOOKED_S = 0.5  # the longest that somebody looks

_NEW = "choose another one: --state DIR"


def default() -> str:
    """
    Raises:
        UsageError: no home to put it in.
    """
    environ = os.environ
    if environ.get("GSHELL_HOME"):
        return os.path.join(environ["GSHELL_HOME"], "relay")
    if environ.get("XDG_STATE_HOME"):
        return os.path.join(environ["XDG_STATE_HOME"], "gshell", "relay")
    if environ.get("HOME"):
        return os.path.join(environ["HOME"], ".local", "state", "gshell", "relay")
    raise UsageError(
        "there is no HOME to keep the relay's state in", hint="gshell relay start --state DIR"
    )


def prepare(state: str) -> None:
    """Make the directory, or see that it is ours alone and usable.

    Raises:
        GshellError: it is not.
    """
    os.umask(0o077)
    try:
        os.makedirs(state, mode=0o700, exist_ok=True)
        found = os.stat(state)
    except FileExistsError:
        raise GshellError(f"{state} is not a directory", hint=_NEW) from None
    except OSError as error:
        raise GshellError(
            f"cannot make the state directory {state}: {error.strerror}", hint=_NEW
        ) from None
    if not stat.S_ISDIR(found.st_mode):
        raise GshellError(f"{state} is not a directory", hint=_NEW)
    if found.st_uid != os.geteuid():
        raise GshellError(f"the state directory {state} belongs to another user", hint=_NEW)
    if stat.S_IMODE(found.st_mode) & 0o077:
        os.chmod(state, 0o700)  # keys are in here
    if not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        raise GshellError(
            f"cannot read and write in the state directory {state}", hint=f"chmod u+rwx {state}"
        )


def lock(state: str) -> int:
    """Become the relay of this directory: the descriptor of the lock, or -1 if there is one."""
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(os.path.join(state, LOCK), flags, 0o600)
    except OSError as error:
        raise GshellError(f"cannot open {state}/{LOCK}: {error.strerror}", hint=_NEW) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return -1
        raise GshellError(f"cannot lock {state}/{LOCK}: {error.strerror}", hint=_NEW) from None
    return fd


def become(state: str) -> int:
    """As `lock`; but who only looks whether there is a relay has the lock for a moment, too."""
    end = time.monotonic() + LOOKED_S
    while True:
        fd = lock(state)
        if fd >= 0 or time.monotonic() > end:
            return fd
        time.sleep(0.01)


def running(state: str) -> dict[str, Any] | None:
    """What `relay.json` says of the relay that runs from ``state``; None if none does."""
    if not os.path.lexists(os.path.join(state, LOCK)):
        return None
    fd = lock(state)
    if fd >= 0:
        os.close(fd)
        return None
    return read_relay(state)


def wait_running(state: str, timeout_s: float) -> dict[str, Any]:
    """As `running`, of a relay that may be starting just now; empty if nothing comes of it."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        facts = running(state)
        if facts is None:
            break
        if facts:
            return facts
        time.sleep(0.02)  # another process begins: its file tells nobody
    return {}


def read_relay(state: str) -> dict[str, Any]:
    """Empty while it starts."""
    try:
        with open(os.path.join(state, RELAY), encoding="utf-8") as file:
            facts = json.load(file)
        return facts if isinstance(facts, dict) else {}
    except (OSError, ValueError):
        return {}


def write_relay(state: str, facts: dict[str, Any]) -> None:
    _write_json(os.path.join(state, RELAY), facts)


def _write_json(path: str, facts: dict[str, Any]) -> None:
    fresh = f"{path}.{os.getpid()}"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        json.dump(facts, file, indent=1)
        file.write("\n")
    os.rename(fresh, path)


def archive_rules(state: str) -> dict[str, Any]:
    """What an earlier start was told of the archive: fields of `relay.children.Rules`."""
    try:
        with open(os.path.join(state, ARCHIVE_RULES), encoding="utf-8") as file:
            said = json.load(file)
        return {name: said[name] for name in ("policy", "days", "bytes")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def remember_archive_rules(state: str, rules: dict[str, Any]) -> None:
    _write_json(os.path.join(state, ARCHIVE_RULES), rules)


def remove_relay(state: str) -> None:
    try:
        os.unlink(os.path.join(state, RELAY))
    except FileNotFoundError:
        pass
