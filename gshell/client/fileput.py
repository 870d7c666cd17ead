"""Local files and directories to an agent, over one session. See gshell/net/FILES.md."""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
from collections.abc import Generator, Iterable
from typing import Any, NamedTuple

from gshell.client.filetransfer import (
    RESUME_FROM,
    SHOWN_COLUMNS,
    Handler,
    Source,
    Transfer,
    key_of,
    message_of,
    refusal,
)
from gshell.model.sanitize import sanitize
from gshell.net import filewire
from gshell.net.incoming import hash_start
from gshell.net.place import Place
from gshell.net.trouble import Trouble, trouble


class There(NamedTuple):
    """What is there of a file that is to be sent, and is the beginning of it."""

    have: int = 0
    whole: bool = False
    """Under its name already."""
    digest: str = ""
    begun: hashlib._Hash | None = None
    """The hash of what is there, to go on with."""


class Put(Transfer):
    """Local files and directories to the far end."""

    sender = ""
    """Tells parts apart that several senders write to one directory, of the same file."""

    def send(
        self,
        sources: Iterable[Source],
        recursive: bool,
        resume: bool = True,
        make: bool = False,
        place: Place | None = None,
        any_time: bool = False,
    ) -> None:
        """``make``: directories above a name, too. ``place``: where the sources are, in place of
        this account. ``any_time``: what is there with the same contents need not be as old."""
        self._resume, self._make, self._any = resume, make, any_time
        self._place = place or Place("/", box=False)
        self._owned = place is None
        self.start(self._send_all(list(sources), recursive))

    def send_to(self, paths: list[str], target: str, recursive: bool, resume: bool) -> None:
        """As scp does: into ``target`` if that is a directory, else under that name."""
        self._resume, self._make, self._any = resume, False, False
        self._place, self._owned = Place("/", box=False), True
        self.start(self._send_to(paths, target, recursive))

    def left(self) -> None:
        if self._owned:
            self._owned = False
            self._place.close()

    def _send_to(
        self, paths: list[str], target: str, recursive: bool
    ) -> Generator[None, None, None]:
        sources = yield from self.named(paths, target)
        yield from self._send_all(sources, recursive)

    def named(self, paths: list[str], target: str) -> Generator[None, None, list[Source]]:
        """What they are to be called there.

        Raises:
            Trouble: that is no place for so many.
        """
        there = yield from self.wait_for({"m": "stat", "path": target or "."})
        inside = there.get("kind") == "d"
        if not inside and (len(paths) > 1 or target.endswith("/")):
            raise Trouble("none", f"{sanitize(target)}: no such directory there")
        sources = []
        for path in paths:
            name = os.path.basename(os.path.abspath(path))
            sources.append(Source(path, posixpath.join(target, name) if inside else target))
        return sources

    def _send_all(self, sources: list[Source], recursive: bool) -> Generator[None, None, None]:
        self.tally.total = sum(_size(self._place, _absolute(source.path)) for source in sources)
        self.tally.listed = not recursive
        for source in sources:
            path = _absolute(source.path) if self._owned else source.path
            try:
                yield from self._send_one(path, source, recursive)
            except Trouble as error:
                self.failed(source.path, error)
            except OSError as error:
                self.failed(source.path, trouble(error))
        self.tally.listed = True

    def _send_one(self, path: str, source: Source, recursive: bool) -> Generator[None, None, None]:
        status = self._place.stat(path)
        if status is None:
            raise Trouble("none", "no such file or directory")
        if not stat.S_ISDIR(status.st_mode):
            yield from self._send_file(path, source.name)
            return
        if not recursive:
            raise Trouble("kind", "it is a directory; -r copies it")
        for entry in self._place.entries(path, True):
            name = posixpath.join(source.name, entry.path) if entry.path else source.name
            inner = os.path.join(path, entry.path) if entry.path else path
            if entry.kind == "d":
                self.ask(
                    {"m": "mkdir", "path": name, "mode": entry.mode},
                    self.answer(f"{inner} as {name}"),
                )
                yield
                continue
            self.tally.total += entry.size
            try:
                yield from self._send_file(inner, name)
            except Trouble as error:
                self.failed(inner, error)
            except OSError as error:
                self.failed(inner, trouble(error))

    def answer(self, path: str, broken: list[bool] | None = None) -> Handler:
        def handler(item: dict[str, Any] | bytes) -> bool:
            message = message_of(item)
            if message.get("m") == "error":
                if broken is not None:
                    broken.append(True)
                self.failed(path, refusal(message))
            elif broken is not None:
                self.tally.files += 1
            return True

        return handler

    def _send_file(self, path: str, name: str) -> Generator[None, None, None]:
        fd, status = self._place.open(path)
        try:
            size = status.st_size
            facts = {"path": name, "size": size, "mode": status.st_mode & 0o777,
                     "mtime": max(0, status.st_mtime_ns),
                     "key": self.key(path, size, status.st_mtime_ns),
                     "make": self._make}  # fmt: skip
            there = There()
            if self._resume and size >= RESUME_FROM:
                there = yield from self.look(fd, facts)
                if there.whole:
                    return
            broken: list[bool] = []
            number = self.ask(
                {"m": "put", "offset": there.have, **facts},
                self.answer(f"{path} as {name}", broken),
            )
            end = yield from self.feed(fd, there, size, broken)
            self.talk.send(filewire.encode({"m": "end", "n": number, **end}))
        finally:
            os.close(fd)
        yield

    def key(self, path: str, size: int, mtime_ns: int) -> str:
        facts = (self._place.root, path, size, mtime_ns)
        return key_of(*facts, self.sender) if self.sender else key_of(*facts)

    def look(
        self, fd: int, facts: dict[str, Any], digest: str = ""
    ) -> Generator[None, None, There]:
        """What is there of a file. ``digest``: of all of it, if that is known.

        Raises:
            Trouble: it cannot be there.
        """
        size = facts["size"]
        try:
            there = yield from self.wait_for({"m": "part", "any": self._any, **facts})
        except Trouble as error:
            where = sanitize(facts["path"], SHOWN_COLUMNS)
            raise Trouble(error.code, f"as {where} there: {error.message}") from None
        have, whole = filewire.number(there, "have", size), there.get("whole") is True
        begun = hash_start(fd, have) if have and not (digest and have == size) else None
        known = begun.hexdigest() if begun is not None else digest if have else ""
        if not known or known != there.get("digest"):
            return There()
        self.tally.kept += have
        if whole:
            self.tally.files += 1
            self.tally.skipped += 1
        return There(have, whole, known, begun)

    def feed(
        self, fd: int, there: There, size: int, broken: list[bool]
    ) -> Generator[None, None, dict[str, Any]]:
        """Send what is not there; how it ends. ``broken``: not empty any more when nobody wants
        it."""
        offset = there.have
        machine = there.begun or hash_start(fd, offset) or hashlib.sha256()
        left = 0  # of the present frame
        while (offset < size and not broken) or left:
            if not left:
                left = min(filewire.MAX_DATA_BYTES, size - offset)
                self.talk.send(filewire.data_head(left))
            data = os.pread(fd, min(filewire.READ_BYTES, left), offset)
            machine.update(data)
            offset += len(data)
            left -= len(data)
            if not data:
                self.talk.send(bytes(left))  # a frame that was begun
                break
            self.talk.send(data)
            self.tally.bytes += len(data)
            yield
        return {"abort": True} if offset < size else {"digest": machine.hexdigest()}


def _absolute(path: str) -> str:
    return os.path.join(os.getcwd(), path) if not path.startswith("/") else path


def _size(place: Place, path: str) -> int:
    try:
        status = place.stat(path)
    except Trouble:
        return 0
    return status.st_size if status is not None and stat.S_ISREG(status.st_mode) else 0
