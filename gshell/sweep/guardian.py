"""Ends what this Python has started, should it be killed: a process that is told who is there.

Knows pids and marks; nothing of what they are for.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading

from gshell.sweep.proctree import started

SCRIPT = """
import os, signal, sys, time
mark = sys.argv[1].encode()
mine, known, orderly = {}, set(), False
signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it may be for our Python: then there is work
for line in sys.stdin:
    sign, pid, started = line.split()
    if sign == "+":
        mine[pid] = started
        known.add(pid)
    elif sign == "-":
        mine.pop(pid, None)
    else:
        orderly = True
def stat(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(") ")[2].split()
    except OSError:
        return None
def marked(pid):
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return any(one.startswith(mark) for one in file.read().split(b"\\0"))
    except OSError:
        return False
def all_of():
    found = set()
    for name in os.listdir("/proc"):
        fields = stat(name) if name.isdigit() else None
        if not fields or fields[0] == "Z" or name == str(os.getpid()):
            continue
        if fields[3] in mine:
            leader = stat(fields[3])
            if leader is None or leader[19] == mine[fields[3]] or fields[3] != name:
                found.add(int(name))
        elif not orderly and fields[3] not in known and marked(name):
            found.add(int(name))
    return found
if orderly and not mine:
    sys.exit()
for number, patience in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 0.0)):
    settled = time.monotonic() + 0.1
    end = time.monotonic() + patience
    told = set()
    while True:
        left = all_of()
        for pid in left - told:
            try:
                os.kill(pid, number)
            except OSError:
                pass
        told |= left
        now = time.monotonic()
        if now >= settled and (not left or now >= end):
            break
        time.sleep(0.05)
"""
"""Reads who is there (``+PID START``) and who is not (``-``) until its stdin ends, with this
Python; then ends what is left: with TERM, and KILL after 3 s. Sessions, so children too; and, if
this Python did not take leave (``.``), who carries its mark but was never told of: it died between
starting a process and telling. Nothing may run between its end and another look: what was being
started when it died comes a moment later."""


class Guardian:
    """Begun when there is something to be guarded, and anew if it was killed."""

    def __init__(self, marks: str) -> None:
        """``marks``: what those of this Python begin with."""
        self._marks = marks
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def begin(self) -> None:
        """There is one from now on."""
        with self._lock:
            self._begin()

    def began(self, pid: int) -> None:
        self._tell(f"+ {pid} {started(pid)}")

    def ended(self, pid: int) -> None:
        self._tell(f"- {pid} 0")

    def leave(self) -> None:
        """This Python ends as it should: who was let go lives on."""
        if self._process is not None:
            self._tell(". 0 0")

    def abandon(self) -> None:
        """In a child by fork: it is the parent's."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.returncode = 0  # not ours to be waited for

    def _begin(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", SCRIPT, self._marks],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True, bufsize=0,
            )  # fmt: skip
        return self._process

    def _tell(self, line: str) -> None:
        with self._lock:
            stdin = self._begin().stdin
            assert stdin is not None
            with contextlib.suppress(OSError):
                stdin.write(line.encode() + b"\n")
