"""Which steps an agent has, how they are found, and which of them have been kept long enough.

Ends none, and tells nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gshell.agent.session import Session

KEEP_ENDED = 200  # ended sessions whose logs are kept for whoever asks
KEEP_UNARCHIVED = 5000  # of these, those that the relay's archive has yet to fetch
KEEP_ENDED_S = 3600.0


class Steps:
    """Invariant: a session is found by all of its names, or by none."""

    def __init__(self) -> None:
        self.by_key: dict[str, Session] = {}
        """By attachment id of its opener, or "job.index" if there was none."""
        self._of_job: dict[str, dict[Session, str]] = {}  # job -> its sessions, by what key above
        self._live: dict[Session, None] = {}  # all that run, and maybe some that do no more
        self._of_attachment: dict[str, Session] = {}

    def add(self, key: str, session: Session) -> None:
        self.by_key[key] = session
        self._of_job.setdefault(session.job, {})[session] = key

    def started(self, session: Session) -> None:
        self._live[session] = None

    def ended(self, session: Session) -> None:
        """It is kept, for who asks what it printed."""
        self._live.pop(session, None)

    def remove(self, session: Session) -> None:
        self._live.pop(session, None)
        steps = self._of_job.get(session.job, {})
        self.by_key.pop(steps.pop(session, ""), None)
        if not steps:
            self._of_job.pop(session.job, None)
        for att in [att for att, value in self._of_attachment.items() if value is session]:
            del self._of_attachment[att]

    # -- attachments

    def attach(self, att: str, session: Session) -> None:
        self._of_attachment[att] = session

    def detach(self, att: str) -> Session | None:
        """Its right has ended; where it was."""
        return self._of_attachment.pop(att, None)

    def attached(self, att: str) -> Session | None:
        """Where this attachment is, or was."""
        return self._of_attachment.get(att)

    # -- finding

    @property
    def all(self) -> set[Session]:
        return set(self.by_key.values())

    @property
    def running(self) -> list[Session]:
        return [session for session in self._live if session.state == "running"]

    def opener(self, session: Session) -> str:
        """By what key it was added; "" if it is not here."""
        return self._of_job.get(session.job, {}).get(session, "")

    def of(self, message: dict[str, Any]) -> list[Session]:
        """Those of a message's job, or that one of them of its index."""
        job, index = str(message.get("job")), message.get("index")
        return [s for s in self._of_job.get(job, ()) if index is None or s.index == index]

    def find(self, step: str) -> Session | None:
        """The one of "JOB" or "JOB.INDEX"."""
        job, _, index = step.partition(".")
        return next(iter(self.of({"job": job, "index": int(index or 0)})), None)

    def outlived(self, wall: float) -> list[Session]:
        """Those that have ended and that nobody is going to ask for: they are old, or too many.
        ``wall``: seconds since the epoch."""
        ended = [s for s in self.all if s.state == "ended" and not s.attachments]
        ended.sort(key=lambda s: s.ended_at)
        waiting = sum(session.to_archive for session in ended)
        too_many = len(ended) - waiting - KEEP_ENDED
        unfetched = waiting - KEEP_UNARCHIVED
        found = []
        for session in ended:
            go = session.archived or wall - session.ended_at > KEEP_ENDED_S
            if session.to_archive:
                go, unfetched = go or unfetched > 0, unfetched - 1
            elif not go:
                go, too_many = too_many > 0, too_many - 1
            if go:
                found.append(session)
        return found


def place(message: dict[str, Any]) -> tuple[str, int, int]:
    """(job, index, size) in a relay's message: a job's number is part of file names here.

    Raises:
        ValueError, KeyError, TypeError: they are not there.
    """
    job, index, size = str(message["job"]), int(message["index"]), int(message["size"])
    if not (job.isascii() and job.isdigit()) or len(job) > 18 or not 0 <= index < size < 1 << 20:
        raise ValueError("no job")
    return job, index, size


def take_lane(session: Session, message: dict[str, Any]) -> None:
    """What the relay said of the lane, and the how-many-th attempt this is."""
    session.lane = "interactive" if message.get("lane") == "interactive" else "batch"
    loss = message.get("loss")
    if isinstance(loss, (int, float)) and not isinstance(loss, bool) and 0 <= loss <= 100:
        session.loss = float(loss)
    session.warm = message.get("warm") is True
    attempt = message.get("attempt", 1)
    session.attempt = attempt if isinstance(attempt, int) else 1
    session.wants_token = message.get("token") is True
