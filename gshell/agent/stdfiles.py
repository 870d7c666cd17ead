"""What a job's program prints, into files of its work directory, too. Knows no session.

The agent writes them from what it reads for the log: so attach and logs show a job with files like
any other, many ranks share a file without tearing each other's writes, and the program's end
means that its files are complete.
"""

from __future__ import annotations

import os

from gshell.agent.jobspec import JobPart

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class StdFiles:
    """Invariant: after a write failed nothing more is written to that file, and ``trouble`` says
    why."""

    def __init__(self) -> None:
        self._out = self._err = -1
        self._names: dict[int, str] = {}
        self._discard = False
        self.trouble = ""

    def open(self, workdir: str, job: JobPart) -> str:
        """Make them; why that cannot be, else ""."""
        self._discard = job.discard
        try:
            if job.stdout:
                self._out = self._open(workdir, job.stdout)
            if job.stderr:
                same = os.path.normpath(job.stderr) == os.path.normpath(job.stdout or "")
                self._err = self._out if same else self._open(workdir, job.stderr)
        except OSError as error:
            self.close()
            return f"{error.filename}: {error.strerror}"
        return ""

    def _open(self, workdir: str, name: str) -> int:
        path = os.path.join(workdir, name)
        if "/" in name:
            os.makedirs(os.path.dirname(path), exist_ok=True)
        fd = os.open(path, _FLAGS, 0o666)
        self._names[fd] = name
        return fd

    def write(self, is_stderr: bool, data: bytes) -> None:
        fd = self._err if is_stderr else self._out
        view = memoryview(data)
        while fd >= 0 and view:
            try:
                view = view[os.write(fd, view) :]
            except OSError as error:  # no space, over quota; or it is a pipe that nobody empties
                self.trouble = f"{self._names[fd]} is not complete: {error.strerror}"
                self._forget(fd)
                return

    def drops(self, is_stderr: bool) -> bool:
        """Is this output wanted nowhere?"""
        return self._discard and (self._err if is_stderr else self._out) < 0 and not self.trouble

    def close(self) -> None:
        for fd in {self._out, self._err} - {-1}:
            self._forget(fd)

    def _forget(self, fd: int) -> None:
        os.close(fd)
        self._out = -1 if self._out == fd else self._out
        self._err = -1 if self._err == fd else self._err
