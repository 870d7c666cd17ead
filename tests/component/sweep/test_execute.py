"""Experiments from a file: run, judged, tried again, interrupted, killed, gone on with."""

import errno
import fcntl
import itertools
import os
import re
import shutil
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from gshell.errors import GshellError, LaunchError, LrmsError, UsageError
from gshell.lrms.base import State
from gshell.sweep import attempts, definition, execute, handlers, places, resultdir
from gshell.sweep.hosts import Host
from gshell.sweep.results import read_table
from kit import sweepkill
from kit.procs import until
from kit.sweepkill import THREE


class Lab:
    def __init__(self, tmp_path):
        self.folder = tmp_path / "results"
        self.file = tmp_path / "x.toml"
        self.told = []

    def define(self, text):
        self.file.write_text(text)
        return definition.load(self.file)

    def run(self, text=None, **more):
        if text is not None:
            resultdir.make(self.define(text), str(self.folder), str(self.file))
        one = resultdir.experiment_of(str(self.folder))
        runner = execute.Runner(one, str(self.folder), lambda *said: self.told.append(said), **more)
        return runner.run()

    def said(self, what):
        return [words for kind, words in self.told if kind == what]

    def names(self):
        return sweepkill.outputs(self.folder)


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def test_each_point_has_its_output_and_its_row(lab):
    end = lab.run(THREE + "[run]\ncommand = 'echo value = $(({n} * 10)); echo {slug} >&2'")
    assert (end.total, end.done, end.missing, end.best) == (3, 3, 0, (30.0, "n-3"))
    assert lab.names() == ["n-1.out", "n-2.out", "n-3.out"]
    assert (lab.folder / "n-2.err").read_text() == "n-2\n"
    table = read_table(lab.folder / "results.csv")
    assert table.rows == [{"n": n, "value": 10 * n} for n in (1, 2, 3)]
    assert table.rows == read_table(lab.folder / "results.jsonl").rows


def test_what_fails_is_tried_again_and_given_up_in_the_end(lab):
    command = "[run]\nattempts = 2\ncommand = 'echo value = 1; [ {n} != 2 ]'"
    end = lab.run(THREE + command)
    assert end.failed == [("n-2", "exit 1: value = 1")]
    assert (end.done, end.missing, end.retried) == (2, 1, 1)
    assert lab.names() == ["n-1.out", "n-2.failed-1.out", "n-2.failed-2.out", "n-3.out"]
    assert lab.run().failed  # given up: not for another run either
    assert "n-2.failed-3.out" not in lab.names()
    assert lab.run(retry=True).failed
    assert "n-2.failed-4.out" in lab.names()


def test_a_status_of_0_is_not_enough(lab):
    end = lab.run("""
        [factors]
        n = [1]
        case = ["good", "unverified", "silent"]
        [run]
        attempts = 1
        command = '''
        [ {case} = silent ] || { echo " LU Benchmark Completed."; echo " Time in seconds =   0.02"
        [ {case} = good ] && echo " Verification    =               SUCCESSFUL" ||
            echo " Verification    =               UNSUCCESSFUL"; }'''
        """)
    assert dict(end.failed) == {
        "n-1-case-unverified": "not verified: verified is not true",
        "n-1-case-silent": "not verified: results.verify: 'verified': there is no 'verified'",
    }
    assert read_table(lab.folder / "results.csv").rows == [
        {"n": 1, "case": "good", "seconds": 0.02, "verified": True}
    ]
    assert "n-1-case-unverified.out" not in lab.names()


def test_a_result_that_is_missing_fails_and_says_which(lab):
    end = lab.run(THREE + "[run]\nattempts = 1\ncommand = 'echo nothing {n}'")
    assert end.failed[0] == ("n-1", "no value in its output: nothing 1")


def test_what_is_too_slow_is_ended_with_its_children(lab):
    end = lab.run(THREE + "[run]\nattempts = 1\ntimeout = 0.1\ncommand = 'sleep 99 & sleep 99'")
    assert end.failed[0] == ("n-1", "not over after 0.1 s")
    assert sweepkill.left_of(lab.folder) == []


def test_preparation_is_done_once_and_again_when_its_input_has_changed(lab):
    (lab.file.parent / "source").write_text("1")
    text = THREE + """
        [prepare.copy]
        each = ["n"]
        command = "cp source {results}/copy-{n}; echo done >>{results}/times"
        inputs = ["source"]
        outputs = ["{results}/copy-{n}"]
        [run]
        command = "echo value = $(cat {results}/copy-{n})"
        """  # fmt: skip
    times = lab.folder / "times"
    lab.run(text)
    lab.run()
    assert times.read_text().count("done") == 3
    (lab.folder / "copy-2").unlink()
    lab.run()
    assert times.read_text().count("done") == 4
    (lab.file.parent / "source").write_text("2")
    lab.run()
    assert times.read_text().count("done") == 7


def test_a_preparation_that_fails_says_why_and_nothing_is_run(lab):
    step = "[prepare.p]\ncommand = 'echo no compiler; exit 3'\n"
    with pytest.raises(LaunchError, match=r"'p' ended with exit 3\n  no compiler"):
        lab.run(THREE + step + "[run]\ncommand = 'true'")
    assert lab.names() == []


def test_as_many_run_at_once_as_there_are_slots(lab):
    wait = "while [ $(wc -l <{results}/now) -lt 2 ]; do sleep 0.01; done"
    command = f"echo x >>{{results}}/now; {wait}; echo value = 1"
    factors = "[factors]\nn = [1, 2]\n" + THREE.partition("n = [1, 2, 3]")[2]
    end = lab.run(factors + f"[run]\ntimeout = 20\ncommand = '{command}'\n[where]\nslots = 2")
    assert end.done == 2  # each waited for the other


def test_a_point_that_no_place_is_large_enough_for_is_left_out(lab):
    text = THREE + "[run]\nslots = 'n'\ncommand = 'echo value = {slots}'\n[where]\nslots = 2"
    end = lab.run(text)
    assert end.skipped == [("n-3", "it takes 3 slots, and no place has more than 2")]
    assert (end.done, end.missing) == (2, 1)


def test_names_that_would_be_the_same_are_told_apart(lab):
    text = "[factors]\nx = ['a', 'A', 'a!']" + THREE.partition("n = [1, 2, 3]")[2]
    lab.run(text + "[run]\ncommand = 'echo value = 1'")
    assert lab.names() == ["x-a-2.out", "x-a-3.out", "x-a.out"]


def test_more_levels_later_and_what_was_done_stays(lab):
    run = "[run]\ncommand = 'echo value = 1; echo x >>{results}/times'"
    lab.run(THREE + run)
    assert lab.run(THREE.replace("[1, 2, 3]", "[0, 1, 2, 3]") + run).done == 4
    assert (lab.folder / "times").read_text().count("x") == 4


def test_more_repetitions_later_and_the_first_one_stays(lab):
    run = THREE + "[run]\ncommand = 'echo value = 1; echo x >>{results}/times'"
    lab.run(run)
    assert lab.run("repetitions = 2" + run).done == 6
    assert (lab.folder / "times").read_text().count("x") == 6
    assert lab.run(run).done == 3
    assert (lab.folder / "times").read_text().count("x") == 6
    assert len(read_table(lab.folder / "results.csv")) == 3


def test_what_the_log_calls_done_is_not_run_again_if_its_writer_died_before_telling(lab):
    run = "[run]\ncommand = 'echo value = 1; echo x >>{results}/times'"
    lab.run(THREE + run)
    shutil.rmtree(lab.folder / execute.SWEEPER)  # as if it had never been told
    assert lab.run().done == 3
    assert (lab.folder / "times").read_text().count("x") == 3


def test_a_point_that_was_begun_when_the_last_run_died_is_run_again_and_that_is_no_failure(lab):
    resultdir.make(
        lab.define(THREE + "[run]\nattempts = 1\ncommand = 'echo value = 1'"),
        str(lab.folder), str(lab.file),
    )  # fmt: skip
    begun = {"what": "begun", "point": '{"n": 2}', "slug": "n-2", "attempt": 1, "at": 1.0}
    attempts.Log(str(lab.folder)).add(begun)
    (lab.folder / "n-2.out.part").write_text("value = 9\n")
    end = lab.run()
    assert (end.done, end.failed) == (3, [])
    assert (lab.folder / "n-2.out").read_text() == "value = 1\n"


def test_one_at_a_time_works_in_a_directory(lab):
    resultdir.make(lab.define(THREE + "[run]\ncommand = 'true'"), str(lab.folder), str(lab.file))
    with attempts.Lock(str(lab.folder)), pytest.raises(attempts.Busy, match="works in"):
        lab.run()
    assert attempts.is_worked_on(str(lab.folder)) is False


def test_who_only_looks_is_in_nobodys_way(lab):
    lab.run(THREE + "[run]\ncommand = 'echo value = 1'")
    fd = os.open(lab.folder / attempts.LOCK, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    threading.Timer(0.1, os.close, [fd]).start()
    assert lab.run().done == 3


def test_whose_turn_it_is_not_does_not_change_the_experiment_of_who_works(lab):
    one = lab.define(THREE + "[run]\ncommand = 'true'")
    resultdir.make(one, str(lab.folder), str(lab.file))
    other = lab.define(THREE + "[run]\ncommand = 'false'")
    with attempts.Lock(str(lab.folder)), pytest.raises(attempts.Busy):
        execute.Runner(other, str(lab.folder), source=str(lab.file)).run()
    assert (lab.folder / resultdir.DEFINITION).read_text() == one.text


def test_a_file_that_has_changed_since_is_known(lab):
    one = lab.define(THREE + "[run]\ncommand = 'true'")
    resultdir.make(one, str(lab.folder), str(lab.file))
    assert resultdir.changed_since(str(lab.folder), one) == ""
    lab.define(THREE + "[run]\ncommand = 'false'")
    assert resultdir.changed_since(str(lab.folder), one) == str(lab.file)


def test_a_disk_that_is_full_ends_it_with_one_error_and_it_can_be_gone_on_with(lab, monkeypatch):
    text = THREE + "[run]\ncommand = 'echo value = 1; echo x >>{results}/times'"
    add = attempts.Log.add

    def full(log, entry):
        if entry.get("point") == '{"n": 2}' and entry["what"] != "begun":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "attempts")
        add(log, entry)

    with monkeypatch.context() as patch:
        patch.setattr(attempts.Log, "add", full)
        with pytest.raises(GshellError, match="No space left") as caught:
            lab.run(text)
    assert "resume" in caught.value.hint
    assert lab.run().done == 3
    assert read_table(lab.folder / "results.csv").rows[1] == {"n": 2, "value": 1}


def test_an_output_that_could_not_be_kept_is_no_result(lab, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(handlers._File, "feed", full)
    text = THREE.replace("(\\d+)'", "(\\d+)'\ncapture.lines = {regex = '(x)', which = 'count'}")
    text = text.replace("capture.value = 'value = (\\d+)'", "").replace("max value", "max lines")
    end = lab.run(text + "[run]\nattempts = 1\ncommand = 'echo value = 1'")
    assert {why for _, why in end.failed} == {
        "its output could not be kept: No space left on device"
    }


def test_a_directory_of_something_else_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is no result directory"):
        resultdir.experiment_of(str(tmp_path))


class Batch:
    """Stands for `gshell.sweep.batch`: jobs with two hosts each, that end when they are told to."""

    Submission = staticmethod(lambda *words, **more: words[0])

    def __init__(self):
        self.got, self.deleted, self.ended, self.refuses = [], [], set(), set()

    def system_of(self, kind):
        return self

    def submit(self, system, specs, params, timeout, abort):
        [(resources, site)] = specs
        if site in self.refuses:
            raise LrmsError("refused", f"no such cluster: {site}")
        self.got.append((site, resources))
        return [(len(self.got), site)]

    def nodes(self, system, job, site, params, timeout):
        return [Host(f"{site}{job}-{n}") for n in (1, 2)]

    def status(self, system, job, site, params, timeout):
        return SimpleNamespace(state=State.ENDED if job in self.ended else State.RUNNING)

    def delete(self, system, specs, params, timeout):
        self.deleted += specs


@pytest.fixture
def batch(monkeypatch):
    class Near(places.Here):
        def __init__(self, host, hosts):
            super().__init__(host.address, host.slots)
            self.hosts = hosts

    one = Batch()
    monkeypatch.setattr(places, "import_module", lambda name: one)
    monkeypatch.setattr(places, "There", Near)
    return one


RESERVED = """
[factors]
cluster = ["petit", "grand"]
n = [1, 2]
[results]
format = "none"
capture.value = 'on (\\S+)'
[where]
kind = "oar"
site = "{cluster}"
resources = "nodes=2"
"""


def test_one_reservation_serves_all_points_of_a_cluster_and_is_given_back(lab, batch):
    end = lab.run(RESERVED + "[run]\ncommand = 'echo on {hosts}'")
    assert end.done == 4
    assert sorted(batch.got) == [("grand", "nodes=2"), ("petit", "nodes=2")]
    assert sorted(site for _, site in batch.deleted) == ["grand", "petit"]
    rows = read_table(lab.folder / "results.csv").rows
    assert all(re.fullmatch(r"(\w+)\d-1,\1\d-2", row["value"]) for row in rows)
    assert all(row["value"].startswith(row["cluster"]) for row in rows)


def test_a_reservation_that_was_taken_away_is_made_again_and_counts_as_no_failure(lab, batch):
    batch.ended.add(1)
    only = RESERVED.replace(', "grand"', "")
    command = "[ {hosts} != petit1-1,petit1-2 ] || exit 255; echo on {hosts}"
    end = lab.run(only + f"[run]\nattempts = 1\ncommand = '{command}'")
    assert (end.done, end.failed, end.retried) == (2, [], 0)
    assert [site for site, _ in batch.got] == ["petit", "petit"]


def test_a_cluster_that_cannot_be_had_leaves_its_points_out_and_the_others_are_run(lab, batch):
    batch.refuses.add("grand")
    end = lab.run(RESERVED + "[run]\ncommand = 'echo on {hosts}'")
    assert end.done == 2
    assert {why for _, why in end.skipped} == {"no such cluster: grand"}


def test_what_a_killed_run_and_its_guardian_left_is_ended_by_the_next(tmp_path, lab):
    resultdir.make(
        lab.define(THREE + "[run]\ncommand = 'echo value = 1'"), str(lab.folder), str(lab.file)
    )
    stray = os.posix_spawnp(
        "sleep", ["sleep", "99"], {**os.environ, "GSHELL_SWEEP_DIR": str(lab.folder)}
    )
    # A spawned process goes on its own before exec has put its environment in place.
    until(Path(f"/proc/{stray}/environ").read_bytes, "its environment")
    lab.run()
    assert os.WTERMSIG(os.waitpid(stray, 0)[1]) == signal.SIGKILL


def test_a_clock_that_is_put_back_makes_nothing_shorter_than_nothing(lab, monkeypatch):
    back = itertools.count(2_000_000_000, -3600)
    monkeypatch.setattr(time, "time", lambda: float(next(back)))
    assert lab.run(THREE + "[run]\ncommand = 'echo value = {n}'").done == 3
    took = [one.seconds for one in attempts.History(attempts.Log(str(lab.folder))).points.values()]
    assert len(took) == 3
    assert min(took) >= 0
