"""What the plug-ins share: times, sizes, lists of hosts, option words, a batch system's complaints.
Knows no batch system by name.
"""

from __future__ import annotations

import re

from gshell.errors import LrmsError
from gshell.lrms.base import Command, Headers, State, Status
from gshell.model.sanitize import sanitize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from gshell.lrms.base import Done

GONE = "gone"
SAID_CHARS = 400  # of a complaint: sbatch's longest has three lines
MAX_HOSTS = 100_000  # of an expanded list; the largest machines have 10,000 nodes

KILLED = (124, 137, 143)  # by a time limit, or with its connection

KIB = 1024
UNITS = {"b": 1, "k": KIB, "m": KIB**2, "g": KIB**3, "t": KIB**4, "p": KIB**5}


# -- what is asked for


def word(value: str, what: str) -> str:
    """``value``, if it can stand in a header line or an argv.

    Raises:
        LrmsError: it has control characters, or would be taken for an option.
    """
    if value.startswith("-") or any(not char.isprintable() for char in value):
        raise LrmsError("refused", f"{what}: no batch system takes {sanitize(value)!r}")
    return value


def name(value: str, what: str, safe: str = r"[\w.@:+/%=,*-]+") -> str:
    """``value``, if it is a name as queues and accounts have: no blanks, nothing a shell or a
    header's reader might take apart. For batch systems whose headers know no quotes."""
    if value.startswith("-") or not re.fullmatch(safe, value, re.ASCII):
        raise LrmsError("refused", f"{what}: {sanitize(value)!r} is not a name it can have")
    return value


def quoted(value: str) -> str:
    """For headers whose reader knows double quotes, and backslashes in them."""
    if re.fullmatch(r"[\w.@:+/%=,-]+", value, re.ASCII):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def clock(seconds: int) -> str:
    """Hours:minutes:seconds; hours beyond 24 stay hours, which every batch system reads."""
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def mebibytes(size: int) -> int:
    return -(-size // UNITS["m"])


def known(ids: Iterable[str], pattern: str) -> list[str]:
    """Those that can be ids at all: nothing else gets into a command."""
    return [one for one in ids if re.fullmatch(pattern, one, re.ASCII)]


def cancellable(ids: Iterable[str], pattern: str) -> list[str]:
    found = known(ids, pattern)
    if not found:
        raise LrmsError("refused", "nothing to cancel: none of these is a batch job's id")
    return found


# -- what comes back


def said(done: Done) -> str:
    """A command's own words, on one line."""
    lines = [line.strip() for line in (done.err.strip() or done.out.strip()).splitlines()]
    text = "; ".join(sanitize(line) for line in lines if line)
    return text[: SAID_CHARS - 1] + "…" if len(text) > SAID_CHARS else text


def failed(
    tool: str, done: Done, busy: Sequence[str] = (), otherwise: str = "refused"
) -> LrmsError:
    """The error that a failed command means. ``busy``: words of complaints that pass."""
    words = said(done)
    if done.code in (126, 127):
        return LrmsError(
            "refused", f"{tool} cannot be run: {words or done.code}", "on the site's front end?"
        )
    text = (done.err + done.out).lower()
    passing = done.code < 0 or done.code in KILLED or any(one.lower() in text for one in busy)
    if words.startswith(tool):
        message = words
    else:
        message = f"{tool}: {words}" if words else f"{tool} ended with code {done.code}"
    return LrmsError("busy" if passing else otherwise, message)


def broken(tool: str, text: str) -> LrmsError:
    """Text that is no answer."""
    lines = text.strip().splitlines()
    first = sanitize(lines[0][:SAID_CHARS]) if lines else "nothing"
    return LrmsError("broken", f"{tool} said what is no answer: {first}")


def named(tool: str, done: Done, pattern: str, busy: Sequence[str]) -> list[str]:
    """The jobs that ``tool`` says to have made, one at least: what ``pattern``'s one group finds,
    line by line.

    Raises:
        LrmsError: it failed, or said nothing of the kind.
    """
    if done.code:
        raise failed(tool, done, busy)
    found: list[str] = re.findall(pattern, done.out, re.MULTILINE | re.ASCII)
    if not found:
        raise broken(tool, done.out)
    return found


def completed(
    ids: Iterable[str], found: Mapping[str, Status], pattern: str, doubt: bool
) -> dict[str, Status]:
    """An answer for every id. ``doubt``: part of the text was not understood, so that one who is
    not spoken of may still be there."""
    answers = {}
    for one in ids:
        if one in found:
            answers[one] = found[one]
        elif not re.fullmatch(pattern, one, re.ASCII):
            answers[one] = Status(one, State.UNKNOWN, "not an id of this batch system")
        elif doubt:
            answers[one] = Status(one, State.UNKNOWN, "the answer was not understood")
        else:
            answers[one] = Status(one, State.ENDED, GONE)
    return answers


def cut(out: str) -> bool:
    """Does it break off within a line?"""
    return bool(out) and not out.endswith("\n")


def number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def instant(text: str) -> float | None:
    found = number(text)
    return float(found) if found else None


def duration(text: str, alone: int = 60, pair: int = 60) -> int | None:
    """Seconds of [D-]H:M:S and shorter; None: not one ("infinite"). ``alone``: what one number
    means, in seconds; ``pair``: what the first of two is (60: M:S, 3600: H:M)."""
    days, dash, rest = text.strip().rpartition("-")
    parts = rest.split(":")
    numbers = [number(part) for part in parts]
    if None in numbers or len(parts) > 3 or (dash and number(days) is None):
        return None
    values = [value or 0 for value in numbers]
    if dash:  # D-H, D-H:M, D-H:M:S
        values = [*values, 0, 0][:3]
    elif len(values) == 1:
        return values[0] * alone
    elif len(values) == 2:
        values = [*values, 0] if pair == 3600 else [0, *values]
    hours, minutes, seconds = values
    return (number(days) or 0) * 86400 + hours * 3600 + minutes * 60 + seconds


def size(text: str, unit: str = "m") -> int | None:
    """Bytes of "4G", "4000M", "4gb", "1.5G", "4000" (in ``unit``); None: not a size."""
    match = re.fullmatch(
        r"(\d{1,15})(?:\.(\d{1,9}))?\s*([kmgtp]?)(i?)(b?)", text.strip().lower(), re.ASCII
    )
    if not match:
        return None
    whole, part, letter, _, byte = match.groups()
    factor = UNITS[letter or ("b" if byte else unit)]
    return int(whole) * factor + (int(part) * factor // 10 ** len(part) if part else 0)


def hostlist(text: str) -> list[str]:
    """ "n[1-3,07],gpu1" written out. As written: what is in brackets keeps its zeros.

    Raises:
        LrmsError: brackets that do not close, or more hosts than there can be.
    """
    hosts: list[str] = []
    for item in _items(text):
        for host in _expanded(item):
            hosts.append(host)
            if len(hosts) > MAX_HOSTS:
                raise broken("the node list", text)
    return hosts


def _items(text: str) -> Iterator[str]:
    """Split at commas that are in no brackets."""
    item, inside = "", False
    for char in text.strip():
        if char == "," and not inside:
            yield item
            item = ""
            continue
        if char in "[]":
            if inside == (char == "["):
                raise broken("the node list", text)
            inside = char == "["
        item += char
    if inside or not item:
        raise broken("the node list", text)
    yield item


def _expanded(item: str) -> Iterator[str]:
    before, bracket, rest = item.partition("[")
    if not bracket:
        if not re.fullmatch(r"[\w.-]+", item, re.ASCII) or item.startswith("-"):
            raise broken("the node list", item)
        yield item
        return
    inner, _, after = rest.partition("]")
    ends = list(_expanded(after)) if after else [""]
    for part in inner.split(","):
        low, dash, high = part.partition("-")
        first, last = number(low), number(high if dash else low)
        if first is None or last is None or last - first > MAX_HOSTS:
            raise broken("the node list", item)
        for value in range(first, last + 1):
            for end in ends:
                yield f"{before}{value:0{len(low)}}{end}"


def repeated(text: str) -> list[int]:
    """ "2(x3),1" is 2, 2, 2, 1; empty if it is not such a list."""
    counts: list[int] = []
    for item in text.split(","):
        match = re.fullmatch(r"(\d{1,9})(?:\(x(\d{1,6})\))?", item.strip(), re.ASCII)
        if not match:
            return []
        counts += [int(match[1])] * int(match[2] or 1)
        if len(counts) > MAX_HOSTS:
            return []
    return counts


def counted(hosts: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Hosts with how often each is named, in the order of their first."""
    counts: dict[str, int] = {}
    for host in hosts:
        counts[host] = counts.get(host, 0) + 1
    return tuple(counts.items())


def node_file(path: str, read: Callable[[str], str]) -> tuple[tuple[str, int], ...]:
    """A file with one line per slot.

    Raises:
        LrmsError: it cannot be read, or has no hosts in it.
    """
    try:
        text = read(path)
    except OSError as error:
        raise LrmsError("broken", f"the node file: {sanitize(str(error))}")
    hosts = text.split()
    for host in hosts:
        if not re.fullmatch(r"\w[\w.-]*", host, re.ASCII):
            raise broken(f"the node file {sanitize(path)}", host)
    if not hosts:
        raise broken(f"the node file {sanitize(path)}", text)
    return counted(hosts)


# -- starting things elsewhere


def through_a_shell(argv: Sequence[str]) -> str:
    """One word for a launcher that gives its words to a shell over there."""
    from shlex import quote

    return " ".join(quote(part) for part in argv)


def by_ssh(hosts: Sequence[str], argv: Sequence[str], tool: Sequence[str] = ()) -> list[Command]:
    """ssh, or what is used like it, once for each host."""
    start = tool or ("ssh", "-n", "-x", "-oBatchMode=yes", "-oStrictHostKeyChecking=no")
    return [Command([*start, host, through_a_shell(argv)]) for host in hosts]


# -- headers of scripts


def header_lines(text: str, mark: str, whole: bool = False) -> Iterator[tuple[int, str]]:
    """(line number, what follows the mark), until the first command. ``whole``: to the end."""
    for count, line in enumerate(text.splitlines(), 1):
        if line.startswith(mark):
            rest = line[len(mark) :]
            if not rest[:1].strip() or rest[0] == "-":  # "#$-cwd" counts as well
                yield count, rest.strip()
        elif not whole and line.strip() and not line.lstrip().startswith("#"):
            return


def words(line: str, count: int) -> list[str]:
    """Split as a shell would, up to a comment.

    Raises:
        LrmsError: a quote does not end.
    """
    from shlex import split

    try:
        return split(line, comments=True)
    except ValueError as error:
        raise LrmsError("refused", f"line {count}: {error}: {sanitize(line)}")


def options(
    parts: Sequence[str], table: Mapping[str, str], glued: bool = True
) -> Iterator[tuple[str, str, str]]:
    """(field, value, as written) of option words. ``table`` has what each option is here; "" means
    nothing here, a field that ends with "!" takes no value, one with "+" two. What is not in it is
    given with the words that follow and are no options, as field "". ``glued``: "-N2" is "-N 2".
    """
    at = 0
    while at < len(parts):
        part = parts[at]
        at += 1
        option, equals, value = part.partition("=")
        if not (part.startswith("--") and equals):
            option, value = part, ""
        if glued and option not in table and part[:1] == "-" and part[:2] in table:
            option, value = part[:2], part[2:]
            if table[option].endswith("!"):
                value = ""
        field = table.get(option)
        if field is not None and field.endswith("!"):
            yield field[:-1], value, part
            continue
        if field is not None:
            wanted = 0 if value or equals else 2 if field.endswith("+") else 1
            if wanted:
                value = " ".join(parts[at : at + wanted])
                part += f" {value}"
                at += wanted
            yield field.rstrip("+"), value, part
            continue
        while at < len(parts) and not parts[at].startswith("-"):
            part += f" {parts[at]}"
            at += 1
        yield "", "", part


def without_host(path: str) -> str:
    """ "host:/a/b" and ":/a/b" are /a/b, where batch systems may put a file elsewhere."""
    return re.sub(r"\A[\w.-]*:(?=.)", "", path, flags=re.ASCII)


def joined(line: str) -> str:
    """With lists of resources as one word: people write "a=1, b=2"."""
    return re.sub(r",[ \t]+", ",", line)


def asked(count: int, written: str, value: int | None) -> int:
    """A number that has to be one.

    Raises:
        LrmsError: it is not.
    """
    if value is None:
        raise LrmsError("refused", f"line {count}: not understood: {sanitize(written)}")
    return value


def gathered(fields: Mapping[str, Any], ignored: Sequence[str]) -> Headers:
    return Headers(**fields, ignored=tuple(map(sanitize, ignored)))
