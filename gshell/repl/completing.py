"""What can stand where the cursor is. Pure: what has to be asked for is asked for by who catches
`Wanted`, and then this is asked again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from gshell.cli import commands
from gshell.cli.options import Command, Option
from gshell.cli.sessions import GLOBAL
from gshell.errors import GshellError
from gshell.model.sanitize import sanitize
from gshell.repl import builtins, numbers, places, reading, toolbar
from gshell.repl.facts import Facts
from gshell.repl.places import Place

MAX_SHOWN = 300
_LIVE_ONLY = frozenset(("attach", "sh", "kill", "cancel", "fwd", "ranks", "why"))
_AGENT_IDS = frozenset(("agent stop", "agent drain"))
STATES = ("ACTIVE", "QUEUED", "COMPLETED", "FAILED", "CANCELED", "STAGE_IN", "STAGE_OUT")


class Candidate(NamedTuple):
    """One thing that can stand there."""

    text: str
    start: int
    """From where on in the line it stands instead of what is there."""
    shown: str
    meta: str = ""


class Wanted(Exception):
    """Somebody has to be asked first: a `Place` whose names, or a list of the relay's."""

    def __init__(self, what: Place | str) -> None:
        super().__init__(what)
        self.what = what


class World(Protocol):
    """What is known. Methods raise `Wanted`."""

    @property
    def facts(self) -> Facts: ...

    @property
    def now(self) -> float: ...

    @property
    def aliases(self) -> Mapping[str, str]: ...

    @property
    def place(self) -> Place: ...

    @property
    def numbers(self) -> Mapping[str, int]: ...

    def folder(self, place: Place) -> list[tuple[str, str]]: ...

    def items(self, kind: str) -> list[dict[str, Any]]: ...


class _Slot(NamedTuple):
    """What is typed of the word at the cursor."""

    typed: str
    start: int
    prefix: str = ""
    """What of the word stays: `--agent=`, `42:`, `a,b,`."""
    end: str = " "
    """What comes behind what was chosen."""

    def take(self, text: str, shown: str = "", meta: str = "", end: str | None = None) -> Candidate:
        quoted = reading.quoted(self.prefix + text) if self.prefix + text else ""
        if self.prefix.startswith("%"):
            quoted = quoted.removeprefix("\\")
        tail = self.end if end is None else end
        return Candidate(quoted + tail, self.start, sanitize(shown or text, 60), sanitize(meta, 80))


def candidates(text: str, world: World) -> list[Candidate]:
    """``text``: the line up to the cursor.

    Raises:
        Wanted: see there.
    """
    stripped = text.lstrip()
    if stripped.startswith("!"):
        return _local_tail(text, len(text) - len(stripped) + 1)
    line = reading.read(text)
    if line.shell >= 0:
        return _local_tail(text, line.shell)
    words, slot = _at_cursor(text, line)
    try:
        found = _choices(_unaliased(words, world), slot, world)
        return list(_first(found, MAX_SHOWN))
    except GshellError:
        return []


def _first(found: Iterable[Candidate], count: int) -> Iterator[Candidate]:
    for number, one in enumerate(found):
        if number == count:
            return
        yield one


def _at_cursor(text: str, line: reading.Line) -> tuple[list[str], _Slot]:
    """The words before the one at the cursor, and that."""
    words = line.words
    if words and words[-1].end == len(text):
        return [word.text for word in words[:-1]], _Slot(words[-1].text, words[-1].start)
    return [word.text for word in words], _Slot("", len(text))


def _unaliased(words: list[str], world: World) -> list[str]:
    for _ in range(4):
        if not words or words[0] not in world.aliases:
            break
        words = [word.text for word in reading.read(world.aliases[words[0]]).words] + words[1:]
    return words


def _local_tail(text: str, start: int) -> list[Candidate]:
    """In what is for a shell: paths of this machine."""
    cut = max(text.rfind(char, start) for char in " \t|<>;&")
    start = max(start, cut + 1)
    return list(_first(_local(_Slot(text[start:], start)), MAX_SHOWN))


def _starting(
    slot: _Slot, rows: Iterable[tuple[str, str]], end: str | None = None
) -> list[Candidate]:
    return [slot.take(name, "", meta, end) for name, meta in rows if name.startswith(slot.typed)]


# ------------------------------------------------------------------------------------------- which


def _choices(words: list[str], slot: _Slot, world: World) -> Iterable[Candidate]:
    if words and words[0] in builtins.DOERS and words[0] != "help":
        return _of_builtin(words[0], words[1:], slot, world)
    found = commands.named(words)
    if found is None:
        return _verbs(words, slot, world)
    command, at = found
    rest = words[at:]
    if command.opaque:
        return [*_opaque(command, rest, slot), *_local(slot)]
    options = {name: one for one in (*command.common, *command.options) for name in one.names}
    count, waiting, theirs = _read_along(command, options, rest)
    if waiting is not None:
        return _values(waiting, slot, world)
    if theirs:
        return _paths(slot, world)
    if slot.typed.startswith("-") and "--" not in rest:
        name, equals, value = slot.typed.partition("=")
        if equals and name in options:
            more = slot._replace(typed=value, prefix=name + "=")
            return _values(options[name], more, world)
        return _options((*command.options, *command.common), slot)
    return _words(command, count, slot, world)


def _verbs(words: list[str], slot: _Slot, world: World) -> list[Candidate]:
    """The first word, or the second of a group."""
    if words and words[-1] in commands.GROUPS:
        group = words[-1] + " "
        rows = [(c.name.removeprefix(group), c.summary) for c in commands.COMMANDS
                if c.name.startswith(group)]  # fmt: skip
        return _starting(slot, rows)
    if words and not words[-1].startswith("-"):
        return []
    if slot.typed.startswith("-"):
        return _options(GLOBAL, slot)
    if slot.typed.startswith("%"):
        return list(_numbered(slot, world))
    rows = [(c.name, c.summary) for c in commands.COMMANDS if not c.hidden and " " not in c.name]
    rows += list(commands.GROUPS.items())
    rows += [(name, f"= {value}") for name, value in world.aliases.items()]
    known = {name for name, _ in rows}
    rows += [row for row in builtins.SUMMARIES.items() if row[0] not in known]
    return _starting(slot, sorted(rows))


def _read_along(
    command: Command, options: Mapping[str, Option], rest: Sequence[str]
) -> tuple[int, Option | None, bool]:
    """How many words that are no options; the option whose value is next; is it somebody else's
    line already?"""
    count = at = 0
    while at < len(rest):
        word = rest[at]
        at += 1
        if word == "--":
            return count + len(rest) - at, None, bool(command.remainder)
        if len(word) > 1 and word.startswith("-"):
            option = options.get(word)
            if option is not None and option.metavar:
                if at == len(rest):
                    return count, option, False
                at += 1
        elif command.remainder:
            return count, None, True
        else:
            count += 1
    return count, None, False


def _options(options: Iterable[Option], slot: _Slot) -> list[Candidate]:
    out = []
    for option in options:
        fits = [name for name in option.names if name.startswith(slot.typed)]
        if fits and option.help:
            shown = f"{fits[-1]} {option.metavar}".strip()
            out.append(slot.take(fits[-1], shown, option.help))
    return out


def _opaque(command: Command, rest: Sequence[str], slot: _Slot) -> list[Candidate]:
    if rest:
        return []
    heads = command.words.split()[:1]
    names = heads[0].split("|") if heads and "|" in heads[0] else []
    return _starting(slot, [(name, "") for name in names])


def _of_builtin(name: str, rest: Sequence[str], slot: _Slot, world: World) -> Iterable[Candidate]:
    if name == "set":
        if rest:
            return _starting(slot, [("on", ""), ("off", "")])
        return _starting(slot, builtins.SETTINGS.items())
    if name in ("alias", "unalias"):
        return _starting(slot, sorted(world.aliases.items()))
    if name == "source":
        return _local(slot)
    if name == "cd":
        return _paths(slot, world, folders=True)
    if name in ("ls", "cat"):
        return _paths(slot, world)
    return []


def _words(command: Command, count: int, slot: _Slot, world: World) -> Iterable[Candidate]:
    """By what the usage line calls the word."""
    usage = [word.strip("[].") for word in command.words.split()]
    if not usage:
        return []
    name = usage[min(count, len(usage) - 1)]
    if count >= len(usage) and "..." not in command.words:
        return []
    out: list[Candidate] = []
    for kind in name.split("|"):
        if kind == "ID":
            if command.name in _AGENT_IDS:
                out += _agents(slot, world)
            elif command.name == "revoke":
                out += _items("shares", "id", ("job", "rights"), slot, world)
            else:
                out += _jobs(slot, world, command.name in _LIVE_ONLY)
        elif kind == "AGENT":
            out += _agents(slot, world)
        elif kind == "NAME" and command.name.startswith("site") and command.name != "site add":
            out += _items("sites", "name", ("state",), slot, world)
        elif kind == "PILOT":
            out += _items("pilots", "pilot", ("state", "site"), slot, world)
        elif kind == "COMMAND":
            out += _verbs([], slot, world)
        elif kind in ("SRC", "DST", "WHERE:PATH"):
            out += _paths(slot, world)
        elif kind in ("FILE", "DIR", "PATH"):
            out += _local(slot)
    return out


def _values(option: Option, slot: _Slot, world: World) -> Iterable[Candidate]:
    """What an option's value can be."""
    metavar = option.metavar.strip("[].")
    if option.choices:
        return _starting(slot, [(choice, "") for choice in option.choices])
    if option.key == "agent":
        return _agents(slot, world)
    if option.key == "site":
        before, comma, typed = slot.typed.rpartition(",")
        slot = slot._replace(typed=typed, prefix=slot.prefix + before + comma)
        return _items("sites", "name", ("state",), slot, world)
    if option.key == "signal":
        return _starting(slot, [(name, "") for name in _signals()])
    if option.key == "state" or metavar.startswith("STATE"):
        return _starting(slot, [(name, "") for name in STATES])
    if option.key == "flavour":
        from gshell.cli.sessions import FLAVOURS

        return _starting(slot, [(name, "") for name in FLAVOURS])
    if option.key == "pool":
        groups = sorted({str(a["pool"]) for a in world.facts.agents if a.get("pool")})
        return _starting(slot, [(name, "") for name in groups])
    if metavar in ("ID", "JOB"):
        return _jobs(slot, world, False)
    if metavar.startswith(("FILE", "DIR", "PATH")):
        return _local(slot, folders=metavar.startswith("DIR"))
    return []


def _signals() -> list[str]:
    import signal

    names = [one.name.removeprefix("SIG") for one in signal.Signals]
    return sorted(name for name in names if not name.startswith("RT"))


# ------------------------------------------------------------------------------------ live things


def _jobs(slot: _Slot, world: World, live: bool) -> Iterator[Candidate]:
    """By id, or by the beginning of the name."""
    if slot.typed.startswith("%"):
        yield from _numbered(slot, world)
        return
    now = world.now - world.facts.skew_s
    found = [job for job in world.facts.jobs if not live or job.get("ended_at") is None]
    for job in sorted(found, key=lambda job: int(job["id"]), reverse=True):
        name = str(job["id"])
        if name.startswith(slot.typed) or (
            slot.typed and numbers.called(job).startswith(slot.typed)
        ):
            yield slot.take(name, name, toolbar.meta(job, now))


def _numbered(slot: _Slot, world: World) -> Iterator[Candidate]:
    now = world.now - world.facts.skew_s
    for job in world.facts.live:
        number = world.numbers.get(str(job["id"]))
        name = f"%{number}"
        if number and name.startswith(slot.typed):
            yield Candidate(name + slot.end, slot.start, name, toolbar.meta(job, now))


def _agents(slot: _Slot, world: World) -> Iterator[Candidate]:
    for agent in sorted(world.facts.agents, key=lambda agent: str(agent["id"])):
        name = str(agent["id"])
        if name.startswith(slot.typed):
            free = f"{agent.get('free')}/{agent.get('slots')} free"
            where = f"{agent.get('host') or ''} {agent.get('state') or ''}"
            yield slot.take(name, name, f"{where} {free}".strip())


def _items(
    kind: str, key: str, also: Sequence[str], slot: _Slot, world: World
) -> Iterator[Candidate]:
    """Of a list that the relay is asked for."""
    for item in world.items(kind):
        name = str(item.get(key) or "")
        if name and name.startswith(slot.typed):
            meta = " ".join(str(item[field]) for field in also if item.get(field))
            yield slot.take(name, name, meta)


# ------------------------------------------------------------------------------------------- paths


def _paths(slot: _Slot, world: World, folders: bool = False) -> Iterator[Candidate]:
    """Here or there: ``ID:dir/na``, or what stands where the prompt is."""
    there = places.of_word(slot.typed)
    if there is not None and there.name:
        name, path = _named(slot.typed)
        yield from _far(slot._replace(typed=path, prefix=slot.prefix + name + ":"),
                        Place(there.name), world, folders)  # fmt: skip
        return
    if world.place.name:
        yield from _far(slot, world.place, world, folders)
    else:
        yield from _local(slot, folders)
    if "/" not in slot.typed and (slot.typed or folders):
        colon = slot._replace(end=":")
        live = [c for c in _jobs(colon, world, True) if not c.text.startswith("%")]
        yield from [*live, *_agents(colon, world)]


def _named(typed: str) -> tuple[str, str]:
    """``site:a:x`` is ``site:a`` and ``x``."""
    name, _, path = typed.partition(":")
    if name == "site":
        more, _, path = path.partition(":")
        name = f"site:{more}"
    return name, path


def _far(slot: _Slot, place: Place, world: World, folders: bool) -> Iterator[Candidate]:
    head, slash, typed = slot.typed.rpartition("/")
    inner = places.joined(place, (head + slash) or ".") if head or slash else place
    names = world.folder(inner)
    yield from _entries(
        names, slot._replace(typed=typed, prefix=slot.prefix + head + slash), folders
    )


def _local(slot: _Slot, folders: bool = False) -> Iterator[Candidate]:
    head, slash, typed = slot.typed.rpartition("/")
    folder = os.path.expanduser(head + slash) or "."
    names = []
    try:
        with os.scandir(folder) as found:
            for entry in found:
                names.append((entry.name, "d" if entry.is_dir() else "f"))
                if len(names) >= 10_000:
                    break
    except (OSError, ValueError):
        return
    yield from _entries(
        names, slot._replace(typed=typed, prefix=slot.prefix + head + slash), folders
    )


def _entries(names: Iterable[tuple[str, str]], slot: _Slot, folders: bool) -> Iterator[Candidate]:
    """What would not be shown as it is, is not offered either."""
    for name, kind in sorted(names):
        if not name.startswith(slot.typed) or (name.startswith(".") and not slot.typed):
            continue
        if (folders and kind != "d") or sanitize(name) != name:
            continue
        tail = "/" if kind == "d" else slot.end
        tilde = slot.prefix.startswith("~/")
        one = slot.take(name, name + ("/" if kind == "d" else ""), "", tail)
        yield one._replace(text=one.text.removeprefix("\\")) if tilde else one
