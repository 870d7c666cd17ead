"""A person typing: how long a key takes to come back, and a prompt after Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import shlex
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial

from bench.gsh import Client
from bench.lab import Lab
from bench.measure import Sample, Turn, interleaved, percentile
from bench.rows.startup import PROMPT, SHELL
from bench.table import Line, against, alone, at_most
from bench.terminal import Terminal

# every byte comes back from the program, but Ctrl-C, which ends it
ECHO = ("sh", "-c", "stty raw -echo isig; echo ready; exec cat")
INTERRUPT = b"\x03"
FLOOD_S = 1.0  # `yes` runs this long before Ctrl-C: all buffers on the way are full by then
PROMPT_WITHIN_MS = 200.0
WARM_KEYS = 50


@contextlib.contextmanager
def echoing(argv: list[str], env: dict[str, str]) -> Iterator[Terminal]:
    """A terminal in which every key typed comes back from a program at the far end."""
    with Terminal(argv, env) as terminal:
        terminal.wait_for(b"ready\r?\n")
        terminal.echo(some_keys(WARM_KEYS))
        yield terminal
        terminal.write(INTERRUPT)
        terminal.wait(status=None)  # 130, 255 or -2, as each reports a signal


def gshell_echo(client: Client) -> contextlib.AbstractContextManager[Terminal]:
    return echoing(client.run(*ECHO, options=["-t"]), client.env)


def some_keys(count: int) -> bytes:
    """Letters, each another than the one before: a key that came back twice is noticed."""
    return bytes(ord("a") + number % 26 for number in range(count))


def echo(lab: Lab) -> list[Line]:
    keys = some_keys(400 if not lab.quick else 200)
    ssh_command = shlex.join(ECHO)
    opened: dict[str, Callable[[], contextlib.AbstractContextManager[Terminal]]] = {
        "gshell direct": lambda: gshell_echo(lab.direct),
        "gshell": lambda: gshell_echo(lab.warm),
        "pty": lambda: echoing(list(ECHO), lab.env),
        "ssh": lambda: echoing(lab.sshd.ssh(ssh_command, options=("-tt",)), lab.env),
        "ssh -J": lambda: echoing(lab.sshd.ssh(ssh_command, jump=True, options=("-tt",)), lab.env),
    }
    with contextlib.ExitStack() as stack:
        terminals: dict[str, Terminal] = {}

        def turn(name: str) -> Sample:
            if name not in terminals:
                terminals[name] = stack.enter_context(opened[name]())
            times = terminals[name].echo(keys)
            p50, p99 = statistics.median(times), percentile(times, 0.99)
            return {"us": p50 * 1e6, "p99:us": p99 * 1e6}

        turns: dict[str, Turn] = {name: partial(turn, name) for name in opened}
        got = interleaved(turns, lab.rounds(7, 5))
    lines = []
    for name, how in (("gshell", "background"), ("gshell direct", "direct")):
        what = f"keystroke echo p50, {how}"
        lines += [
            against("echo", what, got[name], got["ssh -J"], "us", at_most(1.5, 1.0)),
            against("echo", what, got[name], got["ssh"], "us"),
        ]
    lines.append(against("echo", "keystroke echo p50, background", got["gshell"], got["pty"], "us"))
    lines.append(
        against("echo", "keystroke echo p99, background", got["gshell"], got["ssh -J"], "p99:us")
    )
    return lines


def interrupt(lab: Lab) -> list[Line]:
    def turn(argv: list[str], env: dict[str, str]) -> Sample:
        with Terminal(argv, env) as terminal:
            terminal.wait_for(PROMPT.encode())
            terminal.write(b"yes\r")
            terminal.wait_for(b"y\r\ny\r\n")
            until = time.monotonic() + FLOOD_S
            while time.monotonic() < until:
                terminal.read(until + 5)
            terminal.seen = b""
            begun = time.perf_counter()
            os.write(terminal.fd, INTERRUPT)
            back = terminal.wait_for(PROMPT.encode()) - begun
            terminal.write(b"echo status-$?\r")
            terminal.wait_for(b"status-130")  # what a shell says of SIGINT
            terminal.write(b"exit 3\r")
            terminal.wait(3)
        return {"ms": back * 1000}

    def gshell(client: Client) -> Sample:
        return turn(client.run(*SHELL, options=["-t"]), client.env)

    ssh_command = "exec " + shlex.join(SHELL)
    got = interleaved(
        {
            "gshell": lambda: gshell(lab.warm),
            "gshell direct": lambda: gshell(lab.direct),
            "ssh -J -tt": lambda: turn(
                lab.sshd.ssh(ssh_command, jump=True, options=("-tt",)), lab.env
            ),
        },
        lab.rounds(5, 2),
        warm_up=False,
    )
    what, bound = "Ctrl-C during yes: prompt back", at_most(PROMPT_WITHIN_MS)
    return [
        alone("interrupt", f"{what}, background", got["gshell"], "ms", bound),
        alone("interrupt", f"{what}, direct", got["gshell direct"], "ms", bound),
        against("interrupt", what, got["gshell"], got["ssh -J -tt"], "ms"),
    ]
