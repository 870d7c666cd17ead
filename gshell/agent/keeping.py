"""What a session's logs keep, and what those attached are told while there is no room for more.

Reads no output: it says what becomes of what is there, and when to look again.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Callable

from gshell.agent.budget import Budget
from gshell.agent.sessionlog import Cursor, Retention, StreamLog

if TYPE_CHECKING:
    from gshell.agent.attachment import Attachment
    from gshell.agent.session import Session
    from gshell.agent.spec import StepSpec
    from gshell.agent.spool import Spool
    from gshell.net.loop import Timer

ARCHIVE_AHEAD_BYTES = 64 << 20  # of a stream that somebody reads, kept for the archive: a spool's
WAITS = "output waits"  # how notices begin that tell of a program that stands still
ENDED_RING_BYTES = 1 << 18  # of a stream that has ended, in memory: the rest goes to disk
TROUBLE_S = 1.0  # how often a disk that refused is asked again, and how long all must be well

log = logging.getLogger("gshell.agent")


class Keeping:
    """Of one session. Invariant: what its writer lacks is forgotten only where its user said so;
    and when nothing has room a program waits, and is never cut short."""

    def __init__(self, session: Session, make_spool: Callable[[int], Spool]) -> None:
        """``make_spool``: of a stream; may raise OSError."""
        self._session = session
        self._make_spool = make_spool
        self._disk: Budget | None = None
        self._much = False  # more came out than is kept for an archive while somebody reads
        self.notice: str | None = None
        """What those attached were told of output that has no room, while that lasts."""
        self._in_trouble = False  # since it was looked at last
        self._trouble: Timer | None = None
        self._absent: dict[int, Cursor] = {}  # hold what no writer has taken, while there is none

    def begin(self, spec: StepSpec, disk: Budget) -> None:
        """The step starts; ``disk``: what all sessions together may have."""
        self._disk = Budget(spec.quota_bytes, disk, self._room_on_disk)

    def log(self, stream: int) -> StreamLog:
        """A new one."""
        return StreamLog(lambda: self._make_spool(stream), self._retention(), self._disk)

    @property
    def quota_bytes(self) -> int:
        """On disk, of all streams."""
        return self._disk.quota_bytes if self._disk is not None else 0

    # -- the rules

    def _retention(self) -> Retention:
        """What the logs keep now. A primary's bytes are kept until it has them, at the price of
        stopping the program; without one the newest output is kept and the program never waits:
        unless the user said otherwise."""
        session = self._session
        spec = session.spec
        assert spec is not None
        present = session.primary is not None
        block = present if spec.on_full is None else spec.on_full == "block"
        keep = spec.keep or not present or (session.to_archive and not self._much)
        rules = Retention(keep=keep, block=block)
        if session.state == "ended" and not present and spec.quota_bytes:  # there may be hundreds
            return rules._replace(ring_bytes=ENDED_RING_BYTES, hold_bytes=ENDED_RING_BYTES)
        return rules

    def reader_changed(self) -> None:
        """The primary came, went or lost its link: other rules for the logs."""
        rules = self._retention()
        for kept in self._logs():
            kept.retain(rules)
        if self._session.primary is not None and self._absent:
            for cursor in self._absent.values():
                cursor.close()
            self._absent.clear()

    def becomes_much(self, end: int) -> bool:
        """A stream goes to ``end``. Gigabytes through a pipe to somebody who reads them are not
        written to a disk on the way (who wants that says so: ``keep``): are there other rules now?
        """
        if end <= ARCHIVE_AHEAD_BYTES or self._much:
            return False
        self._much = True
        return True

    def hold_for_next(self, leaving: Attachment | None) -> None:
        """With `block` said, what no writer has taken is kept for the next one to come."""
        spec = self._session.spec
        if spec is None or self._session.primary is not None or spec.on_full != "block":
            return
        for rank in self._session.ranks:
            for stream, kept in rank.logs.items():
                if stream not in self._absent:
                    taken = 0 if leaving is None else leaving.taken(stream)
                    if taken is not None:
                        self._absent[stream] = kept.cursor(taken, needed=True)

    def _logs(self) -> list[StreamLog]:
        return [kept for rank in self._session.ranks for kept in rank.logs.values()]

    # -- when there is no room

    def retry(self) -> None:
        """A log that had no room may go on now."""
        for kept in self._logs():
            if kept.full:
                kept.retry()
        self._session.resume_reading()

    def _room_on_disk(self) -> None:
        self._session.loop.soon(self.retry)

    def in_trouble(self) -> None:
        """Some log has no room, or its disk refuses."""
        self._in_trouble = True
        if self._trouble is None:
            self._look()

    def _look(self) -> None:
        """Say what is the matter, once, and look until all is well."""
        words = self._worst()
        if words is not None and _kind(words) != _kind(self.notice):
            self._say_notice(words)
        if self._trouble is None:
            self._trouble = self._session.loop.later(TROUBLE_S, self._look_again)

    def _look_again(self) -> None:
        """All is well if nothing was meanwhile: where a slow reader makes room it is soon taken."""
        self._trouble = None
        self.retry()
        if self._in_trouble or self._worst() is not None:
            self._in_trouble = False
            self._look()
        elif self._session.state == "ended":
            self.notice = None  # that is news enough
        elif self.notice is not None:
            self._say_notice(None)

    def _worst(self) -> str | None:
        """What to tell of the logs, if anything."""
        words = None
        for kept in self._logs():
            if kept.closed or not (kept.full or kept.trouble):
                continue
            if kept.full and kept.trouble:
                return f"{WAITS}: {kept.trouble}; it goes on when there is room"
            if kept.full:
                words = f"{WAITS}: nobody takes it, and {self._room_words()}"
            elif words is None:
                words = f"old output is soon forgotten: {kept.trouble}"
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
        log.warning("job %s: %s", self._session.job, text)
        self.notice = words
        self._session.say({"t": "notice", "text": text})
        self._session.publish()

    def close(self) -> None:
        """Nobody may ask any more: nothing is left, in memory or on disk."""
        if self._trouble is not None:
            self._trouble.cancel()
        for kept in self._logs():
            kept.delete()
        if self._disk is not None:
            self._disk.close()
            self._disk = None


def _kind(notice: str | None) -> str | None:
    """What a notice is about, whatever its reason."""
    return notice and notice.partition(":")[0]
