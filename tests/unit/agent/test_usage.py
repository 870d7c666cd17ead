"""What steps use: real processes' numbers, said when they change, within a budget."""

import os
import pathlib
import subprocess
import sys
import time

import pytest

from gshell.agent import usage
from gshell.agent.usage import Reporter, Step, Usage
from gshell.model.progress import Progress


def step(pids=(), out=0, taken=0, job="1", foreground=0, pty=False):
    return Step(job, 0, out, taken, list(pids), foreground, pty)


def test_our_own_process_has_used_something():
    (line,) = Usage().report([step([os.getpid()], out=5, taken=2)])
    assert (line["out"], line["in"]) == (5, 2)
    assert line["cpu_s"] > 0
    assert line["rss_bytes"] > 1 << 20


def test_descendants_count_with_it():
    script = "import subprocess,sys; b=bytearray(40<<20); subprocess.run(['cat'])"
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE)
    try:
        end = time.monotonic() + 10
        children = pathlib.Path(f"/proc/{child.pid}/task/{child.pid}/children")
        while not children.read_text():
            assert time.monotonic() < end
        seen, _, rss = Usage()._tree([child.pid], 100)
        assert seen >= 2
        assert rss > 40 << 20
        assert Usage()._tree([child.pid], 1)[0] == 1
    finally:
        child.stdin.close()
        child.wait(10)


def test_a_step_is_mentioned_again_only_when_something_changed():
    one = Usage("/nowhere")
    assert len(one.report([step(out=1)])) == 1
    assert one.report([step(out=1)]) == []
    assert [line["out"] for line in one.report([step(out=2)])] == [2]
    one.forget()
    assert len(one.report([step(out=2)])) == 1


def test_what_has_ended_is_forgotten():
    one = Usage("/nowhere")
    one.report([step(), step(job="2")])
    one.report([step(job="2")])
    assert list(one._said) == [("2", 0)]


def test_many_processes_are_looked_at_in_turn(monkeypatch):
    monkeypatch.setattr(usage, "PROCESSES", 2)
    looked = []
    one = Usage("/nowhere")
    one._tree = lambda pids, most: (looked.append(pids[0]), (1, 0.0, 0))[1]
    steps = [step([number], job=str(number)) for number in range(5)]
    for _ in range(3):
        one.report(steps)
    assert looked == [0, 1, 2, 3, 4, 0]


def test_a_process_that_reads_a_pipe_waits_and_one_that_computes_does_not():
    reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    busy = subprocess.Popen(["sh", "-c", "while :; do :; done"])
    try:
        one = Usage()
        if not one._read(f"{reader.pid}/syscall"):
            pytest.skip("this kernel does not say")
        end = time.monotonic() + 10
        while not one._waits(step(foreground=reader.pid)):
            assert time.monotonic() < end, one._read(f"{reader.pid}/syscall")
        assert not one._waits(step(foreground=busy.pid))
    finally:
        busy.kill()
        busy.wait(10)
        reader.stdin.close()
        reader.wait(10)


def test_reports_are_made_while_somebody_looks():
    calls, said = [], []

    class Timer:
        def __init__(self, call):
            self.call = call

        def cancel(self):
            self.call = None

    reporter = Reporter(
        lambda delay, call: calls.append(Timer(call)) or calls[-1], lambda: [step()], said.append
    )
    reporter.watch(True)
    assert [m["m"] for m in said] == ["usage"]
    calls[-1].call()
    assert len(said) == 1  # nothing changed
    reporter.watch(False)
    assert calls[-1].call is None


def test_who_comes_to_look_while_others_do_is_told_soon_and_many_of_them_at_once():
    calls, said = [], []

    class Timer:
        def __init__(self, delay, call):
            self.delay, self.call = delay, call

        def cancel(self):
            self.call = None

    reporter = Reporter(
        lambda delay, call: calls.append(Timer(delay, call)) or calls[-1],
        lambda: [step()], said.append,
    )  # fmt: skip
    reporter.watch(True)
    for _ in range(3):
        reporter.watch(True)
    assert [timer.delay for timer in calls] == [usage.REPORT_S, usage.SOON_S]
    calls[-1].call()
    assert len(said) == 2
    assert calls[-1].delay == usage.REPORT_S


def test_a_program_s_own_word_of_how_far_it_is_goes_along():
    one = Usage("/nowhere")
    said = [None, Progress(1, 3), Progress(1, 3), None]
    reported = [one.report([step()._replace(progress=lambda: said.pop(0))]) for _ in range(4)]
    assert [[line.get("progress") for line in lines] for lines in reported] == [
        [None], [{"done": 1, "of": 3}], [], [None],
    ]  # fmt: skip


def test_a_step_whose_turn_it_is_not_is_not_read(monkeypatch):
    monkeypatch.setattr(usage, "PROCESSES", 1)
    one = Usage("/nowhere")
    one._tree = lambda pids, most: (1, 0.0, 0)
    read = []
    steps = [
        step(job=str(n))._replace(progress=lambda n=n: read.append(n) or Progress(n, 9))
        for n in range(3)
    ]
    one.report(steps)
    assert read == [0]
    one.report([s._replace(out=1) for s in steps])  # the first one's word is kept meanwhile
    assert one._said["1", 0]["progress"] == {"done": 1, "of": 9}
    assert one._said["0", 0]["progress"] == {"done": 0, "of": 9}
