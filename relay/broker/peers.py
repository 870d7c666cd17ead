"""Members of one job speak to each other: handed on, if both are who they say. Keeps nothing of it
but that they do: what one of them dies of, all do.
"""

from __future__ import annotations

import json

from relay.broker import retry
from relay.broker.books import Books, job_number
from relay.broker.events import Message
from relay.broker.model import Agent
from relay.broker.said import index_of, number

MAX_CHARS = 1 << 16  # of a message's body
BURST_CHARS = 64 << 20  # an agent may say so much at once...
CHARS_PER_S = 16 << 20  # ... and so much for long; what is beyond it says again, later
_LEAST = 100  # what the smallest costs: there may be very many of them


def on_peer(b: Books, agent: Agent, message: Message) -> None:
    """To another member's agent, with the sender's index as ``from``."""
    job_id, index = job_number(message.get("job")), index_of(message)
    to, attempt = number(message, "to", -1), number(message, "attempt", 1)
    job = b.jobs.get(job_id) if job_id is not None else None
    if job is None or not 0 <= index < job.size or job.members[index].agent_id != agent.id:
        _refuse(b, agent, message)
        return
    if attempt != job.attempt or not 0 <= to < job.size or not job.members[to].agent_id:
        _refuse(b, agent, message)
        return
    if any(type(message[key]) is not int for key in ("seq", "ok") if key in message):
        return
    body = message.get("body")
    size = len(json.dumps(body)) if body is not None else 0
    if size > MAX_CHARS or not _may_say(b, agent, max(size, _LEAST)):
        return
    if not job.together:
        job.together = True
        b.keep(job)
        lost = next((at for at, member in enumerate(job.members) if member.error), None)
        if lost is not None:  # before anybody had spoken
            retry.stop_others(b, job, lost)
    handed = {"m": "peer", "job": str(job.id), "index": to, "from": index, "attempt": attempt}
    handed.update({key: message[key] for key in ("seq", "ok", "body") if key in message})
    b.tell_agent(job.members[to].agent_id, handed)


def _refuse(b: Books, agent: Agent, message: Message) -> None:
    if not _may_say(b, agent, _LEAST):
        return
    job, index, to = str(message.get("job"))[:32], index_of(message), number(message, "to")
    b.send(agent.conn, {"m": "peer-no", "job": job, "index": max(0, index), "to": to,
                        "attempt": number(message, "attempt", 1)})  # fmt: skip


def _may_say(b: Books, agent: Agent, size: int) -> bool:
    """A bucket that fills with time."""
    since = max(0.0, b.now - agent.said_at)
    agent.said_chars = max(0.0, agent.said_chars - since * CHARS_PER_S)
    agent.said_at = b.now
    if agent.said_chars + size > BURST_CHARS:
        return False
    agent.said_chars += size
    return True
