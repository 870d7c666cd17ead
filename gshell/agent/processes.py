"""The processes of a session's ranks: started, watched until they are reaped and their output is
drained, and then told of.

Knows no reasons: what runs, and whether something follows it, others say (`wrapped`, `mpijob`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from gshell.agent.attachment import ARCHIVE, Attachment
from gshell.agent.ranks import Rank, launch
from gshell.errors import SpawnFailed
from gshell.net.loop import IN, Loop

if TYPE_CHECKING:
    from gshell.agent.rankinput import Input
    from gshell.agent.rankoutput import Output
    from gshell.agent.session import Session
    from gshell.agent.spawn import Child
    from gshell.agent.spec import StepSpec

REAP_POLL_S = 0.05  # only on kernels without pidfds


class Processes:
    """Of one session. Invariant: a rank's end is said once, after its process was reaped and all
    that it printed was read."""

    def __init__(self, loop: Loop, session: Session, input: Input, output: Output) -> None:
        self._loop = loop
        self._session = session
        self._input = input
        self._output = output

    # -- starts

    def start(self, rank: Rank, spec: StepSpec, **more: Any) -> None:
        """``more``: see :func:`gshell.agent.ranks.launch`. What cannot be started has ended."""
        try:
            child = launch(self._session, rank, spec, **more)
        except SpawnFailed as error:
            rank.exited = True
            rank.code = error.exit_code
            rank.error = error.message
            if not self._session.holds(rank):
                self.say_exit(rank)
            return
        self._watch(rank, child)

    def adopt(self, rank: Rank, child: Child) -> None:
        """Another program takes this rank's place."""
        rank.again()
        self._watch(rank, child)

    def _watch(self, rank: Rank, child: Child) -> None:
        rank.child = child
        self._output.watch(rank)
        if child.pidfd >= 0:
            self._loop.add(child.pidfd, IN, lambda mask: self._on_exit(rank))
        else:
            self._loop.later(REAP_POLL_S, lambda: self._poll_exit(rank))
        self._session.taps.begun(rank)

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
        self._session.reaped(rank)
        self._output.drain(rank)
        self.finish(rank)

    def finish(self, rank: Rank) -> None:
        """If it is reaped and drained: now the end may be told."""
        session = self._session
        if not rank.exited or rank.paused or rank.child is None:
            return
        if rank.drain is not None:
            rank.drain.cancel()
        self._input.close(rank)
        if not session.early:
            rank.input.clear()
        session.taps.ended(rank)  # before its exit is told, after which nobody listens
        rank.child.close()
        rank.child = None
        wrapped = session.wrapped
        if wrapped is not None and wrapped.script_ended(rank):
            return
        if not session.holds(rank):
            self.say_exit(rank)
        session.finish()

    # -- telling

    def say_exit(self, rank: Rank) -> None:
        """To all who are here, and to who comes later: its logs have their ends."""
        session = self._session
        rank.said = True
        session.taps.exited(rank)
        for log in rank.logs.values():
            if not log.closed:
                log.close()
        for attachment in session.attachments.values():
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
        message: dict[str, Any] = {
            "t": "exit",
            "rank": rank.number,
            "code": rank.code,
            "signal": rank.signal,
            "core": rank.core,
            "final": {str(stream): log.end for stream, log in rank.logs.items()},
        }
        if self._session.timed_out:
            message["timed_out"] = True
        if rank.error:
            message["error"] = rank.error
        return message

    # -- all of them

    @property
    def over(self) -> bool:
        """Has every rank ended?"""
        return all(rank.exited and rank.child is None for rank in self._session.ranks)
