"""What ranks are given to read: bytes that were typed wait here until a program takes them.

Knows neither who may type (`typists`) nor how a rank is started.
"""

from __future__ import annotations

import os
import termios
from typing import TYPE_CHECKING

from gshell.net.loop import OUT, Loop
from gshell.wire.constants import stdin_of

if TYPE_CHECKING:
    from gshell.agent.attachment import Attachment
    from gshell.agent.ranks import Rank
    from gshell.agent.taps import Taps

SMALL_BYTES = 4096  # input that waits in pieces smaller than this is put together


class Input:
    """Of all ranks of a session. Invariant: a writer is told that its bytes were taken when a
    program has them, or when it is sure that none ever will."""

    def __init__(self, loop: Loop, ranks: list[Rank], taps: Taps) -> None:
        """``ranks``: the session's list; they come into it when the step starts."""
        self._loop = loop
        self._ranks = ranks
        self._taps = taps
        self._early_ends: set[int] = set()  # ranks whose stdin ended before there was a program
        self.taken_bytes = 0
        """That ranks have read."""

    def _find(self, number: int) -> Rank | None:
        return self._ranks[number] if number < len(self._ranks) else None

    def take(self, number: int, data: bytes, writer: Attachment, early: bool) -> None:
        """Bytes of ``writer`` for a rank's stdin. ``early``: there is no program yet, and what
        comes before it is not to have them."""
        rank = self._find(number)
        if rank is not None and early:
            rank.input.append((writer, data))
            return
        if rank is None or rank.child is None or rank.child.stdin < 0 or rank.input_end:
            writer.consumed_input(stdin_of(number), len(data))
            return
        last = rank.input[-1] if rank.input else None
        if last is None:
            self._taps.typing(rank)
        if last is not None and last[0] is writer and len(last[1]) < SMALL_BYTES:
            rank.input[-1] = (writer, bytes(last[1]) + data)  # a flood of single bytes, not read
        else:
            rank.input.append((writer, data))
        if len(rank.input) == 1 and last is None:
            self.write(rank)

    def end(self, number: int, early: bool) -> None:
        """Nothing more is typed to that rank."""
        if early:
            self._early_ends.add(number)
            return
        rank = self._find(number)
        if rank is None or rank.child is None or rank.input_end:
            return
        if rank.child.pty:
            self._type_end(rank)
            return
        rank.input_end = True
        if not rank.input:
            self.close(rank)

    def _type_end(self, rank: Rank) -> None:
        """The end of a terminal's input is a character, and only in canonical mode."""
        child = rank.child
        assert child is not None
        try:
            modes = termios.tcgetattr(child.stdin)
        except termios.error:
            return
        if modes[3] & termios.ICANON:
            rank.input.append((None, modes[6][termios.VEOF]))  # nobody's byte
            self.write(rank)

    def give_early(self, rank: Rank) -> None:
        """Its program runs, or never will: what came early is for it."""
        if rank.input and rank.child is not None and rank.child.stdin >= 0:
            self.write(rank)
        elif rank.input:
            for writer, data in rank.input:
                if writer is not None:
                    writer.consumed_input(stdin_of(rank.number), len(data))
            rank.input.clear()
        if rank.number in self._early_ends:
            self.end(rank.number, early=False)

    def forget(self, attachment: Attachment) -> None:
        """What it has sent and the program not yet taken is not to reach it any more."""
        for rank in self._ranks:
            kept = [(who, data) for who, data in rank.input if who is not attachment]
            if len(kept) != len(rank.input) and rank.child is not None:
                rank.input = kept
                self.write(rank)  # nobody waits for room any more, perhaps

    def write(self, rank: Rank) -> None:
        """Give it as much as it takes now; the loop tells when it takes more."""
        child = rank.child
        assert child is not None
        fd = child.stdin
        taken: list[tuple[Attachment | None, int]] = []
        while rank.input and fd >= 0:
            writer, data = rank.input[0]
            modes = self._taps.modes(rank)
            try:
                written = os.write(fd, data)
            except BlockingIOError:
                break
            except OSError:  # EPIPE: it reads no more; EIO: its terminal is gone
                taken += [(who, len(rest)) for who, rest in rank.input]
                rank.input.clear()
                rank.input_end = True
                break
            taken.append((writer, written))
            self.taken_bytes += written
            rank.taken += written
            self._taps.given(rank, writer, data[:written], modes)
            if written == len(data):
                rank.input.pop(0)
            else:
                rank.input[0] = (writer, data[written:])
        waiting = bool(rank.input)
        self._taps.typed(rank)
        if child.pty:
            if fd in rank.paused:
                self._loop.modify(fd, rank.awaits(fd))
        elif waiting and not rank.input_waits:
            rank.input_waits = True
            self._loop.add(fd, OUT, lambda mask: self.write(rank))
        elif not waiting and rank.input_waits:
            rank.input_waits = False
            self._loop.remove(fd)
        if rank.input_end and not waiting:
            self.close(rank)
        for writer, count in taken:
            if writer is not None:
                writer.consumed_input(stdin_of(rank.number), count)

    def close(self, rank: Rank) -> None:
        """Its stdin, if that is a pipe: a terminal is closed with its output."""
        child = rank.child
        if child is not None and not child.pty and child.stdin >= 0:
            if rank.input_waits:
                rank.input_waits = False
                self._loop.remove(child.stdin)
            child.close_stdin()
