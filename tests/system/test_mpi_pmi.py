"""MPI jobs of MPICH's family, whose process manager the agents are: several agents, no sshd."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from kit import mpichkit, nodes
from kit.procs import Env, until

PROGRAM = """
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int rank, size, sum, token = 0, length;
    char host[256];
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    gethostname(host, sizeof host);
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (!strcmp(argv[1], "ring")) {
        if (rank == 0) {
            MPI_Send(&token, 1, MPI_INT, 1, 0, MPI_COMM_WORLD);
            MPI_Recv(&token, 1, MPI_INT, size - 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        } else {
            MPI_Recv(&token, 1, MPI_INT, rank - 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            token += rank;
            MPI_Send(&token, 1, MPI_INT, (rank + 1) % size, 0, MPI_COMM_WORLD);
        }
        if (rank == 0) printf("token %d sum %d of %d\\n", token, sum, size);
        else printf("on %s\\n", host);
    } else {
        printf("up\\n");
        fflush(stdout);
        if (!strcmp(argv[1], "abort") && rank == 1) MPI_Abort(MPI_COMM_WORLD, 7);
        if (!strcmp(argv[1], "die") && rank == 2) raise(SIGSEGV);
        sleep(600);
    }
    MPI_Finalize();
    return 0;
}
"""
# Barriers one after the other, each of which crosses the relay.
BARRIERS = """
import os, socket
line = socket.socket(fileno=int(os.environ["PMI_FD"])).makefile("rwb")
rank, size = int(os.environ["PMI_RANK"]), int(os.environ["PMI_SIZE"])
def ask(words):
    line.write(words.encode() + b"\\n"); line.flush()
    return dict(w.split("=", 1) for w in line.readline().decode().split() if "=" in w)
ask("cmd=init pmi_version=1 pmi_subversion=1")
for n in range(150):
    ask(f"cmd=put kvsname=k key={n}-{rank} value={n * 1000 + rank}")
    ask("cmd=barrier_in")
    for other in range(size):
        assert ask(f"cmd=get kvsname=k key={n}-{other}")["value"] == str(n * 1000 + other)
    if n == 5 and rank == 0: print("up", flush=True)
ask("cmd=finalize")
print("done", flush=True)
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    return mpichkit.compile_with_mpich(tmp_path_factory.mktemp("mpich"), "prog", PROGRAM)


@pytest.fixture(scope="module")
def env() -> Iterator[Env]:
    env = Env()
    try:
        invite = env.start_relay()
        for name in ("n0", "n1", "n2"):
            env.start_agent(name, invite)
        yield env
    finally:
        env.close()


class Run:
    """``gshell mpi`` in mid-run."""

    def __init__(self, env: Env, *words: str) -> None:
        self.env = env
        self.process = env.popen("mpi", "-l", *words)  # whole lines

    def until_up(self, times: int) -> None:
        assert self.process.stdout is not None
        for _ in range(times):
            line = self.process.stdout.readline()
            assert line.rstrip().endswith(b"up"), line

    def end(self) -> tuple[int, str, str]:
        try:
            out, err = self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.process.returncode, out.decode(), err.decode()


def one_job(env: Env) -> dict[str, object]:
    return max(env.jobs(), key=lambda job: int(job["id"]))


def test_a_ring_goes_round_over_three_agents_with_uneven_ranks(env: Env, program: str) -> None:
    done = env.gshell("mpi", "-n", "5", "-N", "3", "-l", "--", program, "ring")
    assert done.returncode == 0, done.stderr.decode()
    assert b"0: token 10 sum 10 of 5\n" in done.stdout
    assert done.stdout.count(b"\n") == 5


def test_the_status_of_an_abort_is_the_jobs(env: Env, program: str) -> None:
    code, _, err = Run(env, "-n", "3", "-N", "3", "--", program, "abort").end()
    assert code == 7
    assert "mpi: rank 1 on " in err
    assert "called MPI_Abort with code 7" in err
    until(lambda: "called MPI_Abort" in str(one_job(env)["error"]), "the job to say so")


def test_a_rank_that_dies_is_named_and_ends_the_others(env: Env, program: str) -> None:
    code, _, err = Run(env, "-n", "3", "-N", "3", "--", program, "die").end()
    assert code == 139
    assert [line for line in err.splitlines() if line.startswith("mpi:")] == [
        f"mpi: rank 2 on {os.uname().nodename} was ended by signal 11 (Segmentation fault)"
    ]


def test_ctrl_c_and_cancel_end_all_ranks_and_name_none_as_dead(env: Env, program: str) -> None:
    run = Run(env, "-n", "3", "-N", "2", "--", program, "sleep")
    run.until_up(3)
    run.process.send_signal(signal.SIGINT)
    code, _, err = run.end()
    assert (code, err) == (130, "")
    run = Run(env, "-n", "3", "-N", "2", "--", program, "sleep")
    run.until_up(3)
    assert env.gshell("kill", str(one_job(env)["id"])).returncode == 0
    code, _, err = run.end()
    assert (code, "was ended" in err) == (143, False)


def test_barriers_go_on_when_the_broker_dies_in_the_midst(env: Env) -> None:
    run = Run(env, "-n", "4", "-N", "3", "--flavour", "mpich", "--", sys.executable, "-c", BARRIERS)
    run.until_up(1)
    os.kill(env.relay_facts()["broker_pid"], signal.SIGKILL)
    code, out, err = run.end()
    assert (code, out.count("done")) == (0, 4), err + env.logs()


def test_when_an_agent_is_lost_the_other_ranks_end_and_the_job_says_why(
    env: Env, program: str
) -> None:
    run = Run(env, "-n", "3", "-N", "3", "--", program, "sleep")
    run.until_up(3)
    victim = next(agent for agent in env.agents() if agent["id"] == one_job(env)["agents"][2])
    os.kill(victim["pid"], signal.SIGKILL)
    assert run.end()[0] != 0
    job = until(lambda: one_job(env)["state"] == "FAILED" and one_job(env), "the job's end")
    assert job["error"]


def test_a_program_runs_on_nodes_with_names_and_networks_of_their_own(
    program: str,
) -> None:
    why = nodes.reason_not_to()
    if why:
        pytest.skip(why)
    cluster = nodes.NodesEnv(2)
    try:
        done = cluster.gshell("mpi", "-n", "3", "-N", "2", "-l", "--", program, "ring")
        assert done.returncode == 0, done.stderr.decode() + cluster.logs()
        assert b"0: token 3 sum 3 of 3\n" in done.stdout
        assert b": on node" in done.stdout
    finally:
        cluster.close()
