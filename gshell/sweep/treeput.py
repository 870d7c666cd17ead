"""The same files to many agents: the client sends them once, or a few times, and they pass them on.

Every agent is talked to as by any copy (`gshell.client.fileput`), over a session that is encrypted
end to end, and asked for the same; only that most are told who has a file instead of being sent it,
and its hash when it is known. Among themselves agents speak TLS with a certificate that is made for
this one transfer and told to them over their sessions. Whom an agent cannot reach, or who is gone,
is replaced by another one, at last by the client, and what came until then counts. See
gshell/net/FILES.md and, for who gets it from whom, `tree`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from gshell.client.fileput import Put, There
from gshell.client.filetransfer import MAX_LISTED, RESUME_FROM, Handler, message_of, refusal
from gshell.errors import GshellError
from gshell.net import filewire
from gshell.net.place import Place
from gshell.net.trouble import Trouble, trouble
from gshell.sweep.tree import Tree

if TYPE_CHECKING:
    from gshell.client.conversation import Dialler

LEAST_NODES = 3
WORTH_BYTES = 8 << 20  # that the client need not send: less is quicker sent than arranged
SMALL_BYTES = 1024  # a file of which to say who has it is no less to send
LINGERING = 64  # nodes that are done and pass nothing on at the moment


class Piece(NamedTuple):
    """A file or directory of what is to be copied."""

    source: int
    """Which of those that were named it belongs to."""
    below: str
    path: str
    """Here."""
    size: int = 0
    mode: int = 0
    mtime_ns: int = 0
    directory: bool = False
    error: Trouble | None = None
    """It cannot be copied, to anybody."""


class Staging:
    """One transfer. In the loop's thread. Invariant: all of ``_nodes`` still pass on, or get."""

    def __init__(self, files: list[str], count: int) -> None:
        """``count``: of agents, each of which ends with `one_less`."""
        from gshell.glogin.certificate import make  # not before one is needed

        self.files = [os.path.join(os.getcwd(), path) for path in files]
        self.tree = Tree()
        self.cert, self.key, _ = make("gshell staging")
        self.digests: dict[int, str] = {}
        """Of pieces, by their numbers."""
        self._left = count
        self._place = Place("/", box=False)
        self._pieces: list[Piece] = []
        self._more: Iterator[Piece] | None = self._all()
        self._nodes: list[TreePut] = []
        self._spots: dict[tuple[str, ...], TreePut] = {}
        self._woken = False

    # -- what there is

    def piece(self, number: int) -> Piece | None:
        """None: there are no more."""
        while len(self._pieces) <= number and self._more is not None:
            piece = next(self._more, None)
            if piece is None:
                self._more = None
                self._place.close()
            else:
                self._pieces.append(piece)
        return self._pieces[number] if number < len(self._pieces) else None

    def _all(self) -> Iterator[Piece]:
        for source, path in enumerate(self.files):
            try:
                if self._place.stat(path) is None:
                    raise Trouble("none", "no such file or directory")
                for entry in self._place.entries(path, True):
                    if len(self._pieces) >= MAX_LISTED:
                        raise Trouble("limit", f"there are more than {MAX_LISTED} files")
                    inner = os.path.join(path, entry.path) if entry.path else path
                    yield Piece(source, entry.path, inner, entry.size, entry.mode, entry.mtime_ns,
                                entry.kind == "d")  # fmt: skip
            except Trouble as error:
                yield Piece(source, "", path, error=error)
            except OSError as error:
                yield Piece(source, "", path, error=trouble(error))

    # -- the nodes

    def put(
        self,
        dialler: Dialler,
        request: dict[str, Any],
        sender: str,
        target: str,
        on_done: Callable[[GshellError | None], None],
    ) -> TreePut:
        """To one more agent."""
        node = TreePut(self, dialler, request, on_done)
        node.sender = sender
        self._nodes.append(node)
        node.send_to(self.files, target, True, True)
        return node

    def one_less(self) -> None:
        """An agent has all, or will get no more."""
        self._left -= 1
        self.changed()

    @property
    def over(self) -> bool:
        return self._left <= 0

    def first(self, node: TreePut) -> bool:
        """Is it the one of those with the same files before them that gets them?"""
        other = self._spots.setdefault(node.spot, node)
        return other is node or other.finished

    def leave(self, node: TreePut) -> None:
        if node in self._nodes:
            self._nodes.remove(node)
            self.tree.leave(node)
            if self._spots.get(node.spot) is node and not node.finished:
                del self._spots[node.spot]
            self.changed()

    def trim(self) -> None:
        """Who is done and of no use now may go, if they are many."""
        idle = [one for one in self._nodes if one.finished and not self.tree.children(one)]
        for node in idle[:-LINGERING]:
            node.release()

    def changed(self) -> None:
        """Somebody may go on."""
        if not self._woken and self._nodes:
            self._woken = True
            self._nodes[0].loop.soon(self._wake)

    def _wake(self) -> None:
        self._woken = False
        self.trim()
        for node in list(self._nodes):
            node.on_room()


class TreePut(Put):
    """To one agent, which passes it on. ``on_done`` is called when it has all; the session lasts
    until all others have it, too."""

    def __init__(
        self,
        staging: Staging,
        dialler: Dialler,
        request: dict[str, Any],
        on_done: Callable[[GshellError | None], None],
    ) -> None:
        super().__init__(dialler, request, self._closed)
        self.loop = dialler.loop
        self.finished = False
        self.spot: tuple[str, ...] = ()
        self._staging = staging
        self._told = on_done
        self._serves = False
        self._port = 0
        self._at: list[str] = []
        self._machine = ""
        self._parent: TreePut | None = None
        self._again: list[int] = []
        self._alone: set[int] = set()  # pieces that nobody else has for it
        self._lost: str = ""  # why its parent is not asked any more
        self._stuck = False
        self._released = False

    # -- its steps

    def _send_to(
        self, paths: list[str], target: str, recursive: bool
    ) -> Generator[None, None, None]:
        staging = self._staging
        yield from self._share(target)
        self._names = [source.name for source in (yield from self.named(paths, target))]
        if self._serves:
            names = [os.path.basename(os.path.normpath(name)) for name in self._names]
            self.spot = (self.spot[0], *names)
            yield from self._until(lambda: staging.first(self))
        found = staging.tree.join(self, self._site, self._serves)
        self._parent = found if isinstance(found, TreePut) else None
        yield from self._round(self._numbers())
        while self._again:
            again, self._again = self._again, []
            if self._lost:
                found = staging.tree.lost(self, self._lost == "gone")
                self._parent = found if isinstance(found, TreePut) else None
                self._lost = ""
            yield from self._round(again)
        self.tally.listed = self.finished = True
        self._tell(None)
        yield from self._until(lambda: staging.over or self._released)

    def _share(self, target: str) -> Generator[None, None, None]:
        """Make it one that can pass on; an old one, or one in a box, cannot."""
        staging = self._staging
        self._site = ""
        try:
            said = yield from self.wait_for(
                {"m": "share", "cert": staging.cert, "key": staging.key, "path": target or "."}
            )
        except Trouble as error:
            if error.code in ("unknown", "denied", "io", "none"):
                return  # if the place is wrong, `named` says so
            raise
        self._port = filewire.number(said, "port", 65535)
        found = said.get("at")
        self._at = [str(one)[:64] for one in found] if isinstance(found, list) else []
        self._machine = filewire.text(said, "machine")
        self._site = filewire.text(said, "site")
        self.spot = (filewire.text(said, "spot", 1 << 14),)
        self._serves = True

    def _numbers(self) -> Iterator[int]:
        number = 0
        while self._staging.piece(number) is not None:
            yield number
            number += 1

    def _round(self, numbers: Iterable[int]) -> Generator[None, None, None]:
        """Try each once; those that are left are in ``_again`` afterwards."""
        for number in numbers:
            if self._lost:
                self._again.append(number)
                continue
            piece = self._staging.piece(number)
            assert piece is not None
            try:
                yield from self._one(number, piece)
            except Trouble as error:
                self.failed(piece.path, error)
            except OSError as error:
                self.failed(piece.path, trouble(error))
        yield from self._until(lambda: not self._handlers)
        self._again = sorted(set(self._again))

    def _one(self, number: int, piece: Piece) -> Generator[None, None, None]:
        name = self._names[piece.source]
        name = f"{name.rstrip('/')}/{piece.below}" if piece.below else name
        label = f"{piece.path} as {name}"
        if piece.error is not None:
            raise piece.error
        if piece.directory:
            self.ask({"m": "mkdir", "path": name, "mode": piece.mode}, self.answer(label))
            yield
            return
        fd, status = self._place.open(piece.path)
        try:
            if not stat.S_ISREG(status.st_mode) or status.st_size < piece.size:
                raise Trouble("changed", "it changed meanwhile")
            facts = {"path": name, "size": piece.size, "mode": piece.mode,
                     "mtime": piece.mtime_ns, "make": False,
                     "key": self.key(piece.path, piece.size, piece.mtime_ns)}  # fmt: skip
            if self._serves:
                facts["id"] = number
            there = There()
            if piece.size >= RESUME_FROM:
                there = yield from self.look(fd, facts, self._staging.digests.get(number, ""))
                if there.whole:
                    self._known(number, there.digest)
                    if self._serves:
                        self.ask({"m": "have", **facts}, self.answer(label))
                    return
            if self._parent is None or number in self._alone or piece.size <= SMALL_BYTES:
                yield from self._give(number, facts, fd, there, label)
            else:
                yield from self._point(number, facts, there, label)
        finally:
            os.close(fd)

    def _give(
        self, number: int, facts: dict[str, Any], fd: int, there: There, label: str
    ) -> Generator[None, None, None]:
        """From here."""
        broken: list[bool] = []
        asked = self.ask({"m": "put", "offset": there.have, **facts}, self.answer(label, broken))
        end = yield from self.feed(fd, there, facts["size"], broken)
        if "digest" in end and not self._known(number, end["digest"]):
            end = {"abort": True}  # others got something else under this name
        self.talk.send(filewire.encode({"m": "end", "n": asked, **end}))
        yield

    def _known(self, number: int, digest: str) -> bool:
        """The hash of a piece; is it the one that it has for others?"""
        known = self._staging.digests.setdefault(number, digest)
        self._staging.changed()
        return known == digest

    def _point(
        self, number: int, facts: dict[str, Any], there: There, label: str
    ) -> Generator[None, None, None]:
        """From its parent."""
        parent = self._parent
        assert parent is not None
        at = [[host, parent._port] for host in parent._at]
        if parent._machine == self._machine:
            at.insert(0, ["127.0.0.1", parent._port])
        broken: list[bool] = []
        asked = self.ask(
            {"m": "fetch", "offset": there.have, "from": at, **facts},
            self._pointed(number, label, broken),
        )
        digests = self._staging.digests
        yield from self._until(lambda: bool(broken) or number in digests)
        end = {"abort": True} if broken else {"digest": digests[number]}
        self.talk.send(filewire.encode({"m": "end", "n": asked, **end}))
        yield

    def _pointed(self, number: int, label: str, broken: list[bool]) -> Handler:
        otherwise = self.answer(label, broken)

        def handler(item: dict[str, Any] | bytes) -> bool:
            message = message_of(item)
            error = refusal(message) if message.get("m") == "error" else None
            if error is None:
                self._staging.tree.reached(self)
            elif error.code in ("away", "gone"):
                self._lost = self._lost or error.code
            elif error.code in ("lost", "digest", "changed"):
                self._alone.add(number)
            else:
                return otherwise(item)
            if error is None:
                return otherwise(item)
            broken.append(True)
            self._again.append(number)
            return True

        return handler

    # -- waiting

    def _until(self, condition: Callable[[], bool]) -> Generator[None, None, None]:
        while not condition():
            self._stuck = True
            yield
        self._stuck = False

    def _idle(self) -> bool:
        return self._stuck

    # -- ends

    def release(self) -> None:
        """It is of no use any more."""
        self._released = True
        self.on_room()

    def _tell(self, error: GshellError | None) -> None:
        if self._told is not None:
            told, self._told = self._told, None  # type: ignore[assignment]
            told(error)
        self._staging.changed()

    def _closed(self, error: GshellError | None) -> None:
        self._staging.leave(self)
        self._tell(error)

    def close(self) -> None:
        super().close()
        self._staging.leave(self)


def worth(files: list[str], count: int) -> bool:
    """Are there so many agents, and is it so much, that a tree pays? Looks no further than that."""
    if count < LEAST_NODES:
        return False
    size = 0
    for top in files:
        for path in _below(top):
            try:
                size += os.stat(path).st_size
            except OSError:
                continue
            if size * (count - 1) >= WORTH_BYTES:
                return True
    return False


def _below(path: str) -> Iterator[str]:
    if os.path.isdir(path):
        for folder, _, names in os.walk(path):
            for name in names:
                yield os.path.join(folder, name)
    else:
        yield path
