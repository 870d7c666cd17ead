"""Sandboxes: what a queued job needs before it starts, and what is kept of it when it has ended.

The files are in the archive process's depot, by user and key; it carries them to the job's work
directory and from there, as a client of its agent's service `files`. Here it is decided when, and
who may open which part of the depot.
"""

from __future__ import annotations

from relay.broker import parts, places, reports, retry
from relay.broker.books import Books, job_number
from relay.broker.events import Asked, Message
from relay.broker.model import ARCHIVE, Agent, Attachment, Job, Member
from relay.broker.said import index_of, number, text
from relay.broker.states import JobState

MOST_NAMES = 1000  # of inputs, of outputs
_NAME = 1024
_KEY = (16, 64)  # characters: hex digits that a client draws
_AGAIN_S = 0.15
_AT_ONCE = 8  # sessions of one user with the depot: each is a process of the relay's
_BUSY_S = 1.0
_TAKES = ("started", "ended", "refused", "watchers", "unused", "left")


# ------------------------------------------------------------------------------------- submissions


def sandbox_of(spec: Message) -> Message | str | None:
    """What a submitted spec says of its sandboxes; None: it has none; a text: what is wrong."""
    wants = spec.get("job")
    if not isinstance(wants, dict) or not (wants.get("inputs") or wants.get("outputs")):
        return None
    out: Message = {}
    for which in ("inputs", "outputs"):
        names = wants.get(which) or []
        good = isinstance(names, list) and len(names) <= MOST_NAMES
        if not good or not all(isinstance(n, str) and 0 < len(n) <= _NAME for n in names):
            return f"{which}: at most {MOST_NAMES} names of {_NAME} characters"
        out[which] = names
    key = wants.get("sandbox") or ""
    if not _is_key(key) and (key or out["inputs"]):
        return "inputs need the key they were uploaded with"
    out["key"] = key
    if spec.get("crew"):
        out["first"] = True  # its program, and so its outputs, are at the first member only
    return out


def _is_key(key: object) -> bool:
    least, most = _KEY
    return isinstance(key, str) and least <= len(key) <= most and key.isascii() and key.isalnum()


def bound(b: Books, user: str, key: object) -> bool:
    """Is it a job's already? With that one its files go."""
    jobs = b.jobs_of.get(user, {}).values()
    return any(job.sandbox is not None and job.sandbox["key"] == key for job in jobs)


def bind(b: Books, job: Job, sandbox: Message | str | None) -> None:
    """The job has this sandbox from now on."""
    if isinstance(sandbox, dict):
        job.sandbox = sandbox
        sandbox["key"] = sandbox["key"] or f"job{job.id:013d}"
        _tell_bound(b, job)


def _tell_bound(b: Books, job: Job) -> None:
    assert job.sandbox is not None
    b.tell_agent(ARCHIVE, {"m": "sandbox", "user": job.user, "key": job.sandbox["key"],
                           "job": str(job.id)})  # fmt: skip


# --------------------------------------------------------------------------------------- stage in


def on_placed(b: Books, job: Job) -> bool:
    """Files have to be there before it starts: have them brought. False: nothing has to."""
    if job.sandbox is None or not job.sandbox["inputs"]:
        return False
    job.go(JobState.STAGE_IN)
    job.held_until = None
    for index, member in enumerate(job.members):
        member.staged = ""
        b.tell_agent(member.agent_id, {"m": "workdir", "job": str(job.id), "index": index,
                                       "attempt": job.attempt})  # fmt: skip
    b.keep(job)
    _order_all(b, job)
    return True


def _order_all(b: Books, job: Job) -> None:
    for index, member in enumerate(job.members):
        _order(b, job, index, member)


def _order(b: Books, job: Job, index: int, member: Member) -> None:
    """Say to the archive what is to be done for this member; may be repeated."""
    agent = b.agents.get(member.agent_id)
    if job.sandbox is None or agent is None or agent.conn is None:
        return  # when it comes back
    way = "stage-in" if job.state is JobState.STAGE_IN else "stage-out"
    if member.staged == way:
        return
    b.tell_agent(ARCHIVE, {
        "m": way, "job": str(job.id), "index": index, "agent": agent.id, "agents_of": agent.user,
        "user": job.user, "key": job.sandbox["key"],
        "names": job.sandbox["inputs" if way == "stage-in" else "outputs"],
    })  # fmt: skip


def on_said(b: Books, archive: Agent, message: Message) -> bool:
    """A word of the archive's that is about sandboxes, or about a step of the depot's."""
    kind = message.get("m")
    if kind in _TAKES:
        getattr(reports, f"on_{kind}", lambda *_: None)(b, archive, message)
    elif kind in ("staged", "stage-failed"):
        job = b.jobs.get(job_number(message.get("job")) or 0)
        index = index_of(message)
        if job is not None and 0 <= index < job.size:
            _on_staged(b, job, index, message)
    else:
        return False
    return True


def _on_staged(b: Books, job: Job, index: int, message: Message) -> None:
    member = job.members[index]
    way = "stage-in" if job.state is JobState.STAGE_IN else "stage-out"
    if message.get("way") != way or member.agent_id != message.get("agent"):
        return  # of an earlier placement
    if job.state is JobState.STAGE_IN:
        _staged_in(b, job, member, message)
    elif job.state is JobState.STAGE_OUT:
        missing = message.get("missing")
        missing = [str(m)[:200] for m in missing[:100]] if isinstance(missing, list) else []
        failed = text(message, "why") if message.get("m") == "stage-failed" else ""
        member.output = {"files": number(message, "files"), "bytes": number(message, "bytes"),
                         "missing": missing, "error": failed}  # fmt: skip
        member.staged = way
        if not failed:
            b.tell_agent(member.agent_id, {"m": "staged-out", "job": str(job.id), "index": index})
        _check_out(b, job)


def _staged_in(b: Books, job: Job, member: Member, message: Message) -> None:
    if message.get("m") == "stage-failed":
        why = text(message, "why") or "its input could not be brought there"
        if message.get("final"):
            b.finish(job, JobState.FAILED, f"stage-in: {why}")
        else:
            job.avoid[member.agent_id] = b.now + b.settings.avoid_s
            places.displace(b, job)
        places.place_all(b, job.user)
        return
    member.staged = "stage-in"
    b.keep(job)
    if _all_there(job):
        start(b, job)


def _all_there(job: Job) -> bool:
    return all(member.staged == "stage-in" for member in job.members)


def start(b: Books, job: Job) -> None:
    """Tell the agents of a job without a client to start it."""
    for index in range(job.size):
        _start(b, job, index)
    places.hold_until(b, job, b.settings.start_s)


def _start(b: Books, job: Job, index: int) -> None:
    b.tell_agent(job.members[index].agent_id, {
        "m": "start", "job": str(job.id), "index": index, "size": job.size,
        "user": job.user, "pool": job.pool, "spec": job.spec, **job.how(index),
        **({"token": True} if retry.counts(b, job) else {}),
    })  # fmt: skip


# -------------------------------------------------------------------------------------- stage out


def on_all_over(b: Books, job: Job) -> bool:
    """All its members have ended: is there something to be kept first? False: nothing is."""
    if job.sandbox is None or not job.sandbox["outputs"] or job.canceled or not job.started:
        return False
    if job.state is JobState.STAGE_OUT:
        return True
    job.go(JobState.STAGE_OUT)
    for index, member in enumerate(job.members):
        agent = b.agents.get(member.agent_id)
        if index and job.sandbox.get("first"):
            _no_output(member, "")
        elif member.started_at is None or agent is None:
            _no_output(member, member.error or "it did not run")
        else:
            _order(b, job, index, member)
    b.keep(job)
    _check_out(b, job)
    return True


def _no_output(member: Member, why: str) -> None:
    member.staged = "stage-out"
    member.output = {"files": 0, "bytes": 0, "missing": [], "error": why}


def _check_out(b: Books, job: Job) -> None:
    b.keep(job)
    if all(m.staged == "stage-out" for m in job.members):
        parts.finish(b, job)


# ------------------------------------------------------------------------- who comes and who goes


def on_archive_back(b: Books) -> None:
    """It says hello: what there is, then what is to be done. Keys it is not told go."""
    if not any(a.user == ARCHIVE for a in b.agents.values()):
        return
    for job in b.jobs.values():
        if job.sandbox is not None:
            _tell_bound(b, job)
            if job.state in (JobState.STAGE_IN, JobState.STAGE_OUT):
                _order_all(b, job)
    b.tell_agent(ARCHIVE, {"m": "sandboxes"})


def on_agent_back(b: Books, agent: Agent) -> None:
    for job, index in _staging_at(b, agent):
        member = job.members[index]
        _order(b, job, index, member)
        ready = job.state is JobState.STAGE_IN and all(m.staged for m in job.members)
        if ready and not member.phase and member.started_at is None:
            _start(b, job, index)  # it may not have heard that; twice means once
            places.hold_until(b, job, b.settings.start_s)


def on_agent_gone(b: Books, agent: Agent, why: str) -> None:
    """What was to be fetched there never will be; who waits for input there is placed anew by
    `reports.lose`."""
    for job, index in _staging_at(b, agent):
        if job.state is JobState.STAGE_OUT:
            _no_output(job.members[index], why)
            _check_out(b, job)


def _staging_at(b: Books, agent: Agent) -> list[tuple[Job, int]]:
    return [
        (job, index)
        for job in b.jobs_of_places(agent)
        if job.sandbox is not None and job.state in (JobState.STAGE_IN, JobState.STAGE_OUT)
        for index, member in enumerate(job.members)
        if member.agent_id == agent.id and member.staged != "stage-out"
    ]


# ----------------------------------------------------------------------- openings of these sessions


def open_for_archive(b: Books, event: Asked, att: str) -> tuple[Job, str] | None:
    """The archive wants to talk with the agent where a member's files are to be, or are. None:
    it was refused."""
    named = text(event.body, "stage", 32)
    name, _, index = named.partition(".")
    job = b.jobs.get(job_number(name) or 0)
    at = int(index) if index.isdecimal() and len(index) <= 7 else -1
    if (
        event.body.get("service") != "files"
        or job is None
        or job.sandbox is None
        or job.state not in (JobState.STAGE_IN, JobState.STAGE_OUT)
        or not 0 <= at < job.size
    ):
        b.refuse(event.ask, event.user, att, "denied", "the archive runs nothing but what it must")
        return None
    agent = b.agents.get(job.members[at].agent_id)
    if agent is None or agent.conn is None:
        b.refuse(event.ask, event.user, att, "again", "the agent is away", _AGAIN_S)
        return None
    return _helper(b, event, att, job.user, agent, stage=named, pool=agent.pool), agent.id


def open_depot(b: Books, event: Asked, att: str) -> tuple[Job, str] | None:
    """A user wants to put inputs into the depot, or to fetch a job's outputs from it. None: it was
    refused."""
    body, user = event.body, event.user
    archive = b.agents.get(ARCHIVE)
    if archive is None or archive.conn is None:
        b.refuse(event.ask, user, att, "again", "the relay's depot is away", _AGAIN_S)
        return None
    here = [b.jobs[number] for number, _ in archive.here if number in b.jobs]
    if att not in b.atts and sum(job.user == user for job in here) >= _AT_ONCE:
        why = f"{_AT_ONCE} sessions of yours with the relay's depot are enough at a time"
        b.refuse(event.ask, user, att, "again", why, _BUSY_S)
        return None
    if body.get("job"):
        job = b.shown_job(body["job"])
        if job is None or job.user != user or job.sandbox is None:
            b.refuse(event.ask, user, att, "none", "no such job of yours has a sandbox")
            return None
        depot = {"key": job.sandbox["key"], "part": "out"}
    else:
        key = body.get("sandbox")
        if not _is_key(key) or bound(b, user, key):
            b.refuse(event.ask, user, att, "denied", "that is no key of a new sandbox")
            return None
        depot = {"key": str(key), "part": "in"}
    return _helper(b, event, att, user, archive, depot=depot), ARCHIVE


def _helper(
    b: Books,
    event: Asked,
    att: str,
    user: str,
    agent: Agent,
    stage: str = "",
    depot: Message | None = None,
    pool: str = "",
) -> Job:
    """A step of service `files` that needs no place."""
    known = b.atts.get(att)
    if known is not None:
        return b.jobs[known.job_id]
    member = Member(att=att, cred=event.credential, agent_id=agent.id, host=agent.host)
    job = Job(b.new_id(), user, b.now, [member], JobState.HELD, service="files", stage=stage,
              depot=depot, pool=pool, joined=True)  # fmt: skip
    b.add_job(job)
    b.add_att(job, Attachment(att, event.user, job.id, 0, "rw", event.credential))
    agent.put((job.id, 0), 0)
    places.hold_until(b, job, b.settings.start_s)
    return job
