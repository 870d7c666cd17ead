"""One step: its ranks' processes, their logs, and everybody who looks at it.

Knows no relay and no sockets' addresses: links come from outside, news go out by ``SessionOwner``.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import signal as signals
import termios
import time
from typing import TYPE_CHECKING, Any, Callable, Protocol

from gshell.agent import beside
from gshell.agent.attachment import ARCHIVE, Attachment
from gshell.agent.budget import Budget
from gshell.agent.claims import Claims
from gshell.agent.jobspec import JobPart
from gshell.agent.meter import Meter
from gshell.agent.peers import Peers
from gshell.agent.ranks import Rank, launch
from gshell.agent.sessionlog import Cursor, Retention, StreamLog
from gshell.agent.spawn import OUTPUT_PIPE_BYTES, Child
from gshell.agent.spec import StepSpec
from gshell.agent.spool import Spool
from gshell.agent.timeline import Timeline
from gshell.agent.trace import modes_of
from gshell.agent.typists import Typists
from gshell.agent.usage import Step
from gshell.agent.wrapped import Wrapped
from gshell.errors import SpawnFailed
from gshell.model.progress import Progress
from gshell.model.vt import ModeTracker
from gshell.net.loop import IN, OUT, Loop, Timer
from gshell.wire.constants import (
    rank_streams,
    stderr_of,
    stdin_of,
    stdout_of,
)

if TYPE_CHECKING:
    from gshell.agent.crew import Crew
    from gshell.agent.inputwait import InputWaits
    from gshell.agent.mpijob import MpiJob
    from gshell.agent.taping import Taping
    from gshell.agent.trace import Trace

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
ARCHIVE_AHEAD_BYTES = 64 << 20  # of a stream that somebody reads, kept for the archive: a spool's
WAITS = "output waits"  # how notices begin that tell of a program that stands still
ENDED_RING_BYTES = 1 << 18  # of a stream that has ended, in memory: the rest goes to disk
TROUBLE_S = 1.0  # how often a disk that refused is asked again, and how long all must be well

log = logging.getLogger("gshell.agent")


class SessionOwner(Protocol):
    """Who has the sessions: the agent."""

    loop: Loop
    disk: Budget
    """What all sessions may have on disk."""

    @property
    def archiving(self) -> bool:
        """Does the relay keep the output of steps that have ended?"""

    def admit(self, session: Session, spec: StepSpec) -> None:
        """Start it if there is room, else tell the client."""

    @property
    def batch_job(self) -> tuple[str, str]:
        """Around us: batch system and id; empty where there is none."""

    def find(self, step: str) -> Session | None:
        """The session of "JOB" or "JOB.INDEX", while it is here."""

    def on_left(self, session: Session) -> None: ...

    def on_stole(self, session: Session, attachment: Attachment) -> None:
        """Somebody took the typing from another one who was here."""

    def on_started(self, session: Session) -> None: ...

    def on_ended(self, session: Session) -> None: ...

    def before_signal(self, session: Session) -> None:
        """It is about to get one, and should be able to act on it."""

    def on_watchers(self, session: Session) -> None: ...

    def make_workdir(self, session: Session) -> str:
        """Its member's work directory, that there may be already.

        Raises:
            OSError: there is no place.
        """

    def on_phase(self, session: Session) -> None: ...

    def ask_token(self, session: Session) -> None:
        """May its program run? ``session.answer`` gets the answer, whenever that comes."""

    def on_withdrawn(self, session: Session) -> None:
        """It is not to run: another attempt does."""

    def on_visitor_left(self, session: Session, attachment: Attachment) -> None:
        """For good, who came by a share."""

    def make_spool(self, session: Session, stream: int) -> Spool: ...


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
        self.beside = ""
        """"JOB.INDEX" of the step beside which it runs, taking no slot."""
        self.stage = ""
        """"JOB.INDEX" whose work directory the relay's archive fills or reads by it."""
        self.service = ""
        """The relay announced this program of ours, which takes no slot, and nothing else."""
        self.lane = "batch"
        self.loss: float | None = None
        """An interactive step's: the share, in percent, that batch steps keep beside it."""
        self.warm = False
        """Opened ahead of use: what it starts decides its lane."""
        self.misplaced = 0
        """A warm one: how often in a row its agent was found not to be as it was when placed."""
        self.attempt = 1
        self.wants_token = False
        """The relay is to be asked just before its program starts."""
        self.workdir: str | None = None
        """Of its job's member, or of the one beside which it runs."""
        self.launched = False
        """Its program was started; without, it surely never ran."""
        self.canceled = False
        self._wrapped: Wrapped | None = None
        self.mpi: MpiJob | Crew | None = None
        """Who starts its ranks, if they are an MPI program's."""
        self.changes: dict[str, str | None] = {}
        """What hooks made of the environment of its ranks."""
        self.claims: Claims | None = None
        """Where ranks that a launcher starts ask for their streams."""
        self.peers: Peers | None = None
        """The way to the other members of its job."""
        self._early_ends: set[int] = set()  # ranks whose stdin ended before there was a program
        self.spec: StepSpec | None = None
        self.ranks: list[Rank] = []
        self.attachments: dict[str, Attachment] = {}
        self.primary: Attachment | None = None
        self.typists = Typists(self)
        self.started_at = 0.0
        self.ended_at = 0.0
        self.code = 0
        self.signal: int | None = None
        self.error: str | None = None
        self.timed_out = False
        self.archived = False
        """The relay has all of it."""
        self._much = False  # more came out than is kept for an archive while somebody reads
        self.input_waits: InputWaits | None = None
        """Once somebody asked when its programs wait for input."""
        self.taken_bytes = 0  # that its ranks have read of what was typed
        self.notice: str | None = None
        """What those attached were told of output that has no room, while that lasts."""
        self._in_trouble = False  # since it was looked at last
        self._trouble: Timer | None = None
        self._absent: dict[int, Cursor] = {}  # hold what no writer has taken, while there is none
        self._disk: Budget | None = None
        self._timeout: Timer | None = None
        self._killing: Timer | None = None
        self._meter: Meter | None = None
        self.trace: Trace | None = None
        """Who records what is typed, if anybody ever did."""
        self.tape: Taping | None = None
        """A recording here, for nobody in particular."""

    # -- starting

    def start(self, spec: StepSpec) -> None:
        """Start all ranks; what cannot be started ends the step with an error, not with an
        exception."""
        self.spec = spec
        self.state = "running"
        self.started_at = time.time()
        self._disk = disk = Budget(spec.quota_bytes, self._owner.disk, self._room_on_disk)
        if spec.mpi is not None:
            from gshell.agent.mpijob import MpiJob  # most agents never run any

            self.mpi = MpiJob(self, spec, spec.mpi)
        elif spec.crew:
            from gshell.agent.crew import Crew, without_program

            if self.index:
                self.spec = spec = spec._replace(job=without_program(spec.job))
            self.mpi = Crew(self, spec, spec.crew)
        for number in range(spec.tasks + spec.starter):
            rank = Rank(number)
            self.ranks.append(rank)
            streams = (stdout_of(number),) if spec.pty else (stdout_of(number), stderr_of(number))
            for stream in streams:
                make_spool = self._spool_maker(stream)
                rank.logs[stream] = StreamLog(make_spool, self._retention(), disk)
                rank.times[stream] = Timeline()
            if spec.pty:
                rank.modes = ModeTracker()
                rank.modes.resized(*spec.pty)
        for attachment in self.attachments.values():
            attachment.open_streams(from_start=True)
        self._hold_for_next(None)
        if spec.job is not None or self.wants_token:
            self._wrapped = Wrapped(self, spec, spec.job or JobPart())
            self._wrapped.begin()
        else:
            self.run()

    def run(self) -> None:
        """Start the program on all ranks."""
        spec = self.spec
        assert spec is not None
        self.start_clock()
        if self.mpi is not None:
            self.mpi.begin()
            return
        for rank in self.ranks:
            self.start_rank(rank, spec)
        self.say_started()

    def say_started(self) -> None:
        """What could be started runs."""
        spec = self.spec
        assert spec is not None
        self.launched = any(rank.child is not None for rank in self.ranks)
        if self.launched:
            self._owner.on_started(self)
            if spec.announce and self.primary is not None:
                self.primary.peer.say({"t": "started"})
            if spec.beside_rank is not None:
                self._say_pid(spec.beside_rank)
        for rank in self.ranks:
            self._give_early_input(rank)
        self.finish()

    def say_begun(self) -> None:
        """Nothing is started here, and yet it runs: the first member's program does."""
        self.launched = True
        self._owner.on_started(self)

    def _say_pid(self, rank: int) -> None:
        """Whom a debugger started here is to take."""
        neighbour = self.neighbour()
        pid = neighbour.pid(rank) if neighbour is not None else 0
        text = f"rank {rank} is pid {pid}: gdb -p {pid}, py-spy dump -p {pid}, top -p {pid}"
        for attachment in self.attachments.values():
            attachment.peer.say({"t": "notice", "text": text})

    def _spool_maker(self, stream: int) -> Callable[[], Spool]:
        return lambda: self._owner.make_spool(self, stream)

    @property
    def quota_bytes(self) -> int:
        """On disk, of all streams."""
        return self._disk.quota_bytes if self._disk is not None else 0

    def start_clock(self) -> None:
        """The time that its user gave it begins now."""
        self.stop_clock()
        if self.spec is not None and self.spec.timeout_s and self.state == "running":
            self._timeout = self._loop.later(self.spec.timeout_s, self._timed_out)

    def stop_clock(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

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
        stopping the program; without one the newest output is kept and the program never waits:
        unless the user said otherwise."""
        spec = self.spec
        assert spec is not None
        present = self.primary is not None
        block = present if spec.on_full is None else spec.on_full == "block"
        keep = spec.keep or not present or (self.to_archive and not self._much)
        rules = Retention(keep=keep, block=block)
        if self.state == "ended" and not present and spec.quota_bytes:  # there may be hundreds
            return rules._replace(ring_bytes=ENDED_RING_BYTES, hold_bytes=ENDED_RING_BYTES)
        return rules

    @property
    def to_archive(self) -> bool:
        """Is the relay to have its output, and has it not yet?"""
        spec = self.spec
        return self._owner.archiving and spec is not None and spec.archivable and not self.archived

    def _check_much(self, end: int) -> None:
        """Gigabytes through a pipe to somebody who reads them are not written to a disk on the way:
        who wants that says so (``keep``)."""
        if end > ARCHIVE_AHEAD_BYTES and not self._much:
            self._much = True
            self.reader_changed()

    def _must_pause(self, stream: int, log: StreamLog) -> bool:
        """Is the reader who counts so far behind that the program has to wait?"""
        primary = self.primary
        if log.full or primary is None or primary.link is None or not log.retention.block:
            return log.full
        sending = primary.peer.sending(stream)
        return sending is not None and not sending.stopped and log.end - sending.sent >= AHEAD_BYTES

    def _hold_for_next(self, leaving: Attachment | None) -> None:
        """With `block` said, what no writer has taken is kept for the next one to come."""
        spec = self.spec
        if spec is None or self.primary is not None or spec.on_full != "block":
            return
        for rank in self.ranks:
            for stream, log in rank.logs.items():
                if stream not in self._absent:
                    taken = 0 if leaving is None else leaving.taken(stream)
                    if taken is not None:
                        self._absent[stream] = log.cursor(taken, needed=True)

    def reader_changed(self) -> None:
        """The primary came, went or lost its link: other rules for the logs."""
        if self.spec is not None:
            rules = self._retention()
            for rank in self.ranks:
                for log in rank.logs.values():
                    log.retain(rules)
            if self.primary is not None and self._absent:
                for cursor in self._absent.values():
                    cursor.close()
                self._absent.clear()
            self.resume_reading()

    def start_rank(self, rank: Rank, spec: StepSpec, **more: Any) -> None:
        """``more``: see :func:`gshell.agent.ranks.launch`."""
        try:
            child = launch(self, rank, spec, **more)
        except SpawnFailed as error:
            rank.exited = True
            rank.code = error.exit_code
            rank.error = error.message
            if not self._holds(rank):
                self._say_exit(rank)
            return
        self._watch(rank, child)

    def adopt_child(self, rank: Rank, child: Child) -> None:
        """Another program takes this rank's place."""
        rank.again()
        self._watch(rank, child)

    def _watch(self, rank: Rank, child: Child) -> None:
        rank.child = child
        for fd in (child.stdout, child.stderr):
            if fd >= 0:
                self._loop.add(fd, IN, functools.partial(self._on_output, rank, fd))
                rank.paused[fd] = False
        if child.pidfd >= 0:
            self._loop.add(child.pidfd, IN, lambda mask: self._on_exit(rank))
        else:
            self._loop.later(REAP_POLL_S, lambda: self._poll_exit(rank))
        if self.input_waits is not None:
            self.input_waits.begun(rank)

    # -- output

    def _stream_of(self, rank: Rank, fd: int) -> int:
        assert rank.child is not None
        if fd == rank.child.stdout or rank.modes is not None:
            return stdout_of(rank.number)
        return stderr_of(rank.number)

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
        kept = rank.logs[stream]
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
                if error.errno in (errno.ENOMEM, errno.ENOBUFS, errno.EINTR):
                    break  # epoll tells again
                # Linux: EIO *is* end-of-file on a pty master. Else the descriptor is no good.
                if error.errno != errno.EIO:
                    log.error("job %s: output cannot be read: %s", self.job, error.strerror)
                data = b""
            if not data:
                ended = True
                break
            parts.append(data)
            left -= len(data)
            if rank.modes is None and len(data) < READ_BYTES and not rank.overdue:
                break  # that was all: epoll tells of more
        got = bool(parts)
        wrapped = self._wrapped
        if parts and wrapped is not None and not wrapped.scripting:
            for data in parts:
                wrapped.files.write(stream == stderr_of(rank.number), data)
            if wrapped.files.drops(stream == stderr_of(rank.number)):
                parts.clear()
        if parts:
            rank.times[stream].mark(self._loop.clock(), kept.end)
            if self.trace is not None and rank.modes is not None:
                self.trace.output(rank, b"".join(parts))
            if self.tape is not None and self.tape.rank is rank:
                self.tape.output(stream, b"".join(parts))
            if rank.modes is not None:
                data = parts[0] if len(parts) == 1 else b"".join(parts)
                rank.modes.feed(data)
                kept.append(data)
            else:
                for data in parts:  # as they came: a frame each, and nothing is copied
                    kept.append(data)
            self._check_much(kept.end)
            if self.input_waits is not None:
                self.input_waits.printed(rank)
            self._publish()
        if kept.full or kept.trouble is not None:
            self._in_trouble = True
            if self._trouble is None:
                self._look_at_logs()
        if ended:
            self._close_output(rank, fd)
        elif not empty and self._must_pause(stream, kept):
            self._pause(rank, fd, True)
            if self.primary is not None and rank.modes is None:
                self.primary.starved(stream)
        if empty and rank.overdue and not ended:
            self._close_output(rank, fd)  # the time to drain is over and nothing is left
        return got and not ended

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
        """A log that had no room may go on now."""
        for rank in self.ranks:
            for log in rank.logs.values():
                if log.full:
                    log.retry()
        self.resume_reading()

    def _room_on_disk(self) -> None:
        self._loop.soon(self.retry_logs)

    def _look_at_logs(self) -> None:
        """Some log has no room, or its disk refuses: say so, once, and look until all is well."""
        words = self._worst()
        if words is not None and _kind(words) != _kind(self.notice):
            self._say_notice(words)
        if self._trouble is None:
            self._trouble = self._loop.later(TROUBLE_S, self._look_again)

    def _look_again(self) -> None:
        """All is well if nothing was meanwhile: where a slow reader makes room it is soon taken."""
        self._trouble = None
        self.retry_logs()
        if self._in_trouble or self._worst() is not None:
            self._in_trouble = False
            self._look_at_logs()
        elif self.state == "ended":
            self.notice = None  # that is news enough
        elif self.notice is not None:
            self._say_notice(None)

    def _worst(self) -> str | None:
        """What to tell of the logs, if anything."""
        words = None
        for rank in self.ranks:
            for log in rank.logs.values():
                if log.closed or not (log.full or log.trouble):
                    continue
                if log.full and log.trouble:
                    return f"{WAITS}: {log.trouble}; it goes on when there is room"
                if log.full:
                    words = f"{WAITS}: nobody takes it, and {self._room_words()}"
                elif words is None:
                    words = f"old output is soon forgotten: {log.trouble}"
        return words

    def _room_words(self) -> str:
        disk = self._disk
        if disk is None or not disk.quota_bytes:
            return "there is no room for more in memory"
        if 2 * disk.held < disk.quota_bytes:
            return "the agent's spool is full"
        return f"its spool of {disk.quota_bytes / (1 << 20):.3g} MiB is full"

    def _say_notice(self, words: str | None) -> None:
        over = "output goes on" if _kind(self.notice) == WAITS else "output is kept again"
        text = words or over
        log.warning("job %s: %s", self.job, text)
        self.notice = words
        for attachment in self.attachments.values():
            attachment.peer.say({"t": "notice", "text": text})
        self._publish()

    def _close_output(self, rank: Rank, fd: int) -> None:
        if fd not in rank.paused:
            return
        log = rank.logs[self._stream_of(rank, fd)]
        del rank.paused[fd]
        self._loop.remove(fd)
        wrapped = self._wrapped
        if not self._holds(rank) and (wrapped is None or not wrapped.scripting):
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

    @property
    def _early(self) -> bool:
        """Is there no program yet?"""
        later = self._wrapped is not None or self.mpi is not None
        return later and not self.launched and self.state == "running"

    def _give_early_input(self, rank: Rank) -> None:
        if rank.input and rank.child is not None and rank.child.stdin >= 0:
            self._write_input(rank)
        elif rank.input:
            for writer, data in rank.input:
                if writer is not None:
                    writer.consumed_input(stdin_of(rank.number), len(data))
            rank.input.clear()
        if rank.number in self._early_ends:
            self.end_input(rank.number)

    def take_input(self, rank_number: int, data: bytes, writer: Attachment) -> None:
        """Bytes of ``writer`` for a rank's stdin; it is told when the program has taken them."""
        rank = self.ranks[rank_number] if rank_number < len(self.ranks) else None
        if rank is not None and self._early:
            rank.input.append((writer, data))  # for the program, not for what comes before it
            return
        if rank is None or rank.child is None or rank.child.stdin < 0 or rank.input_end:
            writer.consumed_input(stdin_of(rank_number), len(data))
            return
        last = rank.input[-1] if rank.input else None
        if last is None and self.input_waits is not None:
            self.input_waits.typing(rank)
        if last is not None and last[0] is writer and len(last[1]) < SMALL_BYTES:
            rank.input[-1] = (writer, bytes(last[1]) + data)  # a flood of single bytes, not read
        else:
            rank.input.append((writer, data))
        if len(rank.input) == 1 and last is None:
            self._write_input(rank)

    def end_input(self, rank_number: int) -> None:
        rank = self.ranks[rank_number] if rank_number < len(self.ranks) else None
        if self._early:
            self._early_ends.add(rank_number)
            return
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
            modes = modes_of(rank) if self.trace is not None else None
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
            self.taken_bytes += written
            rank.taken += written
            if self.trace is not None:
                self.trace.given(rank, writer, data[:written], modes)
            if written == len(data):
                rank.input.pop(0)
            else:
                rank.input[0] = (writer, data[written:])
        waiting = bool(rank.input)
        if self.input_waits is not None:
            self.input_waits.typed(rank)
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
        scripting = self._wrapped is not None and self._wrapped.scripting
        if self.mpi is not None and not scripting:
            self.mpi.rank_exited(rank)
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
            if rank.logs[self._stream_of(rank, fd)].full:
                self._read_last(rank, fd)
            else:
                self._read_overdue(rank, fd)

    def _read_last(self, rank: Rank, fd: int) -> None:
        """There is no room, and may never be: what the program left in its pipe is taken all the
        same, so that it has ended; a descendant that goes on is not waited for."""
        log = rank.logs[self._stream_of(rank, fd)]
        most = log.end + OUTPUT_PIPE_BYTES
        while fd in rank.paused and log.end < most and self._read_output(rank, fd):
            pass
        self._close_output(rank, fd)

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
        if not self._early:
            rank.input.clear()
        if self.trace is not None:
            self.trace.ended(rank)  # before its exit is told, after which nobody listens
        if self.input_waits is not None:
            self.input_waits.ended(rank)
        rank.child.close()
        rank.child = None
        wrapped = self._wrapped
        if wrapped is not None and wrapped.script_ended(rank):
            return
        if not self._holds(rank):
            self._say_exit(rank)
        self._check_ended()
        self._publish()

    def _holds(self, rank: Rank) -> bool:
        """Is this rank's output to go on after what runs now has ended?"""
        if self.mpi is not None and self.mpi.holds(rank):
            return True
        return self._wrapped is not None and self._wrapped.holds(rank)

    def _say_exit(self, rank: Rank) -> None:
        rank.said = True
        if self.tape is not None and self.tape.rank is rank:
            self.tape.exited(rank.code)
        for log in rank.logs.values():
            if not log.closed:
                log.close()
        for attachment in self.attachments.values():
            self.say_end(attachment, rank)

    def say_end(self, attachment: Attachment, rank: Rank) -> None:
        """Its exit; to who archives it when its output came, too."""
        if attachment.user == ARCHIVE:
            shift_s = time.time() - self._loop.clock()
            for stream, line in rank.times.items():
                marks = line.marks(shift_s)
                attachment.peer.say({"t": "times", "stream": stream, "marks": marks})
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
        if self.mpi is not None and self.mpi.busy:
            return
        if self._wrapped is not None and self._wrapped.ran():
            return
        for rank in self.ranks:
            if not rank.said:
                self._say_exit(rank)
        self.state = "ended"
        self.ended_at = time.time()
        ranks = self.ranks
        if self.mpi is not None:
            self.mpi.close()
            ranks = [self.mpi.starter, *self.mpi.ranks]  # it knows why, if it ended them
        worst = max(ranks, key=lambda rank: rank.code)
        self.code, self.signal, self.error = worst.code, worst.signal, worst.error
        if self._wrapped is not None and self.error is None:
            self.error = self._wrapped.files.trouble or None
        if self.mpi is not None and self.error is None:
            self.error = self.mpi.why or None
        for timer in (self._timeout, self._killing):
            if timer is not None:
                timer.cancel()
        if self.primary is None:
            self.reader_changed()
        self._owner.on_ended(self)

    # -- what its wrapping asks for

    def make_workdir(self) -> str:
        """
        Raises:
            OSError: there is no place.
        """
        return self._owner.make_workdir(self)

    @property
    def loop(self) -> Loop:
        return self._loop

    def clock_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        return self._loop.later(delay_s, call)

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def say_phase(self) -> None:
        self._owner.on_phase(self)

    def ask_token(self) -> None:
        self._owner.ask_token(self)

    @property
    def asks_token(self) -> bool:
        """Does it wait for the relay's word?"""
        return self.state == "running" and self._wrapped is not None and self._wrapped.asks

    def answer(self, may: bool) -> None:
        """The relay's word."""
        if self.asks_token and self._wrapped is not None:
            if may:
                self._wrapped.go()
            else:
                self._wrapped.refuse()

    def withdraw(self) -> None:
        """End as if it had never been."""
        self.state = "ended"
        self.ended_at = time.time()
        self._owner.on_withdrawn(self)

    def fail(self, code: int, error: str, signal: int | None) -> None:
        """What is around the program went wrong."""
        for rank in self.ranks:
            if not rank.said:
                rank.exited = True
                rank.code, rank.signal, rank.error = code, signal, error
        self.finish()

    def finish(self) -> None:
        """Nothing more is to come."""
        self._check_ended()
        self._publish()

    @property
    def phase(self) -> str:
        """How far it got."""
        if self.mpi is not None and self.mpi.prepares:
            return "prologue"
        return self._wrapped.phase if self._wrapped is not None else "run"

    def signal_all(self, number: int, only: list[int] | None = None) -> None:
        """To every rank, or these, that still runs: the terminal's foreground group for terminal
        signals."""
        self._owner.before_signal(self)
        if self.mpi is not None and only is None:  # a single one that ends by it leaves the others
            self.mpi.signalled(number)
        for rank in self._hearing(number):
            if rank.child is not None and (only is None or rank.number in only):
                rank.child.signal(number)

    def _hearing(self, number: int) -> list[Rank]:
        """Those to whom a signal for all goes."""
        mpi = self.mpi
        return [rank for rank in self.ranks if mpi is None or mpi.listens(rank, number)]

    def cancel(self) -> None:
        """TERM, and KILL for those who do not listen. A shell ignores TERM: its terminal hangs up
        too."""
        self.canceled = True
        if self._wrapped is not None:
            self._wrapped.cancel()
        if self.mpi is not None:
            self.mpi.cancel()
        self._owner.before_signal(self)
        for rank in self._hearing(signals.SIGTERM):
            if rank.child is not None:
                rank.child.signal(signals.SIGTERM)
                if rank.child.pty:
                    rank.child.signal(signals.SIGHUP)
                rank.child.signal(signals.SIGCONT)
        self._killing = self._loop.later(KILL_AFTER_S, lambda: self.signal_all(signals.SIGKILL))

    def resize(self, rows: int, columns: int, only: list[int] | None = None) -> None:
        """The terminals of all ranks, or of these."""
        for rank in self.ranks:
            if only is not None and rank.number not in only:
                continue
            if rank.child is not None:
                rank.child.resize(rows, columns)
            if rank.modes is not None:
                rank.modes.resized(rows, columns)
            if self.trace is not None and rank.child is not None and rank.child.pty:
                self.trace.sized(rank, rows, columns)
            if self.tape is not None and self.tape.rank is rank:
                self.tape.sized(rows, columns)
        for attachment in self.attachments.values():
            attachment.say_sizes()

    def traced(self, attachment: Attachment, message: dict[str, Any]) -> None:
        """Somebody records: what was typed is told from here on."""
        if self.trace is None:
            from gshell.agent.trace import Trace

            self.trace = Trace(self)
        self.trace.ask(attachment, message)

    def record(self, attachment: Attachment, message: dict[str, Any]) -> None:
        """Its owner wants it recorded here, whoever is there."""
        if attachment.share or attachment.user != self.user:
            return
        from gshell.agent.taping import answer

        if message.get("input") is True:
            self.traced(attachment, {})
        attachment.peer.say(answer(self, message))
        attachment.pump()

    # -- attachments

    def add(self, attachment: Attachment, steal: bool = False) -> None:
        """Let somebody in; whoever may write does, if nobody present is writing."""
        self.attachments[attachment.id] = attachment
        present = self.primary
        if self.state != "new":  # before it counts as the reader: then less is kept
            attachment.open_streams(from_start=False)
            if self.notice is not None:
                attachment.peer.say({"t": "notice", "text": self.notice})
        if attachment.ranks is not None:
            self.typists.add(attachment, steal)
        elif attachment.rights == "rw" and (
            present is None or steal or (present.link is None and self._typed_by_hand())
        ):
            self._make_primary(attachment)
            if steal and present is not None:
                self._owner.on_stole(self, attachment)
        self._owner.on_watchers(self)

    def _make_primary(self, attachment: Attachment | None) -> None:
        before = self.primary
        if before is attachment:
            return
        self.primary = attachment
        self._hold_for_next(before)
        if attachment is not None:
            attachment.writing(True)
        else:
            self.reader_changed()  # more is kept, from before the one who leaves lets go
        if before is not None:
            before.writing(False)
        if attachment is not None:
            self.reader_changed()

    def remove(self, attachment: Attachment) -> None:
        """Somebody left for good; another one who may write takes over."""
        if self.attachments.pop(attachment.id, None) is None:
            return
        self.typists.remove(attachment)
        if self.primary is attachment:
            self._make_primary(self._present_writer())
        attachment.close()
        self.resume_reading()
        self._owner.on_watchers(self)
        if attachment.share:
            self._owner.on_visitor_left(self, attachment)

    def forget_input(self, attachment: Attachment) -> None:
        """What it has sent and the program not yet taken is not to reach it any more."""
        for rank in self.ranks:
            kept = [(who, data) for who, data in rank.input if who is not attachment]
            if len(kept) != len(rank.input) and rank.child is not None:
                rank.input = kept
                self._write_input(rank)  # nobody waits for room any more, perhaps

    def _present_writer(self) -> Attachment | None:
        """Somebody who may write and whose link lives, if there is anybody."""
        for other in self.attachments.values():
            if other.rights == "rw" and other.link is not None and other.ranks is None:
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
        before = self.primary
        if attachment.ranks is not None:
            self.typists.add(attachment, steal=True)
        elif attachment.rights == "rw":
            self._make_primary(attachment)
            if before not in (None, attachment):
                self._owner.on_stole(self, attachment)

    def forget(self) -> None:
        """Drop logs and spools; the step is over and nobody may ask any more."""
        for attachment in list(self.attachments.values()):
            attachment.close()
        self.attachments.clear()
        if self._trouble is not None:
            self._trouble.cancel()
        for rank in self.ranks:
            for log in rank.logs.values():
                log.delete()
        if self._disk is not None:
            self._disk.close()
            self._disk = None

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
            "archive": bool(spec and spec.archivable),
            "tasks": spec.tasks if spec else 1,
            "beside": self.beside,
            "service": self.service,
            "lane": self.lane,
            "attempt": self.attempt,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "code": self.code,
            "signal": self.signal,
            "error": self.error,
            "started": self.launched,
            "phase": self.phase,
            "atts": [
                {"att": a.id, "user": a.user, "rights": a.rights, "live": a.link is not None,
                 "until": a.until, "share": a.share, "cred": a.credential}
                for a in self.attachments.values()
            ],
        }  # fmt: skip

    @property
    def slots(self) -> int:
        """That it takes while it runs."""
        if self.beside or self.service or self.spec is None:
            return 0
        return self.spec.slots

    def print_as(self, rank: Rank, text: str) -> None:
        """Words of ours on a rank's stderr."""
        self.print_bytes(rank, 2, text.encode("utf-8", "surrogateescape"))

    def print_bytes(self, rank: Rank, fd: int, data: bytes) -> None:
        """Output of what runs beside a rank as its own; ``fd``: 1 or 2."""
        stream = (stderr_of if fd == 2 else stdout_of)(rank.number)
        log = rank.logs[stream]
        if not log.closed:
            rank.times[stream].mark(self._loop.clock(), log.end)
            log.append(data)
            self._publish()

    def pid(self, number: int | None = None) -> int:
        """Of that rank, by its number in the job, or its first that runs; 0: none does."""
        if number is not None:
            foreign = beside.pid(self, number)
            if foreign or beside.is_adopted(self):
                return foreign
        first = self.spec.first if self.spec is not None else 0
        pids = [
            rank.child.pid
            for rank in self.ranks
            if rank.child and not rank.exited and number in (None, first + rank.number)
        ]
        return pids[0] if pids else 0

    def pids(self) -> list[int]:
        """Of its ranks that run."""
        return [rank.child.pid for rank in self.ranks if rank.child and not rank.exited]

    def batch_job(self) -> tuple[str, str]:
        """The batch job around us: whose system, and its number there; empty: none is known."""
        return self._owner.batch_job

    def neighbour(self) -> Session | None:
        """The step beside which it runs, while that is there."""
        return self._owner.find(self.beside) if self.beside else None

    def tell_waits(self, attachment: Attachment, on: bool) -> None:
        """It wants to know, from now on or no more, when a program waits for input."""
        from gshell.agent import inputwait  # few ask

        inputwait.ask(attachment, on)

    def input_ranks(self) -> list[int]:
        """Those, by their number here, whose stdin is a pipe by the MPI program's spec."""
        spec = self.spec
        if spec is None or spec.mpi is None:
            return []
        return [n for n in range(spec.tasks) if spec.first + n in spec.mpi.input]

    def usage(self) -> Step:
        """What there is to look at while it runs."""
        children = [rank.child for rank in self.ranks if rank.child is not None]
        out = sum(log.end for rank in self.ranks for log in rank.logs.values())
        first = children[0] if children else None
        return Step(
            self.job,
            self.index,
            out,
            self.taken_bytes,
            [child.pid for child in children],
            first.foreground() if first is not None else 0,
            first is not None and first.pty,
            self._progress,
        )

    def _progress(self) -> Progress | None:
        """How far its first rank says to be. The job's first member speaks for all."""
        if self.index or not self.ranks:
            return None
        if self._meter is None:
            self._meter = Meter(self.ranks[0].logs.values())
        return self._meter.look()

    def streams(self) -> list[int]:
        """Numbers of all output streams."""
        return [stream for rank in self.ranks for stream in rank.logs]


def _kind(notice: str | None) -> str | None:
    """What a notice is about, whatever its reason."""
    return notice and notice.partition(":")[0]


def stdin_rank(stream: int) -> int:
    """The rank whose stdin this stream is; -1 if it is none's.

    >>> stdin_rank(2), stdin_rank(3), stdin_rank(6)
    (0, -1, 1)
    """
    return (stream - 2) // 4 if stream >= 2 and rank_streams((stream - 2) // 4)[1] == stream else -1
