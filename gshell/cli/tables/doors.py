"""The commands of other ways in: stock SSH and a browser. Knows not what they do."""

from __future__ import annotations

from gshell.cli.options import Command

COMMANDS: tuple[Command, ...] = ()
