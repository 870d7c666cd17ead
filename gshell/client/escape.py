"""Keys that are for gshell, not for the program: ``~.`` and its kin. Knows no terminal, no clock.

ssh's rules: ``~`` counts only as the first byte of a line, ``~~`` sends one, and what is no command
is sent as typed. Beyond ssh, it must have been *typed by hand*:

* not between the marks of a bracketed paste;
* in a read of at most `TYPED_AT_MOST` bytes. A person's keys come one by one, a script's (tmux
  send-keys, expect) or a slow line's a few at a time; a paste without marks comes in one piece. A
  line of it that begins with ``~.`` must not detach: the rest would go to the local shell;
* and not just after a long read (`BURST`): that is the tail of a paste which the kernel cut.

What was pasted can end a line, though: ``~.`` typed after it is a command. Ctrl-] three times in a
second detaches anywhere, in programs that never see a line end too; the first two are sent on.
"""

from __future__ import annotations

Action = tuple[str, bytes]  # ("data", bytes to send), or (command, b"")

TYPED_AT_MOST = 16  # bytes in one read: a few keys, the longest of which are about 8 bytes
BURST = 256  # bytes in one read that only a paste brings, and may be continued in the next
BURST_GAP_S = 0.05  # the next read of the same paste comes sooner, a hand's next key later
PASTE_SILENCE_S = 5.0  # the end mark never came: a paste of so long ago is over
TRIPLE_S = 1.0  # Ctrl-] three times within this

_PASTE_BEGINS = b"\x1b[200~"
_PASTE_ENDS = b"\x1b[201~"
_CTRL_BRACKET = 0x1D
_LINE_ENDS = b"\r\n"
_COMMANDS = {
    ord("."): "detach",
    ord("d"): "detach",
    0x1A: "suspend",
    ord("?"): "help",
    ord("r"): "redraw",
    ord("K"): "kill",
    ord("s"): "status",
    ord("#"): "ranks",
    ord("R"): "record",
    ord("m"): "marker",
}


def escape_char(text: str) -> str | None:
    """What ``-e`` says: one character, ``^X`` for Ctrl-X, None for ``none``; else ValueError."""
    if text == "none":
        return None
    if len(text) == 2 and text[0] == "^" and 0x3F <= ord(text[1].upper()) <= 0x5F:
        return chr(ord(text[1].upper()) ^ 0x40)
    if len(text) == 1 and text.isascii() and text not in "\r\n\x1b":
        return text
    raise ValueError(f"{text!r} is not one character, ^X or none")


def shown(char: str) -> str:
    """``char`` as a person reads it: ``^]`` for Ctrl-]."""
    return char if char.isprintable() else "^" + chr(ord(char) ^ 0x40)


def help_text(char: str | None = "~", by_lines: bool = False) -> str:
    """The answer to ``~?``, lines ended by newlines. ``by_lines``: to `EscapeLines`."""
    if char is None:
        return "no escape keys in this session (-e none)\n"
    key = shown(char)
    rows = (
        (f"{key}.", "detach: the job goes on, `gshell attach` comes back (also " + key + "d)"),
        (f"{key}^Z", "suspend gshell"),
        (f"{key}r", "redraw"),
        (f"{key}s", "status of the connection"),
        (f"{key}#", "what the job's ranks do"),
        (f"{key}R", "record what is shown from here on, or stop"),
        (f"{key}m", "a marker in the recording"),
        (f"{key}K", "end the job (asks)"),
        (f"{key}?", "this list"),
        (key * 2, f"send {key}"),
    )
    if by_lines:
        kept = [f"  {left:<5} {right}" for left, right in rows if left[-1] not in "Zr"]
        return "\n".join(["escapes, a line each:", *kept]) + "\n"
    lines = [f"  {left:<5} {right}" for left, right in rows]
    lines.insert(0, f"escape keys, at the beginning of a line ({key} is then held back):")
    lines.append("anywhere, three times within a second:\n  ^]    detach")
    return "\n".join(lines) + "\n"


def detach_key(char: str | None = "~", inside_ssh: bool = False) -> str:
    """Which key to tell the person about: inside ssh the outer one eats ``~.``. Empty: none."""
    if char is None:
        return ""
    return "Ctrl-] three times" if inside_ssh and char == "~" else f"{shown(char)}."


class EscapeLines:
    """The same where the terminal hands on whole lines, and the program has none: ``~.`` alone in
    a line. Invariant: every line goes on as it is, less the commands and one ``~`` of ``~~``."""

    def __init__(self, char: str | None = "~") -> None:
        self._char = char.encode() if char is not None else b"\n"  # no line begins so
        self._line_start = True

    def feed(self, data: bytes, more: bool = False) -> list[Action]:
        """What one read gave: such a terminal gives a line at most. ``more``: there is another one
        already, so that it was pasted, and the rest would go to the local shell."""
        begins, self._line_start = self._line_start, data.endswith(b"\n")
        if not begins or data[:1] != self._char or self._char == b"\n":
            return _data(bytearray(data))
        if data[1:2] == self._char:
            return [("data", data[1:])]
        command = _COMMANDS.get(data[1]) if len(data) == 3 and self._line_start else None
        if command is None or command in ("suspend", "redraw") or more:
            return [("data", data)]
        return [(command, b"")]


class EscapeKeys:
    """Invariant: what goes in comes out in order, less the commands; at most one byte is held."""

    def __init__(self, char: str | None = "~") -> None:
        """``char`` None: nothing is a command, not even Ctrl-]."""
        self._char = ord(char) if char is not None else -1
        self._line_start = True
        self._held = False  # an escape character at the start of a line; what it means comes next
        self._pasting = False
        self._mark = 0  # bytes of the paste mark (begin or end, whichever is next) seen so far
        self._last_read = self._last_burst = -1e9
        self._brackets: list[float] = []  # when the Ctrl-]s in a row were typed

    def feed(self, data: bytes, now: float) -> list[Action]:
        """What was read at ``now``, as actions in order. After ``detach`` the rest is dropped: it
        was typed for whoever has the terminal next."""
        if self._char < 0:
            return [("data", data)] if data else []
        if self._pasting and now - self._last_read > PASTE_SILENCE_S:
            self._pasting = False
            self._mark = 0
        typed = len(data) <= TYPED_AT_MOST and now - self._last_burst > BURST_GAP_S
        if len(data) >= BURST or now - self._last_burst <= BURST_GAP_S:
            self._last_burst = now
        self._last_read = now
        return self._typed(data, now) if typed else self._pasted(data)

    def end(self) -> bytes:
        """The input ended: what is still held back."""
        held, self._held = self._held, False
        return bytes((self._char,)) if held else b""

    def _pasted(self, data: bytes) -> list[Action]:
        out = self.end() + data
        for byte in data if self._pasting or self._mark or b"\x1b" in data else b"":
            self._follow_marks(byte)
        self._line_start = not self._pasting and data[-1:] in (b"\r", b"\n")
        self._brackets.clear()
        return [("data", out)]

    def _typed(self, data: bytes, now: float) -> list[Action]:
        actions: list[Action] = []
        out = bytearray()
        at = 0
        while at < len(data):
            byte = data[at]
            report = None if self._pasting else _key_report(data, at)
            if report:
                kind = _kind(report)
                if kind == "bracket" and self._third_bracket(now):
                    return [*actions, *_data(out), ("detach", b"")]
                if kind == "other":
                    self._brackets.clear()
                out += self.end() + report
                self._line_start = False
                self._mark = 0
                at += len(report)
                continue
            self._brackets.clear()
            at += 1
            self._follow_marks(byte)
            if self._held:
                self._held = False
                command = _COMMANDS.get(byte)
                if command is not None:
                    # As in ssh, the line has still not begun: ~?~. works.
                    actions += [*_data(out), (command, b"")]
                    out.clear()
                    if command == "detach":
                        return actions
                    continue
                if byte != self._char:  # ~~ sends one
                    out.append(self._char)
            elif byte == self._char and self._line_start:
                self._held = True
                continue
            out.append(byte)
            self._line_start = byte in _LINE_ENDS and not self._pasting
        return [*actions, *_data(out)]

    def _third_bracket(self, now: float) -> bool:
        self._brackets = [then for then in self._brackets if now - then <= TRIPLE_S] + [now]
        if len(self._brackets) < 3:
            return False
        self._brackets.clear()
        return True

    def _follow_marks(self, byte: int) -> None:
        """Watch for the next paste mark, wherever reads cut it; the bytes themselves go on."""
        mark = _PASTE_ENDS if self._pasting else _PASTE_BEGINS
        if byte == mark[self._mark]:
            self._mark += 1
            if self._mark == len(mark):
                self._pasting = not self._pasting
                self._mark = 0
        else:
            self._mark = 1 if byte == mark[0] else 0


def _data(out: bytearray) -> list[Action]:
    return [("data", bytes(out))] if out else []


_CTRLS = (b"5", b"69", b"133", b"197")  # 1 + Ctrl, with Caps Lock and Num Lock


def _key_report(data: bytes, at: int) -> bytes:
    """A Ctrl-] or any key with modifiers that stands at ``at``, else nothing.

    Programs can ask for other spellings of keys: ``ESC [ 93 ; 5 u`` (the kitty protocol) and
    ``ESC [ 27 ; 5 ; 93 ~`` (xterm's modifyOtherKeys).
    """
    if data[at] == _CTRL_BRACKET:
        return data[at : at + 1]
    if data[at : at + 2] == b"\x1b[":
        for end in range(at + 2, min(at + 24, len(data))):
            if data[end] in b"u~":
                whole = data[at : end + 1]
                return whole if b";" in whole else b""  # a paste mark has none
            if data[end] not in b"0123456789;:":
                break
    return b""


def _kind(report: bytes) -> str:
    """``bracket``: Ctrl-] went down; ``release``: some key went up; ``other``."""
    if len(report) == 1:
        return "bracket"
    fields = report[2:-1].split(b";")
    if report.endswith(b"~"):  # 27;modifiers;93
        hit = fields[0] == b"27" and fields[1] in _CTRLS and fields[2:] == [b"93"]
    else:  # 93[:shifted:base];modifiers[:event]
        modifiers, _, event = fields[1].partition(b":")
        if event == b"3":
            return "release"
        hit = fields[0].split(b":")[0] == b"93" and modifiers in _CTRLS
    return "bracket" if hit else "other"
