"""What `gshell top` shows, as lines of text, and what its keys change. Knows no terminal, no relay
and no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from gshell.client.feed import Mirror
from gshell.client.render import (
    agents_table,
    display_width,
    duration_text,
    painted,
    top_table,
)
from gshell.model.sanitize import sanitize

EVENTS_KEPT = 100
SORTS = ("id", "io", "idle", "cpu", "memory", "name")
HELP = "q quit  j/k select  a attach  K end  s sort  / filter"


class View:
    """Which job is selected, how they are sorted, what is asked. Invariant: what is selected is
    shown, or nothing is."""

    def __init__(self) -> None:
        self.sort = "id"
        self.filter = ""
        self.typing = False
        """What is typed goes into the filter."""
        self.asking = ""
        """The job that will be ended if the answer is yes."""
        self.selected = ""
        self.note = ""
        self.events: deque[tuple[float, str]] = deque(maxlen=EVENTS_KEPT)

    # ----------------------------------------------------------------------------------------- keys

    def key(self, key: str, shown: list[str]) -> str:
        """One key. Returns what is to be done: ``quit``, ``attach``, ``kill``, or nothing."""
        self.note = ""
        if self.asking:
            return self._answered(key)
        if self.typing:
            self._typed(key)
            return ""
        if key in ("q", "Q", "\x03", "\x04"):
            return "quit"
        if key in ("j", "down", "k", "up", "home", "end", "pgdn", "pgup"):
            self._move(key, shown)
        elif key == "s":
            self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
        elif key == "/":
            self.typing = True
        elif key == "esc":
            self.filter = ""
        elif key in ("K", "a", "\r") and not self.selected:
            self.note = "no job is selected: j or k"
        elif key == "K":
            self.asking = self.selected
        elif key in ("a", "\r"):
            return "attach"
        return ""

    def _answered(self, key: str) -> str:
        if key in ("y", "Y"):
            return "kill"  # `asking` says which
        self.asking = ""
        self.note = "nothing was ended"
        return ""

    def _typed(self, key: str) -> None:
        if key in ("\r", "\n"):
            self.typing = False
        elif key in ("esc", "\x03"):
            self.typing = False
            self.filter = ""
        elif key in ("\x7f", "\b"):
            self.filter = self.filter[:-1]
        elif key == "\x15":
            self.filter = ""
        elif len(key) == 1 and key.isprintable():
            self.filter += key

    def _move(self, key: str, shown: list[str]) -> None:
        if not shown:
            return
        at = shown.index(self.selected) if self.selected in shown else -1
        steps = {"j": 1, "down": 1, "k": -1, "up": -1, "pgdn": 10, "pgup": -10}
        if key in steps:
            at = at + steps[key] if at >= 0 else (0 if steps[key] > 0 else len(shown) - 1)
        else:
            at = 0 if key == "home" else len(shown) - 1
        self.selected = shown[max(0, min(at, len(shown) - 1))]

    # ---------------------------------------------------------------------------------------- lines

    def jobs(self, mirror: Mirror, now: float) -> list[Mapping[str, Any]]:
        """Those that pass the filter, in order; selection follows."""
        words = self.filter.lower()
        found: list[Mapping[str, Any]] = [
            {**job, "use": mirror.use(job["id"], now)}
            for job in mirror.jobs.values()
            if not words or words in _searched(job)
        ]
        found.sort(key=lambda job: int(job["id"]))
        if self.sort == "name":
            found.sort(key=lambda job: str(job.get("name") or job.get("argv0")))
        elif self.sort != "id":
            found.sort(key=lambda job: _weight(job, self.sort, now), reverse=True)
        if self.selected and self.selected not in [job["id"] for job in found]:
            self.selected = ""
        return found

    def frame(
        self,
        mirror: Mirror,
        now: float,
        rows: int,
        columns: int,
        status: str,
        relay: str,
        color: bool,
    ) -> list[str]:
        """Exactly ``rows`` lines, none wider than ``columns``. ``status``: of the connection."""
        jobs = self.jobs(mirror, now)
        head = self._head(mirror, status, relay, columns, color)
        agents = agents_table(list(mirror.agents.values()), now, columns, color).splitlines()
        # Jobs have what the others leave, and half of the screen at least.
        free = max(0, rows - len(head) - 1)  # the last line is for keys and questions
        few = free < 12
        for_agents = min(len(agents), max(2, free // 4)) if not few else 0
        # Not just what they need now: else everything below would jump with every job.
        for_jobs = max(free // 2, min(len(jobs) + 1, free - for_agents - 4))
        for_events = free - for_agents - for_jobs - 2
        if few:
            for_jobs, for_events = free, 0
        lines = [*head, *self._job_lines(jobs, now, for_jobs, columns, color)]
        if not few:
            lines += ["", *_cut(agents, for_agents, columns)]
            lines += ["", *self._event_lines(for_events, columns, now)]
        lines = lines[: rows - 1]
        lines += [""] * (rows - 1 - len(lines))
        return [*lines, self._foot(columns, color)]

    def once(self, mirror: Mirror, now: float, columns: int, status: str, relay: str) -> str:
        """Everything there is, for a pipe or a terminal that cannot do more."""
        head = self._head(mirror, status, relay, columns, False)
        jobs = self.jobs(mirror, now)
        body = top_table(jobs, now, columns, False) if jobs else "no jobs\n"
        agents = agents_table(list(mirror.agents.values()), now, columns, False)
        return "\n".join(head) + "\n" + body + "\n" + agents

    def _head(
        self, mirror: Mirror, status: str, relay: str, columns: int, color: bool
    ) -> list[str]:
        agents = mirror.agents.values()
        here = [a for a in agents if a.get("state") != "away"]
        free = sum(int(a.get("free") or 0) for a in here if a.get("state") == "waiting")
        slots = sum(int(a.get("slots") or 0) for a in here)
        busy = sum(1 for a in here if int(a.get("free") or 0) < int(a.get("slots") or 0))
        active = sum(1 for job in mirror.jobs.values() if job.get("state") == "ACTIVE")
        waiting = sum(1 for job in mirror.jobs.values() if not job.get("started_at")
                      and not job.get("ended_at"))  # fmt: skip
        first = f"gshell top  {relay}  {status}"
        second = (
            f"agents {len(here)} ({busy} busy), slots {free} free of {slots}   "
            f"jobs {active} active, {waiting} waiting   sort {self.sort}"
        )
        if self.filter or self.typing:
            second += f"   filter {self.filter!r}"
        return [painted(_fit(first, columns), "bold", color), _fit(second, columns), ""]

    def _job_lines(
        self, jobs: list[Mapping[str, Any]], now: float, rows: int, columns: int, color: bool
    ) -> list[str]:
        if rows < 2 or not jobs:
            nothing = "no job matches the filter (Esc clears it)" if self.filter else "no jobs"
            return ([_fit(nothing, columns)] + [""] * rows)[: max(rows, 0)]
        ids = [job["id"] for job in jobs]
        at = ids.index(self.selected) if self.selected else 0
        room = rows - 1
        more = len(jobs) > room
        first = max(0, min(at - room // 2, len(jobs) - room)) if more else 0
        title, *lines = top_table(jobs, now, columns - 2, color).splitlines()
        plain = top_table(jobs, now, columns - 2, False).splitlines()[1:]
        out = ["  " + title]
        for number in range(first, min(first + room, len(jobs))):
            if ids[number] == self.selected:
                line = "> " + plain[number]
                out.append(f"\x1b[7m{line.ljust(columns)[:columns]}\x1b[m" if color else line)
            else:
                out.append("  " + lines[number])
        if more:
            hidden = len(jobs) - room
            out[0] += _fit(f"  ({hidden} more)", max(0, columns - display_width("  " + plain[0])))
        return out + [""] * (rows - len(out))

    def _event_lines(self, rows: int, columns: int, now: float) -> list[str]:
        last = list(self.events)[-rows:]
        lines = [_fit(f"{_ago(now - at)}  {text}", columns) for at, text in last]
        return lines or [_fit("nothing has happened yet", columns)]

    def _foot(self, columns: int, color: bool) -> str:
        if self.asking:
            return painted(_fit(f"end job {self.asking}? y ends it", columns), "bold", color)
        if self.typing:
            return _fit(f"/{self.filter}_   Enter keeps it, Esc clears it", columns)
        return painted(_fit(self.note or HELP, columns), "dim", color)


def _searched(job: Mapping[str, Any]) -> str:
    words = [job["id"], job.get("name"), job.get("argv0"), job.get("state"), *job.get("hosts", ())]
    return " ".join(str(word) for word in words if word).lower()


def _weight(job: Mapping[str, Any], sort: str, now: float) -> float:
    use = job["use"]
    if use is None:
        return -1.0
    if sort == "io":
        return float(use.out_rate + use.in_rate)
    if sort == "idle":
        return float(now - use.moved_at)
    return float(use.cpu_rate if sort == "cpu" else use.rss_bytes)


def _ago(seconds: float) -> str:
    return f"{duration_text(seconds):>8} ago" if seconds >= 1 else "         now"


def _fit(text: str, columns: int) -> str:
    return sanitize(text, columns)


def _cut(lines: list[str], rows: int, columns: int) -> list[str]:
    if len(lines) <= rows:
        return lines
    return [*lines[: rows - 1], _fit(f"  ... {len(lines) - rows + 1} more agents", columns)]
