"""Sessions whose bytes are known in both directions, and clients to hold them with.

What is checked is what a person would lose sleep over: what the program read is a prefix of what was
typed, what was shown is what the program wrote, and it was started once.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gshell.model.ticket import Ticket
from gshell.net.relaylink import ask
from kit.procs import Env

TALK = str(Path(__file__).with_name("talk.py"))
AHEAD = 16 * 1024  # bytes on their way: some are, always, when somebody is killed
STATUS = 5


def lines(count: int) -> bytes:
    """Input of which every byte's place is known."""
    return b"".join(b"%d\n" % number for number in range(count))


class Talk:
    """A client in a process of its own, with a program that says again what it is told."""

    def __init__(self, env: Env, ledger: Path, count: int, background: bool, *words: str) -> None:
        """``words``: another command than the `run` that starts the program."""
        self.ledger = ledger
        self.due = lines(count) + b"end %d\n" % STATUS
        self.sent = 0
        self.came = bytearray()
        self.held = 0  # bytes at the end that are not typed yet
        self.pause_longest = 0.0
        self._came_at = time.monotonic()
        words = words or ("run", "--", sys.executable, "-I", "-S", TALK, str(ledger))
        with open(str(ledger) + ".err", "ab") as errors:
            self.process = env.popen(*words, background=background, stderr=errors)
        self._stdin: int | None = self.process.stdin.fileno()
        self._stdout: int | None = self.process.stdout.fileno()
        for fd in (self._stdin, self._stdout):
            os.set_blocking(fd, False)

    # -- driving it

    @property
    def over(self) -> bool:
        return self._stdout is None and self.process.poll() is not None

    @property
    def started(self) -> bool:
        return bool(self.starts())

    def watch(self, poll: Any, owners: dict[int, Talk]) -> None:
        if self._stdout is not None:
            poll.register(self._stdout, select.POLLIN)
            owners[self._stdout] = self
        if self._stdin is not None and self._may_send():
            poll.register(self._stdin, select.POLLOUT)
            owners[self._stdin] = self

    def _may_send(self) -> int:
        return min(len(self.due) - self.held, len(self.came) + AHEAD) - self.sent

    def ready(self, fd: int) -> None:
        if fd == self._stdin:
            part = self.due[self.sent : self.sent + min(self._may_send(), 4096)]
            try:
                self.sent += os.write(fd, part)
            except BlockingIOError:
                pass
            except BrokenPipeError:
                self._stdin = None
        elif fd == self._stdout:
            try:
                data = os.read(fd, 1 << 16)
            except BlockingIOError:
                return
            if data:
                now = time.monotonic()
                self.pause_longest = max(self.pause_longest, now - self._came_at)
                self._came_at = now
                self.came += data
            else:
                self._stdout = None

    def mark(self) -> None:
        """From now on the longest pause in its output is measured."""
        self.pause_longest, self._came_at = 0.0, time.monotonic()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    # -- what is to be seen

    def starts(self) -> list[bytes]:
        return _content(self.ledger, ".starts").split()

    def read_there(self) -> bytes:
        """What the program has read."""
        return _content(self.ledger, ".in")

    def said(self) -> str:
        return _content(self.ledger, ".err").decode(errors="replace")

    def wrong(self, status: int = STATUS) -> str:
        """What is not as it has to be where the client has lived; empty: all is well."""
        there = self.read_there()
        parts = []
        if self.process.returncode != status:
            parts.append(f"status {self.process.returncode}, not {status}")
        if there != self.due:
            parts.append("input: " + difference(self.due, there))
        if bytes(self.came) != self.due:
            parts.append("output: " + difference(self.due, bytes(self.came)))
        if len(self.starts()) != 1:
            parts.append(f"started {len(self.starts())} times")
        return f"{'; '.join(parts)}: {self.said()[-500:]!r}" if parts else ""


def _content(ledger: Path, kind: str) -> bytes:
    try:
        return Path(str(ledger) + kind).read_bytes()
    except OSError:
        return b""


def difference(due: bytes, came: bytes) -> str:
    """Where two flows part, for a person."""
    pairs = enumerate(zip(due, came))
    same = next((at for at, (one, other) in pairs if one != other), min(len(due), len(came)))
    if same == len(came):
        return f"{len(due) - same} of {len(due)} bytes are missing"
    return f"at {same}: {came[same : same + 24]!r} for {due[same : same + 24]!r}"


def drive(
    talks: Sequence[Talk],
    done: Callable[[], Any],
    what: str,
    patience_s: float,
    show: Callable[[], str],
) -> float:
    """Carry bytes for all of them until ``done``; how long that took.

    Raises:
        AssertionError: it took too long.
    """
    began = time.monotonic()
    while not done():
        poll, owners = select.poll(), dict[int, Talk]()
        for talk in talks:
            talk.watch(poll, owners)
        for fd, _ in poll.poll(5):
            owners[fd].ready(fd)
        if time.monotonic() - began > patience_s:
            seen = "\n".join(
                f"{talk.ledger.name}: {len(talk.came)} of {talk.sent} sent of {len(talk.due)},"
                f" {len(talk.read_there())} read there, status {talk.process.poll()},"
                f" {talk.said()!r}"
                for talk in talks
            )
            raise AssertionError(f"waited {patience_s:.0f} s for {what}\n{seen}\n{show()}")
    return time.monotonic() - began


# ------------------------------------------------------------------------------------- what is known


class Known:
    """What the broker says of jobs; once final, a job's record may not change any more."""

    def __init__(self, env: Env) -> None:
        self._ticket = Ticket.load((env.home / "config" / "client.ticket").read_text(), "ours")
        self._final: dict[str, dict[str, Any]] = {}
        self.changed: list[str] = []

    def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        return ask(self._ticket, {"m": verb, **fields})

    def look(self) -> dict[str, dict[str, Any]]:
        """All jobs by number; empty while the relay is away."""
        try:
            jobs = {job["id"]: job for job in self.ask("jobs", all=True)["jobs"]}
        except Exception:  # it is being restarted
            return {}
        for number, job in jobs.items():
            kept = {k: job[k] for k in ("state", "code", "signal", "error", "ended_at")}
            before = self._final.get(number)
            if before is not None and before != kept:
                self.changed.append(f"job {number}: {before} became {kept}")
            if job["state"] in ("COMPLETED", "FAILED", "CANCELED"):
                self._final[number] = kept
        return jobs

    def job_of(self, ledger: Path, jobs: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
        """The one that runs with this ledger: they are told apart by name."""
        return next((job for job in jobs.values() if job["name"] == ledger.name), None)


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def closing(talks: list[Talk]) -> Iterator[list[Talk]]:
    try:
        yield talks
    finally:
        for talk in talks:
            talk.close()
