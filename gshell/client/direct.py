"""Runs a Plan in this very process: its own descriptors, its own terminal, its own signals."""

from __future__ import annotations

import os

from gshell.client.conversation import Dialler
from gshell.client.plan import Plan
from gshell.client.run import Runner
from gshell.client.terminal import DEFAULT_SIZE, Terminal, in_foreground
from gshell.model.ticket import Ticket
from gshell.net.loop import IN, Loop, Timer

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import socket
    from collections.abc import Callable
else:  # what those are made of: they load `enum` and more, and cost 7 ms
    import _signal as signal
    import _socket as socket

LOOK_AGAIN_S = 0.25  # in the background: nothing tells us of `fg`
FORWARDED = ("INT", "TERM", "HUP", "QUIT", "USR1", "USR2")


class DirectPort:
    """The terminal of this process, if it has one."""

    def __init__(self, terminal: Terminal | None) -> None:
        self._terminal = terminal
        self.runner: Runner | None = None

    def raw(self) -> bool:
        if self._terminal is not None:
            self._terminal.raw()
        return True

    def cooked(self) -> None:
        if self._terminal is not None:
            self._terminal.cooked()

    def size(self) -> tuple[int, int]:
        return self._terminal.size() if self._terminal is not None else DEFAULT_SIZE

    def suspend(self) -> None:
        if self._terminal is not None and self.runner is not None:
            self._terminal.suspend_self()
            self.runner.resumed()

    def seen(self, data: bytes) -> None:
        if self._terminal is not None:
            self._terminal.output(data)

    def reset(self) -> bytes:
        if self._terminal is None:
            return b""
        reset = self._terminal.seen.reset()
        self._terminal.seen.clear()
        return reset


def run_here(plan: Plan, ticket: Ticket, descriptors: tuple[int, int, int]) -> int:
    """Carry it out with these as stdin, stdout and stderr; the exit status."""
    loop = Loop()
    return drive(
        loop,
        plan,
        descriptors,
        lambda port, done: Runner(Dialler(loop, ticket), plan, descriptors, port, done),
    )


def drive(
    loop: Loop,
    plan: Plan,
    descriptors: tuple[int, int, int],
    make: Callable[[DirectPort, Callable[[int], None]], Runner],
    guarded: bool = True,
) -> int:
    """Run what ``make`` makes on this process's terminal, with its signals; the exit status.

    ``guarded``: somebody uses that terminal after us, and must find it in order.
    """
    terminal = None
    if plan.pty and descriptors[0] >= 0 and os.isatty(descriptors[0]):
        terminal = Terminal(descriptors[0])
        if guarded and plan.verb != "logs":
            terminal.guard()
    port = DirectPort(terminal)
    codes: list[int] = []
    try:
        runner = make(port, codes.append)
        port.runner = runner
        turn = None
        if not plan.pty and descriptors[0] >= 0 and os.isatty(descriptors[0]):
            turn = _Turn(loop, runner, descriptors[0])
        with _Signals(loop, runner, turn):
            runner.start()
            while not codes:
                loop.once()
    finally:
        if terminal is not None:
            terminal.close()
    return codes[0]


class _Turn:
    """Reads the terminal only while we are in its foreground: else the kernel would stop us, as it
    does any program in the background that reads what is typed for the shell."""

    def __init__(self, loop: Loop, runner: Runner, fd: int) -> None:
        self._loop = loop
        self._runner = runner
        self._fd = fd
        self._away = False
        self._timer: Timer | None = None
        self.look()

    def look(self) -> None:
        """Is it ours? Asked again while it is not, and after each SIGCONT."""
        away = not in_foreground(self._fd)
        if away != self._away:
            self._away = away
            self._runner.pause_input(away)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.later(LOOK_AGAIN_S, self.look) if away else None


class _Signals:
    """Turns signals into calls from the loop, for the time of a ``with``."""

    def __init__(self, loop: Loop, runner: Runner, turn: _Turn | None) -> None:
        self._loop = loop
        self._runner = runner
        self._turn = turn
        self._names = {getattr(signal, "SIG" + name): name for name in FORWARDED}
        self._before: dict[int, object] = {}

    def __enter__(self) -> _Signals:
        self._read, self._write = socket.socketpair()
        for end in (self._read, self._write):
            end.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        for number in (*self._names, signal.SIGWINCH):
            if signal.getsignal(number) != signal.SIG_IGN or number == signal.SIGWINCH:
                self._before[number] = signal.signal(number, lambda number, frame: None)
        if self._turn is not None:
            self._before[signal.SIGCONT] = signal.signal(signal.SIGCONT, lambda number, frame: None)
        self._loop.add(self._read.fileno(), IN, self._came)
        return self

    def _came(self, mask: int) -> None:
        for number in self._read.recv(64):
            if number == signal.SIGWINCH:
                self._runner.resized()
            elif number == signal.SIGCONT and self._turn is not None:
                self._turn.look()
            elif number in self._names:
                self._runner.signalled(self._names[number])

    def __exit__(self, *_: object) -> None:
        self._loop.remove(self._read.fileno())
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._read.close()
        self._write.close()
