"""Values as luck makes them: what is nearly the JSON that a message is made of."""

from __future__ import annotations

from typing import Any

from property.fuzz import Luck

A = "a" * 32
PLAIN = (
    None, True, False, 0, 1, 2, -1, 64, 1 << 40, 10**40, -(10**40), 0.5, float("nan"), float("inf"),
    "", "1", "2", "x", "\ud800", "\0", A, "b" * 32, "n1", "g", "open", "attach", "resume", "rw", "r",
    "busy", "draining", "gone", "ended", "running", "9" * 15, "../../x", "INT", "KILL", "TERM", "3",
    "start", "\x1b[2J", "1b5b3f32356c", "=", "A=b", "/", "sh", "on",
)  # fmt: skip


def value(luck: Luck, names: tuple[str, ...], depth: int = 3) -> Any:
    """A JSON value."""
    kind = luck.number(8)
    if kind == 0 and depth:
        return [value(luck, names, depth - 1) for _ in range(luck.number(4))]
    if kind == 1 and depth:
        return fields(luck, names, depth - 1)
    return luck.choice(PLAIN)


def fields(luck: Luck, names: tuple[str, ...], depth: int = 3) -> dict[str, Any]:
    return {luck.choice(names): value(luck, names, depth) for _ in range(luck.number(10))}


LUCK = [bytes(range(256)), bytes(64), b"\xff" * 40, bytes(range(200, 0, -7)), b"\1\2\3\4" * 16]
