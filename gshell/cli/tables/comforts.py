"""The commands of what helps with the rest. Knows not what they do."""

from __future__ import annotations

from gshell.cli.options import Command

COMMANDS: tuple[Command, ...] = ()
