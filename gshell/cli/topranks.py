"""What the ranks of one job do, for `gshell top`: asked by `gshell ranks` beside it, which may wait
for its agents as long as it takes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from typing import Any

from gshell import config
from gshell.net.loop import IN, Loop

PATIENCE_S = 1.0
MOST_BYTES = 16 << 20  # of one answer: a row for each of ten thousand ranks is less

Rows = list[dict[str, Any]]


class RanksBeside:
    """Owns a process and its pipe while there is a job to ask about."""

    def __init__(self, loop: Loop, told: Callable[[str, Rows], None]) -> None:
        """``told``: of a job, its rows; none when there is no more to be said of it."""
        self._loop = loop
        self._told = told
        self._process: subprocess.Popen[bytes] | None = None
        self._text = b""
        self.job = ""

    def follow(self, job: str) -> None:
        """Of this job from now on; empty: of none."""
        if job == self.job:
            return
        self.close()
        self.job = job
        if not job:
            return
        self._process = subprocess.Popen(
            [*config.entry(), "ranks", job, "--watch", "--json"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-Z of ours is not meant for it
        )  # fmt: skip
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        os.set_blocking(fd, False)
        self._loop.add(fd, IN, self._read)

    def close(self) -> None:
        process, self._process, self.job, self._text = self._process, None, "", b""
        if process is not None:
            assert process.stdout is not None
            self._loop.remove(process.stdout.fileno())
            process.stdout.close()
            process.send_signal(signal.SIGINT)  # it says goodbye: nobody waits for its return
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _read(self, _: int) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            data = os.read(self._process.stdout.fileno(), 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        job = self.job
        if not data or len(self._text) > MOST_BYTES:
            self.close()
            self.job = job  # it is not asked again
            self._told(job, [])
            return
        self._text += data
        *whole, self._text = self._text.split(b"\n}\n")
        if whole:
            self._told(job, _rows(whole[-1] + b"\n}"))


def _rows(text: bytes) -> Rows:
    try:
        found = json.loads(text)["ranks"]
    except (ValueError, KeyError, TypeError):
        return []
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
