"""The relay's log file: lines, 0600, kept small. Shared by its processes."""

from __future__ import annotations

import json
import logging
import os

MAX_BYTES = 4 << 20  # then it becomes NAME.1, and the former NAME.1 goes
_FORMAT = "%(asctime)s %(process)d %(name)s %(levelname)s %(message)s"
FIELDS = ("link", "job", "att", "agent")  # given as extra=; an att is shortened
_ATT_CHARS = 8  # enough to follow one, too little to use it


class JsonLines(logging.Formatter):
    """One object a line: at, level, logger, pid, message, and what it is about."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "at": round(record.created, 6),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
        }
        for name in FIELDS:
            value = getattr(record, name, None)
            if value is not None:
                fields[name] = str(value)[:_ATT_CHARS] if name == "att" else value
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), default=str)


class TextLines(logging.Formatter):
    """The same for people: the fields stand behind the message."""

    def __init__(self) -> None:
        super().__init__(_FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:
        text = super().formatMessage(record)
        for name in FIELDS:
            value = getattr(record, name, None)
            if value is not None:
                text += f" {name}={str(value)[:_ATT_CHARS] if name == 'att' else value}"
        return text


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
    handler.setFormatter(JsonLines() if format == "json" else TextLines())
    logger = logging.getLogger("relay")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
    return handler
