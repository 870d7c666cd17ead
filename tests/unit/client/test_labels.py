"""Labelled lines: whole, in order, and never held without an end."""

import random

from gshell.client.labels import LONGEST_BYTES, STARTER, LineLabels


def fed(labels, rank, err, data, now=0.0):
    return b"".join(text for _, text in labels.feed(rank, err, data, now))


def test_each_line_begins_with_its_rank_however_it_was_cut():
    text = b"one\n\nthree is longer\nlast"
    cut = random.Random(7)
    for _ in range(50):
        labels, got, at = LineLabels(), b"", 0
        while at < len(text):
            size = cut.randint(1, 6)
            got += fed(labels, 3, False, text[at : at + size])
            at += size
        assert got == b"3: one\n3: \n3: three is longer\n"
        assert labels.flush() == [(False, b"3: last\n")]
        assert labels.flush() == []


def test_streams_and_ranks_are_apart():
    labels = LineLabels()
    for rank, err, text in ((0, False, b"a"), (0, True, b"b"), (1, False, b"c")):
        assert labels.feed(rank, err, text, 0.0) == []
    assert labels.feed(0, True, b"\n", 0.0) == [(True, b"0: b\n")]
    assert sorted(labels.flush()) == [(False, b"0: a\n"), (False, b"1: c\n")]


def test_a_line_without_an_end_comes_in_pieces():
    labels = LineLabels()
    got = b"".join(fed(labels, 2, False, b"x" * 1000) for _ in range(200))
    assert got.count(b"2: ") == got.count(b"\n") > 1
    assert got.count(b"x") + LONGEST_BYTES + 1000 > 200_000


def test_labels_stand_below_each_other():
    labels = LineLabels(128)
    assert fed(labels, 7, False, b"x\n") == b"  7: x\n"
    assert fed(labels, 127, False, b"x\n") == b"127: x\n"
    assert fed(labels, STARTER, True, b"x\n") == b"mpi: x\n"


def test_a_prompt_is_shown_when_it_has_waited():
    labels = LineLabels(4)
    assert labels.due is None
    assert labels.feed(1, False, b"done\nname? ", 5.0) == [(False, b"1: done\n")]
    assert labels.due == 5.0
    assert labels.overdue(4.9) == []
    assert labels.overdue(5.0) == [(False, b"1: name? \n")]
    assert fed(labels, 1, False, b"bob\n", 6.0) == b"1: bob\n"
    assert labels.due is None


def test_a_line_that_grows_waits_from_its_first_byte():
    labels = LineLabels()
    labels.feed(0, False, b"a", 1.0)
    labels.feed(0, False, b"b", 2.0)
    assert labels.due == 1.0
