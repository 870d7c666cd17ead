"""The line that tells how far an action is."""

import io
import threading

from gshell.sweep import watching
from gshell.sweep.watching import Far, line


def test_the_line_has_counts_the_time_and_as_much_of_the_name_as_fits():
    text = line(Far("Remote('make\n -j',\x1b[2J nodes)", 50, 25, 2), 75.4, 70)
    assert text.startswith("[==========          ] 25/50, 2 failed  1:15  Remote('make ")
    assert len(text) <= 69
    assert "\x1b" not in text
    assert len(line(Far("x" * 500, 3, 3, 0), 1.0, 40)) == 39
    assert line(Far("none", 0, 0, 0), 0.0, 80) == "[====================] 0/0  0:00  none"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def on_terminal(monkeypatch):
    shown = Terminal()
    monkeypatch.setattr("sys.stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("GSHELL_PROGRESS", raising=False)
    return shown


def test_it_is_wanted_on_a_terminal_only_and_can_be_switched_off(monkeypatch):
    on_terminal(monkeypatch)
    assert watching.wanted()
    monkeypatch.setenv("GSHELL_PROGRESS", "0")
    assert not watching.wanted()
    monkeypatch.delenv("GSHELL_PROGRESS")
    monkeypatch.setenv("TERM", "dumb")
    assert not watching.wanted()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert not watching.wanted()


def test_what_is_over_in_a_moment_shows_nothing_and_what_takes_longer_leaves_nothing(monkeypatch):
    terminal = on_terminal(monkeypatch)
    over = threading.Event()
    over.set()
    assert watching.watch(over, None, lambda: Far("n", 1, 0, 0))
    assert terminal.getvalue() == ""
    over.clear()
    monkeypatch.setattr(watching, "AFTER_S", 0.01)
    assert not watching.watch(over, 0.05, lambda: Far("n", 1, 0, 0))
    assert "0/1" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")
