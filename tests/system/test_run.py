"""``gshell run`` without a terminal: output, exit status, argv, environment, directory."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from kit.procs import Env, until

PY = [sys.executable, "-I", "-S", "-c"]


def test_stdout_stderr_and_exit_status_are_the_programs_own(env: Env, background: bool) -> None:
    script = "printf out; printf err >&2; exit 7"
    done = env.gshell("run", "--", "sh", "-c", script, background=background)
    assert (done.stdout, done.stderr, done.returncode) == (b"out", b"err", 7)


@pytest.mark.parametrize("code", [0, 1, 2, 42, 124, 125, 127, 255])
def test_every_exit_status_comes_through(private: Env, code: int) -> None:
    assert private.gshell("run", "--", "sh", "-c", f"exit {code}").returncode == code


@pytest.mark.parametrize("name", ["TERM", "KILL", "SEGV", "USR1", "PIPE"])
def test_death_by_a_signal_is_128_and_its_number(private: Env, name: str, background: bool) -> None:
    done = private.gshell(
        "run", "--", "sh", "-c", f"ulimit -c 0; kill -{name} $$", background=background
    )
    assert done.returncode == 128 + getattr(signal, "SIG" + name)
    assert done.stderr == b""


def test_a_hundred_runs_are_all_complete(private: Env) -> None:
    for number in range(100):
        code = number % 250
        done = private.gshell(
            "run", "--", "sh", "-c", f"echo out{number}; echo err{number} >&2; exit {code}"
        )
        assert done.stdout == b"out%d\n" % number
        assert done.stderr == b"err%d\n" % number
        assert done.returncode == code


@pytest.mark.parametrize(
    ("argv", "status", "words"),
    [
        (["/no/such/program"], 127, "/no/such/program"),
        (["no-such-program-anywhere"], 127, "no-such-program-anywhere"),
        (["/etc/passwd"], 126, "/etc/passwd"),
        (["/tmp"], 126, "/tmp"),
    ],
)
def test_what_cannot_be_executed_ends_as_in_a_shell(
    private: Env, argv: list[str], status: int, words: str, background: bool
) -> None:
    done = private.gshell("run", "--", *argv, background=background)
    assert done.returncode == status
    assert words in done.stderr.decode()
    assert done.stdout == b""


def test_a_missing_directory_is_126_and_named(private: Env, background: bool) -> None:
    done = private.gshell("run", "--cwd", "/no/such/dir", "--", "pwd", background=background)
    assert done.returncode == 126
    assert "/no/such/dir" in done.stderr.decode()


def test_our_time_out_is_124_and_the_program_is_gone(private: Env, background: bool) -> None:
    done = private.gshell("run", "--timeout", "0.3", "--", "sleep", "600", background=background)
    assert done.returncode == 124, done.stderr


def test_a_time_out_lets_a_quicker_program_alone(private: Env, background: bool) -> None:
    done = private.gshell(
        "run", "--timeout", "30", "--", "sh", "-c", "exit 3", background=background
    )
    assert done.returncode == 3


def test_output_before_our_time_out_is_kept(private: Env) -> None:
    done = private.gshell("run", "--timeout", "0.5", "--", "sh", "-c", "echo so far; sleep 600")
    assert (done.stdout, done.returncode) == (b"so far\n", 124)


# ------------------------------------------------------------------------------------------- argv

ODD_WORDS = [
    b"",
    b" ",
    b"a b",
    b"two\nlines",
    b"\ttab",
    b"'quoted' \"twice\"",
    b"$HOME `date` $(date) \\ *",
    b"-",
    b"--",
    b"--help",
    b"-n",
    "grüße 日本語".encode(),
    b"\xff\xfe not utf-8 \x80",
    b"\x01\x7f",
    b"\x1b[31m",
    b"=",
    b"x" * 100_000,
]
SHOW_ARGV = "import sys,os; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"


def test_words_arrive_byte_by_byte_as_they_were(private: Env, background: bool) -> None:
    words = [os.fsdecode(word) for word in ODD_WORDS]
    done = private.gshell("run", "--", *PY, SHOW_ARGV, *words, background=background)
    assert done.stdout.split(b"\0") == ODD_WORDS, done.stderr


def test_options_of_the_program_are_not_ours_without_a_dash_dash_either(private: Env) -> None:
    assert private.gshell("run", "echo", "-n", "--help").stdout == b"--help"


# ------------------------------------------------------------------- environment, directory, umask


def test_here_the_program_has_the_users_environment(private: Env, background: bool) -> None:
    done = private.gshell(
        "run", "--", "sh", "-c", "echo $FRUIT", env={"FRUIT": "kiwi"}, background=background
    )
    assert done.stdout == b"kiwi\n"


def test_a_variable_can_be_set_and_one_can_be_passed_on(private: Env, background: bool) -> None:
    done = private.gshell(
        "run", "--env", "A=1 2=3", "--env", "EMPTY=", "--env", "B", "--env", "NOT_SET_HERE", "--",
        "sh", "-c", 'echo "$A|${EMPTY-unset}|$B|${NOT_SET_HERE-unset}"',
        env={"B": "mine"}, background=background,
    )  # fmt: skip
    assert done.stdout == b"1 2=3||mine|unset\n"


def test_a_variable_that_is_not_utf8_arrives(private: Env, background: bool) -> None:
    odd = os.fsdecode(b"\xff\xfe")
    done = private.gshell("run", "--", "printenv", "ODD", env={"ODD": odd}, background=background)
    assert done.stdout == b"\xff\xfe\n"


def test_an_environment_of_hundred_kilobytes_arrives(private: Env, background: bool) -> None:
    env = {f"BIG_{number}": str(number) * 4 + "x" * 1000 for number in range(100)}
    script = (
        "import os,sys; print(sum(len(v) for k, v in os.environ.items() if k.startswith('BIG_')))"
    )
    done = private.gshell("run", "--", *PY, script, env=env, background=background)
    assert int(done.stdout) == sum(map(len, env.values())), done.stderr


def test_nothing_of_ours_but_job_rank_and_size_is_in_the_environment(
    private: Env, background: bool
) -> None:
    show = "import os, json; print(json.dumps(dict(os.environ)))"
    done = private.gshell("run", "--", *PY, show, background=background)
    env = json.loads(done.stdout)
    ours = {name for name in env if name.startswith("GSHELL_")} - {
        "GSHELL_HOME",
        "GSHELL_BACKGROUND",
    }
    assert ours == {"GSHELL_JOB", "GSHELL_RANK", "GSHELL_SIZE"}
    assert not any(re.fullmatch("[0-9a-f]{32,}", value) for value in env.values())


def test_it_runs_in_the_directory_where_gshell_was_typed(
    private: Env, tmp_path: Path, background: bool
) -> None:
    there = tmp_path / "a dir\nwith a name"
    there.mkdir()
    done = private.gshell(
        "run", "--", *PY, "import os; print(os.getcwd())", cwd=there, background=background
    )
    assert done.stdout.decode() == f"{there}\n"


def test_cwd_may_be_relative_to_where_gshell_was_typed(
    private: Env, tmp_path: Path, background: bool
) -> None:
    (tmp_path / "sub").mkdir()
    done = private.gshell("run", "--cwd", "sub", "--", "pwd", cwd=tmp_path, background=background)
    assert done.stdout.decode() == f"{tmp_path}/sub\n"


def test_a_directory_that_was_deleted_is_said_or_left(
    private: Env, tmp_path: Path, background: bool
) -> None:
    there = tmp_path / "gone"
    there.mkdir()
    done = private.gshell(
        "run", "--", "true", background=background, cwd=there, preexec_fn=lambda: os.rmdir(there)
    )
    assert done.returncode in (0, 125), done.stderr


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002, 0])
def test_the_umask_is_the_users(private: Env, mask: int, background: bool) -> None:
    done = private.gshell(
        "run", "--", *PY, "import os; print('%03o' % os.umask(0))",
        background=background, preexec_fn=lambda: os.umask(mask),
    )  # fmt: skip
    assert done.stdout == b"%03o\n" % mask


OURS = ~(3 << 31)  # signals 32 and 33 belong to the C library: nobody but it can set them


def test_signals_are_as_in_a_fresh_process(private: Env, background: bool) -> None:
    def ignore() -> None:
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})

    done = private.gshell(
        "run", "--", "cat", "/proc/self/status", background=background, preexec_fn=ignore
    )
    lines = dict(line.split(":\t") for line in done.stdout.decode().splitlines() if ":\t" in line)
    assert int(lines["SigIgn"], 16) & OURS == 0
    assert int(lines["SigBlk"], 16) & OURS == 0


def test_no_descriptor_of_ours_is_inherited(private: Env, background: bool) -> None:
    done = private.gshell("run", "--", "ls", "/proc/self/fd", background=background)
    assert done.stdout.split() == [b"0", b"1", b"2", b"3"]  # 3 is ls's own


def test_a_name_is_shown_and_harmless(private: Env, background: bool) -> None:
    private.gshell("run", "-J", "my \x1b[31mjob\n", "--", "true", background=background)
    until(lambda: [job for job in private.jobs() if "my" in job["name"]], "the job in the list")
    table = private.gshell("jobs", "-a").stdout
    assert b"\x1b" not in table
    assert b"my" in table


# ------------------------------------------------------------------------------------------ several


def test_five_runs_at_once_keep_apart(env: Env, background: bool) -> None:
    runs = [
        env.popen("run", "--", "sh", "-c", f"seq {n}0000 {n}9999; exit {n}", background=background)
        for n in range(1, 6)
    ]
    for n, run in enumerate(runs, 1):
        out, err = run.communicate(timeout=60)
        assert out.split() == [b"%d" % i for i in range(n * 10000, n * 10000 + 10000)]
        assert (run.returncode, err) == (n, b"")


def test_tasks_have_ranks_and_the_highest_status_counts(env: Env, background: bool) -> None:
    done = env.gshell("run", "-n", "4", "--", "sh", "-c", "echo $GSHELL_RANK/$GSHELL_SIZE; exit $GSHELL_RANK",
                      background=background)  # fmt: skip
    assert sorted(done.stdout.split()) == [b"0/4", b"1/4", b"2/4", b"3/4"]
    assert done.returncode == 3


def test_labels_keep_lines_whole(env: Env, background: bool) -> None:
    script = "for i in $(seq 200); do printf a; printf $i; echo; done; printf 'no end'"
    done = env.gshell("run", "-n", "3", "-l", "--", "sh", "-c", script, background=background)
    lines = done.stdout.decode().splitlines()
    for rank in range(3):
        mine = [line.partition(": ")[2] for line in lines if line.startswith(f"{rank}: ")]
        assert mine == [f"a{i}" for i in range(1, 201)] + ["no end"]
    assert len(lines) == 3 * 201


def test_several_agents_share_one_numbering(relay: Env, background: bool) -> None:
    done = relay.gshell(
        "run",
        "-N",
        "2",
        "-n",
        "2",
        "-l",
        "--",
        "sh",
        "-c",
        "echo $GSHELL_RANK/$GSHELL_SIZE",
        background=background,
    )
    assert sorted(done.stdout.split(b"\n")) == [b"", b"0: 0/4", b"1: 1/4", b"2: 2/4", b"3: 3/4"], (
        done.stderr
    )
    assert done.returncode == 0


def test_stdin_goes_to_rank_0(private: Env, background: bool) -> None:
    done = private.gshell(
        "run", "-n", "3", "-l", "--", "wc", "-c", input=b"twelve bytes", background=background
    )
    assert sorted(done.stdout.split(b"\n")) == [b"", b"0: 12", b"1: 0", b"2: 0"]


def test_more_agents_than_there_are_is_said(private: Env) -> None:
    run = private.popen("run", "-N", "3", "--timeout", "1", "--", "true")
    _out, err = run.communicate(timeout=60)
    assert run.returncode in (124, 125), err
    assert err


# ------------------------------------------------------------------------------------------ signals


@pytest.mark.parametrize("name", ["TERM", "INT", "USR1", "QUIT"])
def test_a_signal_to_gshell_reaches_the_program(private: Env, name: str, background: bool) -> None:
    script = f"trap 'echo got {name}; exit 9' {name}; echo ready; while :; do sleep 0.05; done"
    run = private.popen("run", "--", "sh", "-c", script, background=background)
    assert run.stdout is not None
    assert run.stdout.readline() == b"ready\n"
    run.send_signal(getattr(signal, "SIG" + name))
    out, err = run.communicate(timeout=20)
    assert (out, run.returncode) == (f"got {name}\n".encode(), 9), err


def test_three_interrupts_end_a_program_that_does_not_listen(
    private: Env, background: bool
) -> None:
    run = private.popen(
        "run", "--", "sh", "-c", "trap '' INT; echo ready; exec sleep 600", background=background
    )
    assert run.stdout is not None
    assert run.stdout.readline() == b"ready\n"
    for _ in range(3):
        run.send_signal(signal.SIGINT)
        until(lambda: not _pending(run.pid, signal.SIGINT), "the signal to be taken")
    run.communicate(timeout=20)
    assert run.returncode == 137


def _pending(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    bits = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith("ShdPnd")]
    return bool(bits[0] & (1 << (number - 1)))


def test_a_grandchild_that_holds_the_pipe_does_not_hold_the_end(
    private: Env, background: bool
) -> None:
    script = "(sleep 30) & echo $!; exit 5"
    done = private.gshell("run", "--", "sh", "-c", script, background=background, timeout_s=20)
    try:
        assert done.returncode == 5
    finally:
        os.kill(int(done.stdout), signal.SIGKILL)
