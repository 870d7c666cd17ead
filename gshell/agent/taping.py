"""A recording beside the job, on the agent's host: it goes on when no client is there."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from gshell.agent.trace import window
from gshell.cast.format import Header
from gshell.cast.recorder import Recorder, timed
from gshell.model.sanitize import sanitize
from gshell.wire.constants import stderr_of, stdout_of

if TYPE_CHECKING:
    from gshell.agent.ranks import Rank
    from gshell.agent.secrecy import Told
    from gshell.agent.session import Session

PAST_BYTES = 1 << 16  # of the log in one read
NAME_COLUMNS = 200  # of a file's name in an error


class Taping:
    """Of one rank, into one file. Invariant: the file is whole lines; what fails ends the
    recording, never the job."""

    def __init__(self, session: Session, rank: Rank, wish: dict[str, Any]) -> None:
        """``wish``: the control message ``record``.

        Raises:
            OSError: the file cannot be made, or is there already.
            ValueError: no file can have that name.
        """
        spec = session.spec
        self._session = session
        self.rank = rank
        self.input = wish.get("input") is True
        base = (spec.cwd or spec.home if spec is not None else None) or os.path.expanduser("~")
        base = session.workdir or (base if os.path.isdir(base) else os.path.expanduser("~"))
        name = str(wish.get("file") or f"gshell-{session.job}.cast")
        self.path = os.path.join(base, name)
        self.trouble = ""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self.path, flags, 0o600)
        self._size = 0
        self._from: dict[int, int] = {}
        size = window(rank)
        env = dict(spec.env) if spec is not None else {}
        header = Header(
            size[1] if size else 80, size[0] if size else 24,
            3 if wish.get("version") == 3 else 2, timestamp=int(time.time()),
            title=f"job {session.job}",
            env={key: env[key] for key in ("SHELL", "TERM") if key in env} or None,
            more=() if size else (("pipes", True),),
        )  # fmt: skip
        clock, past = session.clock(), self._past()
        self._began = min([when for when, _, _ in past], default=clock)
        header = header._replace(timestamp=int(time.time() - (clock - self._began)))
        self._recorder = Recorder(self._write, header, marks=self.input, pipes=not size)
        for when, err, data in past:
            self._put(when - self._began, err, data)

    def _past(self) -> list[tuple[float, bool, bytes]]:
        """What the log still has, in order of time."""
        found: list[tuple[float, bool, bytes]] = []
        for stream, log in self.rank.logs.items():
            err = stream == stderr_of(self.rank.number)
            marks = self.rank.times[stream].marks(0.0)
            at = log.start
            while at < log.end:
                data = log.read(at, PAST_BYTES)
                if not data:
                    break
                pieces = timed(marks, at, data) if marks else [(self._session.clock(), data)]
                found += [(when, err, piece) for when, piece in pieces]
                at += len(data)
        found.sort(key=lambda one: one[0])
        return found

    def _write(self, line: bytes) -> None:
        if self.trouble:
            return
        try:
            if os.write(self._fd, line) == len(line):
                self._size += len(line)
                return
            self.trouble = "no space left"
        except OSError as error:
            self.trouble = str(error.strerror)
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            pass  # a reader passes over half a line

    def _now(self) -> float:
        return self._session.clock() - self._began

    def _put(self, at_s: float, err: bool, data: bytes) -> None:
        (self._recorder.error if err else self._recorder.output)(at_s, data)

    # -- what happens

    def output(self, stream: int, data: bytes) -> None:
        if stream in (stdout_of(self.rank.number), stderr_of(self.rank.number)):
            self._put(self._now(), stream == stderr_of(self.rank.number), data)

    def typed(self, found: list[Told]) -> None:
        for told in found if self.input else ():
            if told.secret:
                self._recorder.secret(self._now())
            else:
                self._recorder.typed(self._now(), told.data)

    def sized(self, rows: int, columns: int) -> None:
        self._recorder.resized(self._now(), columns, rows)

    def exited(self, code: int) -> None:
        self._recorder.exited(self._now(), code)
        self.close()

    def close(self) -> None:
        """It goes on without us."""
        if self._fd >= 0:
            if not self._recorder.ended:
                self._recorder.close(self._now())
            os.close(self._fd)
            self._fd = -1


def answer(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Do what the control message ``record`` asks for; what to say to it."""
    tape = session.taps.tape
    if message.get("on") is False:
        if tape is None:
            return {"t": "recording", "on": False, "error": "nothing is recorded there"}
        tape.close()
        session.taps.tape = None
        return {"t": "recording", "on": False, "file": tape.path, "error": tape.trouble or None}
    if tape is not None:
        return {"t": "recording", "on": True, "file": tape.path, "error": "it is recorded already"}
    number = message.get("rank") or 0
    ranks = [rank for rank in session.ranks if rank.number == number and not rank.said]
    if not ranks:
        return {"t": "recording", "on": False, "error": "it does not run"}
    try:
        session.taps.tape = Taping(session, ranks[0], message)
    except OSError as error:
        name = sanitize(str(error.filename), NAME_COLUMNS)
        return {"t": "recording", "on": False, "error": f"{name}: {error.strerror}"}
    except ValueError:  # a NUL, or a half of a character
        return {"t": "recording", "on": False, "error": "no file can have that name"}
    return {"t": "recording", "on": True, "file": session.taps.tape.path}
