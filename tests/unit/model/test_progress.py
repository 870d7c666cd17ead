"""How far a program is, by what real ones print."""

import doctest

import pytest

from gshell.model import progress
from gshell.model.progress import Reader

LU = b""" NAS Parallel Benchmarks 3.3 -- LU Benchmark

 Size:   12x  12x  12
 Iterations:   50
 Number of processes:     1

"""


def look(text):
    found = Reader().look(text)
    return found and tuple(found)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (b"step 3 of 10", (3, 10)),
        (b"[ 12/345] CC foo.o", (12, 345)),
        (b"[45%] Building CXX object", (45, 100)),
        (b" 45%|####      | 45/101 [00:01<00:01, 30.1it/s]", (45, 101)),
        (b"Epoch 3/10, batch 45/100, loss 0.12", (3, 10)),
        (b"  8.25 % done", (8, 100)),
        (b"\x1b[32mprogress:\x1b[m 7%", (7, 100)),
        (b"file 1 out of 3", (1, 3)),
        (b"iteration 7/7", (7, 7)),
        (b"step=20, of them 250", None),
        (b"2026/11/22 and 11/22/2026", None),
        (b"/a/1/2 and 10.0.0.1/24 and v1/2", None),
        (b"12:01/13:05", None),
        (b"5/3", None),
        (b"CPU: 93%", None),
        (b"memory used 40 % of the node", None),
        (b"accuracy 97.5%", None),
        (b"120% sure", None),
        (b"100%d", None),
        (b"Time step   20", None),  # of how many?
        (b"", None),
    ],
)
def test_a_line_says_how_far_it_is_or_not(line, wanted):
    assert look(line + b"\n") == wanted


@pytest.mark.parametrize(
    ("total", "line", "wanted"),
    [
        (b" Iterations:  250", b" Time step   20", (20, 250)),
        (b"Number of time steps = 1000", b"  step: 17  dt 0.1", (17, 1000)),
        (b"nsteps=40", b"Step #3", (3, 40)),
        (b"max_iter: 9", b"iteration 9", (9, 9)),
        (b"Epochs: 5", b"Epoch 2", (2, 5)),
        (b"Iterations: 5", b"iteration 6", None),
        (b"Iterations: 0", b"iteration 0", None),
        (b"Iterations: 5", b"Iterations: 5", None),
    ],
)
def test_the_number_of_steps_is_remembered_from_where_it_was_announced(total, line, wanted):
    reader = Reader()
    assert reader.look(total + b"\n") is None
    found = reader.look(line + b"\n")
    assert (found and tuple(found)) == wanted


def test_the_newest_line_counts():
    assert look(b"1/10\n9/10\nand something else\n") == (9, 10)


def test_a_line_that_is_not_complete_is_not_read():
    assert look(LU + b" Time step    2") is None
    assert look(LU + b" Time step    1\n Time step    2") == (1, 50)


def test_who_draws_over_his_line_is_read_too():
    assert look(b"\r10/20\r11/20\r12/20") == (11, 20)


def test_what_was_said_long_ago_is_about_the_past():
    reader = Reader()
    assert reader.look(b"3/4\n", 4)
    assert reader.look(b"noise\n", 60_000)
    assert reader.look(b"noise\n", 70_000) is None


def test_any_bytes_are_read(monkeypatch):
    for text in (bytes(range(256)) * 16, b"9" * 4096, b"\x1b[" * 2048, b" " * 4096, b"1/" * 2048):
        Reader().look(text + b"\n")


def test_the_examples_in_the_text_are_true():
    assert doctest.testmod(progress).failed == 0
