"""`%` names of jobs, as a shell's job control has them. Pure: the jobs are an argument."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gshell.errors import UsageError

Job = Mapping[str, Any]
_NAME = re.compile(r"%(?:[+%-]|\d+|\?[^:]+|[A-Za-z_][^:]*)?")


class Numbers:
    """Which job is `%1`: the first that was seen here and still lives. Invariant: a job keeps its
    number as long as it lives, and no two have the same."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}
        self.touched: dict[str, float] = {}
        """Jobs that somebody joined from here, and when."""

    def see(self, jobs: Sequence[Job]) -> None:
        """These live: new ones get a number, those that are gone lose theirs."""
        there = {str(job["id"]) for job in jobs}
        for gone in [one for one in self.of if one not in there]:
            del self.of[gone]
        for job in sorted(jobs, key=lambda job: int(job["id"])):
            name = str(job["id"])
            if name not in self.of:
                self.of[name] = max(self.of.values(), default=0) + 1

    def newest(self, jobs: Sequence[Job]) -> list[str]:
        """Their ids: the one that was begun or joined last first."""

        def at(job: Job) -> tuple[float, int]:
            name = str(job["id"])
            begun = job.get("started_at") or job.get("created_at")
            begun = begun if isinstance(begun, int | float) else 0.0
            return max(begun, self.touched.get(name, 0.0)), int(job["id"])

        return [str(job["id"]) for job in sorted(jobs, key=at, reverse=True)]

    def find(self, word: str, jobs: Sequence[Job]) -> str:
        """The id of the job that ``word`` (with its `%`) means.

        Raises:
            UsageError: none, or more than one.
        """
        self.see(jobs)
        name = word[1:]
        order = self.newest(jobs)
        if name in ("", "+", "%", "-"):
            which = 1 if name == "-" else 0
            if which < len(order):
                return order[which]
            raise UsageError(f"{word}: there is no such job", hint="jobs")
        if name.isdigit():
            for job, number in self.of.items():
                if number == int(name):
                    return job
            known = ", ".join(f"%{n}" for n in sorted(self.of.values())) or "none"
            raise UsageError(f"no job {word} lives; there are: {known}", hint="jobs")
        inside = name.startswith("?")
        part = name[1:] if inside else name
        found = [
            str(job["id"]) for job in jobs
            if (part in called(job) if inside else called(job).startswith(part))
        ]  # fmt: skip
        if len(found) == 1:
            return found[0]
        if not found:
            raise UsageError(f"no job of yours is called {part}...", hint="jobs")
        raise UsageError(f"{word} may be job {', '.join(found)}", hint=f"%{self.of[found[0]]}")


def called(job: Job) -> str:
    return str(job.get("name") or job.get("argv0") or "")


def is_name(word: str) -> bool:
    """Does it look like one, perhaps with `:PATH` or `.STEP` behind it?"""
    return bool(split(word)[0])


def split(word: str) -> tuple[str, str]:
    """``%1:a/b`` is ``%1`` and ``:a/b``; no name at all: two times nothing.

    >>> split("%1.0"), split("%lu:x"), split("%+"), split("100%")
    (('%1', '.0'), ('%lu', ':x'), ('%+', ''), ('', ''))
    """
    found = _NAME.match(word)
    if found is None:
        return "", ""
    name, rest = found.group(), word[found.end() :]
    return (name, rest) if not rest or rest[0] in ":." else ("", "")
