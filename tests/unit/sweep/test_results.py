"""Results out of text, tables, and the plots that are made of them."""

import contextlib
import json
import re
import sys
import time
from types import SimpleNamespace

import pytest

from gshell.cli import sweep as cli
from gshell.errors import UsageError
from gshell.sweep import attempts, figures, plots, results, textplot
from gshell.sweep.experiment import Capture
from gshell.sweep.judging import shown as told
from gshell.sweep.keys import key_of
from gshell.sweep.results import Table, captured, points_of, read_table, spread
from gshell.sweep.space import HashableDict, sweep

NPB33 = """
 NAS Parallel Benchmarks 3.3 -- LU Benchmark

 Size:   12x  12x  12
 Verification Successful


 LU Benchmark Completed.
 Class           =                        S
 Size            =             12x  12x  12
 Iterations      =                       50
 Time in seconds =                     0.02
 Total processes =                        1
 Compiled procs  =                        1
 Mop/s total     =                  4172.49
 Mop/s/process   =                  4172.49
 Operation type  =           floating point
 Verification    =               SUCCESSFUL
 Version         =                    3.3.1
"""
NPB34 = NPB33.replace("Compiled procs", "Active procs  ").replace("3.3", "3.4")
WANTED = {
    "npb_class": "S", "grid": "12x12x12", "iterations": 50, "seconds": 0.02, "processes": 1,
    "mops": 4172.49, "mops_per_process": 4172.49, "verified": True,
}  # fmt: skip


@pytest.mark.parametrize("text", [NPB33, NPB34])
def test_the_result_block_of_npb(text):
    assert results.parse_npb(text) == WANTED


def test_more_digits_are_taken_where_there_are_some_and_asterisks_are_no_number():
    ours = NPB33.replace("Mop/s total", "Elapsed seconds =                 0.021234\n Mop/s total")
    assert results.parse_npb(ours)["seconds"] == 0.021234
    full = NPB33.replace("    4172.49\n", "************\n").replace("SUCC", "UNSUCC")
    found = results.parse_npb(full)
    assert "mops" not in found
    assert found["verified"] is False
    assert results.parse_npb("Segmentation fault\n") == {}


def test_of_several_blocks_the_last_counts():
    assert results.parse_npb(NPB33 + NPB33.replace("0.02", "0.03"))["seconds"] == 0.03


@pytest.mark.parametrize(
    ("which", "value"),
    [("last", 3), ("first", 1), ("min", 1), ("max", 10.0), ("sum", 14.0), ("count", 3),
     ("mean", pytest.approx(14 / 3))],
)  # fmt: skip
def test_captures(which, value):
    one = Capture(re.compile(r"^t=(\S+)", re.MULTILINE), which)
    assert results.captured("t=1\nt=1.0D+01\nt=3\n", {"t": one}) == {"t": value}
    assert results.captured("nothing", {"t": one}) == ({"t": 0} if which == "count" else {})


def test_names_of_files_as_points():
    names = ["cluster-petit-n_core-4-size-a", "cluster-grand-n_core-16-size-b"]
    assert points_of(names) == [
        {"cluster": "petit", "n_core": 4, "size": "a"},
        {"cluster": "grand", "n_core": 16, "size": "b"},
    ]
    assert points_of(["cluster-petit-prince-n_core-4-size-a", names[1]]) == [
        {"cluster": "petit-prince", "n_core": 4, "size": "a"},
        {"cluster": "grand", "n_core": 16, "size": "b"},
    ]
    assert points_of(["one"]) == [{"name": "one"}]
    assert points_of([]) == []


def test_a_directory_as_execo_leaves_it(tmp_path):
    for cluster, text in (("petit", NPB33), ("grand", "mpirun: no such host\n")):
        (tmp_path / f"cluster-{cluster}-n_core-4-size-s.out").write_text(text)
    (tmp_path / "cluster-petit-n_core-4-size-s.failed-1.out").write_text("")
    table = results.read_outputs(tmp_path)
    assert table.factors == ["cluster", "n_core", "size"]
    assert table.rows == [
        {"cluster": "grand", "n_core": 4, "size": "s"},
        {"cluster": "petit", "n_core": 4, "size": "s", **WANTED},
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="has no results"):
        results.read_outputs(tmp_path / "empty")


def test_tables_come_back_from_csv_and_json_lines(tmp_path):
    table = Table([{"n": 1, "x": 0.5, "good": True, "t": 'a,"b"'}, {"n": 2, "x": None}], ["n"])
    for name in ("t.csv", "t.jsonl"):
        table.write(tmp_path / name)
        rows = results.read_table(tmp_path / name).rows
        assert [{k: v for k, v in row.items() if v is not None} for row in rows] == [
            {"n": 1, "x": 0.5, "good": True, "t": 'a,"b"'}, {"n": 2},
        ]  # fmt: skip
    assert not list(tmp_path.glob("*.part"))
    with pytest.raises(UsageError, match=r"\.csv, \.jsonl or \.parquet"):
        table.write(tmp_path / "t.xls")


def test_parquet_where_there_is_pyarrow(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [
        {"n": 1, "x": 2, "size": "S", "ok": True, "most": 10**30, "mixed": 1, "name": "caf\udce9"},
        {"n": 2, "x": 0.5, "size": None, "ok": False, "most": 1, "mixed": True, "name": "é"},
    ]
    name = tmp_path / "x.parquet"
    Table(rows, ["n"]).write(name)
    types = {field.name: str(field.type) for field in parquet.read_schema(name)}
    assert types == {
        "n": "int64", "x": "double", "size": "string", "ok": "bool", "most": "string",
        "mixed": "string", "name": "string",
    }  # fmt: skip
    assert read_table(name).rows == [
        {**rows[0], "x": 2.0, "most": str(10**30), "mixed": "1", "name": "caf\ufffd"},
        {**rows[1], "most": "1", "mixed": "true"},
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]
    name.write_bytes(b"PAR1")
    with pytest.raises(UsageError, match=r"x\.parquet"):
        read_table(name)


def test_without_pyarrow_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match="no Parquet without pyarrow") as caught:
        Table([{"n": 1}]).write(tmp_path / "x.parquet")
    assert caught.value.hint == "pip install 'gshell[parquet]'"


def test_a_result_never_hides_a_factor():
    assert results.row_of({"processes": 4}, {"processes": 2, "seconds": 1.0}) == {
        "processes": 4, "processes_found": 2, "seconds": 1.0,
    }  # fmt: skip


def test_unverified_runs_do_not_count_beside_verified_ones():
    rows = [{"n": 1, "s": s, "verified": v} for s, v in ((1, True), (3, True), (99, False))]
    assert results.spread(rows, ["n"], "s") == {(1,): (2, 1, 3, 2, False)}


# ------------------------------------------------------------------------------------ plots


def lu(clusters=("petit",), sizes=("S", "W"), repetitions=3):
    return Table(
        [
            {"cluster": cluster, "size": size, "ranks": ranks, "repetition": n,
             "seconds": (1 + 9 * (size == "W")) / ranks + n / 100, "mops": 1000.0 * ranks,
             "verified": (size, ranks) != ("W", 4)}
            for cluster in clusters for size in sizes for ranks in (1, 2, 4)
            for n in range(repetitions)
        ],
        ["cluster", "size", "ranks", "repetition"],
    )  # fmt: skip


def guessed(table, **said):
    return figures.layout(table, *(said.get(key) for key in ("x", "lines", "figures", "values")))


def test_a_figure_for_each_cluster_and_a_line_for_each_size():
    made = guessed(lu(clusters=("petit", "grand")))
    assert made.x == "ranks"
    assert [figure.title for figure in made.figures] == ["cluster petit", "cluster grand"]
    panels = made.figures[0].panels
    assert [panel.title for panel in panels] == ["time (s)", "Mop/s", "speed-up", "efficiency"]
    assert [line.name for line in panels[0].lines] == ["size S", "size W"]
    mark = panels[0].lines[0].marks[1]
    assert (mark.x, mark.y) == (2.0, pytest.approx((0.51, 0.50, 0.52, 3, True)))


def test_speed_up_and_efficiency_are_against_the_fewest_ranks():
    rows = [{"ranks": n, "seconds": s} for n, s in ((2, 8.0), (4, 4.0), (8, 4.0))]
    made = guessed(Table(rows, ["ranks"]))
    speedup, efficiency = made.figures[0].panels[1:]
    assert [mark.y.median for mark in speedup.lines[0].marks] == [2.0, 4.0, 4.0]
    assert [mark.y.median for mark in efficiency.lines[0].marks] == [1.0, 1.0, 0.5]


def test_axes_are_in_powers_where_that_fits():
    panels = guessed(lu()).figures[0].panels
    assert [(panel.log_x, panel.log_y) for panel in panels] == [
        (True, True), (True, False), (True, True), (True, False),
    ]  # fmt: skip
    flat = Table([{"n": n, "seconds": 1.0} for n in (1, 2, 3, 4)], ["n"])
    assert not guessed(flat).figures[0].panels[0].log_x


def test_other_axes_are_as_they_are_said_and_typos_are_told():
    made = guessed(lu(), x="size", values=["mops"], lines=["ranks"])
    assert made.x_labels == {0.0: "S", 1.0: "W"}
    assert [line.name for line in made.figures[0].panels[0].lines] == [
        "MPI ranks 1", "MPI ranks 2", "MPI ranks 4",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="there is no column 'secnds'; did you mean 'seconds'"):
        guessed(lu(), values="secnds")
    with pytest.raises(UsageError, match="nothing to plot"):
        guessed(Table([{"n": 1, "word": "x"}], ["n"]))


@pytest.mark.parametrize("width", [30, 60, 99])
@pytest.mark.parametrize("plain", [True, False])
def test_drawn_with_characters_it_fits_and_has_all_marks(width, plain):
    text = textplot.draw(guessed(lu(sizes=("S",))), width, color=False, plain=plain)
    assert max(len(line) for line in text.splitlines()[:-1]) <= width
    assert text.isascii() is plain
    assert text.count("o" if plain else "●") >= 12
    assert "not verified" not in text
    marked = textplot.draw(guessed(lu()), width, color=False, plain=plain)
    assert marked.count("!" if plain else "✗") >= 4
    assert "not verified" in marked


def test_one_point_and_equal_values_are_drawn_too():
    for rows in ([{"n": 1, "seconds": 0.0}], [{"n": n, "seconds": 2.0} for n in (1, 2)]):
        made = guessed(Table(rows, ["n"]))
        assert "time (s)" in textplot.draw(made, 60, color=True, plain=False)


@pytest.mark.parametrize(("ending", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_files_of_plots(tmp_path, ending, magic):
    pytest.importorskip("matplotlib")
    made = guessed(lu(clusters=("petit", "grand"), repetitions=2))
    written = plots.write(made, str(tmp_path / f"lu.{ending}"), "lu")
    assert [name.rpartition("/")[2] for name in written] == [
        f"lu-cluster-petit.{ending}", f"lu-cluster-grand.{ending}",
    ]  # fmt: skip
    data = (tmp_path / f"lu-cluster-petit.{ending}").read_bytes()
    assert data.startswith(magic)
    if ending == "svg":
        for words in (b"speed-up", b"size W", b"not verified", b"ideal", b"median of 2 runs"):
            assert words in data
    with pytest.raises(UsageError, match=r"\.png, \.svg, \.pdf"):
        plots.write(made, str(tmp_path / "lu.gif"), "lu")


# --------------------------------------------------------------------------------- how far it is


def test_a_log_that_a_death_has_cut_is_read_as_far_as_it_goes(tmp_path):
    log = attempts.Log(str(tmp_path))
    key = key_of({"n": 1})
    log.add({"what": "begun", "point": key, "slug": "n-1", "attempt": 1, "at": 5.0})
    with open(tmp_path / attempts.FILE, "ab") as file:
        file.write(b'00000000 {"what": "done"')
    log.add({"what": "failed", "point": key, "why": "exit 1", "at": 6.0})
    one = attempts.History(log).of({"n": 1})
    assert (one.state, one.attempts, one.failures, one.why) == ("failed", 1, 1, "exit 1")


def test_the_time_that_is_left_is_that_of_the_points_most_alike(tmp_path):
    log = attempts.Log(str(tmp_path))
    points = [HashableDict(size=s, repetition=n) for n in (1, 2) for s in ("S", "W")]
    for point, seconds in zip(points[:2], (1.0, 60.0), strict=True):
        key = key_of(point)
        log.add({"what": "begun", "point": key, "slug": key, "attempt": 1, "at": 0.0})
        log.add({"what": "done", "point": key, "seconds": seconds, "found": {"mops": seconds}})
    key = key_of(points[3])
    log.add({"what": "begun", "point": key, "slug": "w", "attempt": 1, "at": 100.0})
    history = attempts.History(log)
    now = attempts.progress(points, history, 3, 120.0, live=True, best="max mops")
    assert (now.done, now.left, now.running) == (2, 1, [("w", 100.0, "")])
    assert now.eta_s == 1.0 + (60.0 - 20.0)
    assert now.best == (60.0, key_of(points[1]))
    dead = attempts.progress(points, history, 3, 120.0, live=False)
    assert (dead.left, dead.running, dead.eta_s) == (2, [], None)


def test_the_line_at_the_bottom_says_what_matters_most_in_any_width():
    now = attempts.Progress(
        total=1200, done=345, failed=[("x", "exit 1")] * 3, skipped=[],
        running=[("cluster-petit-n_core-4-size-a", time.time() - 65, "here")] * 2, left=850,
        retried=0, eta_s=3700.0, best=(4172.5, "y"),
    )  # fmt: skip
    one = SimpleNamespace(best="max mops")
    for width in range(10, 160):
        line = cli._line(now, one, width)
        assert len(line) <= width
        assert width < 15 or "345/1200 done" in line
        assert width < 26 or "3 failed" in line
        assert width < 45 or " left" in line
        assert width < 59 or "best 4172.5" in line
        assert width < 100 or "running cluster-" in line
    assert cli._line(now, one, 150).endswith(
        "running cluster-petit-n_core-4-size-a and 1 more, 0:01:05"
    )


def test_how_much_is_left_is_known_soon_of_very_many_points_too():
    points = sweep({"a": range(100), "b": range(100)})
    history = attempts.History(attempts.Log("/nonexistent"))
    for point in points[:3000]:
        key = key_of(point)
        history.fold({"what": "begun", "point": key, "slug": key, "attempt": 1, "at": 1.0})
        history.fold({"what": "done", "point": key, "seconds": 2.0})
    begun = time.process_time()
    now = attempts.progress(points, history, 3, 5.0, True, slots=2.0)
    assert now.eta_s == pytest.approx(7000.0)
    assert time.process_time() - begun < 5  # was 14000 points with 3000 each: minutes


def test_a_number_that_is_none_is_no_best_and_no_json():
    points = sweep({"n": [1, 2]})
    history = attempts.History(attempts.Log("/nonexistent"))
    for point, mops in zip(points, (float("nan"), 5.0), strict=True):
        found = {"mops": mops}
        history.fold({"what": "done", "point": key_of(point), "seconds": 1.0, "found": found})
    assert attempts.progress(points, history, 3, 5.0, True, best="max mops").best[0] == 5.0
    assert json.loads(Table([{"x": float("nan")}]).json_lines()) == {"x": None}
    assert spread([{"x": 1, "y": float("inf")}, {"x": 1, "y": 2.0}], ["x"], "y")[(1,)].runs == 1


def test_a_group_that_took_no_part_found_nothing():
    one = Capture(re.compile(r"t(?:ime)?(?: = (\d+))?"))
    assert captured("time = 7\nt\n", {"seconds": one}) == {"seconds": 7}


def of_words(rows):
    return Table([dict(zip(("cluster", "size", "n", "seconds"), row, strict=True)) for row in rows])


def test_a_line_has_one_colour_in_all_figures():
    made = figures.layout(
        of_words([("a", "S", 1, 2.0), ("a", "W", 1, 3.0), ("b", "W", 1, 4.0)]), *4 * [None]
    )
    assert [
        (figure.title, [(line.name, line.number) for line in figure.panels[0].lines])
        for figure in made.figures
    ] == [("cluster a", [("size S", 0), ("size W", 1)]), ("cluster b", [("size W", 1)])]


def test_of_a_table_that_does_not_say_it_words_are_factors_but_not_those_that_say_nothing_new():
    rows = [
        {"size": size, "ranks": ranks, "grid": grid, "processes": ranks, "seconds": 1.0}
        for size, grid in (("S", "12x12"), ("W", "33x33")) for ranks in (1, 2, 4)
    ]  # fmt: skip
    made = figures.layout(Table(rows), *4 * [None])
    assert made.x == "ranks"
    assert [line.name for line in made.figures[0].panels[0].lines] == ["size S", "size W"]


@pytest.mark.parametrize(("width", "height"), [(79, 24), (100, 30), (160, 50)])
def test_a_figure_fits_on_the_screen(width, height):
    rows = [("a", size, n, 2.0 / n) for size in "SWABC" for n in (1, 2, 4)]
    table = Table([{**row, "mops": 1 / row["seconds"]} for row in of_words(rows).rows])
    made = figures.layout(table, *4 * [None])
    lines = textplot.draw(made, width, color=False, plain=False, height=height).splitlines()
    assert len(made.figures[0].panels) == 4
    assert height - 10 <= len(lines) < height
    assert max(map(len, lines)) <= width


def test_labels_stand_under_their_places_or_not_at_all():
    table = Table([{"n": n, "y": n} for n in (*range(1, 14), 50, 100)], ["n"])
    text = textplot.draw(figures.layout(table, *4 * [None]), 60, color=False, plain=True)
    *_, axis, labels, _ = text.splitlines()
    for found in re.finditer(r"\d+", labels):
        assert "+" in axis[found.start() : found.end() + 1]


def test_units_are_said():
    assert figures.title_of("latency_us") == "latency (us)"
    assert figures.title_of("bytes_sent") == "bytes sent"
    assert figures.title_of("seconds") == "time (s)"


def test_two_figures_of_one_slug_are_two_files():
    made = figures.layout(of_words([("A", "S", 1, 2.0), ("a", "S", 1, 3.0)]), *4 * [None])
    assert plots._names(made, "x", ".svg") == ["x-cluster-a.svg", "x-cluster-a-2.svg"]


def test_tables_of_others_are_read_too(tmp_path):
    """With a byte order mark, short lines, truths as Python writes them, cells of any length."""
    file = tmp_path / "t.csv"
    long = "x" * 200_000
    file.write_text(f"\ufeffn,seconds,verified,note\n1,2.5,True,{long}\n2,1_0,FALSE\n3\n")
    first, second, third = read_table(file).rows
    assert first == {"n": 1, "seconds": 2.5, "verified": True, "note": long}
    assert second == {"n": 2, "seconds": "1_0", "verified": False, "note": None}
    assert third == {"n": 3, "seconds": None, "verified": None, "note": None}
    file.write_bytes(b"n;seconds\r\n1;2.5\r\n")
    assert read_table(file).rows == [{"n": 1, "seconds": 2.5}]


def test_lines_of_json_may_have_more_in_them_and_others_are_refused(tmp_path):
    file = tmp_path / "t.jsonl"
    file.write_text('{"n": 1, "of": ["a\u2028b"]}\n\n')
    assert read_table(file).rows == [{"n": 1, "of": '["a\\u2028b"]'}]
    file.write_text("[1]\n")
    with pytest.raises(UsageError, match=r"each line is an object, not \[1\]"):
        read_table(file)


HUGE = "9" * 400


@pytest.mark.parametrize("which", ["first", "last", "min", "max", "sum", "mean", "count"])
def test_numbers_of_any_size_are_captured(which):
    capture = Capture(re.compile(r"= (\S+)"), which)
    captured(f"= {HUGE}\n= 1e308\n= 1e308\n= -1e400\n= nan\n= {HUGE}e9\n", {"x": capture})


def test_what_is_best_may_be_a_word_or_beyond_all_numbers():
    one = SimpleNamespace(best="max rate")
    assert told(one, {"rate": "12MB/s"}, 1.0) == told(one, {"rate": 10**400}, 1.0)
    assert told(one, {"rate": 12}, 1.0) == "1.0 s, rate 12"


ODD = [0, -3.5, 1e-310, 5e-324, 1e300, -1e300, 1.7e308, float("inf"), float("nan"), 10**400]


@pytest.mark.parametrize("x", ["n", "y"])
@pytest.mark.parametrize("least", range(len(ODD)))
def test_odd_numbers_are_drawn_or_left_out(least, x):
    table = Table([{"n": n, "y": y, "seconds": abs(y)} for n, y in enumerate(ODD[least:], 1)])
    text = ""
    with contextlib.suppress(UsageError):  # nothing is left of them
        made = figures.layout(table, x, None, None, ["seconds", "y", "speedup", "efficiency"])
        text = textplot.draw(made, 79, color=False, plain=True)
    assert max(map(len, text.splitlines()), default=0) <= 79


def test_a_level_of_any_length_is_shown_by_its_beginning():
    table = Table([{"x": "w" * 5000 + str(n), "of": "z" * 5000, "y": n} for n in range(3)], ["x"])
    made = figures.layout(table, "x", "of", None, None)
    assert max(map(len, made.x_labels.values())) <= 40
    assert len(made.figures[0].panels[0].lines[0].name) <= 80
    assert cli._shown("w" * 5000) == "w" * 59 + "…"


def test_two_runs_in_one_second_have_a_directory_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [cli._new("x"), cli._new("x")] == ["x", "x-2"]
