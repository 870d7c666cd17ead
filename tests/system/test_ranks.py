"""Many ranks: who sees which, who types to which, what each of them does."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.procs import Env, until
from kit.pty import Pty

ASK = 'echo I am $GSHELL_RANK; while read line; do echo "$GSHELL_RANK got $line"; done'


@pytest.fixture
def started(env: Env) -> Iterator[list[str]]:
    """Jobs that are ended whatever happens."""
    jobs: list[str] = []
    yield jobs
    for job in jobs:
        env.gshell("cancel", job)


def detached(env: Env, started: list[str], *words: str) -> str:
    done = env.gshell(*words[:1], "--detach", *words[1:])
    assert done.returncode == 0, done.stderr
    job = done.stdout.decode().strip()
    started.append(job)
    return job


def test_mpi_ranks_are_labelled_and_the_highest_status_is_the_job_s(
    env: Env, background: bool
) -> None:
    script = "echo $GSHELL_RANK of $GSHELL_SIZE; exit $((GSHELL_RANK == 11 ? 7 : 0))"
    done = env.gshell("run", "-n", "12", "-l", "--", "sh", "-c", script, background=background)
    lines = sorted(done.stdout.decode().splitlines())
    assert lines == sorted(f"{rank:>2}: {rank} of 12" for rank in range(12))
    assert done.returncode == 7
    assert done.stderr == b"gshell: rank 11: exit 7\n"


def test_what_all_ranks_say_is_shown_once(env: Env, tmp_path: Path) -> None:
    # A line waits for the same of others, but not for ranks that are still being started.
    go = tmp_path / "go"
    os.mkfifo(go)
    mark = f">{tmp_path}/$GSHELL_RANK; read x <{go}; echo hello"
    with env.popen("run", "-n", "16", "--fold", "--", "sh", "-c", mark) as run:
        until(lambda: len(list(tmp_path.glob("[0-9]*"))) == 16, "all ranks", show=env.logs)
        with open(go, "w") as all_of_them:  # those that open it later, too: it stays open
            all_of_them.write("\n" * 16)
            all_of_them.flush()
            out, err = run.communicate(timeout=30)
    assert out == b"[0-15] hello\n", err


def test_only_the_ranks_that_were_asked_for_are_shown(env: Env, background: bool) -> None:
    argv = ("run", "-n", "4", "--rank", "1,3", "--", "sh", "-c", "echo $GSHELL_RANK")
    done = env.gshell(*argv, background=background)
    assert sorted(done.stdout.split()) == [b"1", b"3"]


@pytest.mark.parametrize(
    ("ranks", "got"), [("none", []), ("all", [b"0", b"1", b"2"]), ("1-2", [b"1", b"2"])]
)
def test_stdin_goes_to_the_ranks_that_were_named(
    env: Env, background: bool, ranks: str, got: list[bytes]
) -> None:
    data = b"x" * 104_929
    argv = ("mpi", "-n", "3", "-i", ranks, "--flavour", "mpich", "--", "sh", "-c")
    done = env.gshell(*argv, "echo $GSHELL_RANK $(wc -c)", input=data, background=background)
    assert done.returncode == 0, done.stderr
    counts = dict(line.split() for line in done.stdout.splitlines())
    assert sorted(rank for rank, count in counts.items() if int(count) == len(data)) == got
    assert sum(map(int, counts.values())) == len(data) * len(got)


def test_who_attaches_to_a_rank_types_to_it_and_sees_no_other(env: Env, started: list[str]) -> None:
    job = detached(env, started, "mpi", "-n", "3", "-i", "1,2", "--flavour", "mpich", "--", "sh", "-c", ASK)  # fmt: skip
    done = env.gshell("attach", job, "--rank", "2", "--since", "start", input=b"hello\n")
    assert done.stdout == b"I am 2\n2 got hello\n", done.stderr
    with env.popen("attach", job, "--rank", "1") as other:
        out, _ = other.communicate(b"there\n", timeout=20)
    assert b"1 got there\n" in out
    assert b"2 got" not in out
    shown = env.gshell("logs", job, "--rank", "0,2")
    assert sorted(shown.stdout.splitlines()) == [b"2 got hello", b"I am 0", b"I am 2"], shown


def test_a_rank_that_reads_nothing_says_how_it_would(env: Env, started: list[str]) -> None:
    job = detached(env, started, "mpi", "-n", "2", "--flavour", "mpich", "--", "sleep", "60")
    with Pty(env.argv("attach", job, "--rank", "1"), env.client_env()) as pty:
        pty.wait_for("looking on")
        pty.wait_for("gshell mpi -i 1 (or --pty 1)")


def test_a_rank_that_there_is_not_is_an_error(env: Env, started: list[str]) -> None:
    job = detached(env, started, "run", "-n", "2", "--", "sleep", "60")
    for verb in ("attach", "logs"):
        done = env.gshell(verb, job, "--rank", "2")
        assert (done.returncode, b"ranks 0 to 1, and no rank 2" in done.stderr) == (2, True)
    alone = detached(env, started, "run", "--", "sleep", "60")
    assert b"gshell mpi -n N" in env.gshell("attach", alone, "--rank", "1").stderr


def test_a_rank_s_terminal_is_attached_to_as_any_other(env: Env, started: list[str]) -> None:
    ask = 'stty size; printf "name? "; read name; echo hello $name; stty size; sleep 60'
    job = detached(env, started, "mpi", "-n", "2", "--pty", "1", "--flavour", "mpich", "--", "sh", "-c", f'[ -t 0 ] && {{ {ask}; }}; sleep 60')  # fmt: skip
    with Pty(env.argv("attach", job, "--rank", "1"), env.client_env(), (30, 100)) as pty:
        pty.wait_for("name? ")
        until(pty.is_raw)
        pty.send("\r")
        pty.wait_for("30 100")
        pty.send("~#")
        pty.wait_for("LAST LINE")
        pty.send("\r~.")
        assert pty.wait() == 0
        assert pty.modes() == pty.modes_at_start


def test_ranks_tells_what_each_does(env: Env, started: list[str]) -> None:
    job = detached(env, started, "run", "-n", "3", "--", "sh", "-c", "echo line $GSHELL_RANK; sleep 60")  # fmt: skip

    def rows() -> list[dict[str, object]]:
        found = json.loads(env.gshell("ranks", job, "--json").stdout)["ranks"]
        return [row for row in found if row["line"]]

    until(lambda: [row["state"] for row in rows()] == ["S"] * 3, "all to sleep")
    assert [(row["rank"], row["line"]) for row in rows()] == [(n, f"line {n}") for n in range(3)]
    assert all(row["pid"] and row["rss_bytes"] for row in rows())
    assert re.search(rb"RANK +STATE", env.gshell("ranks", job).stdout)
    assert len(env.gshell("ranks", job, "--rank", "1", "-q").stdout.splitlines()) == 1
    assert env.gshell("ranks", "99999").returncode != 0


def test_a_shell_beside_a_rank_has_its_place_and_knows_its_process(
    env: Env, started: list[str]
) -> None:
    job = detached(env, started, "run", "-n", "2", "--cwd", "/", "--", "sh", "-c", "cd /usr; export MINE=1; exec sleep 60")  # fmt: skip
    row = json.loads(env.gshell("ranks", job, "--json", "--rank", "1").stdout)["ranks"][0]
    until(
        lambda: Path(f"/proc/{row['pid']}/comm").read_text() == "sleep\n", "it to be where it goes"
    )
    with Pty(env.argv("sh", job, "--rank", "1"), env.client_env()) as pty:
        pty.wait_for(f"rank 1 is pid {row['pid']}: gdb -p {row['pid']}")
        pty.wait_for("ready$ ")
        pty.line("echo $GSHELL_BESIDE_RANK $GSHELL_BESIDE_PID $PWD $MINE=")
        pty.wait_for(f"1 {row['pid']} /usr 1=")
        pty.line("exit")
        assert pty.wait() == 0
    done = env.gshell("sh", job, "--rank", "5")
    assert (done.returncode, b"no rank 5" in done.stderr) == (2, True)


# What mpirun does: ranks that have their number in the environment, and children of theirs.
LAUNCHER = (
    'for n in 0 1 2; do OMPI_COMM_WORLD_RANK=$n sh -c "cd /usr; MINE=$n sleep 60; :" & done; wait'
)


def test_the_ranks_of_a_launcher_that_was_simply_run_are_found_too(
    env: Env, started: list[str]
) -> None:
    job = detached(env, started, "run", "--", "sh", "-c", LAUNCHER)

    def rows(*words: str) -> list[dict[str, object]]:
        found = json.loads(env.gshell("ranks", job, "--json", *words).stdout)["ranks"]
        return [row for row in found if row.get("foreign")]

    until(lambda: len(rows()) == 3)
    assert [(row["rank"], row["argv0"], row["out"]) for row in rows()] == [
        (n, "sh", None) for n in range(3)
    ]
    assert [row["rank"] for row in rows("--rank", "2")] == [2]
    for rank in (0, 2):
        pid = rows("--rank", str(rank))[0]["pid"]
        until(lambda pid=pid: os.readlink(f"/proc/{pid}/cwd") == "/usr", "it to be where it goes")
        ask = b"echo $GSHELL_BESIDE_RANK $GSHELL_BESIDE_PID $PWD $OMPI_COMM_WORLD_RANK\n"
        done = env.gshell("sh", job, "--rank", str(rank), input=ask)
        assert done.stdout.decode().split() == [str(rank), str(pid), "/usr", str(rank)]
    done = env.gshell("sh", job, "--rank", "3")
    assert (done.returncode, b"has no rank 3; found were: 0, 1, 2" in done.stderr) == (2, True)
    none = env.gshell("ranks", job, "--rank", "7")
    assert (none.returncode, b"has no ranks 7" in none.stderr) == (2, True)


def test_more_ranks_than_slots_need_to_be_meant(env: Env, background: bool) -> None:
    slots = sum(agent["slots"] for agent in env.agents())
    argv = ("mpi", "-n", str(slots + 2))
    tail = ("--flavour", "mpich", "--", "sh", "-c", "echo $GSHELL_RANK")
    done = env.gshell(*argv, *tail, background=background)
    assert done.returncode == 2
    assert b"--oversubscribe" in done.stderr
    done = env.gshell(*argv, "--oversubscribe", *tail, background=background)
    assert sorted(map(int, done.stdout.split())) == list(range(slots + 2)), done.stderr


def test_who_runs_a_program_without_a_terminal_can_leave_it_and_come_back(
    env: Env, started: list[str], background: bool
) -> None:
    argv = ("mpi", "-n", "2", "--flavour", "mpich", "--", "sh", "-c", ASK)
    with Pty(env.argv(*argv), env.client_env(background)) as pty:
        pty.wait_for("I am 0")
        pty.line("hello")
        pty.wait_for("0 got hello")
        pty.line("~#")
        pty.wait_for("LAST LINE")
        pty.line("~.")
        found = re.search(rb"detached from (\d+); it goes on", pty.wait_for("returns]"))
        assert found
        started.append(found[1].decode())
        assert pty.wait() == 0
    with Pty(env.argv("attach", started[0]), env.client_env(background)) as pty:
        pty.wait_for("~. Enter detaches, Ctrl-C interrupts it")
        pty.line("there")
        pty.wait_for("0 got there")
        pty.line("~.")
        assert pty.wait() == 0
    assert b"~" not in env.gshell("logs", started[0]).stdout


def test_who_looks_at_a_rank_leaves_by_the_same_line(env: Env, started: list[str]) -> None:
    job = detached(env, started, "mpi", "-n", "2", "--flavour", "mpich", "--", "sleep", "60")
    with Pty(env.argv("attach", job, "--rank", "1"), env.client_env()) as pty:
        pty.wait_for("Ctrl-C leaves")
        pty.line("~.")
        pty.wait_for(f"gshell attach {job} --rank 1")
        assert pty.wait() == 0


def test_a_tilde_in_a_pipe_is_no_escape(env: Env, background: bool) -> None:
    done = env.gshell("run", "--", "cat", input=b"~.\n~~\n", background=background)
    assert done.stdout == b"~.\n~~\n"


@pytest.mark.parametrize("flavour", ["auto", "mpich"])
def test_a_program_that_is_not_there_is_said_once(env: Env, flavour: str) -> None:
    done = env.gshell("mpi", "-n", "3", "--flavour", flavour, "--", "./nope")
    said = done.stderr.decode().splitlines()
    assert [line.partition(" (on ")[0] for line in said] == [
        "gshell: ./nope: No such file or directory"
    ]
    assert (done.returncode, done.stdout) == (127, b"")
    assert env.gshell("mpi", "-n", "2", "--", "/etc/passwd").returncode == 126
