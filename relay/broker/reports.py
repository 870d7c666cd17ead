"""What agents say: who is there, what started, what ended. The agent is the authority on its
steps.
"""

from __future__ import annotations

from types import ModuleType

from gshell.model import sshname
from relay.broker import archiving, feed, holds, lead, partings, parts, pilots, places, queue, retry
from relay.broker.books import Books, job_number
from relay.broker.events import AtDesk, Close, ConnUp, Cut, Journal, Message, ParkKey
from relay.broker.model import ARCHIVE, Agent, Attachment, Job, Lineage, Member
from relay.broker.said import TEXT, index_of, number, stamp, text
from relay.broker.states import JobState

_KILL = 9
_AHEAD = 1_000_000  # numbers of jobs that we may have forgotten; what is further was never given


# ------------------------------------------------------------------------------------------- agents


def on_hello(b: Books, up: ConnUp, message: Message) -> None:
    """An agent is there, for the first time or again; its ``sessions`` are the truth."""
    agent = b.agents.get(up.agent_id)
    boot, was = text(message, "boot"), text(message, "was")
    lineage = b.lineages.get(up.agent_id) or Lineage()
    boots = lineage.boots
    if boot in boots[:-1] or (was and boots and was != boots[-1]):
        why = f"another process has become agent {up.agent_id} meanwhile"
        _refuse_hello(b, up, "superseded", why)
        return
    if agent is not None and (
        agent.user != up.user
        or (agent.conn not in (None, up.conn) and agent.boot != boot)
        or (boot in lineage.barred and b.now - agent.since < b.settings.barred_s)
    ):
        # Were the newest to win, two processes with one ticket would end each other's jobs in turn.
        known = boot in lineage.barred  # it tries again and again, and once is news
        if not known:
            lineage.barred.append(boot)
            _remember(b, up.agent_id, lineage)
        why = f"another agent is connected as {up.agent_id}"
        _refuse_hello(b, up, "duplicate", why, audited=not known)
        return
    pool = text(message, "pool", 64)
    if pool and up.standing != "admin" and pool not in b.groups_of.get(up.user, ()):
        why = f"{up.user} is not in the group {pool}, whose pool the agent would serve"
        _refuse_hello(b, up, "denied", why)
        return
    if agent is None and len(b.agents_of.get(up.user, ())) >= b.settings.agents_per_user:
        _refuse_hello(b, up, "full", f"{up.user} has too many agents")
        return
    if not boots or boots[-1] != boot:
        boots.append(boot)
        _remember(b, up.agent_id, lineage)
        b.audit_of(
            up, "agent-up", f"agent {up.agent_id}", host=text(message, "host"), boot=boot[:8]
        )
    reborn = agent is not None and agent.boot != boot
    if agent is None:
        agent = Agent(up.agent_id, up.user, boot, pool)
        b.add_agent(agent)
    elif agent.conn not in (None, up.conn) and agent.conn is not None:
        b.out.append(Close(agent.conn))  # its own older connection, half-open
        b.conns.pop(agent.conn, None)
    agent.boot = boot
    b.move_agent(agent, pool)
    agent.conn = up.conn
    agent.credential = up.credential
    agent.since = b.now
    agent.draining = bool(message.get("draining"))
    agent.host = text(message, "host")
    agent.cpus = number(message, "cpus")
    agent.memory_bytes = number(message, "memory_bytes")
    tags = message.get("tags")
    tags = tags[:64] if isinstance(tags, list) else []
    agent.tags = tuple(t[:TEXT] for t in tags if isinstance(t, str))
    agent.slots = number(message, "slots", 1, 1 << 20)
    agent.pid = number(message, "pid")
    agent.version = text(message, "version")
    agent.lanes = message.get("lanes") is True
    pilots.on_hello(b, agent, message)
    agent.facts += 1
    b.out.append(Journal("agent", agent.id, agent.record()))
    b.out.append(ParkKey(up.conn, agent.id))
    b.send(up.conn, {"m": "welcome", "park_key": up.park_key, "spares": 2, "now": b.now,
                     "archive": b.settings.archive})  # fmt: skip
    b.touch(agent)
    feed.greet(b, agent)
    _reconcile(b, agent, message.get("sessions"), reborn)
    archiving.on_agent_back(b, agent, reborn)
    if agent.user == ARCHIVE:
        _staging().on_archive_back(b)
    elif reborn:
        _staging().on_agent_gone(b, agent, "its agent died before it could be fetched")
    else:
        _staging().on_agent_back(b, agent)
    places.touch(b, agent)
    places.place_for(b, agent)


def _staging() -> ModuleType:
    from relay.broker import staging  # it hands on what the archive says to us

    return staging


def on_groups(b: Books, user: str, groups: frozenset[str]) -> None:
    """A user's groups are these: their agents may serve a pool no longer."""
    if b.groups_of.get(user, frozenset()) == groups:
        return
    if groups:
        b.groups_of[user] = groups
    else:
        b.groups_of.pop(user, None)
    for agent in list(b.agents_of.get(user, {}).values()):
        up = b.conns.get(agent.conn) if agent.conn is not None else None
        if agent.pool and agent.pool not in groups and (up and up.standing != "admin"):
            agent.draining = True
            b.touch(agent)
            b.tell_agent(agent.id, {"m": "drain", "on": True})
    places.regroup(b, user)


def _refuse_hello(b: Books, up: ConnUp, code: str, why: str, audited: bool = True) -> None:
    b.send(up.conn, {"m": "error", "code": code, "message": why})
    b.out.append(Close(up.conn))
    if audited:
        b.audit_of(up, "agent-up", f"agent {up.agent_id}", code)


def _remember(b: Books, agent_id: str, lineage: Lineage) -> None:
    keep = b.settings.boots_kept
    del lineage.boots[:-keep], lineage.barred[:-keep]
    b.lineages.pop(agent_id, None)
    b.lineages[agent_id] = lineage
    b.out.append(Journal("boots", agent_id, lineage.record(agent_id)))
    if len(b.lineages) > b.settings.agents_remembered:
        away = (name for name in b.lineages if name not in b.agents)
        oldest = next(away, next(iter(b.lineages)))
        del b.lineages[oldest]
        b.out.append(Journal("boots", oldest, None))


def on_away(b: Books, agent: Agent) -> None:
    """Its control connection is gone; what it runs goes on, for all we know."""
    agent.conn = None
    holds.on_agent_gone(b, agent, "went away")
    agent.since = b.now
    b.touch(agent)
    places.touch(b, agent)
    partings.on_away(b, agent)
    if agent.stopping and not agent.here:
        archiving.on_agent_gone(b, agent)
        _staging().on_agent_gone(b, agent, "its agent has gone")
        b.remove_agent(agent)
        return
    since = b.now
    lead.on_away(b, agent)
    if agent.id not in b.agents:
        return
    if why := partings.over_why(b, agent):
        lose_agent(b, agent, why)
        return

    def lost() -> None:
        if agent.conn is None and agent.since == since and b.agents.get(agent.id) is agent:
            lose_agent(b, agent, partings.over_why(b, agent) or "agent lost")

    b.at(b.now + b.settings.agent_grace_s, lost)


def lose_agent(b: Books, agent: Agent, why: str) -> None:
    """It does not come back, and what it ran is over."""
    lose(b, agent, why)
    archiving.on_agent_gone(b, agent)
    _staging().on_agent_gone(b, agent, why)
    b.remove_agent(agent)


def lose(b: Books, agent: Agent, why: str, but: frozenset[tuple[int, int]] = frozenset()) -> None:
    """Everything placed on the agent, except ``but``, is not there any more."""
    for key in sorted(agent.here - but):
        job = b.jobs.get(key[0])
        if job is None:
            agent.drop(key)
            b.touch(agent)
        elif not job.started:
            places.displace(b, job, why)
        else:
            parts.over(b, job, key[1], error=why)
    places.place_for(b, agent)


def lose_stopped(b: Books, agent: Agent) -> None:
    """It was told to end, and takes what it ran along."""
    lose(b, agent, partings.stopped_why(b, agent, [job_id for job_id, _ in agent.here]))


def _reconcile(b: Books, agent: Agent, sessions: object, reborn: bool) -> None:
    listed: set[tuple[int, int]] = set()
    for session in sessions if isinstance(sessions, list) else ():
        if not isinstance(session, dict):
            continue
        job_id = job_number(session.get("job"))
        if job_id is None:
            continue
        key = (job_id, index_of(session))
        listed.add(key)
        to_begin = session.get("state") == "running" and session.get("started") is False
        if to_begin and on_phase(b, agent, session):  # what comes before its program runs
            continue
        at = stamp(session, "started_at", b.now)
        atts = session.get("atts")
        atts = [a for a in atts if isinstance(a, dict)] if isinstance(atts, list) else []
        on_started(b, agent, {**session, "spec_name": session.get("name"), "at": at})
        _on_atts(b, agent, session, atts)
        if session.get("state") == "ended":
            on_ended(b, agent, {**session, "at": session.get("ended_at")})
    keep = set(listed)
    if not reborn:  # joined clients may still start something; a deadline decides
        for key in agent.here - listed:
            job = b.jobs[key[0]]
            silent = job.members[key[1]].started_at is None
            if job.state is JobState.STAGE_IN:
                keep.add(key)
                continue
            if silent and job.spec is None and not (job.warm and not job.started):
                keep.add(key)
                places.hold_until(b, job, b.settings.abandoned_s)
    lose(b, agent, "agent died" if reborn else "the agent does not have it", frozenset(keep))


# -------------------------------------------------------------------------------------------- steps


def _find(b: Books, agent: Agent, message: Message) -> tuple[Job, Member, int] | None:
    """The member that this agent speaks of; None unless it is placed on this agent."""
    job = b.jobs.get(job_number(message.get("job")) or 0)
    index = index_of(message)
    if job is None or not places.serves(agent, job) or not 0 <= index < job.size:
        return None
    member = job.members[index]
    return (job, member, index) if member.agent_id == agent.id else None


def _user_of(b: Books, agent: Agent, message: Message) -> str:
    """Whose step that is which only the agent remembers: a pool's may be any member's."""
    user = text(message, "user", 64)
    member = agent.pool and agent.pool in b.groups_of.get(user, ())
    return user if member else agent.user


def on_started(b: Books, agent: Agent, message: Message) -> None:
    job_id = job_number(message.get("job"))
    index = index_of(message)
    size = number(message, "size", 1)
    if job_id is None or not 0 <= index < b.settings.group_size:
        return
    job = b.jobs.get(job_id)
    if agent.user == ARCHIVE and job is None:
        return  # it runs nothing but what we sent there
    if job is not None and not places.serves(agent, job):
        b.log(f"agent {agent.id} speaks of job {job_id}, which is not its user's")
        return
    if job is not None and retry.is_stale(job, message):
        if index >= job.size or job.members[index].agent_id != agent.id:
            b.send(agent.conn, {"m": "signal", "job": str(job_id), "sig": _KILL})
        return
    if job is None and (job_id >= b.next_id + _AHEAD or b.full_of(agent.user)):
        b.log(f"agent {agent.id} speaks of job {job_id}, which cannot be")
        b.send(agent.conn, {"m": "signal", "job": str(job_id), "sig": _KILL})
        return
    if job is None:  # given up meanwhile, or our memory is younger than the step
        size = min(max(size, index + 1), b.settings.group_size)
        user = _user_of(b, agent, message)
        job = Job(job_id, user, b.now, [Member() for _ in range(size)], JobState.QUEUED)
        job.pool = agent.pool
        job.beside, job.service = text(message, "beside", 32), text(message, "service", 32)
        if job_id >= b.next_id:
            b.next_id = job_id + 1
        b.add_job(job)
    while len(job.members) <= index:
        job.members.append(Member())
    member = job.members[index]
    if member.ended_at is not None:
        return
    if job.state is JobState.CANCELED:  # its end and its beginning met on the way
        b.send(agent.conn, {"m": "cancel", "job": str(job_id)})
        return
    if job.state.final or (member.started_at is not None and member.agent_id != agent.id):
        b.send(agent.conn, {"m": "signal", "job": str(job_id), "sig": _KILL})
        return
    if member.agent_id != agent.id:
        if not job.started and job.placed:
            places.displace(b, job)
        b.release(job, index)
        member.agent_id = agent.id
    b.unqueue(job)
    # One program may stand for several slots: a starter of MPI, one with threads of its own.
    tasks = max(1, member.tasks, number(message, "tasks", member.tasks, 1 << 20))
    lane = text(message, "lane", 16)
    if lane in ("batch", "interactive"):  # the agent's own word, also of what we have forgotten
        if job.warm and not job.started:  # not known before: it was opened for whatever comes
            job.lane = lane
        member.lane = "" if lane == job.lane else lane
    member.host = agent.host
    member.tasks = tasks
    queue.occupy(b, agent, job, index)
    member.phase = "epilogue" if message.get("phase") == "epilogue" else ""
    if member.started_at is None:
        member.started_at = stamp(message, "at", b.now)
        att = text(message, "att")
        if att and not member.att:
            member.att = att
        if att and att not in b.atts:
            b.add_att(job, Attachment(att, job.user, job.id, index))
    job.name = text(message, "spec_name") or job.name
    job.argv0 = text(message, "argv0") or job.argv0
    job.pty = bool(message.get("pty"))
    member.archive = bool(message.get("archive"))
    job.go(JobState.ACTIVE)
    job.joined = True
    if not retry.counts(b, job):
        job.spec = None
    orphans = [i for i, m in enumerate(job.members) if not m.agent_id]
    for i in orphans:  # its group had lost its places meanwhile: all or none
        parts.over(b, job, i, "the rest of its group started without it")
    if orphans:
        b.send(agent.conn, {"m": "signal", "job": str(job_id), "sig": _KILL})
    if all(m.started_at is not None or m.ended_at is not None for m in job.members):
        job.held_until = None
    elif job.held_until is None:
        places.hold_until(b, job, b.settings.start_s)
    b.keep(job)
    archiving.on_started(b, job, index)
    if job.canceled:
        b.send(agent.conn, {"m": "cancel", "job": str(job_id)})


def on_phase(b: Books, agent: Agent, message: Message) -> bool:
    """An agent has taken up a submitted job and is busy with what stands around its program, for as
    long as that takes. False: that is no job of ours."""
    found = _find(b, agent, message)
    if found is None:
        return False
    job, member, _ = found
    if retry.is_stale(job, message) or job.state.final:
        b.send(agent.conn, {"m": "cancel", "job": str(job.id)})
    elif member.ended_at is None:
        member.phase = text(message, "phase", 16)
        b.touched_jobs[job.id] = job
    return True


def on_ended(b: Books, agent: Agent, message: Message) -> None:
    found = _find(b, agent, message)
    if found is not None and retry.is_stale(found[0], message):
        found = None
    if found is not None and not found[0].started:
        on_started(b, agent, message)  # it never got to `started`: could not be executed
        found = _find(b, agent, message)
    if found is not None and found[1].ended_at is None:
        job, member, index = found
        code, signal = message.get("code"), message.get("signal")
        began = message.get("started")
        member.began = began if isinstance(began, bool) else None
        member.code = code if isinstance(code, int) else None
        member.signal = signal if isinstance(signal, int) else None
        member.archive = bool(message.get("archive"))
        error = text(message, "error") or None
        if message.get("stopped") is True:
            error = partings.stopped_why(b, agent, [job.id])
        parts.over(b, job, index, error, stamp(message, "at", b.now))
        if job.members[index] is member:  # else it is run again
            archiving.on_ended(b, job, index)
    if found is not None and found[0].state.final and found[1].started_at is None:
        # Canceled before its program: nobody fetches what came before that.
        b.send(agent.conn, {"m": "archived", "job": message.get("job"), "index": found[2]})
    b.send(agent.conn, {
        "m": "ended-ok", "job": message.get("job"), "index": message.get("index", 0),
    })  # fmt: skip
    places.place_for(b, agent)


def on_refused(b: Books, agent: Agent, message: Message) -> None:
    code, att = text(message, "code"), text(message, "att")
    why = text(message, "message") or f"agent {agent.id} is {code}"
    if code == "draining":
        agent.draining = True
        b.touch(agent)
    if att:
        meaning = "none" if code == "gone" else "again"
        known = b.atts.get(att)
        b.remember_why(known.user if known else agent.user, att, meaning, why)
    found = _find(b, agent, message)
    if found is None:
        return
    job, member, index = found
    waits = job.state in (JobState.HELD, JobState.STAGE_IN)
    if waits and (member.att == att or job.spec is not None):
        job.avoid[agent.id] = b.now + b.settings.avoid_s
        b.at(b.now + b.settings.avoid_s, lambda: places.place_for(b, agent))
        places.displace(b, job)
        places.place_for(b, agent)
    elif job.started and member.started_at is None and member.att == att:
        parts.over(b, job, index, error=why)


def on_unused(b: Books, agent: Agent, message: Message) -> None:
    """An opening came and left: it never was."""
    found = _find(b, agent, message)
    if found is None or found[1].started_at is not None:
        return
    job, member, index = found
    if member.att != text(message, "att"):
        return
    if job.spec is not None and not job.started:  # nobody's opening: what was submitted
        retry.fail(b, job, f"agent {agent.id} cannot read what it is to run")
        places.place_all(b, job.user)
        return
    if job.state is not JobState.HELD:
        parts.over(b, job, index, error="its client left before it started")
        return
    for other in job.members:
        if other is not member:
            b.tell_agent(other.agent_id, {"m": "unexpect", "att": other.att})
    _drop_asks(b, job)
    for i in range(job.size):
        b.release(job, i)
    b.forget(job)
    places.place_all(b, job.user)


def _drop_asks(b: Books, job: Job) -> None:
    for index, ask in job.asks.items():
        b.asks.pop(ask, None)
        b.refuse(ask, job.user, job.members[index].att, "again", "its group fell apart", 0.5)
    job.asks.clear()


def on_watchers(b: Books, agent: Agent, message: Message) -> None:
    """How many are attached now: those who may write, and those who look."""
    found = _find(b, agent, message)
    if found is not None:
        found[1].attached = number(message, "attached")
        found[1].watchers = number(message, "watchers")
        b.touched_jobs[found[0].id] = found[0]


def _on_atts(b: Books, agent: Agent, session: Message, atts: list[Message]) -> None:
    """The attachments of a session that an agent brings back."""
    found = _find(b, agent, session)
    if found is None:
        return
    job, member, index = found
    atts = [att for att in atts if att.get("user") != ARCHIVE]
    live = [att for att in atts if att.get("live", True)]
    member.attached = sum(1 for att in live if att.get("rights") == "rw")
    member.watchers = len(live) - member.attached
    b.touched_jobs[job.id] = job
    dead: list[str] = []
    ended: list[str] = []  # their right to be there has gone meanwhile
    for att in atts:
        name, user = text(att, "att", 64), text(att, "user", 64) or job.user
        credential = text(att, "cred", 64)
        known = b.atts.get(name)
        fresh = known is None and name and not user.startswith("@")
        if fresh and len(job.atts) < b.settings.atts_per_job:
            rights = "rw" if att.get("rights") == "rw" else "r"
            known = Attachment(name, user, job.id, index, rights, credential)
            if user != job.user:
                share = b.shares.get(text(att, "share", 64))
                if share is None or share.job_id != job.id or user not in share.users:
                    ended.append(name)
                    continue
                known.share, known.until = share.id, share.until
            b.add_att(job, known)
        if known is None or known.job_id != job.id:
            continue
        known.credential = known.credential or credential
        if known.credential in b.withdrawn:  # while the agent was away
            known.dead = known.dead or "these credentials were withdrawn"
        if known.dead:
            dead.append(name)
            b.out.append(Cut(name))
    for names, why in (
        (dead, b.atts[dead[0]].dead if dead else ""),
        (ended, "the share has ended"),
    ):
        if names:
            b.send(agent.conn, {"m": "revoke", "atts": names, "why": why})


def on_stole(b: Books, agent: Agent, message: Message) -> None:
    """Somebody took the typing from somebody who was there."""
    found = _find(b, agent, message)
    att = b.atts.get(text(message, "att", 64))
    if found is not None and att is not None and att.job_id == found[0].id:
        b.audit(att.user, "steal", f"job {att.job_id}", index=att.index, key=att.credential[:12])


def on_lane(b: Books, agent: Agent, message: Message) -> None:
    """What its batch lane gets of the cores, measured."""
    share, asked = message.get("share"), message.get("asked")
    good = isinstance(share, int | float) and not isinstance(share, bool) and 0 <= share <= 1e6
    agent.share = None
    if good:
        agent.share = {
            "share": share, "how": text(message, "how", 16),
            "asked": asked if isinstance(asked, int | float) else None,
        }  # fmt: skip
    b.touch(agent)


def on_ssh_host(b: Books, up: ConnUp, agent: Agent, message: Message) -> None:
    """Its SSH server wants to be known by the names of all that runs there."""
    steps = [
        (job_id, index) for job_id, index in sorted(agent.here)
        if job_id in b.jobs and b.jobs[job_id].started and not b.jobs[job_id].weightless
    ]  # fmt: skip
    names = sshname.names_of(agent.id, steps)
    b.out.append(AtDesk(up, None, {"m": "ssh-host", "key": message.get("key"), "names": names}))
