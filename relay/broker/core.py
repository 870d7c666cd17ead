"""The broker: an event and the time in, actions out. See the package's docstring for the way
around.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from relay.broker import joins, places, reports, shares, verbs
from relay.broker.books import Books
from relay.broker.events import (
    Action,
    Asked,
    AskGone,
    Close,
    Conn,
    ConnDown,
    ConnUp,
    DoorLost,
    Event,
    Groups,
    GuestAsked,
    Message,
    Noted,
    Said,
    Tick,
    Unjoined,
    WelcomeClient,
)
from relay.broker.model import Agent, Attachment, Job, Settings
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

    def __init__(self, settings: Settings | None = None) -> None:
        self.books = Books(settings or Settings())

    def handle(self, event: Event, now: float) -> list[Action]:
        b = self.books
        b.now = now
        b.out = []
        self._dispatch(b, event)
        b.run_timers()
        b.write()
        return b.out

    def _dispatch(self, b: Books, event: Event) -> None:
        match event:
            case Said():
                self._on_said(b, event)
            case GuestAsked():
                shares.on_guest(b, event)
            case Groups():
                reports.on_groups(b, event)
            case Asked():
                joins.on_ask(b, event)
            case AskGone():
                joins.on_ask_gone(b, event)
            case Unjoined():
                joins.on_unjoined(b, event)
            case Noted():
                b.remember_why(event.user, event.att, event.code, _NOTES.get(event.code, ""))
            case ConnUp():
                b.conns[event.conn] = event
            case ConnDown():
                self._on_down(b, event.conn)
            case DoorLost():
                for conn in [c for c in b.conns if c.door == event.door]:
                    self._on_down(b, conn)
                for ask in [a for a in b.asks if a.door == event.door]:
                    joins.on_ask_gone(b, AskGone(ask))
            case Tick():
                places.tell_waiting(b)
            case _:
                assert_never(event)

    def _on_said(self, b: Books, event: Said) -> None:
        conn, message = event.conn, event.message
        up = b.conns.get(conn)
        if up is None:
            return
        if up.role == "client":
            if message.get("m") == "hello":
                b.out.append(WelcomeClient(conn, up.user, up.credential, message.get("id")))
            else:
                b.drawn = event.drawn
                verbs.on_request(b, up, message)
            return
        if message.get("m") == "hello":
            reports.on_hello(b, up, message)
            return
        agent = b.agents.get(up.agent_id)
        if agent is None or agent.conn != conn:
            b.out.append(Close(conn))  # it must say hello first
            return
        match message.get("m"):
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
            case "left":
                shares.on_left(b, agent, message)
            case "bye":  # the last word of its life: what is still said to be there is not
                agent.stopping = agent.draining = True
                reports.lose(b, agent, "the agent was stopped")
            case _:
                pass  # of a newer agent

    @staticmethod
    def _on_down(b: Books, conn: Conn) -> None:
        up = b.conns.pop(conn, None)
        if up is None:
            return
        if up.role == "agent":
            agent = b.agents.get(up.agent_id)
            if agent is not None and agent.conn == conn:
                reports.on_away(b, agent)
            return
        for job_id in b.waiters.pop(conn, ()):
            job = b.jobs.get(job_id)
            if job is None:
                continue
            job.waits = [w for w in job.waits if w[0] != conn]
            if job.awaits:
                job.awaits = {k: v for k, v in job.awaits.items() if k[0] != conn}
                if not job.awaits:
                    places.abandon_later(b, job)

    # ------------------------------------------------------------------------------------- restarts

    def restore(
        self,
        jobs: Iterable[Message],
        agents: Iterable[Message],
        next_id: int,
        now: float,
        shared: Iterable[Message] = (),
    ) -> None:
        """Take over what the journal holds: every agent is away until it comes back."""
        b = self.books
        b.now = now
        b.out = []
        b.next_id = next_id
        for record in agents:
            agent = Agent.restored(record, now)
            b.add_agent(agent)
            reports.on_away(b, agent)
        for record in sorted(jobs, key=lambda r: int(r["id"])):
            self._restore_job(b, Job.restored(record))
        for record in shared:
            shares.restore(b, record)
        b.unwritten.clear()
        b.out = []

    @staticmethod
    def _restore_job(b: Books, job: Job) -> None:
        b.add_job(job)
        b.next_id = max(b.next_id, job.id + 1)
        for index, member in enumerate(job.members):
            if member.att:
                b.add_att(job, Attachment(member.att, job.user, job.id, index))
            if job.state.final or not member.agent_id or member.ended_at is not None:
                continue
            agent = b.agents.get(member.agent_id)
            if agent is None:  # cannot be, unless the journal was edited
                agent = Agent(member.agent_id, job.user, "", member.host, since=b.now)
                b.add_agent(agent)
                reports.on_away(b, agent)
            silent = job.warm and not job.started
            agent.put((job.id, index), 0 if silent else member.tasks)
        if job.state.final:
            b.kept.setdefault(job.user, {})[job.id] = None
        elif job.state.value < JobState.HELD.value:
            b.queue(job)
            if job.spec is None:
                places.abandon_later(b, job)
        else:
            if any(m.started_at is None for m in job.members) and not job.warm:
                places.hold_until(b, job, b.settings.start_s)
            if job.canceled:
                verbs.kill_later(b, job)
