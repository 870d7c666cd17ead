"""Where a site's commands run: on this host, as a subprocess with a time-out. (Over ssh: `ssh`.)"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Protocol

from gshell import config
from gshell.errors import GshellError
from gshell.lrms.base import Command, Done
from gshell.net.machine import user_name

COMMAND_S = 60.0  # a batch system's command that takes longer is stuck: its servers are away
MAX_OUTPUT = 8 << 20


class PlaceLost(GshellError):
    """The front end cannot be reached, or a command there did not end: it may pass."""


class Place(Protocol):
    """One site's submit host; used by one thread."""

    home: str
    """Where our files are there: an absolute path, ours alone (0700)."""
    user: str
    """Who we are there."""

    def run(
        self,
        argv: Sequence[str],
        data: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout_s: float = COMMAND_S,
    ) -> tuple[int, bytes, bytes]:
        """Status, output and errors of a command.

        Raises:
            PlaceLost: it could not be run to its end. Never because of what the command said.
        """

    def close(self) -> None: ...


def run(place: Place, command: Command, timeout_s: float = COMMAND_S) -> Done:
    """A plug-in's command; 127 if there is none of that name.

    Raises:
        PlaceLost: as above.
    """
    data = command.stdin.encode("utf-8", "surrogateescape")
    code, out, err = place.run(command.argv, data, command.env, timeout_s)
    return Done(code, _text(out), _text(err))


def _text(data: bytes) -> str:
    return data[:MAX_OUTPUT].decode("utf-8", "replace")


class Here:
    """This host."""

    def __init__(self) -> None:
        self.home = config.private_dir(config.cache_dir())
        self.user = user_name()
        self._cwd = config.home() if os.path.isdir(config.home()) else "/"

    def run(
        self,
        argv: Sequence[str],
        data: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout_s: float = COMMAND_S,
    ) -> tuple[int, bytes, bytes]:
        # oarsub wants PWD to be where it is.
        full = {**os.environ, "PWD": self._cwd, "LC_ALL": "C", **(env or {})}
        try:
            done = subprocess.run(
                list(argv), input=data, env=full, cwd=self._cwd, capture_output=True,
                timeout=timeout_s, check=False, start_new_session=True,
            )  # fmt: skip
        except FileNotFoundError:
            return 127, b"", f"{argv[0]}: command not found".encode()
        except subprocess.TimeoutExpired:
            raise PlaceLost(f"{argv[0]} did not end within {timeout_s:g} s") from None
        except OSError as error:
            raise PlaceLost(f"cannot run {argv[0]}: {error.strerror}") from None
        return done.returncode, done.stdout, done.stderr

    def close(self) -> None:
        pass
