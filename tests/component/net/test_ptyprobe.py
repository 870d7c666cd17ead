"""What comes through a terminal, asked of the kernel."""

import os
import termios

import pytest

from gshell.net.loop import Loop
from gshell.net.ptyprobe import PtyProbe


def test_each_question_is_answered_once_and_in_turn():
    loop, said = Loop(), []
    probe = PtyProbe(loop)
    for number in range(100):
        assert probe.ask(lambda number=number: said.append(number))
    assert said == []
    assert loop.run_until(lambda: len(said) == 100, 20.0)
    assert said == list(range(100))
    probe.close()
    loop.close()


def test_one_that_was_closed_says_nothing_leaves_nothing_and_may_be_asked_again():
    loop, said = Loop(), []
    before = len(os.listdir("/proc/self/fd"))
    probe = PtyProbe(loop)
    assert probe.ask(lambda: said.append("old"))
    probe.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert probe.ask(lambda: said.append("new"))
    assert loop.run_until(lambda: bool(said), 20.0)
    assert said == ["new"]
    probe.close()
    probe.close()
    loop.close()


def test_who_answers_may_close_it():
    loop, said = Loop(), []
    probe = PtyProbe(loop)
    probe.ask(lambda: (said.append(1), probe.close()))
    probe.ask(lambda: said.append(2))
    assert loop.run_until(lambda: bool(said), 20.0)
    loop.once(0.0)
    assert said == [1]
    loop.close()


def test_a_terminal_that_cannot_be_set_up_is_no_answer_and_leaves_nothing(monkeypatch):
    def refuses(*_):
        raise termios.error(5, "Input/output error")

    loop = Loop()
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(termios, "tcsetattr", refuses)
    probe = PtyProbe(loop)
    assert not probe.ask(pytest.fail)
    assert len(os.listdir("/proc/self/fd")) == before
    loop.close()
