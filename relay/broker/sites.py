"""A user's sites: put, dropped, paused, shown; and how they do, from failure to failure.

A site is its user's own. Nobody here submits anything: that is the submitter's, which is found by
the id or the host that it registered the site with.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from gshell.errors import UsageError
from relay.broker import pilots, rights
from relay.broker.books import Books
from relay.broker.events import ConnUp, Journal, Message
from relay.broker.said import TEXT, text
from relay.broker.sitemodel import STATES, Site, Submitter
from relay.broker.wants import MEMORY, YEAR_S, site_name

AD_BYTES = 16 * 1024
MORE_BYTES = 8 * 1024
DROPPED = 10_000  # sites that are remembered as dropped, of all users
HOST, WORD, WORDS = 253, 1024, 64
AGENTS, SLOTS, NODES = 100_000, 1 << 20, 10_000

# ------------------------------------------------------------------------------------------ reading


def _text(most: int) -> Callable[[str, Any], str]:
    def read(name: str, value: Any) -> str:
        if not isinstance(value, str) or len(value) > most:
            raise UsageError(f"a site's {name} is a text of up to {most} characters")
        return value

    return read


def _number(least: float, most: float) -> Callable[[str, Any], Any]:
    whole = isinstance(least, int)

    def read(name: str, value: Any) -> Any:
        good = isinstance(value, int) or (isinstance(value, float) and not whole)
        if not good or isinstance(value, bool) or not math.isfinite(value):
            raise UsageError(f"a site's {name} is a {'whole ' if whole else ''}number")
        if not least <= value <= most:
            raise UsageError(f"a site's {name} is between {least:g} and {most:g}, not {value}")
        return value

    return read


def _words(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > WORDS:
        raise UsageError(f"a site's {name} are up to {WORDS} words")
    return tuple(_text(WORD)(name, word) for word in value)


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "lrms": _text(32),
    "ssh": _text(256),
    "queue": _text(128),
    "account": _text(128),
    "extra": _words,
    "max_agents": _number(0, AGENTS),
    "min_waiting": _number(0, AGENTS),
    "slots": _number(0, SLOTS),
    "nodes": _number(1, NODES),
    "walltime": _number(0.0, YEAR_S),
    "idle": _number(0.0, YEAR_S),
    "memory": _number(0, MEMORY),
    "lane": _text(32),
    "submitter": _text(64),
}
_SHOWN = ("ad", "state", "pilots", "error", "host", "user", "gives", "failures", "retry_at")


def parse(user: str, value: Any) -> Site:
    """A SITE of gshell/net/CONTROL.md; what it has besides is kept for its submitter.

    Raises:
        UsageError: it makes no sense; says what.
    """
    if not isinstance(value, dict):
        raise UsageError("a site is an object with a name")
    found: Message = {}
    for name, read in _READERS.items():
        unsaid = (None, 0) if name in ("max_agents", "idle") else (None,)
        if value.get(name) not in unsaid:
            found[name] = read(name, value[name])
    more = {
        k: v for k, v in value.items() if k not in (*_READERS, *_SHOWN, "name", "more", "paused")
    }
    if len(json.dumps(more, default=str)) > MORE_BYTES:
        raise UsageError(f"more than {MORE_BYTES} bytes of other fields")
    site = Site(user, site_name("name", value.get("name")), more=more, **found)
    if site.min_waiting > site.max_agents:
        raise UsageError(f"min_waiting is more than max_agents, {site.max_agents}")
    return site


# -------------------------------------------------------------------------------------------- state


def find(b: Books, user: str, name: object) -> Site | None:
    return b.sites.get(user, {}).get(name) if isinstance(name, str) else None


def keep(b: Books, site: Site) -> None:
    """Write it down at the end of the round; what waits for it may have another reason now."""
    b.unwritten_sites[site.key] = site
    b.scale.add(site.user)
    b.changed.add(site.user)


def submitter_of(b: Books, site: Site) -> Submitter | None:
    """Who may submit there now: the one it was registered by, else the newest of its user's."""
    return find_submitter(b, site.user, site.submitter, site.host)


def find_submitter(b: Books, user: str, id: str, host: str) -> Submitter | None:
    able = [
        s for s in b.submitters.values()
        if s.user == user and (s.id == id or (host and s.host == host) or not (id or host))
    ]  # fmt: skip
    return max(able, key=lambda s: s.number, default=None)


def state_of(b: Books, site: Site) -> str:
    if site.paused:
        return "paused"
    if submitter_of(b, site) is None:
        return "away"
    return "backing-off" if site.retry_at > b.now else "ok"


def failed(b: Books, site: Site, why: str, made_at: float, final: bool) -> None:
    """A pilot made at ``made_at`` came to nothing. Those of one attempt count once; ``final``: it
    would be refused again."""
    settings = b.settings
    site.error = why
    if made_at > site.failed_at or not site.failures:
        site.failures += 1
        wait = settings.backoff_s * 2.0 ** min(site.failures - 1, 30)
        site.retry_at = b.now + min(wait, settings.backoff_most_s)
        site.failed_at = b.now
        b.at(site.retry_at, lambda: b.scale.add(site.user))
    if not site.paused and (final or site.failures >= settings.pause_after):
        times = "a final refusal" if final else f"{site.failures} failures"
        site.paused = f"after {times}: {why}"
        b.audit(site.user, "site-pause", f"site {site.name}", why=site.paused)
        b.log(f"site {site.name} of {site.user} is paused {site.paused}")
    keep(b, site)


def worked(b: Books, site: Site) -> None:
    if site.failures or site.retry_at or site.error:
        site.failures, site.retry_at, site.error = 0, 0.0, ""
        keep(b, site)


def claim(b: Books, site: Site, submitter: Submitter) -> None:
    """From now on it is reached by this one."""
    if (site.submitter, site.host) != (submitter.id, submitter.host):
        site.submitter, site.host = submitter.id, submitter.host
        keep(b, site)


def put(b: Books, site: Site) -> None:
    """It is new, or its user says something else of it: how it has done is kept.

    Raises:
        UsageError: too many.
    """
    of = b.sites.setdefault(site.user, {})
    old = of.get(site.name)
    if old is None and len(of) >= b.settings.sites_per_user:
        most = b.settings.sites_per_user
        raise UsageError(f"{site.user} has {most} sites", hint="gshell site drop NAME")
    if old is not None:
        for name in ("paused", "failures", "failed_at", "retry_at", "error", "gives", "ad"):
            setattr(site, name, getattr(old, name))
        if not site.submitter:
            site.submitter, site.host = old.submitter, old.host
        if site == old:
            return
    of[site.name] = site
    bury(b, site.key, False)
    keep(b, site)


def bury(b: Books, key: str, dropped: bool = True) -> None:
    """Remember, or no longer, that its submitter was away when it was dropped."""
    if dropped and len(b.dropped) < DROPPED:
        user, _, name = key.partition("/")
        b.dropped.add(key)
        b.out.append(Journal("site", key, {"user": user, "name": name, "dropped": True}))
    elif key in b.dropped:
        b.dropped.discard(key)
        b.out.append(Journal("site", key, None))


# -------------------------------------------------------------------------------------------- verbs


def site_view(b: Books, site: Site) -> Message:
    """SITE of gshell/net/CONTROL.md, as its user is shown it."""
    there = submitter_of(b, site)
    counts = dict.fromkeys(STATES, 0)
    for pilot in b.pilots_of.get(site.user, {}).values():
        if pilot.site == site.name:
            counts[pilot.state] += 1
    return {
        **site.more, "name": site.name, "user": site.user,
        **{name: getattr(site, name) for name in _READERS},
        "extra": list(site.extra), "submitter_id": site.submitter,
        "submitter": there.host if there is not None else "",
        "host": site.host, "state": state_of(b, site), "paused": site.paused,
        "failures": site.failures,
        "retry_at": site.retry_at if site.retry_at > b.now else None,
        "pilots": {state: n for state, n in counts.items() if n},
        "agents": sum(a.site == site.name for a in b.agents_of.get(site.user, {}).values()),
        "error": site.error or site.ad_error, "ad": site.ad,
    }  # fmt: skip


def on_sites(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    whose = rights.whose(b, up, re, message)
    if whose is not None:
        rows = b.sites.values() if not whose else [b.sites.get(whose, {})]
        b.answer(up.conn, re, sites=[site_view(b, site) for row in rows for site in row.values()])


def _tell(b: Books, site: Site, gone: bool = False) -> None:
    """Its submitter should know what its user says of it."""
    there = submitter_of(b, site)
    if there is not None:
        b.send(there.conn, {"m": "site", "site": site_view(b, site), "gone": gone})


def on_put(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    try:
        site = parse(up.user, message.get("site"))
        put(b, site)
    except UsageError as error:
        b.refuse_verb(up.conn, re, "usage", error.message, error.hint)
        return
    b.audit_of(up, "site-put", f"site {site.name}", lrms=site.lrms)
    b.answer(up.conn, re, site=site_view(b, site))
    _tell(b, site)


def _named(b: Books, up: ConnUp, re: Any, message: Message) -> Site | None:
    """The site of theirs that the message names; else they have their answer."""
    site = find(b, up.user, message.get("site"))
    if site is None:
        what = f"there is no site {rights.shown(message.get('site'))}"
        b.refuse_verb(up.conn, re, "none", what, "gshell sites")
    return site


def on_drop(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    site = _named(b, up, re, message)
    if site is None:
        return
    live = [p for p in b.pilots_of.get(up.user, {}).values() if p.site == site.name]
    if live and message.get("force") is not True:
        what = f"site {site.name} has {len(live)} pilots that are not over"
        b.refuse_verb(up.conn, re, "busy", what, f"gshell site drop --force {site.name}")
        return
    for pilot in live:
        pilots.cancel(b, pilot, f"site {site.name} was dropped")
    _tell(b, site, gone=True)
    b.audit_of(up, "site-drop", f"site {site.name}", pilots=len(live))
    away = submitter_of(b, site) is None and site.submitter != ""
    remove(b, site)
    if away:
        bury(b, site.key)
    b.answer(up.conn, re, canceled=[pilot.id for pilot in live])


def remove(b: Books, site: Site) -> None:
    b.sites.get(site.user, {}).pop(site.name, None)
    b.unwritten_sites.pop(site.key, None)
    b.out.append(Journal("site", site.key, None))
    b.changed.add(site.user)


def on_pause(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    """No more pilots there, of ourselves; ``on``:false forgets all that has failed."""
    site = _named(b, up, re, message)
    if site is None:
        return
    if message.get("on", True) is False:
        site.paused = site.error = ""
        site.failures, site.retry_at = 0, 0.0
    else:
        site.paused = site.paused or "by its user"
    keep(b, site)
    b.audit_of(up, "site-pause", f"site {site.name}", on=bool(site.paused))
    b.answer(up.conn, re, site=site_view(b, site))


def on_ad(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    """What a site has now, from its submitter; kept until the next one."""
    site, there = find(b, up.user, message.get("site")), b.submitters.get(up.conn)
    if site is None or there is None or submitter_of(b, site) is not there:
        what = f"this connection reaches no site {rights.shown(message.get('site'))}"
        b.refuse_verb(up.conn, re, "none", what)
        return
    ad = message.get("ad")
    if isinstance(ad, dict):
        if len(json.dumps(ad)) > AD_BYTES:  # of many queues: the site's own is in the ad itself
            ad = {key: value for key, value in ad.items() if not isinstance(value, list | dict)}
        site.ad = ad if len(json.dumps(ad)) <= AD_BYTES else {}
    site.ad_error = text(message, "error", TEXT)
    b.scale.add(up.user)
    if re is not None:
        b.answer(up.conn, re)
