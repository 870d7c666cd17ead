"""All that one broker knows, and the round under way: the time, and the actions decided so far.

The other modules of the core are functions over a `Books`. Knows tables, not policies.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from relay.broker.events import (
    Action,
    AskId,
    Audit,
    Conn,
    ConnUp,
    Cut,
    Journal,
    Log,
    Message,
    Refuse,
    Send,
)
from relay.broker.markets import Market, key_of
from relay.broker.model import ARCHIVE, Agent, Attachment, Job, Lineage, Settings, Share
from relay.broker.sitemodel import Pilot, Site, Submitter
from relay.broker.states import JobState
from relay.broker.views import job_view

if TYPE_CHECKING:
    from relay.broker.fairshare import Account
    from relay.broker.matching import Luck, Matcher

_OBJECT = 120  # characters of an audit entry's object: some of them are a client's own words
_SERVICE_KEPT_S = 600.0  # of one that has ended: as long as an agent waits for a lost client
_WHY_KEPT = 4096  # refusals remembered for `whynot`; the oldest go first


class Books:
    """Invariant: every job in ``queues`` is NEW or QUEUED and has no agent; every other live job is
    placed; ``atts`` holds exactly the attachments of jobs in ``jobs``."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.now = 0.0
        self.out: list[Action] = []
        self.drawn = ""  # this round's random hex digits, if the shell drew any
        self.conns: dict[Conn, ConnUp] = {}
        self.agents: dict[str, Agent] = {}
        self.agents_of: dict[str, dict[str, Agent]] = {}
        self.jobs: dict[int, Job] = {}
        self.jobs_of: dict[str, dict[int, Job]] = {}
        self.queues: dict[str, dict[int, None]] = {}  # user -> job ids, in order
        self.markets: dict[tuple[str, str], Market] = {}  # (user, "") or ("", pool)
        self.dirty: dict[tuple[str, str], None] = {}  # markets to go through before the round ends
        self.matcher: Matcher | None = None
        self.luck: Luck | None = None
        self.accounts: dict[str, Account] = {}  # user -> use of pools
        self.accounts_at = 0.0  # when they were written down
        self.uncounted: dict[str, Agent] = {}  # of pools: what runs there has changed
        self.followers: dict[int, dict[int, None]] = {}  # job -> those that start after it
        self.over: list[int] = []  # jobs whose followers are to be looked at in this round
        self.atts: dict[str, Attachment] = {}
        self.groups: dict[tuple[str, str], int] = {}  # (user, group) -> job id
        self.asks: dict[AskId, int] = {}  # held asks -> job id
        self.why: dict[tuple[str, str], tuple[str, str]] = {}  # (user, att) -> (code, message)
        self.changed: set[str] = set()  # users whose queues moved since the last notice
        self.kept: dict[str, dict[int, None]] = {}  # user -> finished job ids, oldest first
        self.shelved: dict[str, dict[int, None]] = {}  # ... of those with something in the archive
        self.to_archive: dict[tuple[int, int], None] = {}  # (job, index): ended, to be fetched
        self.in_archive: set[tuple[int, int]] = set()  # while the archive lists what it has
        self.shares: dict[str, Share] = {}
        self.share_tokens: dict[str, str] = {}  # hash of a token -> share
        self.shares_for: dict[int, dict[str, None]] = {}  # job id -> shares
        self.pools: dict[str, dict[str, Agent]] = {}  # group -> agents that serve it
        self.waiters: dict[Conn, set[int]] = {}  # jobs that a client waits for, in either way
        self.unwritten: dict[int, Job] = {}
        self.watched: dict[str, dict[Conn, bool]] = {}  # user -> who watches: ended jobs too?
        self.seqs: dict[str, int] = {}  # user -> number of the last event
        self.touched_jobs: dict[int, Job] = {}  # in this round, as are the next two
        self.touched_agents: dict[str, Agent] = {}
        self.passing: list[tuple[str, Message]] = []
        """(user, JOB) of a watched job that starts and ends in one round, between the two."""
        self.gone: list[tuple[str, str, str]] = []  # what ("job", "agent"), whose, id
        self.greeted: set[Conn] = set()  # connections that have said something
        self.lineages: dict[str, Lineage] = {}  # by agent, those not here any more too
        self.withdrawn: set[str] = set()  # serials of credentials that count no more
        self.groups_of: dict[str, frozenset[str]] = {}  # user -> groups
        self.sites: dict[str, dict[str, Site]] = {}  # user -> name -> site
        self.dropped: set[str] = set()  # keys of sites, while their submitters do not know
        self.submitters: dict[Conn, Submitter] = {}
        self.pilots: dict[str, Pilot] = {}  # those that are over, too
        self.pilots_of: dict[str, dict[str, Pilot]] = {}  # user -> those that are not over
        self.pilots_over: dict[str, dict[str, None]] = {}  # user -> ids, first over first
        self.owed: dict[str, Pilot] = {}  # whose submitter has not answered our last word
        self.blind: dict[str, Pilot] = {}  # unknown to their submitters; their agents are there
        self.unwritten_sites: dict[str, Site] = {}
        self.unwritten_pilots: dict[str, Pilot] = {}
        self.scale: set[str] = set()  # users for whom autoscaling may want something else now
        self.joined_queue: set[str] = set()  # ... because a job of theirs has come
        self.scaled_at: dict[str, float] = {}
        self.unfit: dict[tuple[str, object], float] = {}  # (site, kind of job) -> since when
        self.next_id = self.next_id_written = 1
        self.next_pilot = 1
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self.choices = 0

    # --------------------------------------------------------------------------------------- saying

    def send(self, conn: Conn | None, message: Message) -> None:
        if conn is not None and conn in self.conns:
            self.out.append(Send(conn, message))

    def tell_agent(self, agent_id: str, message: Message) -> None:
        """Nothing happens if it is away: what matters is said again when it comes back."""
        agent = self.agents.get(agent_id)
        if agent is not None:
            self.send(agent.conn, message)

    def answer(self, conn: Conn, re: Any, **fields: Any) -> None:
        self.send(conn, {"re": re, "ok": True, **fields})

    def refuse_verb(
        self, conn: Conn, re: Any, code: str, message: str, hint: str | None = None
    ) -> None:
        self.send(conn, {"re": re, "ok": False, "code": code, "message": message, "hint": hint})

    def refuse(
        self, ask: AskId, user: str, att: str, code: str, why: str, retry_s: float = 0.0
    ) -> None:
        """Send a waiting client away; it may ask why over control."""
        self.out.append(Refuse(ask, code, retry_s))
        self.remember_why(user, att, code, why)

    def remember_why(self, user: str, att: str, code: str, why: str) -> None:
        self.why.pop((user, att), None)
        self.why[user, att] = (code, why)
        if len(self.why) > _WHY_KEPT:
            del self.why[next(iter(self.why))]

    def log(self, text: str) -> None:
        self.out.append(Log(text))

    def audit(
        self, who: str, verb: str, object: str, result: str = "ok", source: str = "", **detail: Any
    ) -> None:
        self.out.append(Audit(who, verb, object[:_OBJECT], result, source, detail))

    def audit_of(
        self, up: ConnUp, verb: str, object: str, result: str = "ok", **detail: Any
    ) -> None:
        """As `audit`, of who is connected so."""
        who = f"agent {up.agent_id} of {up.user}" if up.role == "agent" else up.user
        self.audit(who, verb, object, result, up.source, **detail)

    # --------------------------------------------------------------------------------------- timers

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call it in the round at or after ``when``; it must check that it is still meant."""
        heapq.heappush(self._timers, (when, next(self._count), call))

    def run_timers(self) -> None:
        timers = self._timers
        while timers and timers[0][0] <= self.now:
            heapq.heappop(timers)[2]()

    # ----------------------------------------------------------------------------------------- jobs

    def new_id(self) -> int:
        """Never the same number twice, restarts included."""
        number = self.next_id
        self.next_id = number + 1
        return number

    def add_job(self, job: Job) -> None:
        self.jobs[job.id] = job
        self.jobs_of.setdefault(job.user, {})[job.id] = job
        if job.group:
            self.groups[job.user, job.group] = job.id

    def add_att(self, job: Job, att: Attachment) -> None:
        self.atts[att.att] = att
        job.atts.add(att.att)

    def remove_att(self, job: Job, att: Attachment) -> None:
        self.atts.pop(att.att, None)
        job.atts.discard(att.att)

    def shown_job(self, text: object) -> Job | None:
        """The job of this number, whoever's; None for one that nobody is to see yet."""
        number = job_number(text)
        job = self.jobs.get(number) if number is not None else None
        return job if job is not None and job.shown else None

    def add_share(self, share: Share) -> None:
        self.shares[share.id] = share
        self.share_tokens[share.hash] = share.id
        self.shares_for.setdefault(share.job_id, {})[share.id] = None

    def remove_share(self, share: Share) -> None:
        self.shares.pop(share.id, None)
        self.share_tokens.pop(share.hash, None)
        of_job = self.shares_for.get(share.job_id, {})
        of_job.pop(share.id, None)
        if not of_job:
            self.shares_for.pop(share.job_id, None)
        self.out.append(Journal("share", share.id, None))

    def crowded(self, user: str) -> bool:
        """One more job is one too many."""
        waiting = len(self.queues.get(user, ()))
        return self.full_of(user) or waiting >= self.settings.queue_per_user

    def full_of(self, user: str) -> bool:
        """There are as many jobs of this user's that have not ended as may be."""
        ended = len(self.kept.get(user, ())) + len(self.shelved.get(user, ()))
        return len(self.jobs_of.get(user, ())) - ended >= self.settings.jobs_per_user

    def keep(self, job: Job) -> None:
        """Write the job down, as it is at the end of the round."""
        self.unwritten[job.id] = self.touched_jobs[job.id] = job

    def write(self) -> None:
        if self.next_id != self.next_id_written:
            self.next_id_written = self.next_id
            self.out.append(Journal("meta", "next_id", {"value": self.next_id}))
        for job in self.unwritten.values():
            self.out.append(Journal("job", str(job.id), job.record()))
        for key, site in self.unwritten_sites.items():
            self.out.append(Journal("site", key, site.record()))
        for name, pilot in self.unwritten_pilots.items():
            self.out.append(Journal("batch", name, pilot.record()))
        self.unwritten.clear()
        self.unwritten_sites.clear()
        self.unwritten_pilots.clear()

    def forget(self, job: Job) -> None:
        """As if it had never been; its number stays used."""
        if job.shown:
            self.gone.append(("job", job.user, str(job.id)))
        self.jobs.pop(job.id, None)
        self.jobs_of.get(job.user, {}).pop(job.id, None)
        self.unqueue(job)
        self.groups.pop((job.user, job.group), None)
        for share_id in list(self.shares_for.get(job.id, ())):
            self.remove_share(self.shares[share_id])
        for att in job.atts:
            gone = self.atts.pop(att, None)
            if gone is not None and gone.share:
                self.out.append(Cut(att))
        self.kept.get(job.user, {}).pop(job.id, None)
        self.shelved.get(job.user, {}).pop(job.id, None)
        if job.sandbox is not None:
            self.tell_agent(ARCHIVE, {"m": "sandbox-drop", "user": job.user,
                                      "key": job.sandbox["key"]})  # fmt: skip
        for index, member in enumerate(job.members):
            waits = self.to_archive.pop((job.id, index), 1) is None
            if waits or member.archived is not None:
                self.tell_agent(ARCHIVE, {"m": "drop", "job": str(job.id), "index": index})
        self.unwritten.pop(job.id, None)
        self.out.append(Journal("job", str(job.id), None))

    def queue(self, job: Job) -> None:
        queue = self.queues.setdefault(job.user, {})
        behind = (
            [i for i in queue if i > job.id] if queue and job.id < next(reversed(queue)) else []
        )
        queue[job.id] = None
        for i in behind:  # one that comes back keeps its turn: numbers are given in order
            del queue[i]
            queue[i] = None
        self.changed.add(job.user)
        self.scale.add(job.user)
        self.joined_queue.add(job.user)
        self.offer(job)

    def offer(self, job: Job) -> None:
        """All of it is known and nothing is awaited: it may have a place when there is one."""
        if job.line is None and job.complete and not job.pending:
            job.line = self.market_of(job).enter(job)

    def withdraw(self, job: Job) -> None:
        """It waits for no place, for the moment or at all."""
        for name in list(job.held_at):
            self.let_go(job, name)
        job.hold_until = None
        if job.line is not None:
            self.market_of(job).leave(job, job.line)
            job.line = None
            self.dirty[key_of(job)] = None

    def let_go(self, job: Job, name: str) -> None:
        """What it holds on this agent is free for others."""
        agent, index = self.agents.get(name), job.held_at.pop(name)
        if agent is not None:
            agent.hold((job.id, index), 0)
            self.touch(agent)

    def unqueue(self, job: Job) -> None:
        queue = self.queues.get(job.user)
        if queue is not None and job.id in queue:
            del queue[job.id]
            self.changed.add(job.user)
            self.scale.add(job.user)
        self.withdraw(job)

    def market_of(self, job: Job) -> Market:
        key = key_of(job)
        market = self.markets.get(key)
        if market is None:
            market = self.markets[key] = Market()
        return market

    def market_at(self, agent: Agent) -> Market:
        key = ("", agent.pool) if agent.pool else (agent.user, "")
        market = self.markets.get(key)
        if market is None:
            market = self.markets[key] = Market()
        return market

    def touched(self, job: Job) -> None:
        """Its market is to be gone through."""
        self.dirty[key_of(job)] = None

    def unarchive(self, job: Job, index: int) -> None:
        """What the archive has of this member is of no use any more."""
        self.to_archive.pop((job.id, index), None)
        self.tell_agent(ARCHIVE, {"m": "drop", "job": str(job.id), "index": index})

    def retry(self, market: Market) -> None:
        """Everybody there may try everything."""
        market.again()
        for key, known in self.markets.items():
            if known is market:
                self.dirty[key] = None

    def release(self, job: Job, index: int) -> None:
        """The member occupies nothing any more."""
        job.members[index].phase = ""
        agent = self.agents.get(job.members[index].agent_id)
        if agent is not None and (job.id, index) in agent.here:
            agent.drop((job.id, index))
            if job.members[index].started_at is not None:
                agent.idle_since = self.now
            self.touch(agent)

    def member_over(
        self, job: Job, index: int, error: str | None = None, at: float | None = None
    ) -> None:
        """One part has ended, or never will start; the job is over with its last one."""
        member = job.members[index]
        self.release(job, index)
        if member.ended_at is None:
            member.ended_at = self.now if at is None else at
            member.error = error
            member.attached = member.watchers = 0
        from relay.broker import retry

        if not job.state.final and any(m.ended_at is None for m in job.members):
            retry.stop_others(self, job, index)
            self.keep(job)
            if job.wants.lead and index == 0:
                from relay.broker import lead

                lead.on_over(self, job)
            return
        if not job.state.final and retry.conclude(self, job):
            return
        if job.state.final:
            self.keep(job)  # given up before, it ran all the same: what is said has been said
            return
        from relay.broker import staging

        if not staging.on_all_over(self, job):
            self.finish_by_members(job)

    def finish_by_members(self, job: Job) -> None:
        """The end, as its members ended."""
        from relay.broker import retry

        clean = all(m.code == 0 and not m.signal and not m.error for m in job.deciding)
        if job.canceled:
            self.finish(job, JobState.CANCELED)
        else:
            why = next((m.error for m in job.deciding if m.error), None)
            if why and retry.counts(self, job):
                why = retry.said(self, job, why)
            self.finish(job, JobState.COMPLETED if clean else JobState.FAILED, why)

    def finish(self, job: Job, state: JobState, error: str | None = None) -> None:
        """The end; who waited for it hears it."""
        assert state.final
        if job.state in (JobState.STAGE_IN, JobState.STAGE_OUT):
            self.unstage(job)
        if job.started and job.id in self.touched_jobs and job.user in self.watched and job.shown:
            self.passing.append((job.user, job_view(job)))  # who watches sees that it ran
        job.go(state)
        job.error = error or job.error
        job.ended_at = self.now
        job.spec = None
        if job.id in self.followers:
            self.over.append(job.id)
        job.held_until = job.asks_until = job.abandon_at = job.kill_at = None
        self.unqueue(job)
        for index in range(job.size):
            self.release(job, index)
        for conn, re in job.awaits:
            self.refuse_verb(conn, re, "none", job.error or "it is over")
        job.awaits.clear()
        for conn, re in job.waits:
            self.answer(conn, re, job=job_view(job))
        job.waits.clear()
        for index, ask in job.asks.items():
            self.asks.pop(ask, None)
            self.refuse(ask, job.user, job.members[index].att, "none", job.error or "it is over")
        job.asks.clear()
        if job.warm and not any(m.started_at for m in job.members):
            self.forget(job)
            return
        self.keep(job)
        if job.service:  # nothing to look back at, but who was cut off comes back for its end
            self.at(self.now + _SERVICE_KEPT_S, lambda: self._forget_service(job))
        else:
            self.shelve(job)

    def _forget_service(self, job: Job) -> None:
        if self.jobs.get(job.id) is job:
            self.forget(job)

    def unstage(self, job: Job) -> None:
        """Nobody needs any more what the archive carries for it."""
        self.tell_agent(ARCHIVE, {"m": "unstage", "job": str(job.id)})
        if job.state is JobState.STAGE_IN:  # what was brought there is for nobody
            for index, member in enumerate(job.members):
                said = {"m": "workdir-done", "job": str(job.id), "index": index}
                self.tell_agent(member.agent_id, said)

    def jobs_of_places(self, agent: Agent) -> list[Job]:
        """Those that may have a member on this agent: its user's, or all for a pool's."""
        of = self.jobs if agent.pool else self.jobs_of.get(agent.user, {})
        return list(of.values())

    def shelve(self, job: Job) -> None:
        """Finished jobs are remembered, so many; more of those that the archive has, or will."""
        if not job.state.final:
            return
        archived = any(
            member.archived is not None or (job.id, index) in self.to_archive
            for index, member in enumerate(job.members)
        )
        one, other = (self.shelved, self.kept) if archived else (self.kept, self.shelved)
        other.get(job.user, {}).pop(job.id, None)
        row = one.setdefault(job.user, {})
        row[job.id] = None
        settings = self.settings
        if len(row) > (settings.archived_kept if archived else settings.jobs_kept):
            self.forget(self.jobs[next(iter(row))])

    # --------------------------------------------------------------------------------------- agents

    def touch(self, agent: Agent) -> None:
        """Something that is shown of it has changed, or its room."""
        self.touched_agents[agent.id] = agent
        if agent.pool or agent.costs:
            self.uncounted[agent.id] = agent
        if self.agents.get(agent.id) is agent and agent.user != ARCHIVE:
            self.market_at(agent).index(agent)
        self.scale.add(agent.user)

    def add_agent(self, agent: Agent) -> None:
        self.agents[agent.id] = agent
        self.agents_of.setdefault(agent.user, {})[agent.id] = agent
        if agent.pool:
            self.pools.setdefault(agent.pool, {})[agent.id] = agent
        if agent.user != ARCHIVE:
            self.market_at(agent).add(agent)

    def move_agent(self, agent: Agent, pool: str) -> None:
        """It was started anew, for others."""
        if agent.pool != pool:
            self.market_at(agent).remove(agent)
            self.pools.get(agent.pool, {}).pop(agent.id, None)
            agent.pool = pool
            if pool:
                self.pools.setdefault(pool, {})[agent.id] = agent
            self.market_at(agent).add(agent)

    def remove_agent(self, agent: Agent) -> None:
        if agent.user != ARCHIVE:
            self.market_at(agent).remove(agent)
        self.agents.pop(agent.id, None)
        self.agents_of.get(agent.user, {}).pop(agent.id, None)
        self.gone.append(("agent", agent.user, agent.id))
        self.scale.add(agent.user)
        pilot = self.pilots.get(agent.pilot)
        if pilot is not None:
            pilot.agents.discard(agent.id)
        self.pools.get(agent.pool, {}).pop(agent.id, None)
        self.out.append(Journal("agent", agent.id, None))
        lineage = self.lineages.get(agent.id)
        if lineage is not None and lineage.barred:
            lineage.barred.clear()
            self.out.append(Journal("boots", agent.id, lineage.record(agent.id)))


def job_number(text: object) -> int | None:
    """Job numbers are text on the wire; anything else names no job."""
    if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= 15:
        return int(text)
    return None
