"""The line below the prompt, and the pane of jobs that F2 opens. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gshell.client.render import display_width, duration_text, hosts_text, stamp, state_text
from gshell.model.sanitize import sanitize
from gshell.repl.facts import Facts

PANE_ROWS = 8
AWAY = "relay away: "
WIDE = 60  # columns: there is room for where it runs


def line(facts: Facts, width: int, ascii_only: bool = False) -> str:
    """Relay, latency, agents, jobs; the less important is left out where there is no room."""
    bar = " | " if ascii_only else " │ "
    if not facts.relay:
        parts = [sanitize(facts.trouble) or "no relay runs: `run CMD` starts a private one"]
    else:
        name = "private relay" if "/" in facts.relay else sanitize(facts.relay, 32)
        if facts.up:
            parts = [f"{name} {_latency(facts.latency_s)}".rstrip()]
        else:
            parts = [AWAY + (sanitize(facts.trouble) or f"dialling {name}")]
        if facts.known:
            parts += [_agents(facts), _jobs(facts)]
    text = bar.join(parts)
    if not facts.up and len(parts) == 3:  # why it is away matters more than all of its name
        room = width - 1 - display_width(bar.join(["", *parts[1:]]))
        if room >= len(AWAY) + 8:
            text = bar.join([sanitize(parts[0], room), *parts[1:]])
    if display_width(text) > width - 1 and len(parts) == 3 and facts.up:
        text = bar.join([_latency(facts.latency_s) or "up", *parts[1:]])
    if display_width(text) > width - 1 and len(parts) == 3:
        short = [part.replace(" agents", "a").replace(" running", "r").replace(" queued", "q")
                 for part in parts[1:]]  # fmt: skip
        text = bar.join([*short] if facts.up else ["away", *short])
    shown = sanitize(text, max(1, width - 1))
    return _ascii(shown) if ascii_only else shown


def _ascii(text: str) -> str:
    return text.replace("…", "~").encode("ascii", "replace").decode()


def _latency(seconds: float | None) -> str:
    """Two digits: what trembles more would be drawn again and again."""
    if seconds is None:
        return ""
    milli = seconds * 1e3
    return f"{milli:.0f} ms" if milli >= 2 else "1 ms" if milli >= 1 else "<1 ms"


def _agents(facts: Facts) -> str:
    states = [agent.get("state") for agent in facts.agents]
    free = states.count("waiting")
    busy = len(states) - free - states.count("away")
    words = [f"{free} free"]
    words += [f"{busy} busy"] if busy else []
    words += [f"{states.count('away')} away"] if states.count("away") else []
    if not states:
        return "no agents"
    return "agents " + ", ".join(words)


def _jobs(facts: Facts) -> str:
    live = facts.live
    if not live:
        return "no jobs"
    running = sum(job.get("state") == "ACTIVE" for job in live)
    words = [f"{running} running"] if running else []
    words += [f"{len(live) - running} queued"] if len(live) > running else []
    return "jobs " + ", ".join(words)


def pane(
    facts: Facts, numbers: Mapping[str, int], now: float, width: int, ascii_only: bool = False
) -> list[str]:
    """Rows of my jobs, those that live; as wide as there is room."""
    live = sorted(facts.live, key=lambda job: int(job["id"]))
    if not live:
        return ["no jobs" if facts.known else "nothing is known yet"]
    rows = []
    for job in live[-PANE_ROWS:]:
        number = numbers.get(str(job["id"]))
        rows.append(_row(job, f"%{number}" if number else "", now - facts.skew_s, width))
    if len(live) > PANE_ROWS:
        rows[0] = f"... {len(live) - PANE_ROWS + 1} more: jobs"
    return [_ascii(row) for row in rows] if ascii_only else rows


def _row(job: Mapping[str, Any], number: str, now: float, width: int) -> str:
    wide = width >= WIDE
    name = sanitize(str(job.get("name") or job.get("argv0") or ""), 16 if wide else 8)
    began = stamp(job, "started_at") or stamp(job, "created_at")
    age = duration_text(max(0.0, now - began)) if began is not None else ""
    state = sanitize(state_text(job)[0], 10 if wide else 8)
    if not wide:
        return f"{number:<4}{job['id']!s:<6}{_padded(name, 9)}{state:<9}{age:>8}"[: width - 1]
    where = hosts_text([str(host) for host in job.get("hosts") or ()]) or str(job.get("why") or "")
    head = f"{number:<4}{job['id']!s:<7}{_padded(name, 17)}{state:<11}{age:>9}  "
    return sanitize((head + sanitize(where)).rstrip(), max(1, width - 1))


def _padded(text: str, width: int) -> str:
    return text + " " * (width - display_width(text))


def meta(job: Mapping[str, Any], now: float) -> str:
    """What completion says of a job: name, age, state."""
    name = sanitize(str(job.get("name") or job.get("argv0") or ""), 24)
    began = stamp(job, "started_at") or stamp(job, "created_at")
    age = duration_text(max(0.0, now - began)) if began is not None else ""
    return " ".join(word for word in (name, age, sanitize(state_text(job)[0], 16)) if word)
