"""``gshell doctor``: looks at everything a session needs and says what to do about what is
wrong. The looking is in `gshell.cli.checks`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from gshell.cli.checks import CHECKS, Finding
from gshell.cli.listing import print_json
from gshell.cli.options import Parsed
from gshell.errors import GshellError
from gshell.model.sanitize import sanitize


def examine(parsed: Parsed) -> int:
    """Print the report; 0 if nothing is wrong, else 1."""
    return report(CHECKS, bool(parsed["json"]), bool(parsed["quiet"]))


def report(
    checks: Iterable[tuple[str, Callable[[], list[Finding]]]], as_json: bool, quiet: bool = False
) -> int:
    """Make the ``checks``, (name, call), and print what they found."""
    findings: list[tuple[str, Finding]] = []
    for name, check in checks:
        try:
            found = check()
        except GshellError as error:
            found = [Finding("bad", error.message, error.hint or "")]
        except OSError as error:
            found = [Finding("bad", f"{name}: {error.strerror or error}")]
        findings += [(name, finding) for finding in found]
    bad = sum(1 for _, finding in findings if finding.level == "bad")
    if as_json:
        lines = [{"check": name, **finding._asdict()} for name, finding in findings]
        print_json("findings", lines)
        return 1 if bad else 0

    signs = _signs()
    for _, finding in findings:
        print(f"{signs[finding.level]} {sanitize(finding.text)}")  # paths are the user's own
        if finding.fix:
            print(f"    try:  {sanitize(finding.fix)}")
    if not quiet:
        print("everything is fine" if not bad else f"{bad} problem{'s' if bad > 1 else ''}")
    return 1 if bad else 0


def _signs() -> dict[str, str]:
    encoding = (sys.stdout.encoding or "ascii").lower()
    if encoding.startswith("utf"):
        return {"ok": "✔", "note": "!", "bad": "✖"}
    return {"ok": "ok ", "note": "!  ", "bad": "BAD"}
