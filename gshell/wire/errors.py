"""Whose fault it was: theirs ends the link, ours is a bug. Neither ends the session."""

from __future__ import annotations

from gshell.errors import LocalProtocolError, RemoteProtocolError

__all__ = ["LocalProtocolError", "RemoteProtocolError"]
