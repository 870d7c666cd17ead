"""The checkers of the fault tests must see what they are there to see."""

import random

import pytest
from fault.flow import CELL, Checker, Watcher, blocks

SIZE = 1 << 18
FLOW = b"".join(blocks(SIZE, 7))


def watched(data, pieces=5000, size=SIZE):
    watcher = Watcher(size, 7)
    for at in range(0, len(data), pieces):
        watcher.feed(data[at : at + pieces])
    return watcher.verdict()


def checked(data):
    checker = Checker(SIZE, 7)
    checker.feed(data)
    return checker.verdict()


def test_all_there_is_good():
    assert checked(FLOW).startswith(f"good {SIZE} ")
    assert watched(FLOW) == f"good {SIZE} gaps 0 missing 0"


def test_the_flow_can_be_made_from_any_cell_on():
    assert b"".join(blocks(SIZE, 7, 5)) == FLOW[5 * CELL :]


@pytest.mark.parametrize("pieces", [1, 17, 4096, 5000, SIZE])
def test_gaps_are_counted_wherever_they_fall(pieces):
    luck = random.Random(pieces)
    a, b, c, d = sorted(luck.sample(range(3 * CELL, SIZE - 3 * CELL, 3), 4))
    b, d = b + CELL * 2, d + CELL * 2
    a, c = min(a, b - 9), max(b + 2 * CELL, c)
    d = max(c + 9, d)
    came = FLOW[:a] + FLOW[b:c] + FLOW[d:]
    verdict = watched(came, pieces)
    assert verdict == f"good {len(came)} gaps 2 missing {b - a + d - c}"


def test_a_missing_beginning_and_a_missing_end():
    assert watched(FLOW[12345:]) == f"good {SIZE - 12345} gaps 1 missing 12345"
    assert watched(FLOW[:12345]) == f"good 12345 gaps 1 missing {SIZE - 12345}"
    assert watched(FLOW[-100:]) == f"good 100 gaps 1 missing {SIZE - 100}"


@pytest.mark.parametrize("at", [0, 3, 9, 100, CELL - 1, CELL, 50_000, SIZE - 5000, SIZE - 1])
def test_a_changed_byte_is_seen(at):
    changed = FLOW[:at] + bytes([FLOW[at] ^ 4]) + FLOW[at + 1 :]
    assert watched(changed).startswith("wrong")
    assert checked(changed).startswith("wrong")


def test_doubled_and_reordered_bytes_are_seen():
    a, b, c = 30_000, 50_000, 70_000
    for came in (FLOW[:b] + FLOW[a:], FLOW[:a] + FLOW[b:c] + FLOW[a:b] + FLOW[c:]):
        assert watched(came).startswith("wrong")
        assert checked(came).startswith("wrong")


def test_more_than_there_was_is_seen():
    assert watched(FLOW + b"x").startswith("wrong")
    assert watched(FLOW + FLOW[:5000]).startswith("wrong")
    assert not checked(FLOW + b"x").startswith("good")
