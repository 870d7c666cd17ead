"""The front process and its terminal, in C and in Python side by side: raw mode, stopping, going on."""

import os
import signal
import termios

from gshell.client.terminal import packed, raw_of
from kit.backgroundplay import NOBODY_LEFT, finish, until_stopped
from kit.procs import until
from kit.pty import state_of


def odd_modes(fd):
    modes = termios.tcgetattr(fd)
    modes[0] |= termios.IXANY | termios.PARMRK
    modes[4] = modes[5] = termios.B9600
    modes[6][termios.VKILL] = b"\x07"
    modes[6][termios.VEOL2] = b"\xff"
    termios.tcsetattr(fd, termios.TCSANOW, modes)
    return termios.tcgetattr(fd)


def test_raw_mode_its_reply_and_back(fake, front):
    screen = fake.pty(front)
    talk = fake.meet()
    before = odd_modes(screen.master)
    talk.say("R\n")
    assert talk.line() == f"r {packed(raw_of(before)).hex()} {packed(before).hex()}"
    assert talk.line() == "W 24 80"
    assert packed(screen.modes()) == packed(raw_of(before))
    talk.say("R\n")  # again: nothing changes, the answer is the same
    assert talk.line() == f"r {packed(raw_of(before)).hex()} {packed(before).hex()}"
    talk.say("K\n")
    until(lambda: screen.modes() == before, "the terminal to be cooked")
    talk.say("R\nX 5\n")
    assert screen.wait() == 5
    assert screen.modes() == before


def test_raw_mode_without_a_terminal_is_answered_too(fake, front):
    process = fake.start(front)
    talk = fake.meet()
    talk.say("R\n")
    assert (talk.line(), talk.line()) == ("r  ", "W 0 0")
    talk.exit(0)
    assert finish(process) == (0, b"", b"")


def test_when_the_background_process_dies_the_terminal_is_put_in_order(fake, front):
    screen = fake.pty(front)
    talk = fake.meet()
    talk.say("R\n")
    talk.line()
    talk.say(f"O {b'old'.hex()}\nO {b'!reset!'.hex()}\n")
    talk.close()
    assert screen.wait() == 255
    assert bytes(screen.seen) == b"!reset!" + NOBODY_LEFT
    assert screen.modes() == screen.modes_at_start


def test_nothing_is_reset_where_nothing_was_set(fake, front):
    screen = fake.pty(front)
    talk = fake.meet()
    talk.say(f"R\nO {b'old'.hex()}\nO \n")
    talk.line()
    talk.close()
    assert screen.wait() == 255
    assert bytes(screen.seen) == NOBODY_LEFT


def test_a_hang_up_is_told(fake, front):
    screen = fake.pty(front)
    talk = fake.meet()
    talk.say("R\n")
    talk.line()
    os.close(os.dup(screen.master))
    os.kill(talk.pid, signal.SIGHUP)
    assert talk.line() == "W 24 80"
    assert talk.line() == "S HUP"


# --------------------------------------------------------------------------------- stopping, going on


def test_it_stops_when_our_typing_is_left_alone_and_goes_on(fake, front):
    screen, control, talk = fake.shell(front)
    talk.say("R\n")
    assert (talk.line()[0], talk.line()) == ("r", "W 24 80")
    os.kill(talk.pid, signal.SIGTSTP)
    assert talk.line() == "P"
    assert state_of(talk.pid) != "T"
    assert screen.is_raw()
    talk.say("p\n")
    until_stopped(talk.pid)
    assert screen.modes() == screen.modes_at_start
    screen.resize(40, 90)
    control.write("fg\n")
    lines = {talk.line(), talk.line()}  # the size is told twice: it changed, too
    assert lines == {"C 40 90", "W 40 90"}
    talk.say("R\n")
    assert talk.line()[0] == "r"
    assert screen.is_raw()
    talk.exit(4)
    control.close()
    assert screen.wait() == 4
    assert screen.modes() == screen.modes_at_start


def test_it_stops_and_goes_on_again_and_again(fake, front):
    _, control, talk = fake.shell(front)
    for _ in range(5):
        os.kill(talk.pid, signal.SIGTSTP)
        assert talk.line() == "P"
        talk.say("p\n")
        until_stopped(talk.pid)
        control.write("fg\n")
        assert talk.line() == "C 24 80"


def test_it_stops_without_an_answer_too(fake, front):
    _, control, talk = fake.shell(front)
    os.kill(talk.pid, signal.SIGTSTP)
    assert talk.line() == "P"
    until_stopped(talk.pid)
    talk.say("p\n")  # late
    control.write("fg\n")
    assert talk.line() == "C 24 80"
    os.kill(talk.pid, signal.SIGUSR1)
    assert talk.line() == "S USR1"


def test_the_background_process_may_ask_it_to_stop(fake, front):
    screen, control, talk = fake.shell(front)
    talk.say("R\n")
    assert (talk.line()[0], talk.line()) == ("r", "W 24 80")
    talk.say("K\nZ\n")
    assert talk.line() == "P"
    talk.say("p\n")
    until_stopped(talk.pid)
    assert screen.modes() == screen.modes_at_start
    control.write("fg\n")
    assert talk.line() == "C 24 80"


def test_in_the_background_it_says_so_and_when_it_is_back(fake, front):
    screen, control, talk = fake.shell(front)
    talk.say("R\n")
    assert (talk.line()[0], talk.line()) == ("r", "W 24 80")
    os.kill(talk.pid, signal.SIGTSTP)
    assert talk.line() == "P"
    talk.say("p\n")
    until_stopped(talk.pid)
    control.write("bg\n")
    assert talk.line() == "F 0"
    talk.say("K\n")  # not ours to change now
    control.write("fg\n")
    assert talk.line() == "C 24 80"  # not only "F 1": the terminal has to be made raw again
    talk.say("R\n")
    assert talk.line()[0] == "r"
    assert screen.is_raw()


def test_started_in_the_background_it_says_so_and_when_it_is_in_front(fake, front):
    _, control, talk = fake.shell(front, foreground=False)
    assert talk.in_front == b"0"
    control.write("fg\n")
    assert talk.line() == "F 1"


def test_raw_mode_in_the_background_waits_for_the_foreground(fake, front):
    screen, control, talk = fake.shell(front, foreground=False)
    talk.say("R\n")
    until_stopped(talk.pid)
    assert screen.modes() == screen.modes_at_start
    control.write("fg\n")
    assert talk.line()[0] == "r"
    assert screen.is_raw()


def test_the_end_may_come_instead_of_the_leave_to_stop(fake, front):
    screen, control, talk = fake.shell(front)
    os.kill(talk.pid, signal.SIGTSTP)
    assert talk.line() == "P"
    talk.exit(6)
    control.close()
    assert screen.wait() == 6


def test_what_is_said_before_the_leave_to_stop_is_done_first(fake, front):
    screen, control, talk = fake.shell(front)
    os.kill(talk.pid, signal.SIGTSTP)
    assert talk.line() == "P"
    talk.say("R\np\nO 41\n")
    assert talk.line()[0] == "r"
    until_stopped(talk.pid)
    assert screen.modes() == screen.modes_at_start
    assert talk.line() == "W 24 80"
    control.write("fg\n")
    assert talk.line() == "C 24 80"
    talk.close()
    control.close()
    assert screen.wait() == 255
    assert bytes(screen.seen) == b"A" + NOBODY_LEFT


def test_where_nothing_can_stop_it_it_goes_on_at_once(fake, front):
    fake.pty(front)
    talk = fake.meet()
    os.kill(talk.pid, signal.SIGTSTP)
    assert talk.line() == "P"
    talk.say("p\n")
    assert talk.line() == "C 24 80"
