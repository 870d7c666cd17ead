"""Who looks over the shoulder of a session's ranks: those who record what is typed, a recording
made here, and who waits until a program waits. None of them is there before somebody asks for it.

Knows no processes and no logs: it is told what happens to a rank, in the order in which it happens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gshell.agent.trace import Trace, modes_of

if TYPE_CHECKING:
    from gshell.agent.attachment import Attachment
    from gshell.agent.inputwait import InputWaits
    from gshell.agent.ranks import Rank
    from gshell.agent.secrecy import Modes
    from gshell.agent.session import Session
    from gshell.agent.taping import Taping


class Taps:
    """Of one session. Invariant: what they are told is told before any attachment can have it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.trace: Trace | None = None
        """Who records what is typed, if anybody ever did."""
        self.tape: Taping | None = None
        """A recording here, for nobody in particular."""
        self.waits: InputWaits | None = None
        """Once somebody asked when its programs wait for input."""

    # -- who asks

    def traced(self, attachment: Attachment, message: dict[str, Any]) -> None:
        """Somebody records: what was typed is told from here on."""
        if self.trace is None:
            self.trace = Trace(self._session)
        self.trace.ask(attachment, message)

    def record(self, attachment: Attachment, message: dict[str, Any]) -> None:
        """Its owner wants it recorded here, whoever is there."""
        if attachment.share or attachment.user != self._session.user:
            return
        from gshell.agent.taping import answer  # few ask

        if message.get("input") is True:
            self.traced(attachment, {})
        attachment.peer.say(answer(self._session, message))
        attachment.pump()

    def tell_waits(self, attachment: Attachment, on: bool) -> None:
        """It wants to know, from now on or no more, when a program waits for input."""
        from gshell.agent import inputwait  # few ask

        inputwait.ask(attachment, on)

    # -- what happens to a rank

    def begun(self, rank: Rank) -> None:
        """It has a process."""
        if self.waits is not None:
            self.waits.begun(rank)

    def output(self, rank: Rank, stream: int, parts: list[bytes]) -> None:
        """It has just been read, and nobody has it yet."""
        if self.trace is not None and rank.modes is not None:
            self.trace.output(rank, b"".join(parts))
        if self.tape is not None and self.tape.rank is rank:
            self.tape.output(stream, b"".join(parts))

    def printed(self, rank: Rank) -> None:
        """That is in its log now."""
        if self.waits is not None:
            self.waits.printed(rank)

    def typing(self, rank: Rank) -> None:
        """Input is about to be given to it."""
        if self.waits is not None:
            self.waits.typing(rank)

    def modes(self, rank: Rank) -> Modes | None:
        """Of its terminal, just before it gets input; None: it has none, or nobody records."""
        return modes_of(rank) if self.trace is not None else None

    def given(
        self, rank: Rank, writer: Attachment | None, data: bytes, modes: Modes | None
    ) -> None:
        """These bytes were given to it; ``modes``: what :meth:`modes` was."""
        if self.trace is not None:
            self.trace.given(rank, writer, data, modes)

    def typed(self, rank: Rank) -> None:
        """All that there is room for was given to it."""
        if self.waits is not None:
            self.waits.typed(rank)

    def sized(self, rank: Rank, rows: int, columns: int) -> None:
        """Its terminal was made this large."""
        if self.trace is not None and rank.child is not None and rank.child.pty:
            self.trace.sized(rank, rows, columns)
        if self.tape is not None and self.tape.rank is rank:
            self.tape.sized(rows, columns)

    def ended(self, rank: Rank) -> None:
        """Its process has, all that it printed was told, and nobody knows yet."""
        if self.trace is not None:
            self.trace.ended(rank)
        if self.waits is not None:
            self.waits.ended(rank)

    def exited(self, rank: Rank) -> None:
        """This is said to all: no other program takes its place."""
        if self.tape is not None and self.tape.rank is rank:
            self.tape.exited(rank.code)
