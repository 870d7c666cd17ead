"""Why something waits: one line that changes, or plain lines."""

from gshell.client.waitline import WaitLine


def lines(terminal, plain=True, width=80):
    out = []
    return WaitLine(out.append, lambda: width, terminal, plain), out


def test_on_a_terminal_the_line_is_written_over_and_cleared():
    line, out = lines(True)
    line.tell("pilot 3 is 2nd")
    line.tell("pilot 3 is 1st")
    line.clear()
    assert out == [
        "\r\x1b[K[waiting: pilot 3 is 2nd]",
        "\r\x1b[K[waiting: pilot 3 is 1st]",
        "\r\x1b[K",
    ]


def test_no_news_is_not_said_and_nothing_shown_is_not_cleared():
    line, out = lines(True)
    line.clear()
    line.tell("a")
    line.tell("a")
    assert len(out) == 1


def test_it_never_wraps():
    line, out = lines(True, width=30)
    line.tell("x" * 200)
    assert len(out[0]) - len("\r\x1b[K") <= 29


def test_what_a_site_says_moves_no_cursor():
    line, out = lines(True)
    line.tell("\x1b[2J")
    assert out[0].count("\x1b") == 1


def test_into_a_pipe_it_is_a_line_for_each_news():
    line, out = lines(False)
    line.tell("a")
    line.tell("b")
    line.clear()
    assert out == ["gshell: waiting: a\n", "gshell: waiting: b\n"]


def test_who_asked_for_nothing_that_takes_its_time_is_not_bothered_in_a_pipe():
    line, out = lines(False, plain=False)
    line.tell("a")
    assert out == []


def test_it_says_how_long_it_has_been_and_what_to_ask_where_there_is_room():
    line, out = lines(True, width=60)
    line.tick(5.0, "gshell why 7")  # nothing is shown yet
    line.tell("no agent is free")
    line.tick(3671.0, "gshell why 7")
    assert out == [
        "\r\x1b[K[waiting: no agent is free]",
        "\r\x1b[K[waiting 1:01:11: no agent is free]  gshell why 7",
    ]
    line, out = lines(True, width=30)
    line.tell("no agent is free")
    line.tick(8.0, "gshell why 7")
    assert out[-1] == "\r\x1b[K[waiting 0:00:08: no agent i…"
