"""`gshell replay` as it is typed: on agents, here, green and red."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gshell.net import inputwait
from kit.procs import Env, two_agents, until

SOLVER = """\
$ VALUE=${V}; read -p 'steps? ' n
"steps? "> 250
[0]
$ echo "residual $$VALUE of $$n on $$GSHELL_JOB"
residual (num 1.619634321e-02) of 250 on (any)
[0]
$ exit
"""


@pytest.fixture(scope="module")
def env() -> Iterator[Env]:
    if not inputwait.CALLS:
        pytest.skip("system calls are not known for this processor")
    with two_agents() as one:
        yield one


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "solver.gst"
    path.write_text("@param V=0.01619634321\n" + SOLVER)
    return path


def test_a_script_is_green_on_any_agent_and_red_when_a_digit_beyond_tolerance_differs(
    env: Env, script: Path, tmp_path: Path
) -> None:
    for agent in [one["id"] for one in env.agents()]:
        done = env.gshell("replay", str(script), "--on", agent, cwd=tmp_path)
        assert done.returncode == 0, done
        assert b"sync input-wait" in done.stdout
        assert b"sync osc133" in done.stdout
    done = env.gshell("replay", str(script), "-D", "V=0.01619634621", cwd=tmp_path)
    assert done.returncode == 1, done
    assert b"+residual 0.01619634621 of 250" in done.stdout
    cast = next(tmp_path.glob("solver.gst.*.cast"))  # of the one that differed
    assert json.loads(cast.read_text().splitlines()[0])["version"] == 2
    assert "residual 0.01619634621" in cast.read_text()


@pytest.mark.parametrize("how", [["-t"], ["-T"]], ids=["terminal", "pipes"])
def test_a_program_is_typed_to_when_it_reads(env: Env, tmp_path: Path, how: list[str]) -> None:
    path = tmp_path / "ask.gst"
    path.write_text('""> one\n<one>\n""> two\n<two>\n[4]\n')
    program = 'read a; echo "<$a>"; sleep 0.1; read b; echo "<$b>"; exit 4'
    done = env.gshell("replay", str(path), "--json", "--", "run", *how, "--", "sh", "-c", program)
    assert done.returncode == 0, done
    (run,) = json.loads(done.stdout)["runs"]
    assert [step["sync"] for step in run["steps"]] == ["input-wait", "input-wait"]
    assert run["status"] == 4


def test_ranks_are_judged_apart(env: Env, tmp_path: Path) -> None:
    path = tmp_path / "ranks.gst"
    path.write_text('"value? "> hi\n(rank 0) 0 got hi\n(rank 1) 1 works\n[0]\n')
    program = """if [ $GSHELL_RANK = 0 ]; then printf 'value? '; read x; echo "0 got $x"
        else echo '1 works'; fi"""
    done = env.gshell("replay", str(path), "--", "run", "-n", "2", "--", "sh", "-c", program)
    assert done.returncode == 0, done


def test_a_rank_that_reads_nothing_is_judged_by_its_lines_not_by_the_time(
    env: Env, tmp_path: Path
) -> None:
    path = tmp_path / "late.gst"
    path.write_text(
        """""> one
(rank 0) 0 one
(rank 1) 1 late
""> two
(rank 0) 0 two
(rank 1) 1 early
(rank 1) 1 last
[0]
"""
    )
    # Rank 1's first line comes when rank 0 waits again, its second one before that is typed to.
    program = """cd "$0"; if [ $GSHELL_RANK = 0 ]; then
        read x; echo "0 $x"; >typed; while [ ! -e told ]; do sleep 0.01; done; read x; echo "0 $x"
        else while [ ! -e typed ]; do sleep 0.01; done; sleep 0.6; >told; sleep 0.6; echo '1 late'
        echo '1 early'; echo '1 last'; fi"""
    words = ("--", "run", "-n", "2", "--", "sh", "-c", program, str(tmp_path))
    done = env.gshell("replay", str(path), "--no-cast", *words)
    assert done.returncode == 0, done
    (tmp_path / "typed").unlink()
    (tmp_path / "told").unlink()
    path.write_text(path.read_text().replace("1 last", "1 least"))
    assert env.gshell("replay", str(path), "--no-cast", *words).returncode == 1


def test_a_job_that_runs_already_is_typed_to_and_left(env: Env, tmp_path: Path) -> None:
    path = tmp_path / "cat.gst"
    path.write_text('""> hello\nhello\n')
    job = env.gshell("run", "--detach", "--", "sh", "-c", "exec sleep 600").stdout.decode().strip()
    done = env.gshell("replay", str(path), "--timeout", "1", "--", "attach", job, cwd=tmp_path)
    assert done.returncode == 124, done  # it reads nothing
    assert [one["id"] for one in env.jobs() if one.get("ended_at") is None] == [job]
    env.gshell("cancel", job)


def test_a_job_that_has_ended_is_typed_nothing(env: Env, tmp_path: Path) -> None:
    path = tmp_path / "cat.gst"
    path.write_text('""> hello\nhello\n')
    done = env.gshell("run", "--keep", "--detach", "--", "sh", "-c", "echo over; exit 6")
    job = done.stdout.decode().strip()
    until(lambda: [o for o in env.jobs() if o["id"] == job and o["ended_at"]])
    done = env.gshell("replay", str(path), "--no-cast", "--", "attach", job)
    assert done.returncode == 1, done
    assert b"has ended with status 6" in done.stdout
    assert b"| over" in done.stderr


def test_a_matrix_is_a_table_and_csv(env: Env, tmp_path: Path) -> None:
    path = tmp_path / "m.gst"
    path.write_text("@param N=1\n$ echo took $((${N} * 2)) s\ntook (num as t) s\n$ exit\n")
    words = ("--matrix", "N=1,2,4", "--csv", "out.csv", "--junit", "out.xml", "--local")
    done = env.gshell("replay", str(path), *words, cwd=tmp_path)
    assert done.returncode == 0, done
    rows = [line.split() for line in done.stdout.decode().splitlines() if line[:1].isdigit()]
    assert [row[:2] for row in rows] == [["1", "2"], ["2", "4"], ["4", "8"]]
    assert (tmp_path / "out.csv").read_text().splitlines()[0] == "N,t,elapsed_s,ok"
    assert (tmp_path / "out.xml").read_text().count("<testsuite ") == 3


def test_what_varies_is_learnt(env: Env, tmp_path: Path) -> None:
    path = tmp_path / "date.gst"
    path.write_text("$ date +%N; echo same\n$ exit\n")
    words = ("--learn", "--write", "learnt.gst", "--local")
    assert env.gshell("replay", str(path), *words, cwd=tmp_path).returncode == 0
    learnt = (tmp_path / "learnt.gst").read_text()
    assert "same" in learnt
    assert env.gshell("replay", "learnt.gst", "--local", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("text", "words", "status", "said"),
    [
        ("$ exit\n", ["--local", "--", "/no/such/program"], 125, b"cannot be started"),
        ("$ sleep 60\n$ x\n", ["--local", "--timeout", "0.3"], 124, b"the shell's prompt"),
        ("what\n", ["--local"], 2, b"s.gst:1:1:"),
        ("$ exit\n", ["-D", "N=1", "--local"], 2, b"no parameter N"),
        ("$ exit\n", ["--", "frobnicate"], 2, b"none of sh, run, mpi, attach"),
        ("# empty\n", ["--local"], 2, b"nothing is typed"),
    ],
)
def test_what_goes_wrong_has_a_status_of_its_own(
    env: Env, tmp_path: Path, text: str, words: list[str], status: int, said: bytes
) -> None:
    (tmp_path / "s.gst").write_text(text)
    done = env.gshell("replay", "s.gst", "--no-cast", *words, cwd=tmp_path)
    assert done.returncode == status, done
    assert said in done.stderr + done.stdout
