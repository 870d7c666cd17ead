"""A recording with input to a script: what was typed is cut into steps, and what came after each is
what is expected of it. Knows no files.

Casts of others' recorders have ``o`` and ``i`` events only; ours say more (CAST.md): marks of the
shell, waits of the program, places of secrets.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

from gshell.cast.format import Cast, Event
from gshell.replay import gstinput, gstwrite, keys, masks, screen
from gshell.replay.script import Key, Line, Part, Script, ScriptError, Secret, Step, Text, Wait
from gshell.replay.shells import is_shell

_PROMPT = re.compile(r"[$#%❯➜»] $")  # without marks: how a shell's prompt ends
_ALTERNATE = re.compile(rb"\x1b\[\?(?:47|1047|1049)([hl])")
_ENTERS = (b"\r", b"\n")
_ENDS_LINE = (b"\x03", b"\x04", b"\x1a", b"\x1c")  # ^C ^D ^Z ^\: nothing is typed after them
_RUBS = (b"\x7f", b"\x08")
_STARTED = re.compile(r"\x1b\]133;S;([^\x07\x1b]*)(?:\x07|\x1b\\)")
# Where a prompt begins for who marks none: readline and its like switch pasting in brackets on
# before they print it; zsh afterwards, but wipes out what is below first. And what zsh and fish
# show where the output has no line end.
_PASTES, _PASTED = b"\x1b[?2004h", b"\x1b[?2004l"
_ZSH_PROMPT = b"\x1b[0m\x1b[27m\x1b[24m\x1b[J"
_NO_LINE_END = re.compile(
    rb"\x1b\[1m\x1b\[7m[%#]\x1b\[27m\x1b\[1m\x1b\[0m *\r \r"
    rb"|(?:\x1b\[[0-9;]*m)*\xe2\x8f\x8e(?:\x1b\(B|\x1b\[[0-9;]*m)* *\r\xe2\x8f\x8e ?\r"
)
_PLACES = re.compile(r"[~/][^\s>$#%]*")  # of a prompt: another one after cd
_ASKS = re.compile(r"[>.:?]+|\(\w+\)|In \[\d+\]:|[\w ]+[>:]")  # a program's prompt, no shell's
PROMPT_LINES = 3  # a prompt may have above its last one
PROMPT_WORDS = 2  # more than at first: a branch, a state
_CONTROLS = re.compile(
    r"\x1b\[[0-9;:?<=>!]*[ -/]*[@-~]|\x1b\].*?(?:\x07|\x1b\\)|\x1b.|[\x00-\x1f\x7f]"
)


def script(cast: Cast, name: str = "") -> Script:
    """The steps of a recording.

    Raises:
        ScriptError: nothing that was typed is in it.
    """
    if not any(event.code in "is" for event in cast.events):
        raise ScriptError(
            "this recording has no input, so nothing can be typed again",
            "record with -I, or gshell play it",
            name or "cast",
        )
    command = cast.header.command or ""
    cutter = _Cutter(cast.header.columns or 80, cast.header.rows or 24, cast.events, not command)
    for event in _events(cast.events):
        cutter.event(event)
    shell = "" if command else _shell(cast)
    if shell and not is_shell(shell):
        cutter.warnings.append(f"recorded in {shell}, which is not known: played in the user's own")
        shell = ""
    return Script(
        name,
        tuple(cutter.done()),
        size=cutter.size if cast.header.columns else None,
        shell=shell,
        command=command,
        status=cutter.exit,
        warnings=tuple(cutter.warnings),
    )


def _shell(cast: Cast) -> str:
    """The one it was typed into. Who records elsewhere has another one in his environment: the
    shell's own word counts more."""
    for event in cast.events:
        if event.code == "i":
            break
        if event.code == "o" and (found := _STARTED.search(event.data)):
            return found[1]
    return (cast.header.env or {}).get("SHELL", "")


def _events(events: list[Event]) -> list[Event]:
    """The shell's marks as events, also where the recorder left them in the output."""
    if any(event.code == "p" for event in events):
        return events
    done: list[Event] = []
    for event in events:
        if event.code != "o" or "\x1b]133;" not in event.data:
            done.append(event)
            continue
        at = 0
        for found in re.finditer(
            r"\x1b\]133;([ABCD](?:;-?\d+)?)[^\x07\x1b]*(?:\x07|\x1b\\)", event.data
        ):
            done.append(event._replace(data=event.data[at : found.start()]))
            done.append(Event(event.at_s, "p", found[1]))
            at = found.end()
        done.append(event._replace(data=event.data[at:]))
    return done


class _Typed(NamedTuple):
    """A step that is being typed, or whose output is coming."""

    before: str
    """What stood last on the line then."""
    shell: bool
    at_s: float
    pieces: tuple[bytes | Secret, ...]
    """Texts and keys; without the final Enter if ``line``."""
    line: bool
    """Ended by Enter."""
    finished: bool
    full_screen: bool


class _Cutter:
    """Events in, steps out. Invariant: ``_out`` is all output since the current step began, or
    since the last one ended if none has."""

    def __init__(self, columns: int, rows: int, events: list[Event], shell: bool) -> None:
        """``shell``: what was recorded is one, so that what asks first is its prompt."""
        self.exit: int | None = None
        self.warnings: list[str] = []
        self._columns, self._rows = self.size = columns, rows
        self._resized = 0  # at which step
        self._steps: list[Step] = []
        self._now: _Typed | None = None
        self._out = bytearray()
        self._err = bytearray()
        self._since_key = bytearray()
        self._full_screen = False
        self._at_prompt: bool | None = None  # None: there were no marks
        self._status: int | None = None
        self._tells_waits = any(event.code == "w" for event in events)
        self._prompt = "" if shell and not self._tells_waits else None
        """The shell's, as it was first; empty: not seen yet; None: not known."""
        self._waited = True
        self._ahead = False
        self._unjudged: list[int] = []
        self._above: list[str] = []  # the lines before the first prompt
        self._under: list[
            int
        ] = []  # steps whose answer ends with such lines, if the prompt has any
        self._asked: set[str] = set()
        self._answered: list[bool] = []  # of each step: something asked before the next one
        self._secret_just_now = False

    def event(self, event: Event) -> None:
        code, data = event.code, event.data
        if code == "o":
            self._output(data.encode("utf-8", "replace"))
        elif code == "b":
            self._better(data)
        elif code == "e":
            self._err += data.encode("utf-8", "replace")
        elif code == "i":
            self._input(event.at_s, data.encode("utf-8", "replace"))
        elif code == "s":
            self._secret(event.at_s, data)
        elif code == "w":
            self._waited = True
        elif code == "p":
            self._mark(data)
        elif code == "r":
            found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", data)
            if found:
                size = int(found[1]) or 80, int(found[2]) or 24
                if size != self.size and self._now is not None:
                    self._resized = self._resized or len(self._steps) + 1
                elif self._now is None:
                    self.size = size
                self._columns, self._rows = size
        elif code == "x" and re.fullmatch(r"-?\d{1,9}", data):
            self.exit = int(data)

    def done(self) -> list[Step]:
        self._close(last=True)
        self._take_prompts()
        if self._resized:
            columns, rows = self.size
            self.warnings.append(
                f"the terminal had another size from step {self._resized} on: here it is "
                f"{columns}x{rows} for all"
            )
        if self._unjudged:
            numbers = ", ".join(map(str, sorted({*self._unjudged})))
            steps = "steps" if len(self._unjudged) > 1 else "step"
            self.warnings.append(f"{steps} {numbers}: typed ahead of the prompt, not judged")
        return self._steps

    # -- output

    def _output(self, data: bytes) -> None:
        self._out += data
        self._since_key += data
        self._secret_just_now = self._secret_just_now and not data
        for found in _ALTERNATE.finditer(data):
            self._full_screen = found[1] == b"h"
            if self._now is not None:
                self._now = self._now._replace(full_screen=True)

    def _better(self, data: str) -> None:
        """The bytes of the output just before."""
        try:
            exact = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            return
        shown = exact.decode("utf-8", "replace").encode()
        if self._out.endswith(shown):
            self._out[len(self._out) - len(shown) :] = exact

    def _mark(self, data: str) -> None:
        letter, _, status = data.partition(";")
        if letter in "AB":
            if letter == "A" and self._now is not None and self._now.finished:
                self._out += b"\x1b]133;A\x07"  # the answer ends here, whatever the prompt is
            self._at_prompt = True
            self._waited = True  # whether or not anybody looked in time
        elif letter == "C":
            self._at_prompt = False
        elif letter == "D":
            self._at_prompt = False
            if re.fullmatch(r"\d{1,9}", status) and self._now is not None:
                self._status = int(status)

    # -- input

    def _secret(self, at_s: float, number: str) -> None:
        self._start(at_s)
        assert self._now is not None
        secret = Secret(int(number) if number.isdecimal() and number.strip("0") else 1)
        self._now = self._now._replace(pieces=(*self._now.pieces, secret), line=True, finished=True)
        self._secret_just_now = True

    def _input(self, at_s: float, data: bytes) -> None:
        if self._secret_just_now and data[:1] in _ENTERS:
            data = data[1:]  # the Enter after the secret, which is understood
        self._secret_just_now = False
        for piece in keys.cut(data):
            self._key(at_s, piece)

    def _key(self, at_s: float, piece: bytes) -> None:
        self._start(at_s)
        assert self._now is not None
        self._since_key.clear()
        if piece in _ENTERS and not self._full_screen:
            self._now = self._now._replace(line=True, finished=True)
            self._waited = False
            return
        finished = piece in _ENDS_LINE
        self._now = self._now._replace(pieces=(*self._now.pieces, piece), finished=finished)
        if finished:
            self._waited = False

    def _start(self, at_s: float) -> None:
        """A step to type into: the current one, if what came since its last key is its echo."""
        goes_on = False  # what was completed or recalled stands at the shell's prompt, too
        if self._now is not None:
            if not self._now.finished and self._is_echo(self._now):
                return
            goes_on = self._now.shell and not self._now.finished
            self._close()
        before = "" if self._full_screen else self._last()
        if not self._asked:
            lines = screen.view(bytes(self._out), self._columns, self._rows).lines[:-1]
            self._above = [line for line in lines[-PROMPT_LINES:] if line]
        self._asked.add(before.strip())
        if self._prompt == "":
            asks = _ASKS.fullmatch(before.strip())
            self._prompt = before if before.strip() and not asks else None
        shell = self._is_shells(before) if self._at_prompt is None else self._at_prompt
        shell = (shell or goes_on) and not self._full_screen
        self._now = _Typed(before, shell, at_s, (), False, False, self._full_screen)
        self._out.clear()
        self._err.clear()
        self._since_key.clear()

    def _is_shells(self, before: str) -> bool:
        """Is this the shell's prompt?"""
        if _PROMPT.search(before):
            return True
        return _begins_alike(self._prompt or "", before)

    def _is_prompt(self, text: str) -> bool:
        """The shell's, or one that something was typed at."""
        return self._is_shells(text) or text.strip() in self._asked

    def _last(self) -> str:
        return screen.view(bytes(self._out), self._columns, self._rows).last

    def _is_echo(self, typed: _Typed) -> bool:
        if not self._since_key:
            return True
        if self._full_screen or typed.full_screen:
            return False
        text, plain = _text_of(typed.pieces)
        printed = _CONTROLS.sub("", self._since_key.decode("utf-8", "replace"))
        out = typed.before.encode() + bytes(self._out)
        if b"\n" in self._since_key:  # node shows below what it would be, and goes back
            again = plain and b"\x1b" in self._since_key and bool(text)
            return again and screen.view(out, self._columns, self._rows).last.endswith(text)
        if not printed.strip() or printed in text:
            return True
        return screen.view(out, self._columns, self._rows).last.endswith(text)

    # -- steps

    def _close(self, last: bool = False) -> None:
        typed, self._now = self._now, None
        if typed is None:
            return
        text, plain = _text_of(typed.pieces)
        line = typed.line and plain
        parts = _parts(typed, text, plain)
        kind = ("shell" if typed.shell else "line") if line else "keys"
        wait = Wait(
            text="" if typed.shell else masks.escaped(typed.before.rstrip()),
            shell=typed.shell and not line,
            at_s=typed.at_s,
        )
        status = self._status
        self._status = None
        number = len(self._steps) + 1
        step = Step(
            number, 0, "", kind, parts, wait, self._expected(typed, text if plain else None, last)
        )
        if status is not None:
            step = step._replace(status=Line(str(status), 0))
        if self._typed_again(step, text, typed.before.strip()):
            step = step._replace(kind="shell", wait=wait._replace(text=""), expected=None)
            self._judge_none()
        self._steps.append(step._replace(shown=gstwrite.shown(step)))
        self._answered.append(bool(self._last().strip()))
        # What stood last is where the next step is typed.
        last_line = screen.view(
            typed.before.encode() + bytes(self._out), self._columns, self._rows
        ).last
        self._out[:] = last_line.encode()

    def _typed_again(self, step: Step, text: str, before: str) -> bool:
        """Where nobody tells of waits: did the shell show the line at its prompt only after others'
        output? Then it was typed ahead."""
        if self._tells_waits or step.kind not in ("shell", "line") or not text.strip():
            return False
        shown = masks.escaped(text)
        words = len((self._prompt or "").split()) + PROMPT_WORDS
        for line in step.expected or ():
            begin, typed, rest = line.text.partition(shown)
            is_one = typed and (not rest or rest.startswith("   "))  # a prompt on the right
            if is_one and self._is_shells(begin) and len(begin.split()) <= words:
                return True
            if not before and self._prompt and line.text.startswith(masks.escaped(self._prompt)):
                return True  # not shown again, but there was a prompt
        return False

    def _take_prompts(self) -> None:
        """Where nothing says where a prompt begins: what stood above the first one, and stands at
        the end of every answer, is of the prompt."""
        count = len(self._above)
        for at in self._under:
            lines = [line.text for line in self._steps[at].expected or ()]
            pairs = list(zip(reversed(self._above), reversed(lines)))
            alike = [_begins_alike(above, line) for above, line in pairs]
            count = min(count, (*alike, False).index(False))
        for at in self._under if count else ():
            step = self._steps[at]
            left = list(step.expected or ())[:-count]
            while left and not left[-1].text:
                left.pop()
            self._steps[at] = step._replace(expected=tuple(left))

    def _judge_none(self) -> None:
        """Of the steps since the last one whose answer was there before the next was typed."""
        at = len(self._steps)
        self._unjudged.append(at + 1)
        while at:
            at -= 1
            self._steps[at] = self._steps[at]._replace(expected=None)
            self._unjudged.append(at + 1)
            if not at or self._answered[at - 1]:
                break

    def _expected(self, typed: _Typed, text: str | None, last: bool) -> tuple[Line, ...] | None:
        # Who types at a prompt before anybody saw the program wait there has not typed ahead.
        early = self._tells_waits and not self._waited and not last and not self._last().strip()
        ahead, self._ahead = self._ahead, early
        if typed.full_screen or not typed.finished:
            return None
        if ahead or self._ahead:
            self._unjudged.append(len(self._steps) + 1)
            return None
        data = bytes(self._out)
        prompt = _prompt_in(data)
        if prompt >= 0:
            # What stands last there is no prompt, though it may have no line end.
            data = _NO_LINE_END.sub(b"", data[:prompt]) + b"\r\n"
        secret = any(isinstance(piece, Secret) for piece in typed.pieces)
        echoed = text if typed.line and not secret else None
        if not typed.line:
            echoed = (
                "^" + chr(typed.pieces[-1][0] | 0x40) if isinstance(typed.pieces[-1], bytes) else ""
            )
        begin = _begin_in(data) if typed.shell and typed.line else -1
        if begin >= 0:
            data = (echoed or "").encode() + b"\r\n" + data[begin:]
        seen = screen.answer(data, typed.before, echoed, self._columns, self._rows)
        lines = seen.lines
        glued = screen.glued(seen.last, typed.before) if typed.shell and prompt < 0 else ""
        if glued:
            lines = [*lines, glued]
        elif last and prompt < 0 and seen.last.strip() and not self._is_prompt(seen.last):
            lines = [*lines, seen.last.rstrip()]  # the last line has no line end
        if prompt < 0 and not glued and self._is_shells(seen.last):
            self._under.append(len(self._steps))
        found = [Line(masks.escaped(line), 0) for line in lines]
        errors = screen.lines(bytes(self._err), self._columns, self._rows)
        found += [Line(masks.escaped(line), 0, "err") for line in errors]
        return tuple(found)


def _begins_alike(one: str, other: str) -> bool:
    """Are they the same part of two prompts, perhaps in other directories?"""
    words = [_PLACES.sub("~", text).split() for text in (one, other)]
    return bool(words[0] and words[1]) and words[0][0] == words[1][0]


def _begin_in(data: bytes) -> int:
    """Where an answer begins after a line editor's own, which may have drawn several lines: it
    switches pasting in brackets off; zsh before it ends the line, others afterwards. -1: not
    known."""
    at = data.find(_PASTED)
    if at < 0 or 0 <= data.find(_PASTES) < at:
        return -1
    ended = re.search(rb"\n(?:\r|\x1b\(B|\x1b\[[0-9;]*m)*\Z", data[:at])
    at += len(_PASTED)
    if ended:
        return at
    line_end = re.compile(rb"\r*\n").match(data, at)
    return line_end.end() if line_end else -1


def _prompt_in(data: bytes) -> int:
    """Where in an answer the next prompt begins, which may have several lines; -1: not known."""
    marked = data.rfind(b"\x1b]133;A\x07")
    if marked >= 0:
        return marked
    pasted = data.rfind(_PASTED) + 1
    pastes = data.find(_PASTES, pasted)
    if pastes < 0:
        return -1
    zsh = data.find(_ZSH_PROMPT, pasted, pastes)
    return zsh if zsh >= 0 else pastes


def _text_of(pieces: tuple[bytes | Secret, ...]) -> tuple[str, bool]:
    """The text that was typed, characters that were rubbed out gone; False: there were keys that
    do something else."""
    text, plain = "", True
    for piece in pieces:
        if isinstance(piece, Secret):
            continue
        if piece in _RUBS:
            text = text[:-1]
        elif piece[0] < 0x20 or piece == b"\x7f":
            plain = False
        else:
            text += piece.decode("utf-8", "replace")
    return text, plain


def _parts(typed: _Typed, text: str, plain: bool) -> tuple[Part, ...]:
    secrets = [piece for piece in typed.pieces if isinstance(piece, Secret)]
    if typed.line and plain and not secrets:
        return (Text(masks.dollars_escaped(text)),) if text else ()
    parts: list[Part] = []
    for piece in typed.pieces:
        if isinstance(piece, Secret):
            parts.append(piece)
        elif typed.line and plain and piece in _RUBS:
            if parts and isinstance(parts[-1], Text):
                parts[-1] = Text(parts[-1].text[:-1])
        elif piece[0] < 0x20 or piece == b"\x7f":
            parts.append(_key(piece))
        elif parts and isinstance(parts[-1], Text):
            parts[-1] = Text(parts[-1].text + _typed_text(piece))
        else:
            parts.append(Text(_typed_text(piece)))
    if typed.line and not plain:
        parts.append(keys.of_bytes(b"\r"))
    return tuple(part for part in parts if part != Text(""))


def _typed_text(piece: bytes) -> str:
    return masks.dollars_escaped(piece.decode("utf-8", "replace"))


def _key(piece: bytes) -> Key:
    start, end = keys.PASTE
    if piece.startswith(start) and piece.endswith(end):
        inside = piece[len(start) : -len(end)]
        try:
            return Key(piece, f"<Paste {gstinput.quoted(inside.decode())}>")
        except UnicodeDecodeError:
            return keys.in_hex(piece)
    return keys.of_bytes(piece)
