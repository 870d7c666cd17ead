"""Standard input, output and error of every kind: pipes, files, sockets, closed ones, readers that leave."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from kit.procs import Env, gshell_argv

ALL_BYTES = bytes(range(256))
WAYS = ["background", "compiled", "direct"]
PY = [sys.executable, "-I", "-S", "-c"]


def shell(
    env: Env, script: str, background: bool = True, **more: object
) -> subprocess.CompletedProcess[bytes]:
    """A line of sh in which ``gshell`` is ours."""
    words = " ".join(f"'{word}'" for word in gshell_argv())
    environ = {**env.env, "GSHELL_BACKGROUND": "1" if background else "0"}
    return subprocess.run(
        ["bash", "-c", f'gshell() {{ {words} "$@"; }}\n{script}'],
        env=environ,
        capture_output=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
        **more,  # type: ignore[call-overload]
    )


# ------------------------------------------------------------------------------------------- binary


def test_all_bytes_pass_both_ways(env: Env, background: bool) -> None:
    data = ALL_BYTES * 5000
    done = env.gshell("run", "--", "cat", input=data, background=background)
    assert done.stdout == data, done.stderr
    assert done.returncode == 0


def test_stderr_is_as_clean(env: Env, background: bool) -> None:
    data = ALL_BYTES * 2000
    done = env.gshell("run", "--", "sh", "-c", "cat >&2", input=data, background=background)
    assert (done.stderr, done.stdout) == (data, b"")


def test_thirty_megabytes_each_way_at_once(env: Env, background: bool) -> None:
    data = os.urandom(1 << 20) * 30
    script = "import sys,os,hashlib\nh=hashlib.sha256()\nwhile d := os.read(0, 65536):\n h.update(d); os.write(1, d)\nsys.stderr.write(h.hexdigest())"
    done = env.gshell("run", "--", *PY, script, input=data, background=background)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
    assert done.stderr.decode() == hashlib.sha256(data).hexdigest()


# -------------------------------------------------------------------------------------------- input


def test_the_end_of_input_reaches_the_program_and_output_still_flows(
    env: Env, background: bool
) -> None:
    script = "wc -c; seq 100000 | tail -n 1; echo done"
    done = env.gshell("run", "--", "sh", "-c", script, input=b"12345", background=background)
    assert done.stdout == b"5\n100000\ndone\n"


def test_no_input_is_an_end_at_once(private: Env, background: bool) -> None:
    assert private.gshell("run", "--", "wc", "-c", background=background).stdout == b"0\n"


def test_input_that_nobody_reads_holds_up_nothing(private: Env, background: bool) -> None:
    done = private.gshell(
        "run", "--", "sh", "-c", "exec <&-; echo ok", input=b"x" * 3_000_000, background=background
    )
    assert (done.stdout, done.returncode) == (b"ok\n", 0)


def test_a_writer_that_stays_does_not_keep_us(private: Env, background: bool) -> None:
    reads, writes = os.pipe()
    try:
        done = private.gshell("run", "--", "true", stdin=reads, background=background)
        assert done.returncode == 0
    finally:
        os.close(reads)
        os.close(writes)


def test_what_the_program_left_unread_is_not_lost_for_the_next(
    private: Env, tmp_path: Path, background: bool
) -> None:
    done = shell(
        private, "printf 'a\\nb\\n' | { gshell run -- true < /dev/null; cat; }", background
    )
    assert done.stdout == b"a\nb\n"


def test_input_comes_from_a_file_at_its_offset(
    private: Env, tmp_path: Path, background: bool
) -> None:
    (tmp_path / "f").write_bytes(b"first\nsecond\nthird\n")
    done = shell(private, "{ read x; gshell run -- cat; } < f", background, cwd=tmp_path)
    assert done.stdout == b"second\nthird\n"


def test_a_fifo_is_input(private: Env, tmp_path: Path, background: bool) -> None:
    done = shell(
        private,
        "mkfifo p; (sleep 0.1; echo through) > p & gshell run -- cat < p",
        background,
        cwd=tmp_path,
    )
    assert done.stdout == b"through\n"


def test_a_socket_is_input_and_output(private: Env, background: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        run = private.popen(
            "run", "--", "tr", "a-z", "A-Z", stdin=theirs, stdout=theirs, background=background
        )
        theirs.close()
        ours.sendall(b"over a socket")
        ours.shutdown(socket.SHUT_WR)
        got = b""
        while data := ours.recv(4096):
            got += data
        run.communicate(timeout=20)
    assert (got, run.returncode) == (b"OVER A SOCKET", 0)


@pytest.mark.parametrize(
    ("redirection", "script", "out", "status"),
    [
        ("<&-", "wc -c", b"0\n", 0),
        (">&-", "echo lost; exit 3", b"", 3),
        ("2>&-", "echo kept; echo lost >&2; exit 4", b"kept\n", 4),
        ("2> >(head -n 0)", "sleep 0.1; echo lost >&2; echo kept; exit 4", b"kept\n", 4),
        ("<&- >&- 2>&-", "exit 5", b"", 5),
        ("< /dev/null > /dev/null", "echo lost; exit 6", b"", 6),
        ("> /dev/full", "echo lost; sleep 0.2; exit 7", b"", 7),
    ],
)
def test_closed_and_odd_descriptors(
    private: Env, redirection: str, script: str, out: bytes, status: int, background: bool
) -> None:
    done = shell(private, f"gshell run -- sh -c '{script}' {redirection}", background)
    assert done.stdout == out
    # A program whose output has nowhere to go is told by SIGPIPE, or ends before it notices.
    assert done.returncode in (status, 141), done.stderr


# ------------------------------------------------------------------------------------------- output


def test_output_that_a_full_disk_does_not_take_is_no_success(
    private: Env, background: bool
) -> None:
    done = shell(private, "gshell run -- echo lost > /dev/full", background)
    assert done.returncode == 1
    assert done.stderr == (
        b"gshell: stdout: No space left on device: not all of the output is there\n"
    )


def test_two_runs_append_to_one_file_through_one_offset(
    private: Env, tmp_path: Path, background: bool
) -> None:
    shell(
        private,
        "(gshell run -- seq 3; echo mine; gshell run -- seq 4 6) > f",
        background,
        cwd=tmp_path,
    )
    assert (tmp_path / "f").read_bytes() == b"1\n2\n3\nmine\n4\n5\n6\n"


def test_appending_goes_to_the_end_whatever_others_write(
    private: Env, tmp_path: Path, background: bool
) -> None:
    (tmp_path / "f").write_bytes(b"0\n")
    shell(
        private,
        "gshell run -- sh -c 'seq 3; echo err >&2' >> f 2>> f; echo 9 >> f",
        background,
        cwd=tmp_path,
    )
    lines = (tmp_path / "f").read_bytes().split()
    assert lines[0] == b"0"
    assert lines[-1] == b"9"
    assert sorted(lines[1:-1]) == [b"1", b"2", b"3", b"err"]


def test_stdout_and_stderr_may_be_one_pipe(private: Env, tmp_path: Path, background: bool) -> None:
    come = "until grep -qs %s f; do sleep 0.02; done"  # two pipes over there: either may be first
    script = f"echo a; {come % 'a'}; echo b >&2; {come % 'b'}; echo c"
    shell(private, f"gshell run -- sh -c '{script}' 2>&1 | cat > f", background, cwd=tmp_path)
    assert (tmp_path / "f").read_bytes() == b"a\nb\nc\n"


def test_the_descriptor_stays_blocking_for_others(private: Env, background: bool) -> None:
    script = "import fcntl,os,sys; sys.exit(int(any(fcntl.fcntl(f, fcntl.F_GETFL) & os.O_NONBLOCK for f in (0, 1, 2))))"
    show = f"'{sys.executable}' -c '{script}'"
    done = shell(
        private,
        f"gshell run -- sleep 0.2 & sleep 0.1; {show}; a=$?; wait; {show}; exit $((a + $?))",
        background,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("program", ["yes", "seq 1 100000000"])
def test_a_reader_that_leaves_ends_the_program(
    private: Env, program: str, background: bool
) -> None:
    done = shell(
        private, f"gshell run -- {program} | head -n 1; exit ${{PIPESTATUS[0]}}", background
    )
    assert done.stdout in (b"y\n", b"1\n")
    assert done.returncode == 141, done.stderr


def test_it_is_sigpipe_that_the_program_gets(
    private: Env, tmp_path: Path, background: bool
) -> None:
    script = f"trap 'echo PIPE > {tmp_path}/got; exit 3' PIPE; while :; do echo y; done"
    done = shell(
        private,
        f'gshell run -- bash -c "{script}" | head -n 1; exit ${{PIPESTATUS[0]}}',
        background,
    )
    assert (tmp_path / "got").read_text() == "PIPE\n"
    assert done.returncode == 3


def test_a_reader_that_leaves_early_of_a_quiet_program(private: Env, background: bool) -> None:
    done = shell(
        private,
        "gshell run -- sh -c 'echo 1; sleep 0.3; exit 4' | head -n 1; exit ${PIPESTATUS[0]}",
        background,
    )
    assert (done.stdout, done.returncode) == (b"1\n", 4)


def test_a_slow_reader_loses_nothing(private: Env, background: bool) -> None:
    done = shell(private, "gshell run -- seq 500000 | (sleep 0.5; sha256sum)", background)
    assert (
        done.stdout.split()[0].decode()
        == hashlib.sha256(b"".join(b"%d\n" % n for n in range(1, 500001))).hexdigest()
    )


def test_a_reader_that_never_reads_slows_no_other_run(private: Env, background: bool) -> None:
    stuck = private.popen("run", "--", "cat", "/dev/zero", background=background)
    try:
        for _ in range(3):
            assert (
                private.gshell("run", "--", "echo", "quick", background=background).stdout
                == b"quick\n"
            )
    finally:
        stuck.send_signal(signal.SIGTERM)
        stuck.communicate(timeout=20)


def test_input_and_output_are_interactive(env: Env, background: bool) -> None:
    run = env.popen("run", "--", "cat", background=background)
    assert run.stdin is not None
    assert run.stdout is not None
    for number in range(50):
        run.stdin.write(b"%d\n" % number)
        run.stdin.flush()
        assert run.stdout.readline() == b"%d\n" % number
    out, err = run.communicate(timeout=20)
    assert (out, err, run.returncode) == (b"", b"", 0)


def test_a_pipeline_of_runs(private: Env, background: bool) -> None:
    script = "gshell run -- seq 100000 | gshell run -- grep 7 | gshell run -- wc -l"
    assert shell(private, script, background).stdout.strip() == b"40951"
