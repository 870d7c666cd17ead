"""What people write who know other languages of this kind (cram, scrut, expect, VHS), and what to
tell them. Pure: one line, and words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gshell.replay import masks

_INDENTED = "commands and output stand at the beginning of their lines, other text behind a #"
_HABITS = (  # of other languages for the same thing
    (r"```|~~~", "only what is between the fences, without them"),
    (r"spawn\b", "what is started stands on the command line: gshell replay FILE -- run PROGRAM"),
    (r"send\b|sendline\b|Type\b", "$ command for a shell, > text for a program"),
    (r"(\.\.\.|In \[\d+\]:|\(gdb\)|\w*[#%>]) ", '> text, or with its prompt: "%s"> text'),
)
_SCRUTS = r"(?:no-eol|equal|escaped|regex|(?:re|glob|equal|no-eol|escaped)[?*+])"
_DOUBTS = (
    (rf"\s(\({_SCRUTS}\))$", "%s is text"),
    (
        r"^((?:expect|wait)\s+[^/(\s]\S*)$",
        "'%s' is taken as output: a regex stands between slashes",
    ),
    (
        rf"(?<!\\)(\((?:any|int|time)\s+as\s(?!\s*{masks.NAME}\))[^)]*\)?)",
        "'%s' is text: a capture is (int as NAME)",
    ),
    (r"^(\((?:gdb|lldb|i?[Pp]db)\)) \S", "taken as output: %s> text is typed"),
)


def indented(text: str) -> bool:
    """Commands stand behind blanks, as in cram's files."""
    return re.search(r"^[ \t]+\$ ", text, re.MULTILINE) is not None


def hint(line: str, cram: bool) -> str:
    """For who has written ``line`` where nothing was typed yet."""
    if cram:
        return _INDENTED
    for regex, words in _HABITS:
        if found := re.match(regex, line):
            return words % found[1] if "%s" in words else words
    return "$ command, PROMPT> text, or # for a comment"


def doubts(line: str) -> Iterator[str]:
    """What a line of output was perhaps meant to be."""
    for regex, why in _DOUBTS:
        if found := re.search(regex, line.rstrip()):
            yield why % found[1]
