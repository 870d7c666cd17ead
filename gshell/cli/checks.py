"""What `gshell doctor` looks at, one function each; every fault comes with what to type.

A check returns what it found; what one finds broken is no reason for the next not to look.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from gshell import __version__, config
from gshell.cli import launch, values
from gshell.client import adopted
from gshell.errors import AuthError, GshellError, UsageError
from gshell.model.ticket import Ticket
from gshell.net import address
from gshell.net.loop import Loop
from gshell.net.relaylink import ANSWER_S, RelayLink

CLOCK_NOTE_S, CLOCK_BAD_S = 60.0, 120.0  # the relay refuses preambles that are 120 s off
CONNECT_S = 5.0
ANSWER_WITHIN_S = min(10.0, ANSWER_S)
EXPIRES_SOON_S = 14 * 86400.0
ROOM_BYTES = 64 << 20
FEW_DESCRIPTORS = 4096  # at the relay; a session takes two
_OWN = "export GSHELL_HOME=/a/directory/you/own"
_AGAIN = "ask for a new invite, then: gshell login INVITE"


class Finding(NamedTuple):
    """One line of the report."""

    level: str
    """ok, note or bad."""
    text: str
    fix: str = ""


# ------------------------------------------------------------------------------------- this machine


def python() -> list[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    found = [Finding("ok", f"python {version}, gshell {__version__}")]
    from gshell import sitepath

    sitepath.enable()
    import importlib.util

    needed = ("zmq", "cryptography", "asyncssh", "rich", "prompt_toolkit")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        fix = "pip install --force-reinstall gshell"
        found.append(Finding("bad", f"missing packages: {', '.join(missing)}", fix))
    return found


_BACKGROUND = ("0", "no", "off", "1", "yes", "on")
_LEVELS = ("debug", "info", "warning", "error", "critical")
_INSIDE = ("GSHELL_JOB", "GSHELL_RANK", "GSHELL_SIZE", "GSHELL_FRONT_SOURCE", "GSHELL_PYTHON",
           "GSHELL_BIN")  # fmt: skip


def environment() -> list[Finding]:
    """Variables that do not mean what somebody thought."""
    found = []

    def bad(name: str, why: str, fix: str) -> None:
        found.append(Finding("bad", f"{name}={os.environ[name]}: {why}", fix))

    for name, text in sorted(os.environ.items()):
        if not name.startswith("GSHELL_") or not text:
            continue
        unset = f"unset {name}"
        if name == "GSHELL_RELAY":
            try:
                address.split(text)
            except UsageError as error:
                bad(name, "not an address", f"{error.hint}    or    {unset}")
        elif name == "GSHELL_IDLE":
            try:
                values.parse_duration(text)
            except ValueError as error:
                bad(name, str(error), f"export {name}=30m    or    {unset}")
        elif name == "GSHELL_BACKGROUND":
            if text not in _BACKGROUND:
                bad(name, "neither 0 nor 1, so it counts as 1", f"export {name}=0    or    {unset}")
        elif name == "GSHELL_LOG":
            if text.lower() not in _LEVELS:
                bad(name, "no level of logging", f"export {name}=info    or    {unset}")
        elif name == "GSHELL_LOG_FORMAT":
            if text not in ("text", "json"):
                bad(name, "neither text nor json", f"export {name}=json    or    {unset}")
        elif name == "GSHELL_HOME":
            if not text.startswith("/"):
                why = f"GSHELL_HOME={text} means another directory in each directory"
                found.append(Finding("note", why, f"export GSHELL_HOME={os.path.abspath(text)}"))
        elif name not in _INSIDE and not name.startswith("GSHELL_TEST_"):
            found.append(Finding("note", f"{name} means nothing to gshell", unset))
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and not os.environ.get("GSHELL_HOME") and not os.access(runtime, os.W_OK):
        why = f"XDG_RUNTIME_DIR={runtime} cannot be written; {config.runtime_dir()} is used instead"
        found.append(Finding("note", why, "unset XDG_RUNTIME_DIR    or log in afresh"))
    return found


def directories() -> list[Finding]:
    found = []
    home = os.environ.get("GSHELL_HOME")
    if home and os.path.isdir(home) and os.stat(home).st_uid != os.geteuid():
        owner = _user(os.stat(home).st_uid)
        text = f"GSHELL_HOME={home} is {owner}'s, and you are {_user(os.geteuid())}"
        found.append(Finding("bad", text, f"{_OWN}    or    su {owner}"))
    for name, path in (
        ("run", config.runtime_dir()),
        ("state", config.state_dir()),
        ("config", config.config_dir()),
    ):
        if os.path.isdir(path):
            status = os.stat(path)
            if status.st_uid != os.getuid():
                found.append(Finding("bad", f"{path} belongs to somebody else", _OWN))
            elif status.st_mode & 0o077:
                found.append(Finding("bad", f"others may look into {path}", f"chmod 700 {path}"))
            elif not os.access(path, os.W_OK | os.X_OK):
                text = f"the {name} directory {path} cannot be written"
                found.append(Finding("bad", text, f"chmod u+rwx {path}    or    {_OWN}"))
            continue
        parent = path
        while not os.path.isdir(parent):
            parent = os.path.dirname(parent)
        if not os.access(parent, os.W_OK):
            found.append(Finding("bad", f"the {name} directory {path} cannot be made", _OWN))
    found += room(config.state_dir() if os.path.isdir(config.state_dir()) else config.home())
    found += _strays(config.config_dir())
    if not any(finding.level == "bad" for finding in found):
        found.append(Finding("ok", f"directories: {config.runtime_dir()}, {config.state_dir()}"))
    return found


def room(path: str) -> list[Finding]:
    """Is there any on the disk?"""
    try:
        disk = os.statvfs(path)
    except OSError:
        return []
    free = disk.f_bavail * disk.f_frsize
    if free < ROOM_BYTES:
        return [Finding("bad", f"only {free >> 20} MiB are free in {path}", f"df -h {path}")]
    if disk.f_files and not disk.f_favail:
        return [Finding("bad", f"no more files can be made in {path}", f"df -i {path}")]
    return []


def _strays(folder: str) -> list[Finding]:
    """What is wrong in config.toml; files somebody wrote in the belief that we read them."""
    from gshell.cli import configfile, settings

    found = [
        Finding("note", f"{one.origin}: {one.what}", one.hint or "gshell help config")
        for one in settings.problems(configfile.load())
    ]
    try:
        names = os.listdir(folder)
    except OSError:
        return found
    return found + [
        Finding("note", f"{folder}/{name} is not read: settings are in config.toml")
        for name in sorted(names)
        if name.rpartition(".")[2] in ("toml", "ini", "cfg", "conf", "yaml", "yml", "json")
        and name != "config.toml"
    ]


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


# ------------------------------------------------------------------------------------------- ticket


def ticket() -> list[Finding]:
    ours = config.find_ticket()
    if ours is None:
        return [Finding("ok", "no relay is configured: a private one is started when needed")]
    path = config.client_ticket_path()
    if os.stat(path).st_mode & 0o077:
        return [Finding("bad", f"others can read the ticket {path}",
                        f"chmod 600 {path}; then {_AGAIN}")]  # fmt: skip
    return _certificate(ours) or [
        Finding("ok", f"ticket of {ours.user} for {', '.join(ours.relays)}")
    ]


def _certificate(ours: Ticket) -> list[Finding]:
    from gshell import sitepath

    sitepath.enable()
    from relay.auth import validity

    now = time.time()
    try:
        begins, ends = validity(ours.cert)
    except ValueError:
        return [Finding("bad", "the certificate in the ticket cannot be read", _AGAIN)]
    day = time.strftime("%Y-%m-%d", time.localtime(ends))
    if now > ends:
        return [Finding("bad", f"the certificate in the ticket expired on {day}", _AGAIN)]
    if now < begins:
        return [Finding("bad", "the certificate in the ticket is not valid yet: a wrong clock?",
                        "timedatectl status")]  # fmt: skip
    if ends - now < EXPIRES_SOON_S:
        return [Finding("note", f"the certificate in the ticket expires on {day}", _AGAIN)]
    return []


# ---------------------------------------------------------------------------------------- processes


def background() -> list[Finding]:
    if not config.background_allowed():
        text = "the background process is switched off (GSHELL_BACKGROUND=0): starts are slower"
        return [Finding("note", text, "unset GSHELL_BACKGROUND")]
    path = config.background_socket()
    if launch.answers(path):
        return [Finding("ok", "the background process answers")]
    pid = _pid_of(path + ".pid")
    from gshell.cli.verbs import _is_ours

    if pid and _is_ours(pid):
        text = f"the background process (pid {pid}) lives, but does not answer"
        return [Finding("bad", text, f"kill {pid}; the next gshell run starts another")]
    if os.path.exists(path) or pid:
        text = "the background process was killed and left its socket; the next run replaces it"
        return [Finding("note", text, "gshell run -- true")]
    return [Finding("note", "no background process yet: the first gshell run starts it")]


def _pid_of(path: str) -> int:
    try:
        with open(path) as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def private() -> list[Finding]:
    """The private relay and its agent, where they are what is used."""
    if config.find_ticket() is not None or config.embedded_ticket() is None:
        return []
    found = []
    again = "gshell stop --force; gshell run -- true"
    supervised = launch.answers(config.background_socket())
    for name in ("relay", "agent"):
        there = adopted.find(name)
        if there is not None:
            there.forget()
            if name == "relay" and not launch.answers(launch.relay_socket()):
                text = f"the private relay (pid {there.pid}) does not listen any more"
                found.append(Finding("bad", text, again))
        elif supervised:
            out = f"{config.embedded_dir()}/{name}.out"
            found.append(Finding("bad", f"the private {name} is dead; its last words: {out}",
                                 again))  # fmt: skip
    return found


# -------------------------------------------------------------------------------------------- relay


def relay() -> list[Finding]:
    ours = launch.ticket_or_none()
    if ours is None:
        return [Finding("note", "the private relay does not run", "gshell run -- true")]
    found = [problem for where in ours.relays if (problem := reachable(where)) is not None]
    if len(found) == len(ours.relays):
        return found
    found = [problem._replace(level="note") for problem in found]  # another one of the list answers
    start = time.monotonic()
    try:
        welcome, answer = asked(ours, {"m": "status"})
    except AuthError as error:
        return [*found, refused(error)]
    took = (time.monotonic() - start) * 1e3
    facts = answer.get("relay", {})
    found.append(Finding("ok", f"relay {ours.relays[0]} answers in {took:.0f} ms"))
    found += clock(welcome.get("now"), time.time())
    version = facts.get("version")
    if isinstance(version, str) and version != __version__:
        text = f"the relay is gshell {version}, this is {__version__}"
        found.append(Finding("note", text, "pip install --upgrade gshell, here or there"))
    found += descriptors(facts.get("fds"), facts.get("fds_limit"))
    return found


def reachable(where: str) -> Finding | None:
    """What is wrong with the way to an address, if anything."""
    family, target = address.split(where)
    if family == socket.AF_UNIX:
        if launch.answers(str(target)):
            return None
        return Finding("bad", f"nobody listens on {target}", "gshell run -- true    starts it")
    host, port = str(target[0]), int(target[1])
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        why = error.strerror or str(error)
        return Finding("bad", f"there is no host {host}: {why}", f"getent hosts {host}")
    why = fix = ""
    for info in infos:
        with socket.socket(*info[:3]) as sock:
            sock.settimeout(CONNECT_S)
            try:
                sock.connect(info[4])
                return None
            except TimeoutError:
                why = f"{where} does not answer within {CONNECT_S:.0f} s: it is down, or a firewall"
                fix = f"nc -vz {host} {port}"
            except ConnectionRefusedError:
                why = f"nobody listens on {where}: the relay is not running, or has another port"
                fix = "on its machine: gshell relay status"
            except OSError as error:
                why = f"cannot reach {where}: {error.strerror}"
                fix = f"ip route get {info[4][0]}"
    return Finding("bad", why, fix)


def asked(ours: Ticket, request: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the welcome, the answer).

    Raises:
        GshellError: neither came.
    """
    loop = Loop()
    got: list[dict[str, Any]] = []
    errors: list[GshellError] = []
    link = RelayLink(loop, ours, errors.append)
    try:
        link.open()
        link.request(request, got.append)
        loop.run_until(lambda: bool(got or errors), ANSWER_WITHIN_S)
        if errors:
            raise errors[0]
        if not got:
            text = f"the relay {ours.relays[0]} takes the connection, but does not answer"
            raise GshellError(text, hint="on its machine: gshell relay doctor")
        return link.welcome or {}, got[0]
    finally:
        link.close()
        loop.close()


def refused(error: AuthError) -> Finding:
    """The relay does not know us, or we do not know it."""
    if "not the one we know" in error.message:
        text = "the relay has another key than the one in the ticket: a new relay, or a stranger"
        return Finding("bad", text, f"make sure it is yours; {_AGAIN}")
    if "withdrawn" in error.message or "revoked" in error.message:
        return Finding("bad", "the relay's administrator has withdrawn your credentials", _AGAIN)
    return Finding("bad", error.message, error.hint or _AGAIN)


def clock(theirs: object, ours: float) -> list[Finding]:
    """``theirs``: what the relay says the time is."""
    if not isinstance(theirs, int | float) or abs(theirs - ours) <= CLOCK_NOTE_S:
        return []
    off = f"the relay's clock is {theirs - ours:+.0f} s off ours"
    if abs(theirs - ours) > CLOCK_BAD_S:
        return [Finding("bad", f"{off}: connections are refused", "timedatectl status")]
    return [Finding("note", off, "timedatectl status")]


def descriptors(used: object, limit: object) -> list[Finding]:
    """Of the relay's door."""
    if not isinstance(limit, int):
        return []
    if isinstance(used, int) and used > 0.9 * limit:
        text = f"the relay uses {used} of its {limit} descriptors: new connections will wait"
        return [Finding("bad", text, "on its machine: ulimit -Hn 65536, and start it again")]
    if limit < FEW_DESCRIPTORS:
        text = f"the relay may have {limit} descriptors: about {limit // 2} sessions"
        return [Finding("note", text, "on its machine: ulimit -Hn 65536, and start it again")]
    return []


# ------------------------------------------------------------------------------------------- agents


def agents() -> list[Finding]:
    ours = launch.ticket_or_none()
    if ours is None:
        return []
    if all(reachable(where) is not None for where in ours.relays):
        return []  # said before
    try:
        _, answer = asked(ours, {"m": "agents"})
    except AuthError:
        return []  # said before
    return judged(answer.get("agents") or [])


def judged(listed: list[dict[str, Any]]) -> list[Finding]:
    """What the list of agents means."""
    if not listed:
        return [Finding("bad", "no agent is registered: nothing can run", "gshell agent start")]
    found = []
    states = [agent.get("state") for agent in listed]
    versions = {str(agent.get("version") or __version__) for agent in listed}
    old = sorted(versions - {__version__})
    if all(state == "away" for state in states):
        text = f"all {len(listed)} agents are away: ended, or cut off from the relay"
        found.append(Finding("bad", text, "gshell agents; on their machines: gshell agent start"))
    elif all(state in ("away", "draining") for state in states):
        names = " ".join(str(a["id"]) for a in listed if a.get("state") == "draining")
        text = "all agents that are there drain: nothing new starts"
        found.append(Finding("bad", text, f"gshell agent drain --undo {names}"))
    elif not any(a.get("free") for a in listed if a.get("state") == "waiting"):
        found.append(Finding("note", "no agent has a free slot: jobs queue", "gshell agents"))
    else:
        waiting = [a for a in listed if a.get("state") == "waiting" and a.get("free")]
        free = sum(int(agent["free"]) for agent in waiting)
        plural = "s" if len(waiting) > 1 else ""
        found.append(Finding("ok", f"{len(waiting)} agent{plural} with {free} free slots"))
    if old:
        text = f"agents of another version than this gshell ({__version__}): {', '.join(old)}"
        found.append(Finding("note", text, "start them again with this version's agent.pyz"))
    return found


def mpi() -> list[Finding]:
    import shutil

    launcher = shutil.which("mpirun")
    if launcher:
        return [Finding("ok", f"mpirun: {launcher}")]
    return [
        Finding("note", "no mpirun on PATH (gshell demo wants one)", "pip install 'gshell[mpi]'")
    ]


def ssh() -> list[Finding]:
    from gshell.cli import sshcheck

    return sshcheck.ssh_door()


CHECKS: tuple[tuple[str, Callable[[], list[Finding]]], ...] = (
    ("python", python),
    ("environment", environment),
    ("directories", directories),
    ("ticket", ticket),
    ("background", background),
    ("private", private),
    ("relay", relay),
    ("agents", agents),
    ("ssh", ssh),
    ("mpi", mpi),
)
