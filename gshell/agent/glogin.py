"""The remote end of i2glogin: calls the user's side, with no relay between, and runs one command
for it.

What it runs is a step's session with one attachment, so that a broken connection is nothing but
another call. Who is called says HELLO: in the session's protocol the user's side is the client,
whoever dialled.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Any

from gshell.agent.attachment import Attachment
from gshell.agent.budget import Budget
from gshell.agent.gloginwords import SECRET_FILE, USAGE, Words, parse
from gshell.agent.session import KILL_AFTER_S, Session
from gshell.agent.spec import StepSpec
from gshell.agent.spool import Spool
from gshell.errors import AuthError, GshellError, LinkLost, UsageError
from gshell.model.sanitize import sanitize
from gshell.net import address, handshake
from gshell.net.link import Link
from gshell.net.loop import IN, Loop, Timer
from gshell.net.machine import user_name
from gshell.net.tls import Tls, client_context
from gshell.wire import peer as wire
from gshell.wire.constants import DEAD_AFTER_S, HEARTBEAT_S, INPUT_WINDOW, stdin_of

NO_KEY = bytes(32)  # of --insecure: encrypted, and open to whoever calls or answers first
REACH_S = 15.0  # from dialling to a greeting
FIRST_S, MOST_S, GROWTH = 0.1, 5.0, 1.5  # between two calls
REFUSALS = 3  # a wrong secret does not become right
USUAL_PTY = (24, 80)
SILENT_S = DEAD_AFTER_S + HEARTBEAT_S  # the user's side says something four times as often


class _Attachment(Attachment):
    """The one there is: tells when its link is lost, and knows when it heard something."""

    far: FarEnd
    heard_at = 0.0

    def link_data(self, link: Link, chunks: list[bytes]) -> None:
        self.heard_at = self.session.clock()
        super().link_data(link, chunks)

    def link_closed(self, link: Link, error: Exception) -> None:
        ours = link is self.link
        super().link_closed(link, error)
        if ours:
            self.far.lost(error)


class FarEnd:
    """One call after the other until the session is over; ``status`` is set then.

    Invariant: nothing is started, and nothing of a session said, to who has not shown that it
    knows the secret.
    """

    archiving = False

    def __init__(self, loop: Loop, words: Words, key: bytes, env: dict[str, str]) -> None:
        self.loop = loop
        self.disk = Budget(0)
        self.status: int | None = None
        self.error: GshellError | None = None
        self._words = words
        self._key = key
        self.burn = ""
        """The secret's file, once it was used."""
        self._env = env  # what the batch system and who started us said in GSHELL_*
        self._id = os.urandom(handshake.ID_BYTES)
        self._context = client_context(None)
        self._link: Link | None = None
        self._proof: handshake.Caller | None = None
        self._probe: wire.Peer | None = None
        self._attachment: _Attachment | None = None
        self._attempts = 0
        self._refusals = 0
        self._reached_at = loop.clock()
        self._why: GshellError = LinkLost("nobody answers")
        self._again: Timer | None = None
        self._deadline: Timer | None = None
        job = env.get("GSHELL_JOB", "glogin")
        self.session = Session(self, job, 0, 1, user_name())

    def start(self) -> None:
        self.loop.later(HEARTBEAT_S / 3, self._look)
        self.dial()

    # -- calls

    def dial(self) -> None:
        self._again = None
        if self.status is not None:
            return
        try:
            sock, connected = address.start_connect(self._words.place.address)
        except OSError as error:
            self._broken(LinkLost(f"cannot connect: {error.strerror or error}"))
            return
        tls = Tls(self._context, server_side=False)
        self._proof = self._probe = None
        link = self._link = Link(self.loop, sock, self, tls)
        self._deadline = self.loop.later(REACH_S, lambda: self._too_slow(link))
        link.begin(connected, tls.start(), REACH_S)

    def _too_slow(self, link: Link) -> None:
        if link is self._link:
            link.close()
            self.link_closed(link, LinkLost("no answer"))

    def link_ready(self, link: Link) -> None:
        assert link.tls is not None
        pin = bytes.fromhex(link.tls.peer_pin())
        self._proof = handshake.Caller(self._key, pin, self._id, os.urandom(handshake.NONCE_BYTES))

    def link_data(self, link: Link, chunks: list[bytes]) -> None:
        for chunk in chunks:
            if link.closed:
                return
            data: bytes = chunk
            proof = self._proof
            if proof is not None and self._probe is None:
                try:
                    data = proof.feed(data)
                except AuthError as error:
                    link.close()
                    self.link_closed(link, error)
                    return
                if proof.out:
                    link.send(proof.out)
                    proof.out = b""
                if proof.done:
                    self._known()
            if data and self._probe is not None:
                for event in self._probe.receive(data):
                    if isinstance(event, wire.Greeted):
                        self._greeted(link, event.message)

    def _known(self) -> None:
        self._probe = wire.Peer(client=False)
        self._refusals = 0
        if self.burn:
            try:
                os.unlink(self.burn)
            except OSError:
                pass  # a directory that is not ours to change
            self.burn = ""

    def _greeted(self, link: Link, hello: dict[str, Any]) -> None:
        probe, self._probe, self._link = self._probe, None, None
        assert probe is not None
        if self._deadline is not None:
            self._deadline.cancel()
        self._attempts = 0
        attachment = self._attachment
        if attachment is None:
            probe.add_recv(stdin_of(0), INPUT_WINDOW)
            attachment = _Attachment(self.session, "glogin", self.session.user, "rw", probe)
            attachment.far = self
            self._attachment = attachment
            self.session.add(attachment)
        attachment.heard_at = self.loop.clock()
        attachment.join(link, hello, probe)

    def link_room(self, link: Link) -> None:
        pass

    def link_closed(self, link: Link, error: GshellError) -> None:
        if link is self._link:
            self._link = None
            if self._deadline is not None:
                self._deadline.cancel()
            self._broken(error)

    def lost(self, error: Exception) -> None:
        """A link that had been greeted broke."""
        self._reached_at = self.loop.clock()
        self._broken(error if isinstance(error, GshellError) else LinkLost(str(error)))

    def _broken(self, error: GshellError) -> None:
        if self.status is not None or self._again is not None:
            return
        if not isinstance(self._why, AuthError) or isinstance(error, AuthError):
            self._why = error
        if isinstance(error, AuthError):
            self._refusals += 1
        over = self.loop.clock() - self._reached_at >= self._words.wait_s
        if over or self._refusals >= REFUSALS:
            self._give_up()
            return
        delay_s = min(MOST_S, FIRST_S * GROWTH ** min(self._attempts, 20))
        self._attempts += 1
        self._again = self.loop.later(delay_s * (0.5 + os.urandom(1)[0] / 255), self.dial)

    def _give_up(self) -> None:
        place = self._words.place
        started = self.session.state != "new"
        kind = AuthError if isinstance(self._why, AuthError) else LinkLost
        self.error = kind(f"the user's side at {place}: {self._why.message}")
        if self.session.state == "running":
            self.session.cancel()
            self.loop.later(KILL_AFTER_S + 1, lambda: self.finish(255))
        else:
            self.finish(255 if started else 125)

    def _look(self) -> None:
        """Time: is the link dead, without anybody having said so?"""
        attachment = self._attachment
        link = attachment.link if attachment is not None else None
        if attachment is not None and link is not None:
            link.check()
            if not link.closed and self.loop.clock() - attachment.heard_at > SILENT_S:
                link.close()
                attachment.link_closed(link, LinkLost("the connection has been silent"))
        if self.status is None:
            self.loop.later(HEARTBEAT_S / 3, self._look)

    # -- the session's owner

    def admit(self, session: Session, spec: StepSpec) -> None:
        """What runs is said here; the user's side says what its terminal is."""
        words = self._words
        pty = spec.pty or (USUAL_PTY if words.tty else None)
        argv = list(words.command) or ["sh"]
        session.start(
            spec._replace(
                argv=argv, shell=not words.command, pty=pty, tasks=1, first=0, size=1, service="",
                cwd=None, home=os.getcwd(), where="", umask=None, extra_env=self._env, keep=False,
                on_full="block", quota_bytes=0, timeout_s=None, announce=False, archive=False,
            )
        )  # fmt: skip

    @property
    def batch_job(self) -> tuple[str, str]:
        return "", ""

    def find(self, step: str) -> Session | None:
        return None

    def on_left(self, session: Session) -> None:
        """The user's side said BYE: it has all, or hangs up."""
        if session.state == "ended":
            self.finish(session.code)
        elif session.state == "running":
            session.cancel()
        else:
            self.error = LinkLost("the user's side went away before anything was started")
            self.finish(125)

    def on_ended(self, session: Session) -> None:
        if not session.attachments or self.error is not None:
            self.finish(session.code if self.error is None else 255)
        elif self._attachment is not None and self._attachment.link is not None:
            self._reached_at = self.loop.clock()

    def on_stole(self, session: Session, attachment: Attachment) -> None: ...
    def on_started(self, session: Session) -> None: ...
    def on_watchers(self, session: Session) -> None: ...
    def on_visitor_left(self, session: Session, attachment: Attachment) -> None: ...
    def before_signal(self, session: Session) -> None: ...
    def on_phase(self, session: Session) -> None: ...

    def ask_token(self, session: Session) -> None: ...
    def on_withdrawn(self, session: Session) -> None: ...

    def make_workdir(self, session: Session) -> str:
        raise OSError(0, "there are no batch jobs here")

    def make_spool(self, session: Session, stream: int) -> Spool:
        raise OSError("no disk is used")

    def finish(self, status: int) -> None:
        if self.status is None:
            self.status = status

    def close(self) -> None:
        """Nothing of it is left, but for the program if that still runs."""
        self.finish(255)
        for timer in (self._again, self._deadline):
            if timer is not None:
                timer.cancel()
        if self._link is not None:
            self._link.close()
        self.session.forget()

    def signalled(self, number: int) -> None:
        """The batch system (or a person) wants us to end; warnings are passed on."""
        if number in (signal.SIGUSR1, signal.SIGUSR2):
            self.session.signal_all(number)
        elif self.session.state == "running":
            self.session.cancel()
        else:
            self.finish(128 + number)


# -------------------------------------------------------------------------------------- the command


def main(argv: list[str]) -> int:
    """``glogin -r ...``, from the agent's one file too; the exit status."""
    try:
        words = parse(argv)
        if words.help:
            print(USAGE, end="")  # noqa: T201  # a command line of its own
            return 0
        if not words.remote:
            raise UsageError("i2glogin: here only the remote end can be (-r)")
        return call(words)
    except GshellError as error:
        _complain(error)
        return error.exit_code


def call(words: Words) -> int:
    """Be the remote end.

    Raises:
        UsageError: no secret, and not told to do without.
    """
    key = key_from(words)
    env = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("GSHELL_")}
    loop = Loop()
    staged = env.pop(SECRET_FILE, "")
    far = FarEnd(loop, words, key, env)
    if not (words.keep or words.secret_file or words.insecure):
        far.burn = staged
    reads, writes = socket.socketpair()
    for end in (reads, writes):
        end.setblocking(False)
    signal.set_wakeup_fd(writes.fileno(), warn_on_full_buffer=False)
    for name in ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2"):
        signal.signal(getattr(signal, "SIG" + name), lambda number, frame: None)

    def woken(mask: int) -> None:
        for number in reads.recv(64):
            far.signalled(number)

    loop.add(reads.fileno(), IN, woken)
    far.start()
    while far.status is None:
        loop.once()
    if far.error is not None:
        _complain(far.error)
    return far.status


def key_from(words: Words) -> bytes:
    """The key of the secret that the job was given.

    Raises:
        UsageError: there is none.
    """
    if words.insecure:
        sys.stderr.write("i2glogin: --insecure: whoever answers there gets this session\n")
        return NO_KEY
    path = words.secret_file or os.environ.get(SECRET_FILE, "")
    if not path:
        raise UsageError(
            f"i2glogin: no secret: neither --secret-file nor ${SECRET_FILE}",
            hint="gshell submit stages it with the job; --insecure does without",
        )
    return read_key(path)


def read_key(path: str) -> bytes:
    """
    Raises:
        UsageError: it cannot be read.
        AuthError: it is no secret.
    """
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                sys.stderr.write(f"i2glogin: {sanitize(path)} can be read by others: chmod 600\n")
            return handshake.key_of(file.read(4096))
    except OSError as error:
        raise UsageError(f"i2glogin: cannot read the secret {path}: {error.strerror}") from None


def _complain(error: GshellError) -> None:
    text = "i2glogin: " + sanitize(error.message).removeprefix("i2glogin: ")
    hint = f"\n  try:  {sanitize(error.hint)}" if error.hint else ""
    try:
        sys.stderr.write(f"{text}{hint}\n")
    except OSError:
        pass  # its disk is full: the exit status must do
