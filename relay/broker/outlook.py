"""What a job that waits for a site is told: which pilot is on its way, or why none is."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from relay.broker import pilots, supply
from relay.broker.books import Books
from relay.broker.model import Job
from relay.broker.sitemodel import ASKED, RUNNING, Pilot, Site


def explain(
    b: Books, job: Job, at: Collection[str] | None = None
) -> tuple[str, float | None] | None:
    """(one line for a person, when it may start); None: no site has anything to do with it.
    ``at``: of a co-allocation, the sites where it still lacks something."""
    of = b.sites.get(job.user, {})
    if job.weightless or job.pool or any(m.pin for m in job.members):
        return None
    if not of and not job.wants.site:
        return None
    for name in job.wants.site:
        if name not in of:
            return f"there is no site {name} of yours; gshell sites", None
    found = coming(b, job, at)
    if found:
        best = min(found, key=lambda p: (p.state != RUNNING, p.start_at or float("inf"), p.made_at))
        return _of_pilot(b, best), _eta(b, best)
    could_wait = supply.could_run(b, job)
    if could_wait and not job.wants.site:
        return None  # all is in use, and no site has been asked yet
    reasons = [(site, pilots.why_not(b, site)) for site in _asked(b, job, at)]
    able = [site for site, refused in reasons if refused is None]
    if able and (len(able) == len(reasons) or not job.gathers):
        said = next(filter(None, (_of_site(b, site, job, could_wait) for site in able)), "")
        return (said, None) if said else None
    refusals = [(site, refused) for site, refused in reasons if refused is not None]
    if not refusals:
        return None
    site, refused = min(refusals, key=lambda pair: pair[1][0] != "backing-off")
    if refused[0] == "backing-off":
        return f"{refused[1]}; it is asked again at {clock(site.retry_at)}", site.retry_at
    return f"{refused[1]}; {refused[2]}", None


def coming(b: Books, job: Job, at: Collection[str] | None = None) -> list[Pilot]:
    """Pilots on their way that may be for it."""
    sites = {name for name in at or () if name} or set(job.wants.site)
    own = [
        p for p in b.pilots_of.get(job.user, {}).values()
        if supply.pending(p, b.now) and (p.site in sites or not sites)
    ]  # fmt: skip
    return [p for p in own if job.id in p.jobs] or own


def lacking(b: Books, job: Job) -> str:
    """What it wants that no pilot of its sites can have; empty: nothing that we know of."""
    found = [supply.too_much(site, job) for site in _asked(b, job, None)]
    return found[0] if found and all(found) else ""


def _asked(b: Books, job: Job, at: Collection[str] | None) -> list[Site]:
    of = b.sites.get(job.user, {})
    named = [name for name in at or () if name] or job.wants.site
    return [of[name] for name in named if name in of] or sorted(of.values(), key=lambda s: s.name)


def _of_pilot(b: Books, pilot: Pilot) -> str:
    site = b.sites.get(pilot.user, {}).get(pilot.site)
    if pilot.state == ASKED:
        refused = pilots.why_not(b, site) if site is not None else None
        if refused is not None and refused[0] == "away":
            return f"{refused[1]}; {refused[2]}"
        return f"pilot {pilot.id} is being submitted to {pilot.site}"
    if pilot.state == RUNNING:
        where = f" on {pilot.hosts[0]}" if pilot.hosts else ""
        return f"pilot {pilot.id} of {pilot.site} has begun{where}; its agent is on its way"
    place = f"is {ordinal(pilot.position + 1)}" if pilot.position is not None else "waits"
    queue = f" {pilot.queue}" if pilot.queue else ""
    why = f" ({pilot.reason})" if pilot.reason else ""
    eta = _eta(b, pilot)
    when = f", expected {clock(eta)}" if eta is not None else ""
    return f"pilot {pilot.id} {place} in {pilot.site}'s queue{queue}{why}{when}"


def _eta(b: Books, pilot: Pilot) -> float | None:
    return pilot.start_at if pilot.start_at is not None and pilot.start_at > b.now else None


def _of_site(b: Books, site: Site, job: Job, could_wait: bool) -> str:
    """Nothing is wrong with it, and nothing is on its way."""
    agents = [a for a in b.agents_of.get(job.user, {}).values() if a.site == site.name and a.pilot]
    if len(agents) >= site.max_agents:
        kept = next((i for agent in agents for i, _ in agent.holds if i < job.id), 0)
        busy = f"kept for job {kept}, which came before" if kept else "all busy"
        busy = busy if could_wait else "and none suits"
        return f"site {site.name} has its {len(agents)} agents, {busy}"
    if (since := supply.unfit(b, site, job)) is not None:
        return f"an agent that site {site.name} gave at {clock(since)} did not suit it"
    if wanted := supply.too_much(site, job):
        return f"site {site.name} has too little: {wanted}"
    return ""


def ordinal(number: int) -> str:
    last = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if number % 100 in (11, 12, 13) else last}"


def clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S} UTC"
