"""Files into an archive and out of it, where whoever made the archive is not trusted. Knows no
sandbox and no link.

Headers are read with :mod:`tarfile`, nothing else is: what is made on disk is made here, relative
to open directories, new, and never through a link. The whole archive arrives, or nothing of it.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Callable, NamedTuple, NoReturn

from gshell.errors import GshellError
from gshell.model.sanitize import sanitize

READ_BYTES = 1 << 16
MAX_HEADER_BYTES = 1 << 16  # of what describes one member; a path of 4096 bytes fits many times
MAX_NAME_BYTES = 255  # of one component, as file systems have it
RATIO_FREE_BYTES = 1 << 20  # a few empty files compress better than any ratio
SHOWN_COLUMNS = 200
_KINDS = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE)
_HEADERS = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME)
_NOT_FOR_ALL = ("path", "linkpath", "size", "GNU")  # what no header may say of all members at once
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a fifo must not hold us

Progress = Callable[[int], None]  # bytes of files so far


class Limits(NamedTuple):
    """How much an archive may hold."""

    members: int = 100_000
    total_bytes: int = 64 << 30
    """Of all files."""
    depth: int = 64
    ratio: int = 100
    """Bytes that one compressed byte may become."""


class Contents(NamedTuple):
    """What was written."""

    files: int
    directories: int
    size: int
    """Bytes of all files."""


class Refused(GshellError):
    """The archive is not one that we take; ``member`` is the first of it that is wrong."""

    def __init__(self, member: str, why: str) -> None:
        shown = sanitize(member, SHOWN_COLUMNS)
        super().__init__(f"the archive is refused: {shown}: {why}" if member else
                         f"the archive is refused: {why}")  # fmt: skip
        self.member = member


# ------------------------------------------------------------------------------------------ reading


class _Plain:
    """The archive without its compression: forwards only, and counted. As much of a file as
    `tarfile.TarFile` asks for."""

    def __init__(self, source: BinaryIO, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._came = 0
        self._at = 0
        self._left = source.read(2)
        self._zlib = None
        if self._left == b"\x1f\x8b":
            self._zlib = zlib.decompressobj(31)
        self._came = len(self._left)
        self._ended = False

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int) -> int:
        if offset < self._at:
            raise Refused("", "its headers point backwards")
        while self._at < offset and self.read(min(READ_BYTES, offset - self._at)):
            pass
        return self._at

    def read(self, size: int) -> bytes:
        """So many bytes; fewer at the end."""
        parts = []
        while size > 0:
            part = self._some(min(size, READ_BYTES))
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _some(self, size: int) -> bytes:
        if self._zlib is None:
            data = self._left[:size]
            self._left = self._left[size:]
            data = data or self._source.read(size)
        else:
            data = self._decompressed(size)
        self._at += len(data)
        return data

    def _decompressed(self, size: int) -> bytes:
        machine = self._zlib
        assert machine is not None
        while not machine.eof:
            if not self._left and not self._ended:
                self._left = self._source.read(READ_BYTES)
                self._came += len(self._left)
                self._ended = not self._left
            try:
                data = machine.decompress(self._left, size)
            except zlib.error:
                raise Refused("", "it is damaged") from None
            self._left = machine.unconsumed_tail
            if self._at + len(data) > self._limits.ratio * self._came + RATIO_FREE_BYTES:
                ratio = f"a byte of it becomes more than {self._limits.ratio}"
                raise Refused("", f"{ratio}: it was made to fill the disk")
            if data:
                return data
            if self._ended and not self._left:
                raise Refused("", "it is cut off")
        return b""


class _Header(tarfile.TarInfo):
    """A header that is looked at before tarfile follows it anywhere."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Any:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError:  # tarfile would take that for the end
            raise Refused("", "it is damaged or cut off") from None

    def _proc_member(self, tarfile_: tarfile.TarFile) -> Any:
        if self.size < 0:
            raise Refused(self.name, "its size is negative")
        if self.type in _HEADERS:
            if self.size > MAX_HEADER_BYTES:
                raise Refused(self.name, f"its header has more than {MAX_HEADER_BYTES} bytes")
        elif self.type not in _KINDS:
            raise Refused(self.name, f"it is {_kind(self)}, not a file or a directory")
        return super()._proc_member(tarfile_)  # type: ignore[misc]

    def _sparse(self, *_: object) -> NoReturn:
        raise Refused(self.name, "it is a sparse file")

    _proc_sparse = _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _sparse


def _kind(member: tarfile.TarInfo) -> str:
    kinds = {
        tarfile.SYMTYPE: "a symbolic link",
        tarfile.LNKTYPE: "a link",
        tarfile.CHRTYPE: "a device",
        tarfile.BLKTYPE: "a device",
        tarfile.FIFOTYPE: "a pipe",
        tarfile.GNUTYPE_SPARSE: "a sparse file",
    }
    return kinds.get(member.type, f"of the unknown kind {member.type!r}")


def _members(plain: _Plain, limits: Limits) -> Iterator[tuple[tarfile.TarInfo, list[str]]]:
    """Every member that may be made, and the components of its name.

    Raises:
        Refused: the archive holds another one.
    """
    names = Names(limits)
    count = total = 0
    try:
        archive = tarfile.TarFile(fileobj=plain, mode="r", tarinfo=_Header)  # type: ignore[arg-type]
        while True:
            member = archive.next()
            if member is None:
                return
            archive.members = []  # type: ignore[attr-defined]  # it would remember them all
            for key in archive.pax_headers:
                if key.split(".")[0] in _NOT_FOR_ALL:
                    raise Refused(member.name, f"its archive says {key!r} of all members")
            count += 1
            if member.size < 0:
                raise Refused(member.name, "its size is negative")
            if member.type not in _KINDS or member.sparse:  # what a header before it made of it
                raise Refused(member.name, f"it is {_kind(member)}, not a file or a directory")
            if member.isdir() and member.size:
                raise Refused(member.name, "a directory has no contents")
            total += member.size
            if count > limits.members:
                raise Refused(member.name, f"there are more than {limits.members} members")
            if total > limits.total_bytes:
                raise Refused(member.name, f"its files are larger than {limits.total_bytes} bytes")
            yield member, names.add(member.name, member.isdir())
    except tarfile.TarError as error:
        raise Refused("", f"it is damaged: {error}") from None
    except (ValueError, OverflowError, RecursionError, UnicodeError):
        raise Refused("", "its headers make no sense") from None


class Names:
    """All names so far. Invariant: no two of them are one on any file system."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._known: dict[str, tuple[str, str]] = {}  # folded path -> (path, what it is)

    def add(self, name: str, directory: bool) -> list[str]:
        """The components of ``name``."""
        parts = name.split("/")
        if name.startswith("/"):
            raise Refused(name, "its path is absolute")
        if len(parts) > self._limits.depth:
            raise Refused(name, f"it is more than {self._limits.depth} directories deep")
        for part in parts:
            self._check(name, part)
        for count in range(1, len(parts)):
            self._put(name, "/".join(parts[:count]), "implied")
        self._put(name, name, "directory" if directory else "file")
        return parts

    def _check(self, name: str, part: str) -> None:
        if part == "..":
            raise Refused(name, "its path leads out of the directory")
        if part in ("", "."):
            raise Refused(name, "its path has empty components")
        if any(char < " " or char == "\x7f" for char in part):
            raise Refused(name, "its name has control characters")
        if len(os.fsencode(part)) > MAX_NAME_BYTES:
            raise Refused(name, f"its name has more than {MAX_NAME_BYTES} bytes")

    def _put(self, name: str, path: str, what: str) -> None:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())
        there = self._known.get(folded)
        if there is None:
            self._known[folded] = path, what
        elif there[0] != path:
            other = sanitize(there[0], SHOWN_COLUMNS)
            raise Refused(name, f"on some file systems that is the same as {other}")
        elif there[1] == "file" or what == "file":
            raise Refused(name, "it is there twice")
        elif what == "directory":
            if there[1] == "directory":
                raise Refused(name, "it is there twice")
            self._known[folded] = path, what


# ---------------------------------------------------------------------------------------- unpacking


def unpack(
    source: BinaryIO,
    target: str,
    limits: Limits = Limits(),  # noqa: B008  # a value
    progress: Progress | None = None,
) -> Contents:
    """Put a tar archive, plain or gzipped, into the directory ``target``.

    It is unpacked beside what is there already and moved into place when all of it has been read:
    if anything is refused or fails, ``target`` is as it was.

    Raises:
        Refused: it holds what we don't take, or what is in ``target`` already.
        GshellError: it cannot be written.
    """
    name = f".unpack-{os.urandom(8).hex()}"
    try:
        root = os.open(target, _DIRECTORY)
    except OSError as error:
        raise GshellError(f"cannot unpack into {target}: {error.strerror}") from None
    try:
        os.mkdir(name, 0o700, dir_fd=root)
        try:
            fresh = os.open(name, _DIRECTORY, dir_fd=root)
            try:
                contents = _unpack(source, fresh, limits, progress)
                _move(fresh, root)
            finally:
                os.close(fresh)
        finally:
            _remove(name, root, target)
        return contents
    except OSError as error:
        raise GshellError(f"cannot unpack into {target}: {error.strerror}") from None
    finally:
        os.close(root)


def _remove(name: str, root: int, target: str) -> None:
    if shutil.rmtree.avoids_symlink_attacks:
        shutil.rmtree(f"/proc/self/fd/{root}/{name}", ignore_errors=True)
    else:  # no Linux
        shutil.rmtree(os.path.join(target, name), ignore_errors=True)


def _unpack(
    source: BinaryIO,
    root: int,
    limits: Limits,
    progress: Progress | None,
) -> Contents:
    plain = _Plain(source, limits)
    files = directories = size = 0
    for member, parts in _members(plain, limits):
        with Folder(root, parts[:-1]) as folder:
            if member.isdir():
                _make_directory(folder.fd, parts[-1], member)
                directories += 1
            else:
                for count in _make_file(folder.fd, parts[-1], member, plain):
                    size += count
                    if progress is not None:
                        progress(size)
                files += 1
    return Contents(files, directories, size)


class Folder:
    """The directory of a member, made if need be, open within a ``with``."""

    def __init__(self, root: int, parts: list[str]) -> None:
        self.fd = os.dup(root)
        try:
            for part in parts:
                try:
                    os.mkdir(part, 0o777, dir_fd=self.fd)
                except FileExistsError:
                    pass
                inner = os.open(part, _DIRECTORY, dir_fd=self.fd)
                os.close(self.fd)
                self.fd = inner
        except BaseException:
            os.close(self.fd)
            raise

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def _make_directory(folder: int, name: str, member: tarfile.TarInfo) -> None:
    mode = member.mode & 0o777 | 0o700  # never suid, sgid, sticky; and we must get into it
    try:
        os.mkdir(name, mode, dir_fd=folder)  # less the umask
    except FileExistsError:  # implied by what came before: made with all that the umask leaves
        fd = os.open(name, _DIRECTORY, dir_fd=folder)
        try:
            os.fchmod(fd, stat.S_IMODE(os.fstat(fd).st_mode) & 0o777 & mode)
        finally:
            os.close(fd)


def _make_file(folder: int, name: str, member: tarfile.TarInfo, plain: _Plain) -> Iterator[int]:
    """Write it; yields how many bytes each time."""
    fd = os.open(name, _NEW_FILE, member.mode & 0o777 | 0o600, dir_fd=folder)  # less the umask
    try:
        left = member.size
        while left:
            data = plain.read(min(left, READ_BYTES))
            if not data:
                raise Refused(member.name, "it is cut off")
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            left -= len(data)
            yield len(data)
        if 0 <= member.mtime < 1 << 33:
            os.utime(fd, (member.mtime, member.mtime))
    finally:
        os.close(fd)


def _move(fresh: int, root: int) -> None:
    """What was unpacked to where it belongs; nothing if one of the names is taken."""
    names = os.listdir(fresh)
    for name in names:
        try:
            os.stat(name, dir_fd=root, follow_symlinks=False)
        except FileNotFoundError:
            continue
        raise Refused(name, "it is in the directory already")
    for name in names:
        os.rename(name, name, src_dir_fd=fresh, dst_dir_fd=root)


# ------------------------------------------------------------------------------------------ packing


def pack(paths: Iterable[str], sink: BinaryIO, progress: Progress | None = None) -> Contents:
    """Write files and directories, each under its own last name, as a gzipped tar archive that
    `unpack` takes.

    Raises:
        GshellError: one cannot be read, is neither, or two have one name.
    """
    machine = zlib.compressobj(1, zlib.DEFLATED, 31)  # the network is slower than level 1
    files = directories = size = 0
    names = Names(Limits())

    def put(data: bytes) -> None:
        out = machine.compress(data)
        if out:
            sink.write(out)

    for fd, name, status in _walk(paths):
        try:
            names.add(name, stat.S_ISDIR(status.st_mode))
        except Refused as error:
            raise GshellError(f"cannot pack {sanitize(name)}: {error.message}") from None
        member = tarfile.TarInfo(name)
        member.mode = status.st_mode & 0o777
        member.mtime = int(max(0, status.st_mtime))
        if stat.S_ISDIR(status.st_mode):
            member.type = tarfile.DIRTYPE
            directories += 1
        else:
            member.size = status.st_size
            files += 1
        put(member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
        left = member.size
        while left:
            data = os.read(fd, min(left, READ_BYTES))
            if not data:
                raise GshellError(f"cannot pack {sanitize(name)}: it became shorter meanwhile")
            put(data)
            left -= len(data)
            size += len(data)
            if progress is not None:
                progress(size)
        put(bytes(-member.size % tarfile.BLOCKSIZE))
    put(bytes(2 * tarfile.BLOCKSIZE))
    sink.write(machine.flush())
    return Contents(files, directories, size)


def _walk(paths: Iterable[str]) -> Iterator[tuple[int, str, os.stat_result]]:
    """(descriptor, name in the archive, status), directories before what is in them. The
    descriptor is closed when the next is asked for."""
    for path in paths:
        name = os.path.basename(os.path.normpath(os.path.abspath(path)))
        yield from _walk_one(None, path, name)


def _walk_one(
    folder: int | None,
    path: str,
    name: str,
) -> Iterator[tuple[int, str, os.stat_result]]:
    try:
        fd = os.open(path, _FILE, dir_fd=folder)
    except OSError as error:
        raise GshellError(f"cannot pack {sanitize(name)}: {error.strerror}") from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise GshellError(f"cannot pack {sanitize(name)}: neither a file nor a directory")
        yield fd, name, status
        if stat.S_ISDIR(status.st_mode):
            for inner in sorted(os.listdir(fd)):
                yield from _walk_one(fd, inner, f"{name}/{inner}")
    finally:
        os.close(fd)
