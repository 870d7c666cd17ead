"""asciicast v1, v2 and v3 from text to values. Pure.

*Leniently*, as players read: what can be shown is shown, and what was odd is said. *Strictly*, as
asciinema's server reads: the first thing that is wrong is an error with its line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gshell.cast.format import Cast, CastError, Event, Header

MAX_TIME_S = 1e10  # three centuries
_WARNINGS = 20  # that are kept; the others are counted
_HALF_CHARACTER = re.compile("\\\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})\Z")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\Z")
_DEEP = 100  # of a header's unknown fields; deeper ones are no data but a trap


def size_of(data: str) -> tuple[int, int] | None:
    """Columns and rows, of an ``r`` event's data."""
    match = _SIZE.match(data)
    return (int(match[1]), int(match[2])) if match else None


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


_STRICT = json.JSONDecoder(parse_constant=_refuse)
_LENIENT = json.JSONDecoder(parse_constant=_refuse, strict=False)  # raw controls inside strings


class Reader:
    """Text to events. ``header`` is known once the first event is."""

    def __init__(self, name: str = "", strict: bool = False) -> None:
        self.name = name
        self.strict = strict
        self.header: Header | None = None
        self.warnings: list[str] = []
        self.odd = 0
        """How many things were odd; of the first few the words are in ``warnings``."""
        self.line = 0
        self._decode: Callable[[str], Any] = (_STRICT if strict else _LENIENT).decode
        self._size_known = True

    def read(self, lines: Iterable[bytes]) -> Cast:
        """All of it. ``lines`` with their ends, as a file gives them.

        Raises:
            CastError: it is none; with the line.
        """
        events = list(self.events(lines))
        assert self.header is not None
        if not events:
            self.warn("no events", 0)
        if not self._size_known:
            sizes = (size_of(event.data) for event in events if event.code == "r")
            columns, rows = next((size for size in sizes if size), (80, 24))
            self.header = self.header._replace(columns=columns, rows=rows)
        return Cast(self.header, events)

    def events(self, lines: Iterable[bytes]) -> Iterator[Event]:
        """As they come; nothing is kept."""
        rest = iter(lines)
        first = b""
        for first in rest:
            self.line += 1
            if first.strip(b"\xef\xbb\xbf \t\r\n"):
                break
            if self.strict:
                raise self.error("the first line must be the header")
        if first.startswith(b"\xef\xbb\xbf"):
            if self.strict:
                raise self.error("begins with a byte order mark")
            first = first[3:]
        if not first.strip():
            raise CastError("empty", name=self.name)
        value, why = self._value(first)
        if why and first.lstrip()[:1] == b"{":
            text = b"".join([first, *rest])  # pretty-printed, or broken
            at = self.line
            value, why = self._value(text)
            if why and not re.search(rb'"stdout"\s*:', text[: 1 << 20]):
                self.line = at
                value, why = self._value(first)
        if why:
            raise self.error(why if self.line > 1 or why.startswith("too") else f"header: {why}")
        if not isinstance(value, dict):
            raise self.error("the first line must be a JSON object, the header")
        version = value.get("version")
        if version not in (1, 2, 3) or isinstance(version, bool):
            shown = "no version" if "version" not in value else "a version that nobody knows"
            raise self.error(f"a header with {shown}; there are 1, 2 and 3")
        if _too_deep(value, _DEEP):
            raise self.error("too deeply nested")
        self.header = self._header(value, int(version))
        if version == 1:
            yield from self._events_v1(value)
        else:
            yield from self._lines(rest, relative=version == 3)

    # -------------------------------------------------------------------------------------- events

    def _lines(self, lines: Iterator[bytes], relative: bool) -> Iterator[Event]:
        decode, now, last = self._decode, 0.0, 0.0
        for raw in lines:
            self.line += 1
            value, why = None, ""
            try:
                text = raw.decode()
                value = decode(text)
            except (ValueError, RecursionError):
                if not raw.strip():
                    continue
                if relative and raw.startswith(b"#"):
                    continue
                if not raw.endswith(b"\n"):
                    self._cut()
                    continue
                text = raw.decode("utf-8", "replace")
                value, why = self._value(raw)
                if why:
                    self.problem(why)
                    continue
            if type(value) is not list or len(value) != 3:
                value = self._not_three(value)
                if value is None:
                    continue
            time, code, data = value
            if (type(time) is not float and type(time) is not int) or not 0 <= time < MAX_TIME_S:
                time = self._odd_time(time)
                if time is None:
                    continue
            if type(code) is not str or type(data) is not str or not code:
                data = self._odd_data(code, data)
                if data is None:
                    continue
            if "\\" in text and _HALF_CHARACTER.search(text):
                code, data = self._whole(code), self._whole(data)
            if relative:
                now += time
                time = round(now, 6)
            if time < last:
                if not relative and time >= 0:
                    self.warn("time goes back")
                time = last
            last = time
            if code in "rx" and not self._is_proper(code, data):
                continue
            yield Event(time + 0.0, code, data)

    def _events_v1(self, value: dict[str, Any]) -> Iterator[Event]:
        stdout = value.get("stdout")
        if not isinstance(stdout, list):
            raise self.error("v1 without its list stdout")
        self.line = 0
        now = 0.0
        for number, item in enumerate(stdout, 1):
            where = f"event {number} of stdout: "
            if not isinstance(item, list) or len(item) < 2 or (self.strict and len(item) > 2):
                self.problem(where + "not [delay, text]")
                continue
            delay, data = item[0], item[1]
            if type(delay) not in (int, float) or not 0 <= delay < MAX_TIME_S:
                delay = self._odd_time(delay, where)
            if delay is None or not isinstance(data, str):
                if delay is not None:
                    self.problem(where + "its text is none")
                continue
            now += delay
            yield Event(round(now, 6), "o", self._whole(data))

    def _cut(self) -> None:
        why = "the last line has no end: whoever recorded was stopped in the middle of it"
        self.problem(why + ("" if self.strict else "; passed over"))

    def _not_three(self, value: Any) -> list[Any] | None:
        if isinstance(value, list) and len(value) > 3 and not self.strict:
            self.warn(f"{len(value)} elements, not 3")
            return value[:3]
        self.problem("not an event: [time, code, data]")
        return None

    def _odd_time(self, time: Any, where: str = "") -> float | None:
        if isinstance(time, str) and not self.strict:
            try:
                time = float(time[:40])
            except ValueError:
                pass
            else:
                self.warn(where + "time is a text")
                if 0 <= time < MAX_TIME_S:
                    return float(time)
        if isinstance(time, (int, float)) and not isinstance(time, bool) and time < 0:
            self.problem(where + "time is negative")
            return 0.0
        self.problem(where + "time is not a number of seconds")
        return None

    def _odd_data(self, code: Any, data: Any) -> str | None:
        if isinstance(code, str) and code and not self.strict and code != "o":
            if type(data) in (int, float) and abs(data) < MAX_TIME_S:
                self.warn(f"data of {code[:1]!r} is a number")
                return str(data)
            if data is None:
                self.warn(f"no data of {code[:1]!r}")
                return ""
        bad = "data" if isinstance(code, str) and code else "code"
        self.problem(f"{bad} of an event is not a text")
        return None

    def _is_proper(self, code: str, data: str) -> bool:
        if code == "r" and not _SIZE.match(data):
            self.problem("'r' is not COLUMNSxROWS")
            return False
        if code == "x" and not (re.fullmatch("-?[0-9]{1,10}", data) and abs(int(data)) < 1 << 31):
            self.problem("'x' is not an exit status")
            return False
        return True

    def _whole(self, text: str) -> str:
        if _SURROGATE.search(text):
            self.problem("half of a character")
            return _SURROGATE.sub("\ufffd", text)
        return text

    # -------------------------------------------------------------------------------------- header

    def _header(self, found: dict[str, Any], version: int) -> Header:
        found = dict(found)
        found.pop("version")
        found.pop("stdout" if version == 1 else "", None)
        term = found.pop("term", None)
        term = dict(term) if isinstance(term, dict) else {}
        size = ("cols", "rows") if version == 3 else ("width", "height")
        columns, rows = (self._size(term if version == 3 else found, key) for key in size)
        theme = self._theme(term.pop("theme", None) if version == 3 else found.pop("theme", None))
        env = self._env(found.pop("env", None))
        number = self._number
        timestamp = number(found, "timestamp", whole=True)
        tags = found.pop("tags", None)
        if tags is not None and not (
            isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)
        ):
            self.problem("header: tags are not a list of texts")
            tags = None
        header = Header(
            columns, rows, version,
            None if timestamp is None else int(timestamp),
            number(found, "duration"), number(found, "idle_time_limit"),
            self._text(found, "command"), self._text(found, "title"), env, theme,
            tuple(map(self._whole, tags or ())),
            self._text(term, "type"), self._text(term, "version"),
        )  # fmt: skip
        if term:
            found["term"] = term
        return header._replace(more=tuple(found.items()))

    def _size(self, found: dict[str, Any], key: str) -> int:
        value = found.pop(key, None)
        if isinstance(value, float) and value.is_integer() and not self.strict:
            value = int(value)
        if type(value) is int and 0 < value < 100_000:
            return value
        self.problem(f"header: {key} is " + ("missing" if value is None else "not a size"))
        self._size_known = False
        return 80 if key in ("cols", "width") else 24

    def _number(self, found: dict[str, Any], key: str, whole: bool = False) -> float | None:
        value = found.pop(key, None)
        if value is None:
            return None
        good = type(value) in (int, float) and abs(value) < 1e12
        if not good or (whole and type(value) is float):
            self.problem(f"header: {key} is not a number" + (" of whole seconds" if whole else ""))
        return float(value) if good else None

    def _text(self, found: dict[str, Any], key: str) -> str | None:
        value = found.pop(key, None)
        if isinstance(value, str):
            return self._whole(value)
        if value is not None:
            self.problem(f"header: {key} is not a text")
        return None

    def _env(self, value: Any) -> dict[str, str] | None:
        if value is None:
            return None
        if not isinstance(value, dict):
            self.problem("header: env is not an object")
            return None
        env = {}
        for key, text in value.items():
            if isinstance(text, str):
                env[self._whole(key)] = self._whole(text)
            elif text is not None:  # old recorders wrote null for what was not set
                self.problem("header: a value of env is not a text")
        return env

    def _theme(self, value: Any) -> dict[str, str] | None:
        if value is None:
            return None
        if not isinstance(value, dict):
            self.problem("header: theme is not an object")
            return None
        theme = {}
        for key in ("fg", "bg", "palette"):
            text = value.get(key)
            parts = text.split(":") if isinstance(text, str) else []
            if len(parts) in ((8, 16) if key == "palette" else (1,)) and all(
                map(_COLOUR.match, parts)
            ):
                theme[key] = str(text)
            else:
                self.problem(
                    f"header: theme's {key} is "
                    + ("missing" if text is None else "no colour" + "s" * (key == "palette"))
                )
        return theme or None

    # ------------------------------------------------------------------------------------ problems

    def _value(self, raw: bytes) -> tuple[Any, str]:
        """What the JSON says, or why it says nothing."""
        try:
            return self._decode(raw.decode("utf-8", "strict" if self.strict else "replace")), ""
        except UnicodeDecodeError:
            return None, "not UTF-8"
        except RecursionError:
            return None, "too deeply nested"
        except json.JSONDecodeError as error:
            if raw.count(b"\n", 0, -1) and error.lineno > 1:
                self.line += error.lineno - 1
            return None, f"not JSON: {error.msg[:60]} at column {error.colno}"
        except ValueError as error:
            why = str(error)
            return None, f"not JSON: {'a number with too many digits' if 'digits' in why else why}"

    def error(self, why: str) -> CastError:
        return CastError(why, self.line, self.name)

    def problem(self, why: str) -> None:
        """An error, or what was passed over."""
        if self.strict:
            raise self.error(why)
        self.warn(why)

    def warn(self, why: str, line: int | None = None) -> None:
        self.odd += 1
        if len(self.warnings) < _WARNINGS:
            line = self.line if line is None else line
            self.warnings.append(f"{self.name or 'cast'}{f':{line}' if line else ''}: {why}")


def _too_deep(value: Any, depth: int) -> bool:
    level = [item for key, item in value.items() if key != "stdout"]
    for _ in range(depth):
        level = [
            inner
            for item in level
            if isinstance(item, (dict, list))
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True
