"""Jobs of several agents: who joins all of them, who joins some."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from kit.procs import Env, until
from kit.pty import Pty

SAY = 'trap "exit 3" USR1; echo I am $GSHELL_RANK; while :; do sleep 0.1; done'


@pytest.fixture
def env(relay: Env) -> Env:
    return relay


@pytest.fixture
def job(env: Env) -> Iterator[str]:
    """Two ranks on each of two agents."""
    done = env.gshell("run", "-N", "2", "-n", "2", "--detach", "--", "sh", "-c", SAY)
    assert done.returncode == 0, done.stderr
    number = done.stdout.decode().strip()
    said = lambda: env.gshell("logs", number).stdout.splitlines()
    until(lambda: len(said()) == 4, "all ranks to print", show=lambda: str(said()))
    yield number
    env.gshell("kill", number)


def test_a_rank_of_another_member_is_joined_without_the_first(
    env: Env, job: str, background: bool
) -> None:
    for _ in range(3):  # what else the first member says comes in the same packet, or later
        with Pty(env.argv("attach", job, "--rank", "3"), env.client_env(background)) as pty:
            pty.wait_for("rank 3, looking on")
            pty.wait_for("I am 3")
            pty.line("~.")
            assert pty.wait() == 0
            assert not any(f"I am {n}" in "\n".join(pty.screen()) for n in range(3))


def test_all_members_are_shown_and_the_highest_status_is_the_job_s(
    env: Env, job: str, background: bool
) -> None:
    with env.popen("attach", job, "-r", "-l", "--since", "start", background=background) as looker:
        assert looker.stdout is not None
        lines = sorted(looker.stdout.readline() for _ in range(4))
        assert lines == [f"{n}: I am {n}\n".encode() for n in range(4)]
        assert env.gshell("kill", job, "-s", "USR1").returncode == 0
        assert looker.wait(20) == 3


def test_the_ranks_of_all_members_are_one_table(env: Env, job: str) -> None:
    rows = json.loads(env.gshell("ranks", job, "--json").stdout)["ranks"]
    assert [(row["rank"], row["member"], row["line"]) for row in rows] == [
        (n, n // 2, f"I am {n}") for n in range(4)
    ]
    only = json.loads(env.gshell("ranks", job, "--rank", "2-3", "--json").stdout)["ranks"]
    assert [row["rank"] for row in only] == [2, 3]


def test_what_is_piped_in_goes_to_ranks_on_agents_that_were_only_found_later(
    env: Env, background: bool
) -> None:
    slots = max(agent["slots"] for agent in env.agents())
    argv = ("mpi", "-n", str(slots + 1), "-i", "all", "--flavour", "mpich", "--")
    done = env.gshell(
        *argv, "sh", "-c", "echo $GSHELL_RANK $(wc -c)", input=b"x" * 70_001, background=background
    )
    assert done.returncode == 0, done.stderr
    got = sorted(done.stdout.decode().splitlines())
    assert got == sorted(f"{rank} 70001" for rank in range(slots + 1))
