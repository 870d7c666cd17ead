"""Each mask: what it lets through, and what not."""

import time

import pytest

from gshell.replay import masks, matching

GOOD = [
    ("a (any) z", "a  z"), ("a (any) z", "a b c z"), ("x", "x   "),
    ("n = (int)", "n = -12"), ("n = (int) of", "n =     12   of"), ("(int)", "   7"),
    ("t = (num)", "t = 1.5D-03"), ("t = (num) s", "t = .5 s"), ("(num)%", "99.5%"),
    ("r (num 1.5 rel=1e-8)", "r 1.500000001"), ("r (num 1.5 abs=0.1)", "r 1.45"), ("r (num 0 abs=1e-9)", "r 1E-10"),
    ("r (num 1.5)", "r 1.50"), ("r (num nan)", "r NaN"), ("r (num -inf)", "r -inf"),
    (" 1 1.0 2.0E+00 (num rel=1e-3)", " 1    1.0001   2.0001D+00"),
    ("(time)", "Sun Nov 22 14:36:40 UTC 2026"), ("(time)", "2026-11-22T10:11:12.5Z"), ("real (time)", "real 0m0.003s"),
    ("took (time).", "took 3.5 ms."), ("on (time) at", "on 22 Nov 2026 at"), ("(time)", "1 min 3.2 s"),
    ("at (re /0x[0-9a-f]+/) in", "at 0xbeef in"), (r"(re /a\/b/)", "a/b"), ("x[0-9]+ (re)", "x12"),
    ("#0 ... (glob)", "#0  0x1 in main ()"), ("a*c?e (glob)", "abbcde"), (r"a\*b (glob)", "a*b"),
    (r"a\tb (esc)", "a\tb"), ("N=${N}", "N=4"), ("$$${N} $x", "$4 $x"), ("${N}+ (re)", "44"),
    (r"\(any)", "(any)"), (r"\\(any)", r"\foo"), (r"x \(re)", "x (re)"), ("(any questions?)", "(any questions?)"),
    ("a\tb", "a       b"), (r"a\tb (esc)", "a       b"), ("(int)\tx", "7       x"), ("n\t(any)", "n       z"),
    ("(number 5)", "(number 5)"), ("int(x)", "int(x)"), ("f(int)", "f3"),
]  # fmt: skip
BAD = [
    ("a (any) z", "a b"), ("(int)", "1.5"), ("(int)", ""), ("n (int)", "n12"), ("(any)(int)4", "a123"),
    ("t (num)", "t nan"), ("t (num)", "t inf"), ("t (num)", "t x"), ("r (num 1.5 rel=1e-8)", "r 1.50001"),
    ("r (num 0)", "r 1e-300"), ("r (num 1.5)", "r NaN"), ("r (num inf)", "r -inf"),
    (" 1 1.0 2.0E+00 (num rel=1e-3)", " 1 1.0 2.1"), (" 1 1.0 (num rel=1e-3)", " 1 1.0 1.0"), (" 1 x (num rel=1)", " 1 y"),
    ("(time)", "soon"), ("(time)", "12"), ("x+ (re)", "xxy"), ("a? (glob)", "a"), ("N=${N}", "N=${N}"), ("x", "X"), ("x", " x"), ("a\tb", "a b"), ("(int)\tx", "7x"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line"), GOOD)
def test_it_fits(text, line):
    assert matching.match(masks.parse(text), line, {"N": "4"}) is not None


@pytest.mark.parametrize(("text", "line"), BAD)
def test_it_does_not_fit(text, line):
    assert matching.match(masks.parse(text), line, {"N": "4"}) is None


@pytest.mark.parametrize("text", ["(any*)", "... (any*)", "  ... (any*)  "])
def test_a_span_is_a_line_of_its_own(text):
    assert masks.parse(text).kind == "span"


@pytest.mark.parametrize(
    "text",
    ["x (any*)", "(num rel=1e-8) x 1", "x (num rel=1e-8)", "(num 1 2)", "(num 1 rel=-1)", "(re /[/)", "(re /x)",
     "((a+)+)+ (re)", "(a|b*)* (re)", "x(re)", "(int) 1.5 (num rel=1e-8)", "(num as t rel=1)"],
)  # fmt: skip
def test_a_mask_that_is_none_is_said_so(text):
    with pytest.raises(masks.BadMask):
        masks.parse(text)


def test_what_stood_there_is_captured():
    found = matching.match(
        masks.parse("t = (num as t) s, (any as who) (re /x+/ as x)"), "t =   1.5 s, Ada L xx", {}
    )
    assert dict(found.captures) == {"t": "1.5", "who": "Ada L", "x": "xx"}
    assert matching.match(masks.parse(r"(?P<n>\d+) s (re)"), "12 s", {}).captures == (("n", "12"),)


def test_a_value_is_not_a_regex():
    assert matching.match(masks.parse("${N} (re)"), "4+", {"N": "4+"})
    assert matching.match(masks.parse("${N} (re)"), "44", {"N": "4+"}) is None


@pytest.mark.parametrize(
    ("prompt", "line", "there"),
    [
        ("(gdb)", "(gdb) ", True), (">>>", "foo>>> ", True), ("In [3]:", "In [12]: ", True), ("", "anything", True),
        ("(gdb)", "(gdb) bt", False), (">>>", "...", False), ("Name (re /.+/):", "Name x:", True),
        (">>", ">>> ", True), ("mysql", "mysql> ", True), ("gdb", "(gdb) ", False), (">>", "... ", False),
    ],
)  # fmt: skip
def test_a_prompt_stands_last(prompt, line, there):
    assert matching.stands(prompt, line, {}) is there


def test_many_masks_on_a_long_line_take_no_time():
    begun = time.perf_counter()
    assert matching.match(masks.parse("(any)a" * 20 + "b"), "a" * 20_000, {}) is None
    assert matching.match(masks.parse("*a" * 20 + "b (glob)"), "a" * 20_000, {}) is None
    assert matching.match(masks.parse("(time) x"), "1m " * 7000, {}) is None
    assert time.perf_counter() - begun < 30  # exponential would be for ever


def test_a_regex_that_python_would_warn_of_is_used_quietly(recwarn):
    assert matching.match(masks.parse(r"(?P<x>[[a]+) (re)"), "[a", {}).captures == (("x", "[a"),)
    assert not recwarn.list
