"""``gshell fwd``: port forwarding alone, beside a job or on an agent."""

from __future__ import annotations

import signal
import socket
import sys

from gshell.cli import launch
from gshell.cli.plan import display_of, forwards_of
from gshell.client.conversation import Dialler
from gshell.client.forwards import Forwards
from gshell.errors import GshellError, UsageError
from gshell.net.loop import IN, Loop
from gshell.net.relaylink import RelayLink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gshell.cli.options import Parsed

LOOK_AGAIN_S = 2.0  # at a relay that was away


def forward(parsed: Parsed) -> int:
    """Until Ctrl-C, or the job has ended; the exit status.

    Raises:
        GshellError: nothing can be forwarded.
    """
    here = launch.surroundings()
    wanted = forwards_of(parsed, here)
    if not wanted:
        raise UsageError("fwd: nothing to forward: -L, -R, -D or -X", hint="gshell fwd --help")
    word = parsed.words[0]
    job, _, index = word.partition(".")
    is_job = job.isdigit() and (index or "0").isdigit()
    where = {"beside": word} if is_job else {"agent": word}
    ticket = launch.ticket_for(parsed, start=False)
    loop = Loop()
    ends: list[GshellError | int | None] = []

    def say(text: str) -> None:
        if parsed["json"]:
            from gshell.client import asjson

            sys.stderr.write(asjson.line("note", text.strip("[]")) + "\n")
        elif not (parsed["quiet"] and text.startswith("[")):
            sys.stderr.write(text + "\n")

    def show(text: str) -> None:
        if parsed["json"]:
            from gshell.client import asjson

            text = asjson.line("forward", text)
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    forwards = Forwards(
        Dialler(loop, ticket), wanted, where, say, ends.append,
        display_of(parsed, here, known_before=False), show,
    )  # fmt: skip
    if is_job:
        _Watch(loop, ticket, job, lambda: ends.append(0))
    woken = _catch(loop, ends)
    try:
        if not forwards.start():
            raise GshellError("nothing is forwarded")
        while not ends:
            loop.once()
    finally:
        forwards.close()
        woken.close()
    end = ends[0]
    if isinstance(end, GshellError):
        raise end
    if end == 0 and not parsed["quiet"]:
        say(f"[job {job} has ended]")
    return end or 0


def _catch(loop: Loop, ends: list[Any]) -> socket.socket:
    """Signals become numbers in ``ends`` as long as what this returns is open."""
    reads, writes = socket.socketpair()
    for end in (reads, writes):
        end.setblocking(False)
    signal.set_wakeup_fd(writes.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: None)

    def woken(mask: int) -> None:
        ends.extend(128 + number for number in reads.recv(64))

    loop.add(reads.fileno(), IN, woken)
    return writes


class _Watch:
    """Asks the relay to say when a job has ended; again, when that was away."""

    def __init__(self, loop: Loop, ticket: Any, job: str, ended: Any) -> None:
        self._loop = loop
        self._ticket = ticket
        self._job = job
        self._ended = ended
        self._ask()

    def _ask(self) -> None:
        link = RelayLink(self._loop, self._ticket, self._lost)
        try:
            link.open()
        except GshellError as error:
            self._lost(error)
            return
        link.request({"m": "wait", "job": self._job}, self._told)

    def _lost(self, error: GshellError) -> None:
        self._loop.later(LOOK_AGAIN_S, self._ask)

    def _told(self, answer: dict[str, Any]) -> None:
        if answer.get("ok"):
            self._ended()
