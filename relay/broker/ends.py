"""Connections that end: by themselves, or because what they came in with counts no more.

A withdrawn credential takes with it, in the same round, every connection, attachment and agent that
hangs on it. Nothing here waits for anybody's consent.
"""

from __future__ import annotations

from relay.broker import feed, pilots, places, reports, submitters, verbs
from relay.broker.books import Books
from relay.broker.events import Close, Conn, Cut, Revoked
from relay.broker.model import Agent, Attachment


def on_down(b: Books, conn: Conn) -> None:
    """A control connection is gone."""
    up = b.conns.pop(conn, None)
    b.greeted.discard(conn)
    if up is None:
        return
    if up.role == "agent":
        agent = b.agents.get(up.agent_id)
        if agent is not None and agent.conn == conn:
            reports.on_away(b, agent)
        return
    feed.forget(b, conn)
    submitters.on_down(b, conn)
    for job_id in b.waiters.pop(conn, ()):
        job = b.jobs.get(job_id)
        if job is None:
            continue
        job.waits = [w for w in job.waits if w[0] != conn]
        if job.awaits:
            job.awaits = {k: v for k, v in job.awaits.items() if k[0] != conn}
            if not job.awaits:
                places.abandon_later(b, job)


def on_revoked(b: Books, event: Revoked) -> None:
    """These credentials, or a user as such, count no more."""
    b.withdrawn |= event.serials
    if event.whole:
        b.groups_of.pop(event.user, None)

    def hit(credential: str, user: str) -> bool:
        return credential in event.serials or (event.whole and user == event.user)

    for agent in [a for a in b.agents.values() if hit(a.credential, a.user)]:
        _end_agent(b, agent, event.why)
    for conn, up in list(b.conns.items()):
        if hit(up.credential, up.user):
            dismiss(b, conn, "revoked", event.why)
    _end_attachments(
        b, [a for a in b.atts.values() if not a.dead and hit(a.credential, a.user)], event.why
    )
    if event.whole:
        for job in list(b.jobs_of.get(event.user, {}).values()):
            if not job.state.final:
                verbs.end_job(b, job, event.why)
        pilots.on_user_gone(b, event.user)


def dismiss(b: Books, conn: Conn, code: str, why: str) -> None:
    """Say why, close, and forget the connection."""
    b.send(conn, {"m": "error", "code": code, "message": why})
    b.out.append(Close(conn))
    on_down(b, conn)


def _end_agent(b: Books, agent: Agent, why: str) -> None:
    """It is no agent of anybody's any more; what it runs is lost to us, who looks on is cut off."""
    for att in b.atts.values():
        if b.jobs[att.job_id].members[att.index].agent_id == agent.id:
            b.out.append(Cut(att.att))
    agent.stopping = agent.draining = True  # nothing is placed there meanwhile
    if agent.conn is not None:
        conn, agent.conn = agent.conn, None
        dismiss(b, conn, "revoked", why)
    reports.lose(b, agent, why)
    b.remove_agent(agent)
    b.changed.add(agent.user)


def _end_attachments(b: Books, atts: list[Attachment], why: str) -> None:
    by_agent: dict[str, list[str]] = {}
    openings: set[int] = set()
    for att in atts:
        job = b.jobs[att.job_id]
        member = job.members[att.index]
        att.dead = why
        b.remember_why(att.user, att.att, "denied", why)
        b.out.append(Cut(att.att))
        if member.agent_id:
            by_agent.setdefault(member.agent_id, []).append(att.att)
        if not job.started and member.att == att.att:
            openings.add(job.id)
    for agent_id, names in by_agent.items():
        b.tell_agent(agent_id, {"m": "revoke", "atts": names, "why": why})
    for job_id in openings:
        job = b.jobs[job_id]
        if not job.state.final:
            places.give_up(b, job, why)
