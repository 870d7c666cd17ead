"""What a terminal that joins late is given first: modes, and the past without its questions. Knows
neither logs nor links; pure.

Two halves: `ModeTracker` looks at all output as it passes, so it must cost nearly nothing; the
rest, `filter_history` and `safe_start`, takes apart a piece of the past once. One module, because
they must agree on what the one restores and the other leaves out.
"""

from __future__ import annotations

import re
from collections import deque

_TITLE_BYTES = 256  # of a title, at most: a bar shows less
_TITLE_ENDS_BYTES = 1024  # after this many bytes it was none
_TAIL_BYTES = 64  # of a sequence that is cut: one that is longer is none of ours
_ALT_SPANS = 64  # past visits of the alternate screen that are remembered

# Sequences that set what we track. The lookahead throws out colours and cursor movements, the bulk
# of all sequences, at 50 ns each; Python code sees only what is left, each kind once per chunk.
_TRACKED = re.compile(
    rb"\x1b(?!\[[0-9;:]*[@-IK-gi-kmnoqs-~])(?:"
    rb"\[[?<=>!][0-9;:]*[$]?[@-~]"  # private modes, keyboards, soft reset
    rb"|\[[0-9;]*[Jrhl]|\[[0-9]* q"  # clear, scroll region, insert, cursor's shape
    rb"|[c=>]|[()][0-9A-Z]|\][02];)"  # full reset, keypad, character sets, title
)
_STRUCTURAL = re.compile(rb"\x1b(?:c|\[!p|\[[<=>][0-9;:]*u|\[\?(?:[0-9]+;)*(?:1049|1047|47)[;hl])")
_CUT = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|[()]|\][02]?)?\Z")
_TITLE_END = re.compile(rb"[\x07\x18\x1a\x1b]")
_HOMES = (b"\x1b[H", b"\x1b[1;1H", b"\x1b[;H")

_ALTERNATE = frozenset((b"1049", b"1047", b"47"))
# DEC private modes that are off in a fresh terminal, and those that are on.
_OFF = frozenset(
    b"1 5 6 9 1000 1001 1002 1003 1004 1005 1006 1007 1015 1016 2004 2026 2031 2048".split()
)
_ON = frozenset((b"7", b"25"))
_SOFT_RESET = (b"1", b"6", b"7", b"25")  # DECSTR changes these, and what _soft_reset() says
_PASSING = (
    b"2026"  # drawing held back: it ends by itself, and entering it now would freeze the screen
)


class ModeTracker:
    """Follows which modes the output so far has left a terminal in. Invariant: how the output was
    cut into chunks changes nothing."""

    def __init__(self) -> None:
        self.offset = 0
        """Bytes seen."""
        self._rows = 0  # of the terminal that the output is for; 0: nobody said
        self.size = (0, 0)
        """Rows and columns of that terminal."""
        self.alternate_at: int | None = None
        """Where the alternate screen was entered, if it is shown."""
        self._cleared: list[int | None] = [
            None,
            None,
        ]  # main, alternate: where all of it was erased
        self._left: deque[tuple[int, int]] = deque(maxlen=_ALT_SPANS)  # (entered, left)
        self._tail = b""  # a sequence that is cut, at the end of what was seen
        self._home = (-1, -1)  # (start, end) of a cursor-home that ended a chunk
        self._title_part: bytes | None = None  # of one that goes on in the next chunk
        self.title = b""
        self._full_reset()

    def _full_reset(self) -> None:
        self._alternate = b""  # the mode that entered it
        self._set: dict[bytes, None] = {}  # modes that are not as in a fresh terminal, in order
        self._keyboards: list[list[int]] = [
            [0],
            [0],
        ]  # kitty's stacks, of the main and other screen
        self._other_keys = b""
        self._shape = b""
        self._soft_reset()

    def _soft_reset(self) -> None:
        for mode in _SOFT_RESET:
            self._set.pop(mode, None)
        self._keypad = self._insert = False
        self._region = b""
        self._charsets: dict[bytes, bytes] = {}
        self._shifted = False

    def resized(self, rows: int, columns: int = 0) -> None:
        """The terminal is that large from here on, and has forgotten the scroll region."""
        self._rows = rows
        self.size = (rows, columns)
        self._region = b""

    # -------------------------------------------------------------------------------------- feeding

    def feed(self, data: bytes) -> None:
        """See the next output."""
        if self._title_part is not None:
            self._go_on_with_title(data)
        if b"\x1b" in data or self._tail:
            base = self.offset - len(self._tail)
            self.offset += len(data)
            self._look(self._tail + data if self._tail else data, base)
        else:
            self.offset += len(data)
            if b"\x0e" in data or b"\x0f" in data:
                self._shifted = data.rfind(b"\x0e") > data.rfind(b"\x0f")

    def _look(self, data: bytes, base: int) -> None:
        last = data.rfind(b"\x1b")
        cut = _CUT.match(data, last) if len(data) - last <= _TAIL_BYTES else None
        self._tail = data[last:] if cut else b""
        hits = _TRACKED.findall(data)
        if hits:
            # Of each sequence only the last matters, in the order of these: all set something
            # absolute but those that a second, exact pass is for.
            kinds = dict.fromkeys(reversed(hits))
            if any(map(_STRUCTURAL.match, kinds)):
                for match in _TRACKED.finditer(data):
                    self._apply(match.group(), data, match.start(), base)
            else:
                for kind in reversed(kinds):
                    if kind.endswith(b"J"):
                        self._erased_somewhere(kind, data, base)
                    else:
                        self._apply(kind, data, 0, base)
            if any(kind.startswith(b"\x1b]") for kind in kinds):
                self._find_title(data)
        out, back = data.rfind(b"\x0e"), data.rfind(b"\x0f")
        if out >= 0 or back >= 0:
            reset = max(data.rfind(b"\x1bc"), data.rfind(b"\x1b[!p"))
            if max(out, back) > reset:
                self._shifted = out > back
        done = len(data) - len(self._tail)
        if done:
            self._home = _home_before(data, done, base) or (-1, -1)

    def _apply(self, sequence: bytes, data: bytes, at: int, base: int) -> None:
        if len(sequence) > _TAIL_BYTES:
            return
        kind, final = sequence[1:2], sequence[-1:]
        if kind == b"[":
            private = sequence[2:3]
            if private == b"?":
                if final in b"hl":
                    for mode in sequence[3:-1].split(b";"):
                        self._private(mode, final == b"h", base + at, base + at + len(sequence))
            elif private in b"<=>" and final == b"u":
                self._keyboard(private, sequence[3:-1])
            elif private == b">" and final == b"m":
                resource, _, value = sequence[3:-1].partition(b";")
                if resource in (b"4", b""):
                    self._other_keys = b"" if value in (b"", b"0") else value[:8]
            elif sequence == b"\x1b[!p":
                self._soft_reset()
            elif final == b"J":
                self._erased(sequence, data, at, base)
            elif final == b"r" and private not in b"<=>!":
                self._region = b"" if self._is_whole(sequence[2:-1]) else sequence[2:-1][:20]
            elif final in b"hl" and private not in b"<=>!":
                if b"4" in sequence[2:-1].split(b";"):
                    self._insert = final == b"h"
            elif sequence.endswith(b" q"):
                self._shape = sequence[2:-2].strip(b"0")[:3]
        elif kind in b"()":
            self._charsets[kind] = final
        elif kind in b"=>":
            self._keypad = kind == b"="
        elif kind == b"c":
            if self._alternate:
                self._leave(base + at)
            self._full_reset()
            self._cleared[0] = base + at

    def _is_whole(self, region: bytes) -> bool:
        """All rows scroll, as in a fresh terminal: a number were wrong in one of another size."""
        top, _, bottom = region.partition(b";")
        if top not in (b"", b"0", b"1"):
            return False
        return bottom in (b"", b"0") or (bottom.isdigit() and 0 < self._rows <= int(bottom[:9]))

    def _private(self, mode: bytes, on: bool, start: int, end: int) -> None:
        if mode in _ALTERNATE:
            if on and not self._alternate:
                self._alternate = mode
                self.alternate_at = start
                self._cleared[1] = None
            elif not on and self._alternate:
                self._leave(end)
        elif mode == b"66":
            self._keypad = on
        elif mode in _OFF or mode in _ON:
            self._set.pop(mode, None)
            if on != (mode in _ON):
                self._set[mode] = None

    def _leave(self, at: int) -> None:
        assert self.alternate_at is not None
        self._left.append((self.alternate_at, at))
        self._alternate = b""
        self.alternate_at = None

    def _keyboard(self, kind: bytes, parameters: bytes) -> None:
        stack = self._keyboards[bool(self._alternate)]
        first, _, second = parameters.partition(b";")
        number = int(first) if first.isdigit() and len(first) < 5 else 0
        if kind == b">":
            stack.append(number)
            del stack[1:-15]  # the base, and what a terminal's stack holds
        elif kind == b"<":
            del stack[max(1, len(stack) - max(number, 1)) :]
        elif second in (b"", b"1"):
            stack[-1] = number
        else:
            stack[-1] = stack[-1] | number if second == b"2" else stack[-1] & ~number

    def _erased(self, sequence: bytes, data: bytes, at: int, base: int) -> bool:
        home = self._home if at == 0 and self._home[1] == base else _home_before(data, at, base)
        if home is None and sequence != b"\x1b[2J":
            return False
        if sequence in (b"\x1b[2J", b"\x1b[J", b"\x1b[0J"):
            shown = bool(self._alternate)
            self._cleared[shown] = max(self._cleared[shown] or 0, home[0] if home else base + at)
        return True

    def _erased_somewhere(self, sequence: bytes, data: bytes, base: int) -> None:
        """The last of all these that erased everything; the last one may not have."""
        if not self._erased(sequence, data, data.rfind(sequence), base):
            places = [(data.rfind(home + sequence), len(home)) for home in _HOMES]
            found = max(at + size if at >= 0 else 0 for at, size in places)
            if found or data.startswith(sequence):  # a home may have ended the last chunk
                self._erased(sequence, data, found, base)

    # ---------------------------------------------------------------------------------------- title

    def _find_title(self, data: bytes) -> None:
        end = len(data)
        while True:
            at = max(data.rfind(b"\x1b]0;", 0, end), data.rfind(b"\x1b]2;", 0, end))
            if at < 0:
                return
            text = data[at + 4 : at + 4 + _TITLE_ENDS_BYTES]
            stop = _TITLE_END.search(text)
            if stop is not None and stop.group() in b"\x07\x1b":
                return self._title_is(text[: stop.start()])
            if stop is None and len(text) < _TITLE_ENDS_BYTES:
                self._title_part = text
            end = at + 3

    def _go_on_with_title(self, data: bytes) -> None:
        assert self._title_part is not None
        text = self._title_part + data[: _TITLE_ENDS_BYTES - len(self._title_part)]
        stop = _TITLE_END.search(text)
        if stop is None and len(text) < _TITLE_ENDS_BYTES:
            self._title_part = text
            return
        self._title_part = None
        if stop is not None and stop.group() in b"\x07\x1b":
            self._title_is(text[: stop.start()])

    def _title_is(self, title: bytes) -> None:
        text = title[:_TITLE_BYTES].decode("utf-8", "ignore")  # also what a cut left of a character
        self.title = "".join(filter(str.isprintable, text)).encode()

    # -------------------------------------------------------------------------------------- answers

    def prelude(self) -> bytes:
        """What puts a fresh terminal into these modes; to be printed before the history."""
        parts = [b"\x1b]2;%b\x07" % self.title] if self.title else []
        parts += _keyboard_sets(self._keyboards[0])
        if self._alternate:
            parts.append(b"\x1b[?%bh" % self._alternate)
            parts += _keyboard_sets(self._keyboards[1])
        if self._region:
            parts.append(b"\x1b[%br" % self._region)
        parts += [b"\x1b%b%b" % kind for kind in sorted(self._charsets.items()) if kind[1] != b"B"]
        parts += [
            b"\x1b[?%b%b" % (m, b"l" if m in _ON else b"h") for m in self._set if m != _PASSING
        ]
        for on, said in (
            (self._keypad, b"\x1b="),
            (self._insert, b"\x1b[4h"),
            (self._shifted, b"\x0e"),
            (self._shape, b"\x1b[%b q" % self._shape),
            (self._other_keys, b"\x1b[>4;%bm" % self._other_keys),
        ):
            if on:
                parts.append(said)
        return b"".join(parts)

    def reset(self) -> bytes:
        """What takes a terminal out of these modes and colours; nothing if it is in none."""
        parts = []
        other = self._keyboards[1] if self._alternate else [0]
        parts += _keyboard_resets(other)
        if self._region:
            parts.append(b"\x1b[r")
        if self._alternate:
            parts.append(b"\x1b[?%bl" % self._alternate)
        parts += _keyboard_resets(self._keyboards[0])
        parts += [b"\x1b%bB" % which for which, kind in self._charsets.items() if kind != b"B"]
        parts += [b"\x1b[?%b%b" % (mode, b"h" if mode in _ON else b"l") for mode in self._set]
        for on, undone in (
            (self._keypad, b"\x1b>"),
            (self._insert, b"\x1b[4l"),
            (self._shifted, b"\x0f"),
            (self._shape, b"\x1b[0 q"),
            (self._other_keys, b"\x1b[>4m"),
        ):
            if on:
                parts.append(undone)
        return b"".join([*parts, b"\x1b[m"]) if parts else b""

    @property
    def cleared_at(self) -> int | None:
        """Where all of the screen that is shown was erased last, since it is shown."""
        return self._cleared[bool(self._alternate)]

    def redraw_from(self, earliest: int) -> int:
        """From which offset on, but none below ``earliest``, to replay: what came before is not on
        the screen any more, or belongs to an alternate screen that was left."""
        start = earliest
        for mark in (self.alternate_at, self.cleared_at):
            if mark is not None:
                start = max(start, mark)
        for entered, left in self._left:
            if entered < start < left:
                start = left
        return start


def _home_before(data: bytes, end: int, base: int) -> tuple[int, int] | None:
    for home in _HOMES:
        if data.endswith(home, 0, end):
            return base + end - len(home), base + end
    return None


def _keyboard_sets(stack: list[int]) -> list[bytes]:
    base = [b"\x1b[=%d;1u" % stack[0]] if stack[0] else []
    return base + [b"\x1b[>%du" % flags for flags in stack[1:]]


def _keyboard_resets(stack: list[int]) -> list[bytes]:
    pops = [b"\x1b[<%du" % (len(stack) - 1)] if len(stack) > 1 else []
    return pops + ([b"\x1b[=0;1u"] if stack[0] else [])


# ------------------------------------------------------------------------------- the past, filtered

_C0 = rb"\x00-\x17\x19\x1c-\x1f\x7f"  # obeyed (or ignored) in the middle of a sequence
# Whole sequences, ones that are broken off, and at the very end one that is cut. What is kept is a
# whole one or the end, so leaving something out can't make a new one of what stands around it.
_SEQUENCE = re.compile(
    rb"\x05|\x1b[C0]*(?:"
    rb"(?P<csi>\[[C0 -?]*(?:[@-~]|\Z|BREAK))"
    rb"|(?P<osc>\][^\x07\x18\x1a\x1b]*(?:\x07|\x1b\\|\x1b?\Z|(?=[\x18\x1a\x1b])))"
    rb"|(?P<text>[PX^_][^\x18\x1a\x1b]*(?:\x1b\\|\x1b?\Z|(?=[\x18\x1a\x1b])))"
    rb"|(?P<esc>[ -/][C0 -/]*(?:[0-~]|\Z|BREAK)|[0-OQ-WYZ\\`-~]|\Z|BREAK)"
    rb")".replace(b"C0", _C0).replace(b"BREAK", rb"(?=[\x18\x1a\x1b\x80-\xff])")
)
# CSI, OSC and the like in one character of UTF-8: some terminals obey, no program writes them.
# A first half alone could become one when what follows it is left out.
_C1 = re.compile(rb"\xc2(?![\xa0-\xbf]|\Z)[\x80-\x9f]?")
_NO_C1 = "\ufffd".encode()  # something that prints, so that nothing new comes to be around it
_PRINTING = re.compile(rb"[^" + _C0 + rb"]|\x05")  # and ENQ
_NOT_OBEYED = re.compile(rb"[" + _C0 + rb"]")  # but on its own, in the middle of a sequence

_ASKING_CSI = re.compile(
    rb"\[(?:"
    rb"[>=]?[0-9;]*c"  # device attributes
    rb"|\??[0-9;]*n"  # status and position
    rb"|\??[0-9;]*\$p"  # a mode
    rb"|>[0-9;]*q"  # the terminal's name
    rb"|[?<=>][0-9;:]*u"  # the keyboard, and its stack
    rb"|(?:1[1345689]|2[01])(?:;[0-9;]*)?t"  # the window; not 22 and 23, a stack
    rb"|[01]?x|[0-9;]*\$w|[0-9;]*\$u|&u|[0-9;]*\*y"  # parameters, state, checksum
    rb"|\?[0-9;]*[Smg]|#R|[0-9;]*#\||[0-9;]*'\||\"v"  # graphics, keys, colours, locator, extent
    rb")\Z"
)
_ASKING_OSC = re.compile(
    rb"\](?:0*(?:52|5522)(?![0-9]).*"  # the clipboard; setting it again overwrites what is in it
    rb"|(?!0*[012789];|133;|777;).*[;=]\?(?:[;=].*)?"  # colours and the like: something is `?`
    rb"|0*1337;(?:Report|Request|Copy).*)\Z",
    re.DOTALL,
)
_ASKING_TEXT = re.compile(rb"P[0-9;]*[$+]q|_G(?:[^;]*,)?a=q", re.DOTALL)
# What is a program's to do at the terminal of who runs it, not of who looks on.
_TAKING_CSI = re.compile(rb"\[(?:0*(?!2[23])[0-9]*(?:;[0-9;]*)?t|\??[0-9;]*i)\Z")  # window, printer
_TAKING_OSC = re.compile(
    rb"\]0*(?:50;|1337;(?:StealFocus|ClearScrollback|File=(?![^:]*inline=1)|MultipartFile))"
)
_TAKING_TEXT = re.compile(rb"P[0-9;]*(?:\||\+p|!u)")  # keys that type, settings
_ANSWERED_IMAGE = re.compile(rb"_G(?:[^;]*,)?[iI]=[0-9]")
_QUIET_IMAGE = re.compile(rb"_G(?:[^;]*,)?q=[12]")


def filter_history(data: bytes, strict: bool = False) -> bytes:
    """The same output without what a terminal would answer: the answers would be typed into a
    program that asked long ago. The keyboard's stack goes too, as a prelude has what is left of it,
    and sequences that are broken off; one that is cut by the end stays.

    ``strict``: also without what changes more than the picture: the window's place, keys that type
    what they are told, printing, files. For who looks on.
    """
    if b"\xc2" in data:
        data = _C1.sub(_NO_C1, data)
    if b"\x1b" not in data and b"\x05" not in data:
        return data
    return _SEQUENCE.sub(_kept_strictly if strict else _kept, data)


_HELD_BYTES = 4096  # of a sequence that is not whole; what it is was said long before
_STRING_END = re.compile(rb"[\x18\x1a\x1b]")
_OSC_END = re.compile(rb"[\x07\x18\x1a\x1b]")
_OPENING = re.compile(rb"\x1b[C0]*([\]PX^_])".replace(b"C0", _C0))


class LiveFilter:
    """`filter_history` for output that goes on, for a terminal whose answers and clipboard are not
    the program's. Invariant: how the output was cut into chunks changes nothing but when it comes;
    what is held back is bounded."""

    __slots__ = ("_half", "_held", "_passing", "_strict", "_within")

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self._held = b""  # the beginning of a sequence
        self._half = b""  # of a character that could be a C1
        self._within: re.Pattern[bytes] | None = None  # a long string: what ends it
        self._passing = False  # is it shown

    def feed(self, data: bytes) -> bytes:
        """What of ``data``, and of what was held back, can be shown now."""
        data, self._half = self._half + data, b""
        if b"\xc2" in data:
            data = _C1.sub(_NO_C1, data)
            if data.endswith(b"\xc2"):
                data, self._half = data[:-1], data[-1:]
        shown = b""
        if self._within is not None:
            end = self._within.search(data)
            if end is None:
                return data if self._passing else b""
            at = end.end() if end.group() == b"\x07" else end.start()
            shown = data[:at] if self._passing else b""
            data = data[at:]
            self._within = None
        data, self._held = self._held + data, b""
        if b"\x1b" in data or b"\x05" in data:
            data = _SEQUENCE.sub(self._kept, data)
        shown += data
        return shown + self._long() if len(self._held) > _HELD_BYTES else shown

    def rest(self) -> bytes:
        """What is held back, as it is: whoever goes on without the filter shows it first."""
        held = self._held + self._half
        self._held = self._half = b""
        return held

    def _kept(self, match: re.Match[bytes]) -> bytes:
        kind = match.lastgroup
        if kind and match.end() == len(match.string) and not _is_complete(match.group(kind), kind):
            self._held = match.group()
            return b""
        return _kept(match, self._strict)

    def _long(self) -> bytes:
        """A string that is too long to wait for (a picture), or no sequence at all."""
        held, self._held = self._held, b""
        opening = _OPENING.match(held)
        if opening is None:
            return b""
        if held.endswith(b"\x1b"):  # maybe its end
            held, self._held = held[:-1], b"\x1b"
        else:
            self._within = _OSC_END if opening.group(1) == b"]" else _STRING_END
        self._passing = filter_history(held + b"\x1b\\", self._strict) != b""
        return held if self._passing else b""


_PRELUDE_BYTES = 4096
_PRELUDE = re.compile(
    rb"(?:\x1b\]2;(?P<title>[^\x00-\x1f\x7f]{1,1024})\x07)?"
    rb"(?:\x1b\[\?(?P<mode>MODES)[hl]|\x1b\[=[0-9]{1,4};1u|\x1b\[>[0-9]{1,4}u"
    rb"|\x1b\[[0-9;]{0,20}r|\x1b[()][0-9A-Z]|\x1b=|\x1b\[4h|\x0e"
    rb"|\x1b\[[0-9]{1,3} q|\x1b\[>4;[0-9:;]{0,8}m)*".replace(
        b"MODES", b"|".join(sorted(_OFF | _ON | _ALTERNATE))
    )
)


def check_prelude(data: bytes) -> bytes:
    """``data``, if it is what a `ModeTracker` says: modes, and nothing else.

    Raises:
        ValueError: it is not.
    """
    match = _PRELUDE.fullmatch(data) if len(data) <= _PRELUDE_BYTES else None
    if match is None or not (match.group("title") or b"").decode().isprintable():
        raise ValueError("not a prelude")
    return data


def _kept_strictly(match: re.Match[bytes]) -> bytes:
    return _kept(match, strict=True)


def _kept(match: re.Match[bytes], strict: bool = False) -> bytes:
    kind = match.lastgroup
    whole = match.group()
    if kind is None:
        return b""  # ENQ
    body = match.group(kind)
    complete = _is_complete(body, kind)
    if not complete and match.end() == len(match.string):
        return whole
    obeyed = _NOT_OBEYED.sub(b"", body)  # by most; a few end a number there
    if complete and not _asks(obeyed, kind, strict) and not _asks(body, kind, strict):
        return whole.replace(b"\x05", b"") if b"\x05" in whole else whole
    return _PRINTING.sub(b"", whole) if kind in ("csi", "esc") else b""


def _is_complete(body: bytes, kind: str) -> bool:
    if kind == "csi":
        return len(body) > 1 and 0x40 <= body[-1] <= 0x7E
    if kind == "esc":
        return len(body) > 0 and 0x30 <= body[-1] <= 0x7E
    return body.endswith(b"\x1b\\") or (kind == "osc" and body.endswith(b"\x07"))


def _asks(body: bytes, kind: str, strict: bool) -> bool:
    taking = {"csi": _TAKING_CSI, "osc": _TAKING_OSC, "text": _TAKING_TEXT} if strict else {}
    if kind in taking and taking[kind].match(body):
        return True
    if kind == "csi":
        return _ASKING_CSI.match(body) is not None
    if kind == "esc":
        return body == b"Z"
    if kind == "osc":
        return _ASKING_OSC.match(body[:-2] if body.endswith(b"\\") else body) is not None
    image = _ANSWERED_IMAGE.match(body) and not _QUIET_IMAGE.match(body)
    return bool(image or _ASKING_TEXT.match(body))


_START_WITHIN = 4096  # bytes to give up for a clean start; a longer line starts anywhere


def safe_start(data: bytes) -> int:
    """Where to begin showing ``data``, which was cut out of output at any place: after the string,
    line, sequence or character that it begins in the middle of."""
    escape = data.find(b"\x1b")
    start = 0
    if escape >= 0 and data.startswith(b"\x1b\\", escape):
        start = escape + 2  # it ends a string, of which we saw the end only
        escape = data.find(b"\x1b", start)
    line = data.find(b"\n", start, start + _START_WITHIN)
    if line >= 0:
        return line + 1
    if 0 <= escape < start + _START_WITHIN:
        return escape
    if start == 0:
        while start < min(3, len(data)) and 0x80 <= data[start] < 0xC0:
            start += 1
    return start
