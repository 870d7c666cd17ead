"""Jobs' work directories on this node: made, found by job and index, removed. Starts no program.

They stand in a place of this agent (spoolplace.py), so that what a killed agent leaves is removed
by its keeper or by the next one. A job's program may have put anything into its directory: removal
follows no link, goes on where it has no permission, and depth costs it nothing.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import tempfile
from collections.abc import Iterator

from gshell.agent.spoolplace import DIRECTORY, Kind, SpoolPlace

_WORKDIR = re.compile(r"gshell-\d{1,18}\.\d{1,7}-[A-Za-z0-9_]{8}\Z")

log = logging.getLogger("gshell.agent")


class WorkDirs:
    """Invariant: what `path` tells is a directory that we made, mode 0700, and nobody else's."""

    def __init__(self, base: str | None = None) -> None:
        """``base``: where spools go, too; else where temporary files go."""
        self._place = SpoolPlace(base, WORK)
        self._paths: dict[tuple[str, int], str] = {}
        self._touched: dict[tuple[str, int], float] = {}

    def make(self, job: str, index: int) -> str:
        """This member's directory; the one it has, if it has one.

        Raises:
            OSError: there is no place.
        """
        path = self._paths.get((job, index))
        if path is None:
            place = self._place.path()
            if not os.path.isdir(place):  # somebody cleaned up
                self._place.remake()
            path = tempfile.mkdtemp(prefix=f"gshell-{job}.{index}-", dir=place)
            self._paths[job, index] = path
        return path

    def path(self, job: str, index: int) -> str | None:
        """Where it is, if it was made and not yet dropped."""
        return self._paths.get((job, index))

    def members(self, job: str) -> list[int]:
        """The members of this job that have one."""
        return [index for name, index in self._paths if name == job]

    def touch(self, job: str, index: int, now: float) -> None:
        """Something happened with it."""
        if (job, index) in self._paths:
            self._touched[job, index] = now

    def old(self, before: float) -> list[tuple[str, int]]:
        """Those with which nothing has happened since."""
        return [which for which, at in self._touched.items() if at < before]

    def drop(self, job: str, index: int) -> Iterator[str]:
        """Forget it now; it is removed as the result is read, a file with each step."""
        path = self._paths.pop((job, index), None)
        self._touched.pop((job, index), None)
        if path is None:
            return iter(())
        above, name = os.path.split(path)
        return _removing(above, name)

    def leftovers(self) -> Iterator[str]:
        """Remove what dead agents left, a file with each step."""
        return self._place.leftovers()

    def remove(self) -> None:
        """All of them: the agent ends."""
        self._paths.clear()
        self._place.remove()


def _removing(above: str, name: str) -> Iterator[str]:
    try:
        fd = os.open(above, DIRECTORY)
    except OSError:
        return
    try:
        yield from remove_tree(fd, name)
    finally:
        os.close(fd)


def remove_tree(above: int, name: str) -> Iterator[str]:
    """Directories in directories are moved up before they are emptied, so none is ever deep."""
    try:
        top = os.open(name, DIRECTORY, dir_fd=above)
    except OSError:
        return
    count = 0
    try:
        os.fchmod(top, 0o700)
        while True:
            entries = os.listdir(top)
            folders = [entry for entry in entries if not _unlink(entry, top)]
            yield from (entry for entry in entries if entry not in folders)
            if not folders:
                break
            for folder in folders:
                os.chmod(folder, 0o700, dir_fd=top)  # no link: see `_unlink`
                inside = os.open(folder, DIRECTORY, dir_fd=top)
                try:
                    for entry in os.listdir(inside):
                        if not _unlink(entry, inside):
                            os.chmod(entry, 0o700, dir_fd=inside)
                            count += 1
                            _move_up(entry, inside, top, count)
                        yield entry
                finally:
                    os.close(inside)
                os.rmdir(folder, dir_fd=top)
        os.rmdir(name, dir_fd=above)
    except OSError as error:  # a mount in it, somebody else's files, or it changes under our hands
        log.warning("%s: cannot be removed: %s", name, error.strerror)
    finally:
        os.close(top)


def _unlink(name: str, above: int) -> bool:
    """Remove what is no directory; False if it is one."""
    try:
        if stat.S_ISDIR(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
            return False
        os.unlink(name, dir_fd=above)
    except FileNotFoundError:
        pass
    return True


def _move_up(name: str, above: int, top: int, count: int) -> None:
    while True:
        new = f".gone-{count}-{os.urandom(4).hex()}"
        try:
            os.stat(new, dir_fd=top, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(name, new, src_dir_fd=above, dst_dir_fd=top)
            return


WORK = Kind("work", _WORKDIR, remove_tree)
