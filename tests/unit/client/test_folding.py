"""Lines of many ranks, once: in order, complete, and without waiting for ever."""

from hypothesis import given
from hypothesis import strategies as st

from gshell.client import folding
from gshell.client.folding import Folding
from gshell.client.labels import STARTER
from gshell.model.rankset import RankSet


def test_what_all_say_is_said_once_and_at_once():
    fold = Folding(64)
    for rank in range(63):
        assert fold.feed(rank, False, b"hello\n", 0.0) == []
    assert fold.feed(63, False, b"hello\n", 0.0) == [(False, b"[0-63] hello\n")]
    assert fold.due is None


def test_what_some_say_is_said_when_it_has_waited():
    fold = Folding(4)
    for rank in (0, 2, 3):
        fold.feed(rank, False, b"same\n", 1.0)
    fold.feed(1, True, b"mine\n", 1.0)
    assert fold.overdue(0.9) == []
    assert fold.overdue(1.0) == [(False, b"[0,2-3] same\n"), (True, b"[1] mine\n")]


def test_what_is_said_twice_is_said_twice():
    fold = Folding(2)
    got = fold.feed(0, False, b"a\na\n", 0.0) + fold.feed(1, False, b"a\na\n", 0.0)
    assert got + fold.flush() == [(False, b"[0] a\n"), (False, b"[0-1] a\n"), (False, b"[1] a\n")]


def test_the_starter_does_not_wait():
    assert Folding(9).feed(STARTER, True, b"gone\n", 0.0) == [(True, b"[mpi] gone\n")]


def test_it_holds_no_more_than_so_much():
    fold = Folding(2)
    got = []
    for number in range(3 * folding.MOST_LINES):
        got += fold.feed(0, False, b"%d\n" % number, 0.0)
    assert len(got) >= 2 * folding.MOST_LINES
    assert [text for _, text in got + fold.flush()] == [
        b"[0] %d\n" % number for number in range(3 * folding.MOST_LINES)
    ]


SAID = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([b"a\n", b"b\n", b"c", b"\n", b"a\nb\n"])),
    max_size=30,
)


@given(SAID, st.lists(st.integers(0, 29)))
def test_each_rank_s_lines_come_complete_and_in_its_order(said, looks):
    fold = Folding(4)
    got = []
    for at, (rank, text) in enumerate(said):
        got += fold.feed(rank, False, text, float(at))
        if at in looks:
            got += fold.overdue(at - 3.0)
    got += fold.flush()
    for rank in range(4):
        shown = b"".join(
            line.partition(b"] ")[2]
            for _, line in got
            if rank in RankSet.parse(line[1 : line.index(b"]")].decode())
        )
        # A line that waited too long was ended: but for those ends, all is as it was said.
        assert shown.replace(b"\n", b"") == b"".join(
            text for who, text in said if who == rank
        ).replace(b"\n", b"")
