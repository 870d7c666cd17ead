"""Tables, JSON, JUnit, CSV; and the combinations of a matrix."""

import csv
import io
import json
from xml.etree import ElementTree

import pytest

from gshell.errors import UsageError
from gshell.replay import gst, judge, matrix, report
from gshell.replay.script import Seen

SCRIPT = gst.read("@param N=1\n$ run ${N}\nt = (num as t)\nok\n[0]\n(gdb)> bt\n> x\n", "x.gst")


def run(second="ok", params=(("N", "4"),), **more):
    seens = [
        Seen(("t = 1.5", second), status=0, elapsed_s=0.4, sync="osc133"),
        Seen(("#0",), elapsed_s=0.1, sync="text"),
    ]
    verdicts = tuple(judge.judge(step, seen, {}) for step, seen in zip(SCRIPT.steps, seens))
    return report.Run(SCRIPT, verdicts, params, 1.25, **more)


def test_a_table_has_a_line_per_step_and_the_diff():
    text = report.table(run("ko\x1b[2J"))
    assert text.splitlines()[:5] == [
        "   STEP        SYNC      TIME  RESULT",
        "✘  $ run ${N}  osc133  0.40 s  1 changed",
        "·  (gdb)> bt   text    0.10 s",
        "·  > x         -            -  not done",
        "",
    ]
    assert "step 1  x.gst:2" in text
    assert "+ko\\x1b[2J" in text
    assert text.splitlines()[-1] == "✘ x.gst  N=4  2 of 3 steps, 1 difference, 1.2 s  t=1.5"
    assert "FAIL" in report.table(run("ko"), ascii_only=True)


def test_json_has_a_schema_and_every_difference():
    value = json.loads(report.as_json([run("ko"), run()]))
    assert (value["schema"], value["ok"], len(value["runs"])) == (1, False, 2)
    (wrong,) = value["runs"][0]["steps"][0]["differences"]
    assert wrong == {"what": "line", "line": 4, "expected": "ok", "seen": "ko"}
    assert value["runs"][0]["captures"] == {"t": "1.5"}


def test_junit_is_xml_whatever_was_printed():
    text = report.junit_of([run("<&\"'>\x1b\x00\ufffe]]>\ud800é"), run(error="lost\x07 it")])
    root = ElementTree.fromstring(text.encode("utf-8", "surrogatepass"))
    assert [root.get(name) for name in ("tests", "failures", "errors", "skipped")] == [
        "6",
        "1",
        "1",
        "1",
    ]
    failure = root.find(".//failure")
    assert "<&\"'>\\x1b\\x00\\xfffe]]>\\xd800é" in failure.text
    assert [case.get("name") for case in root.iter("testcase")][:3] == [
        "1 $ run ${N}",
        "2 (gdb)> bt",
        "3 > x",
    ]


def test_csv_has_a_row_per_combination():
    rows = list(
        csv.reader(io.StringIO(report.csv_of([run(), run("ko", (("N", "2"), ("C", "a,b")))])))
    )
    assert rows == [
        ["N", "C", "t", "elapsed_s", "ok"],
        ["4", "", "1.5", "1.250", "0"],
        ["2", "a,b", "1.5", "1.250", "0"],
    ]
    played = [({"N": "4"}, run().verdicts)]
    assert report.csv(SCRIPT, played).splitlines()[1] == "4,1.5,0.500,0"
    assert report.junit(SCRIPT, played).count("<testcase") == 3
    assert report.matrix_table([run(), run()]).splitlines()[0] == "N  t    SECONDS  RESULT"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("N=1,2 C=S,W", [("1", "S"), ("1", "W"), ("2", "S"), ("2", "W")]), ("N=1..3", [("1",), ("2",), ("3",)]), ("N=3..1,9", [("3",), ("2",), ("1",), ("9",)]),
        ("A='x y','a,b'", [("x y",), ("a,b",)]), ("A=,x", [("",), ("x",)]), ("A=x=y", [("x=y",)]),
    ],
)  # fmt: skip
def test_a_matrix_is_every_combination(text, found):
    assert [tuple(one.values()) for one in matrix.combinations(text)] == found


@pytest.mark.parametrize(
    "text", ["", "N", "N=", "1=2", "N=1 N=2", "A=1..999999999", "A=1..200 B=1..200"]
)
def test_a_matrix_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="--matrix"):
        matrix.combinations(text)
