"""A stream's log in memory, and with a spool that is only pretended."""

import pytest

from gshell.agent.budget import Budget
from gshell.agent.sessionlog import Retention, StreamLog
from gshell.agent.spool import SpoolTrouble, Unreadable
from gshell.wire.streams import Missing, SendStream

RULES = Retention(ring_bytes=10_000, hold_bytes=20_000)
QUOTA = 30_000


class PretendedSpool:
    """A Spool without a disk; segments of 10 000 bytes."""

    def __init__(self):
        self.start, self.data, self.broken, self.deleted = 0, b"", None, False
        self.damaged = range(0)

    @property
    def size(self):
        return len(self.data)

    @property
    def end(self):
        return self.start + len(self.data)

    def append(self, start, data):
        if self.broken:
            raise SpoolTrouble(self.broken)
        self.start = self.start if self.data else start
        assert start == self.end
        self.data += data

    def read(self, offset, at_most):
        if offset in self.damaged:
            raise Unreadable("I/O error", self.damaged.stop)
        return self.data[offset - self.start :][:at_most]

    def drop_before(self, offset):
        while self.data and min(self.start + 10_000, self.end) <= offset:
            self.drop_oldest(offset)

    def drop_oldest(self, protected):
        if not self.data or min(self.start + 10_000, self.end) > protected:
            return False
        self.start, self.data = min(self.start + 10_000, self.end), self.data[10_000:]
        return True

    def clear(self):
        self.data = b""

    def delete(self):
        self.clear()
        self.deleted = True


@pytest.fixture
def spool():
    return PretendedSpool()


@pytest.fixture
def log(spool):
    return StreamLog(lambda: spool, RULES, Budget(QUOTA))


def recent(log: StreamLog, at_most: int) -> tuple[int, bytes]:
    """The newest kept bytes: their (offset, bytes)."""
    start = at = max(log.end - at_most, log.start)
    pieces = []
    while at < log.end:
        pieces.append(log.read(at, log.end - at))
        at += len(pieces[-1])
    return start, b"".join(pieces)


def fill(log: StreamLog, end: int, piece: int = 5000) -> None:
    """Until ``end`` or full, bytes that say where they are."""
    while log.end < end and not log.full:
        log.append(text(log.end, min(piece, end - log.end)))


def text(start: int, size: int) -> bytes:
    return bytes(at % 251 for at in range(start, start + size))


def test_what_was_appended_is_read_without_a_copy(log):
    chunk = bytes(64)
    log.append(chunk)
    assert log.read(0, 1000) is chunk


def test_small_pieces_are_put_together():
    log = StreamLog(None, Retention())
    for at in range(10_000):
        log.append(text(at, 1))
    assert len(log._chunks) <= 4
    assert recent(log, 1 << 20) == (0, text(0, 10_000))
    assert type(log.read(9_990, 5)) is bytes


def test_a_read_goes_over_small_chunks_to_what_was_asked_for():
    log = StreamLog(None, Retention())
    for at in range(0, 50_000, 5000):
        log.append(text(at, 5000))
    data = log.read(100, 40_000)
    assert data == text(100, len(data))
    assert len(data) > 35_000


def test_at_the_end_there_is_nothing_and_before_the_start_it_is_missing(log):
    fill(log, 50_000)
    assert log.read(50_000, 10) == b""
    assert log.start == 40_000
    with pytest.raises(Missing) as missing:
        log.read(39_900, 10)
    assert missing.value.start == 40_000


def test_what_nobody_needs_never_reaches_the_disk(log, spool):
    log.cursor(0, needed=False)
    fill(log, 100_000)
    assert (log.start, spool.size, log.full) == (90_000, 0, False)


def test_what_is_to_be_kept_does_up_to_the_quota(log, spool):
    log.retain(RULES._replace(keep=True))
    fill(log, 100_000)
    assert log.start == 60_000
    assert spool.size == 30_000
    assert recent(log, 100_000) == (60_000, text(60_000, 40_000))
    log.retain(RULES)
    assert (log.start, spool.size) == (90_000, 0)


def test_an_observer_that_falls_behind_sees_a_gap_and_slows_nobody(log):
    observer = log.cursor(0, needed=False)
    primary = log.cursor(0, needed=True)
    for end in range(10_000, 200_000, 10_000):
        fill(log, end)
        primary.release(end)
    assert not log.full
    with pytest.raises(Missing):
        observer.read(0, 10)


def test_a_needed_reader_that_is_behind_stays_in_memory_first(log, spool):
    cursor = log.cursor(0, needed=True)
    fill(log, 20_000)
    assert (spool.size, log.full) == (0, False)
    cursor.release(20_000)
    assert log.start == 10_000


def test_then_on_disk_and_then_the_program_must_wait(log, spool):
    cursor = log.cursor(0, needed=True)
    fill(log, 500_000)
    assert log.full
    assert (log.end, spool.size) == (55_000, 30_000)  # memory, disk, and one piece too many
    assert b"".join(cursor.read(at, 5_000) for at in range(0, 55_000, 5_000)) == text(0, 55_000)
    cursor.release(10_000)
    assert not log.full
    cursor.release(55_000)
    assert (log.start, spool.size) == (45_000, 0)


def test_with_policy_gap_the_oldest_goes_instead(spool):
    log = StreamLog(lambda: spool, RULES._replace(block=False), Budget(QUOTA))
    cursor = log.cursor(0, needed=True)
    fill(log, 500_000)
    assert not log.full
    assert log.end == 500_000
    assert log.start == 450_000
    with pytest.raises(Missing):
        cursor.read(0, 1)


def test_without_a_spool_memory_is_all_there_is():
    log = StreamLog(None, RULES)
    log.cursor(0, needed=True)
    fill(log, 500_000)
    assert (log.full, log.end) == (True, 25_000)


def test_the_slowest_of_two_needed_readers_counts(log):
    slow, fast = log.cursor(0, needed=True), log.cursor(0, needed=True)
    fill(log, 500_000)
    fast.release(log.end)
    assert log.full
    assert log.start == 0
    slow.close()
    slow.close()
    assert not log.full
    assert log.start == log.end - 10_000


def test_becoming_an_observer_frees_the_program_and_back_again_binds_it(log):
    cursor = log.cursor(0, needed=True)
    fill(log, 500_000)
    cursor.needed = False
    assert not log.full
    assert log.start == log.end - 10_000
    cursor.release(log.start)
    cursor.needed = True
    fill(log, 500_000)
    assert log.full


def test_cursors_know_the_end_and_where_the_present_was(log):
    fill(log, 10_000)
    cursor = log.cursor(5_000, needed=False)
    fill(log, 15_000)
    log.close()
    assert (cursor.start, cursor.live, cursor.end, cursor.closed) == (5_000, 10_000, 15_000, True)
    assert log.cursor(15_000, needed=False).closed


def test_a_cursor_is_the_source_of_a_stream(log):
    stream = SendStream(3, log.cursor(0, needed=True), limit=100_000)
    fill(log, 17_000)
    log.close()
    assert stream.take(100_000) == (0, text(0, 17_000), True)
    stream.on_grant(17_000, 100_000)
    assert log.start == 5_000  # whole chunks: no less than the ring stays


def test_a_full_disk_stops_the_program_and_says_so(log, spool):
    spool.broken = "no room"
    cursor = log.cursor(0, needed=True)
    fill(log, 500_000)
    assert (log.full, log.trouble, log.start) == (True, "no room", 0)
    assert recent(log, 500_000) == (0, text(0, log.end))
    spool.broken = None
    log.retry()
    assert (log.full, log.trouble) == (False, None)
    fill(log, 500_000)
    assert b"".join(cursor.read(at, 5_000) for at in range(0, log.end, 5_000)) == text(0, log.end)


def test_a_full_disk_only_shortens_a_history_that_nobody_needs(log, spool):
    log.retain(RULES._replace(keep=True))
    fill(log, 30_000)
    spool.broken = "no room"
    fill(log, 60_000)
    assert (log.full, log.trouble, log.start) == (False, "no room", 50_000)


def test_no_place_for_a_spool_is_as_a_full_disk():
    def refuse():
        raise OSError(30, "Read-only file system")

    log = StreamLog(refuse, RULES, Budget(QUOTA))
    log.cursor(0, needed=True)
    fill(log, 500_000)
    assert log.full
    assert "Read-only" in str(log.trouble)


def test_a_disk_that_loses_bytes_makes_a_gap(log, spool):
    cursor = log.cursor(0, needed=True)
    fill(log, 40_000)
    spool.damaged = range(5_000, 12_000)
    assert cursor.read(0, 10) == text(0, 10)
    with pytest.raises(Missing) as missing:
        cursor.read(5_010, 10)
    assert missing.value.start == 12_000
    assert log.start == 0
    assert cursor.read(12_000, 10) == text(12_000, 10)


def test_deleting_leaves_nothing(log, spool):
    log.cursor(0, needed=True)
    fill(log, 40_000)
    log.delete()
    assert spool.deleted
    assert (log.start, log.end) == (40_000, 40_000)
    assert recent(log, 100_000) == (40_000, b"")


def logs_that_share(*spools, quota=QUOTA, rules=RULES):
    budget = Budget(quota)
    return [StreamLog(lambda spool=spool: spool, rules, budget) for spool in spools]


def test_streams_share_one_quota_and_who_has_most_gives_first():
    spools = [PretendedSpool(), PretendedSpool()]
    one, other = logs_that_share(*spools, rules=RULES._replace(keep=True, block=False))
    fill(one, 100_000)
    assert (spools[0].size, spools[1].size) == (30_000, 0)
    fill(other, 25_000)
    assert (spools[0].size, spools[1].size) == (10_000, 15_000)
    assert one.start == 80_000
    assert recent(one, 100_000) == (80_000, text(80_000, 20_000))
    assert recent(other, 100_000) == (0, text(0, 25_000))


def test_a_needed_reader_s_bytes_are_not_given_to_another_stream():
    spools = [PretendedSpool(), PretendedSpool()]
    needed, kept = logs_that_share(*spools, rules=RULES._replace(keep=True))
    cursor = needed.cursor(0, needed=True)
    fill(needed, 500_000)
    assert needed.full
    fill(kept, 100_000)
    assert (needed.start, kept.start, kept.full) == (0, 90_000, False)
    cursor.release(needed.end)
    fill(kept, 200_000)
    assert kept.start < 190_000


def test_who_was_refused_is_told_when_there_is_room():
    told = []
    budget = Budget(QUOTA, None, lambda: told.append(1))
    one = StreamLog(PretendedSpool, RULES, budget)
    other = StreamLog(PretendedSpool, RULES, budget)
    reader, slow = one.cursor(0, needed=True), other.cursor(0, needed=True)
    fill(one, 500_000)
    fill(other, 500_000)
    assert (one.full, other.full, told) == (True, True, [])
    reader.release(one.end)
    assert told
    other.retry()
    assert not other.full
    slow.close()
