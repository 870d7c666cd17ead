"""The protocol's numbers, in one place, each with its unit and its reason."""

from __future__ import annotations

VERSION = 1

# What one frame or message may hold, in bytes. A longer one ends the link.

MAX_FRAME_BYTES = 1 << 16
"""Data in one DATA frame: 16 KiB frames cost 6..42 % of throughput, 256 KiB gain little."""
MAX_JSON_BYTES = 1 << 18
"""One control message."""
MAX_GREETING_BYTES = 1 << 22
"""HELLO, WELCOME: argv and environment of a heavy module system, or a prelude, and the positions of
tens of thousands of streams (25..60 bytes each)."""
MAX_BYE_BYTES = 1 << 14
"""BYE: 64 characters of code and 1024 of reason, however JSON escapes them."""
MAX_TASKS = 4096
"""Ranks of one step at one agent: what a hostile spec can make an agent start, and a hostile agent
a client count."""
MAX_STREAMS = 1 << 16
"""Positions in a greeting: 16 K ranks; bounds what a hostile one can make us look at."""
EARLY_BYTES = 1 << 20
"""Data sent before the WELCOME: fills 80 MB/s over 12 ms, and the agent must hold it."""

# Windows: bytes in flight of one stream, and so what its sender keeps for a resume.

CONTROL_WINDOW = 1 << 20
"""Control messages; never blocked by data."""
INTERACTIVE_WINDOW = 128 * 1024
"""Output of a pty; also what still prints after Ctrl-C (ssh: 2 MiB)."""
PIPE_WINDOW = 1 << 20  # output of a pipe in flight, at first; what a stalled client costs the agent
MAX_PIPE_WINDOW = 8 << 20  # where the way is long: 8 MiB carry 200 MB/s over a 40 ms round trip
"""Output of a pipe: 4 MiB carry 100 MB/s over a 40 ms round trip."""
INPUT_WINDOW = 1 << 20
"""Input to a pipe; what a program that does not read costs the agent."""
PTY_INPUT_WINDOW = 64 * 1024
"""Input to a pty: a line discipline holds 4 KiB, pastes are bigger."""
MAX_WINDOW = 1 << 26
"""More credit than this is not believed: a side that grants without end must not fill the other."""

HEARTBEAT_S = 15.0
"""A PING after this much silence; below the idle time-outs of common NATs (30 s and up)."""
DEAD_AFTER_S = 45.0
"""Nothing heard for this long: the link is half-open, drop it and resume."""

SESSION_CONTROL = 0
"""The stream of the session's own control messages."""


def rank_streams(rank: int) -> tuple[int, int, int, int]:
    """Stream numbers of a rank: (control, stdin, stdout, stderr)."""
    base = 1 + 4 * rank
    return base, base + 1, base + 2, base + 3


def stdin_of(rank: int) -> int:
    return 2 + 4 * rank


def stdout_of(rank: int) -> int:
    return 3 + 4 * rank


def stderr_of(rank: int) -> int:
    return 4 + 4 * rank


def rank_of(stream: int) -> int:
    """The rank a stream belongs to; the session's control stream belongs to none (-1)."""
    return (stream - 1) // 4
