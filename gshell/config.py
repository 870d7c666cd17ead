"""Where things are: directories, the ticket, the background process's socket. Imports next to
nothing.

``GSHELL_HOME`` puts everything below one directory; else the XDG directories count.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gshell.model.ticket import Ticket


def home() -> str:
    """The user's home directory, even where HOME is not set."""
    path = os.environ.get("HOME")
    if path:
        return path
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return "/"


def _dir(kind: str, xdg: str, fallback: str) -> str:
    base = os.environ.get("GSHELL_HOME")
    if base:
        return os.path.join(os.path.abspath(base), kind)
    base = os.environ.get(xdg)
    if base and base.startswith("/"):
        return base + "/gshell"
    return home() + "/" + fallback


def absolute_environment() -> dict[str, str]:
    """Our environment for a process that works elsewhere: GSHELL_HOME means the same there."""
    env = dict(os.environ)
    if env.get("GSHELL_HOME"):
        env["GSHELL_HOME"] = os.path.abspath(env["GSHELL_HOME"])
    return env


def runtime_dir() -> str:
    """Sockets: the background process, the private relay."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if not os.environ.get("GSHELL_HOME") and base and not os.access(base, os.W_OK):
        return home() + "/.gshell/run"  # a login without systemd, or su: somebody else's directory
    return _dir("run", "XDG_RUNTIME_DIR", ".gshell/run")


def state_dir() -> str:
    return _dir("state", "XDG_STATE_HOME", ".local/state/gshell")


def config_dir() -> str:
    return _dir("config", "XDG_CONFIG_HOME", ".config/gshell")


def cache_dir() -> str:
    return _dir("cache", "XDG_CACHE_HOME", ".cache/gshell")


def relay_override() -> str:
    return os.environ.get("GSHELL_RELAY", "")


def background_socket() -> str:
    """Of the background process for the relay that is meant; each relay has its own."""
    relay = relay_override()
    name = (
        "bg.sock"
        if not relay
        else "bg-" + "".join(c if c.isalnum() else "_" for c in relay) + ".sock"
    )
    return runtime_dir() + "/" + name


def submitter_file(kind: str, pin: str) -> str:
    """Of the submitter for the relay with this pin on this host, which may share its home with
    others."""
    return f"{state_dir()}/{kind}-{os.uname().nodename}-{pin[:12]}.json"


def submitter_lock(pin: str) -> str:
    """Held by the submitter as long as it lives."""
    return f"{runtime_dir()}/submitter-{os.uname().nodename}-{pin[:12]}.lock"


def background_allowed() -> bool:
    return os.environ.get("GSHELL_BACKGROUND", "1") not in ("0", "no", "off")


def private_dir(path: str) -> str:
    """``path``, made if need be: ours, and closed to others.

    Raises:
        GshellError: it cannot be; the hint says what to set.
    """
    from gshell.errors import GshellError

    hint = "export GSHELL_HOME=/a/directory/you/own"
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        status = os.stat(path)
        if status.st_uid != os.getuid():
            raise GshellError(f"{path} belongs to somebody else", hint=hint)
        if status.st_mode & 0o077:
            os.chmod(path, 0o700)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(13, os.strerror(13))
    except OSError as error:
        raise GshellError(f"cannot use the directory {path}: {error.strerror}", hint=hint) from None
    return path


def client_ticket_path() -> str:
    return config_dir() + "/client.ticket"


def embedded_dir() -> str:
    """State of the private relay."""
    return state_dir() + "/private"


def find_ticket() -> Ticket | None:
    """The ticket of the relay that is meant; None if that is the private one and it was never
    started.

    Raises:
        UsageError: a relay is named, and there is no ticket for any.
    """
    override = relay_override()
    path = client_ticket_path()
    ticket = _read_ticket(path)
    if override:
        if ticket is None:
            from gshell.errors import UsageError

            raise UsageError(f"no ticket for the relay {override}", hint="gshell login INVITE")
        return _best_first(ticket._replace(relays=[one for one in override.split(",") if one]))
    return _best_first(ticket) if ticket is not None else None


def _best_first(ticket: Ticket) -> Ticket:
    """The address that worked last in front: nobody waits for a dead one in each new process."""
    relays = ticket.relays
    if len(relays) < 2:
        return ticket
    try:
        with open(_remembered(), encoding="utf-8") as file:
            best = file.read().strip()
    except (OSError, UnicodeDecodeError):
        return ticket
    if best not in relays:
        return ticket
    return ticket._replace(relays=[best, *(one for one in relays if one != best)])


def remember_relay(address: str) -> None:
    """Of several addresses this one works. Only a hint: nothing is lost if it cannot be kept."""
    try:
        write_private(_remembered(), address + "\n")
    except OSError:
        pass


def _remembered() -> str:
    return runtime_dir() + "/relay.last"


def embedded_ticket() -> Ticket | None:
    """Of the private relay, once it was started."""
    return _read_ticket(embedded_dir() + "/client.ticket")


def _read_ticket(path: str) -> Ticket | None:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        from gshell.errors import GshellError

        raise GshellError(
            f"cannot read the ticket {path}: {error.strerror}",
            hint=f"ls -l {path}    or    export GSHELL_HOME=/a/directory/you/own",
        ) from None
    from gshell.model.ticket import Ticket

    return Ticket.load(text, path)


def write_private(path: str, text: str) -> None:
    """Replace a file of ours (0600), never leaving half of it."""
    new = f"{path}.{os.getpid()}.new"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(new, path)
    except BaseException:
        os.unlink(new)
        raise


def entry() -> list[str]:
    """The start of an argv that runs gshell again, as this process was started."""
    from gshell import sitepath

    return [*sitepath.interpreter(), os.path.join(sitepath.root(), "gshell", "front.py")]
