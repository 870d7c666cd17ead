"""Looking at files that are elsewhere: what a directory has, what a file says. Changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from typing import Any

from gshell.client.conversation import Dialler
from gshell.client.filetransfer import Transfer, message_of, refusal
from gshell.errors import GshellError, LinkLost
from gshell.net import filewire
from gshell.net.filewire import Entry
from gshell.net.loop import Loop
from gshell.net.trouble import Trouble
from gshell.repl.places import Place

ANSWER_S = 20.0  # for somebody who waits and may press Ctrl-C
MAX_ROWS = 5000  # of one directory; who has more names something smaller


def _nothing() -> Generator[None, None, None]:
    return
    yield


class Folder(Transfer):
    """What a pattern names; ``found`` has it when all is done, at most `MAX_ROWS` of it."""

    def look(self, patterns: list[str]) -> None:
        self.found: list[Entry] = []
        self.refused: Trouble | None = None
        for pattern in patterns:
            self.ask({"m": "list", "path": pattern, "recursive": False}, self._take)
        self.start(_nothing())

    def _take(self, item: dict[str, Any] | bytes) -> bool:
        message = message_of(item)
        if message.get("m") == "entries":
            self.found += filewire.entries(message)
            if len(self.found) > MAX_ROWS:
                del self.found[MAX_ROWS:]
                self._end(Trouble("limit", f"more than {MAX_ROWS} names"))
            return False
        if message.get("m") == "error":
            self.refused = refusal(message)
        return True


class Reader(Transfer):
    """What a file says, handed on as it comes."""

    def read(self, path: str, taken: Callable[[bytes], None]) -> None:
        self._taken = taken
        self.ask({"m": "get", "path": path, "offset": 0, "digest": ""}, self._take)
        self.start(_nothing())

    def _take(self, item: dict[str, Any] | bytes) -> bool:
        if isinstance(item, bytes):
            self._taken(item)
            return False
        if item.get("m") == "error":
            raise refusal(item)
        return item.get("m") == "end"


def patterns_of(path: str) -> list[str]:
    """What to ask for all that is in a directory."""
    start = "".join(f"[{char}]" if char in "*?[" else char for char in path.rstrip("/"))
    start = start + "/" if start or path.startswith("/") else ""
    return [start + "*", start + ".[!.]*"]


def _wait(loop: Loop, ends: list[GshellError | None], patience_s: float) -> None:
    if not loop.run_until(lambda: bool(ends), patience_s):
        raise LinkLost("it does not answer")
    if ends[0] is not None:
        raise ends[0]


def kind(ticket: Any, place: Place) -> str:
    """``d``, ``f``.

    Raises:
        Trouble: there is no such thing.
        GshellError: nobody could be asked.
    """
    found = _found(ticket, place, [place.path or "."])
    return found[0].kind if found else "none"


def listed(ticket: Any, place: Place) -> list[Entry]:
    """What is there: of a directory all that is in it. Raises as `kind`."""
    if kind(ticket, place) != "d":
        return _found(ticket, place, [place.path])
    return _found(ticket, place, patterns_of(place.path), empty=True)


def _found(ticket: Any, place: Place, patterns: list[str], empty: bool = False) -> list[Entry]:
    loop = Loop()
    ends: list[GshellError | None] = []
    folder = Folder(Dialler(loop, ticket), dict(place.request()), ends.append)
    try:
        folder.look(patterns)
        _wait(loop, ends, ANSWER_S)
        if folder.refused is not None and not empty:
            raise Trouble(folder.refused.code, f"{place.shown()}: {folder.refused.message}")
        return folder.found
    finally:
        folder.close()
        loop.close()


def cat(ticket: Any, place: Place) -> None:
    """Print a file. Raises as `kind`."""
    loop = Loop()
    ends: list[GshellError | None] = []
    shown = Shown(sys.stdout.isatty())
    reader = Reader(Dialler(loop, ticket), dict(place.request()), ends.append)
    try:
        reader.read(place.path, shown.take)
        while not ends:
            loop.once()
        shown.end()
        if ends[0] is not None:
            raise ends[0]
    finally:
        reader.close()
        loop.close()


class Shown:
    """Bytes of a file on their way to stdout: to a terminal as text that moves nothing there."""

    def __init__(self, terminal: bool) -> None:
        import codecs

        self._decoder = codecs.getincrementaldecoder("utf-8")("replace") if terminal else None
        self._last = "\n"

    def take(self, data: bytes) -> None:
        if self._decoder is None:
            sys.stdout.flush()
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            self._show(self._decoder.decode(data))

    def end(self) -> None:
        if self._decoder is not None:
            self._show(self._decoder.decode(b"", True))
            if self._last != "\n":
                self._show("\n")

    def _show(self, text: str) -> None:
        if text:
            sys.stdout.write(harmless(text))
            sys.stdout.flush()
            self._last = text[-1]


def harmless(text: str) -> str:
    """Text of several lines with all in it spelt out that a terminal would obey."""
    from gshell.model.sanitize import sanitize

    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join("\t".join(sanitize(part) for part in line.split("\t")) for line in lines)
