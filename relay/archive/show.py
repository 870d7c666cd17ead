"""An archived step as it is shown from the relay: what an attachment needs of a session, read from
files. Knows no processes: nothing can be typed, signalled or ended here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from gshell.agent.attachment import Attachment
from gshell.agent.timeline import Timeline
from gshell.agent.typists import Typists
from gshell.wire.constants import rank_of, stderr_of, stdout_of
from gshell.wire.streams import Missing
from relay.archive.store import Key, Segments, Store


class ShownMpi(NamedTuple):
    layout: tuple[int, ...]


class ShownSpec(NamedTuple):
    pty: bool | None
    """None: no terminal, as in a StepSpec."""
    tasks: int
    name: str
    first: int = 0
    size: int = 1
    mpi: ShownMpi | None = None

    @property
    def service(self) -> str:
        return ""

    @property
    def starter(self) -> bool:
        return self.mpi is not None


class ShownLog:
    """A finished stream, as a log and as the cursor of everybody who reads it: files need none."""

    closed = True
    start = 0

    def __init__(self, segments: Segments | None, end: int) -> None:
        self._segments = segments
        self.end = end
        self.live = end
        self.released = 0
        self.needed = False

    def cursor(self, at: int, needed: bool) -> ShownLog:
        return self

    def read(self, offset: int, at_most: int) -> bytes:
        """
        Raises:
            Missing: in a gap; where it goes on.
        """
        if offset >= self.end:
            return b""
        if self._segments is None:
            raise Missing(self.end)
        try:
            return self._segments.read(offset, min(at_most, self.end - offset))
        except Missing as missing:
            goes_on = missing.start if 0 <= missing.start < self.end else self.end
            raise Missing(goes_on) from None
        except OSError:
            raise Missing(self.end) from None

    def release(self, offset: int) -> None:
        pass

    def close(self) -> None:
        pass


class ShownRank:
    """A rank of a step that has ended."""

    child = None
    modes = None
    exited = True

    def __init__(
        self,
        number: int,
        exit: dict[str, Any],
        streams: dict[int, Segments],
        times: dict[str, Any],
    ) -> None:
        self.number = number
        self.exit = exit
        self.taken = 0
        self.code, self.signal = exit.get("code"), exit.get("signal")
        self.logs: dict[int, ShownLog] = {}
        self.times: dict[int, Timeline] = {}
        for key, end in exit.get("final", {}).items():
            stream = int(key)
            if rank_of(stream) == number and stream in (stdout_of(number), stderr_of(number)):
                self.logs[stream] = ShownLog(streams.get(stream), int(end))
                self.times[stream] = Timeline.of_marks(times.get(key, ()))


class ShownTaps:
    """Nothing runs here that could be recorded or waited for."""

    def record(self, attachment: Attachment, message: dict[str, Any]) -> None: ...

    def traced(self, attachment: Attachment, message: dict[str, Any]) -> None: ...

    def tell_waits(self, attachment: Attachment, on: bool) -> None: ...


class Shown:
    """What an `Attachment` takes for its session. Invariant: read-only; nobody is ever primary."""

    primary = None
    state = "ended"
    launched = True
    host = ""
    """Where it ran is not known here."""
    taps = ShownTaps()

    def __init__(self, store: Store, key: Key, on_empty: Callable[[Shown], None]) -> None:
        """
        Raises:
            LookupError: it is not archived (any more), or not readable.
        """
        meta = store.meta(key)
        if meta is None:
            raise LookupError(key)
        try:
            self.job, self.index, self.size = str(key[0]), key[1], int(meta["size"])
            self.ended_at = float(meta["ended_at"])
            tasks = int(meta["tasks"])
            starter = bool(meta.get("starter"))
            self.spec = ShownSpec(
                True if meta["pty"] else None,
                tasks,
                str(meta["name"]),
                int(meta.get("first", 0)),
                int(meta.get("ranks", tasks)),
                ShownMpi(tuple(meta.get("layout", ()))) if starter else None,
            )
            streams, times = store.streams(key), meta.get("times", {})
            self.ranks = [
                ShownRank(int(exit["rank"]), exit, streams, times) for exit in meta["exits"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise LookupError(key) from error
        self.key = key
        self.typists = Typists(self)  # type: ignore[arg-type]
        self.attachments: dict[str, Attachment] = {}
        self._on_empty = on_empty

    def clock(self) -> float:
        """The marks of an archived step are in seconds since the epoch."""
        return time.time()

    def add(self, attachment: Attachment) -> None:
        self.attachments[attachment.id] = attachment
        attachment.open_streams(from_start=False)

    def remove(self, attachment: Attachment) -> None:
        if self.attachments.pop(attachment.id, None) is not None:
            attachment.close()
            if not self.attachments:
                self._on_empty(self)

    def left(self, attachment: Attachment, code: str) -> None:
        self.remove(attachment)

    def say_end(self, attachment: Attachment, rank: ShownRank) -> None:
        attachment.peer.say(rank.exit)

    # -- what a session does for who may write

    def reader_changed(self) -> None: ...

    def resume_reading(self) -> None: ...

    def reader_gone(self, stream: int) -> None: ...

    def open(self, attachment: Attachment, message: dict[str, Any]) -> None: ...

    def resize(self, rows: int, columns: int, only: object = None) -> None: ...

    def signal_all(self, number: int, only: object = None) -> None: ...

    def pids(self) -> list[int]:
        return []

    def cancel(self) -> None: ...

    def steal(self, attachment: Attachment) -> None: ...

    def input_ranks(self) -> list[int]:
        return []

    def end_input(self, rank: int) -> None: ...

    def take_input(self, rank: int, data: bytes, writer: Attachment) -> None: ...
