"""The command line of i2glogin, the same at both ends. Pure, but for asking whether a file exists.

The tutorial's words: ``-p PORT:IP`` (another page has IP:PORT), ``-r`` the far end, ``-t``, ``-c``.
"""

from __future__ import annotations

import getopt
import ipaddress
import os
from typing import NamedTuple

from gshell.errors import UsageError

USAGE = """\
usage: i2glogin -p PORT:IP                             wait here for a job to call
       i2glogin -r -p PORT:IP [-t] [-c] [COMMAND...]   in the job: call, run COMMAND
  -p ADDRESS          PORT:IP, IP:PORT or PORT; IPv6 as [::1]. With -r the user's side, where to
                      call. Port 0: any (it is printed). An IP of another machine: listen on all
  -r                  this is the remote end
  -t                  give COMMAND a terminal even where the user's side has none
  -c                  what follows is the command (one word with blanks in it is a shell's);
                      without one: the user's shell
  --secret-file FILE  the secret that both ends share (else `gshell submit` or `i2glogin -p` makes
                      one, whichever comes first; in the job $GSHELL_GLOGIN_SECRET_FILE names it)
  --insecure          no secret: whoever is quicker gets the session. Both ends must say it
  --keep              do not delete the secret once it was used
  --wait T            how long to go on calling, or to wait for a call after a break: 90, 30m, 2h
                      (else 10m)
  -q                  no notes
The exit status is COMMAND's. Else: 2 wrong usage, 125 not started, 255 connection lost.
"""
SECRET_FILE = "GSHELL_GLOGIN_SECRET_FILE"  # noqa: S105 - a variable's name
WAIT_S = 600.0
HELP = "i2glogin --help"


class Place(NamedTuple):
    """Where the user's side listens."""

    host: str
    """Empty: any."""
    port: int

    def __str__(self) -> str:
        """As the tutorial writes it."""
        return f"{self.port}:[{self.host}]" if ":" in self.host else f"{self.port}:{self.host}"

    @property
    def address(self) -> str:
        """As `gshell.net.address` takes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Words(NamedTuple):
    """What the command line said."""

    place: Place
    remote: bool = False
    tty: bool = False
    command: tuple[str, ...] = ()
    secret_file: str = ""
    insecure: bool = False
    keep: bool = False
    wait_s: float = WAIT_S
    quiet: bool = False
    help: bool = False


def parse(argv: list[str]) -> Words:
    """
    Raises:
        UsageError: it makes no sense.
    """
    long = ["secret-file=", "insecure", "keep", "wait=", "help", "quiet"]
    try:
        options, rest = getopt.getopt(argv, "rp:tchq", long)
    except getopt.GetoptError as error:
        raise UsageError(f"i2glogin: {error}", hint=HELP) from None
    given = dict(options)
    if "-h" in given or "--help" in given:
        return Words(Place("", 0), help=True)
    if "-p" not in given:
        raise UsageError("i2glogin: -p PORT:IP is missing", hint="i2glogin -p 24599:158.109.65.149")
    remote = "-r" in given
    if rest and not remote:
        raise UsageError(
            f"i2glogin: {rest[0]!r}: the command is given to the remote end",
            hint="i2glogin -r -p PORT:IP -t -c COMMAND    in the job",
        )
    place = parse_place(given["-p"])
    if remote and not (place.port and place.host):
        raise UsageError(f"i2glogin: where to call? {given['-p']!r} says not", hint=HELP)
    insecure = "--insecure" in given
    if insecure and "--secret-file" in given:
        raise UsageError("i2glogin: --insecure has no secret: take one of the two")
    return Words(
        place=place,
        remote=remote,
        tty="-t" in given,
        command=command_of(rest),
        secret_file=given.get("--secret-file", ""),
        insecure=insecure,
        keep="--keep" in given,
        wait_s=_duration(given["--wait"]) if "--wait" in given else WAIT_S,
        quiet="-q" in given or "--quiet" in given,
    )


def parse_place(text: str) -> Place:
    """``24599:158.109.65.149``, ``158.109.65.149:24599``, ``24599:[::1]``, ``[::1]:24599``,
    ``24599``.

    Raises:
        UsageError: none of these, or two of them.
    """
    found = []
    if text.isdigit():
        found.append(("", text))
    if ":" in text:
        port, _, host = text.partition(":")
        found.append((host, port))
        host, _, port = text.rpartition(":")
        found.append((host, port))
    right = {
        Place(_bare(host), int(port))
        for host, port in found
        if port.isascii() and port.isdigit() and int(port) < 65536 and _is_host(host, text)
    }
    if len(right) != 1:
        why = "may be read in two ways" if right else "is no address"
        raise UsageError(f"i2glogin: {text!r} {why}", hint="PORT:IP, IP:PORT or PORT:[IPV6]")
    return right.pop()


def _bare(host: str) -> str:
    return host[1:-1] if host.startswith("[") else host


def _is_host(host: str, text: str) -> bool:
    if not host:
        return text.isdigit()
    try:
        if host.startswith("[") != host.endswith("]"):
            return False
        if ":" in host:
            return ipaddress.ip_address(_bare(host)).version == 6
        if host.replace(".", "").isdigit():
            return ipaddress.ip_address(host).version == 4
    except ValueError:
        return False
    return all(c.isalnum() or c in "-._" for c in host)


def command_of(words: list[str]) -> tuple[str, ...]:
    """What to execute; empty: a shell of the user's own."""
    if len(words) == 1 and len(words[0].split()) > 1 and not os.path.exists(words[0]):
        return ("/bin/sh", "-c", words[0])
    return tuple(words)


def _duration(text: str) -> float:
    unit = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(text[-1:], 0)
    number = text[:-1] if unit else text
    if not (number.isascii() and number.isdigit() and len(number) < 9):
        raise UsageError(f"i2glogin: --wait {text!r} is no time such as 90, 30m or 2h")
    return float(number) * (unit or 1)
