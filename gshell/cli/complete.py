"""What may be typed next: words of the command tables, and things that live now.

`complete` is pure but for the `Sources` it is given: the shells' completion asks the relay for them
(`gshell.cli.live`), a prompt may have them at hand already.
"""

from __future__ import annotations

from gshell.cli import commands
from gshell.client.render import duration_text, hosts_text, stamp, state_text
from gshell.model.sanitize import sanitize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any, Protocol

    from gshell.cli.options import Command, Option

    Item = dict[str, Any]

    class Sources(Protocol):
        """What lives now. Each answers at once, and with nothing where nothing is known."""

        def jobs(self, ended_too: bool) -> Sequence[Item]:
            """JOBs (gshell/net/CONTROL.md)."""

        def agents(self) -> Sequence[Item]:
            """AGENTs."""

        def sites(self) -> Sequence[Item]: ...

        def pilots(self) -> Sequence[Item]: ...

        def shares(self) -> Sequence[Item]: ...

        def credentials(self) -> Sequence[Item]: ...

        def paths(self, where: str, path: str) -> Sequence[str]:
            """Paths at the job or agent ``where`` that begin with ``path``; directories end in
            a slash."""


META_COLUMNS = 60
FILES = "files"
"""Beside these words, files of this machine fit here."""
COMMANDS_HERE = "commands"
"""Beside these words, programs of this machine fit here: somebody else's command line begins."""

_SIGNALS = ("TERM", "KILL", "INT", "HUP", "USR1", "USR2", "STOP", "CONT", "QUIT")
_STATES = ("queued", "active", "done", "failed", "canceled", "all")
_ENDED_TOO = ("show", "logs", "forget", "fetch", "get", "cp", "attach", "rec", "jobs")


class Nothing:
    """No source at all: of what lives, nothing is known."""

    def jobs(self, ended_too: bool) -> Sequence[Item]:
        return ()

    def agents(self) -> Sequence[Item]:
        return ()

    def sites(self) -> Sequence[Item]:
        return ()

    def pilots(self) -> Sequence[Item]:
        return ()

    def shares(self) -> Sequence[Item]:
        return ()

    def credentials(self) -> Sequence[Item]:
        return ()

    def paths(self, where: str, path: str) -> Sequence[str]:
        return ()


class Word:
    """One way to go on: the whole ``text`` of the word, and what that is."""

    __slots__ = ("meta", "text")

    def __init__(self, text: str, meta: str = "") -> None:
        self.text = text
        self.meta = sanitize(meta, META_COLUMNS)

    def __repr__(self) -> str:
        return f"Word({self.text!r}, {self.meta!r})"

    @property
    def goes_on(self) -> bool:
        """No blank follows it."""
        return self.text.endswith(("/", ":", "="))


class Found:
    """The words that fit, and whether something of this machine does, too (`FILES`, ...)."""

    __slots__ = ("also", "words")

    def __init__(self, words: list[Word], also: str = "") -> None:
        self.words = words
        self.also = also


def complete(argv: Sequence[str], sources: Sources | None = None) -> Found:
    """For the last of ``argv`` (empty: a new word begins), after the program's own name."""
    last = argv[-1] if argv else ""
    words, also = _candidates(list(argv[:-1]), last, sources or Nothing())
    fits: dict[str, Word] = {}
    for word in words:
        # what is not fit to be shown is not fit to be typed either
        if word.text.startswith(last) and sanitize(word.text) == word.text:
            fits.setdefault(word.text, word)
    return Found(list(fits.values()), also)


def _candidates(before: list[str], last: str, live: Sources) -> tuple[Iterable[Word], str]:
    at = _after_options(before, commands.ROOT)
    if at is None:
        return _value(_pending(before, commands.ROOT), last, live, commands.ROOT)
    rest = before[at:]
    if not rest and last.startswith("-"):
        return _of_command(commands.ROOT, before, last, live)
    if not rest:
        return _verbs(), ""
    name, rest = rest[0], rest[1:]
    if name in commands.GROUPS:
        if not rest:
            return [Word(c.name.split()[1], c.summary) for c in commands.COMMANDS
                    if c.name.startswith(name + " ")], ""  # fmt: skip
        name, rest = f"{name} {rest[0]}", rest[1:]
    command = commands.find(name)
    if command is None:
        return (), ""
    return _of_command(command, rest, last, live)


def _of_command(
    command: Command, rest: list[str], last: str, live: Sources
) -> tuple[Iterable[Word], str]:
    if command.opaque:
        return _opaque(command, rest, last), FILES
    option, typed = _pending(rest, command), _typed(rest, command)
    if typed and command.remainder:
        return (), FILES
    if option is not None and "--" not in rest:
        return _value(option, last, live, command)
    if last.startswith("--") and "=" in last:
        name, _, text = last.partition("=")
        option = _named(command, name)
        if option is None or not option.metavar:
            return (), ""
        words, also = _value(option, text, live, command)
        return [Word(f"{name}={word.text}", word.meta) for word in words], also
    if last.startswith("-") and "--" not in rest:
        return _options(command, last), ""
    if command.remainder:
        return (), COMMANDS_HERE
    return _positional(command, typed, last, live)


def _after_options(words: list[str], command: Command) -> int | None:
    """Where the first word stands that is no option of ``command``; None: a value is due."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        option = _named(command, words[at].partition("=")[0])
        at += 1
        if option is not None and option.metavar and "=" not in words[at - 1]:
            if at == len(words):
                return None
            at += 1
    return at


def _named(command: Command, name: str) -> Option | None:
    for option in (*command.common, *command.options):
        if name in option.names:
            return option
    return None


def _pending(words: list[str], command: Command) -> Option | None:
    """The option whose value comes next."""
    at, option = 0, None
    while at < len(words):
        word = words[at]
        at += 1
        option = None
        if word == "--":
            return None
        if len(word) > 1 and word[0] == "-" and "=" not in word:
            # of a cluster (-tn) the last may want a value; -n4 has it already
            name = word if word.startswith("--") or len(word) == 2 else "-" + word[-1]
            option = _named(command, name)
            if option is not None and not option.metavar:
                option = None
            if option is not None and at < len(words):
                at += 1
                option = None
    return option


def _typed(words: list[str], command: Command) -> list[str]:
    """The positionals among them."""
    found: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            return found + words[at:]
        if len(word) < 2 or word[0] != "-":
            found.append(word)
        elif "=" not in word:
            option = _named(command, word)
            at += option is not None and bool(option.metavar)
    return found


# ------------------------------------------------------------------------------------------- words


def _verbs() -> list[Word]:
    words = [
        Word(name, command.summary)
        for command in commands.COMMANDS
        if not command.hidden and " " not in command.name
        for name in (command.name, *command.aliases)
    ]
    return words + [Word(name, what) for name, what in commands.GROUPS.items()]


def _options(command: Command, last: str) -> list[Word]:
    return [
        Word(name, option.help)
        for option in (*command.options, *command.common)
        if option.help
        for name in option.names
        if name.startswith("--") or last == name
    ]


def _value(
    option: Option | None, last: str, live: Sources, command: Command
) -> tuple[Iterable[Word], str]:
    if option is None:
        return (), ""
    if option.choices:
        return [Word(choice) for choice in option.choices], ""
    kind, name = option.metavar, option.key
    if name == "signal":
        return [Word(signal) for signal in _SIGNALS], ""
    if name == "agent":
        return _agents(live), ""
    if name in ("site", "resource"):
        return _listed(last, _sites(live)), ""
    if name == "state":
        return _listed(last, [Word(state) for state in _STATES]), ""
    if name == "fields":
        from gshell.client.fields import names_of

        return _listed(last, [Word(f) for f in (*names_of(command.name), "help")]), ""
    return (), FILES if kind in ("FILE", "DIR", "INVITE") else ""


def _listed(last: str, words: Iterable[Word]) -> list[Word]:
    """The last of a list with commas."""
    done = last.rpartition(",")
    begun = done[0] + done[1]
    there = set(done[0].split(","))
    return [Word(begun + word.text, word.meta) for word in words if word.text not in there]


def _positional(
    command: Command, typed: list[str], last: str, live: Sources
) -> tuple[Iterable[Word], str]:
    kinds = [word.strip("[]") for word in command.words.split()]
    if not kinds:
        return (), ""
    if len(typed) >= len(kinds) and "..." not in command.words:
        return (), ""
    kind = kinds[min(len(typed), len(kinds) - 1)]
    name = command.name
    here = set(typed)
    if name in ("put", "get", "cp"):
        words = list(_remote(last, live))
        return words, "" if ":" in last or (name == "get" and not typed) else FILES
    if name == "revoke":
        return [*_shares(live), *_keys(live)], ""
    if kind == "COMMAND..." or name == "help":
        return _help(typed), ""
    if name.startswith("agent ") and "ID" in kind:
        return [word for word in _agents(live) if word.text not in here], ""
    if name.startswith("site ") and name != "site add":
        return _sites(live), ""
    if kind.startswith("PILOT"):
        return [word for word in _pilots(live) if word.text not in here], ""
    if kind == "ID|AGENT":
        return [*_jobs(live, False), *_agents(live)], ""
    if kind.startswith("ID"):
        words = [word for word in _jobs(live, name in _ENDED_TOO) if word.text not in here]
        return words, ""
    if kind.islower() and "|" in kind:
        return [Word(word) for word in kind.split("|")], ""
    return (), FILES if kind.rstrip(".") in ("FILE", "DIR", "SRC", "DST", "INVITE") else ""


def _opaque(command: Command, rest: list[str], last: str) -> list[Word]:
    """Somebody else reads it; the first word is in our usage line."""
    first = command.words.split(" ")[0]
    if rest or "|" not in first:
        return []
    return [Word(word) for word in first.split("|")]


def _help(typed: list[str]) -> list[Word]:
    if typed:
        return [Word(c.name.split()[1], c.summary) for c in commands.COMMANDS
                if c.name.startswith(typed[0] + " ")]  # fmt: skip
    from gshell.cli.topics import TOPICS

    return [*_verbs(), *(Word(name, topic.summary) for name, topic in TOPICS.items())]


# --------------------------------------------------------------------------------- what lives now


def job_meta(job: Item) -> str:
    """``lu.C.64, active on n[020-023], 0:11:40``: what a person knows it by."""
    name = str(job.get("name") or job.get("argv0") or "")
    state = state_text(job)[0]
    hosts = job.get("hosts")
    where = hosts_text([str(host) for host in hosts]) if isinstance(hosts, list) else ""
    started, ended = stamp(job, "started_at"), stamp(job, "ended_at")
    parts = [name, f"{state} on {where}" if where and state == "active" else state]
    if started is not None and ended is not None:
        parts.append(duration_text(ended - started))
    return ", ".join(part for part in parts if part)


def _jobs(live: Sources, ended_too: bool) -> list[Word]:
    """The newest first: that is whom one means."""
    found = sorted(live.jobs(ended_too), key=lambda job: -(stamp(job, "created_at") or 0.0))
    return [Word(str(job.get("id")), job_meta(job)) for job in found]


def _agents(live: Sources) -> list[Word]:
    return [
        Word(
            str(agent.get("id")),
            f"{agent.get('host')}, {agent.get('state')}, {agent.get('free')}/{agent.get('slots')} "
            "slots free",
        )
        for agent in live.agents()
    ]


def _sites(live: Sources) -> list[Word]:
    return [Word(str(s.get("name")), f"{s.get('lrms')}, {s.get('state')}") for s in live.sites()]


def _pilots(live: Sources) -> list[Word]:
    return [Word(str(p.get("pilot")), f"{p.get('site')}, {p.get('state')}") for p in live.pilots()]


def _shares(live: Sources) -> list[Word]:
    return [Word(str(s.get("id")), f"share of job {s.get('job')}") for s in live.shares()]


def _keys(live: Sources) -> list[Word]:
    return [
        Word(str(key.get("serial"))[:12], f"key of {key.get('agent_id') or 'client'}")
        for key in live.credentials()
    ]


def _remote(last: str, live: Sources) -> Iterator[Word]:
    where, colon, path = last.partition(":")
    if colon and where and not where.startswith((".", "/", "~")):
        for found in live.paths(where, path):
            yield Word(f"{where}:{found}", "directory" if found.endswith("/") else "")
        return
    for word in (*_jobs(live, True), *_agents(live)):
        yield Word(word.text + ":", word.meta)
