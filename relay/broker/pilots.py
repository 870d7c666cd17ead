"""Pilots: batch jobs that hold nodes for agents. Asked for, reported on, ended; and what hangs on
them.

A pilot is in the journal before its submitter hears of it. Until that one answers it is told again
and again, by the pilot's name: so nothing is submitted twice, and what is to end does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gshell.errors import UsageError
from relay.broker import partings, reports, rights, sites, supply
from relay.broker.books import Books
from relay.broker.events import ConnUp, Journal, Message
from relay.broker.model import Agent
from relay.broker.said import number, stamp, text
from relay.broker.sitemodel import (
    ENDED,
    OVER,
    QUEUED,
    RUNNING,
    SUBMITTED,
    Pilot,
    Site,
)
from relay.broker.wants import Wants

AT_ONCE = 64  # pilots of one request
NO_AGENT = "it ran, and no agent of it came"
_HOSTS = 1024  # of a pilot, remembered
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SHORT_S = 60.0  # agents that are gone before have done nobody any good
_BACK_S = 60.0  # after our restart: an agent whose pilot is over may still be there


def tell(b: Books, pilot: Pilot) -> None:
    """Say to its submitter what it has not answered, if it is there."""
    here = sites.find_submitter(b, pilot.user, pilot.submitter, pilot.host)
    if here is None:
        return
    pilot.told_at = b.now
    if pilot.canceled:
        b.send(here.conn, {"m": "pilot-cancel", "pilot": pilot.id})
        return
    pilot.attempts += 1
    b.unwritten_pilots[pilot.id] = pilot
    b.send(here.conn, {
        "m": "pilot-submit", "pilot": pilot.id, "site": pilot.site, "nodes": pilot.nodes,
        "slots": pilot.slots, "walltime": pilot.walltime, "memory": pilot.memory,
        "queue": pilot.queue, "name": f"gshell-{pilot.id}",
    })  # fmt: skip


def on_tick(b: Books) -> None:
    """Say again what was not answered; who lived by its agents only is over with the last."""
    for pilot in [pilot for pilot in b.blind.values() if not pilot.agents]:
        end(b, pilot, ENDED, "its submitter knows nothing of it, its agents are gone")
    for pilot in list(b.owed.values()):
        if b.now - pilot.told_at >= b.settings.pilot_repeat_s:
            tell(b, pilot)


# -------------------------------------------------------------------------------------- their lives


def room(b: Books, site: Site) -> int:
    """How many more pilots there may be, whoever asks for them."""
    live = b.pilots_of.get(site.user, {})
    here = sum(p.site == site.name for p in live.values())
    return min(b.settings.pilots_per_user - len(live), b.settings.pilots_per_site - here)


def start(
    b: Books, site: Site, nodes: int, slots: int, walltime: float, memory: int = 0,
    by_hand: bool = False, jobs: tuple[int, ...] = (),
) -> Pilot:  # fmt: skip
    """One more pilot: written down, then told to the site's submitter."""
    n = b.next_pilot
    b.next_pilot = n + 1
    b.out.append(Journal("meta", "next_pilot", {"value": b.next_pilot}))
    # Another relay's pilots may be at the same site: the letters tell ours from theirs.
    tag, letters = int(b.now * 1000.0), ""
    for _ in range(3):
        tag, rest = divmod(tag, len(_LETTERS))
        letters += _LETTERS[rest]
    pilot = Pilot(
        f"p{n}{letters}", site.user, site.name, b.now, nodes, slots, walltime, memory, site.queue,
        site.submitter, site.host, by_hand, jobs=jobs,
    )  # fmt: skip
    here = sites.submitter_of(b, site)
    if here is not None:
        pilot.submitter, pilot.host = here.id, here.host
    b.pilots[pilot.id] = pilot
    b.pilots_of.setdefault(pilot.user, {})[pilot.id] = pilot
    b.owed[pilot.id] = pilot
    keep(b, pilot)
    b.audit(pilot.user, "pilot-submit", f"pilot {pilot.id}", site=site.name, nodes=nodes,
            by_hand=by_hand)  # fmt: skip
    tell(b, pilot)
    return pilot


def keep(b: Books, pilot: Pilot) -> None:
    b.unwritten_pilots[pilot.id] = pilot
    b.scale.add(pilot.user)
    b.changed.add(pilot.user)


def cancel(b: Books, pilot: Pilot, why: str) -> None:
    """It is to end; it is over when its submitter says so."""
    if pilot.over or pilot.canceled:
        return
    pilot.canceled = why
    b.owed[pilot.id] = pilot
    keep(b, pilot)
    b.audit(pilot.user, "pilot-cancel", f"pilot {pilot.id}", why=why)
    tell(b, pilot)


def end(b: Books, pilot: Pilot, state: str, reason: str, final: bool = False) -> None:
    """It is over: its agents that are away do not come back."""
    short = pilot.came_at is not None and b.now - pilot.came_at < _SHORT_S
    early = pilot.came_at is None or (short and not pilot.released)
    pilot.state, pilot.ended_at = state, b.now
    pilot.reason = reason or pilot.reason
    partings.explain(b, pilot)
    pilot.position = None
    b.owed.pop(pilot.id, None)
    b.blind.pop(pilot.id, None)
    b.pilots_of[pilot.user].pop(pilot.id, None)
    keep(b, pilot)
    _remember(b, pilot)
    site = sites.find(b, pilot.user, pilot.site)
    if site is not None and early and pilot.canceled in ("", NO_AGENT):
        words = pilot.canceled or pilot.reason or "it ended, and no agent had come"
        sites.failed(b, site, words, pilot.made_at, final and not pilot.by_hand)
    for agent in agents_of(b, pilot):
        if agent.conn is None:
            reports.lose_agent(b, agent, partings.over_why(b, agent))


def release(b: Books, agent: Agent) -> None:
    """The agent is told to stop: its pilot will end, as it should."""
    pilot = b.pilots.get(agent.pilot)
    if pilot is not None and not pilot.over and not pilot.released:
        pilot.released = True
        keep(b, pilot)


def _remember(b: Books, pilot: Pilot) -> None:
    over = b.pilots_over.setdefault(pilot.user, {})
    over[pilot.id] = None
    while len(over) > b.settings.pilots_kept:
        oldest = next(iter(over))
        del over[oldest], b.pilots[oldest]
        b.unwritten_pilots.pop(oldest, None)
        b.out.append(Journal("batch", oldest, None))


def on_user_gone(b: Books, user: str) -> None:
    """A user was revoked: their invites are gone, so no pilot of theirs gets an agent any more."""
    for pilot in list(b.pilots_of.get(user, {}).values()):
        cancel(b, pilot, "its user was revoked")
        end(b, pilot, ENDED, "its user was revoked")
    for site in list(b.sites.get(user, {}).values()):
        sites.remove(b, site)


def restore(
    b: Books, of_sites: Iterable[Message], of_pilots: Iterable[Message], next_pilot: int
) -> None:
    """From the journal, after agents and jobs."""
    b.next_pilot = next_pilot
    for record in of_sites:
        site = Site.restored(record)
        if record.get("dropped"):
            b.dropped.add(site.key)
            continue
        b.sites.setdefault(site.user, {})[site.name] = site
    pilots = [Pilot.restored(record) for record in of_pilots]
    for pilot in sorted(pilots, key=lambda p: (p.ended_at or 0.0, p.made_at, len(p.id), p.id)):
        b.pilots[pilot.id] = pilot
        if pilot.over:
            b.pilots_over.setdefault(pilot.user, {})[pilot.id] = None
            continue
        b.pilots_of.setdefault(pilot.user, {})[pilot.id] = pilot
        if pilot.canceled or not pilot.reported:
            b.owed[pilot.id] = pilot
    for agent in b.agents.values():
        bound = b.pilots.get(agent.pilot)
        if bound is not None:
            bound.agents.add(agent.id)
            if bound.over:
                _lose_later(b, agent)
    b.scale.update(b.sites)


def _lose_later(b: Books, agent: Agent) -> None:
    def check() -> None:
        if agent.conn is None and b.agents.get(agent.id) is agent:
            reports.lose_agent(b, agent, partings.over_why(b, agent) or "agent lost")

    b.at(b.now + _BACK_S, check)


# ------------------------------------------------------------------------------------ what is heard


def on_report(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    """A submitter says how a pilot is."""
    here = b.submitters.get(up.conn)
    if here is None:
        b.refuse_verb(up.conn, re, "none", "this connection is no submitter's")
        return
    if re is not None:
        b.answer(up.conn, re)
    name, state = text(message, "pilot", 64), text(message, "state", 16)
    pilot = b.pilots.get(name)
    if pilot is None or pilot.user != up.user or pilot.over:
        done = state in OVER
        b.send(here.conn, {"m": "pilot-ok" if done else "pilot-cancel", "pilot": name})
        return
    if state not in (SUBMITTED, QUEUED, RUNNING, *OVER):
        b.log(f"submitter of {up.user}: pilot {name} is {state[:16]!r}, which means nothing")
        return
    before = pilot.record()
    b.blind.pop(name, None)
    _take(b, pilot, message, state)
    if state in OVER:
        end(b, pilot, state, text(message, "reason"), message.get("final") is True)
        b.send(here.conn, {"m": "pilot-ok", "pilot": name})
        return
    if not pilot.canceled:
        b.owed.pop(pilot.id, None)
    if pilot.record() != before:
        keep(b, pilot)


def _take(b: Books, pilot: Pilot, message: Message, state: str) -> None:
    pilot.lrms_id = text(message, "lrms_id", 64) or pilot.lrms_id
    pilot.reason = text(message, "reason")
    start_at = message.get("start_at")
    pilot.start_at = stamp(message, "start_at", 0.0) or None if start_at is not None else None
    position = number(message, "position", -1)
    pilot.position = position if position >= 0 and state != RUNNING else None
    hosts = message.get("nodes")
    if isinstance(hosts, list):
        pilot.hosts = tuple(h[: sites.HOST] for h in hosts[:_HOSTS] if isinstance(h, str))
    if state == RUNNING:
        pilot.running_at = pilot.running_at or min(pilot.start_at or b.now, b.now)
    elif state not in OVER:  # its batch system may have put it back into its queue
        pilot.running_at = None
    pilot.state = state if state not in OVER else pilot.state


def on_hello(b: Books, agent: Agent, message: Message) -> None:
    """An agent says where it is; that it is of a pilot, its name must tell, too."""
    agent.site = text(message, "site", 64)
    agent.lrms, agent.lrms_id = text(message, "lrms", 32), text(message, "lrms_id", 64)
    ends_at = message.get("ends_at")
    agent.ends_at = stamp(message, "ends_at", 0.0) or None if ends_at is not None else None
    try:
        agent.ad = Wants.parse({"job_ad": message.get("ad")}).job_ad
    except UsageError:
        agent.ad = {}
    agent.idle_since = agent.idle_since or b.now
    name, node = text(message, "pilot", 64), number(message, "node")
    pilot = b.pilots.get(name)
    if pilot is None or pilot.user != agent.user or agent.id != f"{name}.{node}":
        agent.pilot, agent.node = "", 0
        return
    agent.pilot, agent.node, agent.site = name, node, pilot.site
    if agent.ends_at is None:
        agent.ends_at = pilot.ends_at
    if agent.id in pilot.agents:
        return
    pilot.agents.add(agent.id)
    pilot.nodes_came = min(pilot.nodes, pilot.nodes_came + 1)
    if pilot.over:
        return
    pilot.came_at = pilot.came_at or b.now
    pilot.running_at = pilot.running_at or b.now
    if pilot.state != RUNNING:
        pilot.state, pilot.position = RUNNING, None
    if not pilot.canceled:
        b.owed.pop(pilot.id, None)
    keep(b, pilot)
    site = sites.find(b, pilot.user, pilot.site)
    if site is not None:
        sites.worked(b, site)
        if site.gives != agent.slots:
            site.gives = agent.slots
            sites.keep(b, site)
    supply.learn(b, agent)


def agents_of(b: Books, pilot: Pilot) -> list[Agent]:
    return [b.agents[name] for name in sorted(pilot.agents) if name in b.agents]


# -------------------------------------------------------------------------------------------- verbs


def pilot_view(b: Books, pilot: Pilot) -> Message:
    """PILOT of gshell/net/CONTROL.md."""
    return {
        "pilot": pilot.id, "site": pilot.site, "user": pilot.user, "state": pilot.state,
        "lrms_id": pilot.lrms_id, "nodes": pilot.nodes, "slots": pilot.slots,
        "walltime": pilot.walltime, "made_at": pilot.made_at, "start_at": pilot.start_at,
        "ends_at": pilot.ends_at, "ended_at": pilot.ended_at, "reason": pilot.reason,
        "position": pilot.position, "hosts": list(pilot.hosts), "agents": sorted(pilot.agents),
        "for": [str(job) for job in pilot.jobs], "attempts": pilot.attempts,
        "by_hand": pilot.by_hand, "canceled": pilot.canceled,
    }  # fmt: skip


def on_pilots(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    whose = rights.whose(b, up, re, message)
    if whose is None:
        return
    site, ended = text(message, "site", 64), bool(message.get("all"))
    found = [
        p for p in b.pilots.values()
        if whose in ("", p.user) and site in ("", p.site) and (ended or not p.over)
    ]  # fmt: skip
    b.answer(up.conn, re, pilots=[pilot_view(b, pilot) for pilot in found])


def on_start(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    """A person asks for pilots, work or no work."""
    site = sites.find(b, up.user, message.get("site"))
    if site is None:
        what = f"there is no site {rights.shown(message.get('site'))}"
        b.refuse_verb(up.conn, re, "none", what, "gshell sites")
        return
    try:
        walltime = Wants.parse({"walltime": message.get("walltime")}).walltime or site.walltime
    except UsageError as error:
        b.refuse_verb(up.conn, re, "usage", error.message)
        return
    nodes = number(message, "nodes", 0, sites.NODES) or site.nodes
    slots = number(message, "slots", 0, sites.SLOTS) or site.slots
    n = number(message, "n", 1)
    refused = why_not(b, site)
    if refused is not None and refused[0] != "backing-off":
        b.refuse_verb(up.conn, re, refused[0], refused[1], refused[2])
    elif not 1 <= n <= min(AT_ONCE, room(b, site)):
        most = max(0, min(AT_ONCE, room(b, site)))
        b.refuse_verb(up.conn, re, "full", f"{n} pilots: {most} more are possible", "gshell pilots")
    else:
        made = [start(b, site, nodes, slots, walltime, site.memory, True) for _ in range(n)]
        b.answer(up.conn, re, pilots=[pilot.id for pilot in made])


def why_not(b: Books, site: Site) -> tuple[str, str, str] | None:
    """Why no pilot can be had there now: (state, text, what to type); None: it can."""
    state, name = sites.state_of(b, site), site.name
    if state == "paused":
        return state, f"site {name} is paused {site.paused}", f"gshell site resume {name}"
    if state == "away":
        where = f" on host {site.host}" if site.host else ""
        return state, f"the submitter of {name}{where} is away", "gshell sites"
    if state == "backing-off":
        return state, f"site {name} failed: {site.error}", f"gshell site resume {name}"
    return None


def on_cancel(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    named = message.get("pilot")
    pilot = b.pilots.get(named) if isinstance(named, str) else None
    if pilot is None or pilot.user != up.user:
        what = f"there is no pilot {rights.shown(named)}"
        b.refuse_verb(up.conn, re, "none", what, "gshell pilots --all")
        return
    if pilot.over:
        b.refuse_verb(up.conn, re, "over", f"pilot {pilot.id} is over: {pilot.reason}")
        return
    cancel(b, pilot, f"canceled by {up.user}")
    b.answer(up.conn, re, pilot=pilot.id)
