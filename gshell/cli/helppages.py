"""What `gshell help` prints, from the table of commands and the topics."""

from __future__ import annotations

from gshell.cli import options as o
from gshell.cli.commands import COMMANDS, GROUPS, ROOT, find, unknown
from gshell.cli.topics import TOPICS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def help_page(words: Sequence[str]) -> str:
    """What ``gshell help WORDS`` prints.

    Raises:
        UsageError: there is no such command.
    """
    if not words:
        return _overview()
    name = " ".join(words)
    if name in GROUPS:
        rows = [(c.name, c.summary) for c in COMMANDS if c.name.startswith(name + " ")]
        return "\n".join([f"gshell {name}: {GROUPS[name]}", "", *o.columns(rows, 18)]) + "\n"
    topic = TOPICS.get(name)
    page = f"gshell: {topic.summary}\n\n{topic.text}" if topic else ""
    command = find(name)
    if command is not None:
        return o.help_text(command) + ("\n" + page if page else "")
    if not page:
        raise unknown(name, TOPICS)
    return page


# How `gshell help` groups them; what is in no group comes last.
USES = (
    ("run, and come back", ("run", "mpi", "sh", "attach", "logs", "ranks", "fwd", "demo")),
    ("jobs", ("jobs", "top", "show", "why", "events", "cancel", "kill", "forget", "adopt")),
    ("job descriptions", ("submit", "match", "fetch")),
    ("files", ("put", "get", "cp")),
    ("record and replay", ("rec", "play", "replay", "cast")),
    ("experiments", ("sweep",)),
    ("agents and sites", ("agents", "agent", "sites", "site", "pilots", "pilot")),
    ("with others", ("share", "shares", "revoke", "web", "ssh", "ssh-config")),
    ("relay and identity", ("login", "whoami", "keys", "relay", "audit", "stop")),
    ("help", ("help", "doctor", "config", "completion", "man", "version")),
)


def help_table(words: Sequence[str]) -> list[dict[str, object]]:
    """The commands (of these words; none: all) as values."""
    if words:
        help_page(words)  # says so if there is none
    name = " ".join(words)
    return [
        {
            "name": c.name, "aliases": list(c.aliases), "summary": c.summary,
            "usage": o.usage(c), "about": c.about,
            "options": [{"names": one.names, "value": one.metavar, "help": one.help}
                        for one in (*c.options, *c.common)],
            "examples": [{"line": line, "what": what} for line, what in c.examples],
        }
        for c in COMMANDS
        if not c.hidden
        and (not words or name in (c.name, *c.aliases) or c.name.startswith(name + " "))
    ]  # fmt: skip


def _overview() -> str:
    left = {
        command.name: (", ".join((command.name, *command.aliases)), command.summary)
        for command in COMMANDS
        if not command.hidden and " " not in command.name
    }
    left.update({name: (name, what) for name, what in GROUPS.items()})
    parts = []
    for title, names in USES:
        rows = [left.pop(name) for name in names if name in left]
        if rows:
            parts.append("\n".join([title, *o.columns(rows, 18)]))
    if left:
        parts.append("\n".join(["more", *o.columns(left.values(), 18)]))
    topics = o.columns(((name, topic.summary) for name, topic in TOPICS.items()), 18)
    parts.append("\n".join(["topics: gshell help TOPIC", *topics]))
    page, everywhere = o.help_text(ROOT).split("\n\noptions\n")
    commands = "\n\n".join(parts)
    return f"{page}\n\n{commands}\n\noptions\n{everywhere}"
