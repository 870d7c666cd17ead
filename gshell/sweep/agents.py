"""Processes on agents: no ssh at all. What waits at a site, or holds a job, starts them.

All conversations of this Python are in one thread, over the client's own loop. A process that was
begun is known to a guardian, which cancels what is left when this Python dies.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gshell import config
from gshell.errors import GshellError, UsageError
from gshell.sweep import conductor as conducting
from gshell.sweep.actions import ActionLifecycleHandler, Remote
from gshell.sweep.handlers import STDERR
from gshell.sweep.hosts import Host
from gshell.sweep.process import ProcessBase
from gshell.sweep.times import get_seconds

if TYPE_CHECKING:
    from gshell.client.programtalk import Exit, ProgramTalk

ANYWHERE = "*"
LIMIT = 256  # conversations at the same time: each is a connection
START_S = 90.0  # the private relay and agent make their keys
WANTS = {"site": "site", "requirements": "req", "rank": "rank", "memory": "memory",
         "walltime": "walltime", "lane": "lane"}  # fmt: skip
GUARDIAN = """
import subprocess, sys
mine = {}
for line in sys.stdin:
    sign, job = line.split()
    if sign == "+":
        mine[job] = True
    else:
        mine.pop(job, None)
if mine:
    subprocess.run([*sys.argv[1:], "cancel", *mine], stdin=subprocess.DEVNULL)
"""
"""Reads which jobs there are until its stdin ends, with this Python; then cancels what is left."""


class Agents:
    """The loop in a thread. Invariant: what it has is touched in its own thread; others leave word
    in ``_wishes``."""

    def __init__(self) -> None:
        from gshell.client.conversation import Dialler
        from gshell.client.programtalk import Questions
        from gshell.net.loop import IN, Loop

        self.pid = os.getpid()
        ticket = _ticket()
        self.loop = Loop()
        self.dialler = Dialler(self.loop, ticket)
        self.questions = Questions(self.dialler)
        self._wishes: deque[Callable[[], None]] = deque()
        self._asked: deque[Callable[[], None]] = deque()
        self._live = 0
        self._awake, self._waker = socket.socketpair()
        self._awake.setblocking(False)
        self._waker.setblocking(False)
        self.loop.add(self._awake.fileno(), IN, self._woken)
        self._guardian: subprocess.Popen[bytes] | None = None
        self.thread = threading.Thread(target=self._run, name="sweep-agents", daemon=True)
        self.thread.start()

    def soon(self, call: Callable[[], None]) -> None:
        """From any thread."""
        self._wishes.append(call)
        with contextlib.suppress(BlockingIOError):
            self._waker.send(b"!")

    def _run(self) -> None:
        from gshell.sweep.log import logger

        while True:
            try:
                self.loop.once()
            except Exception:  # one conversation's; the others go on
                logger.exception("in the agents' loop")

    def _woken(self, mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while len(self._awake.recv(4096)) == 4096:
                pass
        for _ in range(len(self._wishes)):
            self.loop.soon(self._wishes.popleft())

    # -- in its thread

    def enter(self, begin: Callable[[], None]) -> None:
        """``begin`` is called when there is room for one more; `leave` makes room."""
        if self._live < LIMIT:
            self._live += 1
            begin()
        else:
            self._asked.append(begin)

    def leave(self) -> None:
        if self._asked:
            self.loop.soon(self._asked.popleft())
        else:
            self._live -= 1

    def watch(self, sign: str, job: str) -> None:
        if self._guardian is None or self._guardian.poll() is not None:
            self._guardian = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", GUARDIAN, *config.entry()],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        assert self._guardian.stdin is not None
        with contextlib.suppress(OSError):
            self._guardian.stdin.write(f"{sign} {job}\n".encode())
            self._guardian.stdin.flush()


_agents: Agents | None = None
_lock = threading.Lock()


def running() -> Agents:
    """The one of this Python; a child by fork gets its own.

    Raises:
        GshellError: there is no relay, and none can be started.
    """
    global _agents
    with _lock:
        if _agents is None or _agents.pid != os.getpid():
            _agents = Agents()
        return _agents


def _ticket() -> Any:
    """Of the relay that is configured, or of the private one, which is started."""
    ticket = config.find_ticket()
    if ticket is not None:
        return ticket
    ticket = config.embedded_ticket()
    if ticket is None or not _answers(config.runtime_dir() + "/relay.sock"):
        done = subprocess.run(
            [*config.entry(), "run", "true"], stdin=subprocess.DEVNULL, capture_output=True,
            timeout=START_S,
        )  # fmt: skip
        ticket = config.embedded_ticket()
        if done.returncode or ticket is None:
            words = done.stderr.decode(errors="replace").strip().splitlines()
            raise GshellError(
                words[0].removeprefix("gshell: ") if words else "the private relay did not start",
                hint="gshell doctor",
            )
    return ticket


def _answers(path: str) -> bool:
    from gshell.net.address import unix_path

    with socket.socket(socket.AF_UNIX) as sock:
        try:
            with unix_path(path) as short:
                sock.connect(short)
        except OSError:
            return False
    return True


def place(where: Any) -> dict[str, Any]:
    """Fields of an opening, of one word: ``42`` or ``42.1``: beside that job (its member 1);
    ``site:NAME``; else an agent's id or host; None or ``*``: wherever there is room."""
    if isinstance(where, Host):
        where = where.address
    if where in (None, ANYWHERE, ""):
        return {}
    word = str(where)
    if word.startswith("site:"):
        return {"site": [word.removeprefix("site:")]}
    job, dot, index = word.partition(".")
    if job.isdigit() and (index.isdigit() or not dot):
        return {"beside": f"{job}.{index or 0}"}
    return {"agent": word}


def named(where: Any) -> Host | None:
    """What `place` knows by a name, as a host; None: anywhere."""
    host = where if isinstance(where, Host) else Host(str(where or ANYWHERE))
    return None if host.address == ANYWHERE else host


class AgentProcess(ProcessBase):
    """``cmd`` at an agent: a list of words, or a line for ``sh`` there.

    ``where``: see `place`; it waits until there is room, beside a job there always is. ``wants``:
    of the agent, where none is named: ``site`` (or several), ``requirements`` and ``rank``
    (ClassAd expressions), ``memory`` (bytes), ``walltime``. ``job`` and ``agent`` tell what it
    became. ``exit_code`` is its own; 255 when nobody knows (`stderr` says why).
    """

    def __init__(
        self,
        cmd: str | Sequence[str],
        where: Any = None,
        wants: Mapping[str, Any] | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        self.where = where
        self._request = {**place(where), **_wants(wants or {})}
        self._cwd, self._env = cwd, dict(env or {})
        super().__init__(cmd, **more)

    def _clear(self) -> None:
        super()._clear()
        self.host = named(self.where)
        self.job: str | None = None
        self.agent: str | None = None
        self._talk: ProgramTalk | None = None
        self._early: list[bytes | None] = []
        self._held = False
        self._counting = threading.Lock()
        self._written = self._read = 0
        """Bytes for its stdin; those that it has had."""
        self._room = threading.Event()
        """For more of them."""
        self._room.set()

    def _shown(self) -> str:
        return repr(self.cmd) if self.where is None else f"{self.cmd!r}, {self.where!r}"

    # ------------------------------------------------------------------------------------ its life

    def _begin(self) -> None:
        try:
            agents = running()
        except GshellError as error:
            raise ConnectionError(error.explained()) from None
        spec = self._spec()
        agents.soon(lambda: agents.enter(lambda: self._open(agents, spec)))

    def _spec(self) -> dict[str, Any]:
        from gshell.net.machine import machine_id

        words = ["/bin/sh", "-c", self.cmd] if isinstance(self.cmd, str) else list(self.cmd)
        umask = os.umask(0o077)
        os.umask(umask)
        here = os.getcwd()
        return {
            "argv": words, "shell": False, "env": dict(os.environ), "extra_env": self._env,
            "cwd": self._cwd, "home": here, "where": machine_id(), "umask": umask,
            "name": os.path.basename(words[0]),
            "keep": False, "archive": False,
        }  # fmt: skip

    def _open(self, agents: Agents, spec: dict[str, Any]) -> None:
        from gshell.client.programtalk import ProgramTalk

        if self._gone:
            agents.leave()
            return
        self._talk = ProgramTalk(agents.dialler, agents.questions, self, self._request, spec)
        if self._held:
            self._talk.hold(True)
        for data in self._early:
            self._talk.send(data)
        self._early.clear()
        self._talk.start()

    # -- of the talk, in the loop's thread

    def on_job(self, job: str, agent: str) -> None:
        if self.job is None:
            running().watch("+", job)
        self.job, self.agent = job, agent
        if self.host is None and agent:
            self.host = Host(agent)

    def on_bytes(self, channel: int, data: bytes) -> None:
        self._output(channel, data)

    def on_read(self, offset: int) -> None:
        with self._counting:
            self._read = offset
            if self._written - offset <= conducting.UNREAD // 2:
                self._room.set()

    def on_over(self, ended: Exit | GshellError) -> None:
        agents = running()
        if isinstance(ended, GshellError):
            self._output(STDERR, f"gshell: {ended.explained()}\n".encode())
            self._over(255)  # the guardian keeps it: it may run
        else:
            if self.job is not None:
                agents.watch("-", self.job)
            if ended.error:
                self._output(STDERR, f"gshell: {ended.error}\n".encode())
            self._over(ended.code, ended.signal)
        agents.leave()

    # ---------------------------------------------------------------------------- from any thread

    def _signal(self, number: int) -> None:
        name = signal.Signals(number).name.removeprefix("SIG")

        def tell() -> None:
            if self._talk is not None:
                self._talk.signal(name, number)
            elif number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP):
                self._over(128 + number, number)  # its turn had not come

        running().soon(tell)

    def _put(self, data: bytes | None) -> None:
        def put() -> None:
            if self._talk is not None:
                self._talk.send(data)
            else:
                self._early.append(data)

        agents = running()
        if threading.current_thread() is not agents.thread:
            self._room.wait()
        with self._counting:
            self._written += len(data or b"")
            if self._there and self._written - self._read > conducting.UNREAD:
                self._room.clear()
        agents.soon(put)

    def _pause(self, paused: bool) -> None:
        def hold() -> None:
            self._held = paused
            if self._talk is not None:
                self._talk.hold(paused)

        running().soon(hold)

    def _over(self, code: int | None, number: int | None = None) -> None:
        super()._over(code, number)
        with self._counting:
            self._room.set()  # nobody reads it any more: nobody waits for that


def _wants(wants: Mapping[str, Any]) -> dict[str, Any]:
    """In the relay's words.

    Raises:
        UsageError: nothing of the kind can be wanted.
    """
    asked = {}
    for name, value in wants.items():
        if name not in WANTS:
            raise UsageError(f"{name!r} cannot be wanted", hint="one of " + ", ".join(WANTS))
        if name == "site":
            value = [value] if isinstance(value, str) else list(value)
        elif name == "walltime":
            value = get_seconds(value)
        asked[WANTS[name]] = value
    return asked


class AgentRemote(Remote):
    """The same command at each of ``hosts``: agents, jobs, sites (`place`); a number: so many
    times, wherever there is room. ``wants``: as of an `AgentProcess`."""

    def __init__(
        self,
        cmd: str | Sequence[str],
        hosts: int | str | Host | Iterable[str | Host],
        wants: Mapping[str, Any] | None = None,
        process_args: Mapping[str, Any] | None = None,
        name: str | None = None,
        lifecycle_handlers: Iterable[ActionLifecycleHandler] | None = None,
    ) -> None:
        places = [ANYWHERE] * hosts if isinstance(hosts, int) else hosts
        args = {**(process_args or {}), **({"wants": dict(wants)} if wants else {})}
        super().__init__(cmd, places, None, args, name, lifecycle_handlers)

    def _process(
        self,
        cmd: str | Sequence[str],
        host: Host,
        connection_params: Mapping[str, Any] | None,
        process_args: dict[str, Any],
    ) -> ProcessBase:
        return AgentProcess(cmd, host, **process_args)
