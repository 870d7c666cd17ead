"""Is the stock-SSH door open? What `gshell doctor` says of it, and why not."""

from __future__ import annotations

import os
import shutil
import socket
import time

from gshell import config
from gshell.cli.checks import Finding
from gshell.client import sshfiles
from gshell.errors import GshellError
from gshell.model.sanitize import sanitize
from gshell.model.ticket import Ticket
from gshell.net import address

ANSWER_S = 5.0
GREETING = b"SSH-2.0-gshell-doctor\r\n"
_SETUP = "gshell ssh-config --install"


def ssh_door() -> list[Finding]:
    ticket = config.find_ticket() or config.embedded_ticket()
    if ticket is None:
        return []
    if shutil.which("ssh") is None:
        return [Finding("note", "stock ssh is not installed here", "install OpenSSH's client")]
    return [_relay(ticket), *_files()]


def _relay(ticket: Ticket) -> Finding:
    """By its own answer: who speaks SSH says so first."""
    tcp = [one for one in ticket.relays if not one.startswith(("unix:", address.HEAD))]
    if not tcp:
        why = f"{_SETUP}, then ssh job42; not ssh -J: the relay listens on a unix socket only"
        return Finding("ok", f"SSH door: {why}")
    said = banner(tcp[0])
    if said.startswith("SSH-2.0-"):
        return Finding("ok", f"SSH door: open at {tcp[0]} ({_SETUP}, then ssh job42)")
    why = said or "it does not answer to SSH"
    fix = "gshell relay start, without --no-ssh"
    return Finding("note", f"SSH door: closed at {tcp[0]}: {why}", fix)


def banner(where: str) -> str:
    """The first line of what is there, made safe to show; empty: nothing came."""
    try:
        _, target = address.split(where)
        with socket.create_connection(target, ANSWER_S) as sock:  # type: ignore[arg-type]
            sock.sendall(GREETING)
            sock.settimeout(ANSWER_S)
            data = b""
            while b"\n" not in data and len(data) < 256:
                more = sock.recv(256)
                if not more:
                    break
                data += more
    except (OSError, GshellError):
        return ""
    return sanitize(data.partition(b"\n")[0].decode("ascii", "replace").strip())


def _files() -> list[Finding]:
    """Of `ssh-config`, if it was run."""
    where = os.path.join(config.config_dir(), "ssh")
    path = os.path.join(where, sshfiles.KEY + "-cert.pub")
    try:
        age_s = time.time() - os.stat(path).st_mtime
    except OSError:
        return []
    if age_s > 2 * 60 * sshfiles.FRESH_MINUTES:
        return [Finding("ok", "SSH certificate: ended; ssh renews it when it is used")]
    return [Finding("ok", f"SSH certificate: {path}")]
