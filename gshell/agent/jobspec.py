"""What a batch job wants beyond its command: a directory, files, scripts before and after. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

MOST_NAMES = 10000
LEAST_EVERY_S = 1.0  # of looking at files that are perused


class JobPart(NamedTuple):
    """``spec.job`` of CONTROL.md, checked. Names are relative to the work directory, in it."""

    workdir: bool = False
    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    """May be the same as ``stdout``."""
    discard: bool = False
    """What goes to no file is not kept."""
    inputs: tuple[str, ...] = ()
    """Must be there before the start."""
    prologue: tuple[str, ...] = ()
    epilogue: tuple[str, ...] = ()
    perusal_every_s: float = 0.0
    perusal: tuple[str, ...] = ()

    @classmethod
    def parse(cls, message: dict[str, Any]) -> JobPart:
        """
        Raises:
            ValueError, TypeError, KeyError: not one.
        """
        perusal = message.get("perusal") or {}
        every = perusal.get("every", 0)
        _require(isinstance(every, (int, float)) and 0 <= every < 1e9)
        files = _names(perusal.get("files"))
        job = cls(
            workdir=bool(message.get("workdir")),
            stdin=_name(message.get("stdin")),
            stdout=_name(message.get("stdout")),
            stderr=_name(message.get("stderr")),
            discard=bool(message.get("discard")),
            inputs=_names(message.get("inputs")),
            prologue=_words(message.get("prologue")),
            epilogue=_words(message.get("epilogue")),
            perusal_every_s=max(LEAST_EVERY_S, float(every)) if every and files else 0.0,
            perusal=files,
        )
        named = (job.stdin, job.stdout, job.stderr, job.inputs, job.perusal_every_s)
        return job._replace(workdir=True) if any(named) else job


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError


def _name(value: object) -> str:
    """A relative path that stays where it is; "" for none."""
    if value is None or value == "":
        return ""
    if not isinstance(value, str):
        raise TypeError("name")
    parts = value.split("/")
    _require("\0" not in value and len(value) < 4096 and not value.startswith("/"))
    _require(".." not in parts and bool(parts[-1].strip(".") or parts[-1].startswith("...")))
    return value


def _names(value: object) -> tuple[str, ...]:
    return tuple(name for name in map(_name, _list(value)) if name)


def _words(value: object) -> tuple[str, ...]:
    words = _list(value)
    _require(all(isinstance(word, str) and "\0" not in word for word in words))
    _require(not words or bool(words[0]))
    return tuple(words)


def _list(value: object) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise TypeError("list")
    _require(len(value) <= MOST_NAMES)
    return value
