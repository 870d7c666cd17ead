"""What the broker remembers: agents, jobs and their members, attachments. Decides nothing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from itertools import compress
from operator import attrgetter
from typing import Any

from relay.broker.events import AskId, Conn, Message
from relay.broker.states import TRANSITIONS, JobState
from relay.broker.wants import NOTHING, Wants

ARCHIVE = "@archive"  # the relay's archive, as a user and as an agent: no person has this name


@dataclass(frozen=True, slots=True)
class Settings:
    """The broker's numbers. Durations in seconds."""

    agent_grace_s: float = 600.0
    """An agent may be away this long before what it runs counts as lost: a network's outage."""
    held_s: float = 15.0
    """A place is kept this long for a client to come and take it."""
    start_s: float = 60.0
    """A joined client, or an agent told to start a step, has this long to start it."""
    group_s: float = 10.0
    """The openings of a group must all have come within this."""
    abandoned_s: float = 30.0
    """A queued opening that nobody awaits is given up after this; a client may redial meanwhile."""
    kill_after_s: float = 5.0
    """From TERM to KILL in `cancel`."""
    avoid_s: float = 5.0
    """An agent that said "busy" is not asked again for the same job for this long."""
    warm_per_user: int = 8
    """Warm openings: each costs the agent a parked link."""
    group_size: int = 1024
    """Openings of one group."""
    jobs_kept: int = 1000
    """Finished jobs remembered per user."""
    archive: str = "off"
    """What is kept of steps that have ended: "off", "on-exit", or "live" (fetched as it comes)."""
    archived_kept: int = 20_000
    """Jobs of a user with something in the archive, or on its way there."""
    atts_per_job: int = 10_000
    """Attachments remembered per job."""
    shares_per_job: int = 1000
    """Live at the same time."""
    queue_per_user: int = 20_000
    """Jobs of a user that wait."""
    jobs_per_user: int = 30_000
    """Jobs of a user that have not ended."""
    agents_per_user: int = 4096
    """Agents of a user, those that are away too."""
    waits_per_job: int = 64
    """Requests that are answered when one job starts or ends."""
    hello_s: float = 10.0
    """A connection must have said something within this."""
    barred_s: float = 120.0
    """An agent's place is kept so long from others with its ticket, once it is away: a network's
    hiccup or a relay's restart; a machine that was reset in between has to wait."""
    boots_kept: int = 16
    """Processes remembered of an agent: who of them was followed by another one stays out."""
    hold_s: float = 600.0
    """A co-allocation keeps what it has so long, unless it says otherwise..."""
    hold_pause_s: float = 60.0
    """... and then lets others have it for this long, before it tries again."""
    half_life_s: float = 6 * 3600.0
    """After this time half of what somebody used counts no more."""
    usual_loss: int = 10
    """PerformanceLoss of who did not say, in percent."""
    depth: int = 100
    """Of lines of jobs that cannot start, so many are looked at for what may pass them."""
    retries: int = 10
    """However many a job asks for."""
    sites_per_user: int = 64
    pilots_per_site: int = 1000
    """Not over, those a person asked for too."""
    pilots_per_user: int = 2000
    pilots_kept: int = 200
    """Pilots that are over, remembered per user."""
    pilot_repeat_s: float = 30.0
    """What a submitter has not answered is said to it again after this."""
    autoscale_after_s: float = 5.0
    """A job that names no site waits this long for the agents there are before a site is asked."""
    backoff_s: float = 30.0
    """A site that failed is asked again after this; twice as long after each further failure."""
    backoff_most_s: float = 1800.0
    pause_after: int = 3
    """Failures in a row after which a site is asked no more until its user says so."""
    agents_remembered: int = 10_000
    """Agents whose processes are remembered; those that are away go first."""


@dataclass(slots=True)
class Agent:
    """One of a user's agents. Invariant: ``used`` is the sum of ``load``."""

    id: str
    user: str
    boot: str
    credential: str = ""
    """Serial of the certificate it showed last."""
    pool: str = ""
    """The group whose members it serves, under its user's account; empty: its user only."""
    host: str = ""
    cpus: int = 0
    memory_bytes: int = 0
    tags: tuple[str, ...] = ()
    slots: int = 1
    pid: int = 0
    version: str = ""
    site: str = ""
    """The site whose batch system gave it its node; empty: it was started by hand."""
    pilot: str = ""
    """... in which pilot."""
    node: int = 0
    """... as which of that pilot's nodes."""
    lrms: str = ""
    lrms_id: str = ""
    """The batch job's number, as its batch system says."""
    ends_at: float | None = None
    """When its batch system will end it; None: nobody knows."""
    ad: Message = field(default_factory=dict)
    """More facts, for requirements."""
    conn: Conn | None = None
    watched: bool = False
    """It was told that somebody looks."""
    draining: bool = False
    stopping: bool = False
    since: float = 0.0
    chosen: int = 0
    """When it was last chosen, in decisions: the one least lately used goes first among equals."""
    load: dict[tuple[int, int], int] = field(default_factory=dict)
    """(job, index) -> slots: running there, or kept there."""
    here: set[tuple[int, int]] = field(default_factory=set)
    """Every member placed here that has not ended, warm ones too."""
    used: int = 0
    lanes: bool = False
    """Interactive steps may run beside batch ones, which keep a share of the cores."""
    quick: dict[tuple[int, int], int] = field(default_factory=dict)
    """The part of ``load`` that is in the interactive lane."""
    interactive: int = 0
    """The sum of ``quick``."""
    alone: set[tuple[int, int]] = field(default_factory=set)
    """Members here beside which nothing else may run."""
    holds: dict[tuple[int, int], int] = field(default_factory=dict)
    """(job, index) -> slots kept for a co-allocation until the rest of it is there."""
    held: int = 0
    """The sum of ``holds``."""
    costs: dict[str, float] = field(default_factory=dict)
    """user -> what their steps here cost now, in weighted slots; of a pool's agent."""
    share: Message | None = None
    """What it says that its batch lane gets."""
    facts: int = 0
    """Counts what it has said of itself: what was found of it before is not so any more."""
    shelved: tuple[int, int, int, int] = (-1, -1, -1, 0)
    """How its market knows it: room, room in the interactive lane, facts, when chosen."""
    idle_since: float = 0.0
    """Since when nothing has been placed here."""
    said_chars: float = 0.0
    """Of what its members have said to others of their jobs, what counts still..."""
    said_at: float = 0.0
    """... at this time."""

    @property
    def guest(self) -> bool:
        """It is in somebody's allocation beside what runs there, and takes what names it only."""
        return "adopted" in self.tags and "open" not in self.tags

    @property
    def free(self) -> int:
        return self.slots - self.used

    @property
    def room(self) -> int:
        """Slots free of both lanes and of holds."""
        return self.slots - self.used - self.held

    @property
    def shared_room(self) -> int:
        """Slots of its interactive lane beside batch steps; -1: it does not share."""
        return self.slots - self.interactive if self.lanes and self.used and not self.alone else -1

    def put(
        self, key: tuple[int, int], tasks: int, lane: str = "batch", alone: bool = False
    ) -> None:
        """Let ``key`` occupy ``tasks`` slots (0: placed, holding none), whatever it did before."""
        self.drop(key)
        self.here.add(key)
        if tasks:
            self.load[key] = tasks
            self.used += tasks
            if lane == "interactive":
                self.quick[key] = tasks
                self.interactive += tasks
            if alone:
                self.alone.add(key)

    def drop(self, key: tuple[int, int]) -> None:
        self.here.discard(key)
        self.used -= self.load.pop(key, 0)
        if self.quick:
            self.interactive -= self.quick.pop(key, 0)
        if self.alone:
            self.alone.discard(key)

    def hold(self, key: tuple[int, int], tasks: int) -> None:
        """Keep ``tasks`` slots for this member of a co-allocation; 0: no longer."""
        self.held += tasks - self.holds.pop(key, 0)
        if tasks:
            self.holds[key] = tasks

    def record(self) -> Message:
        return {"id": self.id, "user": self.user, "boot": self.boot, "host": self.host,
                "credential": self.credential, "slots": self.slots, "cpus": self.cpus,
                "memory_bytes": self.memory_bytes, "tags": list(self.tags), "pid": self.pid,
                "version": self.version, "pool": self.pool, "site": self.site,
                "pilot": self.pilot, "node": self.node, "lrms": self.lrms,
                "lrms_id": self.lrms_id, "ends_at": self.ends_at, "ad": self.ad}  # fmt: skip

    @classmethod
    def restored(cls, record: Message, now: float) -> Agent:
        known = {f.name for f in dataclasses.fields(cls)}
        fields = {key: value for key, value in record.items() if key in known}
        fields["tags"] = tuple(fields.get("tags", ()))
        return cls(**fields, since=now, idle_since=now)


@dataclass(slots=True)
class Lineage:
    """The processes that were, or wanted to be, one agent; kept beyond their ends."""

    boots: list[str] = field(default_factory=list)
    """Who has been it, the newest last: nobody but the last comes back."""
    barred: list[str] = field(default_factory=list)
    """Who came while another one was connected; stays out until that one is known to be gone."""

    def record(self, agent_id: str) -> Message:
        return {"id": agent_id, "boots": self.boots, "barred": self.barred}


@dataclass(slots=True)
class Member:
    """A job's part on one agent."""

    tasks: int = 1
    """Slots that it takes."""
    ranks: int = 0
    """That it has there; 0: one for each slot."""
    att: str = ""
    """Of the opening that starts it; empty for a job without a client."""
    cred: str = ""
    """Serial of the credential that asked for it."""
    pin: str = ""
    """The agent it asks for."""
    agent_id: str = ""
    """Where it is placed."""
    host: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    code: int | None = None
    signal: int | None = None
    error: str | None = None
    began: bool | None = None
    """Has its program run? None: nobody said."""
    phase: str = ""
    """What its agent does while its program does not run: "prologue", "token", "epilogue"."""
    lane: str = ""
    """Of its agent's lanes that one where it is; empty: its job's."""
    attached: int = 0
    """Who may write, now."""
    watchers: int = 0
    """Who looks, now."""
    archive: bool = False
    """Its agent says that its output may be archived."""
    archived: int | None = None
    """Bytes of it in the archive; None: it is not there."""
    unarchived: str = ""
    """Why it never will be."""
    staged: str = ""
    """What has been done for its files last: "stage-in", "stage-out"."""
    output: Message | None = None
    """What came of the stage-out: ``files``, ``bytes``, ``missing``, ``error``."""

    def record(self) -> Message:
        texts = _texts(self)
        out: Message = dict(compress(zip(_TEXTS, texts, strict=True), texts))
        for name, value in zip(_NUMBERS, _numbers(self), strict=True):
            if value is not None:
                out[name] = value
        return out


_TEXTS = ("ranks", "att", "cred", "pin", "agent_id", "host", "error", "lane", "unarchived",
          "staged", "output")  # fmt: skip  # of these what is empty is not written down
_NUMBERS = ("tasks", "archive", "started_at", "ended_at", "code", "signal", "archived")
_MEMBER = frozenset(_TEXTS + _NUMBERS)
_texts, _numbers = attrgetter(*_TEXTS), attrgetter(*_NUMBERS)


@dataclass(slots=True)
class Job:
    """What a user asked to be run, on one agent or, all or none, on several."""

    id: int
    user: str
    created_at: float
    members: list[Member]
    state: JobState = JobState.NEW
    name: str = ""
    argv0: str = ""
    pool: str = ""
    """The group whose agents it asked for; empty: its user's own."""
    pty: bool = False
    warm: bool = False
    """Opened ahead of use: holds no slot and is shown to nobody until it starts."""
    group: str = ""
    beside: str = ""
    """"JOB.INDEX" of a running member: on its agent, whatever else runs there; takes no slot."""
    service: str = ""
    """A program of the agent's own ("files", "forward"): takes no slot and is not listed."""
    wants: Wants = NOTHING
    stage: str = ""
    """"JOB.INDEX" whose work directory the archive fills or reads by this one."""
    depot: Message | None = None
    """What of the depot a user opens by this one: ``key``, ``part``."""
    sandbox: Message | None = None
    """Its files in the depot: ``key``, and the names of ``inputs`` and ``outputs``."""
    lane: str = "batch"
    """"interactive": beside batch steps, where nothing is free, and before them in the queue."""
    attempt: int = 1
    """The how-manieth it is; the next two count those that failed."""
    deep: int = 0
    shallow: int = 0
    tokens: list[int] = field(default_factory=list)
    """Members that were told in this attempt that their programs may start."""
    pending: list[int] = field(default_factory=list)
    """Jobs that must complete before this one may start."""
    note: str = ""
    """What happened to it while it waits: why it lost its place, or its agent."""
    line: Any = None
    """Where it stands in its market, while it waits there: a `markets.Line`."""
    together: bool = False
    """Its members have spoken to each other: an MPI program, which ends when one is lost."""
    held_at: dict[str, int] = field(default_factory=dict)
    """agent -> the member that a co-allocation keeps it for, until all are there."""
    hold_until: float | None = None
    """A co-allocation gives up what it holds then."""
    no_hold_until: float = 0.0
    """... and holds nothing again before."""
    progress: Message | None = None
    """How far its program said to be when somebody looked last: ``done``, ``of``, ``at``."""
    spec: Message | None = None
    """What to start, for a job without a client; forgotten once it has started."""
    error: str | None = None
    ended_at: float | None = None
    canceled: bool = False
    joined: bool = False
    """Its first data connections were joined, all of them."""
    asks: dict[int, AskId] = field(default_factory=dict)
    """index -> a data connection that waits at a door for this job."""
    awaits: dict[tuple[Conn, Any], str] = field(default_factory=dict)
    """(connection, request id) -> att."""
    atts: set[str] = field(default_factory=set)
    waits: list[tuple[Conn, Any]] = field(default_factory=list)
    avoid: dict[str, float] = field(default_factory=dict)
    """agent -> until when."""
    held_until: float | None = None
    asks_until: float | None = None
    abandon_at: float | None = None
    kill_at: float | None = None
    told: tuple[int, str] | None = None
    """What its waiting clients last heard: (jobs ahead, why)."""

    @property
    def size(self) -> int:
        return len(self.members)

    @property
    def placed(self) -> bool:
        return all(m.agent_id for m in self.members)

    @property
    def complete(self) -> bool:
        """All its openings are known."""
        return self.spec is not None or all(m.att for m in self.members)

    @property
    def started(self) -> bool:
        return self.state.started

    @property
    def shown(self) -> bool:
        return not self.service and (not self.warm or self.started)

    @property
    def weightless(self) -> bool:
        """It takes no slot."""
        return bool(self.beside or self.service)

    @property
    def deciding(self) -> list[Member]:
        """Those by whose ends the job's end is told."""
        return self.members[:1] if self.wants.lead else self.members

    def in_vain(self, member: Member) -> bool:
        """It was lost with what the first of us waited for: that is no loss."""
        return self.wants.lead and member is not self.members[0] and member.error is not None

    @property
    def gathers(self) -> bool:
        """A co-allocation: it keeps the places it finds until all are there."""
        return self.size > 1 and bool(self.wants.site or self.wants.hold)

    def how(self, index: int) -> Message:
        """What its agent is told of the manner in which it runs."""
        lane = self.members[index].lane or self.lane
        loss = self.wants.loss if lane == "interactive" else None
        how = {"lane": lane, "loss": loss, "attempt": self.attempt}
        return {**how, "warm": True} if self.warm else how

    def slots_of(self, member: Member) -> int:
        """That this member takes on its agent, once it runs."""
        return 0 if self.weightless else member.tasks

    def go(self, state: JobState) -> None:
        """Raises nothing; a wrong way is our bug."""
        if state is not self.state:
            assert state in TRANSITIONS[self.state], (self.id, self.state, state)
            self.state = state

    def record(self) -> Message:
        out: Message = {
            "id": self.id, "user": self.user, "created_at": self.created_at,
            "state": self.state.name, "members": [m.record() for m in self.members],
        }  # fmt: skip
        extras = _extras(self)
        out.update(compress(zip(_JOB_EXTRAS, extras, strict=True), extras))  # those that are true
        if self.lane != "batch":
            out["lane"] = self.lane
        if self.attempt > 1:
            out["attempt"] = self.attempt
        if self.wants.said:
            out["wants"] = self.wants.said
        return out

    @classmethod
    def restored(cls, record: Message) -> Job:
        extras = {name: record[name] for name in _JOB_EXTRAS if name in record}
        return cls(
            id=record["id"],
            user=record["user"],
            created_at=record["created_at"],
            members=[
                Member(**{k: v for k, v in m.items() if k in _MEMBER}) for m in record["members"]
            ],
            state=JobState[record["state"]],
            wants=Wants.restored(record["wants"]) if "wants" in record else NOTHING,
            lane=record.get("lane", "batch"),
            attempt=record.get("attempt", 1),
            **extras,
        )


_JOB_EXTRAS = ("name", "argv0", "pool", "pty", "warm", "group", "spec", "error", "ended_at",
               "canceled", "joined", "beside", "service", "stage", "depot", "sandbox", "deep",
               "shallow", "tokens", "pending", "note", "together")  # fmt: skip
_extras = attrgetter(*_JOB_EXTRAS)


@dataclass(slots=True)
class Attachment:
    """One client's tie to one member of a job, over any number of connections."""

    att: str
    user: str
    job_id: int
    index: int
    rights: str = "rw"
    credential: str = ""
    """Serial of the certificate it was made with: dead when that is withdrawn."""
    share: str = ""
    """Id of the share it hangs on, if it is not the owner's."""
    until: float | None = None
    """When the right to it ends."""
    at: str = ""
    """The agent it was joined with last: who resumes goes there."""
    boot: str = ""
    """Which process that was."""
    dead: str = ""
    """Why nobody may come with it any more."""


@dataclass(slots=True)
class Share:
    """A job shown to who has the link. Invariant: ``users`` are all who ever redeemed it."""

    id: str
    hash: str
    """Of its token; the token itself is with those who were given it."""
    job_id: int
    rights: str
    """"r": look on, "rw": type."""
    until: float
    made_at: float
    uses: int | None = None
    """How many more may redeem it; None: any number."""
    once: bool = False
    """One redemption, and one attachment."""
    to: str = ""
    """The only user who may redeem it, if one is named."""
    users: list[str] = field(default_factory=list)
    att: str = ""
    """The attachment that a single-use share was used for."""

    def record(self) -> Message:
        return dataclasses.asdict(self)

    @classmethod
    def restored(cls, record: Message) -> Share:
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{key: value for key, value in record.items() if key in known})
