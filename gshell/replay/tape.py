"""VHS tapes to scripts: what they type, and what they wait for. Knows no files.

A tape's times are for who watches; ``Sleep`` only says that the next key is not part of the same
line. REPLAY.md has the table of commands and what becomes of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from gshell.replay import gst, gstwrite, keys, masks
from gshell.replay.script import Part, Script, ScriptError, Step, Text, Wait
from gshell.replay.shells import is_shell

WAIT_TIMEOUT_S = 15.0  # VHS's own
MAX_DEPTH = 5  # of tapes in tapes
MAX_KEYS = 10_000  # of one command

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r]+)|(?P<newline>\n)|(?P<comment>\#[^\n]*)
    |(?P<string>"[^"\n]*"?|'[^'\n]*'?|`[^`\n]*`?)|(?P<json>\{[^}]*\}?)
    |(?P<regex>/(?:[^/\\\n]|\\.)*/?)
    |(?P<word>[A-Za-z.][\w.%/~:-]*|\d+(?:\.\d+)?(?:ms|s|m)?\b|\.\d+(?:ms|s|m)?|\d[\w./-]*)
    |(?P<mark>[@+=%^\\\[\]-])|(?P<other>.)""",
    re.VERBOSE,
)
_KEYS = {
    "Backspace": "Backspace", "Delete": "Delete", "Insert": "Insert", "Down": "Down",
    "Enter": "Enter", "Escape": "Esc", "Left": "Left", "PageUp": "PageUp", "PageDown": "PageDown",
    "Right": "Right", "Space": "Space", "Tab": "Tab", "Up": "Up", "Home": "Home", "End": "End",
}  # fmt: skip
_COMMANDS = {
    "Output", "Require", "Set", "Sleep", "Type", "Ctrl", "Alt", "Shift", "Wait", "Hide", "Show",
    "Screenshot", "Copy", "Paste", "Env", "Source", "ScrollUp", "ScrollDown", "Subtitle", *_KEYS,
}  # fmt: skip
_SETTINGS = {
    "Shell", "FontFamily", "FontSize", "Framerate", "PlaybackSpeed", "Height", "Width",
    "LetterSpacing", "LineHeight", "TypingSpeed", "Padding", "Theme", "LoopOffset", "MarginFill",
    "Margin", "WindowBar", "WindowBarSize", "BorderRadius", "CursorBlink", "WaitTimeout",
    "WaitPattern", "KeyOverlay",
}  # fmt: skip


class _Token(NamedTuple):
    kind: str
    text: str
    """Strings without their quotes."""
    line: int
    column: int
    closed: bool = True
    """A string that ends with the quote that it began with, not with its line."""


def read(text: str, name: str, source: Callable[[str], str] | None = None) -> Script:
    """``source``: gives the text of a tape that this one names; without it that is an error.

    Raises:
        ScriptError: it is none; the message begins with file, line and column.
    """
    reader = _Reader(name, source)
    reader.tape(text.removeprefix("\ufeff"), name, 0)
    return reader.done()


def _tokens(text: str) -> list[_Token]:
    done, line, begin = [], 1, 0
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup or "other"
        if kind == "newline":
            line, begin = line + 1, found.end()
        elif kind not in ("space", "comment"):
            whole, closed = found[0], True
            if kind in ("string", "regex"):
                closed = len(whole) > 1 and whole[-1] == whole[0]
                whole = whole[1:-1] if closed else whole[1:]
            done.append(_Token(kind, whole, line, found.start() - begin + 1, closed))
            line += found[0].count("\n")
    return done


class _Reader:
    """Commands in, steps out. Invariant: ``_parts`` is what was typed since the last step."""

    def __init__(self, name: str, source: Callable[[str], str] | None) -> None:
        self._name = self._file = name
        self._source = source
        self._tokens: list[_Token] = []
        self._at = 0
        self._steps: list[Step] = []
        self._parts: list[Part] = []
        self._line = 0
        self._wait: Wait | None = None
        self._env: dict[str, str] = {}
        self._shell = ""
        self._clipboard = ""
        self._timeout_s, self._pattern = WAIT_TIMEOUT_S, ""
        self._warnings: list[str] = []
        self._sleeps = 0

    def done(self) -> Script:
        self._cut()
        self._flush_wait()
        if self._sleeps:
            self._warnings.append(
                f"Sleep ({self._sleeps} times) is not slept: each input waits for its program"
            )
        return Script(
            self._name,
            tuple(step._replace(shown=gstwrite.shown(step)) for step in self._steps),
            shell=self._shell,
            env=tuple(self._env.items()),
            warnings=tuple(self._warnings),
        )

    # -- tokens

    def tape(self, text: str, name: str, depth: int) -> None:
        before = self._tokens, self._at, self._file
        self._tokens, self._at, self._file = _tokens(text), 0, name
        while self._at < len(self._tokens):
            self._command(self._tokens[self._at], depth)
        self._tokens, self._at, self._file = before

    def _peek(self, more: int = 0) -> _Token:
        at = self._at + more
        if at < len(self._tokens):
            return self._tokens[at]
        return _Token("end", "", 0, 0)

    def _next(self) -> _Token:
        token = self._peek()
        self._at += 1
        return token

    def _bad(self, token: _Token, why: str, hint: str | None = None) -> ScriptError:
        return ScriptError(why, hint, f"{self._file}:{token.line}:{token.column}")

    def _warn(self, token: _Token, why: str) -> None:
        self._warnings.append(f"{self._file}:{token.line}: {why}")

    def _argument(self, command: _Token, what: str) -> _Token:
        """A string, with or without quotes, on the same line."""
        token = self._peek()
        if (
            token.kind not in ("string", "word", "json", "mark", "regex")
            or token.line != command.line
        ):
            raise self._bad(command, f"{command.text} takes {what}")
        return self._next()

    # -- commands

    def _command(self, token: _Token, depth: int) -> None:
        self._at += 1
        word = token.text if token.kind == "word" else ""
        if word not in _COMMANDS:
            close = [known for known in _COMMANDS if known.lower() == word.lower()]
            raise self._bad(
                token, f"'{token.text}' is no command of a tape",
                close[0] if close else 'Type "text"   Enter   Ctrl+C   Wait /regex/   Sleep 1s',
            )  # fmt: skip
        if word in _KEYS:
            self._pressed(token)
        elif word in ("Ctrl", "Alt", "Shift"):
            self._chord(token)
        elif word == "Type":
            self._speed()
            self._type(token, self._strings(token))
        elif word == "Paste":
            self._type(token, self._clipboard)
        elif word == "Copy":
            self._clipboard = self._strings(token)
        elif word == "Sleep":
            self._sleep(token)
        elif word == "Wait":
            self._waits(token)
        elif word == "Env":
            name = self._argument(token, "a name and a value").text
            if not re.fullmatch(masks.NAME, name):
                raise self._bad(token, f"'{name}' is no variable's name", 'Env NAME "value"')
            self._env[name] = self._argument(token, "a name and a value").text
        elif word == "Set":
            self._set(token)
        elif word == "Source":
            self._sourced(token, depth)
        elif word == "Require":
            needed = self._argument(token, "a program's name").text
            self._warn(token, f"{needed} is needed where this is replayed; not looked for")
        elif word in ("Output", "Screenshot", "Subtitle"):
            rest = self._argument(token, "a file's name").text
            while self._peek().line == token.line and self._peek().text not in _COMMANDS:
                self._next()
            if rest.endswith((".txt", ".ascii", ".test")):
                self._warn(token, f"{rest} is not compared: gshell replay --learn makes a .gst")
        elif word in ("ScrollUp", "ScrollDown"):
            self._speed()
            self._count()
            self._warn(token, f"{word} is for who watches: passed over")

    def _strings(self, command: _Token) -> str:
        words = []
        while self._peek().kind == "string" or (
            self._peek().kind == "word"
            and self._peek().text not in _COMMANDS
            and self._peek().line == command.line
        ):
            part = self._next()
            if not part.closed:
                self._warn(part, f"no quote at the end: all of {part.text!r} is typed")
            words.append(part.text)
        if not words:
            raise self._bad(command, f"{command.text} takes a text", f'{command.text} "text"')
        return " ".join(words)

    def _time(self) -> float | None:
        token = self._peek()
        took = gst.seconds(token.text) if token.kind == "word" else None
        if took is None:
            return None
        self._at += 1
        unit = self._peek()
        if unit.text in ("ms", "s", "m") and unit.kind == "word" and unit.line == token.line:
            self._at += 1
            took *= {"ms": 0.001, "s": 1.0, "m": 60.0}[unit.text]
        return took

    def _speed(self) -> float | None:
        if self._peek().text != "@" or self._peek().kind != "mark":
            return None
        at = self._next()
        took = self._time()
        if took is None:
            raise self._bad(at, "a time stands behind @", "Type@500ms, Wait@10s")
        return took

    def _count(self) -> int:
        token = self._peek()
        if token.kind != "word" or not token.text.isascii() or not token.text.isdigit():
            return 1
        self._at += 1
        if len(token.text) > 5 or int(token.text) > MAX_KEYS:
            raise self._bad(token, f"{token.text} times is too often")
        return int(token.text)

    def _pressed(self, token: _Token) -> None:
        self._speed()
        count = self._count()
        for _ in range(count):
            if token.text == "Enter":
                self._enter(token)
            elif token.text == "Space":
                self._type(token, " ")
            else:
                self._press(token, _KEYS[token.text])

    def _chord(self, token: _Token) -> None:
        held = {token.text}
        pressed = ""
        while self._peek().text == "+" and self._peek().kind == "mark":
            self._next()
            part = self._next()
            if part.text in ("Ctrl", "Alt", "Shift"):
                if pressed:
                    raise self._bad(part, f"{part.text} stands before the key", "Ctrl+Alt+x")
                held.add(part.text)
            elif part.kind in ("word", "string", "mark", "other") and part.text and not pressed:
                pressed = part.text
            elif part.kind == "end":
                break
            else:
                raise self._bad(part, f"'{part.text}' is no key", "Ctrl+C, Ctrl+Alt+x, Shift+Tab")
        if not pressed:
            raise self._bad(token, f"{token.text}+ what?", "Ctrl+C, Alt+x, Shift+Tab")
        name = _KEYS.get(pressed, pressed)
        if held == {"Shift"} and len(pressed) == 1:
            self._type(token, pressed.upper())
            return
        if len(pressed) == 1 or name in ("Enter", "Space", "Backspace", "Esc"):
            held.discard("Shift")  # terminals send the same without it
        letters = "".join(f"{one[0] if one != 'Alt' else 'M'}-" for one in sorted(held))
        if len(pressed) == 1 and "Ctrl" in held:
            name = pressed.lower()
        if keys.named(letters + name) is None and name in ("Enter", "Backspace", "Esc"):
            letters = "M-" if "Alt" in held else ""
        self._press(token, letters + name)

    def _press(self, token: _Token, name: str) -> None:
        key = keys.named(name)
        if key is None:
            raise self._bad(token, f"no terminal has a key <{name}>")
        if not self._parts:
            self._line = token.line
        control = len(key.data) == 1 and key.data not in (b"\t", b"\r", b"\x1b")
        self._parts.append(keys.of_bytes(key.data) if control else key)
        if key.data in (b"\x03", b"\x04", b"\x1a"):  # whatever is typed next is for what comes then
            self._cut()

    def _type(self, token: _Token, text: str) -> None:
        if not text:
            return
        if not self._parts:
            self._line = token.line
        text = masks.dollars_escaped(text)
        last = self._parts[-1] if self._parts else None
        if isinstance(last, Text):
            self._parts[-1] = Text(last.text + text)
        else:
            self._parts.append(Text(text))

    def _enter(self, token: _Token) -> None:
        if not self._parts:
            self._line = token.line
        if all(isinstance(part, Text) for part in self._parts):
            # A tape begins at a shell's prompt; later, who knows who reads.
            first = not any(step.kind != "wait" for step in self._steps)
            self._step("shell" if first else "line")
        else:
            self._parts.append(keys.of_bytes(b"\r"))
            self._step("keys")

    def _sleep(self, token: _Token) -> None:
        if self._time() is None:
            raise self._bad(token, "Sleep how long?", "Sleep 500ms")
        self._sleeps += 1
        if self._peek().text != "Enter":  # a pause before Enter is within the line
            self._cut()

    def _waits(self, token: _Token) -> None:
        scope = "Line"
        if self._peek().text == "+" and self._peek().kind == "mark":
            self._next()
            scope = self._next().text
            if scope not in ("Line", "Screen"):
                raise self._bad(token, "Wait+Line or Wait+Screen", "Wait+Screen@10s /ready/")
        timeout = self._speed()
        regex = self._pattern
        if self._peek().kind == "regex" and self._peek().line == token.line:
            regex = self._next().text
        self._cut()
        self._flush_wait()
        self._line = token.line
        limit = self._timeout_s if timeout is None else timeout
        # VHS waits for ``>$``, its own shells' prompt; here it is the user's, whatever that is.
        regex = self._checked(token, regex) if regex else ""
        self._wait = Wait(regex, on_screen=bool(regex) and scope == "Screen", timeout_s=limit)

    def _checked(self, token: _Token, regex: str) -> str:
        regex = regex.replace("\\/", "/")
        try:
            masks.user_regex(regex)
        except masks.BadMask as error:
            raise self._bad(token, error.why, error.hint)
        return regex

    def _set(self, token: _Token) -> None:
        setting = self._argument(token, "a setting and a value").text
        if setting not in _SETTINGS:
            self._warn(token, f"Set {setting}: nobody knows that setting: passed over")
        if setting == "WaitTimeout":
            took = self._time()
            if took is None:
                raise self._bad(token, "a time is needed", "Set WaitTimeout 15s")
            self._timeout_s = took
            return
        value = self._argument(token, "a setting and a value").text
        while self._peek().line == token.line and self._peek().text not in _COMMANDS:
            if self._peek().kind == "end":
                break
            self._next()
        if setting == "WaitPattern":
            self._pattern = self._checked(token, value)
        elif setting == "Shell":
            if is_shell(value):
                self._shell = value
            else:
                self._warn(token, f"Set Shell {value}: no shell that is known: the user's own")

    def _sourced(self, token: _Token, depth: int) -> None:
        name = self._argument(token, "a tape's name").text
        if self._source is None:
            raise self._bad(token, f"{name} is another tape", "copy its commands into this one")
        if depth >= MAX_DEPTH:
            raise self._bad(token, f"more than {MAX_DEPTH} tapes in each other")
        if not name.endswith(".tape"):
            raise self._bad(token, f"{name} is no tape", "Source other.tape")
        try:
            text = self._source(name)
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "this is no text in UTF-8"
            raise self._bad(token, f"{name}: {why}")
        self.tape(text.removeprefix("\ufeff"), name, depth + 1)

    # -- steps

    def _cut(self) -> None:
        """What has been typed so far is typed by itself, without Enter."""
        if self._parts:
            self._step("keys")

    def _step(self, kind: str) -> None:
        wait, self._wait = self._wait or Wait(), None
        number = len(self._steps) + 1
        self._steps.append(Step(number, self._line, "", kind, tuple(self._parts), wait))
        self._parts = []

    def _flush_wait(self) -> None:
        """A Wait that nothing is typed after."""
        if self._wait is not None:
            self._step("wait")
