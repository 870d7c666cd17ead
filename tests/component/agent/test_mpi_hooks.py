"""mpi-start's hooks around an MPI program that an agent starts itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.mpinode import PATIENCE_S, MpiNode, Pair
from kit.uplink import Uplink


class Job:
    """One of two ranks in a directory with a hook file."""

    def __init__(self, node: MpiNode, folder: Path) -> None:
        self.node = node
        self.folder = folder
        self.env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "MPI_START_SHARED_FS": "1"}

    def run(self, hook: str, *argv: str, **mpi: Any) -> dict[str, Any]:
        self.start(hook, *argv, **mpi)
        return self.node.end()

    def start(self, hook: str, *argv: str, **mpi: Any) -> None:
        (self.folder / "h.sh").write_text(hook)
        part = {"layout": [2], "flavour": "mpich", "pre": "h.sh", "post": "h.sh", **mpi}
        self.node.start({"argv": list(argv), "extra_env": self.env, "tasks": 2, "first": 0,
                         "size": 2, "cwd": str(self.folder), "mpi": part})  # fmt: skip

    def left(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Job]:
    monkeypatch.setattr("gshell.agent.agent.Uplink", Uplink)
    folder = tmp_path / "work"
    folder.mkdir()
    node = MpiNode(tmp_path)
    yield Job(node, folder)
    node.agent.end_steps()
    assert node.loop.run_until(lambda: node.agent.idle, PATIENCE_S)
    node.agent.shut_down()
    node.loop.close()


def test_what_a_hook_does_to_the_environment_and_the_program_is_there_for_the_ranks(
    job: Job,
) -> None:
    hook = """
pre_run_hook() {
    echo "built for $MPI_START_NP on $MPI_START_NHOSTS by $MPI_MPICC" >&2
    kept="a shell's own"
    export MARK="two words"
    unset GONE
    I2G_MPI_APPLICATION_ARGS="-c 'echo \\"$1\\" \\$PMI_RANK \\$MARK \\${GONE-none} \\${MPI_START_NP-no} changed'"
}
post_run_hook() { echo "after, $kept, $MARK"; }
"""
    job.env["GONE"] = "still here"
    ended = job.run(hook, "sh", "-c", "echo not this")
    node = job.node
    assert [node.out(0), node.out(1)] == [
        " 0 two words none no changed\n", " 1 two words none no changed\n",
    ]  # fmt: skip
    assert "built for 2 on 1 by mpicc\n" in node.err(2)
    assert node.out(2) == "after, a shell's own, two words\n"
    assert (ended["code"], ended["error"]) == (0, None)


@pytest.mark.parametrize("how", ["return 7", "exit 7"])
def test_a_hook_that_fails_before_the_ranks_leaves_them_out_and_its_status_is_the_jobs(
    job: Job, how: str
) -> None:
    ended = job.run(
        f"pre_run_hook() {{ {how}; }}\npost_run_hook() {{ touch after; }}", "touch", "ran"
    )
    assert ended["code"] == 7
    assert ended["error"] == f"a hook on {os.uname().nodename} ended it with status 7"
    assert job.left() == ["h.sh"]
    (line,) = [line for line in job.node.err(2).splitlines() if "[ERROR" in line]
    assert "hook" in line and "7" in line  # noqa: PT018


def test_a_hook_that_ends_it_well_leaves_the_ranks_out_and_the_job_has_ended_well(job: Job) -> None:
    ended = job.run("pre_run_hook() { exit 0; }", "touch", "ran")
    assert (ended["code"], job.left()) == (0, ["h.sh"])
    assert "ended mpi-start (exit 0)" in job.node.err(2)


def test_a_hook_that_fails_after_the_ranks_replaces_their_status(job: Job) -> None:
    ended = job.run("post_run_hook() { return 9; }", "true")
    assert ended["code"] == 9
    assert ended["error"] == f"a post-run hook on {os.uname().nodename} failed (status 9)"


def test_hooks_after_ranks_that_failed_run_all_the_same(job: Job) -> None:
    ended = job.run("post_run_hook() { echo after; }", "sh", "-c", "exit 3")
    assert (ended["code"], job.node.out(2)) == (3, "after\n")


def test_a_file_of_hooks_that_is_not_there_is_named_with_its_place(job: Job) -> None:
    ended = job.run("", "touch", "ran", pre="nowhere.sh")
    assert (ended["code"], job.left()) == (125, ["h.sh"])
    assert f"there is no nowhere.sh in {job.folder} (--pre)" in job.node.err(2)


def test_a_sites_hooks_run_for_every_mpi_job(job: Job) -> None:
    site = job.folder / ".mpi-start"
    site.mkdir()
    (site / "mpi-start.hooks.local").write_text("pre_run_hook() { export SITE=here; }")
    job.run("", "sh", "-c", "echo $SITE", pre="", post="")
    assert job.node.out(1) == "here\n"


def test_a_hook_that_runs_is_ended_with_its_job(job: Job) -> None:
    job.start("pre_run_hook() { echo up; sleep 600; }", "touch", "ran")
    node = job.node
    assert node.loop.run_until(lambda: "up" in node.out(2), PATIENCE_S)
    assert node.session.phase == "prologue"
    node.session.cancel()
    assert node.end()["code"] == 128 + signal.SIGTERM
    assert job.left() == ["h.sh"]


LAUNCHER = """#!/bin/bash
case $1 in --version) echo "mpirun (Open MPI) 4.1.4"; exit 0 ;; esac
while [ "$1" != /bin/sh ]; do shift; done
for rank in 0 1; do OMPI_COMM_WORLD_RANK=$rank "$@" & done
wait
echo launched
"""


def test_hooks_run_around_a_launcher_and_may_find_the_place_of_its_mpi(job: Job) -> None:
    place = job.folder / "mpi/bin"
    place.mkdir(parents=True)
    (place / "mpirun.openmpi").write_text(LAUNCHER)
    (place / "mpirun.openmpi").chmod(0o755)
    hook = """
pre_run_hook() { export PATH=$PWD/mpi/bin:$PATH MARK=set; }
post_run_hook() { echo after; return 6; }"""
    ended = job.run(hook, "sh", "-c", "echo $MARK $GSHELL_RANK", flavour="openmpi", options=["-q"])
    assert [job.node.out(rank) for rank in range(3)] == ["set 0\n", "set 1\n", "launched\nafter\n"]
    assert ended["code"] == 6


def test_an_mpi_that_is_not_there_is_named_with_the_host_and_what_to_do(job: Job) -> None:
    job.env["PATH"] = str(job.folder)
    ended = job.run("", "/bin/true", flavour="openmpi", pre="", post="")
    host = os.uname().nodename
    assert ended["code"] == 125
    assert ended["error"].startswith(f"no mpirun of openmpi on PATH at {host} ")
    assert "--env PATH=" in ended["error"]


# ------------------------------------------------------------------------------------ two members

HOOK = """
pre_run_hook() {
    export FOUND=$($GSHELL_PEERS gshell-1 'echo over there')
    cat $MPI_START_MACHINEFILE | wc -l
}
post_run_hook() { ls marks; $GSHELL_PEERS gshell-1 'echo still there'; }
"""


def start(pair: Pair, folder: Path, hook: str, script: str) -> None:
    (folder / "h.sh").write_text(hook)
    part = {"layout": [2, 1], "flavour": "mpich", "pre": "h.sh", "post": "h.sh"}
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "MPI_START_SHARED_FS": "1"}
    pair.start({"argv": ["sh", "-c", script], "cwd": str(folder), "mpi": part, "extra_env": env})


def test_hooks_reach_all_members_before_the_ranks_and_when_all_have_ended(
    pair: Pair, tmp_path: Path
) -> None:
    (tmp_path / "marks").mkdir()
    slow = "echo $FOUND; [ $PMI_RANK != 2 ] || sleep 0.3; touch marks/$PMI_RANK"
    start(pair, tmp_path, HOOK, slow)
    assert pair.end() == [0, 0]
    first, second = pair.nodes
    assert first.out(2) == "3\n0\n1\n2\nstill there\n"
    assert (first.out(0), second.out(0)) == ("over there\n", "over there\n")


def test_a_hook_that_fails_ends_all_members_with_its_status(pair: Pair, tmp_path: Path) -> None:
    start(pair, tmp_path, "pre_run_hook() { return 7; }", "touch ran")
    assert pair.end() == [7, 7]
    assert not (tmp_path / "ran").exists()


def test_a_rank_that_dies_elsewhere_does_not_leave_the_post_run_hooks_out(
    pair: Pair, tmp_path: Path
) -> None:
    start(pair, tmp_path, "post_run_hook() { echo after; }", "[ $PMI_RANK != 2 ] || kill -9 $$")
    assert max(pair.end()) == 137
    assert pair.nodes[0].out(2) == "after\n"


def test_a_member_whose_head_is_gone_is_let_go_when_it_is_canceled(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gshell.agent.mpijob.LET_GO_S", 0.1)
    start(pair, tmp_path, "pre_run_hook() { echo up; sleep 600; }", "touch ran")
    first, second = pair.nodes
    assert pair.loop.run_until(lambda: second.session.phase == "prologue", PATIENCE_S)
    first.agent._uplink.carry = lambda message: None
    second.session.cancel()
    assert pair.loop.run_until(lambda: bool(second.said("ended")), PATIENCE_S)
    assert second.said("ended")[0]["code"] == 143
