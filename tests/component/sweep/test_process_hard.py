"""Processes under strain: forks, floods, slow readers, children that run away."""

import contextlib
import gc
import gzip
import io
import os
import re
import signal
import subprocess
import sys
import threading
import weakref

import pytest

from gshell.sweep import conductor, proctree
from gshell.sweep.actions import Local, ParallelActions, SequentialActions, wait_any_actions
from gshell.sweep.handlers import ExpectOutputHandler, Lines, ProcessOutputHandler
from gshell.sweep.local import Process
from gshell.sweep.process import ProcessLifecycleHandler, configuration
from kit.procs import alive, until

QUIET = {"nolog_exit_code": True, "nolog_timeout": True, "nolog_error": True}


def python(code):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


FORKS = """
import multiprocessing, os, time
from gshell.sweep import Process, conductor
kept = Process("cat").start()
ours, theirs = os.pipe()
def work():
    code = Process("true").run(30).exit_code
    os.write(theirs, b"%d %d" % (code, conductor.conductor()._guardian.pid))
    os.kill(os.getpid(), 9)
worker = multiprocessing.get_context("fork").Process(target=work)
worker.start()
worker.join()
code, guardian = os.read(ours, 99).split()
def alive():
    try:
        with open(f"/proc/{int(guardian)}/stat") as file:
            return file.read().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False
while alive():  # it ends what its worker left behind
    time.sleep(0.01)
kept.write("here")
kept.close_stdin()
print(int(code), kept.wait(30).stdout)
"""


def test_a_fork_has_processes_of_its_own_and_ends_none_of_its_parent_s():
    assert python(FORKS) == ["0", "here"]


HELD = """
import os, threading
from gshell.sweep import Process, conductor
one = Process("cat", nolog_write_error=True).start()
Process("true").run()  # the first is followed by now
ours, theirs = os.pipe()
child = os.fork()
if not child:
    copies = [os.dup(theirs) for _ in range(40)]  # where its parent has the pipes
    with one:
        one.write("lost")
        one.close_stdin()
    done = threading.Event()
    conductor.conductor().soon(done.set)
    done.wait()
    [os.fstat(fd) for fd in copies]
    try:
        one.wait(1)
    except ChildProcessError:
        os.write(theirs, b"told %d" % one.write_error)
    os.read(os.pipe()[0], 1)  # for ever
os.close(theirs)
print(os.read(ours, 9).decode())
one.write("kept")
one.close_stdin()
print(one.wait(30).stdout, one.killed)
os.kill(child, 9)
"""


def test_a_fork_holds_nobody_s_stdin_and_cannot_wait_for_what_is_not_its_own():
    assert python(HELD) == ["told", "1", "kept", "False"]


def test_much_is_written_to_a_stdin_in_no_more_time_than_it_takes():
    process = Process("wc -c").start()
    process.write(b"x" * 32_000_000)
    process.close_stdin()
    assert int(process.wait(30).stdout) == 32_000_000


@pytest.mark.parametrize("blocking", [True, False])
def test_a_pipe_that_nobody_reads_holds_its_own_process_only(blocking):
    ours, theirs = os.pipe()
    os.set_blocking(theirs, blocking)
    slow = Process("seq 100000", stdout_handlers=[theirs]).start()
    os.close(theirs)  # it has its own
    until(lambda: slow.stdout, "output")
    assert Process("echo quick").run(30).stdout == "quick\n"
    with open(ours, "rb") as file:
        assert file.read() == b"".join(b"%d\n" % n for n in range(1, 100001))
    assert slow.wait(30).ok


def test_who_is_slow_with_output_holds_its_writer_and_loses_nothing():
    go, got = threading.Event(), []

    def slow(process, stream, text, eof, error):
        go.wait(30)
        got.append(len(text))

    process = Process(
        "head -c 30000000 /dev/zero", stdout_handlers=[slow], default_stdout_handler=False
    ).start()
    until(lambda: process._followed.paused, "that it is held")
    Process("true").run(30)
    assert process._aside._bytes < 10_000_000
    assert not process.ended
    go.set()
    assert process.wait(30).ok
    assert sum(got) == 30_000_000


def test_a_line_of_any_length_is_one():
    lengths = []

    class Long(ProcessOutputHandler):
        def read_line(self, process, stream, string):
            lengths.append(len(string))

    Process("head -c 10000000 /dev/zero", stdout_handlers=[Long()]).run(30)
    assert lengths == [10_000_000]


ODD = "a\nb\rc\r\n\r\nd\ve\ff\x1cg\x85h\u2028i\u2029j"


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("text", [ODD, ODD + "\r\n", "\r", "\n\n", "", "x", "\r\n\r\n", "a\r\rb"])
def test_lines_are_the_same_however_they_come(text, size):
    lines = Lines()
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    found = [one for piece in pieces for one in lines.add(piece, False)]
    assert found + list(lines.add("", True)) == text.splitlines()


def test_a_line_that_its_handler_cannot_read_costs_no_other(caplog):
    seen = []

    class Picky(ProcessOutputHandler):
        def read_line(self, process, stream, string):
            if string == "2":
                raise ValueError(string)
            seen.append(string)

    assert Process("seq 4", stdout_handlers=[Picky()]).run(30).ok
    assert seen == ["1", "3", "4"]


def test_who_reads_all_may_have_the_lines_too():
    seen = []

    class Both(ProcessOutputHandler):
        def __init__(self):
            pass  # who inherits need not call it

        def read(self, process, stream, string, eof, error):
            super().read(process, stream, string.upper(), eof, error)

        def read_line(self, process, stream, string):
            seen.append((process.name, stream, string))

    both = Both()
    one, two = [Process(f"printf '{n}\\n{n}'", name=n, stdout_handlers=[both]) for n in "xy"]
    one.start(), two.start()
    one.wait(30), two.wait(30)
    assert sorted(seen) == [(n, 1, n.upper()) for n in "xxyy"]


def test_an_expect_handler_waits_for_any_of_its_processes():
    handler = ExpectOutputHandler()
    slow, quick = [
        Process(f"echo {n}; cat", shell=True, stdout_handlers=[handler]).start() for n in "ab"
    ]
    found = handler.expect(["z", "b"], timeout=30)
    assert [(key, which, match.group()) for key, (which, match) in found.items()] == [
        ((quick, 1), 1, "b")
    ]
    assert handler.expect("b", timeout=0) == {}
    slow.write("b")
    assert list(handler.expect("b", timeout=30)) == [(slow, 1)]
    slow.close_stdin(), quick.close_stdin()
    assert handler.expect("never") == {}  # all have ended


def test_words_are_found_in_much_output_and_in_output_that_nobody_keeps():
    with Process("seq 300000; echo END; cat", shell=True).start() as process:
        assert process.expect("^END$", timeout=60)[0] == 0
    with Process(
        "seq 300000; echo END; cat", shell=True, default_stdout_handler=False
    ).start() as process:
        assert process.expect("^END$", timeout=60)[0] == 0
        assert process.stdout == ""
        assert len(process._text[1].whole()) < 200_000


def test_the_first_of_several_words_that_are_there_is_found():
    process = Process("echo foo bar").run(30)
    assert process.expect(["bar", "foo"])[0] == 0
    with pytest.raises(ValueError, match="not started"):
        Process("cat").expect("x")
    assert Process("cat", nolog_expect_fail=True).expect("x", timeout=0) == (None, None)


RUNS = "(setsid sh -c 'trap \"\" TERM; echo $$; exec >&- 2>&-; while :; do sleep 0.05; done' &); {}"


@pytest.mark.parametrize("then", ["exec sleep 77", "trap '' TERM; sleep 77; sleep 77"])
def test_what_ran_into_another_session_ends_too_though_it_does_not_listen(monkeypatch, then):
    monkeypatch.setitem(configuration, "kill_timeout", 0.1)
    monkeypatch.setattr(conductor, "LINGER_S", 0.1)
    process = Process(RUNS.format(then), shell=True, **QUIET).start()
    child = int(until(lambda: process.stdout, "its child"))
    process.kill().wait(30)
    until(lambda: not alive(child), "the child's end")


def test_many_are_ended_in_one_go(monkeypatch):
    looked, held = [], threading.Event()
    trees = proctree.trees
    monkeypatch.setattr(proctree, "trees", lambda *of: looked.append(1) or trees(*of))
    many = ParallelActions([Local("sleep 77") for _ in range(40)]).start()
    conductor.conductor().soon(lambda: held.wait(30))
    many.kill()
    held.set()
    assert many.wait(30).finished_ok
    assert len(looked) < 10


@pytest.mark.parametrize("cmd", ["echo \0", ["sleep", 1], ["a", None], "", [], ["/"], "/no/such"])
def test_what_cannot_be_started_is_an_error_that_nobody_waits_for(cmd):
    process = Process(cmd, **QUIET).run(30)
    assert (process.error, process.ended, process.ok) == (True, True, False)
    assert process.error_reason is not None


def test_ctrl_c_while_it_is_started_leaves_nobody_waiting(monkeypatch):
    def interrupted(*of):
        raise KeyboardInterrupt

    monkeypatch.setattr(conductor, "spawn", interrupted)
    process = Process("true", **QUIET)
    with pytest.raises(KeyboardInterrupt):
        process.start()
    assert process.wait(30).error


def test_handlers_that_are_none_are_an_error_of_the_process():
    process = Process("true", stdout_handlers=[3.5], **QUIET).run(30)
    assert isinstance(process.error_reason, TypeError)


def test_ending_python_ends_what_runs_and_lets_go_what_was_let_go():
    said = python("""
from gshell.sweep import Process
one = Process("sleep 77").start()
two = Process("setsid sleep 78 >/dev/null 2>&1 & echo $!", shell=True).run(30)
print(one.pid, two.stdout)
""")
    ended, kept = map(int, said)
    until(lambda: not alive(ended), "its end")
    assert alive(kept)
    os.kill(kept, signal.SIGKILL)


def test_many_threads_use_one_process_and_many_processes():
    process, wrong = Process("cat").start(), []

    def work(n):
        for _ in range(20):
            process.write(f"{n} said so\n")
        with contextlib.suppress(RuntimeError):
            if Process(f"echo {n}").run(30).stdout != f"{n}\n":
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    process.close_stdin()
    lines = process.wait(30).stdout.splitlines()
    assert wrong == []
    assert sorted(lines) == sorted(f"{n} said so" for n in range(8) for _ in range(20))


def test_what_a_signal_means():
    trap = "trap 'echo got; exit 7' USR1; echo up; while :; do sleep 0.01; done"
    for number, ended, code in ((signal.SIGUSR1, True, 7), (signal.SIGCONT, False, 137)):
        process = Process(trap, shell=True).start()
        until(lambda process=process: process.stdout, "its trap")
        process.kill(number, auto_force_kill_timeout=False)
        assert process.killed is ended
        if not ended:
            process.kill(signal.SIGKILL)
        assert process.wait(30).exit_code == code
        assert process.ok


def test_files_of_any_kind_get_what_is_no_text_as_it_is(tmp_path):
    file = io.BytesIO()
    with (
        open(tmp_path / "text", "w", encoding="utf-8") as text,
        gzip.open(tmp_path / "gz", "wb") as packed,
    ):
        handlers = [file, text, packed, sys.stdout]
        assert Process(["printf", r"\377\0x\303\251"], stdout_handlers=handlers).run(30).ok
    said = b"\xff\0x\xc3\xa9"
    assert file.getvalue() == (tmp_path / "text").read_bytes() == said
    assert gzip.decompress((tmp_path / "gz").read_bytes()) == said


def test_the_end_is_told_once_and_after_all_output():
    said = []

    class Told(ProcessLifecycleHandler):
        def end(self, process):
            said.append("end")

    def slow(process, stream, text, eof, error):
        said.append("eof" if eof else text)

    Process("echo x", stdout_handlers=[slow], lifecycle_handlers=[Told()]).run(30)
    assert said == ["x\n", "eof", "end"]


def test_a_writer_waits_while_much_is_not_read(monkeypatch, tmp_path):
    monkeypatch.setattr(conductor, "UNREAD", 1_000_000)
    go, written = tmp_path / "go", []
    process = Process(f"while ! test -e {go}; do sleep 0.02; done; wc -c", shell=True).start()

    def work():
        for _ in range(10):
            process.write(b"x" * 1_000_000)
            written.append(process._followed.unread)
        process.close_stdin()

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: not process._followed.room.is_set(), "that it waits")
    go.touch()
    thread.join(30)
    assert max(written) <= 2_000_000
    assert int(process.wait(30).stdout) == 10_000_000


def test_a_handler_that_comes_late_gets_what_comes_after_it(tmp_path):
    process = Process("cat").start()
    process.write("one")
    until(lambda: process.stdout == "one", "the first")
    process.stdout_handlers.append(tmp_path / "late")
    process.write("two")
    process.close_stdin()
    assert process.wait(30).stdout == "onetwo"
    assert (tmp_path / "late").read_text() == "two"


def test_a_start_that_is_told_may_start_others_and_wait_for_them():
    said = []

    class Told(ProcessLifecycleHandler):
        def start(self, process):
            said.append(Process("echo x").run(30).stdout)

        def end(self, process):
            said.append("end")

    assert Process("true", lifecycle_handlers=[Told()]).run(30).ok
    assert said == ["x\n", "end"]


@pytest.mark.parametrize("kind", [ParallelActions, SequentialActions])
def test_a_group_of_which_one_runs_already_begins_nothing(kind):
    one, other = Local("sleep 77").start(), Local("true")
    group = kind([other, one])
    with pytest.raises(ValueError, match="started before"):
        group.start()
    assert (group.started, other.started) == (False, False)
    with pytest.raises(ValueError, match="twice"):
        kind([other, other]).start()
    one.kill()


def test_its_end_may_begin_it_anew(tmp_path):
    class Again(ProcessLifecycleHandler):
        def end(self, process):
            process.lifecycle_handlers.clear()
            process.reset().start()

    flag = tmp_path / "flag"
    process = Process(
        f"test -e {flag} && exec sleep 77; touch {flag}", shell=True, lifecycle_handlers=[Again()]
    ).run(30)
    assert process.running
    assert not process._done.is_set()  # that was the end of the first
    assert process.kill().wait(30).finished_ok


def test_who_sees_its_end_may_begin_it_anew_at_once():
    process = Process("echo x; sleep 0.02", shell=True)
    for _ in range(10):
        process.start()
        while not process.ended:
            pass
        assert process.reset().run(30).stdout == "x\n"
        process.reset()


def test_a_time_out_that_did_not_come_keeps_nothing_of_its_process():
    one = Process("echo much", timeout=86400).run()
    gone = weakref.ref(one)
    del one
    Process("true").run()  # the conductor has something else in its hands

    def forgotten():
        gc.collect()
        return gone() is None

    until(forgotten, "it to be forgotten")


@pytest.mark.parametrize(("regexes", "error"), [("(", re.error), ("x", ValueError)])
def test_what_an_action_cannot_expect_is_said_to_who_asks(regexes, error):
    with pytest.raises(error):
        Local("true").expect(regexes)


@pytest.mark.parametrize("long", [30 * 86400, "1000000:00:00", 1e12, float("inf")])
def test_who_has_more_patience_than_a_system_can_count_just_waits(long):
    one = Process("cat", timeout=long).start()
    Process("true").run(30)  # the conductor has gone to sleep and been woken
    Process("true").run(30)
    two = Local("echo word").start()
    assert two.processes[0].expect("word", long)[0] == 0
    assert two.wait(long).ok
    assert wait_any_actions([two], long) == [two]
    one.close_stdin()
    assert one.wait(long).ok
