"""An experiment's file at agents and at hosts over ssh: killed while a point runs there, gone on with."""

import csv
import os
import signal
import subprocess

import pytest

from kit import sweepkill
from kit.procs import until
from kit.sshd import Sshd, why_missing

PATIENCE_S = 50.0

# The third point waits to be killed, once; GO is where.
FILE = """
[factors]
n = [1, 2, 3]
[where]
GO
[run]
attempts = 1
command = "[ {n} != 3 ] || [ {attempt} != STAYS ] || (echo waits; exec sleep 4321); echo value = $(({n} * {n}))"
[results]
format = "none"
capture.value = 'value = (\\d+)'
"""


def of(folder):
    with open(folder / "results.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def experiment(tmp_path):
    """Its file, and the results that it has if nobody kills it."""

    def make(where):
        whole = tmp_path / "whole.toml"
        whole.write_text(FILE.replace("STAYS", "0").replace("GO", 'kind = "here"'))
        status, out = sweepkill.to_end("run", "-o", str(tmp_path / "whole"), str(whole))
        assert status == 0, out
        file = tmp_path / "x.toml"
        file.write_text(FILE.replace("STAYS", "1").replace("GO", where))
        return file, of(tmp_path / "whole")

    return make


def killed_while_a_point_runs(process, folder):
    """Once the other two are done: what is done is not done again."""
    part = folder / "n-3.out.part"
    until(
        lambda: len(list(folder.glob("*.out"))) == 2 and part.exists() and part.read_text(),
        "the third point to run", PATIENCE_S, lambda: str(sorted(folder.glob("*"))),
    )  # fmt: skip
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def test_at_agents_it_is_gone_on_with_and_no_job_is_left(relay, experiment, tmp_path):
    file, wanted = experiment('kind = "agent"\nagents = 2')
    folder = tmp_path / "r"
    words = ("sweep", "run", "-o", str(folder), str(file))
    killed_while_a_point_runs(relay.popen(*words, stderr=subprocess.STDOUT), folder)
    until(lambda: not [job for job in relay.jobs() if not job["ended_at"]], "its jobs to end",
          PATIENCE_S, relay.logs)  # fmt: skip
    sweepkill.wait_none_left(folder)
    before = len(relay.jobs())
    done = relay.gshell("sweep", "resume", str(folder))
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode() + relay.logs()
    assert of(folder) == wanted
    assert len(relay.jobs()) == before + 1


@pytest.mark.skipif(bool(why_missing()), reason=why_missing() or "")
def test_over_ssh_it_is_gone_on_with_and_nothing_runs_there_any_more(experiment, tmp_path):
    with Sshd(tmp_path / "sshd") as sshd:
        host = f"{sshd.user.pw_name}@127.0.0.1:{sshd.port}"
        key = sshd.directory / "id"
        file, wanted = experiment(f'hosts = ["{host}"]\nkeyfile = "{key}"\nslots = 2')
        folder = tmp_path / "r"
        process = sweepkill.sweep("run", "-o", str(folder), str(file))
        killed_while_a_point_runs(process, folder)
        sweepkill.wait_none_left(folder)  # over there is here
        status, out = sweepkill.to_end("resume", str(folder))
        assert status == 0, out
        assert of(folder) == wanted
        sweepkill.wait_none_left(folder)
