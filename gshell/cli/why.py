"""``gshell why``: what keeps a job waiting, and what would start now. The relay knows; this is the
page.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from gshell.cli import verbs
from gshell.cli.listing import color_of, print_json
from gshell.cli.options import Parsed
from gshell.errors import BrokerError, UsageError


def why(parsed: Parsed) -> int:
    if not parsed.words:
        raise UsageError("gshell why needs a job id", hint="gshell jobs")
    from gshell.cli import launch, saying
    from gshell.client import waitnote
    from gshell.net.relaylink import ask

    jobs, found, status = [verbs._job_id(word) for word in parsed.words], [], 0
    ticket = launch.ticket_for(parsed, start=False)
    for job in jobs:
        try:
            answer = ask(ticket, {"m": "why", "job": job}).get("why")
        except BrokerError as error:
            status = error.exit_code = 1
            saying.complain(error, bool(parsed["json"]), parsed["color"])
            continue
        if not isinstance(answer, dict):
            continue
        for one in _items(answer, "now"):
            one["command"] = waitnote.complete(ticket.pin, job, str(one.get("command")))
        found.append(answer)
    if parsed["json"]:
        if found or len(jobs) > 1:
            print_json("why", found if len(jobs) > 1 else found[0])
        return status
    color = color_of(parsed)
    pages = ["".join(f"{line}\n" for line in page(one, time.time(), color)) for one in found]
    sys.stdout.write("\n".join(pages))
    return status


def page(answer: Mapping[str, Any], now: float, color: bool = False) -> Iterator[str]:
    """The lines of one job's page."""
    from gshell.client.render import painted

    yield painted(f"job {answer.get('job')}", "bold", color) + f"  {answer.get('state')}"
    yield f"  {answer.get('text')}"
    position = answer.get("position")
    if isinstance(position, int) and position > 0:
        ahead = position - 1
        yield f"  {ahead} of yours ahead of it" if ahead else "  first of yours in the queue"
    missing = _items(answer, "missing")
    eta = answer.get("eta")
    if isinstance(eta, int | float):
        yield f"  starts {when(eta, now)}"
    elif not missing and any(one.get("for") == "slots" for one in _items(answer, "waits")):
        yield "  nobody can say when: what runs did not say how long it takes"
    if missing:
        yield ""
        yield painted("nobody offers", "bold", color)
        width = max(len(str(one.get("what"))) for one in missing)
        for one in missing:
            yield f"  {one.get('what'):<{width}}  {one.get('wanted')}   nearest: {one.get('best')}"
    waits = [
        one
        for one in _items(answer, "waits")
        if one.get("text") != answer.get("text") and (one.get("eta") is not None or not missing)
    ]
    if waits:
        yield ""
        yield painted("it waits for", "bold", color)
        for one in waits:
            at = one.get("eta")
            known = f" ({when(at, now)})" if isinstance(at, int | float) else ""
            yield f"  {one.get('text')}{known}"
    alternatives = _items(answer, "now")
    if alternatives:
        yield ""
        yield painted("you can type", "bold", color)
        for one in alternatives:
            yield f"  {one.get('command')}"
            yield f"      {one.get('change')}"


def when(at: float, now: float) -> str:
    """A time as a person says it; what is not known is not guessed."""
    from gshell.client.render import duration_text

    if at <= now + 1:
        return "at once"
    clock = time.strftime("%H:%M" if at - now < 72000 else "%a %H:%M", time.localtime(at))
    return f"in {duration_text(at - now)} at the latest, at {clock}"


def _items(answer: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    items = answer.get(name)
    return [one for one in items if isinstance(one, dict)] if isinstance(items, list) else []


VERBS = {"why": why}
