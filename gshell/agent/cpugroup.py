"""A cpu cgroup for the batch lane, where one was delegated to us. Measures nothing."""

from __future__ import annotations

import logging
import os

from gshell.agent.proctree import Tree

V1_WEIGHT, V2_WEIGHT = 1024, 100  # the usual ones
_V1_LEAST, _V2_LEAST = 2, 1

log = logging.getLogger("gshell.agent")


class CpuGroup:
    """Invariant: its group has the batch lane's processes in it, and no others."""

    name = "cgroup"

    def __init__(self, parent: str, v2: bool) -> None:
        self._parent = parent
        self._path = os.path.join(parent, f"gshell-batch-{os.getpid()}")
        self._file = "cpu.weight" if v2 else "cpu.shares"
        self._usual = V2_WEIGHT if v2 else V1_WEIGHT
        self._smallest = _V2_LEAST if v2 else _V1_LEAST
        self.least = self._smallest / self._usual
        self._in: set[tuple[int, int]] = set()
        self._weight = 0

    @classmethod
    def find(
        cls, root_too: bool = False, mounts: str = "/sys/fs/cgroup", own: str = "/proc/self/cgroup"
    ) -> CpuGroup | None:
        """One that can be made below ours, if that is delegated; ``root_too``: were it the
        machine's root, which is nobody's to give."""
        for v2, mount, path in _ours(mounts, own):
            parent = os.path.normpath(mount + path)
            if (path == "/" and not root_too) or not os.access(parent, os.W_OK):
                continue
            group = cls(parent, v2)
            if group._make():
                return group
        return None

    def _make(self) -> bool:
        try:
            os.mkdir(self._path)
        except FileExistsError:
            pass
        except OSError:
            return False
        if os.path.exists(os.path.join(self._path, self._file)):
            return True
        self._remove()  # no cpu controller below here, or nobody may switch it on
        return False

    def apply(self, trees: list[Tree], weight: float) -> bool:
        """As `demotion.Way` says."""
        number = max(self._smallest, round(self._usual * weight))
        try:
            if number != self._weight:
                _write(os.path.join(self._path, self._file), number)
                self._weight = number
            procs = os.path.join(self._path, "cgroup.procs")
            for tree in trees:
                for process in tree.members.values():
                    if process.key not in self._in:
                        try:
                            _write(procs, process.pid)
                        except ProcessLookupError:
                            continue
                        self._in.add(process.key)
        except OSError as error:
            log.info("lanes: %s: %s", self._path, error.strerror)
            return False
        return True

    def restore(self) -> bool:
        """As `demotion.Way` says."""
        self._in.clear()
        try:
            _write(os.path.join(self._path, self._file), self._usual)
            with open(os.path.join(self._path, "cgroup.procs"), "rb") as file:
                pids = file.read().split()
            for pid in pids:
                try:
                    _write(os.path.join(self._parent, "cgroup.procs"), int(pid))
                except OSError:  # gone; or no process may be in the parent: it has its weight back
                    pass
        except OSError:
            pass
        self._remove()
        return True

    def _remove(self) -> None:
        try:
            os.rmdir(self._path)
        except OSError:
            pass


def _ours(mounts: str, own: str) -> list[tuple[bool, str, str]]:
    """(version 2?, mount point, our path in it) of every hierarchy that may have the cpu
    controller."""
    found = []
    try:
        with open(own, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            places = (mounts, os.path.join(mounts, "unified"))
            mark = "cgroup.controllers"
            found += [(True, p, path) for p in places if os.path.exists(os.path.join(p, mark))]
        elif "cpu" in controllers.split(","):
            found += [(False, os.path.join(mounts, name), path) for name in ("cpu", controllers)]
    return found


def _write(path: str, value: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(value).encode())
    finally:
        os.close(fd)
