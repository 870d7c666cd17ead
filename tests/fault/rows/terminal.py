"""A person's terminal after every way in which a session can end: as it was before, in each mode a program can
leave it in.

Two things are compared: the line discipline's settings (termios), and what an emulator fed with all that was
written to the terminal says of it: no mode set, the main screen, no scroll region, the usual characters.

Fails when: no guardian is forked (`Terminal.guard`), the background process does not `rescue` the terminal of a
front that was killed, or `SeenModes` forgets one of the modes.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import termios

import pyte
from fault.lab import Console, Lab, two_legs, warm
from fault.rows import Finding, Form, Row
from fault.talks import kill

import gshell
from kit.procs import alive, until

MODES = {
    "raw": b"",
    "alternate screen": b"\x1b[?1049h\x1b[2J\x1b[H",
    "mouse": b"\x1b[?1000h\x1b[?1002h\x1b[?1006h",
    "bracketed paste": b"\x1b[?2004h",
    "hidden cursor": b"\x1b[?25l",
    "application keys": b"\x1b=\x1b[?1h",
    "scroll region": b"\x1b[5;10r",
    "line drawing": b"\x1b(0",
}
PROGRAM = (
    "import os, sys, tty; tty.setraw(0); os.write(1, bytes.fromhex(sys.argv[1]) + b'READY');"
    "key = os.read(0, 1); os.kill(os.getpid(), 9) if key == b'k' else sys.exit(3)"
)
RAISING = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from gshell.client import direct;"
    "direct.Runner.signalled = lambda *_: 1 / 0; from gshell.front import main; sys.exit(main())"
)
ENDS = {  # end -> how the client runs
    "exit": "db",
    "program killed": "db",
    "exception": "d",
    "TERM": "db",
    "HUP": "db",
    "kill -9 client": "db",
    "kill -9 background": "b",
    "lost link": "db",
    "agent killed": "db",
    "relay gone": "db",
}


def state_of(written: bytes) -> list[str]:
    """How a terminal that got this differs from one that got nothing; empty: not at all."""
    screen, fresh = pyte.Screen(80, 24), pyte.Screen(80, 24)
    pyte.ByteStream(screen).feed(written)
    out = [f"mode {mode >> 5}" for mode in sorted(screen.mode ^ fresh.mode)]
    if screen.margins not in (None, (0, 23)):
        out.append(f"scroll region {screen.margins}")
    if written.rfind(b"\x1b(0") > written.rfind(b"\x1b(B"):  # the emulator is one for UTF-8 only
        out.append("line drawing")
    if written.rfind(b"\x1b=") > written.rfind(b"\x1b>"):
        out.append("keypad")
    return out


class Raising(Console):
    """A client in which an exception happens."""

    def __init__(self, lab: Lab, *words: str) -> None:
        root = os.path.dirname(os.path.dirname(gshell.__file__))
        argv = [sys.executable, "-c", RAISING, root]
        before = type(lab.env).argv
        type(lab.env).argv = lambda env, *words: [*argv, *words]  # type: ignore[method-assign]
        try:
            super().__init__(lab.env, *words, background=False)
        finally:
            type(lab.env).argv = before  # type: ignore[method-assign]


def point(lab: Lab, end: str, mode: str, background: bool) -> str:
    """What is wrong with the terminal afterwards; empty: nothing."""
    env = lab.env
    modes = b"".join(MODES.values()) if mode == "all" else MODES[mode]
    words = ("run", "-t", "--", sys.executable, "-I", "-S", "-c", PROGRAM, modes.hex())
    console = (
        Raising(lab, *words) if end == "exception" else Console(env, *words, background=background)
    )
    with console:
        console.until(b"READY")
        assert console.is_raw, "the terminal is not raw"
        if modes:
            assert state_of(bytes(console.seen)), "the modes did not arrive"
        _end(lab, console, end)

        def wrong() -> list[str]:
            console.read()
            left = state_of(bytes(console.seen))
            if termios.tcgetattr(console.slave) != console.modes:
                left.append("termios")
            return left

        until(lambda: console.read() or console.process.poll() is not None, "its end", 30,
              lambda: repr(bytes(console.seen[-500:])) + env.logs())  # fmt: skip
        try:
            console.wait(30)
            until(lambda: not wrong(), "the terminal")
        except AssertionError:
            return f"{', '.join(wrong()) or 'no end'}: {bytes(console.seen[-200:])!r}"
    return ""


def _end(lab: Lab, console: Console, end: str) -> None:
    env, pid = lab.env, console.process.pid
    if end == "exit":
        console.type(b"x")
    elif end == "program killed":
        console.type(b"k")
    elif end in ("TERM", "HUP"):
        os.kill(pid, signal.SIGTERM if end == "TERM" else signal.SIGHUP)
    elif end == "exception":
        os.kill(pid, signal.SIGUSR1)
    elif end == "kill -9 client":
        kill(pid)
    elif end == "kill -9 background":
        kill(int((env.home / "run" / "bg.sock.pid").read_text()))
    elif end == "lost link":
        lab.clients.hole("data")
        console.type(b"\r")  # the program's end does not arrive
        console.type(b"~.")
    elif end == "agent killed":
        (there,) = env.agents()
        kill(there["pid"])
    else:
        facts = env.relay_facts()
        kill(facts["pid"])
        until(lambda: not alive(facts["door_pid"]), "the door to end")
        console.type(b"\r")
        console.type(b"~.")


def mend(lab: Lab, end: str) -> None:
    """What was broken works again."""
    env = lab.env
    for proxy in lab.legs:
        proxy.calm()
    if end == "lost link":
        lab.clients.cut("rst", "data")  # others went through that hole, too
    if end == "agent killed":
        env.processes["agent"].wait(20)
        env.start_agent("agent", env.invite(), "--relay", lab.agents.address, wait=False)
    elif end == "relay gone":
        done = env.gshell(
            "relay", "start", "--listen", env.address, "--state", str(env.state), "--user", "tester"
        )
        assert done.returncode == 0, done.stderr.decode()
    if end in ("agent killed", "relay gone"):
        until(
            lambda: any(agent["state"] == "waiting" for agent in env.agents()),
            "an agent", show=env.logs,
        )  # fmt: skip


def measure(form: Form) -> list[Finding]:
    rng = random.Random(form.seed)
    plan = [
        (end, mode, how == "b")
        for end, hows in ENDS.items()
        for how in hows
        for mode in (MODES if form.full else ("all",))
    ]
    rng.shuffle(plan)
    faults: list[str] = []
    with two_legs() as lab:
        for end, mode, background in plan:
            if background:
                warm(lab.env)
            wrong = point(lab, end, mode, background)
            if wrong:
                faults.append(f"{end}, {mode}, {'background' if background else 'direct'}: {wrong}")
            mend(lab, end)
    good = len(plan) - len(faults)
    return [
        Finding(
            "terminal after exit, exception, TERM, HUP, kill -9 of either client process, lost link,"
            " relay gone, agent killed",
            f"{len(plan)} ends", f"{good}/{len(plan)} restored{f'; {faults[0]}' if faults else ''}",
            "termios and emulated state as before, each time", not faults,
            "\n".join([f"seed {form.seed}", *faults]),
        )
    ]  # fmt: skip


ROW = Row("terminal", measure, short_s=20.0)
