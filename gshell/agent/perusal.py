"""Slices of files that a running job writes, kept so that they can be read while it runs."""

from __future__ import annotations

import logging
import os
import stat
import time

FOLDER = ".perusal"
SLICE_BYTES = 16 << 20  # of a file at a time: the agent does nothing else meanwhile
_CHUNK_BYTES = 1 << 20

log = logging.getLogger("gshell.agent")


class Perusal:
    """Invariant: a byte of a file is in one slice, unless the file began anew."""

    def __init__(self, workdir: str, names: tuple[str, ...]) -> None:
        self._workdir = workdir
        self._seen = dict.fromkeys(names, (0, 0))  # (inode, bytes)
        self._count = 0

    def slice(self, now: float) -> list[str]:
        """Keep what is new since the last time; the slices' names."""
        made = []
        for name in self._seen:
            try:
                path = self._slice(name, now)
            except OSError as error:  # not there yet; no space: the next slice has it, too
                log.debug("perusal of %s: %s", name, error)
                continue
            if path:
                made.append(path)
        return made

    def _slice(self, name: str, now: float) -> str:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        fd = os.open(os.path.join(self._workdir, name), flags)
        with os.fdopen(fd, "rb", buffering=0) as file:
            status = os.fstat(fd)
            inode, seen = self._seen[name]
            if not stat.S_ISREG(status.st_mode):
                return ""
            if inode != status.st_ino or status.st_size < seen:
                seen = 0
            if status.st_size == seen:
                return ""
            folder = os.path.join(self._workdir, FOLDER)
            os.makedirs(folder, mode=0o700, exist_ok=True)
            stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime(now))
            self._count += 1
            path = os.path.join(folder, f"{name.replace('/', '_')}.{stamp}_{self._count}")
            temporary = path + ".new"  # a slice that is there is whole
            try:
                with open(temporary, "wb") as out:
                    end = _copy(file.fileno(), seen, out.fileno())
                os.rename(temporary, path)
            except OSError:
                if os.path.lexists(temporary):
                    os.unlink(temporary)
                raise
            self._seen[name] = (status.st_ino, end)
            return path


def _copy(source: int, start: int, target: int) -> int:
    """From ``start`` on; where it ended."""
    at = start
    while at - start < SLICE_BYTES:
        data = os.pread(source, _CHUNK_BYTES, at)
        if not data:
            break
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]
        at += len(data)
    return at
