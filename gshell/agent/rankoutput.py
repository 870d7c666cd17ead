"""What ranks print: read from their pipes and terminals into their logs, while there is room and
somebody keeps up. A read that does not happen is all the back-pressure that there is.

Knows no links and starts no processes; what the logs keep is `keeping`'s.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
from typing import TYPE_CHECKING

from gshell.agent.spawn import OUTPUT_PIPE_BYTES
from gshell.net.loop import IN, OUT, Loop
from gshell.wire.constants import stderr_of, stdout_of

if TYPE_CHECKING:
    from gshell.agent.rankinput import Input
    from gshell.agent.ranks import Rank
    from gshell.agent.session import Session
    from gshell.agent.sessionlog import StreamLog

READ_BYTES = 1 << 16  # of a pipe in one read; also a frame's worth
PTY_ROUND_BYTES = 1 << 15  # of a pty in one round: eight reads; with more the other end stands idle
PIPE_ROUND_BYTES = 1 << 18  # of a pipe in one round, sent on in one piece
AHEAD_BYTES = 1 << 16  # output read ahead of what a primary that is attached can be sent
DRAIN_AFTER_EXIT_S = (
    2.0  # a grandchild may hold a pipe open for ever; a pty hangs up with its leader
)

log = logging.getLogger("gshell.agent")


class Output:
    """Of all ranks of a session. Invariant: ``rank.paused`` has the descriptors that are open, and
    those of them that are not paused are in the loop for reading."""

    def __init__(self, loop: Loop, session: Session, input: Input) -> None:
        """``input``: a terminal takes it by the descriptor that is read here."""
        self._loop = loop
        self._session = session
        self._input = input

    def watch(self, rank: Rank) -> None:
        """Its process was started."""
        child = rank.child
        assert child is not None
        for fd in (child.stdout, child.stderr):
            if fd >= 0:
                self._loop.add(fd, IN, functools.partial(self._on_output, rank, fd))
                rank.paused[fd] = False

    def _on_output(self, rank: Rank, fd: int, mask: int) -> None:
        child = rank.child
        assert child is not None
        if mask & OUT and child.pty and rank.input:
            self._input.write(rank)
        if mask & IN and not rank.paused.get(fd, True):
            self._read(rank, fd)

    # -- reading

    def _read(self, rank: Rank, fd: int) -> bool:
        """One round; returns whether there may be more at once."""
        session = self._session
        stream = _stream_of(rank, fd)
        kept = rank.logs[stream]
        parts, empty, ended = self._take(rank, fd)
        got = bool(parts)
        wrapped = session.wrapped
        if wrapped is not None and not wrapped.printed(stream == stderr_of(rank.number), parts):
            parts.clear()
        if parts:
            rank.times[stream].mark(self._loop.clock(), kept.end)
            session.taps.output(rank, stream, parts)
            if rank.modes is not None:
                data = parts[0] if len(parts) == 1 else b"".join(parts)
                rank.modes.feed(data)
                kept.append(data)
            else:
                for data in parts:  # as they came: a frame each, and nothing is copied
                    kept.append(data)
            if session.keeping.becomes_much(kept.end):
                session.reader_changed()
            session.taps.printed(rank)
            session.publish()
        if kept.full or kept.trouble is not None:
            session.keeping.in_trouble()
        if ended:
            self._close(rank, fd)
        elif not empty and self._must_pause(stream, kept):
            self._pause(rank, fd, True)
            if session.primary is not None and rank.modes is None:
                session.primary.starved(stream)
        if empty and rank.overdue and not ended:
            self._close(rank, fd)  # the time to drain is over and nothing is left
        return got and not ended

    def _take(self, rank: Rank, fd: int) -> tuple[list[bytes], bool, bool]:
        """A round's worth of bytes; is nothing left for now, and is that the end?"""
        parts: list[bytes] = []
        left = PTY_ROUND_BYTES if rank.modes is not None else PIPE_ROUND_BYTES
        while left > 0:
            try:
                data = os.read(fd, min(left, READ_BYTES))
            except BlockingIOError:
                return parts, True, False
            except OSError as error:
                if error.errno in (errno.ENOMEM, errno.ENOBUFS, errno.EINTR):
                    break  # epoll tells again
                # Linux: EIO *is* end-of-file on a pty master. Else the descriptor is no good.
                if error.errno != errno.EIO:
                    job = self._session.job
                    log.error("job %s: output cannot be read: %s", job, error.strerror)
                data = b""
            if not data:
                return parts, False, True
            parts.append(data)
            left -= len(data)
            if rank.modes is None and len(data) < READ_BYTES and not rank.overdue:
                break  # that was all: epoll tells of more
        return parts, False, False

    # -- waiting for readers

    def _must_pause(self, stream: int, kept: StreamLog) -> bool:
        """Is the reader who counts so far behind that the program has to wait?"""
        primary = self._session.primary
        if kept.full or primary is None or primary.link is None or not kept.retention.block:
            return kept.full
        sending = primary.peer.sending(stream)
        return (
            sending is not None and not sending.stopped and kept.end - sending.sent >= AHEAD_BYTES
        )

    def _pause(self, rank: Rank, fd: int, paused: bool) -> None:
        if rank.paused.get(fd, paused) != paused:
            rank.paused[fd] = paused
            self._loop.modify(fd, rank.awaits(fd))

    def resume(self) -> None:
        """Credit or room came: read those that were paused and need not be any more."""
        for rank in self._session.ranks:
            for fd, paused in list(rank.paused.items()):
                if paused:
                    stream = _stream_of(rank, fd)
                    if not self._must_pause(stream, rank.logs[stream]):
                        self._pause(rank, fd, False)
                        if rank.overdue:  # an empty pipe that is held open tells epoll nothing
                            self._loop.soon(functools.partial(self._read_overdue, rank, fd))

    # -- ends

    def drain(self, rank: Rank) -> None:
        """Its process has ended: what it wrote last is there, and what others still hold open is
        waited for a while."""
        for fd in list(rank.paused):  # no round trip of epoll
            while fd in rank.paused and not rank.paused[fd] and self._read(rank, fd):
                pass
        if rank.exited and rank.paused:  # else another program has taken its place by now
            rank.drain = self._loop.later(DRAIN_AFTER_EXIT_S, lambda: self._drained(rank))

    def _drained(self, rank: Rank) -> None:
        rank.drain = None
        rank.overdue = True
        killed = self._session.canceled or rank.signal is not None
        for fd in list(rank.paused):
            if killed or rank.logs[_stream_of(rank, fd)].full:
                self._read_last(rank, fd)
            else:
                self._read_overdue(rank, fd)

    def canceled(self) -> None:
        """What has ended and only waits for a reader is over: who reads gets it all the same."""
        for rank in self._session.ranks:
            if rank.exited and rank.overdue and rank.paused:
                self._drained(rank)

    def _read_last(self, rank: Rank, fd: int) -> None:
        """There is no room, and may never be, or its reader stands still, and it was killed: what
        the program left in its pipe is taken all the same, so that it has ended; a descendant that
        goes on is not waited for."""
        kept = rank.logs[_stream_of(rank, fd)]
        most = kept.end + OUTPUT_PIPE_BYTES
        while fd in rank.paused and kept.end < most and self._read(rank, fd):
            pass
        if rank.overdue:  # else another program has taken its place by now
            self._close(rank, fd)

    def _read_overdue(self, rank: Rank, fd: int) -> None:
        """Read what is there to the end of it: a descendant may hold the other end for ever."""
        while rank.paused.get(fd) is False and self._read(rank, fd):
            pass

    def reader_gone(self, stream: int) -> None:
        """The primary wants no more of this stream: the program shall see SIGPIPE."""
        for rank in self._session.ranks:
            child = rank.child
            if child is None or child.pty:
                continue
            for fd in list(rank.paused):
                if _stream_of(rank, fd) == stream:
                    self._close(rank, fd)

    def _close(self, rank: Rank, fd: int) -> None:
        if fd not in rank.paused:
            return
        kept = rank.logs[_stream_of(rank, fd)]
        del rank.paused[fd]
        self._loop.remove(fd)
        if not self._session.goes_on(rank):
            kept.close()
        child = rank.child
        assert child is not None
        if not child.pty:
            os.close(fd)
            if fd == child.stdout:
                child.stdout = -1
            else:
                child.stderr = -1
        self._session.drained(rank)
        self._session.publish()


def _stream_of(rank: Rank, fd: int) -> int:
    """The number of the stream that this descriptor has."""
    assert rank.child is not None
    if fd == rank.child.stdout or rank.modes is not None:
        return stdout_of(rank.number)
    return stderr_of(rank.number)
