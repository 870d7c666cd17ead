"""What there is to tell of a session's ranks, when somebody asks: cheap reads of /proc, one by one.

Knows no client.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from gshell.agent import beside
from gshell.agent.usage import Usage
from gshell.model.rankset import RankSet
from gshell.wire.constants import stderr_of, stdout_of
from gshell.wire.streams import Missing

if TYPE_CHECKING:
    from gshell.agent.ranks import Rank
    from gshell.agent.session import Session
    from gshell.agent.sessionlog import StreamLog

LINE_BYTES = 400  # of the last line; where it begins is looked for in twice as many
PROCESSES = 32  # of a rank that are counted
BATCH = 64  # ranks in one answer: it has to fit a control message


def answers(session: Session, wanted: str) -> list[dict[str, Any]]:
    """The messages that answer `ranks`; the last has ``end``.

    Raises:
        ValueError: not a set of ranks.
    """
    spec = session.spec
    if spec is None:
        return [{"t": "ranks", "ranks": [], "end": True}]
    chosen = RankSet.parse(wanted)
    usage = Usage()
    foreign = beside.scanned(session)
    if foreign or beside.is_adopted(session):
        rows = [row for row in foreign if row["rank"] in chosen]
    else:
        rows = [
            _row(session, rank, usage)
            for rank in session.ranks[: spec.tasks]
            if spec.first + rank.number in chosen
        ]
    parts = [rows[at : at + BATCH] for at in range(0, len(rows), BATCH)] or [[]]
    host = getattr(session, "host", os.uname().nodename)  # an archive shows what ran elsewhere
    return [{"t": "ranks", "host": host, "ranks": part, "end": part is parts[-1]} for part in parts]


def _row(session: Session, rank: Rank, usage: Usage) -> dict[str, Any]:
    spec = session.spec
    assert spec is not None
    child = rank.child
    pid = child.pid if child is not None and not rank.exited else 0
    cpu_s, rss_bytes, state = 0.0, 0, "ended" if rank.exited else "waits"
    if pid:
        state, cpu_s, rss_bytes = usage.process(pid, PROCESSES)
    return {
        "rank": spec.first + rank.number,
        "pid": pid,
        "state": state,
        "cpu_s": round(cpu_s, 2),
        "rss_bytes": rss_bytes,
        "out": sum(log.end for log in rank.logs.values()),
        "in": rank.taken,
        "line": _last_line(rank),
        "code": rank.code if rank.exited else None,
        "signal": rank.signal,
        "input": child is not None and child.stdin >= 0 and not child.pty,
        "pty": child is not None and child.pty,
    }


def _tail(log: StreamLog) -> bytes:
    at, data = max(log.start, log.end - 2 * LINE_BYTES), b""
    while at < log.end:
        try:
            piece = log.read(at, log.end - at)
        except Missing as missing:
            at, data = max(at + 1, missing.start), b""
            continue
        if not piece:
            break
        data += piece
        at += len(piece)
    return data


def _last_line(rank: Rank) -> str:
    """That it has printed, on stdout or else stderr; as far as it is in memory."""
    for stream in (stdout_of(rank.number), stderr_of(rank.number)):
        log = rank.logs.get(stream)
        if log is None or not log.end:
            continue
        tail = _tail(log)
        lines = [line for line in tail.replace(b"\r", b"\n").split(b"\n") if line.strip()]
        if lines:
            return lines[-1][-LINE_BYTES:].decode("utf-8", "replace")
    return ""
