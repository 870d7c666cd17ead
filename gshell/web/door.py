"""From a visit to a connection with its agent: dials, is refused, finds out why. For asyncio.

Each link is dialled once here; who waits and tries again is the visitor's page.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gshell.errors import AuthError, GshellError, LinkLost
from gshell.net.relays import relays_of
from gshell.net.tls import client_context
from gshell.web import relaytalk
from gshell.web.pipe import Pipe, Refused, dial

if TYPE_CHECKING:
    from gshell.web.visits import Visit

PASSING = ("again", "used", "garbled", "queued")
ENDED = "the share has ended, or was withdrawn"
SKEW_NEWS_S = 30.0
WORDS = {
    "time": "the gateway's clock and the relay's differ too much",
    "denied": "the relay does not allow it",
    "full": "the relay is at its limits",
    "gone": "the job has ended, and its output is not kept",
    "none": "the job is not there any more",
}


class Over(GshellError):
    """There is no use in trying again; ``code`` is a BYE's, or a door's."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


async def reach(visit: Visit, op: str) -> Pipe:
    """A verified connection to the agent that has the visit's job.

    Raises:
        LinkLost: not now.
        Over: never.
    """
    for last in (False, True):
        try:
            pipe = await _dialled(visit, op)
        except Refused as refused:
            if refused.code in PASSING:
                raise LinkLost(refused.message) from None
            if await _why(visit, refused.code) and not last:
                continue
            raise LinkLost(refused.message) from None
        except (AuthError, LinkLost) as error:
            await _why(visit, "")
            raise LinkLost(error.message) from None
        if visit.believes(pipe.tls.peer_uris()):
            return pipe
        pipe.close()
        if visit.asked_whose:
            break
        visit.asked_whose = True  # the job may run in a pool: the relay knows
        await _whose(visit)
    raise Over("what answered is not an agent of the job's owner", "denied")


async def _dialled(visit: Visit, op: str) -> Pipe:
    every = relays_of(visit.ticket.relays)
    where = every.address
    context = client_context(visit.ticket)
    try:
        pipe = await dial(where, context, lambda hello: visit.preamble(hello, op, time.time()))
    except LinkLost:
        every.failed(where)
        raise
    every.worked(where)
    return pipe


async def _whose(visit: Visit) -> None:
    try:
        answer, _ = await relaytalk.ask(visit.ticket, {"m": "jobs", "ids": [visit.job]})
    except AuthError:
        raise Over(ENDED, "revoked") from None
    found = answer.get("jobs")
    job = found[0] if isinstance(found, list) and found and isinstance(found[0], dict) else {}
    visit.trusts = "*" if job.get("pool") else str(job.get("user") or "")


async def _why(visit: Visit, code: str) -> bool:
    """Whether the same may work at once.

    Raises:
        Over: no, nor later. LinkLost: the relay cannot be asked.
    """
    try:
        answer, now = await relaytalk.ask(visit.ticket, {"m": "whynot", "att": visit.att})
    except AuthError:
        raise Over(ENDED, "revoked") from None
    if code == "time":
        before, visit.skew_s = visit.skew_s, now - time.time()
        if abs(visit.skew_s - before) > SKEW_NEWS_S:
            return True
    known = str(answer.get("code"))
    said = str(answer.get("message") or "") if answer.get("ok") else ""
    if known in ("revoked", "none", "gone", "denied") or (said and known not in PASSING):
        raise Over(said or WORDS.get(known, ENDED), known)
    if code in WORDS and known not in (*PASSING, "unknown"):
        raise Over(WORDS[code], code)
    return False
