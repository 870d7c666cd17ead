"""The way in: what the relay announces, who comes, and where both belong together.

What somebody may is `rights`'s to say; what the step is to do, the session's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from gshell.agent.attachment import ARCHIVE, Attachment
from gshell.agent.greeter import Greeter
from gshell.agent.session import Session
from gshell.agent.steps import place, take_lane
from gshell.errors import RemoteProtocolError
from gshell.wire import peer as wire
from gshell.wire.constants import INPUT_WINDOW, stdin_of

if TYPE_CHECKING:
    from gshell.agent.rights import Rights
    from gshell.agent.sessionowner import SessionOwner
    from gshell.agent.sshdoor import SshDoor
    from gshell.agent.steps import Steps
    from gshell.agent.workdir import WorkDirs

EXPECT_KEPT_S = 120.0  # an announced client that never came
MAX_EXPECTS = 4096  # announced and not yet come; a relay that announces more is not sane


class Relay(Protocol):
    """What is asked of the uplink."""

    def want_spares(self, count: int) -> None:
        """So many are about to come."""

    def relay_time(self) -> float:
        """By its clock, seconds since the epoch."""


class Entrance:
    """Invariant: a link gets to a session only as an attachment that the relay announced and whose
    user's certificate it has shown; an announcement opens or attaches once."""

    def __init__(
        self,
        owner: SessionOwner,
        relay: Relay,
        rights: Rights,
        steps: Steps,
        ssh: SshDoor,
        workdirs: WorkDirs,
    ) -> None:
        self.loop = owner.loop
        self._owner = owner
        self._relay = relay
        self._rights = rights
        self._steps = steps
        self._ssh = ssh
        self._workdirs = workdirs
        self._expects: dict[str, dict[str, Any]] = {}
        self._waiting: dict[str, Greeter] = {}

    # -- who is announced

    def expect(self, message: dict[str, Any]) -> None:
        """
        Raises:
            ValueError, KeyError, TypeError: that makes no sense.
        """
        att = str(message["att"])
        place(message)
        rights, op = message["rights"], message["op"]
        if rights not in ("r", "rw") or op not in ("open", "attach", "resume"):
            raise ValueError(op)
        if not isinstance(message["user"], str):
            raise TypeError("user")
        if len(self._expects) >= MAX_EXPECTS and att not in self._expects:
            del self._expects[next(iter(self._expects))]  # the oldest; its client asks again
        message["_at"] = self.loop.clock()
        self._expects[att] = message
        self._relay.want_spares(1 + sum(not e.get("_come") for e in self._expects.values()))
        waiting = self._waiting.pop(att, None)
        if waiting is not None:
            waiting.go_on()
        self._ssh.announced(att)

    def expected(self, att: str) -> bool:
        return att in self._expects

    def unexpect(self, att: str) -> None:
        self._expects.pop(att, None)

    def take_expected(self, att: str) -> dict[str, Any] | None:
        """For who comes by stock SSH; empty: it is not for us to run, whatever the relay says."""
        expect = self._expects.get(att)
        if expect is None:
            return None
        if not self._rights.may(expect, str(expect["user"])):
            return {}
        return self._expects.pop(att)

    def sweep(self, now: float) -> None:
        for att in [a for a, e in self._expects.items() if now - e["_at"] > EXPECT_KEPT_S]:
            del self._expects[att]

    # -- who waits for its announcement

    def expect_later(self, att: str, greeter: Greeter) -> None:
        self._waiting[att] = greeter

    def expect_no_more(self, att: str, greeter: Greeter) -> None:
        if self._waiting.get(att) is greeter:  # not a newer link of the same client
            del self._waiting[att]

    def relay_away(self) -> None:
        """What was announced may be lost with the connection."""
        for waiting in list(self._waiting.values()):
            waiting.give_up()

    # -- who comes

    def welcome(self, greeter: Greeter, att: str, hello: dict[str, Any], probe: wire.Peer) -> None:
        """A client named its attachment; put its link where it belongs."""
        link = greeter.link
        assert link is not None
        session = self._steps.attached(att)
        if session is not None and att in session.attachments:
            attachment = session.attachments[att]
            if attachment.user != greeter.user:
                raise RemoteProtocolError("denied", "another user's attachment")
            self._expects.pop(att, None)
            if session.primary is None and attachment.rights == "rw":
                session.steal(attachment)
            attachment.join(link, hello, probe)
            return
        expect = self._expects.get(att)
        if expect is None:
            greeter.wait_for(att)
            return
        if not self._rights.may(expect, greeter.user):
            raise RemoteProtocolError("denied", "another user's attachment")
        if greeter.user == ARCHIVE and not self._rights.may_archive(expect, self._steps.of(expect)):
            greeter.refuse("denied", "this step is not for the archive")
            return
        del self._expects[att]
        if expect.get("op") == "open":
            session = self._opened(expect, greeter.user)
            self._steps.add(att, session)
            probe.add_recv(stdin_of(0), INPUT_WINDOW)
            probe.early_input = INPUT_WINDOW
        else:
            found = self._steps.of(expect)
            if not found or expect.get("op") == "resume":  # resumed, but we do not have it any more
                greeter.refuse("gone", "this session is not kept any more")
                return
            session = found[0]
            if session.user != expect.get("owner", session.user):
                raise RemoteProtocolError("denied", "another user's job")
        attachment = Attachment(session, att, greeter.user, str(expect["rights"]), probe)
        attachment.since = hello.get("since")
        attachment.wants_ranks(hello)
        self._bind(attachment, expect)
        self._steps.attach(att, session)
        session.add(attachment, steal=bool(hello.get("steal")))
        attachment.join(link, hello, probe)
        self._owner.on_watchers(session)  # counted with this one's link

    def _opened(self, expect: dict[str, Any], user: str) -> Session:
        """A new one, of which its client is to say what it starts."""
        owner = str(expect["owner"]) if user == ARCHIVE else user
        session = Session(self._owner, *place(expect), owner)
        session.beside = str(expect.get("beside") or "")
        session.stage = str(expect.get("stage") or "")
        session.service = str(expect.get("service") or "")
        take_lane(session, expect)
        if session.beside:
            beside, _, part = session.beside.partition(".")
            session.workdir = self._workdirs.path(beside, int(part or 0))
        return session

    def _bind(self, attachment: Attachment, expect: dict[str, Any]) -> None:
        """What the relay said of its right to be here; it ends here, whether the relay is there or
        not."""
        attachment.share = str(expect.get("share") or "")
        attachment.credential = str(expect.get("cred") or "")
        until = expect.get("until")
        if isinstance(until, (int, float)):
            attachment.until = until
            left_s = max(0.0, until - self._relay.relay_time())
            attachment.expiry = self.loop.later(
                left_s, lambda: self._end_right(attachment.id, "the share has ended")
            )

    # -- who has to go

    def revoke(self, message: dict[str, Any]) -> None:
        """The right of these attachments has ended: now, and for good."""
        why = str(message.get("why") or "your right to be here was withdrawn")
        atts = message.get("atts")
        for att in atts if isinstance(atts, list) else ():
            self._end_right(str(att), why)

    def _end_right(self, att: str, why: str) -> None:
        self._expects.pop(att, None)
        waiting = self._waiting.pop(att, None)
        if waiting is not None:
            waiting.refuse("revoked", why)
        self._ssh.end(att, why)
        session = self._steps.detach(att)
        attachment = session.attachments.get(att) if session is not None else None
        if session is not None and attachment is not None:
            session.forget_input(attachment)
            attachment.end("revoked", why)
            self._owner.on_left(session)
