"""A recording's file: whole lines whatever happens, and nobody else's."""

from __future__ import annotations

import json
import random
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gshell.cast.format import Header
from gshell.cast.recorder import Recorder, timed
from gshell.client.recording import Tape
from gshell.client.recordspec import RecordSpec
from gshell.errors import GshellError, UsageError

WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from gshell.cast.format import Header
from gshell.cast.recorder import Recorder
from gshell.client.recording import Tape
from gshell.client.recordspec import RecordSpec
tape = Tape(sys.argv[2], RecordSpec(sys.argv[2]), lambda tape, why: None)
recorder = Recorder(tape.write, Header(80, 24))
for number in range(10 ** 9):
    recorder.output(number / 1000, b"%d \\xe2\\x82\\xac" % number + b"x" * (number * 37 % 5000))
    sys.stdout.write(f"{number}\\n"); sys.stdout.flush()
"""


def tape(path: Path, **more: bool) -> Tape:
    return Tape(str(path), RecordSpec(str(path), **more), lambda tape, why: broke.append(why))  # type: ignore[arg-type]


broke: list[str] = []


def record(path: Path, text: bytes, **more: bool) -> None:
    one = tape(path, **more)
    recorder = Recorder(one.write, Header(80, 24, one.version), resumed_at=one.resumed_at)
    recorder.output((one.resumed_at or 0.0) + 1.0, text)
    one.close()


def events(path: Path) -> list[list[object]]:
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


def test_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    record(tmp_path / "a", b"x")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    record(tmp_path / "a", b"first")
    with pytest.raises(UsageError, match="is there already"):
        tape(tmp_path / "a")
    record(tmp_path / "a", b"second", overwrite=True)
    assert events(tmp_path / "a") == [[1.0, "o", "second"]]


@pytest.mark.parametrize("torn", [b"", b'[3.0, "o", "ha'])
def test_what_is_appended_goes_on_in_time(tmp_path: Path, torn: bytes) -> None:
    record(tmp_path / "a", b"first")
    with open(tmp_path / "a", "ab") as file:
        file.write(torn)
    record(tmp_path / "a", b"second", append=True)
    assert events(tmp_path / "a") == [[1.0, "o", "first"], [2.0, "o", "second"]]


def test_to_something_else_nothing_is_appended(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a diary\n")
    with pytest.raises(UsageError, match="no asciicast"):
        tape(tmp_path / "a", append=True)
    assert (tmp_path / "a").read_text() == "a diary\n"


def test_where_nothing_can_be_written_is_an_error_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(GshellError, match="cannot record"):
        tape(tmp_path / "none" / "a")


def test_a_recording_of_nothing_is_not_left_behind(tmp_path: Path) -> None:
    tape(tmp_path / "a").close()
    assert not (tmp_path / "a").exists()


def test_a_full_disk_ends_it_with_a_whole_line_and_one_message(tmp_path: Path) -> None:
    broke.clear()
    one = tape(tmp_path / "a")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
        recorder = Recorder(one.write, Header(80, 24))
        for number in range(100):
            recorder.output(number, b"x" * 999)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    one.close()
    assert len(broke) == 1
    assert (tmp_path / "a").read_bytes().endswith(b"\n")
    assert len(events(tmp_path / "a")) == 9


def test_who_is_killed_loses_one_event_at_most(tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    luck = random.Random(seed)
    root = str(Path(__file__).parents[3])
    for turn in range(4):
        path = tmp_path / str(turn)
        argv = [sys.executable, "-I", "-S", "-c", WRITER, root, str(path)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            said = 0
            for _ in range(luck.randrange(1, 300)):
                said = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            for line in process.stdout:
                said = int(line)
        lines = path.read_bytes().split(b"\n")
        kept = [json.loads(line) for line in lines[1:-1]]
        assert len(kept) >= said
        assert [int(event[2].partition(" ")[0]) for event in kept] == list(range(len(kept)))


def test_the_past_is_spread_over_the_spans_in_which_it_came() -> None:
    marks = [[100.0, 101.0, 0.0], [110.0, 110.0, 10.0]]
    found = timed(marks, 0, b"0123456789tail")
    assert found == [(100.0, b"0123456789"), (110.0, b"tail")]
    assert timed(marks, 12, b"il") == [(110.0, b"il")]
