"""``gshell cast ...`` as it is typed."""

import gzip
import io
import json
import subprocess
import sys
import types

import pytest

from gshell.cast.load import load
from gshell.cli.main import main

V2 = (
    '{"version":2,"width":80,"height":24,"timestamp":1767323045,"title":"t\\u001b]0;x\\u0007"}\n'
    '[0.5,"o","one\\r\\n"]\n[1.5,"m","mark\\u009b"]\n[2,"o","\\u001b[31mtwo"]\n[3,"r","100x30"]\n[4,"x","3"]\n'
)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.cast").write_text(V2)
    return tmp_path


def gshell(capfd, *argv):
    status = main(["cast", *argv])
    out, err = capfd.readouterr()
    return status, out, err


def test_info(capfd):
    status, out, err = gshell(capfd, "info", "a.cast")
    assert (status, err) == (0, "")
    for line in ("format    asciicast-v2", "size      80x24, later 100x30", "length    4.00 s",
                 "events    5: 1 markers, 2 output, 1 resizes, 1 exit", r"title     t\x1b]0;x\x07",
                 r"1.50 s  mark\x9b", "exit      3"):  # fmt: skip
        assert line in out
    assert "\x1b" not in out


def test_info_as_json(capfd):
    status, out, _ = gshell(capfd, "info", "--json", "a.cast")
    found = json.loads(out)
    assert (status, found["schema"]) == (0, 1)
    (facts,) = found["casts"]
    assert facts["events"] == {"m": 1, "o": 2, "r": 1, "x": 1}
    assert (facts["duration_s"], facts["exit"], facts["sizes"]) == (4.0, 3, ["80x24", "100x30"])
    assert "\x1b" not in out


def test_a_hostile_name_is_shown_safely(here, capfd):
    name = "a\x1b]0;x\x07\u202e.cast"
    (here / name).write_text(V2 + "junk\n")
    for verb in ("info", "validate", "cat"):
        _, out, err = gshell(capfd, verb, name)
        assert "\x1b" not in out + err
        assert "\u202e" not in out + err
    status, _, err = gshell(capfd, "info", "no\x1bsuch")
    assert (status, "\x1b" in err) == (2, False)
    assert "No such file" in err


def test_validate_says_line_and_reason(here, capfd):
    (here / "b.cast").write_text(V2 + '[5,"o"]\n')
    status, out, _ = gshell(capfd, "validate", "a.cast", "b.cast", "c.cast")
    assert status == 1
    assert out.splitlines() == [
        "a.cast: valid asciicast-v2, 5 events, 4.00 s",
        "b.cast:7: not an event: [time, code, data]",
        "c.cast: No such file or directory",
    ]
    assert gshell(capfd, "validate", "-q", "a.cast") == (0, "", "")
    _, out, _ = gshell(capfd, "validate", "--json", "b.cast")
    assert json.loads(out)["casts"] == [
        {"file": "b.cast", "valid": False, "line": 7, "why": "not an event: [time, code, data]"}
    ]


@pytest.mark.parametrize("name", ["x.cast", "x.json", "x.ttyrec", "x.typescript"])
def test_there_and_back(here, capfd, name):
    assert gshell(capfd, "convert", "-q", "a.cast", name)[0] == 0
    assert gshell(capfd, "convert", "-q", name, "back.cast")[0] == 0
    events = load((here / "back.cast").read_bytes()).cast.events
    wanted = load(V2.encode()).cast.events
    kept = {"x.cast": "omrx", "x.json": "o", "x.ttyrec": "or", "x.typescript": "orx"}[name]
    assert [event for event in events if event.code in kept] == [
        e for e in wanted if e.code in kept
    ]


@pytest.mark.parametrize(
    ("name", "begins"), [("x.svg", "<svg"), ("x.html", "<!DOCTYPE"), ("x.txt", "one\ntwo")]
)
def test_forms_for_eyes(here, capfd, name, begins):
    assert gshell(capfd, "convert", "a.cast", name)[0] == 0
    assert (here / name).read_text().startswith(begins)


def test_a_gzipped_one_is_read(here, capfd):
    (here / "a.cast.gz").write_bytes(gzip.compress(V2.encode()))
    status, out, _ = gshell(capfd, "convert", "a.cast.gz", "-", "--to", "raw")
    assert (status, out) == (0, "one\r\n\x1b[31mtwo")


def test_from_stdin_to_stdout(capfd, monkeypatch):
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(V2.encode())))
    status, out, _ = gshell(capfd, "convert", "--to", "v3", "--speed", "2", "--idle", "1", "-", "-")
    assert status == 0
    assert [event.at_s for event in load(out.encode()).cast.events] == [0.25, 0.75, 1.0, 1.5, 2.0]


def test_cut_and_cat(here, capfd):
    assert gshell(capfd, "cut", "--from", "1.8", "--to", "3", "a.cast", "b.cast")[0] == 0
    cut = load((here / "b.cast").read_bytes()).cast
    assert [(event.at_s, event.code) for event in cut.events] == [
        (0.0, "o"),
        (0.2, "o"),
        (1.2, "r"),
    ]
    status, out, _ = gshell(capfd, "cat", "a.cast", "b.cast")
    assert status == 0
    joined = load(out.encode(), strict=True).cast
    assert joined.duration_s == 5.2
    assert joined.events[-1] == (5.2, "r", "100x30")


def test_a_file_that_is_there_is_replaced_only_when_told(here, capfd):
    (here / "b.svg").write_text("mine")
    status, _, err = gshell(capfd, "convert", "a.cast", "b.svg")
    assert (status, "b.svg: is there already; -f replaces it" in err) == (2, True)
    assert (here / "b.svg").read_text() == "mine"
    assert gshell(capfd, "convert", "-f", "a.cast", "b.svg")[0] == 0
    assert (here / "b.svg").read_text().startswith("<svg")
    assert sorted(path.name for path in here.iterdir()) == ["a.cast", "b.svg"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("convert a.cast b.gif", "does not say which format"),
        ("convert a.cast - --to typescript", "a typescript is two files"),
        ("convert --at 1 a.cast b.html", "--at is for a still"),
        ("convert --speed 0 a.cast b.cast", "not a speed"),
        ("convert --size 80 a.cast b.cast", "not COLUMNSxROWS"),
        ("convert a.cast no/such/place.cast", "cannot be written: No such file"),
        ("cut --from 3 --to 2 a.cast", "--to is before --from"),
        ("cut --from 9 a.cast", "ends after 4.00 s"),
        ("info .", "Is a directory"),
        ("info --as typescript a.cast", "needs its timing file"),
        ("info", "FILE is missing"),
    ],
)
def test_what_is_wrong_is_said(capfd, line, why):
    status, _, err = gshell(capfd, *line.split())
    assert status == 2
    assert why in err


def test_what_is_odd_is_said_once_and_the_rest_is_done(here, capfd):
    (here / "b.cast").write_text(V2 + "junk\n" * 50)
    status, out, err = gshell(capfd, "cat", "b.cast")
    assert status == 0
    assert len(load(out.encode()).cast.events) == 5
    assert "b.cast:7: not JSON" in err
    assert "... and 45 more oddities" in err
    assert gshell(capfd, "cat", "-q", "b.cast")[2] == ""


def test_no_library_beyond_the_standard_one_is_loaded():
    code = "import sys, gshell.cli.casts, gshell.cast.svg, gshell.cast.html; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True
    )
    assert not {"rich", "zmq", "asyncssh", "prompt_toolkit", "asyncio"} & set(ran.stdout.split())
