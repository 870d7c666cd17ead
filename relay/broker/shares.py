"""Shares: a job shown to others for a while, by a link. Made, redeemed, ended.

A share's token is drawn by the shell, told once and kept as a hash. Who redeems it is written into
the share, and comes in through ordinary preambles afterwards (`rights`, `joins`).
"""

from __future__ import annotations

import hashlib
from typing import Any

from relay.broker import rights
from relay.broker.books import Books
from relay.broker.events import (
    Audit,
    Close,
    ConnUp,
    Cut,
    EnrolGuest,
    GuestAsked,
    Journal,
    Message,
    Send,
)
from relay.broker.model import Agent, Attachment, Job, Share
from relay.broker.said import text

SECONDS = 3600.0  # long enough to look at something together
MAX_SECONDS = 30 * 86400.0  # who needs it longer shares again, knowingly
MAX_USES = 1000
CUT_AFTER_S = 1.0  # an agent that hears of it says goodbye itself; then the door ends it
_ID_DIGITS = 8  # of the random digits: a name, no secret
_TOKEN_DIGITS = 32  # 128 bits at least
_NAME_CHARS = 64

NO_TOKEN = "that share is not valid: it has ended, was used, or is for somebody else"  # noqa: S105
ENDED = "the share has ended"
REVOKED = "the share was revoked"


def token_hash(token: str) -> str:
    """As tokens are stored."""
    return hashlib.sha256(token.encode("utf-8", "backslashreplace")).hexdigest()


def share_view(share: Share) -> Message:
    """SHARE of gshell/net/CONTROL.md, for its owner."""
    return {
        "id": share.id, "job": str(share.job_id), "rights": share.rights, "until": share.until,
        "uses_left": share.uses, "once": share.once, "to": share.to or None,
        "made_at": share.made_at, "users": list(share.users),
    }  # fmt: skip


# ------------------------------------------------------------------------------------------- verbs


def on_share(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    job = rights.find_job(b, up, re, message, rights.SHARE)
    if job is None:
        return
    share = _read(b, job, message)
    if isinstance(share, str):
        b.refuse_verb(up.conn, re, "usage", share, "gshell share --help")
        return
    if job.state.final and not job.started:
        b.refuse_verb(up.conn, re, "over", f"job {job.id} has ended")
        return
    if len(b.shares_for.get(job.id, ())) >= b.settings.shares_per_job:
        b.refuse_verb(up.conn, re, "full", "too many shares of that job", "gshell revoke ID")
        return
    share_id, token = b.drawn[:_ID_DIGITS], b.drawn[_ID_DIGITS:]
    assert len(token) >= _TOKEN_DIGITS
    if share_id in b.shares:
        b.refuse_verb(up.conn, re, "again", "that did not work", "try again")
        return
    share.id, share.hash = share_id, token_hash(token)
    _add(b, share)
    _keep(b, share)
    detail = {"rights": share.rights, "until": share.until, "job": str(job.id)}
    b.out.append(Audit(up.user, "share", share.id, "ok", up.source, detail))
    b.answer(up.conn, re, share=share_view(share), token=token)


def _read(b: Books, job: Job, message: Message) -> Share | str:
    """What is asked for, without a name yet; or what is wrong with it."""
    seconds, uses = message.get("seconds", SECONDS), message.get("uses")
    if message.get("rights", "r") not in ("r", "rw"):
        return "a share is r or rw"
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return "a share lasts a number of seconds"
    if not 1 <= seconds <= MAX_SECONDS:  # nor NaN, nor 10**400
        return "a share lasts from a second to 30 days"
    if uses is not None and (
        isinstance(uses, bool) or not isinstance(uses, int) or not 1 <= uses <= MAX_USES
    ):
        return f"a share is good for 1 to {MAX_USES} users, or any number"
    to = message.get("to")
    if to is not None and (not isinstance(to, str) or not 0 < len(to) <= _NAME_CHARS):
        return "that is not a user's name"
    if to == job.user:
        return "you may do all that already"
    once = message.get("once") is True
    return Share(
        id="", hash="", job_id=job.id, rights=message.get("rights", "r"), until=b.now + seconds,
        uses=1 if once else uses, once=once, to=to or "", made_at=b.now,
    )  # fmt: skip


def on_shares(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    mine = [share for job_id in b.jobs_of.get(up.user, ()) for share in _of_job(b, job_id)]
    mine = [share for share in mine if b.now < share.until]
    b.answer(up.conn, re, shares=[share_view(share) for share in mine])


def on_redeem(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    share = _good(b, message.get("token"), up.user)
    if share is None:
        b.out.append(Audit(up.user, "redeem", "", "none", up.source))
        b.refuse_verb(up.conn, re, "none", NO_TOKEN, "ask who shared it for a new link")
        return
    job = b.jobs[share.job_id]
    if up.user != job.user:
        _bind(b, share, up.user, up.source)
    b.answer(
        up.conn, re, job=str(job.id), size=job.size, owner=job.user, rights=share.rights,
        until=share.until, share=share.id, name=job.name,
    )  # fmt: skip


def on_guest(b: Books, event: GuestAsked) -> None:
    """Somebody without credentials came with a link. A guest is made for it: that is the
    redemption."""
    token = event.token.removeprefix("share.") if isinstance(event.token, str) else None
    share = _good(b, token, event.user)
    if share is None:
        b.out.append(Audit("", "guest", "", "none", event.source))
        error = {"m": "error", "code": "none", "message": NO_TOKEN}
        b.out += [Send(event.conn, error), Close(event.conn)]
        return
    _bind(b, share, event.user, event.source)
    b.out.append(EnrolGuest(event.conn, event.user, share.until))


def revoke_share(b: Books, up: ConnUp, share_id: object) -> bool:
    """End a share, if it is theirs."""
    share = b.shares.get(share_id) if isinstance(share_id, str) else None
    if share is None or not rights.may(b, up, b.jobs[share.job_id], rights.SHARE):
        return False
    b.out.append(Audit(up.user, "revoke", share.id, "ok", up.source))
    drop(b, share, REVOKED)
    return True


def on_revoke(b: Books, up: ConnUp, re: Any, message: Message) -> bool:
    """Whether it was a share of theirs."""
    what = message.get("what")
    if not revoke_share(b, up, what):
        return False
    b.answer(up.conn, re, revoked="share", id=what)
    return True


def _good(b: Books, token: object, user: str) -> Share | None:
    """The share that this token opens for this user: one that is theirs, or has a use left."""
    share_id = b.share_tokens.get(token_hash(token)) if isinstance(token, str) else None
    share = b.shares.get(share_id) if share_id is not None else None
    if share is None or b.now >= share.until or share.to not in ("", user):
        return None
    if user in share.users or user == b.jobs[share.job_id].user:
        return share
    if share.uses == 0 or len(share.users) >= MAX_USES:
        return None
    return share


def _bind(b: Books, share: Share, user: str, source: str) -> None:
    if user in share.users:
        return
    share.users.append(user)
    if share.uses is not None:
        share.uses -= 1
    _keep(b, share)
    b.out.append(Audit(user, "redeem", share.id, "ok", source))


# ------------------------------------------------------------------------------------------ records


def _of_job(b: Books, job_id: int) -> list[Share]:
    return [b.shares[share_id] for share_id in b.shares_for.get(job_id, ())]


def _add(b: Books, share: Share) -> None:
    b.add_share(share)

    def expire() -> None:
        if b.shares.get(share.id) is share:
            drop(b, share, ENDED)

    b.at(share.until, expire)


def _keep(b: Books, share: Share) -> None:
    b.out.append(Journal("share", share.id, share.record()))


def restore(b: Books, record: Message) -> None:
    """From the journal; one whose job is gone, or whose time is over, ends at the first tick."""
    share = Share.restored(record)
    if share.job_id in b.jobs:
        _add(b, share)
    else:
        b.at(b.now, lambda: b.out.append(Journal("share", share.id, None)))


# --------------------------------------------------------------------------------------------- ends


def drop(b: Books, share: Share, why: str) -> None:
    """It ends, and with it every attachment that hangs on it."""
    b.remove_share(share)
    job = b.jobs[share.job_id]
    atts = [b.atts[name] for name in job.atts if b.atts[name].share == share.id]
    end_attachments(b, atts, why)


def end_attachments(b: Books, atts: list[Attachment], why: str) -> None:
    """At once and for good: the agents say goodbye, the doors cut what then still stands."""
    told: dict[str, list[str]] = {}
    for att in atts:
        job = b.jobs[att.job_id]
        agent_id = job.members[att.index].agent_id
        b.remove_att(job, att)
        b.remember_why(att.user, att.att, "revoked", why)
        agent = b.agents.get(agent_id)
        if agent is None or agent.conn is None:
            b.out.append(Cut(att.att))
        else:
            told.setdefault(agent_id, []).append(att.att)
    for agent_id, names in told.items():
        b.tell_agent(agent_id, {"m": "revoke", "atts": names, "why": why})
        b.at(b.now + CUT_AFTER_S, lambda names=names: b.out.extend(map(Cut, names)))  # type: ignore[misc]


def was_revoked(b: Books, user: str, att: str) -> bool:
    return b.why.get((user, att), ("", ""))[0] == "revoked"


def on_left(b: Books, agent: Agent, message: Message) -> None:
    """An attachment by a share left for good; the single one of a single-use share ends it."""
    att = b.atts.get(text(message, "att", _NAME_CHARS))
    if att is None or not att.share:
        return
    job = b.jobs[att.job_id]
    if job.members[att.index].agent_id != agent.id:
        return
    b.remove_att(job, att)
    share = b.shares.get(att.share)
    if share is not None and share.once and share.att == att.att:
        drop(b, share, ENDED)


def used(b: Books, share: Share, att: str) -> None:
    """An attachment came in by it."""
    if share.once and not share.att:
        share.att = att
        _keep(b, share)
