"""How a log record becomes a line, for people or for programs. The relay and the agent use it.

What a line is about (a link, a job) is given as ``extra=``; an attachment's name only in part.
"""

from __future__ import annotations

import json
import logging

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
