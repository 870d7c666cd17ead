"""An experiment as a program: options, directories, logs, and what it has to give back."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gshell.sweep import engine as engines
from gshell.sweep.engine import Engine
from gshell.sweep.ledger import Ledger


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class Bench(Engine):
    """Measures."""

    def init(self):
        self.steps = ["init"]

    def run(self):
        self.steps.append("run")


def test_a_run_has_a_directory_and_says_what_it_was():
    one = Bench()
    assert one.start([]) == 0
    assert one.steps == ["init", "run"]
    assert os.path.basename(one.result_dir).startswith("Bench_20")
    about = json.loads(Path(one.result_dir, engines.ABOUT).read_text())
    assert about["engine"] == "Bench"
    again = Bench()
    again.start(["-c", one.result_dir])
    assert again.result_dir == one.result_dir
    assert len(Path(one.result_dir, engines.ABOUT).read_text().splitlines()) == 2


BENCH = """
import subprocess, sys
from gshell.sweep.engine import Engine
class Bench(Engine):
    def run(self):
        print("out")
        print("err", file=sys.stderr)
        subprocess.run(["echo", "child"])
one = Bench()
one.start(sys.argv[1:])
print("after")
"""


def python(*words, **more):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        **more,
    )


@pytest.mark.parametrize(
    ("option", "files", "shown"),
    [("-L", {"stdout": ["child", "out"], "stderr": ["err"]}, ["after", "child", "out"]),
     ("-R", {"stdout": ["child", "out"], "stderr": ["err"]}, ["after"]),
     ("-RM", {"stdout+stderr": ["child", "err", "out"]}, ["after"])],
)  # fmt: skip
def test_what_is_printed_goes_where_the_options_say(tmp_path, option, files, shown):
    out, err = python(BENCH, option, "-l", "error").communicate()
    assert sorted(out.split()) == shown
    assert ("err" in err) is (option == "-L")
    (folder,) = tmp_path.glob("Bench_*")
    for name, words in files.items():
        assert sorted((folder / name).read_text().split()) == words


@pytest.mark.parametrize("args", [["-l", "loud"], ["-c", "nosuchdir"], ["-o"]])
def test_wrong_options_are_told_with_status_2(args, capsys):
    with pytest.raises(SystemExit) as ended:
        Bench().start(args)
    assert ended.value.code == 2
    assert args[0] in capsys.readouterr().err


def test_an_experiment_s_own_options():
    class Own(Engine):
        def __init__(self):
            super().__init__()
            self.args_parser.add_argument("cluster")

        def run(self):
            return self.args.cluster == "edel"

    assert Own().start(["edel"]) == 0
    assert Own().start(["stremi"]) == 1


def test_what_was_reserved_is_known_until_it_is_given_back(tmp_path):
    book = Ledger(tmp_path / "book")
    first, second, third = (book.asked("oar", "lyon") for _ in range(3))
    book.got(first, 12)
    book.got(second, 13)
    book.ended_job("oar", "lyon", 12)
    assert [one[:4] for one in Ledger(tmp_path / "book").open()] == [
        (second, "oar", "lyon", "13"), (third, "oar", "lyon", ""),
    ]  # fmt: skip
    whole = (tmp_path / "book").read_bytes()
    for cut in range(len(whole)):  # killed while writing
        (tmp_path / "cut").write_bytes(whole[:cut])
        known = Ledger(tmp_path / "cut")
        known.open()
        tag = known.asked("slurm", "")
        assert known.open()[-1][:4] == (tag, "slurm", "", "")


def test_two_runs_in_one_second_have_a_directory_each(monkeypatch):
    monkeypatch.setattr(Bench, "setup_run_name", lambda one: setattr(one, "run_name", "same"))
    made = []
    for _ in range(2):
        one = Bench()
        one.start([])
        made.append(os.path.basename(one.result_dir))
    assert made == ["same", "same-2"]


def test_a_hangup_that_was_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with engines._terminated():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_term_ends_it_as_ctrl_c_does():
    code = """
import time
from gshell.sweep.engine import Engine
class E(Engine):
    def run(self):
        print("up", flush=True)
        time.sleep(60)
print(E().start([]))
"""
    one = python(code)
    for line in one.stdout:
        if line == "up\n":
            break
    one.send_signal(signal.SIGTERM)
    rest = one.communicate()[0]
    assert "-c " in rest
    assert rest.splitlines()[-1] == "130"
