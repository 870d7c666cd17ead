"""Where queued jobs' inputs and ended jobs' outputs are, and the sessions by which their users put
and fetch them. Decides nothing about who may: the broker says which box a session is for.

``USER/KEY/in`` and ``USER/KEY/out/INDEX`` (0700); ``USER/KEY/job`` has the number of the job that
it belongs to, once there is one. A key without a job goes after a day.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Callable
from typing import Any

from gshell.agent import stepview
from gshell.agent.attachment import Attachment
from gshell.agent.budget import Budget
from gshell.agent.session import Session
from gshell.agent.spec import StepSpec
from gshell.agent.spool import Spool
from gshell.errors import RemoteProtocolError
from gshell.net.incoming import Quota
from gshell.net.loop import Loop
from gshell.net.place import Place
from gshell.wire import peer as wire
from gshell.wire.constants import INPUT_WINDOW, stdin_of

USER_BYTES = 20 << 30  # of all that a user has here
SANDBOX_BYTES = 10 << 30  # of one job, in and out each
SANDBOX_FILES = 20_000
USER_FILES = 200_000  # directories are some, too
RESERVE = 1 << 30  # of the disk, or a twentieth of it: the relay's journal has to be written
UNBOUND_S = 86400.0  # an upload that no job was submitted with
LOST_S = 600.0  # a client whose link does not come back
ENDED_KEPT_S = 120.0  # a session that has ended, for who was cut off just then
_USER = re.compile(r"[A-Za-z0-9_@][A-Za-z0-9_.@+-]{0,63}")
_KEY = re.compile(r"[A-Za-z0-9]{16,64}")

_log = logging.getLogger("relay.archive")


class Boxes:
    """The directories. Invariant: every path told is below ``path``, whoever asks."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        os.makedirs(self.path, mode=0o700, exist_ok=True)

    def _of(self, user: str, key: str) -> str:
        if not _USER.fullmatch(user) or not _KEY.fullmatch(key):
            raise ValueError(f"no box {user!r} {key!r}")
        return os.path.join(self.path, user, key)

    def folder(self, user: str, key: str, part: str, index: int | None = None) -> str:
        """``in`` or ``out``, made if need be.

        Raises:
            OSError, ValueError
        """
        if part not in ("in", "out"):
            raise ValueError(part)
        path = os.path.join(self._of(user, key), part)
        if index is not None:
            path = os.path.join(path, str(int(index)))
        os.makedirs(path, mode=0o700, exist_ok=True)
        return path

    def bind(self, user: str, key: str, job: str) -> None:
        """It belongs to this job."""
        box = self._of(user, key)
        os.makedirs(box, mode=0o700, exist_ok=True)
        note = os.path.join(box, "job")
        if not os.path.exists(note):
            with open(note, "w", encoding="ascii") as file:
                file.write(job)

    def drop(self, user: str, key: str) -> None:
        shutil.rmtree(self._of(user, key), ignore_errors=True)

    def used(self, user: str) -> tuple[int, int]:
        """(bytes, files) of a user's."""
        if not _USER.fullmatch(user):
            raise ValueError(user)
        return _size(os.path.join(self.path, user))

    def left(self, user: str, folder: str) -> tuple[int, int]:
        """(bytes, files) that this box may hold, with what it has."""
        size, files = self.used(user)
        here, count = _size(folder)
        disk = os.statvfs(self.path)
        room = disk.f_bavail * disk.f_frsize - min(RESERVE, disk.f_blocks * disk.f_frsize // 20)
        size = max(0, min(USER_BYTES - size, room))
        return min(SANDBOX_BYTES, size + here), min(
            SANDBOX_FILES, max(0, USER_FILES - files) + count
        )

    def place(self, user: str, key: str, part: str, index: int | None = None) -> Place:
        """The box, for us to copy into or out of."""
        folder = self.folder(user, key, part, index)
        size, files = self.left(user, folder)
        here, count = _size(folder)
        return Place(folder, True, Quota(size - here, files - count))

    def sweep(self, named: set[tuple[str, str]] | None, now: float) -> int:
        """Remove what is nobody's: uploads that are too old, and, when all jobs' boxes are
        ``named``, those of jobs that are not there any more. How many went."""
        gone = 0
        for user in _names(self.path):
            for key in _names(os.path.join(self.path, user)):
                box = os.path.join(self.path, user, key)
                bound = os.path.exists(os.path.join(box, "job"))
                try:
                    old = now - os.stat(box).st_mtime > UNBOUND_S
                except OSError:
                    continue
                lost = bound and named is not None and (user, key) not in named
                if lost or (not bound and old):
                    shutil.rmtree(box, ignore_errors=True)
                    gone += 1
        return gone


def _names(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def _size(root: str) -> tuple[int, int]:
    """(bytes, files) below; directories are files, too."""
    size = count = 0
    for folder, folders, names in os.walk(root):
        count += len(folders) + len(names)
        for name in names:
            try:
                size += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue
    return size, count


class Depot:
    """A `SessionOwner`: each session is a service `files` in a process of its own, in its box."""

    archiving = False

    def __init__(self, loop: Loop, boxes: Boxes, say: Callable[[dict[str, Any]], None]) -> None:
        self.loop = loop
        self.disk = Budget(0)
        self.boxes = boxes
        self._say = say
        self._sessions: dict[str, Session] = {}  # by attachment
        self._expects: dict[int, dict[str, Any]] = {}  # id of a session -> what it is for
        self._unsaid: dict[str, Session] = {}  # ended, and the broker has not said that it knows

    def close(self) -> None:
        for session in list(self._sessions.values()):
            for attachment in list(session.attachments.values()):
                attachment.close()  # its client comes back, and is told that it begins anew
            session.cancel()
            session.forget()

    def summaries(self) -> list[dict[str, Any]]:
        """SESSION of a hello."""
        live = {id(s): s for s in self._sessions.values() if s.state == "running"}
        live.update({id(s): s for s in self._unsaid.values()})
        return [stepview.summary(session) for session in live.values()]

    # -- who comes

    def find_att(self, att: str) -> Attachment | None:
        session = self._sessions.get(att)
        return session.attachments.get(att) if session is not None else None

    def open(self, att: str, expect: dict[str, Any], probe: wire.Peer) -> Attachment:
        """A user whom the broker sent."""
        session = Session(self, str(expect["job"]), int(expect["index"]), 1, str(expect["user"]))
        session.service = "files"
        self._sessions[att] = session
        self._expects[id(session)] = expect
        probe.add_recv(stdin_of(0), INPUT_WINDOW)
        attachment = Attachment(session, att, session.user, "rw", probe)
        attachment.credential = str(expect.get("cred") or "")
        session.add(attachment)
        return attachment

    def revoke(self, att: str, why: str) -> None:
        attachment = self.find_att(att)
        if attachment is not None:
            session = self._sessions[att]
            session.forget_input(attachment)
            attachment.end("revoked", why)
            self.on_left(session)

    def ended_ok(self, job: object, index: object) -> None:
        self._unsaid.pop(f"{job}.{index}", None)

    def sweep(self, now: float) -> None:
        for att, session in list(self._sessions.items()):
            for attachment in list(session.attachments.values()):
                if attachment.lost_at is not None and now - attachment.lost_at > LOST_S:
                    session.remove(attachment)
                    self.on_left(session)
            old = session.state == "ended" and time.time() - session.ended_at > ENDED_KEPT_S
            if old or (session.state == "ended" and not session.attachments):
                session.forget()
                del self._sessions[att]
                self._expects.pop(id(session), None)

    # -- from the sessions

    def admit(self, session: Session, spec: StepSpec) -> None:
        """Whatever they say they want, it is this."""
        expect = self._expects[id(session)]
        depot = expect["depot"]
        if not isinstance(depot, dict):
            raise RemoteProtocolError("bad-spec", "no box")
        part = str(depot["part"])
        try:
            folder = self.boxes.folder(session.user, str(depot["key"]), part)
            size, files = self.boxes.left(session.user, folder)
            words = ["--box", "--quota", f"{size}:{files}"]
            words += ["--read-only"] if part == "out" else []
        except OSError as error:
            folder, words = "/", ["--gone", f"the relay's depot: {error.strerror}"]
        session.start(
            StepSpec(
                argv=["files", *words], shell=False, env={}, extra_env={}, cwd=folder, home=None,
                where="", pty=None, tasks=1, first=0, size=1, name="files", umask=0o077,
                keep=False, on_full=None, quota_bytes=0, timeout_s=None, announce=False,
                service="files", archive=False,
            )
        )  # fmt: skip

    @property
    def batch_job(self) -> tuple[str, str]:
        return "", ""

    def find(self, step: str) -> Session | None:
        return None

    def on_started(self, session: Session) -> None:
        att = next((a.id for a in session.attachments.values()), "")
        self._say({"m": "started", "job": session.job, "index": session.index, "att": att,
                   "spec_name": "files", "argv0": "files", "pty": False, "tasks": 1,
                   "archive": False, "at": session.started_at, "service": "files"})  # fmt: skip

    def on_ended(self, session: Session) -> None:
        self._unsaid[f"{session.job}.{session.index}"] = session
        self._say({"m": "ended", "job": session.job, "index": session.index, "code": session.code,
                   "signal": session.signal, "at": session.ended_at, "error": session.error,
                   "archive": False})  # fmt: skip

    def on_left(self, session: Session) -> None:
        if session.attachments:
            return
        if session.state == "running":
            session.cancel()
        elif session.state == "new":
            att = next((a for a, s in self._sessions.items() if s is session), "")
            self._sessions.pop(att, None)
            self._expects.pop(id(session), None)
            self._say({"m": "unused", "job": session.job, "index": session.index, "att": att})

    def on_stole(self, session: Session, attachment: Attachment) -> None: ...

    def on_watchers(self, session: Session) -> None: ...

    def on_visitor_left(self, session: Session, attachment: Attachment) -> None: ...

    def before_signal(self, session: Session) -> None: ...

    def on_phase(self, session: Session) -> None: ...

    def ask_token(self, session: Session) -> None: ...

    def on_withdrawn(self, session: Session) -> None: ...

    def make_workdir(self, session: Session) -> str:
        raise OSError("nothing has a work directory here")

    def make_spool(self, session: Session, stream: int) -> Spool:
        raise OSError("nothing is spooled here")
