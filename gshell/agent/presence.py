"""Who is attached to a session, and which of them writes.

Knows no bytes: what a change of the writer means for the logs is the session's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gshell.agent.typists import Typists

if TYPE_CHECKING:
    from gshell.agent.attachment import Attachment
    from gshell.agent.session import Session
    from gshell.agent.sessionowner import Told


class Presence:
    """Of one session. Invariant: ``primary`` is one of ``all`` that may write and is for all of the
    session's ranks, or nobody."""

    def __init__(self, owner: Told, session: Session) -> None:
        self._owner = owner
        self._session = session
        self.all: dict[str, Attachment] = {}
        self.primary: Attachment | None = None
        self.typists = Typists(session)

    def add(self, attachment: Attachment, steal: bool) -> None:
        """Let somebody in; whoever may write does, if nobody present is writing."""
        session = self._session
        self.all[attachment.id] = attachment
        present = self.primary
        if session.state != "new":  # before it counts as the reader: then less is kept
            attachment.open_streams(from_start=False)
            if session.notice is not None:
                attachment.peer.say({"t": "notice", "text": session.notice})
        if attachment.ranks is not None:
            self.typists.add(attachment, steal)
        elif attachment.rights == "rw" and (
            present is None or steal or (present.link is None and self._typed_by_hand())
        ):
            self._make_primary(attachment)
            if steal and present is not None:
                self._owner.on_stole(session, attachment)
        self._owner.on_watchers(session)

    def steal(self, attachment: Attachment) -> None:
        """It wants to type, whoever does now."""
        before = self.primary
        if attachment.ranks is not None:
            self.typists.add(attachment, steal=True)
        elif attachment.rights == "rw":
            self._make_primary(attachment)
            if before not in (None, attachment):
                self._owner.on_stole(self._session, attachment)

    def hand_on(self) -> None:
        """The one who writes has been away for long: one who is present takes over."""
        successor = self._present_writer()
        if successor is not None and self._typed_by_hand():
            self._make_primary(successor)

    def _make_primary(self, attachment: Attachment | None) -> None:
        before = self.primary
        if before is attachment:
            return
        self.primary = attachment
        self._session.keeping.hold_for_next(before)
        if attachment is not None:
            attachment.writing(True)
        else:
            self._session.reader_changed()  # more is kept, from before the one who leaves lets go
        if before is not None:
            before.writing(False)
        if attachment is not None:
            self._session.reader_changed()

    def _present_writer(self) -> Attachment | None:
        """Somebody who may write and whose link lives, if there is anybody."""
        for other in self.all.values():
            if other.rights == "rw" and other.link is not None and other.ranks is None:
                return other
        return None

    def _typed_by_hand(self) -> bool:
        """Only then may another one go on: what is piped in must come whole, or be stolen."""
        spec = self._session.spec
        return spec is not None and spec.pty is not None

    def remove(self, attachment: Attachment) -> None:
        """Somebody left for good; another one who may write takes over."""
        if self.all.pop(attachment.id, None) is None:
            return
        self.typists.remove(attachment)
        if self.primary is attachment:
            self._make_primary(self._present_writer())
        attachment.close()
        self._session.resume_reading()
        self._owner.on_watchers(self._session)
        if attachment.share:
            self._owner.on_visitor_left(self._session, attachment)

    def left(self, attachment: Attachment) -> None:
        """It said BYE."""
        self.remove(attachment)
        self._owner.on_left(self._session)

    def say(self, message: dict[str, Any]) -> None:
        """To all; it goes with what is sent next."""
        for attachment in self.all.values():
            attachment.peer.say(message)

    def publish(self) -> None:
        """Send all of them what there is."""
        for attachment in list(self.all.values()):
            attachment.pump()

    def close(self) -> None:
        for attachment in list(self.all.values()):
            attachment.close()
        self.all.clear()
