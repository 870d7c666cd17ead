"""Sharing a job by a link: the commands of who shares, and what opens a link."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from gshell import config
from gshell.cli import launch
from gshell.cli.listing import color_of, print_json, text_of, width
from gshell.cli.options import Parsed
from gshell.errors import GshellError, UsageError
from gshell.model.ticket import Ticket
from gshell.net import relaylink
from gshell.net.relaylink import ask


def _ticket(parsed: Parsed) -> Ticket:
    """
    Raises:
        GshellError: the relay is the private one, where nobody else can come.
    """
    if config.find_ticket() is None:
        raise GshellError(
            "the private relay of this user can be reached by nobody else",
            hint="gshell relay start --listen HOST:PORT    and log in there    or, for browsers:  "
            "gshell web    and    gshell share ID --web URL",
        )
    return launch.ticket_for(parsed, start=False)


def share(parsed: Parsed) -> int:
    where = web_address(parsed["web"]) if parsed["web"] else ""
    # A gateway of ours reaches the private relay, too, and lets others in.
    ticket = launch.ticket_for(parsed, start=False) if where else _ticket(parsed)
    if not parsed.words:
        parsed.words = [launch._newest_job(ticket, "share")]
    job = parsed.words[0].partition(".")[0]
    if not job.isdigit():
        raise UsageError(f"{parsed.words[0]!r} is not a job id", hint="gshell jobs")
    request: dict[str, Any] = {
        "m": "share",
        "job": job,
        "rights": "rw" if parsed["write"] else "r",
        "uses": parsed["uses"],
        "once": bool(parsed["once"]),
        "to": parsed["to"],
    }
    if parsed["for"] is not None:
        request["seconds"] = parsed["for"]
    answer = ask(ticket, request)
    made = {**answer["share"], "link": relaylink.share_link(ticket, answer["token"])}
    if where:
        made["link"] = f"{where}#{answer['token']}"
    if parsed["json"]:
        print_json("share", made)
        return 0
    print(made["link"] if where else f"gshell attach '{made['link']}'")
    if not parsed["quiet"]:
        sys.stdout.flush()
        sys.stderr.write(f"gshell: {_in_words(made)}; `gshell revoke {made['id']}` ends it now\n")
    return 0


def web_address(text: str) -> str:
    """Of a gateway's page: behind it comes ``#`` and the token.

    Raises:
        UsageError: no browser would go there.
    """
    from urllib.parse import urlsplit  # only for who shares with a browser

    try:
        parts = urlsplit(text)
        if parts.port == 0:  # looked at only when it is read
            raise ValueError
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(
            f"--web {text!r} is not the address of a gateway",
            hint="gshell web    prints its own: http://127.0.0.1:8080/",
        )
    return text if text.endswith("/") else text + "/"


def _in_words(made: dict[str, Any]) -> str:
    who = made["to"] or ("one visitor" if made["once"] else "whoever has this link")
    if made["uses_left"] is not None and not made["once"]:
        who += f" (the first {made['uses_left']})"
    may = "may look on and type" if made["rights"] == "rw" else "may look on, not type,"
    return f"{who} {may} in job {made['job']} until {_clock(made['until'])}"


def _clock(at: float) -> str:
    form = "%H:%M:%S" if at - time.time() < 43200 else "%Y-%m-%d %H:%M"
    return time.strftime(form, time.localtime(at))


def shares(parsed: Parsed) -> int:
    found = ask(launch.ticket_for(parsed, start=False), {"m": "shares"})["shares"]
    from gshell.client.render import shares_table

    sys.stdout.write(
        text_of(
            parsed,
            "shares",
            found,
            "id",
            lambda fields: shares_table(found, time.time(), width(), color_of(parsed), fields),
        )
    )
    return 0


# ----------------------------------------------------------------------------------- opening a link


def open_link(link: str) -> tuple[Ticket, dict[str, Any]]:
    """Redeem it: with our ticket if it is of the same relay, else as a guest, whose ticket is kept
    in memory only. What the relay answers: job, owner, rights, until, share.

    Raises:
        UsageError: it is no such link.
        GshellError: not valid any more, or the relay cannot be reached.
    """
    there, token = relaylink.parse_share(link)
    override = config.relay_override()
    mine = _own_ticket()
    if mine is not None and mine.pin == there.pin:
        ticket = mine
    else:
        if override:
            there = there._replace(relays=[override])
        ticket = relaylink.enrol(there, relaylink.SHARE + token, "guest", "")
        named = [one for one in ticket.relays if one not in there.relays]
        ticket = ticket._replace(relays=[*there.relays, *named])
    return ticket, ask(ticket, {"m": "redeem", "token": token})


def _own_ticket() -> Ticket | None:
    try:
        return config.find_ticket()
    except UsageError:  # a relay is named, and we have a ticket for none
        return None


VERBS: dict[str, Callable[[Parsed], int]] = {"share": share, "shares": shares}
