"""Data connections that wait at a door: openings, attachments, resumptions.

Every ask is answered at once, but for a group's first ones, which wait (until a deadline) for the
rest.
"""

from __future__ import annotations

from gshell.errors import UsageError
from gshell.model.sanitize import sanitize
from relay.broker import after, archiving, matching, places, rights, shares, staging, why
from relay.broker.books import Books, job_number
from relay.broker.events import Asked, AskGone, AskId, Pair, Refuse, Unjoined
from relay.broker.model import ARCHIVE, Agent, Attachment, Job, Member
from relay.broker.said import text
from relay.broker.states import JobState
from relay.broker.wants import Wants

SERVICES = ("files", "forward", "ssh")  # the agent's own programs: gshell/agent/services
_OF_SERVICES = ("beside", "service", "stage", "depot")  # said in `expect`
_ATT_CHARS = 64  # an att is 32 hex digits; a little more is no reason to break
_VIA_CHARS = 80
_RETRY_S = 0.15  # what an agent away for a moment needs to dial again


def on_ask(b: Books, event: Asked) -> None:
    body = event.body
    att, op = body.get("att"), body.get("op")
    if not isinstance(att, str) or not 16 <= len(att) <= _ATT_CHARS or not att.isalnum():
        b.refuse(event.ask, event.user, "", "denied", "the request names no attachment")
    elif op == "open" and rights.is_guest(rights.Visitor(event.user)):
        b.refuse(event.ask, event.user, att, "denied", rights.NOT_A_GUEST_S)
    elif op == "open" and (event.user == ARCHIVE or body.get("archive") is True):
        _open_files(b, event, att)
    elif op == "open":
        _open(b, event, att)
    elif op in ("attach", "resume"):
        _attach(b, event, att)
    else:
        b.refuse(event.ask, event.user, att, "denied", "this relay does not know that operation")


def on_ask_gone(b: Books, event: AskGone) -> None:
    job_id = b.asks.pop(event.ask, None)
    if job_id is None:
        return
    job = b.jobs[job_id]
    for index in [i for i, ask in job.asks.items() if ask == event.ask]:
        del job.asks[index]


def on_unjoined(b: Books, event: Unjoined) -> None:
    b.tell_agent(event.agent_id, {"m": "unexpect", "att": event.att})
    att = b.atts.get(event.att)
    if att is not None:
        b.remember_why(att.user, att.att, "again", "the agent had no connection free in time")


# ------------------------------------------------------------------------------------------ opening


def _open_files(b: Books, event: Asked, att: str) -> None:
    """A session of the archive's with an agent, or of a user's with the archive's depot."""
    known = b.atts.get(att)
    if known is not None and known.user != event.user:
        b.refuse(event.ask, event.user, att, "none", "there is no such attachment")
        return
    if known is not None and known.dead:
        b.refuse(event.ask, event.user, att, "denied", known.dead)
        return
    if event.user == ARCHIVE:
        found = staging.open_for_archive(b, event, att)
    elif event.body.get("service") != "files" or b.crowded(event.user):
        b.refuse(event.ask, event.user, att, "denied", "the depot has files, no more")
        return
    else:
        found = staging.open_depot(b, event, att)
    if found is not None:
        _join(b, found[0], 0, event.ask, "open", att, event.user)


def _open(b: Books, event: Asked, att: str) -> None:
    ask, user = event.ask, event.user
    known = b.atts.get(att)
    if known is not None:
        if known.user != user:
            b.refuse(ask, user, att, "none", "there is no such attachment")
            return
        if known.dead:
            b.refuse(ask, user, att, "denied", known.dead)
            return
        job = b.jobs[known.job_id]
        index = known.index
        if job.members[index].att != att:  # of somebody who looks on: it opens nothing
            b.refuse(ask, user, att, "denied", "that attachment has opened nothing")
            return
    else:
        opening = _new_opening(b, event, att)
        if opening is None:
            return
        job, index = opening
    if job.started or (job.placed and job.joined):
        _join(b, job, index, ask, "open", att)
        return
    older = job.asks.pop(index, None)
    if older is not None:
        b.asks.pop(older, None)
        b.refuse(older, user, att, "again", "a newer connection took its place", _RETRY_S)
    job.asks[index] = ask
    b.asks[ask] = job.id
    if job.placed:
        if len(job.asks) == job.size:
            _join_all(b, job)
        else:
            _wait_for_group(b, job)
        return
    places.place_all(b, user)
    if b.jobs.get(job.id) is job and not job.placed:
        if job.complete:
            _send_away(b, job, "queued", why.text(b, job))
            if job.warm:
                b.forget(job)
                return
            b.keep(job)
            if not job.awaits:
                places.abandon_later(b, job)
        else:
            _wait_for_group(b, job)


def _new_opening(b: Books, event: Asked, att: str) -> tuple[Job, int] | None:
    ask, user, body = event.ask, event.user, event.body
    tasks, size, index = body.get("tasks", 1), body.get("size", 1), body.get("index", 0)
    pin, group, warm = body.get("agent") or "", body.get("group") or "", bool(body.get("warm"))
    pool, ranks = body.get("pool") or "", body.get("ranks", 0)
    beside, service = body.get("beside") or "", body.get("service") or ""
    numbers = all(
        isinstance(n, int) and not isinstance(n, bool) for n in (tasks, size, index, ranks)
    )
    if (
        not numbers
        or not (1 <= tasks <= 1 << 20 and 1 <= size <= b.settings.group_size and 0 <= index < size)
        or not 0 <= ranks <= 1 << 20
        or not (isinstance(pin, str) and isinstance(group, str) and len(group) <= _ATT_CHARS)
        or not isinstance(pool, str)
        or (size > 1 and (not group or warm))
        or (pool and warm)
        or service not in ("", *SERVICES)
        or not isinstance(beside, str)
        or ((beside or service) and (warm or size > 1))
    ):
        b.refuse(ask, user, att, "denied", "the request makes no sense")
        return None
    try:
        wants = Wants.parse(body)
    except UsageError as error:
        b.refuse(ask, user, att, "denied", error.message)
        return None
    if wrong := matching.complaint(b, wants):
        b.refuse(ask, user, att, "denied", wrong)
        return None
    if wrong := after.complaint(b, user, wants.after):
        b.refuse(ask, user, att, "none", wrong)
        return None
    if beside:
        where = _beside(b, user, beside)
        if where is None:
            b.refuse(ask, user, att, "none", f"no job {beside[:20]} of yours runs")
            return None
        pin, pool = where.id, where.pool
    if pool and not rights.in_pool(b, user, pool):
        b.refuse(ask, user, att, "none", f"there is no pool {pool[:80]} of yours")
        return None
    able = b.pools.get(pool, {}) if pool else b.agents_of.get(user, {})
    if pin and (pin not in able or able[pin].pool != pool):
        b.refuse(ask, user, att, "none", f"there is no agent {pin[:80]}")
        return None
    if b.crowded(user):
        b.refuse(ask, user, att, "full", "too many jobs of yours wait or run")
        return None
    if warm and _warm_count(b, user) >= b.settings.warm_per_user:
        b.refuse(ask, user, att, "full", "too many openings ahead of use")
        return None
    job_id = b.groups.get((user, group)) if size > 1 else None
    if job_id is None:
        members = [Member() for _ in range(size)]
        group = group if size > 1 else ""
        job = Job(b.new_id(), user, b.now, members, warm=warm, group=group, pool=pool,
                  beside=beside, service=service, wants=wants, name=wants.name)  # fmt: skip
        job.lane = wants.lane or ("interactive" if body.get("pty") is True else "batch")
        b.add_job(job)
        after.begin(b, job)
        after.watch_deadline(b, job)
        b.queue(job)  # in its turn; it is offered when all of it is known
    else:
        job = b.jobs[job_id]
        if job.state is not JobState.NEW and not job.members[min(index, job.size - 1)].att:
            b.refuse(ask, user, att, "none", job.error or "its group is over")
            return None
        if job.size != size or job.pool != pool or job.members[index].att:
            b.refuse(ask, user, att, "denied", "two openings of one group contradict each other")
            return None
    member = job.members[index]
    member.att, member.tasks, member.pin, member.cred = att, tasks, pin, event.credential
    member.ranks = ranks
    b.add_att(job, Attachment(att, user, job.id, index, credential=event.credential))
    if job.complete:
        job.go(JobState.QUEUED)
        b.offer(job)
    return job, index


def _beside(b: Books, user: str, named: str) -> Agent | None:
    """Where this member ("JOB" or "JOB.INDEX") of a job of the user's own runs."""
    number, _, index = named.partition(".")
    job = b.shown_job(number)
    if job is None or job.user != user or not (index or "0").isdecimal() or len(index) > 4:
        return None
    at = int(index or 0)
    if not job.started or at >= job.size or job.members[at].ended_at is not None:
        return None
    return b.agents.get(job.members[at].agent_id)


def _warm_count(b: Books, user: str) -> int:
    agents = b.agents_of.get(user, {}).values()
    here = [b.jobs[key[0]] for agent in agents for key in agent.here if key[0] in b.jobs]
    return sum(1 for job in here if job.warm and not job.started)


def _wait_for_group(b: Books, job: Job) -> None:
    if job.asks_until is not None:
        return
    job.asks_until = when = b.now + b.settings.group_s

    def check() -> None:
        if job.asks_until != when or b.jobs.get(job.id) is not job:
            return
        job.asks_until = None
        if job.joined:
            return
        if job.asks:
            _send_away(b, job, "again", "the other openings of its group did not come")
        if not job.complete:
            b.forget(job)
            places.place_all(b, job.user)

    b.at(when, check)


def _send_away(b: Books, job: Job, code: str, why: str) -> None:
    for index, ask in job.asks.items():
        b.asks.pop(ask, None)
        b.refuse(ask, job.user, job.members[index].att, code, why, _RETRY_S)
    job.asks.clear()


def on_placed(b: Books, job: Job) -> None:
    """The job has just got its places: start it, join those who are here, call those who wait."""
    if job.spec is not None:
        if not staging.on_placed(b, job):
            staging.start(b, job)
        return
    for conn, re in job.awaits:
        b.answer(conn, re, job=str(job.id))
    job.awaits.clear()
    job.told = None
    if len(job.asks) == job.size:
        _join_all(b, job)
    else:
        places.hold_until(b, job, b.settings.held_s)


def _join_all(b: Books, job: Job) -> None:
    job.joined = True
    b.keep(job)
    job.asks_until = None
    asks, job.asks = job.asks, {}
    for index, ask in sorted(asks.items()):
        b.asks.pop(ask, None)
        _join(b, job, index, ask, "open", job.members[index].att)
    if not job.warm:
        places.hold_until(b, job, b.settings.start_s)


def _join(b: Books, job: Job, index: int, ask: AskId, op: str, att: str, user: str = "") -> None:
    """Tell the agent who comes, then join; in this order on one connection of ours to the door."""
    member = job.members[index]
    known = b.atts.get(att) or Attachment(att, user or job.user, job.id, index)
    agent = b.agents.get(_where(b, member, known, op))
    if job.state.final and member.started_at is None:
        b.refuse(ask, known.user, att, "none", job.error or "it never ran")
    elif agent is None and member.ended_at is not None:
        b.refuse(ask, known.user, att, "gone", archiving.why_not_kept(b, job, member))
    elif agent is None:
        b.refuse(ask, known.user, att, "none", "the agent that had it is gone")
    elif agent.conn is None:
        b.refuse(ask, known.user, att, "again", f"agent {agent.id} is away", _RETRY_S)
    else:
        known.at, known.boot = agent.id, agent.boot
        if member.ended_at is not None and op == "attach":  # in case its agent has it no more
            b.remember_why(known.user, att, "gone", archiving.why_not_kept(b, job, member))
        own = {key: value for key in _OF_SERVICES if (value := getattr(job, key))}
        b.send(agent.conn, {
            "m": "expect", "att": att, "job": str(job.id), "index": index, "size": job.size,
            "user": known.user, "owner": job.user, "rights": known.rights, "op": op,
            "until": known.until, "share": known.share, "cred": known.credential,
            "pool": job.pool, **own, **(job.how(index) if op == "open" else {}),
        })  # fmt: skip
        b.out.append(Pair(ask, agent.id, att))


def _where(b: Books, member: Member, known: Attachment, op: str) -> str:
    """Whom to join it with: what has ended is shown from the archive, if that has it. Who looks on
    already stays where he is while that is there."""
    here = known.at or member.agent_id
    if member.archived is None or known.user == ARCHIVE:
        return member.agent_id
    agent = b.agents.get(here)
    there = agent is not None and agent.conn is not None and known.boot in ("", agent.boot)
    stays = op == "resume" and there
    return here if stays else ARCHIVE


# ---------------------------------------------------------------------------------------- attaching


def _may_look(b: Books, job: Job, member: Member, user: str) -> bool:
    """May this user attach there at all?"""
    if user == ARCHIVE:
        return member.archive
    return rights.may(b, rights.Visitor(user), job, rights.READ)


def _attach(b: Books, event: Asked, att: str) -> None:
    ask, user, body = event.ask, event.user, event.body
    known = b.atts.get(att)
    number = job_number(body.get("job"))
    job = b.jobs.get(number) if number is not None else None
    index = body.get("index", 0)
    if known is not None and known.user == user:
        job, index = b.jobs[known.job_id], known.index
    elif known is not None or (job is not None and not job.shown):
        job = None  # another's, or an opening ahead of use: nothing there to look at
    if (
        job is None
        or not isinstance(index, int)
        or not 0 <= index < job.size
        or not _may_look(b, job, job.members[index], user)
    ):
        _no_such_job(b, event, att)
        return
    if known is not None and known.dead:
        b.refuse(ask, user, att, "denied", known.dead)
        return
    wanted = "rw" if body.get("rights") == "rw" else "r"
    share = None
    if user not in (job.user, ARCHIVE):
        by = known.share if known is not None else str(body.get("share") or "")
        share = rights.share_to_attach(b, user, job, att, wanted, by)
        if share is None or (known is not None and known.share != share.id):
            _no_such_job(b, event, att)
            return
    member = job.members[index]
    if not member.agent_id and not job.started:
        b.refuse(ask, user, att, "queued", "it has not started yet", _RETRY_S)
        return
    if known is None and (body["op"] == "attach" or share is not None):
        if len(job.atts) >= b.settings.atts_per_job:
            b.refuse(ask, user, att, "full", "too many have attached to it")
            return
        if user == ARCHIVE or member.archived is not None:
            wanted = "r"
        fresh = Attachment(att, user, job.id, index, wanted, event.credential)
        if share is not None:
            fresh.rights = wanted if share.rights == "rw" else "r"
            fresh.share, fresh.until = share.id, share.until
            shares.used(b, share, att)
        b.add_att(job, fresh)
        if user != ARCHIVE:
            how = {"share": fresh.share, "via": sanitize(text(body, "via", _VIA_CHARS))}
            how = {key: value for key, value in how.items() if value}
            b.audit(user, "attach", f"job {job.id}", "ok", event.source, rights=fresh.rights,
                    key=event.credential[:12], **how)  # fmt: skip
    _join(b, job, index, ask, body["op"], att, user)


def _no_such_job(b: Books, event: Asked, att: str) -> None:
    if shares.was_revoked(b, event.user, att):  # it comes back: that is news, and known why
        b.out.append(Refuse(event.ask, "none", 0.0))
    else:
        b.refuse(event.ask, event.user, att, "none", "there is no such job of yours")
    shown = f"job {str(event.body.get('job'))[:20]}"
    b.audit(event.user, "attach", shown, "none", event.source)
