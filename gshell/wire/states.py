"""The states of one direction of a stream, as tables. Nothing runs on them: streams keep offsets,
and their ``state`` is what the offsets amount to. Tests hold the streams to the tables, and the
drawing in PROTOCOL.md too. Knows no stream.
"""

from __future__ import annotations

import enum


class State(enum.Enum):
    OPEN = "open"
    EOF_PENDING = "eof_pending"  # the source has ended, its FIN has not gone out on this link
    EOF = "eof"
    STOPPED = "stopped"
    CLOSED = "closed"  # ended, and every byte used up


Table = dict[tuple[State, str], State]  # (state, what happens) -> state

SENDING: Table = {
    (State.OPEN, "the source ends"): State.EOF_PENDING,
    (State.OPEN, "STOP arrives"): State.STOPPED,
    (State.EOF_PENDING, "FIN is sent"): State.EOF,
    (State.EOF_PENDING, "STOP arrives"): State.STOPPED,
    (State.EOF, "the link is lost"): State.EOF_PENDING,
    (State.EOF, "STOP arrives"): State.STOPPED,
}

RECEIVING: Table = {
    (State.OPEN, "FIN arrives"): State.EOF,
    (State.OPEN, "FIN arrives, nothing is left to take"): State.CLOSED,
    (State.OPEN, "the reader goes away"): State.STOPPED,
    (State.EOF, "the last byte is taken"): State.CLOSED,
    (State.EOF, "the reader goes away"): State.STOPPED,
    (State.STOPPED, "FIN arrives, nothing is left to take"): State.CLOSED,
    (State.STOPPED, "the last byte is taken"): State.CLOSED,
}
