"""The transcript language: text to a script. Knows no files; REPLAY.md has its rules, `gstwrite`
is the way back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from gshell.replay import habits, masks
from gshell.replay.gstinput import parts as parts_of
from gshell.replay.gstinput import unquoted
from gshell.replay.script import Line, Part, Script, ScriptError, Step, Text, Wait
from gshell.replay.shells import SHELLS, is_shell

INPUT = re.compile(r'(?:"((?:[^"\\]|\\.)*)"|([^\s"<\\@][^\s]*?|))>(?:\s(.*))?$', re.DOTALL)
_TAG = re.compile(r"\((stderr|both|rank\s+(\d+))\)(?:\s(.*)|$)", re.DOTALL)
_STATUS = re.compile(r"\[(\*|!?\d+)\]$")
_EXPECT = re.compile(r"(expect|wait)(?:\s+(.*))?$")
_EXPECTS = re.compile(
    r"(expect|wait)\s+(screen\s+)?/|expect\s*$|wait\s*(\s[\d.]+(ms|s|m|min|h)?\s*)?(\s{2,}#\s.*)?$"
)
_REGEX = re.compile(r"(screen\s+)?/((?:[^/\\]|\\.)*)/(?:\s+(\S+))?$")
_TIME = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ms|s|m|min|h)?$")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, None: 1.0}
COMMENT = re.compile(r"\s{2,}#\s.*$")
_DIRECTIVE = re.compile(r"@([a-z]+)(?![^\s])")


def read(text: str, name: str) -> Script:
    """``name``: of the file, for messages.

    Raises:
        ScriptError: it is none; the message begins with file, line and column.
    """
    reader = _Reader(name)
    reader.indented = habits.indented(text)
    for number, line in _joined(text):
        reader.line(number, line)
    return reader.done()


def seconds(text: str) -> float | None:
    """``500ms``, ``10``, ``2.5s``, ``3m``, ``1h``."""
    found = _TIME.match(text)
    return float(found[1]) * _UNITS[found[2]] if found else None


# ------------------------------------------------------------------------------------------ reading


def _joined(text: str) -> Iterator[tuple[int, str]]:
    r"""Lines with their numbers; a shell's command that ends with ``\`` goes on in the next."""
    lines = text.removeprefix("\ufeff").split("\n")
    at = 0
    while at < len(lines):
        number, line = at + 1, lines[at].removesuffix("\r")
        at += 1
        while line.startswith("$ ") and slashes(line) % 2 and at < len(lines):
            line = line[:-1] + lines[at].removesuffix("\r")
            at += 1
        yield number, line


def slashes(line: str) -> int:
    """How many backslashes it ends with."""
    return len(line) - len(line.rstrip("\\"))


class _Open(NamedTuple):
    """A step that is being read."""

    step: Step
    lines: list[Line]
    blanks: list[int]
    """Empty lines that count only if another line follows."""


class _Reader:
    """One file. Invariant: ``_steps`` are finished, ``_open`` is not."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._number = 0
        self._head: dict[str, object] = {}
        self._params: dict[str, str] = {}
        self._env: dict[str, str] = {}
        self._known: set[str] = set()
        self._steps: list[Step] = []
        self._open: _Open | None = None
        self.indented = False
        """Commands stand behind blanks, as in cram's files."""
        self._warnings: list[str] = []
        self._expect: Step | None = None  # belongs to the next input, if that follows

    def line(self, number: int, line: str) -> None:
        self._number = number
        kind = special(line)
        if kind == "comment":
            return
        if kind is None and not line.strip():
            if self._open is not None:
                self._open.blanks.append(number)
            return
        line = COMMENT.sub("", line)
        if kind == "directive":
            self._directives(line)
        elif kind == "expect":
            self._expected_text(line)
        elif kind in ("$", "input"):
            self._input(line, kind)
        else:
            self._output(line, kind)

    def done(self) -> Script:
        self._close()
        timeout, size, status = (self._head.get(key) for key in ("timeout", "size", "status"))
        shell, command = self._head.get("shell"), self._head.get("command")
        return Script(
            self._name,
            tuple(self._steps),
            tuple(self._params.items()),
            timeout_s=timeout if isinstance(timeout, float) else 60.0,
            size=size if isinstance(size, tuple) else None,
            shell=shell if isinstance(shell, str) else "",
            command=command if isinstance(command, str) else "",
            env=tuple(self._env.items()),
            status=status if isinstance(status, int) else None,
            warnings=tuple(self._warnings),
        )

    def _bad(self, why: str, column: int = 1, hint: str | None = None) -> ScriptError:
        return ScriptError(why, hint, f"{self._name}:{self._number}:{column}")

    # -- directives

    def _directives(self, line: str) -> None:
        at = 0
        while at < len(line):
            found = _DIRECTIVE.match(line, at)
            if found is None:
                raise self._bad(
                    f"'{line[at:].split()[0]}' is no @directive", at + 1, "@param N=4 @timeout 60s"
                )
            values, end = self._values(line, found.end())
            self._directive(found[1], values, at + 1)
            at = end

    def _values(self, line: str, at: int) -> tuple[list[str], int]:
        """The words after a directive, until the next one; quotes and escapes as in "keys"."""
        values = []
        while at < len(line):
            if line[at].isspace():
                at += 1
                continue
            if line[at] == "@":
                break
            found = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^\s"])+').match(line, at)
            if found is None:
                raise self._bad("a quote without its end", at + 1)
            values.append(re.sub(r'"((?:[^"\\]|\\.)*)"', lambda one: unquoted(one[1]), found[0]))
            at = found.end()
        return values, at

    def _directive(self, word: str, values: list[str], column: int) -> None:
        if word in ("param", "env"):
            self._named(word, values, column)
            return
        if len(values) != 1:
            raise self._bad(f"@{word} takes one value", column, _EXAMPLES.get(word))
        value = values[0]
        in_step = self._open is not None
        if word in ("timeout", "ready", "at"):
            took = seconds(value)
            if took is None:
                raise self._bad(f"'{value}' is no time", column, _EXAMPLES[word])
            self._timed(word, took, column)
        elif in_step:
            why = f"@{word} stands before the first step" if word in _EXAMPLES else f"no @{word}"
            raise self._bad(why, column, f"\\@{word} to expect such a line")
        elif word == "size":
            found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", value)
            if not found or not int(found[1]) or not int(found[2]):
                raise self._bad(f"'{value}' is no size", column, "@size 80x24")
            self._head["size"] = (int(found[1]), int(found[2]))
        elif word == "shell":
            if not is_shell(value):
                known = f"@shell {' '.join(sorted(SHELLS))}"
                raise self._bad(f"'{value}' is no shell", column, known)
            self._head["shell"] = value
        elif word == "command":
            self._head["command"] = value
        elif word == "status":
            if not value.isdigit():
                raise self._bad(f"'{value}' is no exit status", column, "@status 0")
            self._head["status"] = int(value)
        else:
            raise self._bad(f"there is no @{word}", column, " ".join(_EXAMPLES.values()))

    def _named(self, word: str, values: list[str], column: int) -> None:
        if self._steps or self._open is not None:
            raise self._bad(f"@{word} stands before the first step", column)
        for value in values:
            name, equals, default = value.partition("=")
            if not equals or not re.fullmatch(masks.NAME, name):
                raise self._bad(f"'{value}' is no NAME=VALUE", column, _EXAMPLES[word])
            (self._params if word == "param" else self._env)[name] = default
            if word == "param":
                self._known.add(name)

    def _timed(self, word: str, took: float, column: int) -> None:
        if self._open is None:
            if word != "timeout":
                raise self._bad(f"@{word} stands after the input it is for", column)
            self._head["timeout"] = took
            return
        step = self._open.step
        if word == "timeout":
            step = step._replace(timeout_s=took)
        elif word == "ready":
            step = step._replace(wait=step.wait._replace(timeout_s=took))
        else:
            step = step._replace(wait=step.wait._replace(at_s=took))
        self._open = self._open._replace(step=step)

    # -- input

    def _expected_text(self, line: str) -> None:
        found = _EXPECT.match(line)
        assert found is not None
        rest = (found[2] or "").strip()
        wait = Wait()
        if rest.startswith(("/", "screen")):
            parts = _REGEX.match(rest)
            if parts is None:
                raise self._bad(
                    "a regex stands between slashes", line.index(rest) + 1, "expect /ready/ 10s"
                )
            source = parts[2].replace("\\/", "/")
            try:
                masks.user_regex(source)
            except masks.BadMask as error:
                raise self._bad(error.why, line.index("/") + 1, error.hint)
            wait = Wait(source, on_screen=bool(parts[1]), timeout_s=self._time(parts[3], line))
        elif found[1] == "expect":
            raise self._bad("expect what?", 8, "expect /regex/ 10s")
        else:
            wait = Wait(timeout_s=self._time(rest or None, line))
        self._close()
        step = Step(0, self._number, line.strip(), "wait", (), wait)
        if found[1] == "expect":
            self._expect = step
        else:
            self._begin(step)

    def _time(self, text: str | None, line: str) -> float | None:
        took = seconds(text) if text else None
        if text and took is None:
            raise self._bad(f"'{text}' is no time", line.rindex(text) + 1, "10s, 500ms, 2m")
        return took

    def _input(self, line: str, kind: str) -> None:
        expected, self._expect = self._expect, None
        self._close()
        wait = expected.wait if expected else Wait()
        if kind == "$":
            typed, column = line[2:], 3
        else:
            found = INPUT.match(line)
            assert found is not None
            prompt = unquoted(found[1]) if found[1] is not None else found[2]
            self._check_mask(prompt, 1, wait=True)
            wait = wait._replace(text=prompt)
            typed = found[3] or ""
            column = found.start(3) + 1 if found[3] else len(line)
        parts, has_keys = self._parts(typed, column)
        if has_keys:
            wait = wait._replace(shell=kind == "$")
        what = "keys" if has_keys else "shell" if kind == "$" else "line"
        self._begin(Step(0, self._number, line.strip(), what, parts, wait))

    def _parts(self, typed: str, column: int) -> tuple[tuple[Part, ...], bool]:
        try:
            parts, has_keys = parts_of(typed)
        except ValueError as error:
            raise self._bad(str(error), column)
        for part in parts:
            if isinstance(part, Text):
                self._check_params(part.text, column)
        return parts, has_keys

    def _check_params(self, text: str, column: int) -> None:
        for name, at in masks.params(text):
            self._check_known(name, column + at)

    def _check_known(self, name: str, column: int) -> None:
        if name not in self._known:
            known = ", ".join(sorted(self._known))
            raise self._bad(
                f"no parameter ${{{name}}}" + (f" (there are {known})" if known else ""),
                column,
                f"@param {name}=... before the first step; $${{{name}}} for the shell's own",
            )

    # -- output

    def _output(self, line: str, kind: str | None) -> None:
        if self._expect is not None:
            step, self._expect = self._expect, None
            self._begin(step)
        if self._open is None:
            raise self._bad(
                "output is expected, but nothing was typed before it",
                1,
                habits.hint(line, self.indented),
            )
        if kind is None:
            where = f"{self._name}:{self._number}"
            self._warnings += [f"{where}: {why}" for why in habits.doubts(line)]
        if kind == "status":
            found = _STATUS.match(line.rstrip())
            assert found is not None
            status = Line(found[1], self._number)
            if self._open.step.status is not None:
                raise self._bad("a step has one status", 1, f"\\{line} to expect such a line")
            self._open = self._open._replace(step=self._open.step._replace(status=status))
            return
        if kind == "word":
            self._word(line.strip())
            return
        stream, rank, column = "out", None, 1
        while found := _TAG.match(line):
            if found[2]:
                rank = int(found[2])
            else:
                stream = {"stderr": "err", "both": "any"}[found[1]]
            column += len(line) - len(found[3] or "")
            line = found[3] or ""
        if special(line.lstrip("\\")) and line.startswith("\\"):
            line = line[1:]
        line = line.replace("  \\# ", "  # ").rstrip()
        self._check_mask(line, column)
        opened = self._open
        opened.lines.extend(Line("", number) for number in opened.blanks)
        opened.blanks.clear()
        opened.lines.append(Line(line, self._number, stream, rank))
        if opened.step.expected is None:
            self._open = opened._replace(step=opened.step._replace(expected=()))

    def _word(self, line: str) -> None:
        assert self._open is not None
        step = self._open.step
        if line == "(unordered)":
            step = step._replace(unordered=True)
        else:
            step = step._replace(expected=())
        self._open = self._open._replace(step=step)

    def _check_mask(self, text: str, column: int, wait: bool = False) -> None:
        try:
            pattern = masks.parse(text)
        except masks.BadMask as error:
            raise self._bad(error.why, column + error.column, error.hint)
        for name in pattern.params:
            self._check_known(name, column + max(text.find("${" + name), 0))
        if not wait:
            self._known.update(pattern.names)

    # -- steps

    def _begin(self, step: Step) -> None:
        self._close()
        self._open = _Open(step._replace(number=len(self._steps) + 1), [], [])

    def _close(self) -> None:
        if self._open is not None:
            step, lines, _ = self._open
            if lines:
                step = step._replace(expected=tuple(lines))
            self._steps.append(step)
            self._open = None
        if self._expect is not None:
            self._steps.append(self._expect._replace(number=len(self._steps) + 1))
            self._expect = None


_EXAMPLES = {
    "param": "@param N=4", "env": '@env NAME="a value"', "timeout": "@timeout 60s",
    "size": "@size 80x24", "shell": "@shell bash", "command": '@command "python3 -q"',
    "status": "@status 0", "ready": "@ready 5s", "at": "@at 1.5s",
}  # fmt: skip


def special(line: str) -> str | None:
    r"""What a line is, if it is not plain output; with a ``\`` before it, it is."""
    if line.startswith("#") and (len(line) == 1 or line[1] in " \t!"):
        return "comment"
    if line == "$" or line.startswith("$ "):
        return "$"
    if re.match(r"@[a-z]", line) and not INPUT.match(line):
        return "directive"
    if INPUT.match(line):
        return "input"
    if _EXPECTS.match(line):
        return "expect"
    if _STATUS.match(line.rstrip()):
        return "status"
    if line.rstrip() in ("(unordered)", "(nothing)"):
        return "word"
    if _TAG.match(line):
        return "tag"
    return None
