"""A line that was typed, done: verbs by the command line's own tables, and the words of the prompt.

Knows no prompt and no screen: scripts go the same way. Verbs that take over the terminal, or stay,
are processes of their own; those that ask and print are done here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from gshell import config
from gshell.errors import GshellError, UsageError
from gshell.repl import numbers, places, reading

HERE = frozenset((
    "jobs", "agents", "sites", "site show", "pilots", "shares", "share", "revoke", "cancel", "kill",
    "forget", "why", "ranks", "whoami", "keys", "help", "version",
))  # fmt: skip
"""Ask, print, and are done: no new process for these, unless they are to be kept up to date."""
STAYS = frozenset(("watch", "follow", "relay", "wait", "ascii"))
JOINS = ("run", "mpi", "sh", "attach", "logs", "rec", "replay", "demo")
BEGINS = ("run", "mpi", "sh")
SLACK_S = 1.0  # between two clocks, and between an end and its news
MAX_DEPTH = 16  # of aliases, and of files that have others read

Job = dict[str, Any]


class Leave(Exception):
    """`exit`: the status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Foreground:
    """A verb that had the terminal: of its jobs the end is no news."""

    def __init__(self, begun: float, job: str) -> None:
        """``job``: that it joined; empty: it began one; `*`: the newest."""
        self.begun = begun
        self.ended: float | None = None
        self.job = job

    def saw_the_end_of(self, job: Job, skew_s: float = 0.0) -> bool:
        """``skew_s``: the relay's clock against ours."""
        at = job.get("ended_at")
        # Not when it was made: a place for it is kept before anybody asks.
        began = job.get("started_at") or at
        if not isinstance(at, int | float) or not isinstance(began, int | float):
            return False
        last = self.ended if self.ended is not None else float("inf")
        if not self.begun - SLACK_S <= at - skew_s <= last + SLACK_S:
            return False
        if self.job:
            return self.job in ("*", str(job.get("id")))
        return began - skew_s >= self.begun - SLACK_S


class Session:
    """What is remembered from one line to the next."""

    def __init__(self, live_jobs: Callable[[], list[Job]] | None = None) -> None:
        """``live_jobs``: where somebody keeps them up to date; else the relay is asked."""
        self.aliases = _configured()
        self.settings = {"announce": "on", "suggest": "on", "toolbar": "on", "here": "on"}
        self.place = places.Place()
        self.status = 0
        self.numbers = numbers.Numbers()
        self.foreground: list[Foreground] = []
        self.interactive = False
        self.stdin: int | None = None
        """What programs read; None: what we do."""
        self._live_jobs = live_jobs
        self._before = places.Place()
        self._local_before = ""
        self._depth = 0

    # ---------------------------------------------------------------------------------------- lines

    def execute(self, text: str, detached: bool = False) -> int:
        """Do all commands in ``text``; the status of the last. Errors are printed.

        Raises:
            Leave: by `exit`.
        """
        for _, command in reading.commands(text):
            self.status = self.one(command, detached)
            if self.status == 130:  # Ctrl-C is for all that was typed
                break
        return self.status

    def one(self, command: str, detached: bool = False) -> int:
        """One command; its status."""
        from gshell.cli import saying

        try:
            status = self._do(command, detached)
            sys.stdout.flush()
            return status
        except GshellError as error:
            sys.stdout.flush()
            saying.complain(error, *saying.asked_for(command.split()))
            return error.exit_code
        except KeyboardInterrupt:
            sys.stdout.write("\n" if sys.stdout.isatty() else "")
            return 130
        except BrokenPipeError:
            raise
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            saying.complain(GshellError(f"{where}{error.strerror or error}"))
            return 1

    def _do(self, command: str, detached: bool = False) -> int:
        stripped = command.strip()
        if stripped.startswith("!"):
            return self.local(stripped[1:].strip())
        command = self._unaliased(stripped)
        if command.startswith("!"):
            return self.local(command[1:].strip())
        line = reading.read(command, os.environ)
        if line.quote:
            raise UsageError(f"{line.quote} has no end", hint=reading.quoted(line.quote))
        if not line.words:
            if line.shell >= 0:
                raise UsageError("nothing stands before " + command[line.shell :][:10])
            return 0
        words = self._words(line)
        rest = command[line.shell :] if line.shell >= 0 else ""
        from gshell.repl import builtins

        doer = builtins.DOERS.get(words[0])
        if doer is not None and not (words[0] == "help" and builtins.is_verbs(words[1:])):
            if rest:
                raise UsageError(f"{words[0]} is a word of the prompt: nothing goes to {rest[0]}",
                                 hint=f"!{words[0]} ...    is this machine's")  # fmt: skip
            return doer(self, words[1:])
        return self.verb(words, rest, detached)

    def _unaliased(self, command: str) -> str:
        seen: set[str] = set()
        while len(seen) < MAX_DEPTH:
            words = reading.read(command).words
            if not words or not words[0].plain or words[0].text in seen:
                return command
            name = words[0].text
            if name not in self.aliases:
                return command
            seen.add(name)
            command = self.aliases[name].strip() + command[words[0].end :]
        return command

    def _words(self, line: reading.Line) -> list[str]:
        """The line's words with what stands for something put in."""
        import glob

        words = list(line.words)
        if len(words) == 1 and words[0].plain and numbers.is_name(words[0].text):
            words.insert(0, reading.Word("attach", 0, 0, False))
        keep = _theirs([word.text for word in words])
        for number, word in enumerate(words[:keep]):
            if word.plain and number and word.text.startswith("%"):
                name, more = numbers.split(word.text)
                if name:
                    found = self.numbers.find(name, self.live_jobs())
                    words[number] = word._replace(text=found + more, plain=False, pattern="")
        far = bool(self.place.name) and words[0].text in ("ls", "cat", "cd")
        matches: Callable[[str], list[str]] = (lambda _: []) if far else glob.glob
        return reading.expanded(words, config.home(), matches)

    def live_jobs(self) -> list[Job]:
        """Mine that are not over, as they are known."""
        if self._live_jobs is not None:
            found = self._live_jobs()
            if found:
                return found
        from gshell.cli import launch
        from gshell.net.relaylink import ask, items_of

        ticket = launch.ticket_or_none()
        if ticket is None:
            return []
        return items_of(ask(ticket, {"m": "jobs", "all": False, "ids": None}), "jobs")

    # ---------------------------------------------------------------------------------------- verbs

    def verb(self, words: Sequence[str], rest: str = "", detached: bool = False) -> int:
        """A command of gshell's. ``rest``: a shell's line that its output goes on with."""
        from gshell.cli import commands, main

        words = list(words[1:] if words[0] == "gshell" and len(words) > 1 else words)
        try:
            parsed = commands.read(words)
        except UsageError as error:
            self._explain(error, words[0])
            raise
        name = parsed.command.name
        if detached:
            if name not in ("run", "mpi"):
                raise UsageError(f"{name} cannot be left running", hint="run --detach -- CMD")
            if "detach" not in parsed.given:
                words.insert(_after_verb(words), "--detach")
        words = self._at_place(words, parsed)
        if name in HERE and not rest and not parsed.given & STAYS:
            return main.run(parsed)
        if name == "repl" and not parsed.words and not parsed.options.get("file"):
            raise UsageError("this is the prompt", hint="help")
        left = detached or "detach" in parsed.given
        window = self._begin("" if left else name, parsed.words)
        try:
            return self.process([*config.entry(), *words], rest)
        finally:
            window.ended = time.time()

    def _explain(self, error: UsageError, word: str) -> None:
        import shutil

        if "unknown command" in error.message and "did you mean" not in error.message:
            if shutil.which(word):
                error.hint = (
                    f"!{word}    runs it on this machine    or    run {word}    on an agent"
                )
            else:
                error.hint = "help"

    def _at_place(self, words: list[str], parsed: Any) -> list[str]:
        """Where the prompt stands is where it runs, unless the line says another place."""
        name, place = parsed.command.name, self.place
        if name not in BEGINS or not place.name or self.settings["here"] != "on":
            return words
        said = parsed.given & {"agent", "site", "agents", "pool", "req", "prefer", "lane"}
        if said or (name == "sh" and parsed.words):
            return words
        request = place.request()
        if "beside" in request:
            if name != "sh":
                return words
            return [*words, "--", place.name.partition(".")[0]]
        more = ["--agent", place.name] if "agent" in request else ["--site", place.name[5:]]
        if place.path and "cwd" not in parsed.given and place.path.startswith("/"):
            more += ["--cwd", place.path]
        at = _after_verb(words)
        return [*words[:at], *more, *words[at:]]

    def _begin(self, name: str, words: Sequence[str]) -> Foreground:
        job = ""
        if name in ("attach", "logs"):
            job = words[0].partition(".")[0] if words else "*"
        elif name == "rec" and words and words[0].partition(".")[0].isdigit():
            job = words[0].partition(".")[0]
        window = Foreground(time.time(), job)
        if job:
            self.numbers.touched[job] = window.begun
        if name in JOINS:
            self.foreground = [*self.foreground[-20:], window]
        return window

    # ------------------------------------------------------------------------------------ processes

    def local(self, command: str) -> int:
        """A command line of this machine's shell; none: the shell itself."""
        shell = os.environ.get("SHELL") or "/bin/sh"
        return self.process([shell, "-c", command] if command else [shell])

    def process(self, argv: Sequence[str], rest: str = "") -> int:
        """Give it the terminal, and take it back as it was; its status as a shell counts it."""
        if rest:
            argv = ["/bin/sh", "-c", '"$@" ' + rest, "sh", *argv]
        sys.stdout.flush()
        sys.stderr.flush()
        was = modes() if self.interactive else None
        before = signal.signal(signal.SIGINT, lambda number, frame: None)  # it is the program's
        try:
            child = subprocess.Popen(argv, stdin=self.stdin)
            code = child.wait()
        except FileNotFoundError:
            raise GshellError(f"cannot start {argv[0]}: there is no such program") from None
        finally:
            signal.signal(signal.SIGINT, before)
            set_modes(was)
        return 128 - code if code < 0 else code


def _configured() -> dict[str, str]:
    """The aliases of config.toml; a command's name is no alias there."""
    if not os.path.exists(config.config_dir() + "/config.toml"):
        return {}
    from gshell.cli import commands, configfile

    return {
        name: " ".join(map(reading.quoted, words))
        for name, words in configfile.load().alias.items()
        if commands.find(name) is None and name not in commands.GROUPS
    }


def _after_verb(words: Sequence[str]) -> int:
    from gshell.cli import commands

    found = commands.named(words)
    return found[1] if found is not None else 1


def _theirs(words: Sequence[str]) -> int:
    """From which word on the line is somebody else's: after `run` and its options."""
    from gshell.cli import commands

    found = commands.named(words)
    if found is None:
        return len(words)
    command, at = found
    if command.opaque:
        return at
    if not command.remainder:
        return len(words)
    takes = {
        name: bool(option.metavar)
        for option in (*command.common, *command.options) for name in option.names
    }  # fmt: skip
    while at < len(words) and words[at].startswith("-") and words[at] != "--":
        at += 2 if takes.get(words[at]) else 1
    return min(at, len(words))


def modes() -> list[Any] | None:
    """Of the terminal that is stdin; None: it is none."""
    import termios

    try:
        return termios.tcgetattr(0)
    except termios.error:
        return None


def quiet(attributes: list[Any] | None) -> list[Any] | None:
    """These modes, but what is typed is not echoed."""
    if attributes is None:
        return None
    import termios

    return [*attributes[:3], attributes[3] & ~termios.ECHO, *attributes[4:]]


def set_modes(wanted: list[Any] | None, now: bool = False) -> None:
    """A program that was killed left the terminal as it was using it. ``now``: also if the
    terminal takes no output."""
    if wanted is None:
        return
    import termios

    from gshell.client.terminal import in_foreground

    try:
        if in_foreground(0) and termios.tcgetattr(0) != wanted:
            termios.tcsetattr(0, termios.TCSANOW if now else termios.TCSADRAIN, wanted)
    except termios.error:
        pass  # it has gone
