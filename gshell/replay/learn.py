"""Masks from several runs of a script: the narrowest that cover what was seen. Knows no programs.

Only what a run contradicts is changed, so learning twice from the same runs changes nothing more,
and what a person wrote stays.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from gshell.replay import gstwrite, judge, masks, matching
from gshell.replay.script import Line, Script, Seen, Step

CLOSE = 1e-6  # numbers that differ by less are the same result, computed otherwise: a tolerance
SLACK = 4  # times the largest difference seen is tolerated: three runs don't see it all
SPAN = "... (any*)"


def learn(script: Script, runs: Sequence[Sequence[Seen]], text: str | None = None) -> str:
    """The script's text, changed where the runs differ from it or from each other. ``runs``: for
    each, what each step gave (a run that stopped early has fewer). ``text``: as it was written, to
    keep its comments and empty lines; only for transcripts.
    """
    learnt = learned(script, runs)
    if text is None:
        return gstwrite.write(learnt)
    return _edited(text, script, learnt)


def learned(script: Script, runs: Sequence[Sequence[Seen]]) -> Script:
    """The same as a script."""
    values = dict(script.params)
    nothing_yet = all(step.expected is None for step in script.steps)
    steps = []
    for at, step in enumerate(script.steps):
        seens = [run[at] for run in runs if len(run) > at]
        usable = [seen for seen in seens if not seen.timed_out]
        steps.append(_step(step, usable, values, nothing_yet) if usable else step)
        for seen in usable[:1]:
            values.update(judge.judge(steps[-1], seen, values).captures)
    return script._replace(steps=tuple(steps))


def _step(step: Step, seens: list[Seen], values: Mapping[str, str], nothing_yet: bool) -> Step:
    statuses = {seen.status for seen in seens}
    if step.status is not None:
        if not all(judge.status_fits(step.status.text, status) for status in statuses):
            one = statuses.pop() if len(statuses) == 1 else None
            step = step._replace(status=step.status._replace(text="*" if one is None else str(one)))
    elif nothing_yet and len(statuses) == 1 and None not in statuses:
        step = step._replace(status=Line(str(statuses.pop()), 0))
    if step.expected is None:
        if not nothing_yet:
            return step
        step = step._replace(expected=tuple(_first_lines(seens[0])))
    if _fits(step, seens, values):
        return step
    for attempt in (_in_any_order, _line_by_line, _loosely):
        learnt = attempt(step, seens, values)
        if learnt is not None and _fits(learnt, seens, values):
            return learnt
    return step._replace(expected=(Line(SPAN, 0), Line(SPAN, 0, "err")))


def _fits(step: Step, seens: list[Seen], values: Mapping[str, str]) -> bool:
    return all(judge.judge(step, seen, values).ok for seen in seens)


def _first_lines(seen: Seen) -> Iterator[Line]:
    for line in judge.trimmed(seen.out):
        yield Line(masks.escaped(line), 0)
    for line in judge.trimmed(seen.err):
        yield Line(masks.escaped(line), 0, "err")
    for rank, lines in seen.ranks:
        for line in judge.trimmed(lines):
            yield Line(masks.escaped(line), 0, rank=rank)


# ------------------------------------------------------------------------------------------- order


def _in_any_order(step: Step, seens: list[Seen], values: Mapping[str, str]) -> Step | None:
    """The same lines in another order each time: ``(unordered)``."""
    expected = step.expected or ()
    if any(line.rank is not None or line.stream != "out" for line in expected):
        return None
    wants = [line for line in expected if masks.parse(line.text).kind != "span"]
    runs = [judge.trimmed(seen.out) for seen in seens]
    orders = [[judge.shape(line) for line in run] for run in runs]
    same_lines = all(Counter(run) == Counter(runs[0]) for run in runs)
    if not step.unordered and not same_lines and all(order == orders[0] for order in orders):
        return None  # only numbers differ
    if any(Counter(order) != Counter(orders[0]) for order in orders):
        return None
    if Counter(_shapes(wants)) != Counter(orders[0]):
        wants = [Line(masks.escaped(line), 0) for line in runs[0]]
    step = step._replace(unordered=True, expected=tuple(wants))
    if _fits(step, seens, values):
        return step
    groups: dict[str, list[str]] = {}
    for run in runs:
        for line in run:
            groups.setdefault(judge.shape(line), []).append(line)
    learnt = []
    for want in wants:
        pattern = masks.parse(want.text)
        group = groups.get(judge.shape(_masks_gone(want.text)), [])
        if pattern.literal is None or all(pattern.literal in run for run in runs):
            learnt.append(want)
        else:
            learnt.append(want._replace(text=general(group) if group else SPAN))
    return step._replace(expected=tuple(learnt))


def _shapes(wants: Sequence[Line]) -> list[str]:
    return [judge.shape(_masks_gone(line.text)) for line in wants]


def _masks_gone(text: str) -> str:
    """A line's text with its masks as if they were numbers: for comparing shapes."""
    literal = masks.parse(text).literal
    return masks.MASKED.sub("0", text) if literal is None else literal


# ------------------------------------------------------------------------------------ line by line


def _line_by_line(step: Step, seens: list[Seen], values: Mapping[str, str]) -> Step | None:
    expected = list(step.expected or ())
    out = [line for line in expected if line.rank is None and line.stream != "err"]
    err = [line for line in expected if line.rank is None and line.stream == "err"]
    learnt: list[Line] = []
    if err and not any(seen.err for seen in seens):
        out, err = [line for line in expected if line.rank is None], []  # a terminal has one stream
    learnt += _stream(out, [judge.trimmed(seen.out) for seen in seens], values, Line("", 0))
    errors = [judge.trimmed(seen.err) for seen in seens]
    learnt += _stream(err, errors, values, Line("", 0, "err"))
    for rank in sorted({line.rank for line in expected if line.rank is not None}):
        wants = [line for line in expected if line.rank == rank]
        runs = [judge.trimmed(dict(seen.ranks).get(rank, ())) for seen in seens]
        learnt += _stream(wants, runs, values, Line("", 0, rank=rank))
    if not learnt:
        return step._replace(expected=())
    return step._replace(expected=tuple(learnt))


def _stream(
    wants: list[Line], runs: list[list[str]], values: Mapping[str, str], like: Line
) -> list[Line]:
    """One stream: each expected line beside what each run has in its place."""
    # Per expected line, what stood there in each run; None: nothing. Before each, what was more.
    beside: list[list[tuple[str, bool] | None]] = [[] for _ in wants]
    more: list[list[list[str]]] = [[[] for _ in runs] for _ in range(len(wants) + 1)]
    for number, run in enumerate(runs):
        at = 0
        for pair in judge.pairs(wants, run, values):
            if pair.want is None:
                more[at][number].append(pair.seen or "")
            elif pair.want.pattern.kind == "span":
                if pair.seen is None:
                    beside[at].append(None)
                    at += 1
            else:
                beside[at].append(None if pair.seen is None else (pair.seen, pair.fits is not None))
                at += 1
    done: list[Line] = []
    for at in range(len(wants) + 1):
        _added(done, more[at], like)
        if at == len(wants):
            break
        want, places = wants[at], beside[at]
        pattern = masks.parse(want.text)
        if pattern.kind == "span":
            _span(done, want)
        elif all(place is not None and place[1] for place in places):
            measured = pattern.literal is not None and _MEASURED.search(pattern.literal)
            done.append(want._replace(text=_unmeasured(want.text)) if measured else want)
        elif any(place is None for place in places):
            _span(done, want._replace(text=SPAN))
        else:
            seen = [place[0] for place in places if place is not None]
            literal = pattern.literal
            known = [literal] if literal is not None and _alike(literal, seen[0]) else []
            text = general([*known, *seen])
            if masks.parse(text).kind == "line" and text == "(any)":
                done.append(want._replace(text=text))
            else:
                done.append(want._replace(text=_named(text, want.text)))
    return done


# A clock's reading with few digits may be the same three times and differ the fourth.
_MEASURED = re.compile(r"\b(?:seconds?|secs|elapsed|wall)\b", re.IGNORECASE)
_FRACTION = re.compile(r"(?<![\w.(])\d+\.\d+(?![\w.])")


def _unmeasured(text: str) -> str:
    return _FRACTION.sub("(num)", text)


def _added(done: list[Line], runs: list[list[str]], like: Line) -> None:
    """Lines that nobody expected here."""
    if not any(runs):
        return
    count = len(runs[0])
    if all(len(run) == count for run in runs):
        columns = [[run[n] for run in runs] for n in range(count)]
        if all(_alike(column[0], line) for column in columns for line in column):
            done += [like._replace(text=general(column)) for column in columns]
            return
    _span(done, like._replace(text=SPAN))


def _span(done: list[Line], line: Line) -> None:
    if done and masks.parse(done[-1].text).kind == "span":
        return
    done.append(line)


def _alike(one: str, other: str) -> bool:
    return judge.shape(one) == judge.shape(other) or len(one.split()) == len(other.split())


def _named(text: str, before: str) -> str:
    """A capture that a person asked for is kept, if there is one mask to put it on."""
    names = masks.parse(before).names
    if len(names) != 1 or masks.parse(text).names:
        return text
    found = [mask for mask in masks.MASKED.finditer(text) if not mask[0].startswith("(re)")]
    if len(found) != 1:
        return text
    end = found[0].end() - 1
    return f"{text[:end]} as {names[0]}{text[end:]}"


def _loosely(step: Step, seens: list[Seen], values: Mapping[str, str]) -> Step | None:
    """What comes first and last in all runs, and anything between."""
    runs = [judge.trimmed(seen.out) for seen in seens]
    if any(seen.err for seen in seens) or any(seen.ranks for seen in seens):
        return None
    shortest = min(map(len, runs))
    head = 0
    while head < shortest and len({run[head] for run in runs}) == 1:
        head += 1
    tail = 0
    while tail < shortest - head and len({run[-1 - tail] for run in runs}) == 1:
        tail += 1
    lines = [Line(masks.escaped(line), 0) for line in runs[0][:head]]
    lines.append(Line(SPAN, 0))
    lines += [Line(masks.escaped(line), 0) for line in runs[0][len(runs[0]) - tail :]]
    return step._replace(expected=tuple(lines), unordered=False)


# ------------------------------------------------------------------------------------------ a line


_ATOM = re.compile(
    rf"(?P<time>{masks.TIME.pattern})|(?P<hex>\b0x[0-9a-fA-F]+\b)"
    rf"|(?P<num>(?<![\w.]){masks.NUMBER}(?![\w]))|(?P<id>\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{{7,}}\b)"
    r"|(?P<path>~?(?:/[\w.@+%=-]+)+/?)|(?P<int>\d+)|(?P<word>[^\W\d]+)|(?P<blank>\s+)|(?P<other>.)",
    re.IGNORECASE,
)


def general(lines: Sequence[str]) -> str:
    """The narrowest line, masks in it, that all of ``lines`` fit."""
    lines = list(dict.fromkeys(line.rstrip() for line in lines))
    if len(lines) == 1:
        return masks.escaped(lines[0])
    for attempt in (_by_atoms, _by_words, _by_ends):
        text = attempt(lines)
        if text is not None and _covers(text, lines):
            return text
    return "(any)"


def _covers(text: str, lines: Sequence[str]) -> bool:
    try:
        pattern = masks.parse(text)
    except masks.BadMask:
        return False
    return pattern.kind != "span" and all(matching.match(pattern, line, {}) for line in lines)


def _by_atoms(lines: Sequence[str]) -> str | None:
    """Numbers, times, addresses, words where they differ."""
    return _columns([list(_atoms(line)) for line in lines])


def _atoms(line: str) -> Iterator[tuple[str, str]]:
    for found in _ATOM.finditer(line):
        yield _group(found), found[0]


def _group(found: re.Match[str]) -> str:
    return next(name for name, text in found.groupdict().items() if text is not None)


def _by_words(lines: Sequence[str]) -> str | None:
    """Whole words, whatever they are made of."""
    return _columns(
        [
            [
                ("blank" if word.isspace() else "other", word)
                for word in re.findall(r"\s+|\S+", line)
            ]
            for line in lines
        ]
    )


def _columns(rows: list[list[tuple[str, str]]]) -> str | None:
    if len({len(row) for row in rows}) != 1:
        return None
    parts: list[tuple[bool, str]] = []  # (it is a mask, text)
    for column in zip(*rows):
        texts = [text for _, text in column]
        kinds = {kind for kind, _ in column}
        if len(set(texts)) == 1:
            parts.append((False, texts[0]))
        elif kinds == {"blank"}:
            parts.append((False, min(texts, key=len)))  # beside a mask that is as good
        elif "blank" in kinds:
            return None
        else:
            parts.append((True, _mask(kinds, texts)))
    text = ""
    literal = ""
    for is_mask, part in [*parts, (True, "")]:
        if not is_mask:
            literal += part
            continue
        text += (masks.escaped(literal + "|")[:-1] if literal else "") + part
        literal = ""
    return text.rstrip()


def _mask(kinds: set[str], texts: Sequence[str]) -> str:
    if kinds <= {"num", "int"} and all(masks.A_NUMBER.fullmatch(text) for text in texts):
        if all(masks.INTEGER.fullmatch(text) for text in texts):
            return "(int)"
        return _tolerance(texts) or "(num)"
    if kinds == {"time"} or (kinds <= {"time", "num"} and _all(masks.TIME.fullmatch, texts)):
        return "(time)"
    if kinds <= {"hex"}:
        return "(re /0x[0-9a-fA-F]+/)"
    if kinds <= {"id", "int", "num"} and _all(re.compile(r"[0-9a-fA-F]+").fullmatch, texts):
        return "(re /[0-9a-fA-F]+/)"
    if kinds <= {"path"}:
        return r"(re /\/[^\s:]*/)" if all(text[0] == "/" for text in texts) else "(any)"
    if kinds <= {"word"}:
        return r"(re /\w+/)"
    if _all(re.compile(r"\S+").fullmatch, texts):
        return r"(re /\S+/)"
    return "(any)"


def _all(test: Callable[[str], object], texts: Sequence[str]) -> bool:
    return all(test(text) for text in texts)


def _tolerance(texts: Sequence[str]) -> str | None:
    """A number that varies only in its last digits: itself, and how much it varied."""
    values = [masks.number(text) for text in texts]
    middle = sorted(values)[(len(values) - 1) // 2]
    spread = max(abs(value - middle) for value in values)
    if not middle or spread / abs(middle) > CLOSE:
        return None
    text = texts[values.index(middle)]
    rel = f"{max(spread / abs(middle) * SLACK, 1e-15):.0e}"
    return f"(num {text} rel={rel})"


def _by_ends(lines: Sequence[str]) -> str | None:
    """What all begin and end with, and anything between."""
    shortest = min(map(len, lines))
    head = 0
    while head < shortest and len({line[head] for line in lines}) == 1:
        head += 1
    tail = 0
    while tail < shortest - head and len({line[-1 - tail] for line in lines}) == 1:
        tail += 1
    first = lines[0]
    start = masks.escaped(first[:head] + "|")[:-1]
    return start + "(any)" + masks.escaped(first[len(first) - tail :]) if tail else start + "(any)"


# ------------------------------------------------------------------------------------------- text


def _edited(text: str, script: Script, learnt: Script) -> str:
    """The text with only those lines changed that are to be."""
    lines = text.split("\n")
    changed: dict[int, list[str]] = {}  # number of a line -> what stands there now
    after: dict[int, list[str]] = {}  # ... and what comes behind it
    for old, new in zip(script.steps, learnt.steps):
        if old == new:
            continue
        begin = old.line
        while (
            begin < len(lines)
            and lines[begin - 1].startswith("$ ")
            and lines[begin - 1].endswith("\\")
        ):
            begin += 1
        if new.unordered and not old.unordered:
            after.setdefault(begin, []).append("(unordered)")
        before = set(old.expected or ())
        changed.update({gone.number: [] for gone in before})
        where = begin
        for line in new.expected or ():
            written = gstwrite.expected_line(line)
            if line.number:
                where = line.number
                same = line in before
                changed.setdefault(where, []).append(lines[where - 1] if same else written)
            elif where in changed:
                changed[where].append(written)
            else:
                after.setdefault(where, []).append(written)
        if new.status is not None and new.status != old.status:
            written = f"[{new.status.text}]"
            if new.status.number:
                changed[new.status.number] = [written]
            else:
                (changed[where] if where in changed else after.setdefault(where, [])).append(
                    written
                )
    done: list[str] = []
    for number, source in enumerate(lines, 1):
        done += changed.get(number, [source])
        done += after.get(number, [])
    return "\n".join(done)
