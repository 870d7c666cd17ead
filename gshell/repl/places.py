"""Where `cd`, `ls`, `cat` and `pwd` act: here, or a directory of a job, agent or site. Pure."""

from __future__ import annotations

import posixpath
from typing import NamedTuple

from gshell.errors import UsageError


class Place(NamedTuple):
    """A directory somewhere; ``name`` empty: of this machine."""

    name: str = ""
    """As `cp` names it: `42`, `42.0`, `n014`, `site:alpha`."""
    path: str = ""
    """Relative to where it begins: the job's work directory, a home; empty is that."""

    def shown(self) -> str:
        return f"{self.name}:{self.path or '~'}" if self.name else ""

    def short(self, width: int = 32) -> str:
        """As the prompt has it: of a long path its end."""
        whole = self.shown()
        if len(whole) <= width:
            return whole
        last = self.path.rpartition("/")[2]
        return f"{self.name}:.../{last}"

    def request(self) -> dict[str, object]:
        """Fields of an opening."""
        job, _, index = self.name.partition(".")
        if self.name.startswith("site:"):
            return {"site": [self.name[5:]]}
        if job.isdigit() and (index.isdigit() or not index):
            return {"beside": self.name}
        return {"agent": self.name}


def of_word(word: str) -> Place | None:
    """``42:a/b``, ``n014:``, ``site:alpha:x``, ``:x`` (here); None: a path, of wherever one is.

    Raises:
        UsageError: half of one.
    """
    name, colon, path = word.partition(":")
    if not colon or "/" in name:
        return None
    if name == "site":
        name, colon, path = path.partition(":")
        if not colon or not name:
            raise UsageError(f"{word!r} is not site:NAME:PATH", hint="sites")
        name = "site:" + name
    return Place(name, _tidy(path))


def joined(place: Place, word: str) -> Place:
    """What ``word`` names for somebody who is at ``place``.

    >>> joined(Place("42", "a/b"), "../c"), joined(Place("42", "a"), "n1:/tmp")
    (Place(name='42', path='a/c'), Place(name='n1', path='/tmp'))
    """
    there = of_word(word)
    if there is not None:
        return there
    if word.startswith(("/", "~")):
        return Place(place.name, _tidy(word))
    return Place(place.name, _tidy(posixpath.join(place.path, word)))


def _tidy(path: str) -> str:
    if path in ("", ".", "~", "~/"):
        return ""
    path = posixpath.normpath(path)
    path = path[1:] if path.startswith("//") else path
    return "" if path == "." else path.removeprefix("~/")
