"""What there is to tell of a session as a whole: to the relay, and to who looks.

Changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gshell.agent.attachment import ARCHIVE
from gshell.agent.usage import Step

if TYPE_CHECKING:
    from gshell.agent.session import Session
    from gshell.model.progress import Progress


def summary(session: Session) -> dict[str, Any]:
    """SESSION of the control protocol."""
    spec = session.spec
    return {
        "job": session.job,
        "index": session.index,
        "size": session.size,
        "user": session.user,
        "state": session.state,
        "name": spec.name if spec else "",
        "argv0": spec.argv[0] if spec else "",
        "pty": bool(spec and spec.pty),
        "archive": bool(spec and spec.archivable),
        "tasks": spec.tasks if spec else 1,
        "beside": session.beside,
        "service": session.service,
        "lane": session.lane,
        "attempt": session.attempt,
        "started_at": session.started_at,
        "ended_at": session.ended_at,
        "code": session.code,
        "signal": session.signal,
        "error": session.error,
        "started": session.launched,
        "phase": session.phase,
        "atts": [
            {"att": a.id, "user": a.user, "rights": a.rights, "live": a.link is not None,
             "until": a.until, "share": a.share, "cred": a.credential}
            for a in session.attachments.values()
        ],
    }  # fmt: skip


def started(session: Session) -> dict[str, Any]:
    """The message of that name."""
    spec = session.spec
    assert spec is not None
    return {
        "m": "started", "job": session.job, "index": session.index,
        "att": session.primary.id if session.primary else "", "spec_name": spec.name,
        "argv0": spec.argv[0], "pty": spec.pty is not None, "tasks": spec.tasks,
        "archive": spec.archivable, "at": session.started_at, "lane": session.lane,
        "beside": session.beside, "service": session.service,
    }  # fmt: skip


def watchers(session: Session) -> dict[str, Any]:
    """The message of that name: how many look on."""
    attachments = session.attachments.values()
    live = [a for a in attachments if a.link is not None and a.user != ARCHIVE]
    return {
        "m": "watchers", "job": session.job, "index": session.index,
        "attached": sum(a is session.primary for a in live),
        "watchers": sum(a is not session.primary for a in live),
    }  # fmt: skip


def usage(session: Session) -> Step:
    """What there is to look at while it runs."""
    children = [rank.child for rank in session.ranks if rank.child is not None]
    out = sum(log.end for rank in session.ranks for log in rank.logs.values())
    first = children[0] if children else None
    return Step(
        session.job,
        session.index,
        out,
        session.input.taken_bytes,
        [child.pid for child in children],
        first.foreground() if first is not None else 0,
        first is not None and first.pty,
        lambda: _progress(session),
    )


def _progress(session: Session) -> Progress | None:
    """How far its first rank says to be. The job's first member speaks for all."""
    if session.index or not session.ranks:
        return None
    if session.meter is None:
        from gshell.agent.meter import Meter  # few look

        session.meter = Meter(session.ranks[0].logs.values())
    return session.meter.look()
