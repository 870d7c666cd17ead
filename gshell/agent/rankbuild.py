"""Compiles what a launcher starts for each rank, where there is a compiler: every rank waits for
it, and an interpreter's start is most of what it costs. Without one ranks start as before.
"""

from __future__ import annotations

import logging
import os
import pkgutil  # the agent may be in a zip file
import signal as signals
from typing import TYPE_CHECKING

from gshell.agent.daemon import Daemon
from gshell.agent.spawn import SpawnSpec, spawn
from gshell.errors import SpawnFailed

if TYPE_CHECKING:
    from gshell.agent.claims import Claims
    from gshell.net.loop import Loop

BUILD_S = 120.0  # 0.2 s on an idle machine
# Static: quicker to start, and no library to miss; not every system has the archive for it. Whether
# it runs is tried: a file system may not execute anything.
SCRIPT = """
for link in -static ''; do
    nice -n 10 cc -std=c99 -O2 -s $link -o "$1.new" "$1.c" && "$1.new" rank true &&
        exec mv -f "$1.new" "$1"
done >/dev/null 2>&1
rm -f "$1.new"
exit 1
"""

log = logging.getLogger("gshell.agent")


class Build:
    """An agent's: begun once. Invariant: `Claims.compiled` is a program that runs, or empty."""

    def __init__(self, loop: Loop, claims: Claims) -> None:
        self._loop = loop
        self._claims = claims
        self._compiler: Daemon | None = None

    @property
    def busy(self) -> bool:
        return self._compiler is not None

    def begin(self) -> None:
        env = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        try:
            source = self._claims.keep(
                "rankexec.c", pkgutil.get_data("gshell.agent", "rankexec.c") or b""
            )
            program = source[: -len(".c")]
            child = spawn(SpawnSpec(["sh", "-c", SCRIPT, "sh", program], env, "/", stdin="null"))
        except (OSError, SpawnFailed) as error:
            log.info("ranks are started by an interpreter: %s", error)
            return

        def ended(code: int) -> None:
            timer.cancel()
            self._compiler = None
            self._claims.compiled = program if code == 0 else ""

        self._compiler = Daemon(self._loop, child, lambda fd, data: None, ended)
        timer = self._loop.later(BUILD_S, self.close)

    def close(self) -> None:
        """It is not waited for."""
        if self._compiler is not None:
            self._compiler.end(signals.SIGKILL)
