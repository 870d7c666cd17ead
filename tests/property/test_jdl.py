"""Job descriptions: nothing but a JdlError comes of any text, and what is written means the same."""

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gshell.jdl import words
from gshell.jdl.errors import JdlError
from gshell.jdl.graph import cycle, order
from gshell.jdl.job import read
from gshell.jdl.parse import parse, parse_expression
from gshell.jdl.steps import requests
from gshell.jdl.syntax import (
    BINARY,
    RESERVED,
    UNARY,
    UNDEFINED,
    Binary,
    Call,
    Cond,
    Index,
    Items,
    Literal,
    Ref,
    Unary,
    write,
)  # fmt: skip

BRIEFLY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PIECES = st.sampled_from(
    ["Executable", "=", '"x"', ";", "[", "]", "{", "}", "(", ")", ",", "Nodes", "Type", '"DAG"', "1", "-",
     "other", ".", "==", "&&", "Requirements", "Rank", "Parameters", "InputSandbox", "root", "\n", "//", "#",
     "/*", "*/", '"', "'", "\\", "?", ":", "is", "true", "_PARAM_", "JobType", '"Parallel"', "CpuNumber",
     "Dependencies", "Interactive", "InteractiveAgent", '"i2glogin"', "\0", "\u00e9"]
)  # fmt: skip
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}", fullmatch=True)
plain = names.filter(lambda name: name.lower() not in RESERVED)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
odd = texts.filter(lambda text: text and "\n" not in text)
literals = st.one_of(
    st.booleans(), st.integers(0, (1 << 63) - 1), texts, st.just(UNDEFINED),
    st.floats(0, 1e300, allow_nan=False, allow_subnormal=False),
).map(Literal)  # fmt: skip


def deeper(inner):
    return st.one_of(
        st.builds(Ref, plain | odd, inner.filter(lambda e: not isinstance(e, Literal))),
        st.builds(Index, inner, inner),
        st.builds(Call, plain, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Unary, st.sampled_from(UNARY), inner),
        st.builds(Binary, st.sampled_from(sorted(BINARY)), inner, inner),
        st.builds(Cond, inner, inner, inner),
        st.builds(Items, st.lists(inner, max_size=3).map(tuple)),
    )


exprs = st.recursive(st.one_of(literals, st.builds(Ref, plain | odd)), deeper, max_leaves=8)


@BRIEFLY
@given(st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=60).map(" ".join)))
def test_any_text_is_a_description_or_a_jdl_error(text):
    try:
        requests(read(text, "f"), lambda word: [word])
    except JdlError as found:
        error = found
    else:
        return
    assert error.message
    assert error.at.line <= text.count("\n") + 1


@BRIEFLY
@given(exprs)
def test_what_is_written_is_read_back_as_it_was(expr):
    assert parse_expression(write(expr)) == expr


@BRIEFLY
@given(st.dictionaries(plain, exprs, min_size=1, max_size=5))
def test_an_ad_s_order_is_kept(entries):
    unique = {name.lower(): (name, value) for name, value in entries.items()}
    text = "".join(f"{name} = {write(value)};" for name, value in unique.values())
    ad, found = parse(text)
    assert [(one.name, one.value) for one in ad.entries] == list(unique.values())
    assert found == []


@BRIEFLY
@given(st.text(st.sampled_from("ab $V{}'\"\\&|<>;`\t()"), max_size=12))
def test_arguments_are_words_or_a_reason(text):
    try:
        found = words.split(text)
    except ValueError as error:
        why = str(error)
    else:
        why = words.argv([words.plain("x"), *found])[0]
        assert why in ("x", "/bin/sh")
    assert why


@BRIEFLY
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_a_graph_has_a_circle_or_an_order(edges):
    after = {str(n): [] for n in range(7)}
    for earlier, later in edges:
        after[str(later)].append(str(earlier))
    found = cycle(after)
    if found:
        assert found[0] == found[-1]
        for earlier, later in itertools.pairwise(found):
            assert earlier in after[later]
    else:
        place = {name: i for i, name in enumerate(order(after))}
        assert all(place[before] < place[name] for name in after for before in after[name])


def test_the_library_computes_what_we_write():
    classad2 = pytest.importorskip("classad2")

    @BRIEFLY
    @given(exprs)
    def same(expr):
        classad2.ExprTree(write(expr))

    same()
