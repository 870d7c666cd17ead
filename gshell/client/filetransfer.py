"""Files to an agent and from there, many at a time over one session: put and get. Knows no command
line and no screen. What is asked and answered: gshell/net/FILES.md.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from gshell.client.servicetalk import PATIENCE_S, ServiceTalk
from gshell.errors import GshellError, RemoteProtocolError
from gshell.model.sanitize import sanitize
from gshell.net import filewire
from gshell.net.filewire import Entry
from gshell.net.place import Incoming, Place, Trouble, hash_start, trouble

if TYPE_CHECKING:
    from gshell.client.conversation import Dialler

RESUME_FROM = 1 << 18  # smaller files are sent again sooner than it is asked what is there
AHEAD = 64  # files asked for ahead of what has come
MAX_LISTED = 2_000_000  # files of one transfer
SHOWN_COLUMNS = 200

Handler = Callable[
    ["dict[str, Any] | bytes"], bool
]  # gets an answer; was it the last of its request?


class Failed(NamedTuple):
    """A file that was not copied."""

    path: str
    code: str
    message: str

    def __str__(self) -> str:
        return f"{sanitize(self.path, SHOWN_COLUMNS)}: {sanitize(self.message)}"


class Tally:
    """How far it is. Bytes of files, resumed and skipped ones counted apart."""

    def __init__(self) -> None:
        self.files = 0
        """Whole at the other end, those that were there already too."""
        self.skipped = 0
        """Of these, were there already."""
        self.bytes = 0
        """Sent, or received."""
        self.kept = 0
        """Were there already, of files and whole ones."""
        self.total = 0
        """Of all that are known of so far."""
        self.listed = True
        """``total`` is all of it."""
        self.failed: list[Failed] = []


class Source(NamedTuple):
    """A file or directory to send, and what it is to be called there."""

    path: str
    name: str


class Transfer:
    """One session of service ``files``. Invariant: ``_handlers`` are the requests that were sent
    and not answered to the end, in order, as the far end answers them."""

    def __init__(
        self,
        dialler: Dialler,
        request: dict[str, Any],
        on_done: Callable[[GshellError | None], None],
        agents_of: str = "",
        patience_s: float = PATIENCE_S,
    ) -> None:
        """``request``: where, fields of an ``open``."""
        self.tally = Tally()
        opening = {"service": "files", **request}
        self.talk = ServiceTalk(dialler, self, opening, [], agents_of, patience_s)
        self._on_done = on_done
        self._decoder = filewire.Decoder()
        self._handlers: deque[Handler] = deque()
        self._count = 0
        self._greeted = False
        self._steps: Generator[None, None, None] | None = None
        self._waits = False  # for an answer, before anything else is sent
        self._stepping = False
        self._resume = True

    def start(self, steps: Generator[None, None, None]) -> None:
        self._steps = steps
        self.talk.start()
        self._go()

    def close(self) -> None:
        self.talk.close()
        if self._steps is not None:
            self._steps.close()

    def ask(self, message: dict[str, Any], handler: Handler) -> int:
        self._count += 1
        self.talk.send(filewire.encode({**message, "n": self._count}))
        self._handlers.append(handler)
        return self._count

    def wait_for(self, message: dict[str, Any]) -> Generator[None, None, dict[str, Any]]:
        """One request and its one answer, with nothing in between.

        Raises:
            Trouble: it is a no.
        """
        got: list[dict[str, Any]] = []

        def handler(item: dict[str, Any] | bytes) -> bool:
            got.append(_message(item))
            self._waits = False
            return True

        self.ask(message, handler)
        self._waits = True
        while not got:
            yield
        if got[0].get("m") == "error":
            raise _no(got[0])
        return got[0]

    # -- the talk

    def on_bytes(self, data: bytes) -> None:
        try:
            items = self._decoder.feed(data)
            for item in items:
                self._item(item)
                if self.talk.over:
                    return
        except Trouble as error:  # of our own disk: more would not go better
            self._end(error)
        except OSError as error:
            self._end(trouble(error))
        except RemoteProtocolError as error:
            self._end(GshellError(f"the agent makes no sense: {error.message}"))
        self._go()

    def _item(self, item: dict[str, Any] | bytes) -> None:
        if not self._greeted:
            message = _message(item)
            if message.get("m") != "files" or message.get("v") != filewire.VERSION:
                raise RemoteProtocolError("bad-message", "no greeting that is understood")
            self._greeted = True
            return
        if not self._handlers:
            raise RemoteProtocolError("bad-message", "an answer to nothing")
        if self._handlers[0](item):
            self._handlers.popleft()

    def on_room(self) -> None:
        self._go()

    def _go(self) -> None:
        """Send what may be sent now."""
        if self._stepping or self._steps is None:
            return
        self._stepping = True
        try:
            while self.talk.room and not self._waits:
                try:
                    next(self._steps)
                except StopIteration:
                    self._steps = None
                    self.talk.end()
                    return
                if self._idle():
                    break
        except Trouble as error:
            self._end(error)
        except OSError as error:
            self._end(trouble(error))
        finally:
            self._stepping = False
            if not self.talk.over:
                self.talk.flush()

    def _idle(self) -> bool:
        """Has it nothing to do until an answer comes?"""
        return False

    def on_over(self, error: GshellError | None) -> None:
        if error is None and (self._handlers or self._steps is not None):
            error = GshellError("the far end ended before all was done")
        self._done(error)

    def _end(self, error: GshellError) -> None:
        if not self.talk.over:
            self.talk.close()
            self._done(error)

    def _done(self, error: GshellError | None) -> None:
        if self._steps is not None:
            steps, self._steps = self._steps, None
            if not self._stepping:
                steps.close()
        self.left()
        self._on_done(error)

    def left(self) -> None:
        """Close what is open."""

    def failed(self, path: str, error: Trouble) -> None:
        """One file less; a full disk ends it all."""
        self.tally.failed.append(Failed(path, error.code, error.message))
        if error.code in ("full", "limit"):
            shown = sanitize(path, SHOWN_COLUMNS)
            raise Trouble(error.code, f"{shown}: {sanitize(error.message)}")


def _message(item: dict[str, Any] | bytes) -> dict[str, Any]:
    if isinstance(item, bytes):
        raise RemoteProtocolError("bad-message", "data that nobody asked for")
    return item


def _no(message: dict[str, Any]) -> Trouble:
    code, text = message.get("code"), message.get("message")
    return Trouble(str(code)[:20], sanitize(str(text)[:500]))


def key_of(*facts: object) -> str:
    """The name of a file's parts: the same for the same file of the same place, as it is now."""
    words = "\0".join(str(fact) for fact in facts)
    return hashlib.sha256(words.encode(errors="surrogatepass")).hexdigest()[:16]


# ---------------------------------------------------------------------------------------------- put


class Put(Transfer):
    """Local files and directories to the far end."""

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
        self._now: list[bool] = []
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
        there = yield from self.wait_for({"m": "stat", "path": target or "."})
        inside = there.get("kind") == "d"
        if not inside and (len(paths) > 1 or target.endswith("/")):
            raise Trouble("none", f"{sanitize(target)}: no such directory there")
        sources = []
        for path in paths:
            name = os.path.basename(os.path.abspath(path))
            sources.append(Source(path, posixpath.join(target, name) if inside else target))
        yield from self._send_all(sources, recursive)

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
                    self._answer(f"{inner} as {name}"),
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

    def _answer(self, path: str, broken: list[bool] | None = None) -> Handler:
        def handler(item: dict[str, Any] | bytes) -> bool:
            message = _message(item)
            if message.get("m") == "error":
                if broken is not None:
                    broken.append(True)
                self.failed(path, _no(message))
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
                     "key": key_of(self._place.root, path, size, status.st_mtime_ns),
                     "make": self._make}  # fmt: skip
            offset, machine = 0, hashlib.sha256()
            if self._resume and size >= RESUME_FROM:
                try:
                    there = yield from self.wait_for({"m": "part", "any": self._any, **facts})
                except Trouble as error:
                    where = sanitize(name, SHOWN_COLUMNS)
                    raise Trouble(error.code, f"as {where} there: {error.message}") from None
                have = filewire.number(there, "have", size)
                begun = hash_start(fd, have) if have else None
                if begun is not None and begun.hexdigest() == there.get("digest"):
                    offset, machine = have, begun
                    self.tally.kept += have
                    if there.get("whole") is True:
                        self.tally.files += 1
                        self.tally.skipped += 1
                        return
            broken: list[bool] = []
            number = self.ask(
                {"m": "put", "offset": offset, **facts}, self._answer(f"{path} as {name}", broken)
            )
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
            end: dict[str, Any] = {"m": "end", "n": number}
            if offset < size:
                end["abort"] = True
            else:
                end["digest"] = machine.hexdigest()
            self.talk.send(filewire.encode(end))
        finally:
            os.close(fd)
        yield


def _absolute(path: str) -> str:
    return os.path.join(os.getcwd(), path) if not path.startswith("/") else path


def _size(place: Place, path: str) -> int:
    try:
        status = place.stat(path)
    except Trouble:
        return 0
    return status.st_size if status is not None and stat.S_ISREG(status.st_mode) else 0


# ---------------------------------------------------------------------------------------------- get


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
            message = _message(item)
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
                self.failed(path, _no(message))
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
                    self.failed(shown, _no(item))
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

    def look(self, path: str) -> None:
        """``found`` has it when all is done."""
        self.found: list[Entry] = []
        self.ask({"m": "list", "path": path, "recursive": True}, self._take)
        self.start(self._nothing())

    def _nothing(self) -> Generator[None, None, None]:
        return
        yield

    def _take(self, item: dict[str, Any] | bytes) -> bool:
        message = _message(item)
        if message.get("m") == "entries":
            self.found += filewire.entries(message)
            if len(self.found) > MAX_LISTED:
                raise Trouble("limit", f"the far end lists more than {MAX_LISTED} files")
            return False
        if message.get("m") == "error":
            raise _no(message)
        return True
