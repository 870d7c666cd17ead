"""The commands of recording and playing. Knows not what they do."""

from __future__ import annotations

from gshell.cli.options import Command

COMMANDS: tuple[Command, ...] = ()
