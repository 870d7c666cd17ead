"""The broker: an event and the time in, actions out. See the package's docstring for the way
around.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from relay.broker import (
    after,
    archiving,
    autoscale,
    ends,
    fairshare,
    feed,
    joins,
    lead,
    peers,
    places,
    queue,
    reports,
    retry,
    shares,
    staging,
    verbs,
)
from relay.broker import pilots as _pilots
from relay.broker.books import Books
from relay.broker.events import (
    Action,
    Asked,
    AskGone,
    Close,
    ConnDown,
    ConnUp,
    DoorLost,
    Event,
    GuestAsked,
    Known,
    Lagging,
    Message,
    Noted,
    Revoked,
    Said,
    Tick,
    Unjoined,
    WelcomeClient,
)
from relay.broker.matching import Luck, Matcher
from relay.broker.model import ARCHIVE, Agent, Attachment, Job, Lineage, Settings
from relay.broker.states import JobState

_NOTES = {
    "time": "your clock and the relay's differ by more than two minutes",
    "used": "that request has been used before",
    "full": "the relay has no room for more connections",
    "again": "no connection of the agent's came free in time",
    "denied": "these credentials were withdrawn",
}


class Broker:
    """Feed it events in order, perform what it returns in order; `Journal` actions first."""

    def __init__(
        self,
        settings: Settings | None = None,
        matcher: Matcher | None = None,
        luck: Luck | None = None,
    ) -> None:
        """``matcher``: of requirements and preferences; ``luck``: who of equals is taken."""
        self.books = Books(settings or Settings())
        self.books.matcher = matcher
        self.books.luck = luck

    def handle(self, event: Event, now: float) -> list[Action]:
        """One event, as a round of its own."""
        return [*self.decide(event, now), *self.conclude()]

    def decide(self, event: Event, now: float) -> list[Action]:
        """One event of several that are one round: nothing is done before its ``conclude``."""
        b = self.books
        b.now = now
        b.out = []
        self._dispatch(b, event)
        b.run_timers()
        after.settle(b)
        places.settle(b)
        autoscale.run(b)
        return b.out

    def conclude(self) -> list[Action]:
        """The end of a round: what has changed in it is written down and told, each thing once."""
        b = self.books
        b.out = []
        b.write()
        feed.publish(b)
        return b.out

    def _dispatch(self, b: Books, event: Event) -> None:
        match event:
            case Said():
                self._on_said(b, event)
            case GuestAsked():
                shares.on_guest(b, event)
            case Asked():
                joins.on_ask(b, event)
            case AskGone():
                joins.on_ask_gone(b, event)
            case Unjoined():
                joins.on_unjoined(b, event)
            case Noted():
                b.remember_why(event.user, event.att, event.code, _NOTES.get(event.code, ""))
                b.audit(event.user, "preamble", event.att, event.code, event.source)
            case ConnUp():
                self._on_up(b, event)
            case ConnDown():
                ends.on_down(b, event.conn)
            case Revoked():
                ends.on_revoked(b, event)
            case Known():
                self._on_known(b, event)
            case DoorLost():
                for conn in [c for c in b.conns if c.door == event.door]:
                    ends.on_down(b, conn)
                for ask in [a for a in b.asks if a.door == event.door]:
                    joins.on_ask_gone(b, AskGone(ask))
            case Lagging():
                feed.on_resync(b, event.conn)
            case Tick():
                _pilots.on_tick(b)
                autoscale.on_tick(b)
                places.tell_waiting(b)
                fairshare.write(b)
                feed.beat(b)
            case _:
                assert_never(event)

    @staticmethod
    def _on_up(b: Books, up: ConnUp) -> None:
        b.conns[up.conn] = up

        def check() -> None:
            if b.conns.get(up.conn) is up and up.conn not in b.greeted:
                b.log(f"{up.role} {up.user} has said nothing: closed")
                b.out.append(Close(up.conn))
                ends.on_down(b, up.conn)

        b.at(b.now + b.settings.hello_s, check)

    @staticmethod
    def _on_known(b: Books, event: Known) -> None:
        for conn, up in b.conns.items():
            if up.user == event.user:
                b.conns[conn] = up._replace(standing=event.standing)
        reports.on_groups(b, event.user, event.groups)

    def _on_said(self, b: Books, event: Said) -> None:
        conn, message = event.conn, event.message
        up = b.conns.get(conn)
        if up is None:
            return
        m = message.get("m")
        if up.role == "client" or m == "hello":
            b.greeted.add(conn)
        if up.role == "client":
            if m == "hello":
                b.out.append(WelcomeClient(conn, up.user, up.credential, message.get("id")))
            else:
                b.drawn = event.drawn
                verbs.on_request(b, up, message)
            return
        if m == "hello":
            reports.on_hello(b, up, message)
            return
        agent = b.agents.get(up.agent_id)
        if agent is None or agent.conn != conn:
            b.out.append(Close(conn))  # it must say hello first
            return
        if agent.user == ARCHIVE:
            if not staging.on_said(b, agent, message):
                archiving.on_said(b, agent, message)
            return
        match m:
            case "started":
                reports.on_started(b, agent, message)
            case "ended":
                reports.on_ended(b, agent, message)
            case "refused":
                reports.on_refused(b, agent, message)
            case "watchers":
                reports.on_watchers(b, agent, message)
            case "unused":
                reports.on_unused(b, agent, message)
            case "leaving":
                archiving.on_leaving(b, agent)
            case "usage":
                feed.on_usage(b, agent, message)
            case "peer":
                peers.on_peer(b, agent, message)
            case "phase":
                reports.on_phase(b, agent, message)
            case "token":
                retry.on_token(b, agent, message)
            case "lane":
                reports.on_lane(b, agent, message)
            case "stole":
                reports.on_stole(b, agent, message)
            case "ssh-host":
                reports.on_ssh_host(b, up, agent, message)
            case "left":
                shares.on_left(b, agent, message)
            case "bye":  # the last word of its life: what is still said to be there is not
                agent.stopping = agent.draining = True
                b.touch(agent)
                reports.lose_stopped(b, agent)
                archiving.on_agent_gone(b, agent)
                staging.on_agent_gone(b, agent, "its agent was stopped")
            case _:
                pass  # of a newer agent

    # ------------------------------------------------------------------------------------- restarts

    def restore(
        self,
        jobs: Iterable[Message],
        agents: Iterable[Message],
        next_id: int,
        now: float,
        boots: Iterable[Message] = (),
        withdrawn: Iterable[str] = (),
        groups: Iterable[tuple[str, frozenset[str]]] = (),
        shared: Iterable[Message] = (),
        sites: Iterable[Message] = (),
        pilots: Iterable[Message] = (),
        next_pilot: int = 1,
        usage: Message | None = None,
    ) -> None:
        """Take over what the journal holds: every agent is away until it comes back."""
        b = self.books
        b.now = now
        b.out = []
        b.next_id = b.next_id_written = next_id
        b.withdrawn = set(withdrawn)
        b.groups_of = dict(groups)
        fairshare.restore(b, usage or {})
        for record in boots:
            b.lineages[record["id"]] = Lineage(list(record["boots"]), list(record["barred"]))
        for record in agents:
            agent = Agent.restored(record, now)
            b.add_agent(agent)
            reports.on_away(b, agent)
        for record in sorted(jobs, key=lambda r: int(r["id"])):
            self._restore_job(b, Job.restored(record))
        for record in shared:
            shares.restore(b, record)
        _pilots.restore(b, sites, pilots, next_pilot)
        b.unwritten.clear()
        feed.publish(b)  # to nobody yet
        b.out = []

    @staticmethod
    def _restore_job(b: Books, job: Job) -> None:
        b.add_job(job)
        b.next_id = max(b.next_id, job.id + 1)
        for index, member in enumerate(job.members):
            if member.ended_at is not None and archiving.wanted(b, member):
                b.to_archive[job.id, index] = None
            if member.att:
                b.add_att(job, Attachment(member.att, job.user, job.id, index, "rw", member.cred))
            if job.state.final or not member.agent_id or member.ended_at is not None:
                continue
            agent = b.agents.get(member.agent_id)
            if agent is None:  # cannot be, unless the journal was edited
                agent = Agent(member.agent_id, job.user, "", member.host, since=b.now)
                b.add_agent(agent)
                reports.on_away(b, agent)
            silent = job.warm and not job.started
            queue.occupy(b, agent, job, index, 0 if silent else None)
        if job.state.final and job.service:
            b.forget(job)
        elif job.state.final:
            b.shelve(job)
        elif job.state.value < JobState.HELD.value:
            after.follow(b, job)
            b.queue(job)
            after.watch_deadline(b, job)
            if job.spec is None:
                places.abandon_later(b, job)
        elif job.state is not JobState.STAGE_IN:  # that goes on when the archive is there
            if any(m.started_at is None for m in job.members) and not job.warm:
                places.hold_until(b, job, b.settings.start_s)
            if job.canceled:
                verbs.kill_later(b, job)
            lead.on_restored(b, job)
