"""``gshell ssh-config``, ``proxy`` and ``ssh``: what makes stock ssh find jobs and agents."""

from __future__ import annotations

import os
import shutil
import sys

from gshell import config
from gshell.cli import launch
from gshell.client import sshfiles, sshproxy
from gshell.errors import GshellError, UsageError
from gshell.model import sshname
from gshell.model.sanitize import sanitize
from gshell.model.ticket import Ticket
from gshell.net.relaylink import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gshell.cli.options import Parsed

_FORWARD_AGENT = "forward-agent"  # a file: the next certificate permits it, too


def ssh_config(parsed: Parsed) -> int:
    """
    Raises:
        GshellError: the relay or the files would not have it.
    """
    chosen = [k for k in ("install", "uninstall", "print", "renew") if parsed[k]]
    if len(chosen) > 1:
        raise UsageError("ssh-config: one of --install, --uninstall, --print")
    where = sshfiles.folder()
    path = os.path.join(where, sshfiles.CONFIG)
    if parsed["uninstall"]:
        changed = sshfiles.change_users_config(path, on=False)
        shutil.rmtree(where, ignore_errors=True)
        what = "our line is out" if changed else "as it was"
        _say(parsed, f"{sshfiles.users_config()}: {what}")
        return 0
    ticket = launch.ticket_for(parsed, start=False)
    if parsed["renew"]:
        renew(ticket, where)
        return 0
    text = prepare(ticket, where, parsed["key"] or "", parsed["forward_agent"])
    if parsed["print"]:
        sys.stdout.write(text)
        return 0
    if parsed["install"]:
        changed = sshfiles.change_users_config(path, on=True)
        what = "includes" if changed else "includes already"
        _say(parsed, f"{sshfiles.users_config()} {what} {path}")
    else:
        _say(parsed, f"written: {path}    (gshell ssh-config --install: for every ssh)")
    _say(parsed, "try:  ssh job42    ssh AGENT.gshell    scp FILE job42:    (gshell jobs: which)")
    return 0


def _say(parsed: Parsed, text: str) -> None:
    if not parsed["quiet"]:
        sys.stdout.write(text + "\n")


def prepare(ticket: Ticket, where: str, key: str = "", forward_agent: bool = False) -> str:
    """Write key, certificate, known hosts and configuration; the last one's text.

    Raises:
        GshellError: it cannot be.
    """
    chosen = os.path.join(where, "key")  # which one, for the renewals
    if key:
        path = os.path.abspath(key if key.endswith(".pub") else key + ".pub")
        sshfiles.read_public(path)
        config.write_private(chosen, path + "\n")
    elif os.path.exists(chosen):
        path = sshfiles.read_public(chosen)
    else:
        path = os.path.join(where, sshfiles.KEY) + ".pub"
    wish = os.path.join(where, _FORWARD_AGENT)
    if forward_agent:
        config.write_private(wish, "yes\n")
    elif os.path.exists(wish):
        os.unlink(wish)
    names = renew(ticket, where)
    relay = _relay_address(ticket) if names else None
    text = sshfiles.configuration(where, path, relay, forward_agent)
    config.write_private(os.path.join(where, sshfiles.CONFIG), text)
    config.write_private(os.path.join(where, sshfiles.ALONE), sshfiles.alone(where))
    return text


def renew(ticket: Ticket, where: str) -> list[str]:
    """A new certificate for the key there is; the names under which the relay is certified.

    Raises:
        GshellError: the relay gives none.
    """
    chosen = os.path.join(where, "key")
    own = os.path.join(where, sshfiles.KEY)
    public = (
        sshfiles.read_public(sshfiles.read_public(chosen))
        if os.path.exists(chosen)
        else sshfiles.own_key(own)
    )
    agent = os.path.exists(os.path.join(where, _FORWARD_AGENT))
    words = " ".join(public.split()[:2])
    answer = ask(ticket, {"m": "ssh-cert", "key": words, "forward_agent": agent})
    cert, ca = sanitize(str(answer.get("cert"))), sanitize(str(answer.get("ca")))
    found = answer.get("names")
    names = [sanitize(str(name)) for name in found] if isinstance(found, list) else []
    config.write_private(own + "-cert.pub", cert + "\n")
    known = sshfiles.known_hosts(ca, names)
    config.write_private(os.path.join(where, sshfiles.KNOWN), known)
    return names


def _relay_address(ticket: Ticket) -> tuple[str, int] | None:
    """Where it serves SSH: at its own port, if that is TCP."""
    for where in ticket.relays:
        host, _, port = where.rpartition(":")
        if not where.startswith(("unix:", "head:")) and port.isdigit():
            return host.strip("[]"), int(port)
    return None


def proxy(parsed: Parsed) -> int:
    """
    Raises:
        GshellError: that host is none, or cannot be reached.
    """
    if len(parsed.words) not in (1, 2):
        raise UsageError("proxy: HOST and PORT", hint="ProxyCommand gshell proxy %h %p")
    host, port = parsed.words[0], (parsed.words[1:] or [str(sshname.PORT)])[0]
    place = sshname.place_of(host)
    if place is None or port != str(sshname.PORT):
        raise UsageError(
            f"proxy: {host}:{port} is no virtual host",
            hint="job42, job42.1, AGENT.gshell; port 22",
        )
    sock = sshproxy.join(launch.ticket_for(parsed, start=False), place)
    if parsed["fdpass"]:
        sshproxy.hand_over(sock, 1)
    else:
        sshproxy.copy(sock, 0, 1)
    return 0


def ssh(parsed: Parsed) -> int:
    """Become ssh.

    Raises:
        GshellError: there is none, or it cannot be set up.
    """
    program = shutil.which("ssh")
    if program is None:
        raise GshellError("ssh is not installed here", hint="gshell sh ID    needs none")
    word, rest = parsed.words[0], parsed.words[1:]
    if sshname.place_of(word) is None and not word.isdigit():
        raise UsageError(f"ssh: {word!r} is neither a job nor an agent", hint="gshell ssh 42")
    where = sshfiles.folder()
    alone = os.path.join(where, sshfiles.ALONE)
    if not os.path.exists(alone) or not os.path.exists(
        os.path.join(where, sshfiles.KEY + "-cert.pub")
    ):
        prepare(launch.ticket_for(parsed, start=False), where)
    options, command = _options_first(rest)
    sys.stdout.flush()
    os.execv(  # that is what the verb is for
        program, [program, "-F", alone, *options, sshname.host_of(word), *command]
    )


_WITH_VALUE = "BbcDEeFIiJLlmOopQRSWw"  # of ssh's options


def _options_first(words: list[str]) -> tuple[list[str], list[str]]:
    """ssh takes options after the host, too; then comes the command.

    >>> _options_first(["-L", "1:x:2", "-t", "--", "top", "-b"])
    (['-L', '1:x:2', '-t'], ['top', '-b'])
    """
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] != "-":
        if words[at] == "--":
            return words[:at], words[at + 1 :]
        if words[at][-1] in _WITH_VALUE and len(words[at]) == 2:
            at += 1
        at += 1
    return words[:at], words[at:]


VERBS: dict[str, Callable[[Parsed], int]] = {"ssh-config": ssh_config, "proxy": proxy, "ssh": ssh}
