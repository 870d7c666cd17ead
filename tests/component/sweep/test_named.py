"""What a program's outputs are called, and which points that were."""

import contextlib

from gshell.sweep import ParamSweeper, slugify, sweep
from gshell.sweep.results import read_outputs
from kit.execoleft import left_by_execo

LU = " Class           =    {size}\n Time in seconds =   0.5\n Verification    =   SUCCESSFUL\n"


def test_points_are_those_of_the_sweeper_with_their_types_and_capitals(tmp_path):
    points = sweep({"size": ["S", "W"], "cluster": ["one.a-fe", "two.b-fe"], "n_core": [1, 16]})
    sweeper = ParamSweeper(tmp_path / "sweeps", points)
    for point in points:
        (tmp_path / f"{slugify(point)}.out").write_text(LU.format(**point))
        sweeper.done(point)
    table = read_outputs(tmp_path)
    assert table.factors == ["size", "cluster", "n_core"]
    found = [{name: row[name] for name in table.factors} for row in table.rows]
    assert sorted(found, key=str) == sorted(map(dict, points), key=str)


def test_what_no_sweeper_knows_is_as_its_name_tells(tmp_path):
    (tmp_path / "size-s-n_core-2.out").write_text(LU.format(size="S"))
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "sweep.sqlite").write_bytes(b"no sweeper's")
    (row,) = read_outputs(tmp_path).rows
    assert (row["size"], row["n_core"]) == ("s", 2)


def test_a_name_of_two_points_is_none_of_them(tmp_path):
    sweeper = ParamSweeper(tmp_path / "sweeps", sweep({"size": ["s", "S"]}))
    while point := sweeper.get_next():
        sweeper.done(point)
    (tmp_path / "size-s.out").write_text(LU.format(size="S"))
    (row,) = read_outputs(tmp_path).rows
    assert row["size"] == "s"


def test_points_of_execo_s_sweeper_are_known_too_also_when_ours_went_on(tmp_path):
    points = sweep({"size": ["S", "W"], "n_core": [1, 2]})
    left_by_execo(tmp_path / "sweeps", [], points[:2])
    for point in points:
        (tmp_path / f"{slugify(point)}.out").write_text(LU.format(**point))
    of_execo = read_outputs(tmp_path)
    assert [row["size"] for row in of_execo.rows] == ["S", "S", "w", "w"]
    with contextlib.closing(ParamSweeper(tmp_path / "sweeps", points)) as sweeper:
        while point := sweeper.get_next():
            sweeper.done(point)
    assert [row["size"] for row in read_outputs(tmp_path).rows] == ["S", "S", "W", "W"]
