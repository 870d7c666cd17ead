"""The relay's log file: lines, 0600, kept small. Shared by its processes; its format is
`gshell.net.logline`."""

from __future__ import annotations

import logging
import os

from gshell.net import logline

MAX_BYTES = 4 << 20  # then it becomes NAME.1, and the former NAME.1 goes


class LogFile(logging.Handler):
    """Appends whole lines in one write each, so that processes can share the file."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self._fd = -1
        self.reopen()

    def reopen(self) -> None:
        """Follow the path: after a rotation, ours or somebody's."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self.path, flags, 0o600)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record).replace("\n", "\n    ")
            os.write(self._fd, line.encode("utf-8", "backslashreplace") + b"\n")
            if os.fstat(self._fd).st_size > MAX_BYTES:
                self._rotate()
        except OSError:
            pass  # a full disk: nobody to tell

    def _rotate(self) -> None:
        """The first process to notice renames; the others find the name gone or new and follow."""
        try:
            if os.stat(self.path).st_ino == os.fstat(self._fd).st_ino:
                os.rename(self.path, self.path + ".1")
        except FileNotFoundError:
            pass
        self.reopen()


def level_of(name: str) -> int:
    """``debug`` and so on."""
    return int(getattr(logging, name.upper()))


def set_up(path: str, level: int = logging.INFO, format: str = "text") -> LogFile:
    """Send everything the ``relay`` loggers say to the file."""
    handler = LogFile(path)
    handler.setFormatter(logline.JsonLines() if format == "json" else logline.TextLines())
    logger = logging.getLogger("relay")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
    return handler
