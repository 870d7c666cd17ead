"""The text of a pilot's batch job. Pure."""

from __future__ import annotations

import base64
import shlex
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

_NEEDS = "import sys; print(sys.implementation.cache_tag); sys.exit(sys.version_info < (3, 9))"
_FIND_PYTHON = """\
found=
for python in "$GSHELL_PYTHON" python3 /usr/bin/python3 /usr/local/bin/python3 \\
    python3.13 python3.12 python3.11 python3.10 python3.9 /usr/libexec/platform-python; do
  command -v "$python" >/dev/null 2>&1 || continue
  tag=$("$python" -I -S -c 'NEEDS' 2>/dev/null) && { found=$python; break; }
done
""".replace("NEEDS", _NEEDS)
_FIND = """\
umask 077
exec </dev/null
cd "${HOME:-/}" 2>/dev/null
FINDif [ -z "$found" ]; then
  echo "gshell pilot: no python3 >= 3.9 on $(uname -n): export GSHELL_PYTHON=/path/to/python3" >&2
  exit 69
fi
""".replace("FIND", _FIND_PYTHON)
_UNPACK = """\
work=$(mktemp -d "${TMPDIR:-/tmp}/gshell-pilot.XXXXXX") || exit 70
trap 'rm -rf "$work"' EXIT
unpack() {
  "$found" -I -S -c 'import base64, sys
base64.decode(sys.stdin.buffer, sys.stdout.buffer)' > "$work/$1"
}
"""


# Beside the agent there is one with the bytecode of the Python that was found where it was staged.
_COMPILED = 'compiled="${agent%.pyz}.$tag.pyz"\n[ ! -s "$compiled" ] || agent=$compiled\n'
COMPILE = (
    f'agent=$1\n{_FIND_PYTHON}compiled="${{agent%.pyz}}.$tag.pyz"\n'
    '[ -z "$found" ] || [ -s "$compiled" ] || "$found" -I -S "$agent" compile "$compiled"\n'
)
"""Makes it: ``sh -c COMPILE sh AGENT.pyz``."""


class Staged(NamedTuple):
    """Where things are at the site, as absolute paths there."""

    pyz: str
    invite: str


class Inline(NamedTuple):
    """What travels in the script instead."""

    pyz: bytes
    invite: str


def runner(pyz: str) -> str:
    """A script that runs what is staged there with the words that it is given."""
    return f'#!/bin/sh\n{_FIND}exec "$found" -I -S {shlex.quote(pyz)} "$@"\n'


def text(header: Sequence[str], what: Staged | Inline, words: Sequence[str]) -> str:
    """The script. ``words``: what follows ``pilot --invite @FILE``."""
    head = "\n".join(["#!/bin/sh", *header, "", _FIND])
    rest = shlex.join(words)
    if isinstance(what, Staged):
        invite = shlex.quote("@" + what.invite)
        return (
            f"{head}agent={shlex.quote(what.pyz)}\n{_COMPILED}"
            f'exec "$found" -I -S "$agent" pilot --invite {invite} {rest}\n'
        )
    parts = [head, _UNPACK]
    for name, data in (("agent.pyz", what.pyz), ("invite", what.invite.encode())):
        lines = "\n".join(textwrap.wrap(base64.b64encode(data).decode(), 76))
        parts.append(f"unpack {name} <<'END'\n{lines}\nEND\n")
    # A child, not `exec`: the directory is ours to remove; signals go on to it.
    parts.append(
        f'"$found" -I -S "$work/agent.pyz" pilot --invite "@$work/invite" {rest} &\n'
        "child=$!\n"
        'for name in TERM INT HUP USR1 USR2; do trap "kill -$name $child" $name; done\n'
        "status=0\n"
        "while kill -0 $child 2>/dev/null; do wait $child; status=$?; done\n"
        "exit $status\n"
    )
    return "".join(parts)
