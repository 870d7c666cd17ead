"""What MPICH's ranks want to know of the machine, found once: else each of them looks through /sys.

Their own hydra is asked after the first job, and gives ranks a file of hwloc's; so do we from then
on. Where that fails ranks find it out by themselves, as without us.
"""

from __future__ import annotations

import logging
import os
import signal as signals
import sys
from typing import TYPE_CHECKING

from gshell.agent.daemon import Daemon
from gshell.agent.spawn import SpawnSpec, spawn
from gshell.errors import SpawnFailed

if TYPE_CHECKING:
    from gshell.agent.claims import Claims
    from gshell.net.loop import Loop

KEY = "PMI_hwloc_xmlfile"
FIND_S = 20.0  # a network file system that has just woken up
MAX_BYTES = 1 << 24
# A rank of hydra's that asks for the file and prints it: hydra removes it when it ends.
RANK = """
import os, socket
line = socket.socket(fileno=int(os.environ["PMI_FD"])).makefile("rwb")
def ask(words, wanted):
    line.write(words.encode() + b"\\n")
    line.flush()
    return line.readline().decode().strip().partition(wanted + "=")[2].partition(" ")[0]
ask("cmd=init pmi_version=1 pmi_subversion=1", "rc")
name = ask("cmd=get_my_kvsname", "kvsname")
path = ask("cmd=get kvsname=" + name + " key=PMI_hwloc_xmlfile", "value")
if path.startswith("/"):
    with open(path) as file:
        print(file.read())
ask("cmd=finalize", "rc")
"""

log = logging.getLogger("gshell.agent")


class Topology:
    """An agent's. Invariant: a path that `facts` names was there a moment ago."""

    def __init__(self, loop: Loop, claims: Claims) -> None:
        self._loop = loop
        self._claims = claims
        self._found: dict[tuple[object, ...], str] = {}  # "": hydra does not know either
        self._asking: Daemon | None = None

    def facts(self, hydra: str) -> dict[str, str]:
        """What ranks find in the key-value space; nothing where this is not known (yet)."""
        path = self._found.get(_mark(hydra), "")
        return {KEY: path} if path and os.path.exists(path) else {}

    def find(self, hydra: str, libraries: str) -> None:
        """Ask it, if it has not been asked; ``libraries``: the LD_LIBRARY_PATH it may need."""
        mark = _mark(hydra)
        known = self._found.get(mark)
        if self._asking is not None or known == "" or (known and os.path.exists(known)):
            return
        self._found[mark] = ""
        words = [hydra, "-launcher", "fork", "-rmk", "user", "-n", "1", sys.executable, "-I", "-S"]
        env = {"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")}
        if libraries:
            env["LD_LIBRARY_PATH"] = libraries
        try:
            child = spawn(SpawnSpec([*words, "-c", RANK], env, "/", stdin="null"))
        except SpawnFailed:
            return
        said: list[bytes] = []

        def heard(fd: int, data: bytes) -> None:
            if fd == 1 and sum(map(len, said)) < MAX_BYTES:
                said.append(data)

        def ended(code: int) -> None:
            timer.cancel()
            self._asking = None
            self._keep(mark, b"".join(said) if code == 0 else b"")

        self._asking = Daemon(self._loop, child, heard, ended)
        timer = self._loop.later(FIND_S, self.close)

    def _keep(self, mark: tuple[object, ...], text: bytes) -> None:
        text = text.strip()
        if not text.startswith(b"<?xml") or not text.endswith(b"</topology>"):
            log.info("%s knows no topology", mark[0])
            return
        name = f"topology-{len(self._found)}.xml"
        try:
            self._found[mark] = self._claims.keep(name, text + b"\n")
        except OSError as error:
            log.info("the topology cannot be kept: %s", error.strerror)

    def close(self) -> None:
        """Whoever is being asked is ended."""
        if self._asking is not None:
            self._asking.end(signals.SIGKILL)


def _mark(hydra: str) -> tuple[object, ...]:
    """Equal while hydra would say the same."""
    try:
        status = os.stat(hydra)
    except OSError:
        return hydra, 0
    return hydra, status.st_mtime_ns, os.cpu_count(), frozenset(os.sched_getaffinity(0))
