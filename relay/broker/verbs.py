"""What clients ask over control. Who may is `rights`' word; what somebody may not is answered as
if it were not there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gshell.errors import UsageError
from relay.broker import (
    after,
    feed,
    matching,
    pilots,
    places,
    rights,
    shares,
    sites,
    staging,
    submitters,
    why,
)
from relay.broker.books import Books
from relay.broker.events import AtDesk, Conn, ConnUp, Message
from relay.broker.model import Job, Member
from relay.broker.said import number, text
from relay.broker.states import JobState
from relay.broker.views import agent_view, job_view, shared_job_view
from relay.broker.wants import Wants

_HUP, _KILL, _TERM, _CONT = 1, 9, 15, 18
_SIGNALS = range(1, 65)
_RE = 64  # characters of a request's id that is text

Verb = Callable[[Books, ConnUp, Any, Message], None]


def on_request(b: Books, up: ConnUp, message: Message) -> None:
    re, verb = message.get("id"), message.get("m")
    if not (re is None or (isinstance(re, str) and len(re) <= _RE)
            or (isinstance(re, int) and abs(re) < 1 << 63)):  # fmt: skip
        re = None
    call = VERBS.get(verb) if isinstance(verb, str) else None
    if not rights.may_ask(up, verb):
        b.refuse_verb(up.conn, re, "denied", rights.NOT_A_GUEST_S)
        b.audit_of(up, str(verb) if call else "unknown", "", "denied")
    elif call is None:
        b.refuse_verb(
            up.conn, re, "unknown", f"this relay does not know {str(verb)[:40]!r}",
            "update the relay, or this gshell",
        )  # fmt: skip
    else:
        call(b, up, re, message)


def _none(b: Books, conn: Conn, re: Any, what: str, hint: str) -> None:
    b.refuse_verb(conn, re, "none", what, hint)


# -------------------------------------------------------------------------------------------- lists


def _jobs(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    whose = rights.whose(b, up, re, message)
    if whose is None:
        return
    wanted = message.get("ids")
    told = why.briefly(b) if message.get("why") is True else job_view
    if isinstance(wanted, list):  # each by itself: a job may be seen by a share, too
        named = {job.id: job for i in wanted if (job := b.shown_job(str(i))) is not None}
        found = [job for job in named.values() if rights.may(b, up, job, rights.SEE)]
        b.answer(up.conn, re, jobs=[_view(up, job, told) for job in found])
        return
    of = b.jobs.values() if not whose else b.jobs_of.get(whose, {}).values()
    ended = bool(message.get("all"))
    jobs = [told(job) for job in of if job.shown and (ended or not job.state.final)]
    b.answer(up.conn, re, jobs=jobs)


def _view(up: ConnUp, job: Job, told: Callable[[Job], Message]) -> Message:
    all_of_it = up.user == job.user or rights.is_admin(up)
    return told(job) if all_of_it else shared_job_view(job)


def _agents(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    whose = rights.whose(b, up, re, message)
    if whose is None:
        return
    if not whose:
        agents = list(b.agents.values())
    else:
        agents = list(b.agents_of.get(whose, {}).values())
        for pool in b.groups_of.get(whose, ()):
            agents += [a for a in b.pools.get(pool, {}).values() if a.user != whose]
    b.answer(up.conn, re, agents=[agent_view(a) for a in agents])


def _whoami(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    b.answer(
        up.conn, re, user=up.user, role=up.standing, kind=up.role, key=up.credential,
        until=up.valid_until or None,
    )  # fmt: skip


# ------------------------------------------------------------------------------------- running jobs


def _signal(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    job = rights.find_job(b, up, re, message, rights.SIGNAL)
    if job is None:
        return
    sig = number(message, "sig")
    if sig not in _SIGNALS:
        b.refuse_verb(up.conn, re, "usage", f"{message.get('sig')!r:.20} is not a signal's number")
    elif job.state.final:
        b.refuse_verb(up.conn, re, "over", f"job {job.id} has ended")
    elif not job.started:
        b.refuse_verb(
            up.conn, re, "waiting", f"job {job.id} has not started", f"gshell cancel {job.id}"
        )
    else:
        b.audit_of(up, "signal", f"job {job.id}", sig=sig)
        _tell_members(b, job, sig)
        b.answer(up.conn, re)


def _tell_members(b: Books, job: Job, sig: int) -> None:
    for agent_id in {m.agent_id for m in job.members if m.started_at and m.ended_at is None}:
        b.tell_agent(agent_id, {"m": "signal", "job": str(job.id), "sig": sig})


def _cancel(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    known = b.atts.get(text(message, "att"))  # a queued client knows its attachment, not its job
    if known is not None and known.user == up.user:
        message = {**message, "job": str(known.job_id)}
    job = rights.find_job(b, up, re, message, rights.CANCEL)
    if job is None:
        return
    if job.state.final:
        b.refuse_verb(up.conn, re, "over", f"job {job.id} has ended")
        return
    b.audit_of(up, "cancel", f"job {job.id}")
    b.answer(up.conn, re, job=str(job.id))
    end_job(b, job, "canceled before it started")


def end_job(b: Books, job: Job, error: str) -> None:
    """TERM, then KILL; a job that has not started is given up, with this error."""
    job.canceled = True
    if not job.started:
        places.give_up(b, job, error)
        return
    if job.state is JobState.STAGE_OUT:
        b.finish(job, JobState.CANCELED, "canceled while its output was being kept")
        return
    b.keep(job)
    end_members(b, job)


def end_members(b: Books, job: Job) -> None:
    """TERM for all that it runs, then KILL."""
    _tell_members(b, job, _TERM)
    if job.pty:  # an interactive shell ignores TERM
        _tell_members(b, job, _HUP)
    _tell_members(b, job, _CONT)  # a stopped one would never know
    kill_later(b, job)


def kill_later(b: Books, job: Job) -> None:
    job.kill_at = when = b.now + b.settings.kill_after_s

    def check() -> None:
        if job.kill_at == when and not job.state.final:
            _tell_members(b, job, _KILL)

    b.at(when, check)


def _wait(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    job = rights.find_job(b, up, re, message, rights.WAIT)
    if job is None:
        return
    if job.state.final:
        b.answer(up.conn, re, job=job_view(job))
    elif len(job.waits) >= b.settings.waits_per_job:
        b.refuse_verb(up.conn, re, "full", f"too many wait for job {job.id} already")
    else:
        job.waits.append((up.conn, re))
        b.waiters.setdefault(up.conn, set()).add(job.id)


def _why(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    """Why it waits, and what would start now."""
    job = rights.find_job(b, up, re, message, rights.WAIT)
    if job is not None:
        b.answer(up.conn, re, why=why.explain(b, job))


def _forget(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    """A finished job is as if it had never been, its output too, wherever that is."""
    job = rights.find_job(b, up, re, message, rights.FORGET)
    if job is None:
        return
    if not job.state.final:
        b.refuse_verb(up.conn, re, "lives", f"job {job.id} lives", f"gshell cancel {job.id}")
        return
    for agent_id in {member.agent_id for member in job.members}:
        b.tell_agent(agent_id, {"m": "forget", "job": str(job.id)})
    b.forget(job)
    b.answer(up.conn, re)


# ------------------------------------------------------------------------------------- waiting jobs


def _submit(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    spec = message.get("spec")
    tasks = number(message, "n", 1, 1 << 20)
    size = number(message, "size", 1, b.settings.group_size)
    if not isinstance(spec, dict) or not tasks or not size:
        b.refuse_verb(up.conn, re, "usage", "a job needs a spec, and at least one task")
        return
    try:
        wants = Wants.parse(message)
    except UsageError as error:
        b.refuse_verb(up.conn, re, "usage", error.message, error.hint)
        return
    if wrong := matching.complaint(b, wants):
        b.refuse_verb(up.conn, re, "usage", wrong)
        return
    if wrong := after.complaint(b, up.user, wants.after):
        _none(b, up.conn, re, wrong, "gshell jobs --all")
        return
    if b.crowded(up.user):
        b.refuse_verb(up.conn, re, "full", "too many jobs of yours wait or run", "gshell jobs")
        return
    sandbox = staging.sandbox_of(spec)
    if isinstance(sandbox, dict) and sandbox["key"] and staging.bound(b, up.user, sandbox["key"]):
        sandbox = "that sandbox is another job's"
    if isinstance(sandbox, str):
        b.refuse_verb(up.conn, re, "usage", sandbox)
        return
    pins = _pins(message, size)
    pool = text(message, "pool")
    if pins is None:
        b.refuse_verb(up.conn, re, "usage", "agents: as many ids as the job has members, please")
        return
    if pool and not rights.in_pool(b, up.user, pool):
        _none(b, up.conn, re, f"there is no pool {pool[:80]} of yours", "gshell agents")
        return
    job = Job(
        b.new_id(), up.user, b.now,
        [Member(tasks, pin=pin) for pin in pins],
        JobState.QUEUED, wants.name or text(spec, "name"), _argv0(spec), pool,
        bool(spec.get("pty")), wants=wants, spec=spec,
    )  # fmt: skip
    job.lane = wants.lane or ("interactive" if job.pty else "batch")
    b.add_job(job)
    after.begin(b, job)
    after.watch_deadline(b, job)
    b.queue(job)
    staging.bind(b, job, sandbox)
    b.keep(job)
    b.answer(up.conn, re, job=str(job.id))
    places.place_all(b, up.user)


def _pins(message: Message, size: int) -> list[str] | None:
    """The agent of each member: the same for all, or different ones; None: that makes no sense."""
    named = message.get("agents")
    if named is None:
        return [text(message, "agent")] * size
    good = isinstance(named, list) and len(set(map(str, named))) == size
    return [str(one)[:80] for one in named] if good and len(named) == size else None


def _argv0(spec: Message) -> str:
    argv = spec.get("argv")
    return argv[0][:200] if isinstance(argv, list) and argv and isinstance(argv[0], str) else ""


def _await(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    known = b.atts.get(text(message, "att"))
    if known is None or known.user != up.user:
        _none(b, up.conn, re, "that request is not in the queue any more", "start it again")
        return
    job = b.jobs[known.job_id]
    if job.state.final:
        _none(b, up.conn, re, job.error or "it is over", f"gshell jobs {job.id}")
    elif job.placed:
        b.answer(up.conn, re, job=str(job.id))
        if not job.joined and not job.started:
            places.hold_until(b, job, b.settings.held_s)
    elif len(job.awaits) >= max(b.settings.waits_per_job, 2 * len(job.members)):  # one each
        b.refuse_verb(up.conn, re, "full", "too many wait for it already")
    else:
        job.awaits[up.conn, re] = known.att
        b.waiters.setdefault(up.conn, set()).add(job.id)
        job.abandon_at = None
        job.told = None
        ahead = list(b.queues[job.user]).index(job.id)
        places.tell_one(b, job, ahead)


def _whynot(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    code, reason = b.why.get((up.user, text(message, "att")), ("unknown", "nothing is known of it"))
    # The answer itself is fine; the code is about the connection that was refused.
    b.answer(up.conn, re, code=code, message=reason)


# ------------------------------------------------------------------------------------------- agents


def _drain(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    agent = rights.find_agent(b, up, re, message)
    if agent is None:
        return
    on = message.get("on", True) is not False
    b.audit_of(up, "drain", f"agent {agent.id}", on=on)
    agent.draining = on
    b.touch(agent)
    b.tell_agent(agent.id, {"m": "drain", "on": on})
    b.answer(up.conn, re)
    places.touch(b, agent)
    places.place_for(b, agent)


def _stop_agent(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    agent = rights.find_agent(b, up, re, message)
    if agent is None:
        return
    here = {job: b.jobs[job] for job, _ in agent.here if job in b.jobs}
    live = [job for job, record in here.items() if record.started and not record.state.final]
    if live and not message.get("force"):
        busy = f"jobs still run there: {', '.join(map(str, live))}"
        b.refuse_verb(up.conn, re, "busy", busy, f"gshell agent stop --force {agent.id}")
        return
    b.audit_of(up, "stop-agent", f"agent {agent.id}", force=bool(message.get("force")))
    if agent.conn is None and not agent.here:
        b.remove_agent(agent)
    agent.stopping = agent.draining = True
    pilots.release(b, agent)
    b.touch(agent)
    b.tell_agent(agent.id, {"m": "stop"})
    b.answer(up.conn, re)
    places.touch(b, agent)


# --------------------------------------------------------------------------------------- identities


def _at_desk(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    """Tickets, invites, my keys: the desk knows them."""
    b.out.append(AtDesk(up, re, message))


def _pilot(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    """A submitter's report on a pilot, or a request for one's invite."""
    if "state" in message:
        pilots.on_report(b, up, re, message)
    else:
        _at_desk(b, up, re, message)


def _for_admins(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    if up.standing != "admin":
        b.refuse_verb(
            up.conn, re, "denied", f"{up.user} is no administrator of this relay",
            "ask who runs the relay",
        )  # fmt: skip
        b.audit_of(up, str(message.get("m")), text(message, "user", 64), "denied")
        return
    b.out.append(AtDesk(up, re, message))


def _revoke(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    """A share's id, or the beginning of a credential's serial."""
    if not shares.on_revoke(b, up, re, message):
        _at_desk(b, up, re, message)


VERBS: dict[str, Verb] = {
    "jobs": _jobs,
    "agents": _agents,
    "whoami": _whoami,
    "signal": _signal,
    "cancel": _cancel,
    "forget": _forget,
    "wait": _wait,
    "submit": _submit,
    "await": _await,
    "why": _why,
    "whynot": _whynot,
    "drain": _drain,
    "stop-agent": _stop_agent,
    "watch": feed.on_watch,
    "share": shares.on_share,
    "shares": shares.on_shares,
    "redeem": shares.on_redeem,
    "invite": _at_desk,
    "ticket": _at_desk,
    "pilot": _pilot,
    "sites": sites.on_sites,
    "site-put": sites.on_put,
    "site-drop": sites.on_drop,
    "site-pause": sites.on_pause,
    "site-ad": sites.on_ad,
    "submitter": submitters.on_register,
    "pilots": pilots.on_pilots,
    "pilot-start": pilots.on_start,
    "pilot-cancel": pilots.on_cancel,
    "keys": _at_desk,
    "ssh-cert": _at_desk,
    "revoke": _revoke,
    "users": _for_admins,
    "user-add": _for_admins,
    "user-revoke": _for_admins,
}
