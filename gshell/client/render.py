"""Tables of jobs and agents, and errors, as plain text. Knows no terminal and no clock.

`gshell jobs` has 150 ms; rich alone takes 80. What a relay or an agent said has been made safe
where it was decoded (`sanitize_all`); here cells are cut to their columns, and errors, in which the
user's own words and a library's may stand, are made safe.
"""

from __future__ import annotations

from gshell.model.sanitize import sanitize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from gshell.errors import GshellError

GAP = 2  # blanks between columns
NAME_AT_LEAST = 8  # columns that a name is not cut below
_COLORS = {"green": "32", "yellow": "33", "red": "31", "dim": "2", "bold": "1"}
_IDLE_S = 7.0  # use is reported every 5 s: less is no idleness
_RATE_S = 2.0  # of a shorter past nothing is concluded
_RATE_PART, _RATE_SOON_S = 0.02, 60.0  # nor of less than so much, so soon
_WAITING = ("NEW", "QUEUED", "HELD", "STAGE_IN")


def wants_color(choice: str, is_terminal: bool, environ: Mapping[str, str]) -> bool:
    """What --color says; else NO_COLOR, FORCE_COLOR; else whether it is a terminal that can."""
    if choice != "auto":
        return choice == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return is_terminal and environ.get("TERM", "dumb") != "dumb"


def painted(text: str, color: str, on: bool) -> str:
    """``text`` in a color; never the only sign of anything."""
    return f"\x1b[{_COLORS[color]}m{text}\x1b[m" if on and color and text else text


# the usual ends; their numbers are the same on every Linux, and `signal` costs 6 ms
_SIGNALS = {1: "HUP", 2: "INT", 3: "QUIT", 6: "ABRT", 9: "KILL", 11: "SEGV", 13: "PIPE", 15: "TERM"}

# ------------------------------------------------------------------------------------------- values


def duration_text(seconds: float) -> str:
    """``0:03:12``, ``1-02:03:04`` (with days)."""
    whole = max(0, int(seconds))
    days, rest = divmod(whole, 86400)
    clock = f"{rest // 3600}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}-{clock:0>8}" if days else clock


def ago_text(seconds: float) -> str:
    """``now``, ``40 s ago``, ``5 min ago``, ``2 h ago``, ``3 d ago``."""
    whole = int(seconds)
    if whole < 2:
        return "now"
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if whole < limit:
            return f"{whole // size} {unit} ago"
    return f"{whole // 86400} d ago"


def bytes_text(count: float, base: int = 1000) -> str:
    """``512 B``, ``12.3 MB``, ``640 GB``; with base 1024, as memory is sold, ``62.6 GiB``."""
    value, power = float(count), 0
    while value >= base - 0.5 and power < 4:
        value /= base
        power += 1
    unit = ("", "k" if base == 1000 else "K", "M", "G", "T")[power]
    unit += "B" if base == 1000 or not power else "iB"
    return f"{value:.0f} {unit}" if not power or value >= 99.95 else f"{value:.1f} {unit}"


def hosts_text(hosts: Sequence[str]) -> str:
    """``n[020-023],login1``: runs of numbered hosts folded, as batch systems write them."""
    runs: list[list[str]] = []  # stem, first number, last number
    for host in hosts:
        stem = host.rstrip("0123456789")
        number = host[len(stem) :]
        last = runs[-1] if runs else ["", "", ""]
        follows = number.isascii() and number and last[2] and last[0] == stem
        if follows and len(number) == len(last[2]) and int(number) == int(last[2]) + 1:
            last[2] = number
        else:
            runs.append([stem, number, number])
    return ",".join(
        stem + (first if first == last else f"[{first}-{last}]") for stem, first, last in runs
    )


def state_text(job: Mapping[str, Any]) -> tuple[str, str]:
    """(as a person reads it, color): ``active``, ``done 0``, ``failed 3``, ``failed TERM``."""
    state = str(job.get("state", ""))
    phase = job.get("phase")
    if phase in ("prologue", "epilogue"):
        return str(phase), "green"
    if state == "ACTIVE":
        return "active", "green"
    if state in _WAITING:
        return state.lower().replace("_", " "), "yellow"
    signal, how = job.get("signal"), job.get("code")
    if signal:
        how = _SIGNALS.get(signal) if isinstance(signal, int) else None
        how = how or f"signal {signal}"
    if state == "COMPLETED":
        return f"done {'' if how is None else how}".rstrip(), "dim"
    if state == "FAILED":
        return f"failed {'' if how is None else how}".rstrip(), "red"
    return state.lower().replace("_", " "), "dim"


# ------------------------------------------------------------------------------------------- tables


class Column:
    """A column: its title, what stands in it, and what becomes of it where there is little room."""

    __slots__ = ("cell", "cells", "right", "shrinks", "title", "weight", "when")

    def __init__(
        self,
        title: str,
        weight: int,
        cell: Callable[[Mapping[str, Any]], str | tuple[str, str]],
        right: bool = False,
        shrinks: bool = False,
        when: bool = True,
    ) -> None:
        """``cell``: text, or (text, color). The heaviest ``weight`` is thrown overboard first; not
        ``when``: it is shown only to who asks for it by name."""
        self.title = title
        self.weight = weight
        self.cell = cell
        self.right = right
        self.shrinks = shrinks
        self.when = when
        self.cells: list[tuple[str, str]] = []

    def fill(self, items: Iterable[Mapping[str, Any]]) -> None:
        for item in items:
            made = self.cell(item)
            self.cells.append(made if isinstance(made, tuple) else (made, ""))

    def width(self) -> int:
        return max([len(self.title), *(display_width(text) for text, _ in self.cells)])


def table(
    items: Sequence[Mapping[str, Any]],
    columns: list[Column],
    width: int | None,
    color: bool,
    fields: Sequence[str] = (),
) -> str:
    """``fields``: these, by their names in `gshell.client.fields`, however wide that is."""
    if fields:
        from gshell.client.fields import chosen

        columns, width = chosen(columns, fields), None
    else:
        columns = [column for column in columns if column.when]
    for column in columns:
        column.fill(items)
    widths = {column: column.width() for column in columns}
    if width is not None:
        columns = _fit(columns, widths, width)
    rows = [_line([(column, column.title, "bold") for column in columns], widths, color)]
    rows += [
        _line([(column, *column.cells[at]) for column in columns], widths, color)
        for at in range(len(items))
    ]
    return "\n".join(rows) + "\n"


def _fit(columns: list[Column], widths: dict[Column, int], width: int) -> list[Column]:
    columns = list(columns)
    while True:
        over = sum(widths[column] + GAP for column in columns) - GAP - width
        for column in sorted(columns, key=lambda column: -widths[column]):
            if over > 0 and column.shrinks:
                spare = min(over, max(0, widths[column] - NAME_AT_LEAST))
                widths[column] -= spare
                over -= spare
        if over <= 0 or len(columns) == 1:
            break
        columns.remove(max(columns, key=lambda column: column.weight))
        for column in columns:
            widths[column] = column.width()
    for column in columns:  # the last one standing is cut to the screen, whatever it is
        widths[column] = min(widths[column], max(1, width))
    return columns


def _line(row: Sequence[tuple[Column, str, str]], widths: Mapping[Column, int], color: bool) -> str:
    parts = []
    for column, text, paint in row:
        room = widths[column]
        text = sanitize(text, room)
        blanks = " " * (room - display_width(text))
        text = painted(text, paint, color)
        parts.append(blanks + text if column.right else text + blanks)
    return (" " * GAP).join(parts).rstrip()


def display_width(text: str) -> int:
    """Columns that ``text`` takes once `sanitize` has made it safe."""
    if text.isascii() and text.isprintable():
        return len(text)
    from unicodedata import east_asian_width

    return sum(2 if east_asian_width(char) in "WF" else 1 for char in sanitize(text))


def jobs_table(
    jobs: Sequence[Mapping[str, Any]],
    now: float,
    width: int | None = None,
    color: bool = False,
    fields: Sequence[str] = (),
) -> str:
    """JOBs (gshell/net/CONTROL.md) as a table; ``width`` None: as wide as it needs."""
    if not jobs and not fields:
        return "no jobs\n"
    users = {_text(job, "user") for job in jobs}
    columns = [
        Column("ID", 0, lambda job: _text(job, "id")),
        Column("NAME", 2, lambda job: _text(job, "name") or _text(job, "argv0"), shrinks=True),
        Column("USER", 4, lambda job: _text(job, "user"), when=len(users) > 1),
        Column("STATE", 1, state_text),
        Column("NODES", 5, lambda job: _hosts(job) or "-", shrinks=True),
        Column("N", 6, _tasks, right=True),
        Column("ELAPSED", 3, lambda job: _elapsed(job, now), right=True),
        Column("PROGRESS", 4, lambda job: progress_text(job, now), right=True,
               when=any(job.get("progress") for job in jobs)),
        Column("CREATED", 8, lambda job: _since(job, "created_at", now), right=True),
        Column("WATCH", 7, watch_text),
        Column("ARCHIVED", 9, _archived, right=True,
               when=any(job.get("archived") for job in jobs)),
    ]  # fmt: skip
    return table(jobs, columns, width, color, fields)


def top_table(
    jobs: Sequence[Mapping[str, Any]], now: float, width: int | None = None, color: bool = False
) -> str:
    """JOBs with a ``use`` (`gshell.client.feed.Use` or None) as the table of `gshell top`."""
    columns = [
        Column("ID", 0, lambda job: _text(job, "id")),
        Column("NAME", 2, lambda job: _text(job, "name") or _text(job, "argv0"), shrinks=True),
        Column("STATE", 1, state_text),
        Column("NODES", 6, lambda job: _hosts(job) or "-", shrinks=True),
        Column("ELAPSED", 5, lambda job: _elapsed(job, now), right=True),
        Column("I/O", 3, _rate, right=True),
        Column("LAST MIN", 10, lambda job: _text(job, "bars"),
               when=any(job.get("bars") for job in jobs)),
        Column("IDLE", 4, lambda job: _idle(job, now), right=True),
        Column("CPU", 7, _cpu, right=True),
        Column("MEMORY", 8, _rss, right=True),
        Column("WATCH", 9, watch_text),
    ]  # fmt: skip
    if any(job.get("progress") for job in jobs):
        columns.insert(5, Column("PROGRESS", 4, lambda job: progress_text(job, now), right=True))
    return table(jobs, columns, width, color)


def _rate(job: Mapping[str, Any]) -> str:
    use = job.get("use")
    return "-" if use is None or _over(job) else f"{bytes_text(use.out_rate + use.in_rate)}/s"


def _idle(job: Mapping[str, Any], now: float) -> str:
    use = job.get("use")
    if use is None or _over(job):
        return "-"
    seconds = now - use.moved_at
    if seconds < _IDLE_S:
        return "asks" if use.waits else "-"
    return duration_text(seconds) + (" asks" if use.waits else "")


def _cpu(job: Mapping[str, Any]) -> str:
    use = job.get("use")
    return "-" if use is None or _over(job) else f"{use.cpu_rate * 100:.0f}%"


def _rss(job: Mapping[str, Any]) -> str:
    use = job.get("use")
    return "-" if use is None or _over(job) else bytes_text(use.rss_bytes, 1024)


def _over(job: Mapping[str, Any]) -> bool:
    return job.get("ended_at") is not None


def keys_table(
    keys: Sequence[Mapping[str, Any]],
    now: float,
    width: int | None = None,
    color: bool = False,
    fields: Sequence[str] = (),
) -> str:
    """Credentials of the verb ``keys`` as a table; ``width`` None: as wide as it needs."""
    columns = [
        Column("KEY", 0, lambda key: _text(key, "serial")[:12] + ("*" if key.get("mine") else "")),
        Column("FOR", 1, lambda key: _text(key, "agent_id") or "client", shrinks=True),
        Column("MADE", 2, lambda key: _since(key, "made_at", now)),
        Column("LAST SEEN", 3, lambda key: _since(key, "seen_at", now)),
    ]
    return table(keys, columns, width, color, fields)


def agents_table(
    agents: Sequence[Mapping[str, Any]],
    now: float,
    width: int | None = None,
    color: bool = False,
    fields: Sequence[str] = (),
) -> str:
    """AGENTs (gshell/net/CONTROL.md) as a table; ``width`` None: as wide as it needs."""
    if not agents and not fields:
        return "no agents\n"
    users = {_text(agent, "user") for agent in agents}
    pools = any(_text(agent, "pool") for agent in agents)
    many = len(users) > 1 or pools  # whose account a pool's jobs get is never left out
    columns = [
        Column("ID", 0, lambda agent: _text(agent, "id"), shrinks=True),
        Column("HOST", 3, lambda agent: _text(agent, "host"), shrinks=True),
        Column("SITE", 2, lambda agent: _text(agent, "site") or "-",
               when=any(_text(agent, "site") for agent in agents)),
        Column("USER", 2, lambda agent: _text(agent, "user"), when=many),
        Column("POOL", 2, lambda agent: _text(agent, "pool") or "-", when=pools),
        Column("STATE", 1, _agent_state),
        Column("FREE", 2, _free, right=True),
        Column("CPUS", 6, lambda agent: _text(agent, "cpus"), right=True),
        Column("MEMORY", 7, _memory, right=True),
        Column("TAGS", 5, _tags, shrinks=True),
        Column("SINCE", 4, lambda agent: _since(agent, "since", now), right=True),
        Column("VERSION", 8, lambda agent: _text(agent, "version")),
        Column("BATCH HAS", 2, _batch_has, right=True,
               when=any(_batch_has(agent) != "-" for agent in agents)),
        Column("LEFT", 3, lambda agent: _left(agent, now), right=True,
               when=any(stamp(agent, "ends_at") for agent in agents)),
    ]  # fmt: skip
    return table(agents, columns, width, color, fields)


def shares_table(
    shares: Sequence[Mapping[str, Any]],
    now: float,
    width: int | None = None,
    color: bool = False,
    fields: Sequence[str] = (),
) -> str:
    """SHAREs (gshell/net/CONTROL.md) as a table; ``width`` None: as wide as it needs."""
    if not shares and not fields:
        return "no shares\n"
    columns = [
        Column("ID", 0, lambda share: _text(share, "id")),
        Column("JOB", 1, lambda share: _text(share, "job"), right=True),
        Column("MAY", 2, lambda share: "type" if share.get("rights") == "rw" else "look on"),
        Column("ENDS IN", 3, lambda share: duration_text(share["until"] - now), right=True),
        Column("LEFT", 4, _uses, right=True),
        Column("TO", 6, lambda share: _text(share, "to") or "anybody", shrinks=True),
        Column("USERS", 5, lambda share: ",".join(share.get("users") or ()) or "-", shrinks=True),
    ]
    return table(shares, columns, width, color, fields)


def _uses(share: Mapping[str, Any]) -> str:
    left = share.get("uses_left")
    return "any" if left is None else str(left)


def _text(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    return "" if value is None else str(value)


def _hosts(job: Mapping[str, Any]) -> str:
    return hosts_text(texts_of(job, "hosts"))


def _tasks(job: Mapping[str, Any]) -> str:
    return str(job.get("tasks") or job.get("size") or 1)


def stamp(item: Mapping[str, Any], key: str) -> float | None:
    """The number of this name; None if it is none."""
    value = item.get(key)
    return float(value) if isinstance(value, (int, float)) else None


def texts_of(item: Mapping[str, Any], key: str) -> list[str]:
    value = item.get(key)
    return [str(one) for one in value] if isinstance(value, list) else []


def _elapsed(job: Mapping[str, Any], now: float) -> str:
    started = stamp(job, "started_at")
    return "-" if started is None else duration_text((stamp(job, "ended_at") or now) - started)


def progress_text(job: Mapping[str, Any], now: float) -> str:
    """``20/250, 0:04:12 left``: how far its program says to be, and at this rate how long yet."""
    said = job.get("progress")
    if not isinstance(said, dict) or _over(job):
        return "-"
    done, of, at = stamp(said, "done"), stamp(said, "of"), stamp(said, "at")
    if done is None or not of:
        return "-"
    text = f"{done:.0f}%" if of == 100 else f"{done:.0f}/{of:.0f}"
    started = stamp(job, "started_at")
    if started is None or at is None or not 0 < done < of or at - started < _RATE_S:
        return text
    if done / of < _RATE_PART and at - started < _RATE_SOON_S:
        return text  # to start took the most of it
    left = (of - done) * (at - started) / done - (now - at)
    return f"{text}, {duration_text(left)} left" if left >= 0 else text


def _since(item: Mapping[str, Any], key: str, now: float) -> str:
    at = stamp(item, key)
    return "-" if at is None else ago_text(now - at)


def watch_text(job: Mapping[str, Any]) -> str:
    parts = ["attached"] if job.get("attached") else []
    readers = job.get("watchers") or 0
    if readers:
        parts.append(f"{readers} reader" + ("s" if readers != 1 else ""))
    return ", ".join(parts) or "-"


def _archived(job: Mapping[str, Any]) -> str:
    return bytes_text(stamp(job, "archived_bytes") or 0) if job.get("archived") else "-"


def _agent_state(agent: Mapping[str, Any]) -> tuple[str, str]:
    state = _text(agent, "state")
    colors = {"waiting": "green", "busy": "yellow", "draining": "yellow", "away": "red"}
    return state, colors.get(state, "")


def _left(agent: Mapping[str, Any], now: float) -> str:
    at = stamp(agent, "ends_at")
    return "-" if at is None else duration_text(at - now)


def _batch_has(agent: Mapping[str, Any]) -> str:
    """The measured part of the cores that batch jobs keep beside interactive ones."""
    share = agent.get("share")
    if not isinstance(share, dict):
        return "-"
    part, asked = stamp(share, "share"), stamp(share, "asked")
    if part is None:
        return "-"
    return f"{100 * part:.1f} %" + ("" if asked is None else f" (asked {asked:g})")


def _free(agent: Mapping[str, Any]) -> str:
    return f"{_text(agent, 'free') or '?'}/{_text(agent, 'slots') or '?'}"


def _memory(agent: Mapping[str, Any]) -> str:
    memory = stamp(agent, "memory_bytes")
    return "-" if not memory else bytes_text(memory, 1024)


def _tags(agent: Mapping[str, Any]) -> str:
    return ",".join(texts_of(agent, "tags")) or "-"


# ------------------------------------------------------------------------------------------- errors


def error_text(error: GshellError, color: bool = False) -> str:
    """What a person is shown: ``gshell: what happened``, and ``  try:  what to type``."""
    lines = [sanitize(line) for line in error.message.split("\n")]
    text = painted("gshell:", "red", color) + " " + "\n        ".join(lines) + "\n"
    if error.hint:
        text += f"  {painted('try:', 'bold', color)}  {sanitize(error.hint)}\n"
    return text
