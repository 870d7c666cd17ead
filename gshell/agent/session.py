"""One step: its ranks' processes, their logs, and everybody who looks at it.

Knows no relay and no sockets' addresses: links come from outside, news go out by ``SessionOwner``.
"""

from __future__ import annotations

import errno
import functools
import os
import signal as signals
import termios
import time
from typing import Any, Callable, Protocol

from gshell.agent import environment
from gshell.agent.attachment import Attachment
from gshell.agent.sessionlog import Retention, StreamLog
from gshell.agent.spawn import OUTPUT_PIPE_BYTES, Child, SpawnSpec, spawn
from gshell.agent.spec import StepSpec
from gshell.agent.spool import Spool
from gshell.agent.timeline import Timeline
from gshell.errors import SpawnFailed
from gshell.model.vt import ModeTracker
from gshell.net.loop import IN, OUT, Loop, Timer
from gshell.wire.constants import (
    rank_streams,
    stderr_of,
    stdin_of,
    stdout_of,
)

READ_BYTES = 1 << 16  # of a pipe in one read; also a frame's worth
PTY_ROUND_BYTES = 1 << 15  # of a pty in one round: eight reads; with more the other end stands idle
PIPE_ROUND_BYTES = 1 << 18  # of a pipe in one round, sent on in one piece
AHEAD_BYTES = 1 << 16  # output read ahead of what a primary that is attached can be sent
DRAIN_AFTER_EXIT_S = (
    2.0  # a grandchild may hold a pipe open for ever; a pty hangs up with its leader
)
SMALL_BYTES = 4096  # input that waits in pieces smaller than this is put together
REAP_POLL_S = 0.05  # only on kernels without pidfds
KILL_AFTER_S = 5.0  # a cancelled step that ignores TERM
FEW_TASKS = 8
MANY_TASKS_PIPE_BYTES = 1 << 16  # all pipes of a user together have 64 MiB; beyond, new ones shrink


class SessionOwner(Protocol):
    """Who has the sessions: the agent."""

    loop: Loop

    def admit(self, session: Session, spec: StepSpec) -> None:
        """Start it if there is room, else tell the client."""

    def on_left(self, session: Session) -> None: ...

    def on_started(self, session: Session) -> None: ...

    def on_ended(self, session: Session) -> None: ...

    def on_watchers(self, session: Session) -> None: ...

    def make_spool(self, session: Session, stream: int) -> Spool: ...


class Rank:
    """A process of the step, with its two logs and what its stdin has not taken yet."""

    __slots__ = (
        "child", "code", "core", "drain", "error", "exited", "input", "input_end", "input_waits",
        "logs", "modes", "number", "overdue", "paused", "signal", "times",
    )  # fmt: skip

    def __init__(self, number: int) -> None:
        self.number = number
        self.child: Child | None = None
        self.times: dict[int, Timeline] = {}
        self.logs: dict[int, StreamLog] = {}  # by stream number
        self.input: list[tuple[Attachment | None, bytes]] = []  # whose, what
        self.input_waits = False  # the stdin pipe is in the loop
        self.overdue = False  # it ended a while ago: whoever holds its output is not waited for
        self.input_end = False
        self.paused: dict[int, bool] = {}  # fd -> not read now
        self.modes: ModeTracker | None = None
        self.drain: Timer | None = None
        self.exited = False
        self.code = 0
        self.signal: int | None = None
        self.core = False
        self.error: str | None = None


class Session:
    """A step and its attachments. Invariant: ended means every rank was reaped and its output
    drained."""

    def __init__(self, owner: SessionOwner, job: str, index: int, size: int, user: str) -> None:
        self._owner = owner
        self._loop = owner.loop
        self.job = job
        self.index = index
        self.size = size
        self.user = user
        self.state = "new"
        self.spec: StepSpec | None = None
        self.ranks: list[Rank] = []
        self.attachments: dict[str, Attachment] = {}
        self.primary: Attachment | None = None
        self.started_at = 0.0
        self.ended_at = 0.0
        self.code = 0
        self.signal: int | None = None
        self.error: str | None = None
        self.timed_out = False
        self._timeout: Timer | None = None
        self._killing: Timer | None = None

    # -- starting

    def start(self, spec: StepSpec) -> None:
        """Start all ranks; what cannot be started ends the step with an error, not with an
        exception."""
        self.spec = spec
        self.state = "running"
        self.started_at = time.time()
        for number in range(spec.tasks):
            rank = Rank(number)
            self.ranks.append(rank)
            streams = (stdout_of(number),) if spec.pty else (stdout_of(number), stderr_of(number))
            for stream in streams:
                rank.logs[stream] = StreamLog(self._spool_maker(stream), self._retention())
                rank.times[stream] = Timeline()
            if spec.pty:
                rank.modes = ModeTracker()
                rank.modes.resized(spec.pty[0])
        for attachment in self.attachments.values():
            attachment.open_streams(from_start=True)
        for rank in self.ranks:
            self._start_rank(rank, spec)
        if any(rank.child is not None for rank in self.ranks):
            self._owner.on_started(self)
            if spec.announce and self.primary is not None:
                self.primary.peer.say({"t": "started"})
        if spec.timeout_s:
            self._timeout = self._loop.later(spec.timeout_s, self._timed_out)
        self._check_ended()
        self._publish()

    def _spool_maker(self, stream: int) -> Callable[[], Spool]:
        return lambda: self._owner.make_spool(self, stream)

    def _timed_out(self) -> None:
        self.timed_out = True
        self.cancel()

    def open(self, attachment: Attachment, message: dict[str, Any]) -> None:
        """A client says what to start; said again, it means the same start."""
        if self.state == "new" and attachment is self.primary:
            spec = StepSpec.parse(message)
            self._owner.admit(self, spec)

    def _retention(self) -> Retention:
        """What the logs keep now. A primary's bytes are kept until it has them, at the price of
        stopping the program; without one the newest output is kept and the program never waits."""
        assert self.spec is not None
        if self.primary is None:
            return Retention(keep=True, block=False)
        return Retention(keep=self.spec.keep, block=True)

    def _must_pause(self, stream: int, log: StreamLog) -> bool:
        """Is the reader who counts so far behind that the program has to wait?"""
        primary = self.primary
        if log.full or primary is None or primary.link is None:
            return log.full
        sending = primary.peer.sending(stream)
        return sending is not None and not sending.stopped and log.end - sending.sent >= AHEAD_BYTES

    def reader_changed(self) -> None:
        """The primary came, went or lost its link: other rules for the logs."""
        if self.spec is not None:
            rules = self._retention()
            for rank in self.ranks:
                for log in rank.logs.values():
                    log.retain(rules)
            self.resume_reading()

    def _start_rank(self, rank: Rank, spec: StepSpec) -> None:
        try:
            env, cwd = environment.of_rank(spec, self, rank.number)
            wants_input = rank.number == 0 and spec.first == 0 and not spec.announce
            stdin = "pipe" if wants_input and self.primary is not None else "null"
            argv = environment.argv_of(spec, env)
            pipe_bytes = OUTPUT_PIPE_BYTES if spec.tasks <= FEW_TASKS else MANY_TASKS_PIPE_BYTES
            rank.child = child = spawn(
                SpawnSpec(argv, env, cwd, spec.pty, spec.umask, stdin, pipe_bytes)
            )
        except SpawnFailed as error:
            rank.exited = True
            rank.code = error.exit_code
            rank.error = error.message
            self._say_exit(rank)
            return
        for fd in (child.stdout, child.stderr):
            if fd >= 0:
                self._loop.add(fd, IN, functools.partial(self._on_output, rank, fd))
                rank.paused[fd] = False
        if child.pidfd >= 0:
            self._loop.add(child.pidfd, IN, lambda mask: self._on_exit(rank))
        else:
            self._loop.later(REAP_POLL_S, lambda: self._poll_exit(rank))

    # -- output

    def _stream_of(self, rank: Rank, fd: int) -> int:
        assert rank.child is not None
        return stdout_of(rank.number) if fd == rank.child.stdout else stderr_of(rank.number)

    def _on_output(self, rank: Rank, fd: int, mask: int) -> None:
        child = rank.child
        assert child is not None
        if mask & OUT and child.pty and rank.input:
            self._write_input(rank)
        if mask & IN and not rank.paused.get(fd, True):
            self._read_output(rank, fd)

    def _read_output(self, rank: Rank, fd: int) -> bool:
        """One round; returns whether there may be more at once."""
        stream = self._stream_of(rank, fd)
        log = rank.logs[stream]
        parts: list[bytes] = []
        left = PTY_ROUND_BYTES if rank.modes is not None else PIPE_ROUND_BYTES
        ended = False
        empty = False
        while left > 0:
            try:
                data = os.read(fd, min(left, READ_BYTES))
            except BlockingIOError:
                empty = True
                break
            except OSError as error:
                if error.errno != errno.EIO:  # Linux: EIO *is* end-of-file on a pty master
                    raise
                data = b""
            if not data:
                ended = True
                break
            parts.append(data)
            left -= len(data)
            if rank.modes is None and len(data) < READ_BYTES and not rank.overdue:
                break  # that was all: epoll tells of more
        if parts:
            rank.times[stream].mark(self._loop.clock(), log.end)
            if rank.modes is not None:
                data = parts[0] if len(parts) == 1 else b"".join(parts)
                rank.modes.feed(data)
                log.append(data)
            else:
                for data in parts:  # as they came: a frame each, and nothing is copied
                    log.append(data)
            self._publish()
        if ended:
            self._close_output(rank, fd)
        elif not empty and self._must_pause(stream, log):
            self._pause(rank, fd, True)
            if self.primary is not None and rank.modes is None:
                self.primary.starved(stream)
        if empty and rank.overdue and not ended:
            self._close_output(rank, fd)  # the time to drain is over and nothing is left
        return bool(parts) and not ended

    def _pause(self, rank: Rank, fd: int, paused: bool) -> None:
        if rank.paused.get(fd, paused) != paused:
            rank.paused[fd] = paused
            want_out = rank.child is not None and rank.child.pty and bool(rank.input)
            self._loop.modify(fd, (0 if paused else IN) | (OUT if want_out else 0))

    def resume_reading(self) -> None:
        """Credit or room came: read those that were paused and need not be any more."""
        for rank in self.ranks:
            for fd, paused in list(rank.paused.items()):
                if paused:
                    stream = self._stream_of(rank, fd)
                    if not self._must_pause(stream, rank.logs[stream]):
                        self._pause(rank, fd, False)
                        if rank.overdue:  # an empty pipe that is held open tells epoll nothing
                            self._loop.soon(functools.partial(self._read_overdue, rank, fd))

    def retry_logs(self) -> None:
        """A log that the disk refused may go on now."""
        for rank in self.ranks:
            for log in rank.logs.values():
                if log.full and log.trouble:
                    log.retry()
                    self.resume_reading()

    def _close_output(self, rank: Rank, fd: int) -> None:
        if fd not in rank.paused:
            return
        log = rank.logs[self._stream_of(rank, fd)]
        del rank.paused[fd]
        self._loop.remove(fd)
        log.close()
        child = rank.child
        assert child is not None
        if not child.pty:
            os.close(fd)
            if fd == child.stdout:
                child.stdout = -1
            else:
                child.stderr = -1
        self._finish_rank(rank)
        self._publish()

    def reader_gone(self, stream: int) -> None:
        """The primary wants no more of this stream: the program shall see SIGPIPE."""
        for rank in self.ranks:
            child = rank.child
            if child is None or child.pty:
                continue
            for fd in list(rank.paused):
                if self._stream_of(rank, fd) == stream:
                    self._close_output(rank, fd)

    def _publish(self) -> None:
        for attachment in list(self.attachments.values()):
            attachment.pump()

    # -- input

    def take_input(self, rank_number: int, data: bytes, writer: Attachment) -> None:
        """Bytes of ``writer`` for a rank's stdin; it is told when the program has taken them."""
        rank = self.ranks[rank_number] if rank_number < len(self.ranks) else None
        if rank is None or rank.child is None or rank.child.stdin < 0 or rank.input_end:
            writer.consumed_input(stdin_of(rank_number), len(data))
            return
        last = rank.input[-1] if rank.input else None
        if last is not None and last[0] is writer and len(last[1]) < SMALL_BYTES:
            rank.input[-1] = (writer, bytes(last[1]) + data)  # a flood of single bytes, not read
        else:
            rank.input.append((writer, data))
        if len(rank.input) == 1 and last is None:
            self._write_input(rank)

    def end_input(self, rank_number: int) -> None:
        rank = self.ranks[rank_number] if rank_number < len(self.ranks) else None
        if rank is None or rank.child is None or rank.input_end:
            return
        if rank.child.pty:
            self._type_end(rank)
            return
        rank.input_end = True
        if not rank.input:
            self._close_input(rank)

    def _type_end(self, rank: Rank) -> None:
        """The end of a terminal's input is a character, and only in canonical mode."""
        child = rank.child
        assert child is not None
        try:
            modes = termios.tcgetattr(child.stdin)
        except termios.error:
            return
        if modes[3] & termios.ICANON:
            rank.input.append((None, modes[6][termios.VEOF]))  # nobody's byte
            self._write_input(rank)

    def _write_input(self, rank: Rank) -> None:
        child = rank.child
        assert child is not None
        fd = child.stdin
        taken: list[tuple[Attachment | None, int]] = []
        while rank.input and fd >= 0:
            writer, data = rank.input[0]
            try:
                written = os.write(fd, data)
            except BlockingIOError:
                break
            except OSError:  # EPIPE: it reads no more; EIO: its terminal is gone
                taken += [(who, len(rest)) for who, rest in rank.input]
                rank.input.clear()
                rank.input_end = True
                break
            taken.append((writer, written))
            if written == len(data):
                rank.input.pop(0)
            else:
                rank.input[0] = (writer, data[written:])
        waiting = bool(rank.input)
        if child.pty:
            if fd in rank.paused:
                self._loop.modify(fd, (0 if rank.paused[fd] else IN) | (OUT if waiting else 0))
        elif waiting and not rank.input_waits:
            rank.input_waits = True
            self._loop.add(fd, OUT, lambda mask: self._write_input(rank))
        elif not waiting and rank.input_waits:
            rank.input_waits = False
            self._loop.remove(fd)
        if rank.input_end and not waiting:
            self._close_input(rank)
        for writer, count in taken:
            if writer is not None:
                writer.consumed_input(stdin_of(rank.number), count)

    def _close_input(self, rank: Rank) -> None:
        child = rank.child
        if child is not None and not child.pty and child.stdin >= 0:
            if rank.input_waits:
                rank.input_waits = False
                self._loop.remove(child.stdin)
            child.close_stdin()

    # -- ends

    def _poll_exit(self, rank: Rank) -> None:
        self._on_exit(rank)
        if not rank.exited:
            self._loop.later(REAP_POLL_S, lambda: self._poll_exit(rank))

    def _on_exit(self, rank: Rank) -> None:
        child = rank.child
        assert child is not None
        pidfd = child.pidfd
        status = child.reap()
        if status is None:
            return
        if pidfd >= 0:
            self._loop.remove(pidfd)
        rank.exited = True
        rank.code, rank.signal, rank.core = status.code, status.signal, status.core_dumped
        for fd in list(rank.paused):  # what it wrote last is there: no round trip of epoll
            while fd in rank.paused and not rank.paused[fd] and self._read_output(rank, fd):
                pass
        if rank.paused:
            rank.drain = self._loop.later(DRAIN_AFTER_EXIT_S, lambda: self._drained(rank))
        self._finish_rank(rank)

    def _drained(self, rank: Rank) -> None:
        rank.drain = None
        rank.overdue = True
        for fd in list(rank.paused):
            self._read_overdue(rank, fd)

    def _read_overdue(self, rank: Rank, fd: int) -> None:
        """Read what is there to the end of it: a descendant may hold the other end for ever."""
        while rank.paused.get(fd) is False and self._read_output(rank, fd):
            pass

    def _finish_rank(self, rank: Rank) -> None:
        """Reaped and drained: now the end may be told."""
        if not rank.exited or rank.paused or rank.child is None:
            return
        if rank.drain is not None:
            rank.drain.cancel()
        self._close_input(rank)
        rank.input.clear()
        rank.child.close()
        rank.child = None
        self._say_exit(rank)
        self._check_ended()
        self._publish()

    def _say_exit(self, rank: Rank) -> None:
        for log in rank.logs.values():
            if not log.closed:
                log.close()
        for attachment in self.attachments.values():
            attachment.peer.say(self.exit_message(rank))

    def exit_message(self, rank: Rank) -> dict[str, Any]:
        assert self.spec is not None
        message: dict[str, Any] = {
            "t": "exit",
            "rank": rank.number,
            "code": rank.code,
            "signal": rank.signal,
            "core": rank.core,
            "final": {str(stream): log.end for stream, log in rank.logs.items()},
        }
        if self.timed_out:
            message["timed_out"] = True
        if rank.error:
            message["error"] = rank.error
        return message

    def _check_ended(self) -> None:
        if self.state != "running" or not all(
            rank.exited and rank.child is None for rank in self.ranks
        ):
            return
        self.state = "ended"
        self.ended_at = time.time()
        worst = max(self.ranks, key=lambda rank: rank.code)
        self.code, self.signal, self.error = worst.code, worst.signal, worst.error
        for timer in (self._timeout, self._killing):
            if timer is not None:
                timer.cancel()
        self._owner.on_ended(self)

    def signal_all(self, number: int) -> None:
        """To every rank that still runs: the terminal's foreground group for terminal signals."""
        for rank in self.ranks:
            if rank.child is not None:
                rank.child.signal(number)

    def cancel(self) -> None:
        """TERM, and KILL for those who do not listen. A shell ignores TERM: its terminal hangs up
        too."""
        for rank in self.ranks:
            if rank.child is not None:
                rank.child.signal(signals.SIGTERM)
                if rank.child.pty:
                    rank.child.signal(signals.SIGHUP)
                rank.child.signal(signals.SIGCONT)
        self._killing = self._loop.later(KILL_AFTER_S, lambda: self.signal_all(signals.SIGKILL))

    def resize(self, rows: int, columns: int) -> None:
        for rank in self.ranks:
            if rank.child is not None:
                rank.child.resize(rows, columns)
            if rank.modes is not None:
                rank.modes.resized(rows)

    # -- attachments

    def add(self, attachment: Attachment, steal: bool = False) -> None:
        """Let somebody in; whoever may write does, if nobody present is writing."""
        self.attachments[attachment.id] = attachment
        present = self.primary
        if attachment.rights == "rw" and (
            present is None or steal or (present.link is None and self._typed_by_hand())
        ):
            self._make_primary(attachment)
        if self.state != "new":
            attachment.open_streams(from_start=False)
        self._owner.on_watchers(self)

    def _make_primary(self, attachment: Attachment | None) -> None:
        before = self.primary
        if before is attachment:
            return
        if before is not None:
            before.writing(False)
        self.primary = attachment
        if attachment is not None:
            attachment.writing(True)
        self.reader_changed()

    def remove(self, attachment: Attachment) -> None:
        """Somebody left for good; another one who may write takes over."""
        if self.attachments.pop(attachment.id, None) is None:
            return
        attachment.close()
        if self.primary is attachment:
            self._make_primary(self._present_writer())
        self.resume_reading()
        self._owner.on_watchers(self)

    def _present_writer(self) -> Attachment | None:
        """Somebody who may write and whose link lives, if there is anybody."""
        for other in self.attachments.values():
            if other.rights == "rw" and other.link is not None:
                return other
        return None

    def _typed_by_hand(self) -> bool:
        """Only then may another one go on: what is piped in must come whole, or be stolen."""
        return self.spec is not None and self.spec.pty is not None

    def hand_on(self) -> None:
        """The one who writes has been away for long: one who is present takes over."""
        successor = self._present_writer()
        if successor is not None and self._typed_by_hand():
            self._make_primary(successor)

    def clock(self) -> float:
        """The loop's time."""
        return self._loop.clock()

    def left(self, attachment: Attachment, code: str) -> None:
        """A client said BYE."""
        self.remove(attachment)
        self._owner.on_left(self)

    def steal(self, attachment: Attachment) -> None:
        if attachment.rights == "rw":
            self._make_primary(attachment)

    def forget(self) -> None:
        """Drop logs and spools; the step is over and nobody may ask any more."""
        for attachment in list(self.attachments.values()):
            attachment.close()
        self.attachments.clear()
        for rank in self.ranks:
            for log in rank.logs.values():
                log.delete()

    def summary(self) -> dict[str, Any]:
        """SESSION of the control protocol."""
        spec = self.spec
        return {
            "job": self.job,
            "index": self.index,
            "size": self.size,
            "user": self.user,
            "state": self.state,
            "name": spec.name if spec else "",
            "argv0": spec.argv[0] if spec else "",
            "pty": bool(spec and spec.pty),
            "tasks": spec.tasks if spec else 1,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "code": self.code,
            "signal": self.signal,
            "error": self.error,
            "atts": [
                {"att": a.id, "user": a.user, "rights": a.rights, "live": a.link is not None}
                for a in self.attachments.values()
            ],
        }

    def streams(self) -> list[int]:
        """Numbers of all output streams."""
        return [stream for rank in self.ranks for stream in rank.logs]


def stdin_rank(stream: int) -> int:
    """The rank whose stdin this stream is; -1 if it is none's.

    >>> stdin_rank(2), stdin_rank(3), stdin_rank(6)
    (0, -1, 1)
    """
    return (stream - 2) // 4 if stream >= 2 and rank_streams((stream - 2) // 4)[1] == stream else -1
