"""What a session asks of who has it, and tells them: an agent, the relay's depot, i2glogin's remote
end. Never loaded, only checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gshell.agent.attachment import Attachment
    from gshell.agent.budget import Budget
    from gshell.agent.session import Session
    from gshell.agent.spec import StepSpec
    from gshell.agent.spool import Spool
    from gshell.net.loop import Loop


class Told(Protocol):
    """Who hears when those who are attached come and go."""

    def on_left(self, session: Session) -> None: ...

    def on_stole(self, session: Session, attachment: Attachment) -> None:
        """Somebody took the typing from another one who was here."""

    def on_watchers(self, session: Session) -> None: ...

    def on_visitor_left(self, session: Session, attachment: Attachment) -> None:
        """For good, who came by a share."""


class SessionOwner(Told, Protocol):
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

    def on_started(self, session: Session) -> None: ...

    def on_ended(self, session: Session) -> None: ...

    def before_signal(self, session: Session) -> None:
        """It is about to get one, and should be able to act on it."""

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

    def make_spool(self, session: Session, stream: int) -> Spool: ...
