"""Processes of this host: what they print, how they end, and that nothing of them is left."""

import io
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from gshell.sweep import conductor
from gshell.sweep.actions import (
    ActionLifecycleHandler,
    Local,
    ParallelActions,
    SequentialActions,
    wait_all_actions,
    wait_any_actions,
)
from gshell.sweep.handlers import STDERR, ProcessOutputHandler
from gshell.sweep.local import Process
from gshell.sweep.log import logger
from gshell.sweep.process import ProcessLifecycleHandler, configuration
from gshell.sweep.report import Report
from kit.procs import alive, until

QUIET = {
    "nolog_exit_code": True, "nolog_timeout": True, "nolog_error": True, "nolog_expect_fail": True
}  # fmt: skip
SHELL = {"shell": True, **QUIET}


def test_hello_world():
    assert Process("echo 'hello, world'").run().stdout == "hello, world\n"


def test_a_line_is_words_unless_a_shell_reads_it():
    assert Process("echo hi; echo yo").run().stdout == "hi; echo yo\n"
    assert Process("echo hi; echo yo", shell=True).run().stdout == "hi\nyo\n"
    assert Process(["echo", "a b"], shell=True).run().stdout == "a b\n"


@pytest.mark.parametrize(
    ("cmd", "code", "number"),
    [("exit 0", 0, None), ("exit 3", 3, None), ("kill -TERM $$", 143, 15), ("kill -9 $$", 137, 9)],
)
def test_an_exit_code_is_what_a_shell_would_say(cmd, code, number):
    process = Process(cmd, shell=True, **QUIET).run()
    assert (process.exit_code, process.signal) == (code, number)
    assert process.ok == process.finished_ok == (code == 0)
    assert Process(cmd, shell=True, ignore_exit_code=True, **QUIET).run().ok


def test_states_before_while_and_after():
    process = Process("cat")
    assert (process.started, process.running, process.ended, process.ok) == (
        False,
        False,
        False,
        True,
    )
    with pytest.raises(ValueError, match="not started"):
        process.wait()
    assert process.start() is process.start()
    assert (process.started, process.running, process.ended, process.ok) == (
        True,
        True,
        False,
        True,
    )
    process.write("x")
    process.close_stdin()
    process.wait()
    assert (process.running, process.ended, process.finished_ok, process.stdout) == (
        False,
        True,
        True,
        "x",
    )
    assert process.start_date <= process.end_date
    assert process.reset().started is False
    assert process.run(0.05).running  # the wait is over, not the process
    process.kill().wait()
    assert str(process).startswith("<Process('cat', name=cat, started=True, start_date=")


def test_a_program_that_does_not_exist_is_an_error_not_an_exception():
    process = Process("/no/such/program", **QUIET).run()
    assert (process.error, process.ok, process.exit_code) == (True, False, None)
    assert isinstance(process.error_reason, FileNotFoundError)
    assert not Process("echo 'unfinished", **QUIET).run().ok


@pytest.mark.parametrize(
    ("cmd", "more", "said"),
    [
        ("/no/such/program", {}, "not started: [Errno 2] No such file or directory: '/no/such/"),
        ("sleep 77", {"timeout": 0.05}, "Process('sleep 77'): ended by its time-out of 0:00:00.05"),
        ("sh -c 'echo a; exit 3'", {}, "exit code 3\nstdout:\na"),
        (r"sh -c 'printf \\033[2J >&2; kill -SEGV $$'", {},
         "exit code 139 (SIGSEGV)\nstderr:\n\\x1b[2J"),
    ],
)  # fmt: skip
def test_what_went_wrong_is_said_once_and_shortly(monkeypatch, cmd, more, said):
    told = []
    monkeypatch.setattr(logger, "warning", lambda text, *args: told.append(text % args))
    Process(cmd, **more).run()
    (words,) = told
    assert words.startswith(f"{Process(cmd)!r}: ")
    assert said in words


def test_a_killed_one_is_ok_and_takes_its_children_along():
    with Process("sleep 77 & sleep 78 & echo $! ; wait", shell=True).start() as process:
        child = int(until(lambda: process.stdout, "its child"))
        assert alive(child)
    process.wait()
    assert process.killed
    assert process.finished_ok
    until(lambda: not alive(child), "the child's end")


def test_who_does_not_listen_is_killed_for_good(monkeypatch):
    monkeypatch.setitem(configuration, "kill_timeout", 0.05)
    process = Process("trap '' TERM; echo up; while :; do sleep 0.01; done", shell=True).start()
    until(lambda: process.stdout, "its trap")
    process.kill().wait()
    assert process.forced_kill
    assert process.signal == signal.SIGKILL


def test_a_time_out_ends_it():
    process = Process("sleep 77", timeout=0.05, **QUIET).run()
    assert (process.timeouted, process.ok, process.killed) == (True, False, True)
    assert Process("sleep 77", timeout=0.05, ignore_timeout=True, **QUIET).run().ok


def test_output_goes_to_all_kinds_of_handlers_whole(tmp_path):
    noise = bytes(range(256)) * 40 + "é€𝄞".encode() * 1000
    (tmp_path / "noise").write_bytes(noise)
    chunks, lines, said, alone, file = [], [], [], [], io.StringIO()

    class Chunks(ProcessOutputHandler):
        def read(self, process, stream, string, eof, error):
            chunks.append((string, eof))

    class Lines(ProcessOutputHandler):
        def read_line(self, process, stream, line):
            lines.append(line)

    with open(tmp_path / "fd", "wb") as fd:
        process = Process(
            ["cat", str(tmp_path / "noise")],
            stdout_handlers=[
                str(tmp_path / "file"), fd.fileno(), Chunks(), Lines(), file,
                lambda process, stream, text, eof, error: said.append(text), alone.append,
            ],
        ).run()  # fmt: skip
    text = noise.decode("utf-8", "surrogateescape")
    assert (tmp_path / "file").read_bytes() == (tmp_path / "fd").read_bytes() == noise
    assert process.stdout == "".join(said) == "".join(alone) == text
    assert "".join(one for one, _ in chunks) == text
    assert lines == text.splitlines()
    assert file.getvalue() == text.replace("\r\n", "\n") or file.getvalue() == text
    assert [eof for _, eof in chunks].count(True) == 1


def test_a_file_has_a_line_as_soon_as_it_was_printed(tmp_path):
    with Process("echo one; exec sleep 77", shell=True, stdout_handlers=[tmp_path / "out"]).start():
        until(lambda: (tmp_path / "out").read_text() == "one\n", "the line")


def test_processes_share_a_file_and_none_loses_a_line(tmp_path):
    many = [
        Process(
            f"for i in $(seq 100); do echo {n} $i; done",
            shell=True,
            stdout_handlers=[str(tmp_path / "all")],
        )
        for n in range(10)
    ]
    for one in many:
        one.start()
    for one in many:
        one.wait()
    assert len((tmp_path / "all").read_text().splitlines()) == 1000


def test_a_handler_that_breaks_costs_only_itself(caplog):
    def broken(process, stream, text, eof, error):
        raise RuntimeError("oops")

    logger.addHandler(caplog.handler)
    try:
        assert Process("echo hi", stdout_handlers=[broken]).run().stdout == "hi\n"
    finally:
        logger.removeHandler(caplog.handler)
    assert "oops" in caplog.text
    assert not Process("echo hi", stdout_handlers=["/no/such/dir/file"], **QUIET).run().ok


def test_expect_finds_goes_on_and_gives_up():
    with Process("echo one two; cat", shell=True, **QUIET).start() as process:
        assert process.expect(["zwei", "o(n)e"])[0] == 1
        assert process.expect("one", timeout=0.01) == (None, None)
        assert process.expect_fail
        print("three", file=process)
        index, match = process.expect("^thr(.*)$", timeout=10)
        assert (index, match.group(1)) == (0, "ee")
        process.close_stdin()
        assert process.expect("never") == (None, None)  # it has ended: no waiting for ever
        assert not process.ok
    with Process("echo oops >&2", shell=True, ignore_expect_fail=True).start() as process:
        assert process.expect("oops", stream=STDERR)[0] == 0


def test_a_terminal_of_its_own_with_a_size():
    process = Process(
        "stty size; test -t 0 && test -t 1 && ! test -t 2 && echo tty >/dev/tty",
        shell=True,
        pty=True,
    ).run()
    assert process.stdout == "24 80\r\ntty\r\n"


def test_a_stdin_that_nobody_reads_is_an_error_of_the_writer_only():
    process = Process("true").run()
    process.write("x")
    assert process.write_error
    assert not process.ok
    with Process("exec <&-; exec sleep 77", shell=True).start() as process:
        process.write(b"x" * 1_000_000)
        until(lambda: process.write_error, "that it does not read")
    assert not process.wait().ok
    process = Process("sleep 77").start()
    process.write(b"x" * 1_000_000)
    assert process.kill().wait().ok  # who is ended need not read
    process = Process("head -c 3", ignore_write_error=True).start()
    process.write(b"x" * 1_000_000)
    assert (process.wait().ok, process.write_error, process.stdout) == (True, True, "xxx")


def test_a_child_that_keeps_the_output_open_does_not_hold_its_parent(monkeypatch):
    monkeypatch.setattr(conductor, "LINGER_S", 0.2)
    since = time.monotonic()
    with Process("sleep 77 & echo $!", shell=True) as process:
        process.run()
        child = int(process.stdout)
    assert time.monotonic() - since < 30
    os.kill(child, signal.SIGKILL)


def test_lifecycle_handlers_have_run_when_the_wait_is_over_and_may_wait_themselves():
    seen = []

    class Life(ProcessLifecycleHandler):
        def start(self, process):
            seen.append("start" if process.pid else "too early")

        def end(self, process):
            seen.append(Process("echo end").run().stdout)

    Process("true", lifecycle_handlers=[Life()]).run()
    assert seen == ["start", "end\n"]


def test_signals_are_as_they_are_by_default():
    show = "import signal; print([n for n in (2, 3, 13) if signal.getsignal(n) == signal.SIG_IGN])"
    ours = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
from gshell.sweep.local import Process
print(Process(["python3", "-c", {show!r}]).run().stdout)
"""
    done = subprocess.run([sys.executable, "-c", ours], capture_output=True, text=True, env=paths())
    assert done.stdout.strip() in ("[]", "[13]"), done.stderr  # 13 is Python's own doing


def paths():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_what_a_killed_python_had_started_ends_too():
    code = """
import time
from gshell.sweep.local import Process
p = Process("sleep 77 & echo $! $$; wait", shell=True).start()
while not p.stdout.endswith("\\n"): time.sleep(0.01)
print(p.stdout, flush=True)
time.sleep(77)
"""
    python = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=paths()
    )
    pids = [int(word) for word in python.stdout.readline().split()]
    assert all(alive(pid) for pid in pids)
    python.kill()
    python.communicate()
    until(lambda: not any(alive(pid) for pid in pids), "the end of its processes")


def test_two_hundred_at_once_and_nothing_is_left():
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    many = [Process("echo x").start() for _ in range(200)]
    assert all(one.wait().stdout == "x\n" for one in many)
    until(lambda: len(os.listdir("/proc/self/fd")) <= before[0] + 8, "closed descriptors")
    assert threading.active_count() <= before[1] + 1


def test_actions_side_by_side_and_one_after_the_other(tmp_path):
    out = {"stdout_handlers": [str(tmp_path / "out")]}
    sequence = SequentialActions([Local(f"echo {n}", out) for n in range(3)]).run()
    assert (tmp_path / "out").read_text() == "0\n1\n2\n"
    assert sequence.finished_ok
    side = ParallelActions([sequence.reset(), Local("exit 3", SHELL)]).run()
    assert not side.ok
    assert side.stats()["num_non_zero_exit_codes"] == 1
    with pytest.raises(ValueError, match="once"):
        side.start()
    assert ParallelActions([]).run().finished_ok
    table = Report([side, sequence]).to_string(wide=True)
    assert "SequentialActions" in table
    assert table.splitlines()[-1].split()[-1] == "7"
    assert max(map(len, Report([side]).to_string().splitlines())) < 80


def test_what_is_told_of_an_action_s_end_may_start_another_and_wait_for_it():
    told = []

    class Told(ActionLifecycleHandler):
        def end(self, action):
            told.append(Local("echo then").run(20).processes[0].stdout)

    assert Local("true", lifecycle_handlers=[Told()]).run(20).ok
    assert told == ["then\n"]


def test_waiting_for_any_and_for_all():
    quick, slow = Local("true").start(), Local("sleep 77").start()
    assert wait_any_actions([slow, quick]) == [quick]
    assert wait_all_actions([slow, quick], timeout=0.01) == [quick]
    slow.kill()
    assert wait_all_actions([slow, quick]) == [slow, quick]
    assert wait_any_actions([]) == []


def test_a_killed_sequence_begins_nothing_more():
    sequence = SequentialActions([Local("sleep 77"), Local("echo never")]).start()
    until(lambda: sequence.processes[0].running, "its first")
    sequence.kill().wait()
    assert not sequence.processes[1].started


KILLED_EARLY = """
import os, signal, sys
from gshell.sweep import conductor
one = conductor.conductor().spawn(["sh", "-c", "sleep 99 & echo $!; wait"], os.environ, False)
os.set_blocking(one.stdout, True)
print(one.pid, os.read(one.stdout, 99).decode(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_between_starting_a_process_and_following_it_nothing_is_left():
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    out = subprocess.run(
        [sys.executable, "-c", KILLED_EARLY], env=env, capture_output=True, text=True
    ).stdout
    for pid in map(int, out.split()):
        until(lambda pid=pid: not alive(pid), f"the end of {pid}", 30.0)
    assert len(out.split()) == 2


def test_an_output_handler_may_start_a_process_and_wait_for_it():
    inner = []

    def handler(process, stream, text, eof, error):
        if text:
            inner.append(Process("echo inner").run(20).stdout)

    process = Process("echo outer", stdout_handlers=[handler]).run(20)
    assert (inner, process.ok, process.stdout) == (["inner\n"], True, "outer\n")


def test_a_slow_handler_delays_its_own_process_only():
    held = threading.Event()

    def handler(process, stream, text, eof, error):
        held.wait(20)

    slow = Process("echo slow", stdout_handlers=[handler]).start()
    assert Process("echo quick").run(20).ended
    assert not slow.wait(0.01)._done.is_set()
    held.set()
    assert slow.wait(20).ok


def test_handlers_have_had_all_of_it_in_order_when_it_is_waited_for():
    got = []
    process = Process(
        "seq 20000; echo err >&2; seq 3",
        shell=True,
        stdout_handlers=[lambda process, stream, text, eof, error: got.append(text)],
    ).run(20)
    assert "".join(got) == process.stdout
    assert process.stdout.endswith("20000\n1\n2\n3\n")


FEW = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from gshell.sweep import Process, logger
all = [Process(["cat"], nolog_error=True) for _ in range(60)]
for one in all:
    one.start()
all[-1].kill()
for one in all[:-1]:
    one.write("said")
    one.close_stdin()
for one in all:
    one.wait(30)
print(sum(one.stdout == "said" for one in all), all[-1].exit_code, sum(one.error for one in all))
"""


def test_more_processes_than_descriptors_wait_for_those_that_run():
    done = subprocess.run(
        [sys.executable, "-c", FEW],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["59", "143", "0"], done.stderr


def test_children_have_the_descriptor_limit_that_we_were_started_with():
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (200, 4096))\n"
        "from gshell.sweep import Process\n"
        "Process('true').run()\n"  # whoever raises it is here now
        "print(Process('sleep 0.1; ulimit -n', shell=True).run().stdout)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split()[-1] == "200", done.stderr
