"""What `gshell top` shows, as lines of text, and what its keys change. Knows no terminal, no relay
and no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from gshell.client.feed import Mirror
from gshell.client.render import (
    agents_table,
    bytes_text,
    display_width,
    duration_text,
    painted,
    top_table,
)
from gshell.client.sparkline import KEPT, History, sparkline
from gshell.client.topmenu import SORTS, Menu, help_lines, signal_menu, sort_menu
from gshell.model.sanitize import sanitize

EVENTS_KEPT = 100
FOOT = (
    ("F1", "Help"), ("F3", "Find"), ("F4", "Filter"), ("F5", "Ranks"), ("F6", "Sort"),
    ("F9", "Signal"), ("F10", "Quit"), ("Enter", "Attach"),
)  # fmt: skip
_QUIT = ("q", "Q", "\x03", "\x04", "f10")
_MOVES = ("j", "down", "k", "up", "home", "end", "pgdn", "pgup")


class View:
    """Which job is selected, how they are sorted, what is asked. Invariant: what is selected is
    shown, or nothing is."""

    def __init__(self) -> None:
        self.sort = "id"
        self.filter = ""
        self.typing = ""
        """Where typed text goes: ``filter`` or ``find``."""
        self.find = ""
        self.menu: Menu | None = None
        self.helps = False
        self.asking: list[str] = []
        """The jobs that will be ended if the answer is yes."""
        self.selected = ""
        self.tagged: set[str] = set()
        self.shows_ranks = False
        self.ranks: list[Mapping[str, Any]] | None = None
        """What the ranks of the selected job do; None: nobody has said."""
        self.tall_events = False
        self.note = ""
        self.signal = 0
        """What was chosen last."""
        self.events: deque[tuple[float, str]] = deque(maxlen=EVENTS_KEPT)
        self.history = History()

    # ----------------------------------------------------------------------------------------- keys

    def key(self, key: str, shown: list[str]) -> str:
        """One key. Returns what is to be done: ``quit``, ``attach``, ``kill`` (`asking` says
        whom), ``signal`` (to `targets`, `signal` says which), ``ranks`` (another job's, or no
        more), or nothing."""
        self.note = ""
        if self.helps:
            self.helps = False
            return ""
        if self.menu is not None:
            return self._chosen(self.menu.key(key))
        if self.asking:
            return self._answered(key)
        if self.typing:
            return self._typed(key, shown)
        if key in _QUIT:
            return "quit"
        if key in _MOVES:
            return self._move(key, shown)
        return self._command(key, shown)

    def _command(self, key: str, shown: list[str]) -> str:
        if key in ("f1", "h", "?"):
            self.helps = True
        elif key == "s":
            self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
        elif key in ("f6", ">", ".", "<", ","):
            self.menu = sort_menu(self.sort)
        elif key in ("/", "f4", "\\"):
            self.typing = "filter"
        elif key == "f3":
            self.typing = "find"
            return self._found(shown, self.find != "")
        elif key == "esc":
            self.filter = ""
        elif key == " " and self.selected:
            self.tagged ^= {self.selected}
            return self._move("down", shown)
        elif key == "U":
            self.tagged.clear()
        elif key == "e":
            self.tall_events = not self.tall_events
        elif key in ("f5", "t"):
            self.shows_ranks = not self.shows_ranks
            self.ranks = None
            return "ranks"
        elif key in ("K", "f9", "a", "\r", " ") and not self.targets:
            self.note = "no job is selected: arrows, or j and k"
        elif key == "K":
            self.asking = self.targets
        elif key == "f9":
            self.menu = signal_menu(self.targets)
        elif key in ("a", "\r"):
            if self.selected:
                return "attach"
            self.note = "no job is selected: arrows, or j and k"
        return ""

    @property
    def targets(self) -> list[str]:
        """Whom a signal is for: all that are tagged, else the selected one."""
        return sorted(self.tagged, key=int) or ([self.selected] if self.selected else [])

    def _chosen(self, choice: str | None) -> str:
        if choice is None:
            return ""
        self.menu = None
        if choice in SORTS:
            self.sort = choice
        elif choice:
            self.signal = int(choice)
            if self.signal:
                return "signal"
            self.asking = self.targets
            return "kill" if self.asking else ""
        return ""

    def _answered(self, key: str) -> str:
        if key in ("y", "Y"):
            return "kill"  # `asking` says which
        self.asking = []
        self.note = "nothing was ended"
        return ""

    def _typed(self, key: str, shown: list[str]) -> str:
        text = self.filter if self.typing == "filter" else self.find
        if key in ("\r", "\n"):
            self.typing = ""
            return ""
        if key in ("esc", "\x03"):
            self.typing, text = "", ""
        elif key in ("\x7f", "\b"):
            text = text[:-1]
        elif key == "\x15":
            text = ""
        elif len(key) == 1 and key.isprintable():
            text += key
        elif key != "f3":
            return ""
        if self.typing == "filter" or (not self.typing and self.filter):
            self.filter = text
            return ""
        self.find = text
        return self._found(shown, key == "f3") if self.typing else ""

    def _found(self, shown: list[str], further: bool) -> str:
        """Select the first one from here on that has what was typed."""
        words = self.find.lower()
        if not words or not shown:
            return ""
        at = shown.index(self.selected) if self.selected in shown else 0
        at += further
        for one in [*shown[at:], *shown[:at]]:
            if words in self._texts.get(one, ""):
                return self._select(one)
        self.note = f"no job has {self.find!r}"
        return ""

    _texts: Mapping[str, str] = {}  # what can be found, by id; as of the last look

    def _move(self, key: str, shown: list[str]) -> str:
        if not shown:
            return ""
        at = shown.index(self.selected) if self.selected in shown else -1
        steps = {"j": 1, "down": 1, "k": -1, "up": -1, "pgdn": 10, "pgup": -10}
        if key in steps:
            at = at + steps[key] if at >= 0 else (0 if steps[key] > 0 else len(shown) - 1)
        else:
            at = 0 if key == "home" else len(shown) - 1
        return self._select(shown[max(0, min(at, len(shown) - 1))])

    def _select(self, job: str) -> str:
        if job == self.selected:
            return ""
        self.selected = job
        self.ranks = None
        return "ranks" if self.shows_ranks else ""

    def sample(self, mirror: Mirror, now: float) -> bool:
        """Is there a new bar in the rows of bars?"""
        rates = {}
        for id_, job in mirror.jobs.items():
            use = mirror.use(id_, now)
            if use is not None and job.get("ended_at") is None:
                rates[id_] = use.out_rate
        return self.history.sample(rates, now)

    # ---------------------------------------------------------------------------------------- lines

    def jobs(self, mirror: Mirror, now: float) -> list[Mapping[str, Any]]:
        """Those that pass the filter, in order; selection follows."""
        words = self.filter.lower()
        found: list[Mapping[str, Any]] = [
            {
                **job,
                "use": mirror.use(job["id"], now),
                "bars": sparkline(self.history.of(job["id"]), KEPT),
            }
            for job in mirror.jobs.values()
            if not words or words in _searched(job)
        ]
        found.sort(key=lambda job: int(job["id"]))
        if self.sort == "name":
            found.sort(key=lambda job: str(job.get("name") or job.get("argv0")))
        elif self.sort != "id":
            found.sort(key=lambda job: _weight(job, self.sort, now), reverse=True)
        self._texts = {job["id"]: _searched(job) for job in found}
        if self.selected and self.selected not in self._texts:
            self.selected = ""
            self.ranks = None
        self.tagged &= mirror.jobs.keys()
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
        head = self._head(mirror, now, status, relay, columns, color)
        if self.helps or self.menu is not None:
            room = max(0, rows - len(head) - 1)
            page = self.menu.lines(room, columns, color) if self.menu else []
            lines = [*head, *(page or help_lines(room, columns))][: rows - 1]
            lines += [""] * (rows - 1 - len(lines))
            return [*lines, self._foot(columns, color)]
        agents = self._below(mirror, now, columns, color)
        # Jobs have what the others leave, and half of the screen at least.
        free = max(0, rows - len(head) - 1)  # the last line is for keys and questions
        few = free < 12
        for_agents = min(len(agents), max(2, free // 4)) if not few else 0
        # Not just what they need now: else everything below would jump with every job.
        for_jobs = max(free // 2, min(len(jobs) + 1, free - for_agents - 4))
        if self.tall_events:
            for_agents, for_jobs = 0, max(3, free // 2)
        for_events = free - for_agents - for_jobs - 2
        if few:
            for_jobs, for_events = free, 0
        lines = [*head, *self._job_lines(jobs, now, for_jobs, columns, color)]
        if not few:
            lines += ["", *_cut(agents, for_agents, columns)] if for_agents else []
            lines += ["", *self._event_lines(for_events, columns, now)]
        lines = lines[: rows - 1]
        lines += [""] * (rows - 1 - len(lines))
        return [*lines, self._foot(columns, color)]

    def once(self, mirror: Mirror, now: float, columns: int, status: str, relay: str) -> str:
        """Everything there is, for a pipe or a terminal that cannot do more."""
        head = self._head(mirror, now, status, relay, columns, False)
        jobs = self.jobs(mirror, now)
        body = top_table(jobs, now, columns, False) if jobs else "no jobs\n"
        agents = agents_table(list(mirror.agents.values()), now, columns, False)
        return "\n".join(head) + "\n" + body + "\n" + agents

    def _below(self, mirror: Mirror, now: float, columns: int, color: bool) -> list[str]:
        """The lines of what stands below the jobs: agents, or ranks."""
        if not self.shows_ranks:
            return agents_table(list(mirror.agents.values()), now, columns, color).splitlines()
        if not self.selected:
            return [_fit("ranks of which job? arrows select one", columns)]
        if self.ranks is None:
            return [_fit(f"asking what the ranks of job {self.selected} do ...", columns)]
        if not self.ranks:
            return [_fit(f"job {self.selected} has no ranks now", columns)]
        from gshell.client.ranksview import ranks_table

        return ranks_table([dict(row) for row in self.ranks], columns, color).splitlines()

    def _head(
        self, mirror: Mirror, now: float, status: str, relay: str, columns: int, color: bool
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
        if self.filter or self.typing == "filter":
            second += f"   filter {self.filter!r}"
        if self.tagged:
            second += f"   {len(self.tagged)} tagged"
        uses = [mirror.use(id_, now) for id_ in mirror.jobs]
        rate = sum(use.out_rate + use.in_rate for use in uses if use is not None)
        third = f"slots {_gauge(slots - free, slots, min(40, columns // 3))}"
        third += f"   I/O {bytes_text(rate)}/s"
        return [
            painted(_fit(first, columns), "bold", color),
            _fit(second, columns),
            _fit(third, columns),
            "",
        ]

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
            star = "*" if ids[number] in self.tagged else " "
            if ids[number] == self.selected:
                line = f">{star}{plain[number]}"
                blanks = " " * max(0, columns - display_width(line))
                out.append(f"\x1b[7m{line}{blanks}\x1b[m" if color else line)
            else:
                out.append(f" {star}{lines[number]}")
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
            whom = f"job {self.asking[0]}" if len(self.asking) == 1 else f"{len(self.asking)} jobs"
            return painted(_fit(f"end {whom}? y ends it", columns), "bold", color)
        if self.typing == "find":
            rest = self.note or "F3 finds the next, Enter stays there"
            return _fit(f"find {self.find}_   {rest}", columns)
        if self.typing:
            return _fit(f"/{self.filter}_   Enter keeps it, Esc clears it", columns)
        if self.note:
            return _fit(self.note, columns)
        parts, used = [], 0
        for key, what in FOOT:
            used += len(key) + len(what) + 1
            if used > columns:
                break
            parts.append(key + (f"\x1b[7m{what}\x1b[m" if color else what))
        return " ".join(parts)


def _gauge(used: int, of: int, width: int) -> str:
    """``[####......] 4/10``"""
    inside = max(4, width - 2)
    full = round(inside * used / of) if of else 0
    full = max(full, 1 if used > 0 else 0)
    return f"[{'#' * full}{'.' * (inside - full)}] {used}/{of} busy"


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
