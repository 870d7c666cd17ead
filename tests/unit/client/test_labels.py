"""Labelled lines: whole, in order, and never held without an end."""

import random

from gshell.client.labels import LONGEST_BYTES, LineLabels


def test_each_line_begins_with_its_rank_however_it_was_cut():
    text = b"one\n\nthree is longer\nlast"
    cut = random.Random(7)
    for _ in range(50):
        labels, got, at = LineLabels(), b"", 0
        while at < len(text):
            size = cut.randint(1, 6)
            got += labels.feed(3, False, text[at : at + size])
            at += size
        assert got == b"3: one\n3: \n3: three is longer\n"
        assert labels.flush() == [(False, b"3: last\n")]
        assert labels.flush() == []


def test_streams_and_ranks_are_apart():
    labels = LineLabels()
    assert (
        labels.feed(0, False, b"a")
        == labels.feed(0, True, b"b")
        == labels.feed(1, False, b"c")
        == b""
    )
    assert labels.feed(0, True, b"\n") == b"0: b\n"
    assert sorted(labels.flush()) == [(False, b"0: a\n"), (False, b"1: c\n")]


def test_a_line_without_an_end_comes_in_pieces():
    labels = LineLabels()
    got = b"".join(labels.feed(2, False, b"x" * 1000) for _ in range(200))
    assert got.count(b"2: ") == got.count(b"\n") > 1
    assert got.count(b"x") + LONGEST_BYTES + 1000 > 200_000
