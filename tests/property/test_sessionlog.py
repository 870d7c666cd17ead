"""A session log keeps the promises of its docstring, whatever its readers and its disk do."""

import os
import tempfile

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gshell.agent import spool as spool_module
from gshell.agent.budget import Budget
from gshell.agent.sessionlog import Cursor, Retention, StreamLog
from gshell.agent.spool import Spool, SpoolTrouble
from gshell.wire.streams import Missing

RING, HOLD, QUOTA, SEGMENT, LONGEST = 10_000, 30_000, 40_000, 12_000, 9_000
ALL, BLOCK = 55_000, 5_000  # all sessions' quota; a checksum's worth
SIZES = st.sampled_from([1, 30, 1000, 4095, 4096, 6000, LONGEST])


class MoodySpool(Spool):
    broken = False

    def append(self, start, data):
        if self.broken:
            raise SpoolTrouble("no room for the session's spool")
        super().append(start, data)


def pattern(start: int, size: int) -> bytes:
    """Bytes that tell their offset."""
    words = range(start // 8, (start + size) // 8 + 1)
    text = b"".join(word.to_bytes(8, "big") for word in words)
    return text[start % 8 :][:size]


class LogMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.block_bytes, spool_module.BLOCK_BYTES = spool_module.BLOCK_BYTES, BLOCK
        self.directory = tempfile.TemporaryDirectory()
        self.spool = MoodySpool(os.path.join(self.directory.name, "1"), SEGMENT)
        self.block = True
        self.keep_all = False
        self.cursors: list[Cursor] = []
        self.disk = Budget(ALL)
        self.session, elsewhere = Budget(QUOTA, self.disk), Budget(QUOTA, self.disk)
        self.log = self.make_log(self.spool, self.session)
        self.written = 0
        self.damaged: set[int] = set()
        # Beside it the other stream of the session, and another session: they take and shed.
        self.others = [
            (self.make_log(spool, budget), spool)
            for number, budget in ((2, self.session), (3, elsewhere))
            for spool in [MoodySpool(os.path.join(self.directory.name, str(number)), SEGMENT)]
        ]

    def retention(self) -> Retention:
        return Retention(RING, HOLD, self.keep_all, self.block)

    def make_log(self, spool: Spool, budget: Budget) -> StreamLog:
        return StreamLog(lambda: spool, self.retention(), budget)

    def teardown(self) -> None:
        for log in (self.log, *(other for other, _ in self.others)):
            log.delete()
        assert self.disk.held == self.session.held == 0
        assert os.listdir(self.directory.name) == []
        self.directory.cleanup()
        spool_module.BLOCK_BYTES = self.block_bytes

    def is_damaged(self, offset: int) -> bool:
        """Is it in a block of the disk in which something was changed?"""
        for segment in self.spool._segments:
            if segment.start <= offset < segment.end:
                first = (offset - segment.start) // BLOCK * BLOCK + segment.start
                return any(first <= at < min(first + BLOCK, segment.end) for at in self.damaged)
        return False

    def is_right_to_be_missing(self, offset: int, start: int) -> bool:
        """``start`` is said to come next after what is gone from ``offset`` on."""
        if offset < self.log.start:
            return start == self.log.start
        return self.is_damaged(offset) and offset < start <= self.log.end

    @precondition(lambda self: self.spool.size)
    @rule(at=st.integers(0, QUOTA))
    def damage(self, at):
        """Somebody writes into a segment."""
        segment = self.spool._segments[at % len(self.spool._segments)]
        offset = segment.start + at % (segment.end - segment.start)
        with open(segment.path, "r+b", buffering=0) as file:
            file.seek(offset - segment.start)
            file.write(bytes([pattern(offset, 1)[0] ^ 0xFF]))
        self.damaged.add(offset)

    @rule(which=st.integers(0, 1), size=SIZES, times=st.integers(1, 20), needed=st.booleans())
    def others_write(self, which, size, times, needed):
        log, _ = self.others[which]
        reader = log.cursor(log.end, needed)
        for _ in range(times):
            if not log.full:
                log.append(bytes(size))
        reader.close()

    @rule(which=st.integers(0, 1), needed=st.booleans())
    def others_are_read_or_not(self, which, needed):
        log, _ = self.others[which]
        if log._cursors:
            log._cursors[0].close()
        else:
            log.cursor(log.end, needed)

    @rule(size=SIZES, times=st.integers(1, 20))
    def append(self, size, times):
        for _ in range(times):
            if self.log.full:
                return  # what a caller does
            self.log.append(pattern(self.written, size))
            self.written += size

    @rule(needed=st.booleans(), back=st.sampled_from([0, 5, RING, 3 * RING]))
    def attach(self, needed, back):
        at = max(self.log.start, self.log.end - back)
        self.cursors.append(self.log.cursor(at, needed))

    @precondition(lambda self: self.cursors)
    @rule(which=st.integers(0), size=SIZES)
    def read_and_release(self, which, size):
        cursor = self.cursors[which % len(self.cursors)]
        at = cursor.released
        try:
            data = cursor.read(at, size)
        except Missing as missing:
            assert self.is_right_to_be_missing(at, missing.start)  # noqa: PT017 - it may be
            assert self.is_damaged(at) or not (cursor.needed and self.block)
            cursor.release(missing.start)
            return
        assert not self.is_damaged(at)
        assert (len(data) >= 1) == (at < cursor.end)
        assert data == pattern(at, len(data))
        cursor.release(at + len(data))

    @precondition(lambda self: self.cursors)
    @rule(which=st.integers(0))
    def catch_up(self, which):
        self.cursors[which % len(self.cursors)].release(self.log.end)

    @precondition(lambda self: self.cursors)
    @rule(which=st.integers(0))
    def promote_or_demote(self, which):
        cursor = self.cursors[which % len(self.cursors)]
        if not cursor.needed:
            cursor.release(self.log.start)  # it can't ask for what is gone already
        cursor.needed = not cursor.needed

    @precondition(lambda self: self.cursors)
    @rule(which=st.integers(0))
    def leave(self, which):
        self.cursors.pop(which % len(self.cursors)).close()

    @rule(keep=st.booleans())
    def keep(self, keep):
        self.keep_all = keep
        for log in (self.log, *(other for other, _ in self.others)):
            log.retain(self.retention())

    @rule(broken=st.booleans())
    def disk(self, broken):
        self.spool.broken = broken
        self.log.retry()

    @rule(offset=st.integers(0), size=st.integers(1, 3 * LONGEST))
    def look_anywhere(self, offset, size):
        offset %= self.log.end + 1
        try:
            data = self.log.read(offset, size)
        except Missing as missing:
            assert self.is_right_to_be_missing(offset, missing.start)  # noqa: PT017 - see above
        else:
            assert data == pattern(offset, len(data))
            assert 0 < len(data) <= size or offset == self.log.end

    @invariant()
    def the_end_is_what_was_written(self):
        assert self.log.end == self.written
        assert all(cursor.end == self.written for cursor in self.cursors)

    @invariant()
    def recent_history_is_always_there(self):
        assert self.log.end - self.log.start >= min(self.log.end, RING)

    @invariant()
    def what_a_needed_reader_lacks_is_never_forgotten(self):
        if self.block:
            assert all(c.released >= self.log.start for c in self.cursors if c.needed)

    @invariant()
    def memory_and_disk_are_bounded(self):
        assert self.spool.size + self.others[0][1].size == self.session.held <= QUOTA
        assert self.session.held + self.others[1][1].size == self.disk.held <= ALL
        on_disk = sum(
            os.path.getsize(os.path.join(folder, name))
            for folder, _, names in os.walk(self.directory.name)
            for name in names
        )
        assert on_disk == self.disk.held
        needed = any(cursor.needed for cursor in self.cursors)
        assert self.log._in_memory <= (HOLD if needed else RING) + LONGEST + LONGEST

    @invariant()
    def a_log_keeps_one_piece(self):
        if self.spool.size:
            assert (self.spool.start, self.spool.end) == (self.log.start, self.log._starts[0])

    @invariant()
    def what_everybody_has_is_let_go_at_once(self):
        if all(c.released == self.log.end for c in self.cursors if c.needed):
            assert self.log._in_memory <= RING + LONGEST
            assert self.keep_all or not self.spool.size

    @invariant()
    def full_means_a_needed_reader_is_behind_and_nothing_else_does(self):
        behind = [c for c in self.cursors if c.needed and c.released < self.log.end]
        if self.log.full:
            assert self.block
            assert behind
            assert self.log._in_memory >= HOLD

    @precondition(lambda self: self.log.full)
    @rule()
    def full_ends_when_the_readers_have_read(self):
        for cursor in self.cursors:
            cursor.release(self.log.end)
        assert not self.log.full


class GapLogMachine(LogMachine):
    def retention(self):
        self.block = False
        return super().retention()

    @invariant()
    def it_never_stops_the_program(self):
        assert not self.log.full


TestBlock = LogMachine.TestCase
TestBlock.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestGap = GapLogMachine.TestCase
TestGap.settings = settings(max_examples=30, stateful_step_count=60, deadline=None)
