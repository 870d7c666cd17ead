"""What the relay is to know of steps that have ended: told, and remembered until it says that it
knows.

Knows neither slots nor when a step's logs are forgotten.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from gshell.agent.session import Session
    from gshell.agent.slots import Facts
    from gshell.net.loop import Loop

KILLED = (128 + signal.SIGTERM, 128 + signal.SIGKILL)
KILLED_WAIT_S = 0.5
STOPPED = "the agent was stopped"  # why its steps are over


class Ends:
    """Invariant: an end is said once as news; who says `hello` says those in ``unknown`` again."""

    def __init__(self, loop: Loop, facts: Facts, say: Callable[[dict[str, Any]], None]) -> None:
        self._loop = loop
        self._facts = facts
        self._say = say
        self._unknown: dict[str, Session] = {}
        self._killed: list[Session] = []  # ended, and not said: why, we shall know in a moment
        self._stopping = False
        self.own: Session | None = None
        """The step with which the agent comes and goes, in an allocation that others started."""

    def ended(self, session: Session) -> None:
        killed = session.code in KILLED and not session.canceled
        if killed and self._facts.allocated.get("pilot") and not self._stopping:
            # A batch system ends all processes of a job at once: our turn may be next.
            self._killed.append(session)
            self._loop.later(KILLED_WAIT_S, self._tell_killed)
        else:
            self._tell(session)

    def _tell_killed(self) -> None:
        if self._killed:
            self._tell(self._killed.pop(0))

    def stopping(self) -> None:
        """The agent is told to end: what ends from now on ends for that."""
        self._stopping = True
        while self._killed:
            self._tell_killed()

    def _tell(self, session: Session) -> None:
        stopped = self._stopping and session.code != 0 and session is not self.own
        if stopped:  # not its program's fault
            session.error = session.error or STOPPED
        self._unknown[_step(session)] = session
        self._say(
            {"m": "ended", "job": session.job, "index": session.index, "code": session.code,
             "signal": session.signal, "at": session.ended_at, "error": session.error,
             "archive": session.spec is not None and session.spec.archivable,
             "attempt": session.attempt, "started": session.launched, "phase": session.phase,
             "stopped": stopped}
        )  # fmt: skip

    def cut_short(self, session: Session, wall: float) -> None:
        """It would not end, and we do: that counts as an end."""
        self._say(
            {"m": "ended", "job": session.job, "index": session.index, "code": 143,
             "signal": 15, "at": wall, "error": STOPPED, "attempt": session.attempt,
             "started": session.launched, "phase": session.phase, "stopped": True}
        )  # fmt: skip

    # -- what the relay knows

    @property
    def unknown(self) -> list[Session]:
        """Told, and the relay has not said that it knows."""
        return list(self._unknown.values())

    def acknowledged(self, message: dict[str, Any]) -> None:
        self._unknown.pop(f"{message.get('job')}.{message.get('index')}", None)

    def known(self, session: Session) -> bool:
        return _step(session) not in self._unknown

    def forget(self, session: Session) -> None:
        """It is here no more."""
        if self._unknown.get(_step(session)) is session:
            del self._unknown[_step(session)]


def _step(session: Session) -> str:
    return f"{session.job}.{session.index}"
