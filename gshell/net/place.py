"""Directories that files are copied into and out of, by path. Knows no network and no protocol.

Either the user's own account (absolute paths, ``..`` and links are theirs to use), or a *box*: a
root that nothing leads out of, whoever chose the names. What is written becomes visible whole, by
a rename, or not at all.
"""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterator

from gshell.errors import GshellError
from gshell.net.filewire import Entry
from gshell.net.incoming import Incoming, Quota, is_part
from gshell.net.trouble import Trouble, trouble
from gshell.net.unpack import Folder, Limits, Names

MAX_DEPTH = 64  # of directories; a link that leads to where it stands ends here
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a fifo must not hold us


class Place:
    """Paths below ``root``. Owns a descriptor of it."""

    def __init__(self, root: str, box: bool, quota: Quota | None = None) -> None:
        """
        Raises:
            OSError: there is no such directory.
        """
        self.root = root
        self.box = box
        self.quota = quota
        self._fd = os.open(root, _DIRECTORY)

    def close(self) -> None:
        os.close(self._fd)

    # -- paths

    def folder(self, path: str, make: bool = False) -> tuple[int, str]:
        """(the open directory it is in, its name there); close the former.

        Raises:
            Trouble: there is none, or the path is not one for here.
        """
        try:
            if self.box:
                parts = self.parts(path)
                if not parts:
                    return os.dup(self._fd), "."
                if make:
                    if self.quota is not None:
                        self.quota.folders(parts[:-1])
                    with Folder(self._fd, parts[:-1]) as inner:
                        return os.dup(inner.fd), parts[-1]
                return self._walk(parts[:-1]), parts[-1]
            path = self._own(path)
            above, name = os.path.split(path.rstrip("/") or "/")
            if make and above:
                os.makedirs(os.path.join(self.root, above), exist_ok=True)
            return os.open(above or ".", _DIRECTORY, dir_fd=self._fd), name or "."
        except OSError as error:
            raise trouble(error) from None

    def _own(self, path: str) -> str:
        """A path in one's own account."""
        if path == "~" or path.startswith("~/"):
            return os.path.join(os.path.expanduser("~"), path[2:])
        return path or "."

    @staticmethod
    def parts(path: str) -> list[str]:
        """The components of a path in a box.

        Raises:
            Trouble: it is none.
        """
        path = path.rstrip("/")
        while path.startswith("./"):
            path = path[2:].lstrip("/")
        if path in ("", "."):
            return []
        names = Names(Limits(depth=MAX_DEPTH))
        try:
            return names.add(path, False)
        except GshellError as error:
            why = error.message.rpartition(": ")[2]
            raise Trouble("denied", why) from None

    def _walk(self, parts: list[str]) -> int:
        fd = os.dup(self._fd)
        try:
            for part in parts:
                inner = os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                os.close(fd)
                fd = inner
        except BaseException:
            os.close(fd)
            raise
        return fd

    @property
    def _no_links(self) -> int:
        return os.O_NOFOLLOW if self.box else 0

    # -- looking

    def stat(self, path: str) -> os.stat_result | None:
        """None: there is nothing.

        Raises:
            Trouble: it cannot be said.
        """
        try:
            above, name = self.folder(path)
        except Trouble as error:
            if error.code == "none":
                return None
            raise
        try:
            return os.stat(name, dir_fd=above, follow_symlinks=not self.box)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise trouble(error) from None
        finally:
            os.close(above)

    def entries(self, pattern: str, recursive: bool) -> Iterator[Entry]:
        """What ``pattern`` names, and with ``recursive`` all that is in it; nothing that is
        neither a file nor a directory.

        Raises:
            Trouble: there is nothing of that name.
        """
        found = False
        for path in self._matches(pattern):
            status = self.stat(path)
            if status is None:
                continue
            found = True
            if stat.S_ISDIR(status.st_mode):
                yield _entry(path, "", status)
                if recursive:
                    above, name = self.folder(path)
                    try:
                        yield from self._tree(above, name, path, "", 0)
                    finally:
                        os.close(above)
            elif stat.S_ISREG(status.st_mode):
                yield _entry(path, "", status)
            else:
                raise Trouble("kind", "it is neither a file nor a directory")
        if not found:
            raise Trouble("none", "no such file or directory")

    def _matches(self, pattern: str) -> Iterator[str]:
        if not any(char in pattern for char in "*?[") or self.stat(pattern) is not None:
            yield pattern
            return
        if self.box:
            self.parts(pattern)
        path = self._own(pattern) if not self.box else pattern
        start = "/" if path.startswith("/") else ""
        yield from self._globbed(start, [part for part in path.split("/") if part])

    def _globbed(self, base: str, parts: list[str]) -> Iterator[str]:
        if not parts:
            yield base
            return
        first, rest = parts[0], parts[1:]
        if not any(char in first for char in "*?["):
            inner = os.path.join(base, first)
            if self.stat(inner) is not None:
                yield from self._globbed(inner, rest)
            return
        if first == "**":
            yield from self._globbed(base, rest)
        for name in self._names(base or "."):
            if name.startswith(".") and not first.startswith("."):
                continue
            inner = os.path.join(base, name)
            if first == "**":
                status = self.stat(inner)
                if status is not None and stat.S_ISDIR(status.st_mode):
                    yield from self._globbed(inner, parts)
            elif fnmatch.fnmatchcase(name, first):
                yield from self._globbed(inner, rest)

    def _names(self, path: str) -> list[str]:
        try:
            above, name = self.folder(path)
        except Trouble:
            return []
        try:
            fd = os.open(name, _DIRECTORY | self._no_links, dir_fd=above)
        except OSError:
            return []
        finally:
            os.close(above)
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def _tree(self, above: int, name: str, base: str, path: str, depth: int) -> Iterator[Entry]:
        """All below a directory, directories before what is in them. In one's own account links
        are followed, as by scp; in a box they are left out."""
        if depth > MAX_DEPTH:
            raise Trouble("limit", f"more than {MAX_DEPTH} directories deep")
        try:
            fd = os.open(name, _DIRECTORY | self._no_links, dir_fd=above)
        except OSError as error:
            raise trouble(error) from None
        try:
            for inner in sorted(os.listdir(fd)):
                try:
                    status = os.stat(inner, dir_fd=fd, follow_symlinks=not self.box)
                except OSError:
                    continue  # it has just gone, or leads nowhere
                below = f"{path}/{inner}" if path else inner
                if stat.S_ISDIR(status.st_mode):
                    yield _entry(base, below, status)
                    yield from self._tree(fd, inner, base, below, depth + 1)
                elif stat.S_ISREG(status.st_mode) and not is_part(inner):
                    yield _entry(base, below, status)
        finally:
            os.close(fd)

    def open(self, path: str) -> tuple[int, os.stat_result]:
        """A file to read; close it.

        Raises:
            Trouble: it is not there, or no file.
        """
        above, name = self.folder(path)
        try:
            fd = os.open(name, _FILE | self._no_links, dir_fd=above)
        except OSError as error:
            raise trouble(error) from None
        finally:
            os.close(above)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            what = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise Trouble("kind", f"it is {what}")
        return fd, status

    # -- changing

    def make_directory(self, path: str, mode: int) -> None:
        """And those above it. One that is there stays as it is.

        Raises:
            Trouble: it cannot be.
        """
        above, name = self.folder(path, make=True)
        try:
            if self.quota is not None and self.box:
                self.quota.folders(self.parts(path))
            os.mkdir(name, mode & 0o777 | 0o700, dir_fd=above)
        except FileExistsError:
            status = os.stat(name, dir_fd=above, follow_symlinks=not self.box)
            if not stat.S_ISDIR(status.st_mode):
                raise Trouble("kind", "there is something else of that name") from None
        except OSError as error:
            raise trouble(error) from None
        finally:
            os.close(above)

    def incoming(self, path: str, key: str, size: int, make: bool = False) -> Incoming:
        """A file about to be written.

        Raises:
            Trouble: it cannot be.
        """
        if not self.box:
            path = self._own(path)
            full = os.path.join(self.root, path)
            if os.path.islink(full):  # what it leads to is meant, as by any program that writes
                path = os.path.realpath(full)
        above, name = self.folder(path, make)
        try:
            try:
                there = os.stat(name, dir_fd=above, follow_symlinks=False)
            except FileNotFoundError:
                pass
            else:
                if not stat.S_ISREG(there.st_mode) or name in (".", ".."):
                    what = "a directory" if stat.S_ISDIR(there.st_mode) else "no regular file"
                    raise Trouble("kind", f"it is {what}")
                if not os.access(name, os.W_OK, dir_fd=above):
                    raise Trouble("denied", "permission denied")
            return Incoming(above, name, key, size, self.quota)
        except OSError as error:
            os.close(above)
            raise trouble(error) from None
        except BaseException:
            os.close(above)
            raise


def _entry(base: str, path: str, status: os.stat_result) -> Entry:
    directory = stat.S_ISDIR(status.st_mode)
    return Entry(
        base, path, "d" if directory else "f", 0 if directory else status.st_size,
        status.st_mode & 0o777, max(0, status.st_mtime_ns),
    )  # fmt: skip
