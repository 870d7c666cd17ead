"""What steps use: real processes' numbers, said when they change, within a budget."""

import os
import pathlib
import subprocess
import sys
import time

import pytest

from gshell.agent import usage
from gshell.agent.usage import Reporter, Step, Usage


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
