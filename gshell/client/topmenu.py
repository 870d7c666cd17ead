"""What `gshell top` shows instead of its lists: help, and things to choose from. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from gshell.client.render import painted
from gshell.model.sanitize import sanitize

SORTS = ("id", "io", "idle", "cpu", "memory", "name")
SORT_WORDS = {
    "id": "number", "io": "bytes a second", "idle": "silent for the longest", "cpu": "processors",
    "memory": "memory", "name": "name",
}  # fmt: skip
# The numbers are the same on every Linux; 0: as `gshell cancel` does it.
SIGNALS = (
    (0, "end it: TERM, and KILL after 5 s"), (1, "HUP"), (2, "INT: as Ctrl-C"), (3, "QUIT"),
    (9, "KILL"), (10, "USR1"), (12, "USR2"), (15, "TERM"), (18, "CONT: go on"), (19, "STOP"),
)  # fmt: skip

HELP = """\
  arrows j k   move           PgUp PgDn Home End
  F1  h ?      this           F10 q  Ctrl-C   quit
  F3           find by what is typed; F3 again: the next one
  F4  / \\      show only what matches; Esc shows all again
  F5  t        what the ranks of the selected job do, instead of agents
  F6  > s      choose the order; s: the next one at once
  F9           send a signal to the selected job, or to all that are tagged
  K            end them, after a question
  space        tag or untag, and go down; U untags all
  Enter a      attach to the selected job; come back when that is left
  e            events on the whole lower half, or not
  Ctrl-L       draw it all anew      Ctrl-Z  suspend

I/O is bytes a second of output and input; the row of bars behind it is the
output of the last minute. IDLE: nothing was written or read for so long;
`asks`: it waits for input. A star is a tagged job.
"""


class Menu:
    """Things of which one is chosen. Invariant: ``at`` is one of them."""

    def __init__(self, title: str, items: Sequence[tuple[str, str]], at: int = 0) -> None:
        """``items``: (what is given back, what is shown)."""
        self.title = title
        self.items = list(items)
        self.at = at

    def key(self, key: str) -> str | None:
        """One key. What was chosen; ``""`` if nothing was and it is over; None: not yet."""
        if key in ("down", "j", "\t"):
            self.at = (self.at + 1) % len(self.items)
        elif key in ("up", "k"):
            self.at = (self.at - 1) % len(self.items)
        elif key in ("home", "pgup"):
            self.at = 0
        elif key in ("end", "pgdn"):
            self.at = len(self.items) - 1
        elif key in ("\r", "\n", " "):
            return self.items[self.at][0]
        elif key in ("esc", "q", "\x03", "f10"):
            return ""
        elif key.isdigit():
            # the number of a signal: the first whose number begins with it, after this one
            order = [*range(self.at + 1, len(self.items)), *range(self.at + 1)]
            self.at = next((n for n in order if self.items[n][0].startswith(key)), self.at)
        return None

    def lines(self, rows: int, columns: int, color: bool) -> list[str]:
        """At most ``rows``; what is chosen is among them."""
        found = [painted(sanitize(self.title, columns), "bold", color)] if rows > 1 else []
        room = max(1, rows - len(found))
        first = max(0, min(self.at - room // 2, len(self.items) - room))
        for number in range(first, min(first + room, len(self.items))):
            chosen = number == self.at
            line = sanitize(("> " if chosen else "  ") + self.items[number][1], columns)
            if chosen and color:
                line = f"\x1b[7m{line}\x1b[m"
            found.append(line)
        return found


def sort_menu(sort: str) -> Menu:
    items = [(name, f"{name:<8}{SORT_WORDS[name]}") for name in SORTS]
    return Menu("sort by (Enter takes it, Esc leaves it)", items, SORTS.index(sort))


def signal_menu(jobs: Sequence[str]) -> Menu:
    whom = f"job {jobs[0]}" if len(jobs) == 1 else f"{len(jobs)} jobs"
    items = [(str(number), f"{number or '':>2} {words}") for number, words in SIGNALS]
    return Menu(f"send to {whom} (Enter sends it, Esc does not)", items)


def help_lines(rows: int, columns: int) -> list[str]:
    lines = ["keys (any key goes back)", "", *HELP.splitlines()]
    return [sanitize(line, columns) for line in lines[:rows]]
