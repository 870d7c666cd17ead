"""Job descriptions from the command line to an agent."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from kit.procs import Env, until


def submit(env: Env, folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    path = folder / "job.jdl"
    path.write_text(text)
    return env.gshell("submit", str(path), *options)


def ids(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    return re.findall(r"^\d+$", done.stdout.decode(), re.M)


def test_a_description_is_run_and_its_status_is_ours(env: Env, tmp_path: Path) -> None:
    text = 'Executable = "/bin/sh"; Arguments = "-c \'echo $V; exit 3\'"; Environment = "V=w";'
    done = submit(env, tmp_path, text, "--wait")
    assert done.returncode == 3, done.stderr
    (ident,) = ids(done)
    assert env.gshell("logs", ident).stdout == b"w\n"
    assert f"gshell logs -f {ident}".encode() in done.stderr


def test_a_parametric_job_is_a_job_for_each_value(env: Env, tmp_path: Path) -> None:
    text = 'Executable = "/bin/echo"; Arguments = "got _PARAM_"; Parameters = {1, two, "three"};'
    done = submit(env, tmp_path, text, "--wait", "-q", "-o", str(tmp_path / "ids"))
    assert (done.returncode, done.stderr) == (0, b"")
    said = [env.gshell("logs", ident).stdout for ident in ids(done)]
    assert said == [b"got 1\n", b"got two\n", b"got three\n"]
    assert (tmp_path / "ids").read_text().split()[-3:] == ids(done)


def test_a_wrong_description_is_not_submitted(env: Env, tmp_path: Path) -> None:
    before = [job["id"] for job in env.jobs()]
    done = submit(env, tmp_path, 'Executable "simple.sh"')
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"gshell: job.jdl:1:11: expected = after Executable\n"
    assert [job["id"] for job in env.jobs()] == before


def test_match_lists_where_it_could_run_or_what_is_in_the_way(env: Env, tmp_path: Path) -> None:
    pytest.importorskip("classad2")
    path = tmp_path / "job.jdl"
    path.write_text('Executable = "x"; Requirements = other.cpus >= 1; Rank = other.cpus;')
    found = json.loads(env.gshell("match", "--json", str(path)).stdout)["jobs"][0]["match"]
    assert sorted(one["name"] for one in found) == sorted(a["id"] for a in env.agents())
    done = env.gshell("match", "--set", "Requirements=other.cpus > 100000", str(path))
    assert done.returncode == 1
    assert b"other.cpus > 100000" in done.stderr


def test_match_knows_of_an_agent_what_the_broker_knows(env: Env, tmp_path: Path) -> None:
    path = tmp_path / "job.jdl"
    has = 'Member("%s", other.GlueHostApplicationSoftwareRunTimeEnvironment)'
    agent, *_ = json.loads(env.gshell("agents", "--json").stdout)["agents"]
    for name in ("MPI-START", *agent["ad"]["software"]):
        path.write_text(f'Executable = "/bin/true"; Requirements = {has % name};')
        assert env.gshell("match", "-q", str(path)).returncode == 0, name
        assert env.gshell("submit", "-q", "--wait", str(path)).returncode == 0, name


def test_the_grid_s_commands_do_the_same(env: Env, tmp_path: Path) -> None:
    path = tmp_path / "job.jdl"
    path.write_text('Executable = "/bin/true";')
    names = str(tmp_path / "ids")
    done = env.gshell("grid", "glite-wms-job-submit", "-a", "-o", names, str(path))
    assert done.returncode == 0, done.stderr
    (ident,) = ids(done)
    assert b"glite-wms-job-submit Success" in done.stdout
    env.gshell("submit", str(path), "--wait")  # jobs of one user begin in their order
    status = env.gshell("grid", "i2g-job-status", "-i", names)
    assert f"Status info for the Job: {ident}".encode() in status.stdout
    assert re.search(rb"Current Status: +(Running|Done \(Success\))", status.stdout)
    saved = env.gshell("grid", "glite-wms-job-status", "-o", str(tmp_path / "status"), ident)
    assert saved.returncode == 0, saved.stderr
    assert b"BOOKKEEPING" not in saved.stdout
    assert f"the Job: {ident}\n" in (tmp_path / "status").read_text()


def test_the_grid_s_output_is_listed_or_put_where_it_is_wanted(env: Env, tmp_path: Path) -> None:
    text = 'Executable = "/bin/echo"; Arguments = "a"; StdOutput = "o"; OutputSandbox = "o";'
    (ident,) = ids(submit(env, tmp_path, text, "--wait"))
    listed = env.gshell("grid", "glite-wms-job-output", "--list-only", ident, cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert re.search(rb"\bo$", listed.stdout, re.M)
    assert [one.name for one in tmp_path.iterdir()] == ["job.jdl"]
    words = ("glite-wms-job-output", "--nosubdir", "--dir", "here", ident)
    done = env.gshell("grid", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "here/o").read_text() == "a\n"


def test_who_waits_for_a_job_waits_on_when_the_relay_is_started_anew(
    alone: Env, tmp_path: Path
) -> None:
    invite = alone.start_relay()
    alone.start_agent("one", invite)
    os.mkfifo(tmp_path / "go")
    job = tmp_path / "job.sh"
    job.write_text(f"#!/bin/sh\nread x < {tmp_path}/go\nexit 7\n")
    waits = alone.popen("submit", "--wait", str(job))
    until(lambda: [one for one in alone.jobs() if one["state"] == "ACTIVE"], "it to begin")
    facts = alone.relay_facts()
    os.kill(int(facts["broker_pid"]), signal.SIGKILL)

    def anew() -> bool:
        return bool(alone.relay_facts()["broker_pid"] != facts["broker_pid"])

    until(anew, "another broker", show=alone.logs)
    (tmp_path / "go").write_text("\n")
    _, err = waits.communicate(timeout=60)
    assert waits.returncode == 7, err.decode() + alone.logs()
