"""Expressions computed by HTCondor's own library, and the only module that knows it.

Its traps, and what is done about them: ``A.matches(B)`` asks B's Requirements, so it is never
called; without a scope everything is undefined, so there always is one; an error has no place and
no reason, so what it is given was parsed here before and is written anew; a number that is too
large becomes 0 (refused before); patterns that go wrong in time are its own business (its regular
expressions give up by themselves).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from gshell.jdl.errors import JdlError
from gshell.jdl.syntax import ERROR, UNDEFINED, Ad, write

HINT = "pip install 'gshell[jdl]'    (HTCondor's Python package, 22 MB)"


@functools.cache
def _library() -> Any:
    try:
        import classad2
    except ImportError:
        raise JdlError(
            "Requirements, Rank and computed values need HTCondor's ClassAd library, which is "
            "not installed here",
            hint=HINT,
        ) from None
    return classad2


def available() -> bool:
    try:
        _library()
    except JdlError:
        return False
    return True


def value(text: str, ad: Ad) -> object:
    """What an expression is inside ``ad``: Python's own values, UNDEFINED or ERROR.

    Raises:
        JdlError: the library is not there, or refuses it.
    """
    library = _library()
    try:
        scope = library.ClassAd(write(ad))
        return _plain(library, library.ExprTree(text).eval(scope=scope))
    except library.ClassAdException as error:
        raise JdlError(f"{text[:80]}: {error}") from None


class Expression:
    """One expression, parsed once."""

    def __init__(self, text: str) -> None:
        """
        Raises:
            JdlError: the library is not there, or refuses it.
        """
        self._library = _library()
        try:
            self._tree = self._library.ExprTree(text)
        except self._library.ClassAdException:
            raise JdlError(f"HTCondor's library does not take {text[:80]!r}") from None

    def value(self, scope: Any, target: Any) -> object:
        """``scope``, ``target``: from `ad_of`."""
        try:
            return _plain(self._library, self._tree.eval(scope=scope, target=target))
        except self._library.ClassAdException:
            return ERROR

    def true(self, scope: Any, target: Any) -> bool:
        """Undefined and errors are not."""
        try:
            return self._tree.eval(scope=scope, target=target) is True
        except self._library.ClassAdException:
            return False


def ad_of(facts: Mapping[str, Any]) -> Any:
    """JSON values as an ad of the library; what it has no value for is left out."""
    library = _library()
    ad = library.ClassAd()
    for name, one in facts.items():
        if one is None:
            continue
        try:
            ad[name] = one
        except (library.ClassAdException, TypeError, ValueError, OverflowError):
            continue
    return ad


def _plain(library: Any, found: Any) -> object:
    if isinstance(found, library.Value):
        return UNDEFINED if found == library.Value.Undefined else ERROR
    if isinstance(found, library.ClassAd):
        return {name: _plain(library, found.eval(name)) for name in found}
    if isinstance(found, library.ExprTree):
        return ERROR
    if isinstance(found, list):
        return [_plain(library, one) for one in found]
    return found
