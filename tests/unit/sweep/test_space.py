"""Points of a sweep and their names. The semantics of execo's users."""

import pickle
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gshell.errors import UsageError
from gshell.sweep.keys import key_of, read
from gshell.sweep.space import (
    HashableDict,
    Points,
    geom,
    igeom,
    slugify,
    sweep,
    sweep_stats,
    unique_slug,
)


def test_a_sweep_is_all_combinations_the_last_factor_fastest():
    assert sweep({"a": [1, 2], "b": ["x", "y"]}) == [
        {"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"},
    ]  # fmt: skip


def test_a_level_may_have_factors_of_its_own():
    assert sweep({"k": {"x": {"p": [1, 2]}, "y": {}}}) == [
        {"k": "x", "p": 1}, {"k": "x", "p": 2}, {"k": "y"},
    ]  # fmt: skip


def test_an_inner_factor_replaces_the_outer_one_and_makes_no_point_twice():
    assert sweep({"a": [1, 2], "k": {"x": {"a": [9]}}}) == [{"a": 9, "k": "x"}]


def test_what_can_be_read_once_is_there_again_for_who_reads_it_again():
    parameters = {"n": filter(lambda n: n > 1, [1, 2, 4]), "size": ["A"]}
    assert len(sweep(parameters)) == 2
    assert list(parameters["n"]) == [2, 4]
    assert list(parameters["n"]) == [2, 4]


def test_a_text_is_one_level_and_so_is_a_number():
    assert sweep({"size": "AB", "n": 3}) == [{"size": "AB", "n": 3}]


def test_a_factor_without_levels_is_named():
    with pytest.raises(UsageError, match="'n' has no levels"):
        sweep({"a": [1], "n": []})


def test_points_are_equal_whatever_the_order_of_their_factors():
    one, other = HashableDict(a=1, b=[2]), HashableDict(b=[2], a=1)
    assert one == other
    assert hash(one) == hash(other)
    assert key_of(one) == key_of(other)
    assert len({one, other}) == 1


def test_points_can_be_handed_to_other_processes():
    one = HashableDict(a=1, b="x")
    one.point = one
    assert pickle.loads(pickle.dumps(one)) == one  # as multiprocessing does it


def test_a_level_without_a_text_of_its_own_is_refused():
    with pytest.raises(UsageError, match="object has no text of its own"):
        key_of({"a": object()})


@pytest.mark.parametrize(
    ("one", "other"),
    [([1], (1,)), ({1: 2}, {"1": 2}), ({"set": [1]}, {1}), (b"x", "b'x'"), (1, "1"), (1, True)],
)
def test_levels_that_are_not_the_same_are_written_down_differently(one, other):
    assert key_of({"a": one}) != key_of({"a": other})


def test_a_name_of_a_file_that_is_no_text_is_a_level_too():
    point = {"file": "caf\udce9", "more": "é"}
    assert key_of(point).encode()
    assert read(key_of(point)) == point


def test_a_level_that_only_its_maker_can_make_again_is_not_read():
    with pytest.raises(UsageError, match=r"Fraction\(1, 3\) is a Fraction"):
        read(key_of({"a": Fraction(1, 3)}))


def test_points_with_lists_are_equal_and_have_one_hash_as_their_levels_do():
    assert hash(HashableDict(a=[1], b={2: [3]})) == hash(HashableDict(a=[True], b={2.0: [3.0]}))


def test_a_number_of_numpy_is_a_number():
    numpy = pytest.importorskip("numpy")
    points = sweep({"n": numpy.arange(1, 3), "x": numpy.float32(0.5)})
    assert [slugify(point) for point in points] == ["n-1-x-05", "n-2-x-05"]
    assert key_of({"n": numpy.int64(1)}) == key_of({"n": 1})


def test_a_set_of_levels_has_one_order():
    assert [p["n"] for p in sweep({"n": {10, 9, 8}})] == [8, 9, 10]
    assert len(sweep({"n": {1, "a", None}})) == 3


@pytest.mark.parametrize("wrong", [["a"], {"k": {"x": [1, 2]}}])
def test_what_are_no_factors_is_said(wrong):
    with pytest.raises(UsageError, match=r"no factors|are none"):
        sweep(wrong)


SIMPLE = (
    st.none() | st.booleans() | st.integers() | st.text() | st.binary()
    | st.floats(allow_nan=False)
)  # fmt: skip
LEVELS = st.recursive(
    SIMPLE,
    lambda some: (
        st.lists(some, max_size=3)
        | st.tuples(some, some)
        | st.frozensets(SIMPLE, max_size=3)
        | st.dictionaries(st.text() | st.integers(), some, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=40)
@given(st.dictionaries(st.text(alphabet="abc_") | st.integers(), LEVELS, max_size=4))
def test_a_point_is_read_back_from_its_key(point):
    assert read(key_of(point)) == point
    assert hash(HashableDict(read(key_of(point)))) == hash(HashableDict(point))


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 3)), max_size=6))
def test_points_are_a_set_in_order(points):
    members = [HashableDict(point) for point in points]
    assert set(Points(members)) == set(members)
    assert list(Points(members)) == list(dict.fromkeys(members))
    assert Points(members) - Points(members[:1]) == set(members) - set(members[:1])
    assert all(point in Points(members) for point in points)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"cluster": "petit", "n_core": 4, "size": "A"}, "cluster-petit-n_core-4-size-a"),
        ("Ünïcode  and -- more", "unicode-and-more"),
        (0.5, "05"),
        (-1, "-1"),
    ],
)
def test_a_slug_is_a_file_name(value, name):
    assert slugify(value) == name


@pytest.mark.parametrize(
    ("separator", "name"), [("-", "a-b-_-c"), ("_", "a--b_-c"), ("+", "a--b+_-c"), ("", "a--b_-c")]
)
def test_a_slug_has_its_separator_for_blanks_and_once(separator, name):
    assert slugify("a--b  _-c", separator) == name


def test_points_of_one_slug_get_different_names():
    taken: list[str] = []
    for point in ({"x": 1}, {"x": -1}, {"X": 1}):
        taken.append(unique_slug(point, taken))
    assert taken == ["x-1", "x-1-2", "x-1-3"]
    assert len(unique_slug({"x": "a" * 1000})) <= 200


def test_geometric_ranges():
    assert geom(1, 100, 3) == pytest.approx([1, 10, 100])
    assert igeom(1, 8, 4) == [1, 2, 4, 8]
    assert igeom(1, 2, 5) == [1, 2]
    with pytest.raises(UsageError, match="from 0 to 8"):
        igeom(0, 8, 4)


def test_how_far_it_is_by_level():
    space = sweep({"n": [1, 2], "size": ["A", "B"]})
    stats = sweep_stats((space, space[1:], [], [], space[:1]))
    assert stats["total"] == {"n": {1: 2, 2: 2}, "size": {"A": 2, "B": 2}}
    assert stats["done_ratio"] == {"n": {1: 0.5, 2: 0.0}, "size": {"A": 0.5, "B": 0.0}}


def test_points_have_the_methods_of_a_set():
    points = Points(sweep({"n": [1, 2, 3]}))
    some = [{"n": 1}, HashableDict(n=9)]
    assert list(points.difference(some)) == [{"n": 2}, {"n": 3}]
    assert list(points.intersection(map(HashableDict, some))) == [{"n": 1}]
    assert len(points.union([HashableDict(n=9)], points)) == 4
    assert points.issuperset([HashableDict(n=1)])
    assert points.copy().issubset(points)
