"""What a step gave against what was expected of it. Knows no terminal and no clock.

Lines are aligned as a diff does, so one line too many is one difference. The alignment is linear
while everything fits, and bounded by ``MAX_CELLS`` where it does not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gshell.replay import masks, matching
from gshell.replay.script import Difference, Line, Seen, Step, Verdict

MAX_CELLS = 400_000  # of an alignment's table: about a second; larger ones look ahead instead
LOOK_AHEAD = 100  # lines, where the table would be too large
# A changed line costs less than one missing and one extra, two of them more: that is a move.
_GAP, _SIMILAR, _CHANGED = 4, 5, 6


class Want(NamedTuple):
    """An expected line, and what it means."""

    line: Line
    pattern: masks.Pattern


class Pair(NamedTuple):
    """Lines put beside each other: both, or one of them; ``fits`` if they match."""

    want: Want | None
    seen: str | None
    fits: matching.Match | None = None


def judge(step: Step, seen: Seen, values: Mapping[str, str]) -> Verdict:
    """``values``: parameters, and what earlier steps captured."""
    differences: list[Difference] = []
    diff: list[str] = []
    captures: dict[str, str] = {}
    kinds: Counter[str] = Counter()
    if seen.timed_out:
        differences.append(Difference("timeout", step.line, seen.timed_out, _last(seen)))
        diff.append(f"! timed out: {seen.timed_out}")
    for what, title, expected, lines in _streams(step, seen, values):
        wants = [Want(line, masks.parse(line.text)) for line in expected]
        while wants and wants[-1].pattern.literal == "":
            wants.pop()
        align = _unordered if step.unordered else _aligned
        found_pairs = align(wants, trimmed(lines), values)
        for pair in found_pairs:
            if pair.fits is not None:
                captures.update(pair.fits.captures)
                kinds.update(pair.fits.kinds)
            elif pair.seen is None and pair.want is not None and pair.want.pattern.kind == "span":
                kinds["any*"] += 1
        found = _differences(found_pairs, what)
        if found:
            diff += [f"@@ {title} @@"] if title else []
            diff += _diff(found_pairs)
        differences += found
    differences += _status(step, seen, diff)
    return Verdict(
        step, seen, tuple(differences), tuple(captures.items()), tuple(sorted(kinds.items())),
        tuple(diff),
    )  # fmt: skip


def judged(step: Step) -> bool:
    """Is anything said of what it has to give?"""
    told = step.expected is not None or step.status is not None
    return told or step.kind == "wait" or bool(step.wait.regex)


def unified(verdict: Verdict, context: int = 3) -> str:
    """The step's differences as a unified diff, masks as they were written; empty: there are none.
    ``-`` was expected, ``+`` was seen, ``~`` is a line that a mask let through."""
    if verdict.ok:
        return ""
    step = verdict.step
    head = [f"--- expected  {step.shown}", "+++ seen"]
    return "\n".join([*head, *_shortened(verdict.diff, context)]) + "\n"


# ------------------------------------------------------------------------------------------ streams


def _streams(
    step: Step, seen: Seen, values: Mapping[str, str]
) -> list[tuple[str, str, list[Line], Sequence[str]]]:
    """(difference's word, title, expected lines, seen lines) of each stream that is judged."""
    if step.expected is None:
        return []
    on_err = {
        id(line)
        for line in step.expected
        if line.stream == "err" or (line.stream == "any" and _only_on_stderr(line, seen, values))
    }
    out = [line for line in step.expected if line.rank is None and id(line) not in on_err]
    err = [line for line in step.expected if line.rank is None and id(line) in on_err]
    ranked = [line for line in step.expected if line.rank is not None]
    by_rank = dict(seen.ranks)
    if not seen.err and any(_at_all(line) for line in err):
        # A terminal has one stream: what was written to stderr stands among the rest. Where stderr
        # is apart and silent, these lines are missing either way.
        out, err = [line for line in step.expected if line.rank is None], []
    if not by_rank and ranked:
        out = [line for line in step.expected if line.rank is not None or line in out]
        ranked = []
    streams: list[tuple[str, str, list[Line], Sequence[str]]] = []
    if out or not ranked:
        # With lines of ranks only, the merged output has nothing to be held against.
        streams.append(("", "", out, seen.out))
    streams.append(("stderr", "stderr", err, seen.err))
    for rank in sorted({line.rank for line in ranked if line.rank is not None}):
        lines = [line for line in ranked if line.rank == rank]
        streams.append(("rank", f"rank {rank}", lines, by_rank.get(rank, ())))
    return streams


def _only_on_stderr(line: Line, seen: Seen, values: Mapping[str, str]) -> bool:
    pattern = masks.parse(line.text)
    if pattern.kind == "span" or any(matching.match(pattern, one, values) for one in seen.out):
        return False
    return any(matching.match(pattern, one, values) for one in seen.err)


def _at_all(line: Line) -> bool:
    return masks.parse(line.text).kind != "span"


def trimmed(lines: Sequence[str]) -> list[str]:
    """Blank lines at the end mean nothing: programs print them before their prompt. Tabs are the
    blanks that a terminal shows."""
    done = [line.expandtabs(8).rstrip() for line in lines]
    while done and not done[-1]:
        done.pop()
    return done


def _last(seen: Seen) -> str:
    return next((line for line in reversed(seen.out) if line.strip()), "")


def _status(step: Step, seen: Seen, diff: list[str]) -> list[Difference]:
    if step.status is None or status_fits(step.status.text, seen.status):
        return []
    got = "none" if seen.status is None else str(seen.status)
    diff += [f"-[{step.status.text}]", f"+[{got}]"]
    return [Difference("status", step.status.number, step.status.text, got)]


def status_fits(wanted: str, status: int | None) -> bool:
    """``0``, ``137``; ``*``: any; ``!0``: not this one."""
    if wanted == "*":
        return status is not None
    if wanted.startswith("!"):
        return status is not None and str(status) != wanted[1:]
    return str(status) == wanted


# ---------------------------------------------------------------------------------------- alignment


def _aligned(wants: list[Want], lines: list[str], values: Mapping[str, str]) -> list[Pair]:
    """Each expected and each seen line once, in order."""
    fit = _Fits(wants, lines, values)
    head: list[Pair] = []
    low = 0
    while low < min(len(wants), len(lines)) and not fit.span(low):
        found = fit(low, low)
        if found is None:
            break
        head.append(Pair(wants[low], lines[low], found))
        low += 1
    tail: list[Pair] = []
    high, end = len(wants), len(lines)
    while high > low and end > low and not fit.span(high - 1):
        found = fit(high - 1, end - 1)
        if found is None:
            break
        high, end = high - 1, end - 1
        tail.append(Pair(wants[high], lines[end], found))
    middle = _spanned(fit, low, high, low, end)
    if middle is None:
        cells = (high - low + 1) * (end - low + 1)
        chosen = _table if cells <= MAX_CELLS else _ahead
        middle = chosen(fit, low, high, low, end)
    return [*head, *middle, *reversed(tail)]


class _Fits:
    """Whether line ``j`` fits what is wanted at ``i``; each asked of a mask once."""

    def __init__(self, wants: list[Want], lines: list[str], values: Mapping[str, str]) -> None:
        self.wants = wants
        self.lines = lines
        self._values = values
        self._literal = [want.pattern.literal for want in wants]
        self._known: dict[tuple[int, int], matching.Match | None] = {}
        self._shapes: dict[str, str] = {}

    def span(self, i: int) -> bool:
        return self.wants[i].pattern.kind == "span"

    def __call__(self, i: int, j: int) -> matching.Match | None:
        literal = self._literal[i]
        if literal is not None:
            return _EQUAL if literal == self.lines[j] else None
        if (i, j) not in self._known:
            found = matching.match(self.wants[i].pattern, self.lines[j], self._values)
            self._known[i, j] = found
        return self._known[i, j]

    def cost(self, i: int, j: int) -> int:
        if self(i, j) is not None:
            return 0
        text = self._literal[i]
        if text is None:
            text = masks.MASKED.sub("0", self.wants[i].line.text)
        return _SIMILAR if self._shape(text) == self._shape(self.lines[j]) else _CHANGED

    def _shape(self, line: str) -> str:
        if line not in self._shapes:
            self._shapes[line] = shape(line)
        return self._shapes[line]


_EQUAL = matching.Match()


def _spanned(fit: _Fits, i: int, high: int, j: int, end: int) -> list[Pair] | None:
    """The alignment without any difference, if there is one: after a span, the first place where
    what follows fits; if that leads nowhere, the next. Only the last span is ever gone back to."""
    pairs: list[Pair] = []
    back: tuple[int, int, int] | None = None  # the span's place, the line to try next, pairs then
    while j < end or i < high:
        if i < high and fit.span(i):
            back = (i, j, len(pairs))
            pairs.append(Pair(fit.wants[i], None))
            i += 1
            continue
        found = fit(i, j) if i < high and j < end else None
        if found is not None:
            pairs.append(Pair(fit.wants[i], fit.lines[j], found))
            i, j = i + 1, j + 1
            continue
        if back is None or back[1] >= end:
            return None
        at, tried, kept = back
        i, j = at + 1, tried + 1
        del pairs[kept + 1 :]
        # Lines that the span took are pairs of the span.
        pairs.insert(kept, Pair(fit.wants[at], fit.lines[tried], None))
        back = (at, j, kept + 1)
    return pairs


def _table(fit: _Fits, low: int, high: int, start: int, end: int) -> list[Pair]:
    """The cheapest alignment."""
    rows, columns = high - low, end - start
    cost = [[0] * (columns + 1) for _ in range(rows + 1)]
    for c in range(columns - 1, -1, -1):
        cost[rows][c] = cost[rows][c + 1] + _GAP
    for r in range(rows - 1, -1, -1):
        here, below = cost[r], cost[r + 1]
        if fit.span(low + r):
            here[columns] = below[columns]
            for c in range(columns - 1, -1, -1):
                here[c] = min(below[c], here[c + 1])
            continue
        here[columns] = below[columns] + _GAP
        for c in range(columns - 1, -1, -1):
            best = min(below[c], here[c + 1]) + _GAP
            same = below[c + 1]
            if same < best:
                best = min(best, same + fit.cost(low + r, start + c))
            here[c] = best
    pairs: list[Pair] = []
    r = c = 0
    while r < rows or c < columns:
        want = fit.wants[low + r] if r < rows else None
        line = fit.lines[start + c] if c < columns else None
        if want is not None and fit.span(low + r):
            if cost[r][c] == cost[r + 1][c]:
                pairs.append(Pair(want, None))
                r += 1
            else:
                pairs.append(Pair(want, line))
                c += 1
            continue
        if want is not None and line is not None:
            found = fit(low + r, start + c)
            if cost[r][c] == cost[r + 1][c + 1] + fit.cost(low + r, start + c):
                pairs.append(Pair(want, line, found))
                r, c = r + 1, c + 1
                continue
        if want is not None and cost[r][c] == cost[r + 1][c] + _GAP:
            pairs.append(Pair(want, None))
            r += 1
        else:
            pairs.append(Pair(None, line))
            c += 1
    return pairs


def _ahead(fit: _Fits, low: int, high: int, start: int, end: int) -> list[Pair]:
    """An alignment of very many lines: at each difference, the nearest place where both go on."""
    pairs: list[Pair] = []
    i, j = low, start
    while i < high or j < end:
        if i < high and fit.span(i):
            after = i + 1
            while j < end and (after >= high or not _goes_on(fit, after, j, high, end)):
                pairs.append(Pair(fit.wants[i], fit.lines[j]))
                j += 1
            pairs.append(Pair(fit.wants[i], None))
            i += 1
            continue
        if i < high and j < end:
            found = fit(i, j)
            if found is not None:
                pairs.append(Pair(fit.wants[i], fit.lines[j], found))
                i, j = i + 1, j + 1
                continue
        skip, passed = _next(fit, i, j, high, end)
        changed = min(skip, passed)
        pairs += [Pair(fit.wants[i + n], fit.lines[j + n]) for n in range(changed)]
        pairs += [Pair(fit.wants[i + n], None) for n in range(changed, skip)]
        pairs += [Pair(None, fit.lines[j + n]) for n in range(changed, passed)]
        i, j = i + skip, j + passed
    return pairs


def _next(fit: _Fits, i: int, j: int, high: int, end: int) -> tuple[int, int]:
    """How many expected and seen lines to pass over until both go on."""
    for distance in range(1, LOOK_AHEAD):
        for skip in range(distance + 1):
            at, line = i + skip, j + distance - skip
            if at < high and line < end and _goes_on(fit, at, line, high, end):
                return skip, distance - skip
    return min(LOOK_AHEAD, high - i), min(LOOK_AHEAD, end - j)


def _goes_on(fit: _Fits, i: int, j: int, high: int, end: int) -> bool:
    if fit.span(i):
        return True
    if fit(i, j) is None:
        return False
    if i + 1 >= high or j + 1 >= end:
        return True
    return fit.span(i + 1) or fit(i + 1, j + 1) is not None


def _unordered(wants: list[Want], lines: list[str], values: Mapping[str, str]) -> list[Pair]:
    """Any order: as many as possible beside one that fits; literal ones first."""
    fit = _Fits(wants, lines, values)
    spans = [want for want in wants if want.pattern.kind == "span"]
    places: dict[str, list[int]] = {}
    for j in range(len(lines) - 1, -1, -1):
        places.setdefault(lines[j], []).append(j)
    of_line: dict[int, int] = {}  # seen -> wanted
    masked = []
    for i, want in enumerate(wants):
        literal = want.pattern.literal
        if want.pattern.kind == "span":
            continue
        if literal is None:
            masked.append(i)
        elif places.get(literal):
            of_line[places[literal].pop()] = i
    left = [j for j in range(len(lines)) if j not in of_line]
    taken: dict[int, int] = {}
    for i in masked:
        _take(fit, i, left, taken, set())
    of_line.update(taken)
    pairs = []
    for j, line in enumerate(lines):
        if j in of_line:
            i = of_line[j]
            pairs.append(Pair(wants[i], line, fit(i, j)))
        elif spans:
            pairs.append(Pair(spans[0], line))
        else:
            pairs.append(Pair(None, line))
    done = set(of_line.values())
    missing = [want for i, want in enumerate(wants) if i not in done]
    return [*pairs, *(Pair(want, None) for want in missing)]


def _take(fit: _Fits, i: int, left: list[int], taken: dict[int, int], tried: set[int]) -> bool:
    """A line for mask ``i``, moving others to lines that fit them, too (bipartite matching)."""
    path: list[tuple[int, list[int]]] = [(i, [j for j in left if fit(i, j) is not None])]
    chosen: list[int] = []
    while path:
        _, choices = path[-1]
        while choices and choices[-1] in tried:
            choices.pop()
        if not choices:
            path.pop()
            if chosen:
                chosen.pop()
            continue
        j = choices.pop()
        tried.add(j)
        chosen.append(j)
        if j not in taken:
            for (mask, _), line in zip(path, chosen):
                taken[line] = mask
            return True
        other = taken[j]
        path.append((other, [k for k in left if k != j and fit(other, k) is not None]))
    return False


def pairs(lines: Sequence[Line], seen: list[str], values: Mapping[str, str]) -> list[Pair]:
    """Expected lines in order, each beside what was seen in its place."""
    return _aligned([Want(line, masks.parse(line.text)) for line in lines], seen, values)


_SHAPE = re.compile(r"0x[0-9a-fA-F]+|[-+]?\d[\d.]*(?:[eEdD][-+]?\d+)?")


def shape(line: str) -> str:
    """A line without its numbers and blanks: lines of one shape are likely the same line."""
    return " ".join(_SHAPE.sub("0", line).split())


# -------------------------------------------------------------------------------------- differences


def _is_difference(pair: Pair) -> bool:
    return pair.fits is None and (pair.want is None or pair.want.pattern.kind != "span")


def _differences(pairs: list[Pair], what: str) -> list[Difference]:
    """``what``: the stream's word; empty: as each is."""
    found: list[Difference] = []
    missing: list[Want] = []
    extra: list[str] = []
    for pair in pairs:
        if not _is_difference(pair):
            continue
        if pair.want is not None and pair.seen is not None:
            at = pair.want.line
            found.append(Difference(what or "line", at.number, at.text, pair.seen))
        elif pair.want is not None:
            missing.append(pair.want)
        elif pair.seen is not None:
            extra.append(pair.seen)
    for want in missing:
        at = want.line
        moved = next((n for n, line in enumerate(extra) if _may_be(want, line)), None)
        if moved is None:
            found.append(Difference(what or "missing", at.number, at.text, ""))
        else:
            found.append(Difference(what or "order", at.number, at.text, extra.pop(moved)))
    found += [Difference(what or "extra", 0, "", line) for line in extra]
    return sorted(found, key=lambda one: one.line or 1 << 60)


def _may_be(want: Want, line: str) -> bool:
    return matching.match(want.pattern, line, {}) is not None


def _diff(pairs: list[Pair]) -> list[str]:
    shown: list[str] = []
    gone: list[str] = []
    come: list[str] = []
    for pair in pairs:
        if _is_difference(pair):
            gone += [f"-{pair.want.line.text}"] if pair.want is not None else []
            come += [f"+{pair.seen}"] if pair.seen is not None else []
            continue
        shown += gone + come
        gone, come = [], []
        if pair.want is None:
            continue
        if pair.want.pattern.kind == "span":
            mark = f"~{pair.want.line.text}"
            if not shown or shown[-1] != mark:
                shown.append(mark)
        else:
            shown.append(("~" if pair.fits and pair.fits.kinds else " ") + pair.want.line.text)
    return shown + gone + come


def _shortened(diff: Sequence[str], context: int) -> list[str]:
    """Only what is near a difference."""
    near: set[int] = set()
    for at, line in enumerate(diff):
        if line[:1] in ("-", "+", "@", "!"):
            near.update(range(at - context, at + context + 1))
    done: list[str] = []
    for at, line in enumerate(diff):
        if at in near:
            done.append(line)
        elif not done or done[-1] != " ...":
            done.append(" ...")
    return done
