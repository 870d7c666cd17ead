"""What programs print, as tables: NPB's result block, regular expressions, names of files.

Knows not how anything was run: it reads text, files and directories.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from gshell.errors import UsageError
from gshell.model.sanitize import sanitize
from gshell.sweep.experiment import Capture
from gshell.sweep.log import logger
from gshell.sweep.named import matched, points_in

# Not "class" and "size": one is no name in an expression, the other a factor in most experiments.
NPB_NAMES = (
    "npb_class", "grid", "iterations", "seconds", "processes", "mops", "mops_per_process",
    "verified",
)  # fmt: skip
_LABELS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "Class": ("npb_class", str),
    "Size": ("grid", lambda text: "x".join(re.findall(r"\d+", text)) or text),
    "Iterations": ("iterations", int),
    "Time in seconds": ("seconds", float),
    "Total processes": ("processes", int),
    "Mop/s total": ("mops", float),
    "Mop/s/process": ("mops_per_process", float),
    "Verification": ("verified", lambda text: text.upper() == "SUCCESSFUL"),
    "Elapsed seconds": ("seconds", float),  # six decimals where the other has two; it comes later
}
_LINE = re.compile(r"^ (\S[^=\n]*?) *= *(\S[^\n]*?) *$", re.MULTILINE)
LONGEST_NUMBER = 300  # characters
LARGEST = 1e100  # a number that can be compared and drawn: their differences are numbers too
MOST_TEXT = 64 << 20  # bytes of an output that are looked at: its end
_OUTPUT = re.compile(r"(?!.*\.failed-\d+\.out$).*\.out")


def parse_npb(text: str) -> dict[str, Any]:
    """The block with which NPB's programs (3.3, 3.4) and those like them end; of several, the last.

    Only what is there: {} of an output that has none.
    """
    begin = text.rfind(" Benchmark Completed")
    found: dict[str, Any] = {}
    for label, words in _LINE.findall(text, max(begin, 0)):
        name, convert = _LABELS.get(label, ("", str))
        if name and not (label == "Time in seconds" and "seconds" in found):
            try:
                found[name] = convert(words)
            except ValueError:  # asterisks, as of Fortran for what does not fit
                logger.detail("%s = %s is no number", label, words)
    return found


def captured(text: str, captures: Mapping[str, Capture]) -> dict[str, Any]:
    """What `captures` find; those that find nothing are not there."""
    found: dict[str, Any] = {}
    for name, one in captures.items():
        # A group that took no part, in (?:a(\d+))?, found nothing.
        found_words = [match.group(1) for match in one.regex.finditer(text)]
        values = [scalar(words) for words in found_words if words is not None]
        if one.which == "count":
            found[name] = len(found_words)
        elif values:
            found[name] = _chosen(values, one.which)
    return {name: value for name, value in found.items() if value is not None}


def _chosen(values: list[Any], which: str) -> Any:
    if which in ("first", "last"):
        return values[0 if which == "first" else -1]
    numbers = [one for one in values if isinstance(one, int | float)]
    if not numbers:
        return None
    if which == "mean":
        return sum(numbers) / len(numbers)  # of what is beyond all numbers too
    return sum(numbers) if which == "sum" else min(numbers) if which == "min" else max(numbers)


def scalar(text: str) -> Any:
    """A number where it looks like one; Fortran's ``1.0D+02`` does. Python's ``1_000`` is none, nor
    is a whole one that is beyond all numbers with a point."""
    text = text.strip()
    if "_" in text or len(text) > LONGEST_NUMBER:
        return text
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            pass
    try:
        return float(re.sub(r"(?<=\d)[dD](?=[+-]?\d)", "e", text))
    except ValueError:
        return text


def extract(text: str, kind: str, captures: Mapping[str, Capture]) -> dict[str, Any]:
    """All results of an output: ``kind`` is ``npb`` or ``none``."""
    found = parse_npb(text) if kind == "npb" else {}
    return {**found, **captured(text, captures)}


def read_output(path: str | os.PathLike[str]) -> str:
    """An output's text, what is no UTF-8 replaced.

    Raises:
        OSError
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - MOST_TEXT))
        return file.read().decode("utf-8", "replace").replace("\r\n", "\n")


# -------------------------------------------------------------------------------------- a table


class Table:
    """Rows of results: factors first, then what was found."""

    def __init__(self, rows: Iterable[Mapping[str, Any]], factors: Iterable[str] = ()) -> None:
        self.rows = [dict(row) for row in rows]
        seen = dict.fromkeys(factors)
        seen.update(dict.fromkeys(name for row in self.rows for name in row))
        self.columns = list(seen)
        self.factors = [name for name in factors if name in seen]

    def __len__(self) -> int:
        return len(self.rows)

    def csv(self) -> str:
        """With a line of names; None is empty, truth is true or false."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        for row in self.rows:
            writer.writerow([_cell(row.get(name)) for name in self.columns])
        return out.getvalue()

    def json_lines(self) -> str:
        """An object a line."""
        return "".join(
            json.dumps({name: _known(value) for name, value in row.items()}, default=str) + "\n"
            for row in self.rows
        )

    def write(self, path: str | os.PathLike[str]) -> None:
        """As its ending says: .csv, .jsonl or .parquet; whole, or not at all.

        Raises:
            UsageError: another ending, or no pyarrow for .parquet.
        """
        name = os.fspath(path)
        ending = os.path.splitext(name)[1]
        if ending == ".parquet":
            self._parquet(name)
            return
        texts = {".csv": self.csv, ".jsonl": self.json_lines}
        if ending not in texts:
            raise UsageError(
                f"{sanitize(name)}: a table is written as .csv, .jsonl or .parquet", "results.csv"
            )
        replace(name, texts[ending]().encode("utf-8", "surrogateescape"))

    def _parquet(self, name: str) -> None:
        pyarrow, parquet = _arrow(name)
        columns = {
            str(column): _alike([row.get(column) for row in self.rows]) for column in self.columns
        }
        written = io.BytesIO()
        parquet.write_table(pyarrow.table(columns), written)
        replace(name, written.getvalue())


def _arrow(name: str) -> tuple[Any, Any]:
    try:
        import pyarrow  # type: ignore[import-not-found,unused-ignore]
        import pyarrow.parquet  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise UsageError(
            f"{sanitize(name)}: no Parquet without pyarrow", "pip install 'gshell[parquet]'"
        ) from None
    return pyarrow, pyarrow.parquet


def _known(value: Any) -> Any:
    """JSON has no NaN, and no number beyond all others."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else value


def _alike(values: list[Any]) -> list[Any]:
    """A column has one type; what none of Parquet's has room for is text."""
    known = [one for one in values if one is not None]
    kinds = set(map(type, known))
    if kinds == {int} and all(-(1 << 63) <= one < 1 << 63 for one in known):
        return values
    if kinds == {int, float} and all(_is_double(one) for one in known):
        return [None if one is None else float(one) for one in values]
    if len(kinds) == 1 and kinds <= {bool, float, bytes}:
        return values
    return [None if one is None else _text(one) for one in values]


def _is_double(number: Any) -> bool:
    return isinstance(number, float) or abs(number) < 1 << 1023


def _text(value: Any) -> str:
    """With what is no UTF-8 (a file's name, perhaps) replaced."""
    return str(_cell(value)).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def replace(name: str, data: bytes) -> None:
    """Write a file whole, or leave it as it was."""
    part = f"{name}.{os.getpid()}.part"
    try:
        with open(part, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, name)
    except OSError as error:
        with contextlib.suppress(OSError):
            Path(part).unlink(missing_ok=True)
        error.filename, error.filename2 = name, None
        raise


def read_table(path: str | os.PathLike[str]) -> Table:
    """What `Table.write` wrote.

    Raises:
        UsageError: it is none of these, or there is no pyarrow for .parquet.
    """
    name = os.fspath(path)
    if name.endswith(".parquet"):
        pyarrow, parquet = _arrow(name)
        try:
            return Table(parquet.read_table(name).to_pylist())
        except (OSError, pyarrow.ArrowException) as error:
            raise UsageError(f"{sanitize(name)}: {sanitize(str(error))}") from None
    try:
        text = Path(name).read_text(encoding="utf-8-sig", errors="replace")
        if name.endswith(".jsonl"):
            lines = enumerate(text.split("\n"), 1)
            return Table([_object(line, number) for number, line in lines if line.strip()])
    except (OSError, ValueError) as error:
        raise UsageError(f"{sanitize(name)}: {error}") from None
    words: dict[str, Any] = {"true": True, "false": False, "": None}
    csv.field_size_limit(MOST_TEXT)
    head = text.partition("\n")[0]
    between = next((one for one in ",;\t" if one in head), ",")  # as spreadsheets write it
    try:
        return Table(
            {
                key: words[one.lower()] if one.lower() in words else scalar(one)
                for key, one in row.items()
                if key
            }
            for row in csv.DictReader(io.StringIO(text), restval="", delimiter=between)
        )
    except csv.Error as error:
        raise UsageError(f"{sanitize(name)} is no table: {error}") from None


def _object(line: str, number: int) -> dict[str, Any]:
    """Raises: ValueError: it is none."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number}: {error.msg}") from None
    if not isinstance(row, dict):
        raise ValueError(f"line {number}: each line is an object, not {line.strip()[:40]}")
    return {
        name: json.dumps(one) if isinstance(one, list | dict) else one for name, one in row.items()
    }


# --------------------------------------------------------- directories that have names for points


def read_outputs(
    folder: str | os.PathLike[str], kind: str = "npb", captures: Mapping[str, Capture] | None = None
) -> Table:
    """The results of a directory with one ``factor-level-factor-level.out`` for each point, as
    experiments of execo leave it.

    Raises:
        UsageError: there are none.
    """
    names = sorted(one for one in os.listdir(folder) if _OUTPUT.fullmatch(one))
    if not names:
        raise UsageError(f"{sanitize(os.fspath(folder))} has no results: no file *.out")
    points = _points_in([name.removesuffix(".out") for name in names], folder)
    rows = []
    for name, point in zip(names, points, strict=True):
        text = read_output(os.path.join(folder, name))
        found = extract(text, kind, captures or {})
        rows.append(row_of(point, found))
    return Table(rows, factors=dict.fromkeys(key for point in points for key in point))


def row_of(point: Mapping[Any, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """A factor keeps its name: a result of the same name is ``name_found``."""
    row = dict(point)
    for name, value in found.items():
        row[f"{name}_found" if name in row else name] = value
    return row


def _points_in(names: Sequence[str], folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """As its sweepers know them; where they do not, as the names tell."""
    known = matched(names, points_in(folder))
    others = [name for name in names if name not in known]
    known.update(zip(others, points_of(others), strict=True))
    return [known[name] for name in names]


def points_of(names: Sequence[str]) -> list[dict[str, Any]]:
    """The points that ``names`` were made of (`space.slugify`), as far as that can be known:
    factors are the words that all of them have, in the same order."""
    words = [name.split("-") for name in names]
    keys = _every_second(words) or _common(words)
    return [_split(one, keys) for one in words]


def _every_second(words: list[list[str]]) -> list[str]:
    if any(len(one) % 2 for one in words) or len({tuple(one[::2]) for one in words}) != 1:
        return []
    keys = words[0][::2]
    return keys if all(_is_key(key) for key in keys) else []


def _is_key(word: str) -> bool:
    return word.isidentifier()


def _common(words: list[list[str]]) -> list[str]:
    """Of the words of the first name, in order, those that all names have, a level between two."""
    places = [-2] * len(words)
    keys = []
    for word in words[0] if words else []:
        if not _is_key(word):
            continue
        ahead = []
        for one, place in zip(words, places, strict=True):
            try:
                ahead.append(one.index(word, place + 2))
            except ValueError:
                break
        if len(ahead) == len(words) and all(
            at + 1 < len(one) for at, one in zip(ahead, words, strict=True)
        ):
            keys.append(word)
            places = ahead
    return keys


def _split(words: list[str], keys: list[str]) -> dict[str, Any]:
    point: dict[str, Any] = {}
    at = 0
    for number, key in enumerate(keys):
        begin = words.index(key, at) + 1
        last = number + 1 == len(keys)
        at = len(words) if last else words.index(keys[number + 1], begin + 1)
        point[key] = scalar("-".join(words[begin:at]))
    return point or {"name": "-".join(words)}


# ------------------------------------------------------------------------------ over repetitions


def is_number(value: Any) -> TypeGuard[float]:
    """One that can be compared and drawn."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= LARGEST  # not NaN


class Spread(NamedTuple):
    """One value over repetitions."""

    median: float
    least: float
    most: float
    runs: int
    verified: bool
    """All of them."""


def spread(
    rows: Iterable[Mapping[str, Any]], keys: Sequence[str], name: str
) -> dict[tuple[Any, ...], Spread]:
    """``name`` over the rows that have the same ``keys``; of those that are verified, where there
    are some."""
    groups: dict[tuple[Any, ...], list[tuple[float, bool]]] = {}
    for row in rows:
        number = row.get(name)
        if is_number(number):
            group = groups.setdefault(tuple(row.get(key) for key in keys), [])
            group.append((float(number), row.get("verified", True) is not False))
    spreads = {}
    for key, pairs in groups.items():
        good = [number for number, verified in pairs if verified]
        numbers = good or [number for number, _ in pairs]
        spreads[key] = Spread(
            statistics.median(numbers), min(numbers), max(numbers), len(numbers),
            len(good) == len(pairs),
        )  # fmt: skip
    return spreads
