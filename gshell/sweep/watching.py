"""How far an action is: a line on the terminal, while somebody waits for it and it takes longer
than a moment. Knows no action but what it is asked: counts, and a name."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from gshell.model.sanitize import sanitize

AFTER_S = 2.0
DRAW_S = 0.25
BAR = 20  # cells


class Far(NamedTuple):
    """How far it is."""

    name: str
    total: int
    ended: int
    failed: int


_shown = threading.Lock()  # held while there is a line
_drawn = False


def wanted() -> bool:
    """Is there a terminal to show it on, and is it not switched off (``GSHELL_PROGRESS=0``)?"""
    if os.environ.get("GSHELL_PROGRESS", "1") in ("0", "no", "off"):
        return False
    if os.environ.get("TERM", "dumb") == "dumb" or not sys.stderr.isatty():
        return False
    return threading.current_thread() is threading.main_thread()


def line(far: Far, seconds: float, columns: int) -> str:
    """What is shown, in so many columns."""
    done = far.ended / far.total if far.total else 1.0
    bar = ("=" * int(done * BAR)).ljust(BAR)
    clock = f"{int(seconds) // 60}:{int(seconds) % 60:02}"
    failed = f", {far.failed} failed" if far.failed else ""
    facts = f"[{bar}] {far.ended}/{far.total}{failed}  {clock}  "
    name = sanitize(" ".join(far.name.split()))
    return (facts + name)[: max(10, columns - 1)].rstrip()


def watch(over: threading.Event, limit_s: float | None, far: Callable[[], Far]) -> bool:
    """Wait for ``over``, or so long; shows how far it is meanwhile. Whether it is over."""
    global _drawn
    begun = time.monotonic()
    first_s = AFTER_S if limit_s is None else min(AFTER_S, limit_s)
    if over.wait(first_s) or (limit_s is not None and limit_s <= AFTER_S):
        return over.is_set()
    if not _shown.acquire(blocking=False):
        return over.wait(None if limit_s is None else limit_s - first_s)
    try:
        while True:
            passed = time.monotonic() - begun
            left = DRAW_S if limit_s is None else min(DRAW_S, limit_s - passed)
            if left <= 0:
                return False
            text = line(far(), passed, shutil.get_terminal_size().columns)
            sys.stderr.write(f"\r{text}\x1b[K")
            sys.stderr.flush()
            _drawn = True
            if over.wait(left):
                return True
    finally:
        hide()
        _shown.release()


def hide() -> None:
    """Before anything else is written there; it comes back by itself."""
    global _drawn
    if _drawn:
        _drawn = False
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
