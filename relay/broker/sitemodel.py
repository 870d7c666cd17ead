"""What the broker remembers of sites, submitters and pilots. Decides nothing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from relay.broker.events import Conn, Message

ASKED, SUBMITTED, QUEUED, RUNNING = "asked", "submitted", "queued", "running"
ENDED, FAILED = "ended", "failed"
OVER = (ENDED, FAILED)
STATES = (ASKED, SUBMITTED, QUEUED, RUNNING, ENDED, FAILED)
"""Of a pilot; "asked": told to a submitter that has not said a word of it."""


@dataclass(slots=True)
class Site:
    """One of a user's batch systems, and how it has done so far."""

    user: str
    name: str
    lrms: str = ""
    ssh: str = ""
    queue: str = ""
    account: str = ""
    extra: tuple[str, ...] = ()
    """The user's own options for the submit command, word by word."""
    max_agents: int = 10
    """That are started without being asked for one by one: those there, and those to come."""
    min_waiting: int = 0
    """Agents that are to wait for work, whether there is any or not."""
    slots: int = 0
    """Of a node; 0: what the site gives."""
    nodes: int = 1
    """Of a pilot."""
    walltime: float = 3600.0
    """Of a pilot, seconds; 0: what the site gives."""
    idle: float = 600.0
    """Agents that have waited for work so long are ended, seconds."""
    memory: int = 0
    """Of a node, bytes; 0: what the site gives."""
    lane: str = ""
    more: Message = field(default_factory=dict)
    """What else its user said of it: for the submitter, nothing to us."""
    submitter: str = ""
    """Id of the submitter it is reached by; empty: any of its user's."""
    host: str = ""
    """Where that one was last."""
    paused: str = ""
    """Why no pilots are started there; empty: they may be."""
    failures: int = 0
    """In a row; the pilots of one attempt fail once."""
    failed_at: float = 0.0
    retry_at: float = 0.0
    """No pilots are started of ourselves before."""
    error: str = ""
    """What it said last when it failed."""
    gives: int = 0
    """Slots that its last agent had; 0: there was none yet."""
    ad: Message = field(default_factory=dict)
    """What it has, by its submitter; not kept in the journal, as is the next one."""
    ad_error: str = ""

    @property
    def key(self) -> str:
        return f"{self.user}/{self.name}"

    def record(self) -> Message:
        return {name: _plain(getattr(self, name)) for name in _SITE}

    @classmethod
    def restored(cls, record: Message) -> Site:
        fields = {name: record[name] for name in _SITE if name in record}
        fields["extra"] = tuple(fields.get("extra", ()))
        return cls(**fields)


_SITE = tuple(f.name for f in dataclasses.fields(Site) if f.name not in ("ad", "ad_error"))


@dataclass(slots=True)
class Submitter:
    """A user's process that submits pilots, connected now."""

    conn: Conn
    user: str
    id: str
    host: str
    number: int = 0
    """In the order in which they registered."""


@dataclass(slots=True)
class Pilot:
    """A batch job that holds nodes for agents. Invariant: once it is over, it stays so."""

    id: str
    user: str
    site: str
    made_at: float
    nodes: int = 1
    slots: int = 0
    walltime: float = 0.0
    memory: int = 0
    queue: str = ""
    submitter: str = ""
    """Id of the one that was told to submit it: no other one is."""
    host: str = ""
    """... and where that was: one that begins anew there takes it over."""
    by_hand: bool = False
    """A person asked for it: no lack of work cancels it in the queue."""
    state: str = ASKED
    lrms_id: str = ""
    reason: str = ""
    """The batch system's own word: why it waits, how it ended; or ours."""
    start_at: float | None = None
    """When it is expected to start, or has started."""
    position: int | None = None
    hosts: tuple[str, ...] = ()
    ended_at: float | None = None
    canceled: str = ""
    """Why it is to end, or ended, by our word; empty: it is not."""
    attempts: int = 0
    """How often a submitter was told to submit it."""
    came_at: float | None = None
    """When its first agent came."""
    nodes_came: int = 0
    """How many of its nodes had an agent so far."""
    running_at: float | None = None
    released: bool = False
    """An agent of it was told to stop: that it ends is nobody's failure."""
    jobs: tuple[int, ...] = ()
    """For which it was started."""
    agents: set[str] = field(default_factory=set)
    """Its agents that are here or away; as the next ones not kept in the journal."""
    parting: set[int] = field(default_factory=set)
    """Jobs that say, in its stead, why its agents went."""
    told_at: float = 0.0
    """When its submitter was last told something of it."""
    unneeded_at: float | None = None
    """Since when nobody waits for it."""

    @property
    def over(self) -> bool:
        return self.state in OVER

    @property
    def reported(self) -> bool:
        return self.state != ASKED

    @property
    def ends_at(self) -> float | None:
        """When its batch system will end it, as far as we know."""
        since = self.running_at
        return since + self.walltime if since is not None and self.walltime else None

    def record(self) -> Message:
        out = {name: _plain(getattr(self, name)) for name in _PILOT}
        return {name: value for name, value in out.items() if value not in ("", None, [], False)}

    @classmethod
    def restored(cls, record: Message) -> Pilot:
        fields = {name: record[name] for name in _PILOT if name in record}
        for name in ("hosts", "jobs"):
            fields[name] = tuple(fields.get(name, ()))
        return cls(**fields)


_FLEETING = ("agents", "parting", "told_at", "unneeded_at")
_PILOT = tuple(f.name for f in dataclasses.fields(Pilot) if f.name not in _FLEETING)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
