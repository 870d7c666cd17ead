"""A conversation that is called: links come from the listener, a broken one is waited for.

The other side dials; in the session's protocol this is the client all the same.
"""

from __future__ import annotations

from gshell.client.conversation import Conversation, Dialler, Talker
from gshell.errors import GshellError, LinkLost, RemoteProtocolError
from gshell.net.link import Link
from gshell.net.loop import Loop, Timer
from gshell.wire.constants import HEARTBEAT_S


class NoRelay(Dialler):
    """What a Runner takes for a way to the relay: there is none, and nobody asks for it."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop


class Line(Conversation):
    """Invariant: its links are of a caller that has shown that it knows the secret."""

    def __init__(self, dialler: NoRelay, owner: Talker, wait_s: float) -> None:
        super().__init__(dialler, owner, {"op": "open"}, {}, agents_of="*")
        self.loop = dialler.loop
        self._wanted = False
        self._wait_s = wait_s
        self._waits: Timer | None = None
        self._called: Link | None = None
        self.agent_id = "i2glogin"

    @property
    def patient(self) -> bool:
        return True

    def dial(self) -> None:
        """Begin with the link that came; later ones begin by themselves."""
        self._wanted = True
        link, self._called = self._called, None
        if link is not None and not link.closed:
            self._begin(link)

    def called(self, link: Link) -> None:
        """The caller is there, for the first time or again: an older link of it is dead."""
        if not self._wanted:
            self._called = link
            return
        self._drop()
        self._begin(link)

    def _begin(self, link: Link) -> None:
        if self._waits is not None:
            self._waits.cancel()
            self._waits = None
        self._link = link
        link.owner = self
        self._heard_at = self._loop.clock()
        hello = {"op": "resume" if self.joined else "open"}
        self.peer.link_up(hello, early_data=not self.joined and not self._beating)
        if not self._beating:
            self._beating = True
            self._loop.later(HEARTBEAT_S / 3, self._beat)
        self.pump()

    def link_closed(self, link: Link, error: GshellError) -> None:
        if link is not self._link:
            return
        self._link = None
        self.peer.link_lost()
        if isinstance(error, RemoteProtocolError):
            self._broke_a_rule(error)
        else:
            self._broken(error)

    def _broken(self, error: GshellError, taken: bool = True, dead: bool = False) -> None:
        if self.over:
            return
        if self._waits is None:
            self._waits = self._loop.later(self._wait_s, self._never)
        self._owner.on_lost(self, error)

    def _never(self) -> None:
        minutes = f"{self._wait_s / 60:.3g} minutes"
        self._fail(LinkLost(f"the job has not called again within {minutes}", transient=False))

    def close(self, code: str = "", reason: str = "") -> None:
        if self._waits is not None:
            self._waits.cancel()
        super().close(code, reason)
