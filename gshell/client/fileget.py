"""Files and directories of an agent to here, over one session. See gshell/net/FILES.md."""

from __future__ import annotations

import os
import posixpath
import stat
from collections import deque
from collections.abc import Generator
from typing import Any

from gshell.client.filetransfer import (
    AHEAD,
    MAX_LISTED,
    RESUME_FROM,
    SHOWN_COLUMNS,
    Handler,
    Transfer,
    key_of,
    message_of,
    refusal,
)
from gshell.errors import RemoteProtocolError
from gshell.model.sanitize import sanitize
from gshell.net import filewire
from gshell.net.filewire import Entry
from gshell.net.incoming import Incoming, hash_start
from gshell.net.place import Place
from gshell.net.trouble import Trouble, trouble


class Get(Transfer):
    """Files and directories of the far end to here."""

    def fetch(self, paths: list[str], target: str, recursive: bool, resume: bool = True) -> None:
        """As scp does: into ``target`` if that is a directory, else under that name.

        Raises:
            OSError, Trouble: that is no place.
        """
        self._resume = resume
        inside = os.path.isdir(target)
        patterns = any(char in path for path in paths for char in "*?[")
        if not inside and (len(paths) > 1 or patterns or target.endswith("/")):
            raise Trouble("none", f"{sanitize(target)}: no such directory here")
        above, name = (target, "") if inside else os.path.split(os.path.abspath(target))
        self.fetch_into(paths, above, name, recursive)

    def fetch_into(
        self,
        paths: list[str],
        folder: str,
        name: str,
        recursive: bool,
        place: Place | None = None,
        whole_paths: bool = False,
        contents: bool = False,
        overwrite: bool = True,
    ) -> None:
        """Below ``folder``: nothing that the far end says leads out of it. ``name``: what the one
        that is asked for is called here. ``whole_paths``: with the directories before its name.
        ``contents``: without its name, only what is in it. Not ``overwrite``: what is here stays,
        and if it is not the same, that is a failure."""
        self._place = place or Place(folder, box=True)
        self._owned = place is None
        self._name = name
        self._whole_paths = whole_paths
        self._contents = contents
        self._overwrite = overwrite
        self._had: set[str] = set()  # two patterns may name one file
        self._queue: deque[Entry] = deque()
        self._listing = len(paths)
        self._listed = 0
        self._open: set[Incoming] = set()
        self._under_way = 0
        self.tally.listed = False
        for path in paths:
            self.ask({"m": "list", "path": path, "recursive": recursive}, self._lister(path))
        self.start(self._fetch_all(recursive))

    def left(self) -> None:
        for incoming in self._open:
            incoming.close()
        self._open.clear()
        if self._owned:
            self._owned = False
            self._place.close()

    def _lister(self, path: str) -> Handler:
        def handler(item: dict[str, Any] | bytes) -> bool:
            message = message_of(item)
            kind = message.get("m")
            if kind == "entries":
                found = filewire.entries(message)
                self._listed += len(found)
                if self._listed > MAX_LISTED:
                    raise Trouble("limit", f"the far end lists more than {MAX_LISTED} files")
                self._queue.extend(found)
                self.tally.total += sum(entry.size for entry in found)
                return False
            self._listing -= 1
            self.tally.listed = not self._listing
            if kind == "error":
                self.failed(path, refusal(message))
            elif kind != "ok":
                raise RemoteProtocolError("bad-message", str(kind)[:20])
            return True

        return handler

    def _idle(self) -> bool:
        return (
            (not self._queue and self._listing > 0)
            or self._under_way >= AHEAD
            or (not self._queue and self._under_way > 0)
        )

    def _fetch_all(self, recursive: bool) -> Generator[None, None, None]:
        while self._queue or self._listing or self._under_way:
            if not self._queue or self._under_way >= AHEAD:
                yield
                continue
            entry = self._queue.popleft()
            shown = posixpath.join(entry.base, entry.path) if entry.path else entry.base
            try:
                here = self._here(entry)
                if here in self._had:
                    self.tally.total -= entry.size
                    continue
                self._had.add(here)
                if entry.kind == "f":
                    yield from self._fetch_one(entry, shown, here)
                elif recursive:
                    if here:
                        self._place.make_directory(here, entry.mode)
                else:
                    raise Trouble("kind", "it is a directory; -r copies it")
            except Trouble as error:
                self.failed(shown, error)
            except OSError as error:
                self.failed(shown, trouble(error))

    def _here(self, entry: Entry) -> str:
        """What it is called here: a path in a box, whatever they say."""
        first = entry.base if self._whole_paths else posixpath.basename(entry.base.rstrip("/"))
        if self._name:
            first = self._name
        if first in ("", ".", "..", "~") or self._contents:  # the contents of a home directory, say
            first = ""
        path = posixpath.join(first, entry.path) if entry.path else first
        Place.parts(path)
        if not path and entry.kind == "f":
            raise Trouble("denied", "it has no name")
        return path

    def _fetch_one(self, entry: Entry, shown: str, here: str) -> Generator[None, None, None]:
        far = posixpath.join(entry.base, entry.path) if entry.path else entry.base
        offset, digest = 0, ""
        key = key_of(far, entry.size, entry.mtime_ns)
        incoming: Incoming | None = None
        ask = self._resume and entry.size >= RESUME_FROM
        if ask or not self._overwrite:
            there = self._place.stat(here)
            if (
                there is not None
                and stat.S_ISREG(there.st_mode)
                and there.st_size == entry.size
                and (there.st_mtime_ns == entry.mtime_ns or not self._overwrite)
                and (yield from self._same(far, here, entry.size))
            ):
                self.tally.files += 1
                self.tally.skipped += 1
                self.tally.kept += entry.size
                return
            if there is not None and not self._overwrite:
                raise Trouble("exists", "something else of that name is here already")
        if ask:
            incoming = self._place.incoming(here, key, entry.size, make=True)
            self._open.add(incoming)
            digest = incoming.look()
            offset = incoming.have
        self._under_way += 1
        message = {"m": "get", "path": far, "offset": offset, "digest": digest}
        self.ask(message, self._receiver(shown, here, key, incoming))
        yield

    def _same(self, far: str, here: str, size: int) -> Generator[None, None, bool]:
        fd, _ = self._place.open(here)
        try:
            mine = hash_start(fd, size)
        finally:
            os.close(fd)
        there = yield from self.wait_for({"m": "sum", "path": far})
        return mine is not None and there.get("digest") == mine.hexdigest()

    def _receiver(self, shown: str, here: str, key: str, incoming: Incoming | None) -> Handler:
        facts: dict[str, Any] = {}
        now = incoming

        def handler(item: dict[str, Any] | bytes) -> bool:
            nonlocal now
            try:
                return receive(item)
            except Trouble as error:
                if now is not None:
                    now.drop() if error.code in ("full", "limit") else now.close()
                    self._open.discard(now)
                    now = None
                facts["failed"] = True
                self.failed(shown, error)
                return False
            except OSError as error:
                if now is not None:
                    now.drop()
                    self._open.discard(now)
                why = trouble(error)
                raise Trouble(why.code, f"{sanitize(here, SHOWN_COLUMNS)}: {why.message}") from None

        def receive(item: dict[str, Any] | bytes) -> bool:
            nonlocal now
            if isinstance(item, bytes):
                if not facts:
                    raise RemoteProtocolError("bad-message", "data before its file")
                if now is not None:
                    now.write(item)
                    self.tally.bytes += len(item)
                return False
            kind = item.get("m")
            if kind == "file" and not facts:
                facts.update(item)
                size, offset = filewire.number(item, "size"), filewire.number(item, "offset")
                if now is None or now.size != size:
                    if now is not None:
                        now.close()
                        self._open.discard(now)
                    if offset:
                        raise RemoteProtocolError("bad-message", "offset")
                    now = self._place.incoming(here, key, size, make=True)
                    self._open.add(now)
                now.begin(offset)
                self.tally.kept += offset
                return False
            self._under_way -= 1
            if kind == "error":
                if now is not None:
                    now.close()
                    self._open.discard(now)
                    now = None
                if not facts.get("failed"):
                    facts["failed"] = True
                    self.failed(shown, refusal(item))
                return True
            if kind != "end" or not facts:
                raise RemoteProtocolError("bad-message", str(kind)[:20])
            if now is not None:
                finishing, now = now, None
                self._open.discard(finishing)
                try:
                    finishing.finish(
                        filewire.text(item, "digest"),
                        filewire.number(facts, "mode", 0o7777),
                        filewire.number(facts, "mtime"),
                    )
                except Trouble as error:
                    finishing.close()
                    facts["failed"] = True
                    self.failed(shown, error)
                    return True
                self.tally.files += 1
            return True

        return handler


class Listing(Transfer):
    """What there is, and nothing of it."""

    def look(self, path: str, recursive: bool = True) -> None:
        """``found`` has it when all is done."""
        self.found: list[Entry] = []
        self.ask({"m": "list", "path": path, "recursive": recursive}, self._take)
        self.start(self._nothing())

    def _nothing(self) -> Generator[None, None, None]:
        return
        yield

    def _take(self, item: dict[str, Any] | bytes) -> bool:
        message = message_of(item)
        if message.get("m") == "entries":
            self.found += filewire.entries(message)
            if len(self.found) > MAX_LISTED:
                raise Trouble("limit", f"the far end lists more than {MAX_LISTED} files")
            return False
        if message.get("m") == "error":
            raise refusal(message)
        return True
