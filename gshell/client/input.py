"""What the user types or pipes in, on its way to the ranks that get it. Knows no terminal modes.

Read is only what fits the windows: the kernel's buffer is the only queue before them.
"""

from __future__ import annotations

from gshell.client.escape import EscapeKeys, EscapeLines
from gshell.client.seats import Seat
from gshell.client.stdio import Source
from gshell.net.loop import Loop
from gshell.wire.constants import INPUT_WINDOW
from gshell.wire.streams import SendBuffer

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from collections.abc import Callable


class Input:
    """Invariant: every target gets the same bytes; the slowest decides how much is read."""

    def __init__(
        self,
        loop: Loop,
        fd: int,
        keys: EscapeKeys | None,
        raw: Callable[[], bool],
        command: Callable[[str], bool],
    ) -> None:
        """``raw``: does the terminal hand on each key? ``command(action)``: the user typed an
        escape; whether there is somebody who reads on."""
        self._loop = loop
        self._source: Source | None = Source(loop, fd)
        self._keys = keys
        self.lines: EscapeLines | None = None
        """Escapes while the terminal hands on lines; who has them can leave, whoever reads."""
        self._raw = raw
        self._on_command = command
        self._targets: list[tuple[Seat, int, SendBuffer]] = []
        self.started = False
        self._paused = False
        self._ended = False
        self._read = b""  # and to be given to others than those it was read for
        self.on = False
        """Are we the one who types? Else nothing is sent."""

    def to(self, seat: Seat, stream: int) -> None:
        """What is typed goes there, too."""
        buffer = SendBuffer()
        buffer.append(self._read)
        buffer.closed = self._ended
        seat.talk.peer.add_send(stream, buffer, INPUT_WINDOW)
        self._targets.append((seat, stream, buffer))

    def move(self, old: Seat, new: Seat) -> None:
        """Another agent takes the place of one that took nothing."""
        for at, (seat, stream, buffer) in enumerate(self._targets):
            if seat is old:
                new.talk.peer.add_send(stream, buffer, INPUT_WINDOW)
                self._targets[at] = (new, stream, buffer)

    def anew(self) -> None:
        """All seats are replaced, of which none took anything: `to` says whose it is now."""
        self._read = b""
        for _, _, buffer in self._targets[:1]:
            while len(self._read) < buffer.end:
                self._read += buffer.read(len(self._read), buffer.end)
        self._targets = []

    def stopped(self, seat: Seat, stream: int) -> None:
        """That one reads no more; when nobody does, neither do we."""
        self._targets = [target for target in self._targets if target[:2] != (seat, stream)]
        if self._targets or self.lines is not None:
            self.flow()
        else:
            self.close()

    @property
    def partly_gone(self) -> bool:
        """Has somebody taken a part of it already?"""
        return self.started and any(buffer.start > 0 for _, _, buffer in self._targets)

    def start(self) -> None:
        """Begin to read."""
        source = self._source
        if source is not None and not self.started and (self._targets or self.lines is not None):
            self.started = True
            source.start(self._typed, self._source_ended)
            if self._paused:
                source.pause()

    def flow(self) -> None:
        """There may be room again: go on, unless told to pause."""
        if not self._paused:
            self.pause(False)

    def pause(self, paused: bool) -> None:
        """Leave the user's typing alone for a while."""
        self._paused = paused
        if self._source is None:
            return
        if paused:
            self._source.pause()
        elif self.started and self._room():
            self._source.resume()

    def by_hand(self) -> None:
        """No descriptor is read: whoever owns us types."""
        self._source = None

    def type(self, data: bytes) -> None:
        """As if it had been read."""
        self._send(data)

    def end(self) -> None:
        """Nothing more is typed."""
        self._source_ended()

    @property
    def typed(self) -> dict[tuple[Seat, int], int]:
        """How much was typed to each stream."""
        return {(seat, stream): buffer.end for seat, stream, buffer in self._targets}

    def suspend(self) -> None:
        """Read nothing for the moment; `flow` goes on."""
        if self._source is not None:
            self._source.pause()

    def close(self) -> None:
        """For good: nobody reads what would be typed."""
        if self._source is not None:
            self._source.close()

    def _room(self) -> bool:
        return all(buffer.end - buffer.start < INPUT_WINDOW for _, _, buffer in self._targets)

    def _typed(self, data: bytes) -> None:
        if self._keys is not None and self._raw():
            actions = self._keys.feed(data, self._loop.clock())
        elif self.lines is not None:
            actions = self.lines.feed(data, self._source is not None and self._source.waiting)
        else:
            actions = [("data", data)]
        for action, typed in actions:
            if action == "data":
                self._send(typed)
            elif not self._on_command(action):
                return

    def _send(self, data: bytes) -> None:
        if not self.on or self._ended:
            return
        for _, _, buffer in self._targets:
            buffer.append(data)
        if not self._room() and self._source is not None:
            self._source.pause()
        for talk in {seat.talk for seat, _, _ in self._targets}:
            talk.check_now()
            talk.pump()

    def _source_ended(self) -> None:
        if self._keys is not None:
            self._send(self._keys.end())
        if not self._ended:
            self._ended = True
            for _, _, buffer in self._targets:
                buffer.closed = True
            for talk in {seat.talk for seat, _, _ in self._targets}:
                talk.pump()
