"""`gshell sweep run, status, list, show, plot` as processes: killed, interrupted, on a terminal."""

import contextlib
import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from kit import sweepkill
from kit.procs import until
from kit.sweepkill import THREE

STAND_IN = """
repetitions = 2
[factors]
n = [1, 2, 3, 4]
[prepare.build]
command = "sleep 0.05; echo built >{results}/program"
outputs = ["{results}/program"]
[run]
command = "sleep 0.05; grep -q built {results}/program && echo value = $(({n} * {n}))"
[where]
slots = 2
[results]
format = "none"
capture.value = 'value = (\\d+)'
verify = "value == n * n"
"""


def test_killed_at_any_moment_it_goes_on_to_the_same_results(tmp_path):
    file = tmp_path / "stand_in.toml"
    file.write_text(STAND_IN)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    status, out = sweepkill.to_end("run", "-o", str(whole), str(file))
    assert status == 0, out
    assert f"all 8 points are done: {whole}/results.csv" in out.splitlines()
    _, status, out = sweepkill.killed_and_resumed(file, broken, 3, 0.6, seed=7)
    assert status == 0, out
    names = ["n", "repetition", "value"]
    assert sweepkill.results(broken, names) == sweepkill.results(whole, names)
    assert sweepkill.outputs(broken) == sweepkill.outputs(whole)
    sweepkill.wait_none_left(broken)


def begun(folder):
    """Until its first point runs."""
    first = folder / "n-1.out.part"
    until(lambda: first.exists() and first.read_text(), "the first point to run")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_ends_what_runs_and_says_how_to_go_on(tmp_path, number):
    file, folder = tmp_path / "x.toml", tmp_path / "r"
    file.write_text(THREE + "[run]\ncommand = 'echo begun; sleep 99 & sleep 99'")
    process = sweepkill.sweep("run", "-o", str(folder), str(file))
    begun(folder)
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130, out
    assert out.splitlines()[-1] == (
        "3 of 3 points are missing (3 interrupted); go on:  gshell sweep resume " + str(folder)
    )
    assert sweepkill.outputs(folder) == []
    assert sweepkill.left_of(folder) == []
    status, out = sweepkill.to_end("status", "--json", str(folder))
    now = json.loads(out)
    assert (status, now["left"], now["failed"], now["running"]) == (1, 3, [], [])


def test_nobody_has_to_listen(tmp_path):
    file, folder = tmp_path / "x.toml", tmp_path / "r"
    file.write_text(THREE + "[run]\ncommand = 'echo value = {n}'")
    process = sweepkill.sweep("run", "-o", str(folder), str(file))
    process.stdout.close()
    process.wait(30)
    assert process.returncode == 0
    assert sweepkill.outputs(folder) == ["n-1.out", "n-2.out", "n-3.out"]


def on_a_terminal(columns, *words):
    """What it prints there, as it comes, and the process."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    env = {name: text for name, text in env.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [*sweepkill.COMMAND, "sweep", *words],
        env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    return ours, process


def test_on_a_terminal_the_last_line_says_how_far_it_is_in_its_width(tmp_path):
    file, folder = tmp_path / "x.toml", tmp_path / "r"
    file.write_text(THREE + "[run]\ncommand = 'echo value = {n}'")
    ours, process = on_a_terminal(34, "run", "-o", str(folder), str(file))
    text = b""
    with contextlib.suppress(OSError):  # EIO: the end
        while data := os.read(ours, 1 << 16):
            text += data
    os.close(ours)
    assert process.wait(30) == 0
    lines = re.findall(r"\r\x1b\[K(\[?[^\r\n\x1b]+)", text.decode())
    drawn = [line for line in lines if "/3 done" in line]
    assert drawn, text
    assert all(len(line) < 34 for line in drawn)
    assert "all 3 points are done" in text.decode()


def test_a_terminal_that_is_closed_does_not_end_it(tmp_path):
    file, folder = tmp_path / "x.toml", tmp_path / "r"
    wait = "while [ ! -e {results}/go ]; do sleep 0.02; done"
    file.write_text(THREE + f"[run]\ncommand = 'echo begun; {wait}; echo value = 1'")
    ours, process = on_a_terminal(80, "run", "-o", str(folder), str(file))
    begun(folder)
    os.close(ours)
    (folder / "go").touch()
    assert process.wait(30) == 0
    assert sweepkill.outputs(folder) == ["n-1.out", "n-2.out", "n-3.out"]


def test_a_hangup_that_is_ignored_stays_so(tmp_path):
    file, folder = tmp_path / "x.toml", tmp_path / "r"
    wait = "while [ ! -e {results}/go ]; do sleep 0.02; done"
    file.write_text(THREE + f"[run]\ncommand = 'echo begun; {wait}; echo value = 1'")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        process = sweepkill.sweep("run", "-o", str(folder), str(file))
    finally:
        signal.signal(signal.SIGHUP, before)
    begun(folder)
    process.send_signal(signal.SIGHUP)
    (folder / "go").touch()
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0, out


def test_a_table_shows_once_what_a_factor_says_already(tmp_path):
    file, folder = tmp_path / "x.toml", tmp_path / "r"
    file.write_text("""
repetitions = 3
[factors]
size = ["S"]
ranks = [1, 2]
[run]
command = '''
echo " Class           =                        {size}"
echo " Time in seconds =                     0.0{ranks}"
echo " Total processes =                        {ranks}"
echo " Compiled procs  =                        1"
echo " Verification    =               SUCCESSFUL"'''
""")
    sweepkill.to_end("run", "-o", str(folder), str(file))
    _, shown = sweepkill.to_end("show", str(folder))
    _, all_of_it = sweepkill.to_end("show", "--all", str(folder))
    assert shown.split()[:4] == ["SIZE", "RANKS", "SECONDS", "VERIFIED"]
    assert {"NPB_CLASS", "PROCESSES"} < set(all_of_it.split())


def test_a_program_and_its_results_are_named_as_what_they_are(tmp_path):
    program, folder = tmp_path / "mine.py", tmp_path / "mine_1"
    program.write_text(
        "from gshell.sweep import Engine\n"
        "class mine(Engine):\n"
        "    def run(self): pass\n"
        f"mine().start(['-c', {str(folder)!r}])\n"
    )
    folder.mkdir()
    subprocess.run([sys.executable, program], check=True, timeout=60, stdout=subprocess.DEVNULL)
    status, said = sweepkill.to_end("run", str(program))
    assert status == 2
    assert f"try:  python3 {program}" in said
    status, said = sweepkill.to_end("status", str(folder))
    assert status == 2
    assert f"is what the program {program} has made" in said
    assert f"python3 {program} -c {folder}   goes on" in said


def test_status_list_and_show_of_what_is_there(tmp_path):
    file, folder = tmp_path / "x.toml", tmp_path / "r"
    file.write_text(THREE + "[run]\nattempts = 1\ncommand = 'echo value = {n}; [ {n} != 2 ]'")
    status, out = sweepkill.to_end("run", "-o", str(folder), str(file))
    assert status == 1
    assert "1 of 3 points are missing (1 failed)" in out.splitlines()[-1]
    assert "--retry" in out.splitlines()[-1]
    status, out = sweepkill.to_end("list", str(tmp_path))
    assert out.splitlines()[1].split()[1:] == ["2/3", "1", "incomplete"]
    status, out = sweepkill.to_end("show", str(folder))
    assert [line.split() for line in out.splitlines()] == [["N", "VALUE"], ["1", "1"], ["3", "3"]]
    status, out = sweepkill.to_end("plot", "--ascii", "-x", "n", "-y", "value", str(folder))
    assert status == 0
    assert out.isascii()
    assert out.count("o") >= 2
    assert Path(folder, "experiment.toml").read_text() == file.read_text()
