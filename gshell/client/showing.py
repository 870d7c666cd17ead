"""From what an agent sends to what the user sees: the past made harmless, lines labelled or
matched. Knows no descriptors."""

from __future__ import annotations

from gshell.client.labels import PATIENCE_S, LineLabels
from gshell.client.plan import Plan, Port
from gshell.client.screen import Screen
from gshell.client.seats import Seat
from gshell.net.loop import Loop

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

HISTORY_HELD_BYTES = 1 << 20  # of the past, until it is whole: four times what an agent begins with


class Showing:
    """Invariant: what is not written is dropped, and told as such: the agent waits for nothing that
    is gone."""

    def __init__(
        self,
        loop: Loop,
        plan: Plan,
        port: Port,
        screen: Screen,
        dropped: Callable[[Seat, int, int], None],
    ) -> None:
        """``dropped(seat, stream, n)``: so many raw bytes reach nobody, and count as taken."""
        self._loop = loop
        self.plan = plan
        self.writer = plan.verb == "run"
        """Are we the one who types?"""
        self.shows = plan.pty and screen.out_is_tty
        """A terminal's output on a terminal?"""
        self._port = port
        self._screen = screen
        self._dropped = dropped
        self._lines: Any = None  # labels them, or folds them
        self._looking = False
        self._patience_s = PATIENCE_S
        self._ranks: Any = None  # all of them
        if plan.rank:
            from gshell.model.rankset import RankSet

            self._ranks = RankSet.parse(plan.rank)
        self.matching: Any = None
        if plan.grep is not None:
            from gshell.client.matching import Matching

            self.matching = Matching(plan.grep)

    def wanted(self, seat: Seat, stream: int) -> bool:
        """Is it of one of the ranks that are to be seen?"""
        return self._ranks is None or seat.rank(stream) in self._ranks

    def output(self, seat: Seat, stream: int, offset: int, data: bytes) -> None:
        if self.plan.silent:
            self._dropped(seat, stream, len(data))
            return
        past = seat.history.get(stream)
        if past is not None:
            data = self._history(seat, stream, past, offset, data)
            if not data:
                return
        if self.plan.detach:
            return  # not ours to show; untaken, it stays where `logs` finds it
        if self._ranks is not None and not self.wanted(seat, stream):
            self._dropped(seat, stream, len(data))  # taken all the same: its program goes on
            return
        kind = stream % 4
        screen = self._screen
        outlet = screen.out if kind == 3 else screen.err
        raw = len(data)
        if stream in seat.torn:
            data = self._mend(seat, stream, data)
        if not self.writer and (screen.out_is_tty if kind == 3 else screen.err_is_tty):
            data = self._filtered(seat, stream, data)
        if self.plan.pty:
            self._port.seen(data)
        if self.plan.label or self.plan.fold:
            data = self._labelled(seat.rank(stream), kind != 3, data)
        if self.matching is not None:
            data = self.matching.feed((seat, stream), data)
        if outlet.broken or not data:
            self._dropped(seat, stream, raw)
        else:
            outlet.write(data, seat, stream, raw)

    def sized(self, size: int) -> None:
        """So many ranks does the job have."""
        if self._lines is not None:
            return
        if self.plan.fold:
            from gshell.client import folding

            self._patience_s = folding.PATIENCE_S
            self._lines = folding.Folding(size)
        elif self.plan.label:
            self._lines = LineLabels(size)

    def _labelled(self, rank: int, err: bool, data: bytes) -> bytes:
        """Whole lines; the other stream's, if there are any, are written at once."""
        found = self._lines.feed(rank, err, data, self._loop.clock())
        if not self._looking and self._lines.due is not None:
            self._looking = True
            self._loop.later(self._patience_s, self._look)
        if any(kind != err for kind, _ in found):
            self._write(found)
            return b""
        return b"".join([text for _, text in found])

    def _look(self) -> None:
        """What has waited for the rest of its line, or for other ranks, waits no more."""
        self._looking = False
        now = self._loop.clock()
        self._write(self._lines.overdue(now - self._patience_s))
        due = self._lines.due
        if due is not None:
            self._looking = True
            self._loop.later(max(0.01, due + self._patience_s - now), self._look)

    def _write(self, found: list[tuple[bool, bytes]]) -> None:
        for err, text in found:
            (self._screen.err if err else self._screen.out).write(text, None, 0, 0)

    def _filtered(self, seat: Seat, stream: int, data: bytes) -> bytes:
        """Who only looks on, or reads a log, has a terminal that answers nobody's questions and a
        clipboard that is not the program's."""
        if stream not in seat.filters:
            from gshell.model.vt import LiveFilter

            seat.filters[stream] = LiveFilter(strict=not self.writer)
        filtered: bytes = seat.filters[stream].feed(data)
        return filtered

    def _history(
        self, seat: Seat, stream: int, past: tuple[int, list[bytes]], offset: int, data: bytes
    ) -> bytes:
        """Hold the past back until it is whole; then show it without the questions in it."""
        until, pieces = past
        here = data[: max(0, until - offset)]
        pieces.append(here)
        seat.talk.peer.consume(stream, len(here))
        last = offset + len(data) >= until
        if last:
            del seat.history[stream]
        if last or sum(map(len, pieces)) >= HISTORY_HELD_BYTES:
            self._show_history(seat, stream, pieces, last)
        return data[len(here) :]

    def _show_history(self, seat: Seat, stream: int, pieces: list[bytes], last: bool) -> None:
        past = b"".join(pieces)
        pieces.clear()
        if past and stream in seat.torn:
            past = self._mend(seat, stream, past)
        shown = self._filtered(seat, stream, past)
        if last and self.writer:  # what is left may go on in the present
            shown += seat.filters.pop(stream).rest()
        if shown:
            if self.matching is not None:
                shown = self.matching.feed((seat, stream), shown)
            self._port.seen(shown)
            self._screen.out.write(shown, None, 0, 0)

    def _mend(self, seat: Seat, stream: int, data: bytes) -> bytes:
        """What a terminal can begin with: what comes before that was lost."""
        from gshell.model.vt import safe_start

        seat.torn.discard(stream)
        return data if data.startswith(b"\x1b") else data[safe_start(data) :]

    def modes(self, prelude: bytes) -> None:
        """A terminal's modes, as the agent saw them."""
        from gshell.model.vt import check_prelude

        prelude = check_prelude(prelude)
        self._port.seen(prelude)
        self._screen.out.write(prelude, None, 0, 0)

    def flush(self) -> None:
        """Nothing more will come: lines without an end are lines."""
        screen = self._screen
        if self._lines is not None:
            self._write(self._lines.flush())
        if self.matching is not None:
            for (_, stream), line in self.matching.flush():
                (screen.out if stream % 4 == 3 else screen.err).write(line, None, 0, 0)

    def gap(self, seat: Seat, stream: int, size: int, end: int) -> bool:
        """What was lost is told in its place; whether the terminal needs a new picture."""
        amount = f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size} bytes"
        past = seat.history.get(stream)
        if past is not None:
            last = end >= past[0]
            self._show_history(seat, stream, past[1], last)
            if last:
                del seat.history[stream]
        seat.filters.pop(stream, None)  # what it held belongs to bytes that will never come
        if not (self.plan.verb == "logs" and self.plan.quiet):
            self._screen.say_amid(f"[gap: {amount} not kept]")
        if self.shows:
            seat.torn.add(stream)
        # Which modes were set, and what is on the screen, may be gone too.
        return bool(self.shows and self._screen.raw and past is None)
