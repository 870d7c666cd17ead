"""What a submitter decides: which command when, what to report. Pure; `worker` and `main` do it.

Invariants: a pilot is written down before the batch system is asked for it; nobody but the broker
starts or cancels one; what has ended is reported until the broker says that it knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gshell.errors import UsageError
from gshell.lrms.base import Queue, State, Status
from gshell.lrms.common import GONE
from gshell.model.sanitize import sanitize
from gshell.submitter import site as sites
from gshell.submitter.actions import (
    Action,
    AskInvite,
    AskSites,
    Cancel,
    Clear,
    Do,
    Done,
    Hunt,
    Hunted,
    Look,
    Looked,
    Lost,
    Poll,
    Polled,
    Refused,
    Result,
    Save,
    SaveSites,
    Say,
    Submit,
    Submitted,
    Work,
)
from gshell.submitter.pilot import Pilot
from gshell.submitter.site import Site

POLL_FIRST_S = 1.0
POLL_MOST_S = 15.0
POLL_GROWTH = 1.5
AD_S = 30.0  # no more often than this; while pilots wait somewhere
AD_IDLE_S = 300.0  # nobody needs it soon
AGAIN_S = 10.0  # what has ended is said again
WORDS = 300  # characters of a reason

STATES = {
    State.QUEUED: "queued", State.HELD: "queued", State.STARTING: "queued",
    State.RUNNING: "running", State.ENDING: "running", State.ENDED: "ended",
}  # fmt: skip


class _Pace:
    """How often a site is asked. Invariant: one poll at a time."""

    __slots__ = ("ad_at", "due_at", "error", "looking", "polling", "wait_s")

    def __init__(self) -> None:
        self.wait_s = POLL_FIRST_S
        self.due_at = 0.0
        self.polling = False
        self.looking = False
        self.ad_at = float("-inf")
        self.error = ""

    def hurry(self, now: float) -> None:
        self.wait_s = POLL_FIRST_S
        self.due_at = min(self.due_at, now + POLL_FIRST_S)

    def ease(self, now: float) -> None:
        self.due_at = now + self.wait_s
        self.wait_s = min(POLL_MOST_S, self.wait_s * POLL_GROWTH)


class Core:
    def __init__(
        self, sites: dict[str, Site], pilots: dict[str, Pilot], reliable: bool, now: float
    ) -> None:
        """``reliable``: ``pilots`` are all there ever were; else a pilot that is not among them
        is looked for by its name. Not by what all names of ours have in common: another relay's
        submitter has pilots there, too."""
        self.sites = sites
        self.pilots = pilots
        self.reliable = reliable
        self.superseded = False
        self._paces: dict[str, _Pace] = {}
        self._now = now

    def _pace(self, name: str) -> _Pace:
        return self._paces.setdefault(name, _Pace())

    @property
    def finished(self) -> bool:
        """No sites, no pilots: nobody needs us."""
        return self.superseded or (not self.sites and not self.pilots)

    # -- the relay

    def hello(self, id: str, host: str) -> dict[str, Any]:
        return {
            "m": "submitter", "submitter": id, "host": host, "sites": sorted(self.sites),
            "pilots": sorted(pilot.id for pilot in self.pilots.values() if not pilot.over),
        }  # fmt: skip

    def on_start(self, now: float) -> list[Action]:
        """Once, before the relay is dialled."""
        return [
            Do(pilot.site, Submit(pilot, True))  # whether it was, its name will tell
            for pilot in self.pilots.values()
            if pilot.state == "submitting"
        ]

    def on_registered(self, now: float) -> list[Action]:
        """The relay knows us (again): say all there is to say."""
        actions: list[Action] = []
        for pilot in self.pilots.values():
            if pilot.state == "new":
                actions.append(AskInvite(pilot.id, pilot.nodes, pilot.hours))
            elif pilot.state != "submitting":
                actions.append(self._say(pilot, now))
        for name in self.sites:
            self._pace(name).ad_at = float("-inf")
        return actions + self.tick(now)

    def on_sites(self, sites: dict[str, Site], now: float) -> list[Action]:
        """All that are reached from here, as the relay has them."""
        if sites == self.sites:
            return []
        for name in sites:
            if sites[name] != self.sites.get(name):
                self._pace(name).ad_at = float("-inf")
        self.sites = sites
        return [SaveSites(), *self.tick(now)]

    def on_message(self, message: dict[str, Any], now: float) -> list[Action]:
        kind, id = message.get("m"), str(message.get("pilot", ""))
        if kind == "superseded":
            self.superseded = True
            return []
        if kind == "site" and isinstance(message.get("site"), dict):
            return self._site(message["site"], bool(message.get("gone")), now)
        if kind == "pilot-submit" and id:
            return self._submit(id, message, now)
        if kind == "pilot-cancel" and id:
            return self._cancel(id, now)
        if kind == "pilot-look" and id in self.pilots:
            self._pace(self.pilots[id].site.name).hurry(now)
            return []
        if kind == "pilot-ok":
            pilot = self.pilots.get(id)
            if pilot is not None and pilot.over:
                del self.pilots[id]
                return [Save(), Do(pilot.site, Clear(id))]
        return []

    def _site(self, described: dict[str, Any], gone: bool, now: float) -> list[Action]:
        try:
            site = sites.read(described)
        except UsageError:
            return []  # of a newer relay
        others = {name: one for name, one in self.sites.items() if name != site.name}
        return self.on_sites(others if gone else {**others, site.name: site}, now)

    def _submit(self, id: str, message: dict[str, Any], now: float) -> list[Action]:
        pilot = self.pilots.get(id)
        if pilot is not None:
            return [] if pilot.state in ("new", "submitting") else [self._say(pilot, now)]
        site = self.sites.get(str(message.get("site")))
        if site is None:
            return [AskSites()]  # it is said again
        keys = ("nodes", "slots", "walltime", "memory", "queue", "name")
        pilot = Pilot(id, site, {key: message[key] for key in keys if message.get(key)})
        self.pilots[id] = pilot
        return [Save(), AskInvite(id, pilot.nodes, pilot.hours)]

    def on_invite(self, id: str, invite: str, why: str, now: float) -> list[Action]:
        """``why`` there is none, if there is none."""
        pilot = self.pilots.get(id)
        if pilot is None or pilot.state != "new":
            return []
        if not invite:
            return self._fail(pilot, f"no invite for its nodes: {why}", False, now)
        pilot.invite = invite
        pilot.state = "submitting"
        return [Save(), Do(pilot.site, Submit(pilot, not self.reliable))]

    def _cancel(self, id: str, now: float) -> list[Action]:
        pilot = self.pilots.get(id)
        if pilot is None:
            if not self.reliable and self.sites:
                return [Do(site, Hunt(id)) for site in self.sites.values()]
            return [_gone(id, "")]
        if pilot.over:
            return [self._say(pilot, now)]
        if pilot.state == "new":
            return self._end(pilot, "canceled before it was submitted", now)
        repeated, pilot.cancel = pilot.cancel, True
        if not pilot.lrms_id:
            return [Save()]
        self._pace(pilot.site.name).hurry(now)
        return [*([] if repeated else [Save()]), Do(pilot.site, Cancel({id: pilot.lrms_id}))]

    # -- the sites

    def on_result(self, site: Site, work: Work, result: Result, now: float) -> list[Action]:
        pace = self._pace(site.name)
        actions: list[Action] = []
        if isinstance(work, Poll):
            pace.polling = False
            pace.ease(now)
        if isinstance(work, Look):
            pace.looking = False
        match result:
            case Submitted(id, lrms_id):
                actions += self._submitted(id, lrms_id, now)
            case Refused(id, why, final):
                pilot = self.pilots.get(id)
                actions += self._fail(pilot, why, final, now) if pilot is not None else []
            case Polled(found, words):
                for id, status in found.items():
                    actions += self._status(id, status, words.get(id, ""), now)
            case Hunted(id, lrms_id):
                actions += self._hunted(site, id, lrms_id, now)
            case Looked(queues):
                pace.error = ""
                actions.append(Say({"m": "site-ad", "site": site.name,
                                    "ad": advertisement(site, queues), "error": ""}))  # fmt: skip
            case Lost(why):
                actions += self._lost(site, work, why, now)
            case Done():
                pass
        if not isinstance(result, Lost | Refused) and pace.error:
            pace.error = ""
            pace.ad_at = float("-inf")  # it is back
        return actions + self.tick(now)

    def _submitted(self, id: str, lrms_id: str, now: float) -> list[Action]:
        pilot = self.pilots.get(id)
        if pilot is None:
            return []
        pilot.lrms_id, pilot.state = lrms_id, "submitted"
        pilot.invite = ""  # it is at the site now
        self._pace(pilot.site.name).hurry(now)
        actions: list[Action] = [Save(), self._say(pilot, now)]
        if pilot.cancel:
            actions.append(Do(pilot.site, Cancel({id: lrms_id})))
        return actions

    def _status(self, id: str, status: Status, words: str, now: float) -> list[Action]:
        pilot = self.pilots.get(id)
        if pilot is None or pilot.over:
            return []
        state = STATES.get(status.state, pilot.state)
        reason = sanitize(status.reason, WORDS)
        told = (pilot.state, pilot.reason, pilot.start_at, pilot.position, pilot.hosts)
        pilot.start_at, pilot.position = status.start_at or pilot.start_at, status.position
        pilot.hosts = status.hosts or pilot.hosts
        if state == "ended":
            if pilot.cancel and reason in ("", GONE):
                reason = "canceled"
            elif reason == GONE:
                reason = f"its batch job {pilot.lrms_id} is gone"
            return self._end(pilot, _and_words(reason, words), now)
        pilot.state, pilot.reason = state, reason
        if told == (pilot.state, pilot.reason, pilot.start_at, pilot.position, pilot.hosts):
            return []
        if told[0] != state:
            self._pace(pilot.site.name).hurry(now)
            return [Save(), self._say(pilot, now)]
        return [self._say(pilot, now)]

    def _hunted(self, site: Site, id: str, lrms_id: str, now: float) -> list[Action]:
        if id in self.pilots:
            return []
        if not lrms_id:
            return [_gone(id, site.name)] if len(self.sites) == 1 else []
        pilot = self.pilots[id] = Pilot(id, site, {}, "submitted")
        pilot.lrms_id, pilot.cancel = lrms_id, True
        return [Save(), Do(site, Cancel({id: lrms_id})), self._say(pilot, now)]

    def _lost(self, site: Site, work: Work, why: str, now: float) -> list[Action]:
        pace = self._pace(site.name)
        actions: list[Action] = []
        if isinstance(work, Submit):
            actions += self._fail(work.pilot, f"{site.name}: {why}", False, now)
        if pace.error != why:
            pace.error = why
            actions.append(Say({"m": "site-ad", "site": site.name, "ad": {}, "error": why}))
        return actions

    def _fail(self, pilot: Pilot, why: str, final: bool, now: float) -> list[Action]:
        pilot.final = final
        return self._end(pilot, why, now, "failed")

    def _end(self, pilot: Pilot, why: str, now: float, state: str = "ended") -> list[Action]:
        pilot.state, pilot.reason, pilot.invite = state, sanitize(why, WORDS), ""
        return [Save(), self._say(pilot, now)]

    def _say(self, pilot: Pilot, now: float) -> Say:
        pilot.said_at = now
        return Say(pilot.report())

    # -- time

    def tick(self, now: float) -> list[Action]:
        actions: list[Action] = []
        live: dict[str, list[Pilot]] = {}
        for pilot in self.pilots.values():
            if pilot.over:
                if now - pilot.said_at >= AGAIN_S:
                    actions.append(self._say(pilot, now))
            elif pilot.lrms_id:
                live.setdefault(pilot.site.name, []).append(pilot)
        for name, pilots in live.items():
            pace = self._pace(name)
            if not pace.polling and now >= pace.due_at:
                pace.polling = True
                actions.append(Do(pilots[-1].site, Poll({p.id: p.lrms_id for p in pilots})))
        for site in self.sites.values():
            pace = self._pace(site.name)
            every = AD_S if site.name in live or pace.error else AD_IDLE_S
            if not pace.looking and now - pace.ad_at >= every:
                pace.looking, pace.ad_at = True, now
                actions.append(Do(site, Look()))
        return actions

    def next_at(self, now: float) -> float:
        """When `tick` has something to do, at the latest."""
        times = [now + AD_IDLE_S]
        names = {p.site.name for p in self.pilots.values() if p.lrms_id and not p.over}
        times += [self._pace(name).due_at for name in names if not self._pace(name).polling]
        times += [p.said_at + AGAIN_S for p in self.pilots.values() if p.over]
        for name in self.sites:
            pace = self._pace(name)
            if not pace.looking:
                times.append(pace.ad_at + (AD_S if name in names or pace.error else AD_IDLE_S))
        return min(times)


def _gone(id: str, site: str) -> Say:
    return Say({"m": "pilot", "pilot": id, "site": site, "state": "ended", "lrms_id": "",
                "reason": "not known here", "start_at": None, "position": None, "nodes": [],
                "final": False})  # fmt: skip


def _and_words(reason: str, words: str) -> str:
    """How a pilot ended, and what it said about it, if that was of ours."""
    lines = [line.strip() for line in words.splitlines() if line.startswith("gshell")]
    return "; ".join(part for part in (reason, lines[-1] if lines else "") if part)


def advertisement(site: Site, queues: Iterable[Queue]) -> dict[str, Any]:
    """What a site has, for matchmaking and for people. Queues may share nodes: they are not added
    up; the site's own queue counts, else the default one, else the largest."""
    listed = list(queues)
    mine = [queue for queue in listed if queue.name == site.queue] or [
        queue for queue in listed if queue.default and not site.queue
    ]
    best = max(mine or listed, key=lambda queue: queue.cpus or 0, default=None)
    ad: dict[str, Any] = {"lrms": site.lrms, "queues": [queue._asdict() for queue in listed]}
    if best is not None:
        ad.update(
            queue=best.name, cpus=best.cpus, free=best.cpus_free, nodes=best.nodes,
            nodes_free=best.nodes_free, cpus_per_node=best.cpus_per_node,
            memory_bytes=best.memory_bytes, walltime=best.walltime_s, running=best.running,
            waiting=best.waiting, up=best.up,
        )  # fmt: skip
    return ad
