"""A user's submitters: the processes that submit and cancel pilots with the user's own rights.

One for each of a user's hosts; what the two sides know of each other's pilots is set right when one
registers, after whichever of them was away or began anew.
"""

from __future__ import annotations

from typing import Any

from gshell.errors import UsageError
from relay.broker import pilots, sites
from relay.broker.books import Books
from relay.broker.events import Conn, ConnUp, Message
from relay.broker.said import text
from relay.broker.sitemodel import ENDED, Submitter
from relay.broker.wants import site_name

LISTED = 4096  # pilots that a submitter says it has


def on_register(b: Books, up: ConnUp, re: Any, message: Message) -> None:
    """A submitter registers: with the sites it reaches, and all the pilots it knows."""
    host = text(message, "host", sites.HOST)
    id = text(message, "submitter", 64) or host[:64]
    known, named = message.get("pilots") or [], message.get("sites") or []
    if not id or not isinstance(known, list) or not isinstance(named, list):
        b.refuse_verb(up.conn, re, "usage", "a submitter has a host, sites and pilots")
        return
    if len(known) > LISTED or len(named) > b.settings.sites_per_user:
        b.refuse_verb(up.conn, re, "full", "too many pilots or sites")
        return
    try:
        reached = [_reached(b, up, id, one) for one in named]
    except UsageError as error:
        b.refuse_verb(up.conn, re, "usage", error.message, error.hint)
        return
    for older in [s for s in b.submitters.values() if s.user == up.user and s.host == host]:
        del b.submitters[older.conn]
        if older.conn != up.conn:
            b.send(older.conn, {"m": "superseded"})
    b.choices += 1
    here = b.submitters[up.conn] = Submitter(up.conn, up.user, id, host, b.choices)
    for site in b.sites.get(up.user, {}).values():
        if site.name in reached or site.submitter == id or (host and site.host == host):
            sites.claim(b, site, here)
    b.audit_of(up, "submitter", f"host {host}", pilots=len(known))
    views = [sites.site_view(b, site) for site in b.sites.get(up.user, {}).values()]
    b.answer(up.conn, re, sites=views)
    _resolve(b, here, {str(name)[:64] for name in known})
    b.changed.add(up.user)
    b.scale.add(up.user)


def _reached(b: Books, up: ConnUp, id: str, one: Any) -> str:
    """The name of a site in a registration. One that we do not know is put; of others we know
    what their user said last, even while the submitter was away: that they were dropped, too."""
    if isinstance(one, str):
        return site_name("site", one)
    site = sites.parse(up.user, {**one, "submitter": id} if isinstance(one, dict) else one)
    if site.key in b.dropped:
        b.send(up.conn, {"m": "site", "site": one, "gone": True})
        sites.bury(b, site.key, False)
    elif sites.find(b, up.user, site.name) is None:
        sites.put(b, site)
    return site.name


def _resolve(b: Books, here: Submitter, known: set[str]) -> None:
    """What only one side knows: none is leaked, none is doubled."""
    for pilot in list(b.pilots_of.get(here.user, {}).values()):
        if pilot.submitter != here.id and not (here.host and pilot.host == here.host):
            continue
        pilot.submitter, pilot.host = here.id, here.host
        if pilot.id in known or not pilot.reported:
            b.blind.pop(pilot.id, None)
            if pilot.canceled or not pilot.reported:
                pilots.tell(b, pilot)
            continue
        # It said that it had it, and has no memory of it.
        if any(a.conn is not None for a in pilots.agents_of(b, pilot)):
            b.blind[pilot.id] = pilot  # it lives, all the same
            continue
        b.send(here.conn, {"m": "pilot-cancel", "pilot": pilot.id})
        pilots.end(b, pilot, ENDED, "its submitter knows nothing of it any more")
    for name in sorted(known):
        lives = b.pilots.get(name)
        if lives is None or lives.user != here.user or lives.over:
            b.send(here.conn, {"m": "pilot-cancel", "pilot": name})


def on_down(b: Books, conn: Conn) -> None:
    """What a submitter submitted stays as it was last seen."""
    gone = b.submitters.pop(conn, None)
    if gone is not None:
        b.changed.add(gone.user)
        b.scale.add(gone.user)
