"""Which node comes after which: a DAG's dependencies in all their forms, and its cycles."""

from __future__ import annotations

from gshell.jdl.reader import Findings
from gshell.jdl.syntax import Expr, Items, Literal, Ref, write


def dependencies(exprs: list[Expr], names: list[str], findings: Findings) -> dict[str, list[str]]:
    """For each node those that must have completed before. Forms: ``{a, b}`` (b after a),
    ``{{a, b}, c}``, ``{a, {b, c}}``, and lists of them."""
    by_name = {name.lower(): name for name in names}
    after: dict[str, list[str]] = {name: [] for name in names}
    for expr in exprs:
        for pair in _pairs(expr, findings):
            befores, afters = (_nodes(side, by_name, findings) for side in pair)
            for later in afters:
                for earlier in befores:
                    if earlier not in after[later]:
                        after[later].append(earlier)
    found = cycle(after)
    if found:
        shown = " -> ".join(found)
        findings.error(exprs[0].at, f"Dependencies go round in a circle: {shown}")
        return {}
    return after


def _pairs(expr: Expr, findings: Findings) -> list[tuple[Expr, Expr]]:
    if not isinstance(expr, Items):
        findings.error(expr.at, f"Dependencies must be pairs {{a, b}}, not {write(expr)[:40]}")
        return []
    items = expr.items
    if not items:
        return []
    # {a, b} is a pair itself, {{a, b}, c} and {{a, b}, {c}} too; {{a, b}, {b, c}} are two.
    sizes = [len(one.items) if isinstance(one, Items) else 1 for one in items]
    lists = all(isinstance(one, Items) for one in items)
    if len(items) == 2 and all(sizes) and not (lists and sizes == [2, 2]):
        return [(items[0], items[1])]
    found = []
    for one in items:
        if isinstance(one, Items) and len(one.items) == 2:
            found.append((one.items[0], one.items[1]))
        else:
            findings.error(one.at, f"expected a pair {{a, b}} but found {write(one)[:40]}")
    return found


def _nodes(expr: Expr, by_name: dict[str, str], findings: Findings) -> list[str]:
    if isinstance(expr, Items):
        return [name for one in expr.items for name in _nodes(one, by_name, findings)]
    word = expr.name if isinstance(expr, Ref) else None
    if isinstance(expr, Literal) and isinstance(expr.value, str):
        word = expr.value
    name = by_name.get(word.lower()) if word is not None else None
    if name is None:
        known = ", ".join(list(by_name.values())[:8])
        findings.error(expr.at, f"there is no node {write(expr)[:40]}: {known}")
        return []
    return [name]


def cycle(after: dict[str, list[str]]) -> list[str]:
    """A circle, first name last again; empty if there is none."""
    done: set[str] = set()
    for start in after:
        path: list[str] = []
        todo: list[tuple[str, int]] = [(start, 0)]
        while todo:
            name, depth = todo.pop()
            del path[depth:]
            if name in path:
                return [name, *reversed(path[path.index(name) :])]
            if name in done:
                continue
            path.append(name)
            if not after[name]:
                done.add(name)
            todo += [(before, depth + 1) for before in after[name]]
        done.update(_reached(after, start))
    return []


def _reached(after: dict[str, list[str]], start: str) -> set[str]:
    seen = {start}
    todo = [start]
    while todo:
        for name in after[todo.pop()]:
            if name not in seen:
                seen.add(name)
                todo.append(name)
    return seen


def order(after: dict[str, list[str]]) -> list[str]:
    """All of them, each behind those it waits for; there are no circles."""
    found: dict[str, None] = {}
    todo = [(name, False) for name in reversed(list(after))]
    while todo:
        name, ready = todo.pop()
        if name in found:
            continue
        if ready:
            found[name] = None
        else:
            todo.append((name, True))
            todo += [(before, False) for before in reversed(after[name])]
    return list(found)
