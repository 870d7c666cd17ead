"""What an expression may cost whoever evaluates it: a relay does, for everybody.

HTCondor's language has functions that double a text, evaluate one, or search it for hours. Those
that cannot are named here; the others are refused, as are patterns that go back and forth.
"""

from __future__ import annotations

from gshell.jdl.errors import JdlError
from gshell.jdl.syntax import Ad, Call, Expr, Literal, walk, write

_STRING_LISTS = ("size", "sum", "avg", "min", "max", "member", "imember", "subsetmatch",
                 "isubsetmatch")  # fmt: skip
_VERSIONS = ("gt", "ge", "lt", "le", "eq", "in_range")
CHEAP = frozenset((
    "isundefined", "iserror", "isstring", "isinteger", "isreal", "isboolean", "islist",
    "member", "identicalmember", "anycompare", "allcompare", "size", "sum", "avg", "min", "max",
    "int", "real", "string", "bool", "floor", "ceiling", "ceil", "round", "quantize", "abs", "pow",
    "strcat", "substr", "strcmp", "stricmp", "toupper", "tolower", "ifthenelse", "time",
    "versioncmp", *(f"version_{name}" for name in _VERSIONS),
    *(f"stringlist{name}" for name in _STRING_LISTS),
))  # fmt: skip
OF_GRIDS = frozenset((
    "anymatch", "allmatch", "whichmatch", "listattrregex", "retrievecloseses", "fqanmember",
    "retrieveclosesesinfo", "successfraction", "measuredresponsetime",
))  # fmt: skip
"""Nobody's here: they are errors to who evaluates them, and warned of where they are read."""
SEARCHES = frozenset(("regexp", "regexpmember", "stringlist_regexpmember"))
MOST_SEARCHES = 8
MOST_PATTERN = 256  # characters
MOST_TURNS = 3  # repetitions, and groups of choices, in one pattern


def check(expr: Expr) -> None:
    """
    Raises:
        JdlError: it may cost too much; says what of it.
    """
    searches = 0
    for one in walk(expr):
        if isinstance(one, Ad):
            raise JdlError("an ad within an expression is not evaluated here")
        if not isinstance(one, Call):
            continue
        name = one.name.lower()
        if name in SEARCHES:
            searches += 1
            _check_search(one)
        elif name not in CHEAP and name not in OF_GRIDS:
            raise JdlError(f"{one.name}() is not evaluated here")
    if searches > MOST_SEARCHES:
        raise JdlError(f"more than {MOST_SEARCHES} patterns to search for")


def _check_search(call: Call) -> None:
    pattern = call.args[0] if call.args else None
    if not isinstance(pattern, Literal) or not isinstance(pattern.value, str):
        raise JdlError(f"{call.name}(): the pattern is to be a text in quotes")
    text = pattern.value
    if len(text) > MOST_PATTERN or any(len(write(arg)) > 2 * MOST_PATTERN for arg in call.args):
        raise JdlError(f"{call.name}(): more than {MOST_PATTERN} characters")
    if _goes_back(text):
        raise JdlError(f"{call.name}(): {text!r} may search for very long")


def _goes_back(pattern: str) -> bool:
    """May it try again and again? Repetitions of repetitions or of choices do, and many of them;
    where in doubt, it may."""
    groups = [False]  # of those that are open: is there a repetition or a choice in it?
    closed = False  # what was just closed had one
    turns, at = 0, 0
    while at < len(pattern):
        one = pattern[at]
        at += 1
        was, closed = closed, False
        if one == "\\":
            if pattern[at : at + 1].isdigit() or pattern[at : at + 1] in ("g", "k"):
                return True  # what a group found, once more
            at += 1
        elif one == "[":
            end = pattern.find("]", at + 1 + pattern.startswith("^", at))
            at = end + 1 if end >= 0 else len(pattern)
        elif one == "(":
            if pattern.startswith("?", at) and pattern[at + 1 : at + 2] not in (":", "i"):
                return True  # looks around, calls itself
            groups.append(False)
            at += pattern.startswith("?", at)  # that is no repetition
        elif one == ")" and len(groups) > 1:
            closed = groups.pop()
            groups[-1] = groups[-1] or closed
        elif one == "|":
            turns += len(groups) > 1 and not groups[-1]
            groups[-1] = True
        elif one in "*+{?":
            if was:
                return True
            turns += 1
            groups[-1] = True
    return turns > MOST_TURNS
