"""What is told to programs: one JSON object a line. Fields are added, never changed."""

from __future__ import annotations

import json

from gshell.errors import (
    AuthError,
    BrokerError,
    GshellError,
    LaunchError,
    LinkLost,
    LrmsError,
    ProtocolError,
    StagingError,
    UsageError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SCHEMA = 1
# The most special ones first. Words are added, never changed.
_CODES = (
    (UsageError, "usage"), (AuthError, "auth"), (LinkLost, "link"), (BrokerError, "broker"),
    (LaunchError, "launch"), (ProtocolError, "protocol"), (LrmsError, "lrms"),
    (StagingError, "staging"),
)  # fmt: skip


def line(name: str, value: Any) -> str:
    return json.dumps({"schema": SCHEMA, name: value})


def error_code(error: GshellError) -> str:
    """Of what kind it is, as one word."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), "error")


def error_fields(error: GshellError, status: int | None = None) -> dict[str, Any]:
    """``status``: if it is not the usual one of such an error."""
    return {
        "message": error.message,
        "hint": error.hint,
        "code": error_code(error),
        "exit": error.exit_code if status is None else status,
    }


def error_line(error: GshellError, status: int | None = None) -> str:
    """The one object on stderr."""
    return line("error", error_fields(error, status))
