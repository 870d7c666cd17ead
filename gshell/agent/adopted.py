"""The step that stands for a batch job which others started: it prints what that job's output files
get, and ends when it does, as it did. A program of the agent's (`services`), one on each of the
job's nodes and one where it was submitted; that one watches, and one of them prints. Starts
nothing but the batch system's questions.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any, Callable, NamedTuple

from gshell.errors import GshellError
from gshell.lrms import running
from gshell.lrms.base import Done, State
from gshell.model.sanitize import sanitize

LOOK_S = 0.25  # at the files: what a person who waits does not notice
ASK_EVERY_S = 3.0  # the batch system, which has others to answer, too
ASK_SLOWER_S = 30.0  # ... while it does not answer
ANSWER_S = 30.0
LATER_S = 1.5  # that its own record may begin after what its list said: whole seconds
FORGOTTEN_S = 30.0  # Grid Engine writes how a job ended some 15 s after it has gone from its lists
LAST_S = 1.0  # files of a shared file system get their last bytes a moment after the job's end
PIECE_BYTES = 1 << 16
LOOK_BYTES = 1 << 24  # then others have their turn: a job may print faster than we hand on
LOST = 255  # how it ended will never be known


class Words(NamedTuple):
    """What a member is told."""

    lrms: str
    id: str
    asks: bool
    """It asks the batch system, and ends as the job did."""
    files: list[str]
    """To follow: stdout's first."""


def read(text: str, member: int) -> Words:
    found = json.loads(text)
    files = [str(path) for path in found["files"]] if found["follows_at"] == member else []
    return Words(str(found["lrms"]), str(found["id"]), found["asks_at"] == member, files)


class Follower:
    """A file that grows, from its start. Invariant: what was read is not read again, unless the
    file is another one, or shorter than it was: then it has begun anew."""

    def __init__(self, path: str, write: Callable[[bytes], None]) -> None:
        self._path = path
        self._write = write
        self._fd = -1
        self._at = 0
        self._is = (0, 0)  # device and inode

    def look(self) -> bool:
        """Hand on what is new; was there any?"""
        if self._fd < 0 and not self._open():
            return False
        found = self._drain()
        if self._fd < 0:
            return found
        try:
            there = os.stat(self._path)
        except OSError:
            return found  # moved away, and nothing in its place yet: there may be more in it
        mine = os.fstat(self._fd)
        if (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino):
            if self._drain():  # what came between reading and being moved
                return True
            self.close()
            found = (self._open() and self._drain()) or found
        elif mine.st_size < self._at:
            self._at = 0
            found = self._drain() or found
        return found

    def _open(self) -> bool:
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return False
        there = os.fstat(self._fd)
        if self._is != (there.st_dev, there.st_ino):
            self._is, self._at = (there.st_dev, there.st_ino), 0
        return True

    def _drain(self) -> bool:
        found = False
        for _ in range(LOOK_BYTES // PIECE_BYTES):
            try:
                data = os.pread(self._fd, PIECE_BYTES, self._at)
            except OSError:  # ESTALE: its server has it no more
                self.close()
                return found
            if not data:
                return found
            self._at += len(data)
            self._write(data)
            found = True
        return found

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def ask(lrms: str, id: str) -> Any:
    """The `BatchJob`, or None if there is none any more.

    Raises:
        GshellError: no answer.
    """
    done = []
    for command in running.about(lrms, id):
        try:
            ran = subprocess.run(
                list(command.argv), input=command.stdin, env={**os.environ, **command.env},
                capture_output=True, text=True, errors="replace", timeout=ANSWER_S, check=False,
            )  # fmt: skip
            done.append(Done(ran.returncode, ran.stdout, ran.stderr))
        except FileNotFoundError:
            done.append(Done(127, "", f"{command.argv[0]}: command not found"))
        except (OSError, subprocess.SubprocessError) as error:
            raise GshellError(f"{command.argv[0]}: {error}") from None
    return running.told(lrms, id, done)


def main(words: list[str]) -> int:
    """Until the batch job's end; its exit status."""
    told = read(words[0], int(os.environ.get("GSHELL_MEMBER", "0")))
    stop: list[int] = []
    # Together with the job: its batch system tells all that runs there. And who cancels us.
    signal.signal(signal.SIGTERM, lambda number, frame: stop.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    followers = [
        Follower(path, lambda data, fd=fd: _write(fd, data))  # type: ignore[misc]
        for fd, path in zip((1, 2), told.files)
    ]
    watch = _Watch(told)
    agent = os.getppid()
    while True:
        grown = [one.look() for one in followers]
        code = watch.code(time.monotonic(), bool(stop))
        if code is None and stop:
            code = 128 + stop[0] if told.asks else 0  # how the others end means nothing
        if code is None and os.getppid() != agent:
            return LOST  # the batch system killed it and its keeper, and did not find us
        if code is not None:
            break
        if not any(grown):
            time.sleep(LOOK_S)
    until = time.monotonic() + LAST_S
    while followers and not (stop and not watch.over):
        grown = [one.look() for one in followers]
        if not any(grown):
            if time.monotonic() >= until:
                break
            time.sleep(LOOK_S / 2)
    return code


class _Watch:
    """Asks after the batch job, where that is ours to do."""

    def __init__(self, told: Words) -> None:
        self._told = told
        self._next = 0.0
        self._complained = ""
        self._gone_at: float | None = None
        self._began: float | None = None
        self.over = False

    def code(self, now: float, hurry: bool) -> int | None:
        """Its exit status; None: it runs."""
        if not self._told.asks or (now < self._next and not hurry):
            return None
        self._next = now + ASK_EVERY_S
        try:
            job = ask(self._told.lrms, self._told.id)
        except GshellError as error:
            self._next = now + ASK_SLOWER_S
            self._complain(error.message)
            return None
        if job is not None and job.began is not None:
            if self._began is None:
                self._began = job.began
            elif job.state is State.ENDED and job.began > self._began + LATER_S:
                job = None  # it has only written yet how some process on its nodes has ended
        if job is None and (self._gone_at is None or now < self._gone_at + FORGOTTEN_S):
            self._gone_at = now if self._gone_at is None else self._gone_at
            return None
        if job is None:
            self.over = True
            self._complain("its batch system has forgotten it: how it ended is not known")
            return LOST
        if job.state is State.ENDED or (job.state is State.ENDING and job.code is not None):
            self.over = True
            if job.code is None:
                self._complain(f"it has ended ({job.word}): its batch system does not say how")
            return LOST if job.code is None else int(job.code)
        return None

    def _complain(self, what: str) -> None:
        if what != self._complained:
            self._complained = what
            text = sanitize(f"gshell: {self._told.lrms}:{self._told.id}: {what}")
            _write(2, text.encode() + b"\n")


def _write(fd: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(fd, data) :]
        except OSError:  # nobody keeps it any more
            sys.exit(LOST)
