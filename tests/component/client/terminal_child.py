"""A program that makes its terminal raw and then does as each key says; for test_terminal.py."""

import os
import signal
import sys

sys.path.insert(0, sys.argv[1])

from gshell.client.terminal import Terminal, packed


def say(text):
    os.write(1, text.encode() + b"\r\n")


with Terminal(0) as terminal:
    terminal.guard()
    for name in sys.argv[2:]:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    terminal.raw()
    assert terminal._guardian is not None
    say(f"READY main={os.getpid()} guardian={terminal._guardian.pid}.")
    while True:
        key = os.read(0, 1)
        if key == b"q":
            break
        if key == b"x":
            raise RuntimeError("as asked")
        if key == b"a":
            data = b"\x1b[?1049h\x1b[?25lscreen"
            terminal.output(data)
            os.write(1, data)
            say("ALTERNATE")
        elif key == b"c":
            terminal.cooked()
            say("COOKED")
            terminal.raw()
            say("RAW")
        elif key == b"z":
            say(f"CONTINUED {terminal.suspend_self()}")
        elif key == b"s":
            say(f"SAVED {packed(terminal._saved).hex()}.")
