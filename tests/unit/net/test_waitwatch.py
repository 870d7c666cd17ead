"""When a program is believed to wait: with a clock and a program of our own."""

import pytest

from gshell.net.inputwait import Reader
from gshell.net.waitwatch import CONFIRM_S, GUESS_S, LATE_S, UNMOVED_S, WaitWatch


class Clock:
    """A loop whose time goes on when it is told to."""

    def __init__(self):
        self.now = 100.0
        self.timers = []

    def clock(self):
        return self.now

    def later(self, delay_s, call):
        timer = Timer(self.now + delay_s, call)
        self.timers.append(timer)
        return timer

    def run(self, seconds):
        end = self.now + seconds
        while True:
            due = [timer for timer in self.timers if timer.call and timer.when <= end]
            if not due:
                break
            first = min(due, key=lambda timer: timer.when)
            self.timers.remove(first)
            self.now = max(self.now, first.when)
            first.call()
        self.now = end


class Timer:
    def __init__(self, when, call):
        self.when, self.call = when, call

    def cancel(self):
        self.call = None


class Program:
    def __init__(self):
        self.reader = None
        self.told = []
        self.looks = 0

    def look(self):
        self.looks += 1
        return self.reader

    def waits(self, reader):
        self.told.append(reader)


def reader(slept, sure=True):
    return Reader(7, 7, slept, "cat", "tty", sure)


@pytest.fixture
def parts():
    clock, program = Clock(), Program()
    watch = WaitWatch(clock, program)
    watch.printed()
    return clock, program, watch


def test_a_wait_is_told_once_and_confirmed(parts):
    clock, program, watch = parts
    program.reader = reader(1)
    clock.run(CONFIRM_S / 2)
    assert program.told == []
    clock.run(1.0)
    assert program.told == [reader(1)]
    assert watch.reader == reader(1)


def test_one_that_is_guessed_takes_longer(parts):
    clock, program, _ = parts
    program.reader = reader(1, sure=False)
    clock.run(GUESS_S / 2)
    assert program.told == []
    clock.run(GUESS_S)
    assert program.told == [reader(1, sure=False)]


def test_typing_ends_it_at_once_and_the_same_sleep_is_no_new_wait(parts):
    clock, program, watch = parts
    program.reader = reader(1)
    clock.run(1.0)
    watch.typed()
    assert program.told == [reader(1), None]
    clock.run(UNMOVED_S / 2)
    assert program.told == [reader(1), None]  # it sleeps there still: it has not got it yet
    program.reader = reader(2)
    clock.run(UNMOVED_S / 4)
    assert program.told[-1] == reader(2)


def test_half_a_line_wakes_nobody_and_counts_as_taken_after_a_while(parts):
    clock, program, watch = parts
    program.reader = reader(1)
    clock.run(1.0)
    watch.typed()
    clock.run(UNMOVED_S + 1.0)
    assert program.told == [reader(1), None, reader(1)]


def test_a_wait_that_ends_by_itself_is_told(parts):
    clock, program, _ = parts
    program.reader = reader(1)
    clock.run(1.0)
    program.reader = None
    clock.run(1.0)
    assert program.told == [reader(1), None]


def test_it_looks_ever_less_often(parts):
    clock, program, _ = parts
    clock.run(10.0)
    assert program.looks < 250


def test_nothing_is_looked_at_after_the_end(parts):
    clock, program, watch = parts
    watch.close()
    program.looks = 0
    watch.printed()
    clock.run(10.0)
    assert program.looks == 0


def test_who_types_at_once_did_not_type_ahead(parts):
    clock, program, watch = parts
    program.reader = reader(1)
    watch.typing()
    assert program.told == [reader(1)]
    watch.typed()
    assert program.told == [reader(1), None]
    watch.typing()  # it has not taken the first
    assert program.told == [reader(1), None]
    program.reader = reader(2, sure=False)
    clock.run(0.1)
    watch.typing()  # a guess is not made in no time
    assert program.told == [reader(1), None]


class Probe:
    """Something is under way until it is told otherwise."""

    def __init__(self):
        self.calls = []

    def ask(self, call):
        self.calls.append(call)
        return True


def test_no_wait_is_told_while_what_was_printed_before_is_under_way():
    clock, program, probe = Clock(), Program(), Probe()
    watch = WaitWatch(clock, program, probe)
    watch.printed()
    program.reader = reader(1)
    clock.run(LATE_S / 2)
    assert program.told == []
    watch.printed()  # there it is
    clock.run(CONFIRM_S)
    probe.calls[0]()  # of before that
    clock.run(LATE_S / 2)
    assert program.told == []
    probe.calls[-1]()
    clock.run(CONFIRM_S)
    assert program.told == [reader(1)]


def test_a_probe_that_never_answers_holds_up_no_wait_for_ever():
    clock, program = Clock(), Program()
    watch = WaitWatch(clock, program, Probe())
    watch.printed()
    program.reader = reader(1)
    clock.run(LATE_S + 0.1)
    assert program.told == [reader(1)]
