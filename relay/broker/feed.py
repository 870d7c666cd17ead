"""Who watches their jobs and agents, and what is told of every change. Decides nothing.

Each user who is watched has a sequence of events; a watcher begins with a snapshot that says where
in it it was taken. Doors see gaps by the numbers and ask for another snapshot. Nobody watches:
nothing is made.
"""

from __future__ import annotations

from typing import Any

from relay.broker.books import Books, job_number
from relay.broker.events import Conn, ConnUp, Feed, Message, Publish
from relay.broker.model import Agent, Job
from relay.broker.views import agent_view, job_view

_STEPS = 1000  # of one report; the rest comes with the next
_MOST = 10**12  # steps of a program
_NUMBERS = ("out", "in", "rss_bytes")


def on_watch(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    """``watch``: a snapshot, and from then on every change."""
    if message.get("on", True) is False:
        forget(b, up.conn)
        b.out.append(Feed(up.conn, up.user, -1))
        b.answer(up.conn, re)
        return
    b.watched.setdefault(up.user, {})[up.conn] = bool(message.get("all"))
    bare = message.get("bare") is True
    snapshot: Message = {"jobs": [], "agents": []} if bare else _snapshot(b, up)
    b.answer(up.conn, re, seq=b.seqs.setdefault(up.user, 0), **snapshot)
    b.out.append(Feed(up.conn, up.user, b.seqs[up.user]))
    for agent in b.agents_of.get(up.user, {}).values():  # every time: who comes later knows nothing
        if agent.load or not bare:
            _tell(b, agent, True)


def on_resync(b: Books, conn: Conn) -> None:
    """Its door lost the thread, or the watcher is slow: everything anew."""
    up = b.conns.get(conn)
    if up is None or conn not in b.watched.get(up.user, ()):
        return
    seq = b.seqs[up.user]
    b.send(conn, {"m": "event", "kind": "resync", "seq": seq, **_snapshot(b, up)})
    b.out.append(Feed(conn, up.user, seq))


def forget(b: Books, conn: Conn) -> None:
    """It watches no more."""
    for user, conns in list(b.watched.items()):
        if conns.pop(conn, None) is not None and not conns:
            del b.watched[user]
            for agent in b.agents_of.get(user, {}).values():
                if agent.watched:
                    _tell(b, agent, False)


def greet(b: Books, agent: Agent) -> None:
    """An agent has come (again) that does not know whether anybody looks."""
    agent.watched = False
    if agent.user in b.watched:
        _tell(b, agent, True)


def _tell(b: Books, agent: Agent, on: bool) -> None:
    agent.watched = on
    b.tell_agent(agent.id, {"m": "watch", "on": on})


def _snapshot(b: Books, up: ConnUp) -> Message:
    ended_too = b.watched[up.user][up.conn]
    jobs = b.jobs_of.get(up.user, {}).values()
    return {
        "jobs": [job_view(j) for j in jobs if j.shown and (ended_too or not j.state.final)],
        "agents": [agent_view(a) for a in b.agents_of.get(up.user, {}).values()],
    }


# ------------------------------------------------------------------------------------------- events


def publish(b: Books) -> None:
    """At the end of a round: what it changed, once for each thing, to who watches."""
    if b.watched:
        events: dict[str, list[Message]] = {}
        for what, user, name in b.gone:
            events.setdefault(user, []).append({"kind": "gone", "what": what, "id": name})
        for user, view in b.passing:
            events.setdefault(user, []).append({"kind": "job", "job": view})
        for job in b.touched_jobs.values():
            if job.user in b.watched and job.shown and b.jobs.get(job.id) is job:
                events.setdefault(job.user, []).append({"kind": "job", "job": job_view(job)})
        for agent in b.touched_agents.values():
            if agent.user in b.watched and b.agents.get(agent.id) is agent:
                event = {"kind": "agent", "agent": agent_view(agent)}
                events.setdefault(agent.user, []).append(event)
        for user, news in events.items():
            _emit(b, user, news)
    b.passing.clear()
    b.touched_jobs.clear()
    b.touched_agents.clear()
    b.gone.clear()


def beat(b: Books) -> None:
    """How far everybody should be: the last event before a silence may be the one that got lost."""
    for user in b.watched:
        b.out.append(Publish(user, b.seqs[user], []))


def on_usage(b: Books, agent: Agent, message: Message) -> None:
    """What an agent's steps have used; passed on, and not kept but for how far the job is."""
    steps = message.get("steps")
    news: dict[str, list[Message]] = {}
    for step in steps[:_STEPS] if isinstance(steps, list) else ():
        found = _of_agent(b, agent, step)
        if found is not None and found.user in b.watched:
            line = _cleaned(step)
            news.setdefault(found.user, []).append(line)
            if line["index"] == 0:
                said = line.get("progress")
                found.progress = {**said, "at": b.now} if said else None
    for user, lines in news.items():
        _emit(b, user, [{"kind": "stats", "at": b.now, "steps": lines}])


def _of_agent(b: Books, agent: Agent, step: object) -> Job | None:
    if not isinstance(step, dict):
        return None
    job, index = b.jobs.get(job_number(step.get("job")) or 0), step.get("index")
    whole = isinstance(index, int) and not isinstance(index, bool)
    if job is None or not whole or not 0 <= index < job.size:  # type: ignore[operator]
        return None
    return job if job.members[index].agent_id == agent.id else None  # type: ignore[index]


def _cleaned(step: Message) -> Message:
    out: Message = {"job": step["job"], "index": step["index"], "waits": step.get("waits") is True}
    for name in _NUMBERS:
        value = step.get(name)
        whole = isinstance(value, int) and not isinstance(value, bool)
        out[name] = value if whole and 0 <= value <= 1 << 62 else 0  # type: ignore[operator]
    seconds = step.get("cpu_s")
    good = isinstance(seconds, int | float) and 0 <= seconds < 1e12
    out["cpu_s"] = float(seconds) if good else 0.0  # type: ignore[arg-type]
    progress = step.get("progress")
    if isinstance(progress, dict):
        done, of = progress.get("done"), progress.get("of")
        if type(done) is int and type(of) is int and 0 <= done <= of <= _MOST and of:
            out["progress"] = {"done": done, "of": of}
    return out


def _emit(b: Books, user: str, events: list[Message]) -> None:
    if user in b.watched:
        b.seqs[user] += len(events)
        b.out.append(Publish(user, b.seqs[user], events))
