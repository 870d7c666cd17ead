"""What the broker is told and what it wants done. Values only."""

from __future__ import annotations

from typing import Any, NamedTuple

Message = dict[str, Any]  # one JSON object of gshell/net/CONTROL.md


class Conn(NamedTuple):
    """A control connection: its door's name and that door's number for it."""

    door: str
    number: int


class AskId(NamedTuple):
    """A data connection that waits at a door for a decision."""

    door: str
    number: int


# ------------------------------------------------------------------------------------------- events


class ConnUp(NamedTuple):
    """A control connection whose certificate was verified."""

    conn: Conn
    role: str
    """"client" or "agent"."""
    user: str
    agent_id: str
    credential: str
    park_key: str
    """Hex; drawn by the door for agents, which checks spares with it."""
    standing: str = "user"
    """What it may do beyond its own: "admin", "user", or "guest" (a share's link and nothing
    else)."""
    source: str = ""
    """The address it came from, for the audit log."""
    valid_until: float = 0.0
    """When its certificate ends; 0: nobody said."""

    def __repr__(self) -> str:
        return f"ConnUp({self.conn}, {self.role}, {self.user}, {self.agent_id}, ***)"


class ConnDown(NamedTuple):
    conn: Conn


class Said(NamedTuple):
    """A control message that came over a connection that is up."""

    conn: Conn
    message: Message
    drawn: str = ""
    """Fresh random hex digits, for verbs that make a secret; the core draws none."""


class GuestAsked(NamedTuple):
    """Somebody without a certificate has a share's link; the shell has drawn a name for them."""

    conn: Conn
    user: str
    token: object
    source: str = ""


class Asked(NamedTuple):
    """A genuine, unused client preamble waits for a decision."""

    ask: AskId
    user: str
    body: Message
    credential: str = ""
    """Serial of the certificate that the preamble's MAC key was derived for."""
    source: str = ""


class AskGone(NamedTuple):
    """The client of this ask has left."""

    ask: AskId


class Unjoined(NamedTuple):
    """After a `Pair`: no spare came in time, or the client left first."""

    ask: AskId
    agent_id: str
    att: str


class Noted(NamedTuple):
    """A door refused a genuine preamble by itself, for the client to ask about."""

    user: str
    att: str
    code: str
    source: str = ""


class Revoked(NamedTuple):
    """Credentials were withdrawn: what hangs on them ends now."""

    serials: frozenset[str]
    user: str
    """Whose they were."""
    why: str
    whole: bool = False
    """The user as such is gone, with all that is theirs."""


class Known(NamedTuple):
    """A user was added, or is something else from now on."""

    user: str
    standing: str
    groups: frozenset[str] = frozenset()


class DoorLost(NamedTuple):
    door: str


class Lagging(NamedTuple):
    """The door lost events for a connection that watches, or it reads too slowly."""

    conn: Conn


class Tick(NamedTuple):
    """Time has passed."""


Event = (
    ConnUp
    | ConnDown
    | Said
    | GuestAsked
    | Asked
    | AskGone
    | Unjoined
    | Noted
    | Revoked
    | Known
    | DoorLost
    | Lagging
    | Tick
)


# ------------------------------------------------------------------------------------------ actions


class Send(NamedTuple):
    conn: Conn
    message: Message


class Close(NamedTuple):
    """Close a control connection after what was sent before."""

    conn: Conn


class WelcomeClient(NamedTuple):
    """Answer a client's hello; the shell adds what only it knows (MAC key, time, version)."""

    conn: Conn
    user: str
    credential: str
    re: object


class EnrolGuest(NamedTuple):
    """Make a guest's ticket that ends with the share, and send it to the stranger."""

    conn: Conn
    user: str
    until: float


class ParkKey(NamedTuple):
    """From now on this connection's agent may park spares at its door."""

    conn: Conn
    agent_id: str


class Pair(NamedTuple):
    """Join the waiting client with a spare of this agent."""

    ask: AskId
    agent_id: str
    att: str


class Refuse(NamedTuple):
    """Answer the waiting client in clear, and close."""

    ask: AskId
    code: str
    retry_s: float


class Cut(NamedTuple):
    """End the joined pair of this attachment, wherever it is."""

    att: str


class Journal(NamedTuple):
    """A record to be safe before anything else of this round is done; None deletes it."""

    table: str
    """"job", "agent", "share", "boots", "site", "batch" (a pilot) or "meta"."""
    key: str
    value: Message | None


class Feed(NamedTuple):
    """From now on the connection gets its user's events after ``seq``; -1: no more."""

    conn: Conn
    user: str
    seq: int


class Publish(NamedTuple):
    """Events for who watches this user's things; ``seq`` is the last one's number."""

    user: str
    seq: int
    events: list[Message]


class AtDesk(NamedTuple):
    """A request about identities, of somebody who may make it: the desk answers it."""

    up: ConnUp
    re: object
    message: Message


class Log(NamedTuple):
    text: str


class Audit(NamedTuple):
    """An entry of the audit log: who did what to what, and what came of it."""

    who: str
    """"USER", or "agent AGENT_ID of USER"; empty: nobody who is known."""
    verb: str
    object: str
    result: str = "ok"
    source: str = ""
    detail: Message = {}  # noqa: RUF012  # never changed
    """More facts; no payload, no secrets, no argv."""


Action = (
    Send
    | Close
    | WelcomeClient
    | EnrolGuest
    | ParkKey
    | Pair
    | Refuse
    | Cut
    | Journal
    | AtDesk
    | Feed
    | Publish
    | Log
    | Audit
)
