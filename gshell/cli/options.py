"""Reading a command line by table: getopt's habits, clear messages. Knows no command.

argparse costs 10 ms of start-up and more to build; this costs what is typed. Nothing is imported
here that the good case doesn't need: even the error class comes with the first error.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from gshell.errors import UsageError

WIDTH = 80  # columns of help, whatever the terminal: it is also read in pagers and pasted
NEAR = 0.7  # of 1, how alike a word must be to be taken for a slip of the finger
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"  # what word processors make of - and --
_GUTTER = 24  # where an option's explanation starts


class Option:
    """One option: its names, and what a value must be. Without ``metavar`` it is a flag."""

    __slots__ = ("choices", "convert", "default", "help", "key", "metavar", "names", "repeat")

    def __init__(
        self,
        names: str,
        metavar: str = "",
        help: str = "",
        convert: Callable[[str], Any] | None = None,
        default: Any = None,
        repeat: bool = False,
        choices: tuple[str, ...] = (),
    ) -> None:
        """``names``: as typed, blank between, the key last: ``"-n --tasks"`` is key ``tasks``.

        ``convert`` raises ValueError with what is wrong (``'x' is not a whole number``).
        ``repeat``: a flag counts, an option with a value makes a list; else the last one counts.
        """
        self.names = names.split()
        self.key = self.names[-1].lstrip("-").replace("-", "_")
        self.metavar = metavar
        self.help = help
        self.convert = convert
        self.choices = choices
        self.repeat = repeat
        self.default = default if metavar or default is not None else (0 if repeat else False)

    def value(self, text: str) -> Any:
        """``text`` as this option's value; ValueError says what is wrong with it."""
        if self.choices and text not in self.choices:
            raise ValueError(f"{text!r} is not one of {', '.join(self.choices)}")
        return self.convert(text) if self.convert else text

    def shown(self) -> str:
        """As the help shows it: ``-n, --tasks N``."""
        names = ", ".join(self.names)
        if not self.names[0].startswith("--"):
            return f"{names} {self.metavar}".rstrip()
        return f"    {names} {self.metavar}".rstrip()


class Command:
    """One command word, what may follow it, and its help."""

    __slots__ = (
        "about", "aliases", "bare", "common", "examples", "hidden", "module", "name", "opaque",
        "options", "packages", "remainder", "summary", "words",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        summary: str,
        options: tuple[Option, ...] = (),
        words: str = "",
        remainder: str = "",
        examples: tuple[tuple[str, str], ...] = (),
        about: str = "",
        aliases: tuple[str, ...] = (),
        common: tuple[Option, ...] = (),
        bare: str = "",
        hidden: bool = False,
        opaque: bool = False,
        module: str = "",
        packages: bool = False,
    ) -> None:
        """``words``: the positionals as the usage line shows them, ``"ID [FILE]"``, ``"[ID...]"``.

        ``remainder``: its first word ends our options, all that follows is somebody else's command
        line. ``bare``: the key of the option that ``-9`` and ``-KILL`` mean, as in kill(1).
        ``opaque``: everything after the command word is passed on unread, ``--help`` included.
        ``examples``: (line, what it does). ``common``: options that every command has.
        ``module``: whose ``VERBS[name](parsed)`` does it, imported when it is wanted; ``packages``:
        that uses libraries beyond the standard one.
        """
        self.name = name
        self.summary = summary
        self.options = options
        self.words = words
        self.remainder = remainder
        self.examples = examples
        self.about = about
        self.aliases = aliases
        self.common = common
        self.bare = bare
        self.hidden = hidden
        self.module = module
        self.packages = packages
        self.opaque = opaque


class Parsed:
    """What was typed. ``parsed["tasks"]`` is an option's value, ``words`` all the rest."""

    __slots__ = ("command", "given", "help", "options", "rest_at", "words")

    def __init__(self, command: Command, before: Parsed | None = None) -> None:
        self.command = command
        self.options: dict[str, Any] = {}
        self.given: set[str] = set()  # keys that were typed
        self.words: list[str] = []
        self.rest_at: int | None = None  # how many words came before a "--"
        self.help = False  # -h was seen: nothing else is checked
        for option in (*command.common, *command.options):
            key = option.key
            if before is not None and key in before.given:
                self.options[key] = before.options[key]
                self.given.add(key)
            else:
                self.options[key] = [] if option.repeat and option.metavar else option.default

    def __getitem__(self, key: str) -> Any:
        return self.options[key]

    def _set(self, option: Option, value: Any) -> None:
        if not option.repeat:
            self.options[option.key] = value
        elif option.metavar:
            self.options[option.key] = [*self.options[option.key], value]
        else:
            self.options[option.key] += 1
        self.given.add(option.key)


def parse(command: Command, argv: Sequence[str], before: Parsed | None = None) -> Parsed:
    """``argv`` (after the command word) read by ``command``'s table.

    ``before``: what was typed before the command word; its options hold unless given again.

    Raises:
        UsageError: it doesn't fit; the message names the option, the hint what to type.
    """
    parsed = Parsed(command, before)
    if command.opaque:
        parsed.words = list(argv)
        return parsed
    options = (*command.common, *command.options)
    table = {name: option for option in options for name in option.names}
    at, end = 0, len(argv)
    while at < end:
        word = argv[at]
        at += 1
        if word == "--":
            parsed.rest_at = len(parsed.words)
            parsed.words += argv[at:]
            break
        if len(word) < 2 or word[0] != "-":
            if word[:1] in _DASHES and len(word) > 1:
                raise _other_dash(command, word, table)
            if command.remainder:
                parsed.words += argv[at - 1 :]
                break
            parsed.words.append(word)
        elif command.bare and _is_bare(word):
            option = next(o for o in command.options if o.key == command.bare)
            _store(parsed, option, word, word[1:])
        else:
            at = _read_options(parsed, table, word, argv, at)
            if parsed.help:
                return parsed
    _check_words(parsed)
    return parsed


def _is_bare(word: str) -> bool:
    body = word[1:]
    return body.isdigit() or (len(body) > 1 and body.isalnum() and body.isupper())


def _read_options(
    parsed: Parsed, table: dict[str, Option], word: str, argv: Sequence[str], at: int
) -> int:
    """``--name[=value]`` or a cluster of short ones; from and to the position of the next word."""
    long = word.startswith("--")
    name, equals, rest = word.partition("=") if long else (word[:2], "", word[2:])
    while True:
        option = table.get(name)
        if option is None:
            raise _unknown_option(parsed.command, name, table)
        if option.key == "help" and not option.metavar:
            parsed.help = True
            return at
        if option.metavar:
            if not equals and not rest:
                # "--" is never a value: a forgotten one would swallow the end of the options.
                if at >= len(argv) or argv[at] == "--":
                    raise wrong(parsed.command, f"{name} needs a value: {name} {option.metavar}")
                rest = argv[at]
                at += 1
            _store(parsed, option, name, rest)
            return at
        if equals:
            raise wrong(parsed.command, f"{name} takes no value")
        parsed._set(option, True)
        if long or not rest:
            return at
        name, rest = "-" + rest[0], rest[1:]


def _store(parsed: Parsed, option: Option, name: str, text: str) -> None:
    try:
        value = option.value(text)
    except ValueError as error:
        raise wrong(parsed.command, f"{name}: {error}")
    parsed._set(option, value)


def _check_words(parsed: Parsed) -> None:
    command = parsed.command
    if command.remainder:
        if not parsed.words and not command.remainder.startswith("["):
            raise _missing(command, command.remainder.split()[0])
        return
    wanted = command.words.split()
    needed = [word for word in wanted if not word.startswith("[")]
    if len(parsed.words) < len(needed):
        raise _missing(command, needed[len(parsed.words)])
    if len(parsed.words) > len(wanted) and "..." not in command.words:
        extra = parsed.words[len(wanted)]
        raise wrong(command, f"{extra!r} is one word too many")


# ------------------------------------------------------------------------------- what went wrong


def wrong(command: Command, message: str, hint: str = "") -> UsageError:
    """The error to raise: ``message`` with the command's name, a ``hint`` at its help."""
    from gshell.errors import UsageError

    path = f"gshell {command.name}".rstrip()
    name = f"{command.name}: " if command.name else ""
    return UsageError(name + message, hint or f"{path} --help")


def _missing(command: Command, word: str) -> UsageError:
    example = command.examples[0][0] if command.examples else ""
    return wrong(command, f"{word.strip('.[]')} is missing", example)


def _unknown_option(command: Command, name: str, table: Iterable[str]) -> UsageError:
    from gshell.cli import habits

    near = habits.option(name, table)
    if near is None:
        near = nearest(name, table) if name.startswith("--") else ""
    return wrong(command, f"unknown option {name!r}" + (f"; did you mean {near}?" if near else ""))


def _other_dash(command: Command, word: str, table: Iterable[str]) -> UsageError:
    """Of a line that was copied from a page: its ``--`` is one long dash."""
    name, equals, value = word.lstrip(_DASHES + "-").partition("=")
    meant = f"--{name}" if len(name) > 1 else f"-{name}"
    also = f"; did you mean {meant}{equals}{value}?" if meant in table else ""
    return wrong(command, f"{word!r} begins with a dash that is no minus sign{also}")


def nearest(word: str, among: Iterable[str]) -> str:
    """Which of ``among`` was probably meant; empty if none is near."""
    among = [name for name in among if len(name.lstrip("-")) > 1]
    for name in among:
        if len(word.lstrip("-")) > 1 and name.startswith(word):
            return name
    for name in among:  # of short words a swap is a large part
        if sorted(name) == sorted(word):
            return name
    import difflib

    # Their dashes alone would make long options half alike.
    bare = {name.lstrip("-"): name for name in reversed(among)}
    found = difflib.get_close_matches(word.lstrip("-"), bare, 1, NEAR)
    return bare[found[0]] if found else ""


# ------------------------------------------------------------------------------------------ help


def help_text(command: Command) -> str:
    """The page that ``--help`` prints: examples first."""
    title = f"gshell {command.name}".rstrip()
    parts = [f"{title}: {command.summary}"]
    if command.examples:
        parts.append("\n".join(columns(command.examples, 38)))
    if command.about:
        parts.append("\n".join(_wrap(command.about, "")))
    parts.append("\n".join(_wrap(usage(command), "usage: ", " " * (8 + len(title)))))
    if command.options:
        parts.append("\n".join(["options", *columns(_rows(command.options), _GUTTER)]))
    if command.common:
        parts.append("\n".join(["everywhere", *columns(_rows(command.common), _GUTTER)]))
    return "\n\n".join(parts) + "\n"


def usage(command: Command) -> str:
    """``gshell run [OPTION...] [--] CMD...``"""
    words = ["gshell", command.name] if command.name else ["gshell"]
    if command.options or (command.common and not command.opaque):
        words.append("[OPTION...]")
    if command.remainder:
        words.append("[--] " + command.remainder if command.name else command.remainder)
    if command.words:
        words.append(command.words)
    return " ".join(words)


def columns(rows: Iterable[tuple[str, str]], gutter: int) -> list[str]:
    """Two columns, the right one wrapped and starting at ``gutter``."""
    lines: list[str] = []
    for left, right in rows:
        left = "  " + left
        wrapped = _wrap(right, " " * gutter)
        if wrapped and len(left) <= gutter - 2:
            wrapped[0] = left.ljust(gutter) + wrapped[0][gutter:]
            lines += wrapped
        else:
            lines += [left, *wrapped]
    return lines


def _rows(options: Iterable[Option]) -> list[tuple[str, str]]:
    return [(option.shown(), option.help) for option in options if option.help]


def _wrap(text: str, first: str, rest: str | None = None) -> list[str]:
    import textwrap

    return textwrap.wrap(
        text,
        WIDTH - 1,
        initial_indent=first,
        subsequent_indent=first if rest is None else rest,
        break_on_hyphens=False,
        break_long_words=False,
    )
