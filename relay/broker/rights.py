"""Who may do what: the one place where it is decided. Knows owners, shares and standings; asks
nobody.

An owner may do everything with what is theirs. An administrator sees all jobs and agents, and may
end what runs; what it prints and what is typed there is not theirs. A sharee may look at one job,
with a writing share type there; a guest is a sharee who may nothing else. Whatever somebody may
not is answered as if it were not there.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from relay.broker.books import Books
from relay.broker.events import ConnUp, Message
from relay.broker.model import Agent, Job, Share

GUEST = "guest-"
"""Names of guests begin so, nobody else's does."""

SEE, WAIT, READ, TYPE, SIGNAL, CANCEL, SHARE, FORGET = (
    "see", "wait", "read", "type", "signal", "cancel", "share", "forget",
)  # fmt: skip
_OWNER = frozenset({SEE, WAIT, READ, TYPE, SIGNAL, CANCEL, SHARE, FORGET})
_TOLD_OF = (SIGNAL, CANCEL, SHARE, FORGET)  # refused, they go into the audit log too
_ADMIN = frozenset({SEE, WAIT, SIGNAL, CANCEL})
_SHARED = {"r": frozenset({SEE, READ}), "rw": frozenset({SEE, READ, TYPE})}

NOT_A_GUEST_S = "a guest may look at what was shared, no more"
_GUEST_VERBS = frozenset({"redeem", "jobs", "whoami", "whynot"})


class Party(Protocol):
    """Somebody who asks: a control connection, or who sent a preamble."""

    @property
    def user(self) -> str: ...

    @property
    def standing(self) -> str: ...


class Visitor(NamedTuple):
    """Who sent a preamble: as an owner or by a share, an administrator is nobody special there."""

    user: str
    standing: str = "user"


def is_guest(who: Party) -> bool:
    return who.standing == "guest" or who.user.startswith(GUEST)


def is_admin(who: Party) -> bool:
    return who.standing == "admin" and not is_guest(who)


def may_ask(who: Party, verb: object) -> bool:
    """May they use this verb at all? What about is the next question."""
    return not is_guest(who) or verb in _GUEST_VERBS


def may(b: Books, who: Party, job: Job, what: str) -> bool:
    """May they do this (one of the words above) with this job?"""
    if who.user == job.user:
        return what in _OWNER
    if is_admin(who) and what in _ADMIN:
        return True
    return any(what in _SHARED[share.rights] for share in shares_of(b, who.user, job))


def may_agent(b: Books, who: Party, agent: Agent) -> bool:
    """May they drain and stop it?"""
    return who.user == agent.user or is_admin(who)


def sees_agent(b: Books, who: Party, agent: Agent) -> bool:
    """Owners, and of a pool's agent its members."""
    return who.user == agent.user or (agent.pool != "" and in_pool(b, who.user, agent.pool))


def in_pool(b: Books, user: str, pool: str) -> bool:
    return pool in b.groups_of.get(user, ())


def shares_of(b: Books, user: str, job: Job) -> list[Share]:
    """By which they come to it, now."""
    found = (b.shares[share_id] for share_id in b.shares_for.get(job.id, ()))
    return [share for share in found if user in share.users and b.now < share.until]


def share_to_attach(
    b: Books, user: str, job: Job, att: str, rights: str, wanted: str
) -> Share | None:
    """The share by which ``user`` may make or mend the attachment ``att``: the best for ``rights``
    (that gives no more than asked for, if it can), or the ``wanted`` one."""
    able = [
        share for share in shares_of(b, user, job)
        if (not wanted or share.id == wanted) and (not share.once or share.att in ("", att))
    ]  # fmt: skip
    return max(able, key=lambda s: (s.rights == rights, not s.once, s.until), default=None)


# --------------------------------------------------------------------------------------------------


def whose(b: Books, up: ConnUp, re: Any, message: Message) -> str | None:
    """The user whose things are asked for, empty for everybody's; None: they are not to be seen,
    and that was answered."""
    user = message.get("user")
    if not message.get("everyone") and user in (None, "", up.user):
        return up.user
    if not is_admin(up):
        b.refuse_verb(up.conn, re, "denied", "only administrators see what is others'")
        return None
    return "" if message.get("everyone") else str(user)


def find_job(b: Books, up: ConnUp, re: Any, message: Message, what: str) -> Job | None:
    """The job that the message names, if they may do this with it; else they have their answer."""
    named = message.get("job")
    job = b.shown_job(named)
    if job is not None and may(b, up, job, what):
        return job
    b.refuse_verb(up.conn, re, "none", f"there is no job {shown(named)}", "gshell jobs --all")
    if what in _TOLD_OF:
        b.audit_of(up, what, f"job {shown(named)}", "none")
    return None


def find_agent(b: Books, up: ConnUp, re: Any, message: Message) -> Agent | None:
    """The agent that the message names, if they may drain and stop it; else they are answered."""
    named = message.get("agent")
    agent = b.agents.get(named) if isinstance(named, str) else None
    if agent is not None and may_agent(b, up, agent):
        return agent
    b.refuse_verb(up.conn, re, "none", f"there is no agent {shown(named)}", "gshell agents")
    b.audit_of(up, str(message.get("m")), f"agent {shown(named)}", "none")
    return None


def shown(value: object) -> str:
    return str(value)[:80] if isinstance(value, str | int) else "of that name"
