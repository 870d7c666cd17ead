"""``match``: where a job description could run, best first; where not, what is in the way."""

from __future__ import annotations

import sys
import time
from typing import Any, NamedTuple

from gshell.cli import launch
from gshell.cli.listing import print_json
from gshell.cli.options import Parsed
from gshell.cli.submit import describe, one_file, places, plan_anywhere, tell
from gshell.errors import GshellError
from gshell.jdl import glue
from gshell.jdl.matching import Matcher
from gshell.jdl.steps import Request
from gshell.model.ticket import Ticket

NOTHING = 1  # the exit status, where nothing matches
SHOWN_PARTS = 5  # of a requirement, for the nearest place


class Offer(NamedTuple):
    """A place and what it says of the job."""

    kind: str
    """"agent" or "site"."""
    name: str
    unique_id: str
    rank: float
    free: int
    missing: tuple[tuple[str, str], ...]
    """(what is asked for, what there is); empty: it suits."""


def match(parsed: Parsed) -> int:
    """A line for each agent and site that suits, the best first; status 1 if there is none."""
    path = one_file(parsed)
    description = describe(path, parsed["set"], bool(parsed["dirac"]))
    tell(description, bool(parsed["quiet"]))
    ticket = launch.ticket_for(parsed)
    status = 0
    answer = []
    for request in plan_anywhere(description, path):
        found = offers(ticket, request, time.time())
        suits = [one for one in found if not one.missing]
        if parsed["json"]:
            answer.append({
                "node": request.name,
                "match": [_json(one) for one in suits],
                "no_match": [_json(one) for one in found if one.missing],
            })  # fmt: skip
        else:
            if request.name and not parsed["quiet"]:
                print(f"{request.name}:")
            _show(suits, bool(parsed["quiet"]))
        if not suits:
            status = NOTHING
            if not parsed["json"]:
                sys.stdout.flush()
                sys.stderr.write(explained(request, found))
    if parsed["json"]:
        print_json("jobs", answer)
    return status


def _json(offer: Offer) -> dict[str, Any]:
    return {
        "kind": offer.kind, "name": offer.name, "id": offer.unique_id, "rank": offer.rank,
        "free": offer.free, "missing": [list(pair) for pair in offer.missing],
    }  # fmt: skip


def _show(suits: list[Offer], quiet: bool) -> None:
    if quiet:
        sys.stdout.write("".join(f"{one.name}\n" for one in suits))
    elif suits:
        rows = [("PLACE", "NAME", "RANK", "FREE", "GlueCEUniqueID")]
        rows += [(o.kind, o.name, f"{o.rank:g}", str(o.free), o.unique_id) for o in suits]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths)]
            print("  ".join([*cells, row[4]]))


def offers(ticket: Ticket, request: Request, now: float) -> list[Offer]:
    """All agents and sites, those that suit first, the best of them first.

    Raises:
        GshellError: the requirements cannot be computed.
    """
    agents, sites = places(ticket)
    known = [("agent", one) for one in agents] + [("site", one) for one in sites]
    matcher = Matcher()
    for attribute, text in (("Requirements", "req"), ("Rank", "rank")):
        why = matcher.check(request.message.get(text, "")) if request.message.get(text) else ""
        if why:
            raise GshellError(f"{attribute}: {why}")
    found = [_offer(matcher, request, kind, _facts(one, now)) for kind, one in known]
    found.sort(key=lambda o: (len(o.missing), -o.rank, o.kind, -o.free))
    return found


def _facts(place: dict[str, Any], now: float) -> dict[str, Any]:
    ends_at = place.get("ends_at")
    if isinstance(ends_at, int | float):
        return {**place, "ends_in": max(0.0, ends_at - now)}
    return place


def _offer(matcher: Matcher, request: Request, kind: str, facts: dict[str, Any]) -> Offer:
    wants = request.message
    missing = list(_plainly_missing(wants, kind, facts))
    job_ad = wants.get("job_ad") or {}
    if wants.get("req"):
        missing += matcher.explain(job_ad, wants["req"], facts)
    # The grid's own default: where a job begins soonest.
    rank = wants.get("rank") or "-other.GlueCEStateEstimatedResponseTime"
    return Offer(
        kind, str(glue.fact("id", facts)), glue.unique_id(facts),
        matcher.rank(job_ad, rank, facts) if wants.get("rank") else -glue.response_s(facts),
        int(glue.free_slots(facts) or 0), tuple(missing),
    )  # fmt: skip


def _plainly_missing(wants: dict[str, Any], kind: str, facts: dict[str, Any]) -> Any:
    """What is asked for beside the expressions."""
    if wants.get("site") and glue.site(facts) not in wants["site"]:
        yield f"at {' or '.join(wants['site'])}", f"at {glue.site(facts) or 'no site'}"
    if wants.get("agent") and (kind != "agent" or facts.get("id") != wants["agent"]):
        yield f"on the agent {wants['agent']}", "another one"
    slots = glue.slots(facts)
    if slots is not None and kind == "agent" and wants["n"] > slots:
        yield f"{wants['n']} slots", f"{slots}"
    state = str(facts.get("state") or "")
    if state in ("away", "draining", "paused"):
        yield "that it takes jobs", f"it is {state}"
    if wants.get("memory") and (memory := glue.memory_mb(facts)) is not None:
        asked = int(wants["memory"]) >> 20
        if asked > memory:
            yield f"{asked} MB of memory", f"{memory} MB"
    left = glue.ends_in(facts)
    if wants.get("walltime") and left is not None and wants["walltime"] > left:
        yield f"{wants['walltime'] // 60} minutes", f"it ends in {int(left) // 60}"


def explained(request: Request, found: list[Offer]) -> str:
    """Why nothing matches: the requirement that most fail, and the place that is nearest."""
    named = f" for {request.name}" if request.name else ""
    if not found:
        return (
            f"gshell: no match{named}: there is no agent and no site\n"
            "  try:  gshell agent start    or    gshell site add NAME\n"
        )
    nearest = found[0]
    counts: dict[str, int] = {}
    for offer in found:
        for what, _ in offer.missing:
            counts[what] = counts.get(what, 0) + 1
    lines = [f"gshell: no match{named} among {len(found)} place{'s' * (len(found) > 1)}"]
    lines += [
        f"  {what}    fails at {count} of {len(found)}"
        for what, count in sorted(counts.items(), key=lambda pair: -pair[1])[:SHOWN_PARTS]
    ]
    lines.append(f"nearest: {nearest.kind} {nearest.name}")
    lines += [f"  {what}    there: {there}" for what, there in nearest.missing[:SHOWN_PARTS]]
    return "".join(f"{line}\n" for line in lines)
