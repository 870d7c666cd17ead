"""Processes on other hosts, over SSH: one connection a host, shared by all that is done there.

asyncssh has a loop of its own in one thread; its exceptions end here. Every remote process carries
a mark in its environment, `MARK`: so all of it is found when it has to be ended, children too, and
when this Python dies a guard on the other side ends what is left.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import os
import shlex
import signal
import threading
import uuid
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any

from gshell.errors import UsageError
from gshell.sweep import conductor as conducting
from gshell.sweep.handlers import STDERR, STDOUT
from gshell.sweep.hosts import Host, connection
from gshell.sweep.process import ProcessBase

MARK = "GSHELL_SWEEP"
OWNER = uuid.uuid4().hex[:16]
"""Of all marks of this Python."""
_numbers = itertools.count(1)
# By reading /proc, which a login may for its own processes. One grep reads all of them: many who
# look at the same time (many addresses of one host) must not keep it busy.
_FIND = (
    "for p in $(grep -l '{mark}={which}' /proc/[0-9]*/environ 2>/dev/null); do "
    "p=${{p%/environ}}; kill -{signal} ${{p#/proc/}} 2>/dev/null; done; true"
)
KEEPALIVE_S = 15.0
SESSIONS = 8  # of a connection: OpenSSH's MaxSessions is 10, one is the guard's, one may be closing
TRIES = 10  # to open one, where a server allows fewer; it is learnt what it allows


class _Line:
    """A connection, or one that is being made, and how many sessions it has."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        self.sessions = 0
        self.guard: asyncio.Task[None] | None = None

    @property
    def lost(self) -> bool:
        task = self.task
        return task.done() and bool(
            task.cancelled() or task.exception() or task.result().is_closed()
        )


class _Loop:
    """asyncio in a thread."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self.pool: dict[tuple[Any, ...], list[_Line]] = {}
        self.most: dict[tuple[Any, ...], int] = {}
        """Sessions of a connection, where that was learnt; 0: only one, and no guard."""
        self.jumps: dict[tuple[str, bool], _Line] = {}
        self.thread = threading.Thread(target=self._run, name="sweep-ssh", daemon=True)
        self.thread.start()
        self.limits: dict[int, asyncio.Semaphore] = {}

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def begin(self, work: Coroutine[Any, Any, None]) -> concurrent.futures.Future[None]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    @contextlib.asynccontextmanager
    async def session(self, host: Host, params: Mapping[str, Any]) -> AsyncIterator[Any]:
        """A connection to ``host`` on which one more session may be opened: made now or before.

        Raises:
            asyncssh.ChannelOpenError: it was refused there; the next time it may be elsewhere.
        """
        import asyncssh

        rewrite = params["host_rewrite_func"]
        address = rewrite(host.address) if rewrite else host.address
        key = (address, params["user"], params["port"], params["keyfile"])
        lines = self.pool.setdefault(key, [])
        lines[:] = [line for line in lines if not line.lost]
        most = max(1, self.most.get(key, SESSIONS))
        line = next((line for line in lines if line.sessions < most), None)
        if line is None:
            line = _Line(self.loop.create_task(self._connect(address, params)))
            lines.append(line)
        line.sessions += 1
        try:
            made = await asyncio.shield(line.task)
            if line.guard is None and self.most.get(key, SESSIONS):
                line.guard = self.loop.create_task(self._guard(made))
            yield made
        except asyncssh.ChannelOpenError:
            self.most[key] = min(self.most.get(key, SESSIONS), line.sessions - 1)
            if not self.most[key] and line.guard is not None:
                line.guard.cancel()
            raise
        finally:
            line.sessions -= 1

    async def _connect(self, address: str, params: Mapping[str, Any]) -> Any:
        import asyncssh

        limit = params["limit"]
        gate = self.limits.setdefault(limit, asyncio.Semaphore(limit))
        more: dict[str, Any] = {}
        if params["user"]:
            more["username"] = params["user"]
        if params["port"]:
            more["port"] = params["port"]
        if params["keyfile"]:
            more["client_keys"] = [_home(params["keyfile"])]
        if not params["check_host_key"]:
            more["known_hosts"] = None
        try:
            async with gate:
                found = await asyncssh.SSHClientConnectionOptions.construct(host=address, config=())
                if isinstance(found.tunnel, str):  # asyncssh would not tell it our parameters
                    more["tunnel"] = await self._through(found.tunnel, params)
                made = await asyncssh.connect(
                    address, connect_timeout=params["connect_timeout"],
                    keepalive_interval=KEEPALIVE_S, keepalive_count_max=4,
                    password_auth=False, kbdint_auth=False, **more,
                )  # fmt: skip
        except (asyncssh.Error, OSError, ValueError) as error:
            words = getattr(error, "reason", "") or str(error) or type(error).__name__
            raise ConnectionError(f"{address}: {words}") from None
        return made

    async def _through(self, jumps: str, params: Mapping[str, Any]) -> Any:
        """The connection to the last of ``jumps`` (``user@host:port,...``, ProxyJump's), which all
        hosts behind it share."""
        key = (jumps, bool(params["check_host_key"]))
        line = self.jumps.get(key)
        if line is None or line.lost:
            line = self.jumps[key] = _Line(self.loop.create_task(self._jump(jumps, params)))
        return await asyncio.shield(line.task)

    async def _jump(self, jumps: str, params: Mapping[str, Any]) -> Any:
        import asyncssh

        before, _, last = jumps.rpartition(",")
        user, _, place = last.rpartition("@")
        address, _, port = place.partition(":")
        more: dict[str, Any] = {"tunnel": await self._through(before, params)} if before else {}
        if user:
            more["username"] = user
        if port:
            more["port"] = int(port)
        if not params["check_host_key"]:
            more["known_hosts"] = None
        return await asyncssh.connect(
            address, connect_timeout=params["connect_timeout"],
            keepalive_interval=KEEPALIVE_S, keepalive_count_max=4,
            password_auth=False, kbdint_auth=False, **more,
        )  # fmt: skip

    async def _guard(self, made: Any) -> None:
        """What waits over there for the end of this connection, and then ends what is left."""
        import asyncssh

        kill = [_FIND.format(mark=MARK, which=OWNER, signal=one) for one in ("TERM", "KILL")]
        script = '[ "$(cat)" = leave ] && exit 0; '
        script += f"{kill[0]}; sleep 3; {kill[1]}"
        guard = None
        try:
            guard = await made.create_process(f"trap '' HUP; {script}", encoding=None)
            await guard.wait_closed()
        except (asyncssh.Error, OSError):
            pass
        finally:
            if guard is not None:  # told to make room, or there is nobody any more to be told
                with contextlib.suppress(OSError):
                    guard.stdin.write(b"leave")
                    guard.stdin.write_eof()
                guard.close()


_loop: _Loop | None = None
_lock = threading.Lock()


def _running() -> _Loop:
    global _loop
    with _lock:
        if _loop is None or _loop.pid != os.getpid():
            _loop = _Loop()
        return _loop


class _OverSsh(ProcessBase):
    """What uses a host's connection. Inherited: ``_work`` does it; ConnectionError and OSError end
    it as a process of status 255, as ssh's is."""

    def __init__(
        self,
        cmd: str | Sequence[str],
        host: str | Host,
        connection_params: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        self.host = Host(host)
        self.connection_params = connection_params
        self._params = connection(connection_params, self.host)
        self._task: concurrent.futures.Future[None] | None = None
        super().__init__(cmd, **more)

    def _begin(self) -> None:
        self._task = _running().begin(self._guarded())

    async def _guarded(self) -> None:
        try:
            import asyncssh
        except ImportError as error:
            self._failed(
                UsageError(f"no ssh without asyncssh: {error}", hint="pip install asyncssh")
            )
            return
        try:
            for tries in range(1, TRIES + 1):
                try:
                    async with _running().session(self.host, self._params) as made:
                        await self._work(made)
                    break
                except asyncssh.ChannelOpenError:
                    if tries == TRIES:
                        raise
                    await asyncio.sleep(0.02 * tries)
        except asyncio.CancelledError:
            self._over(128 + signal.SIGTERM, signal.SIGTERM)
            raise
        except (asyncssh.Error, OSError, EOFError) as error:
            words = getattr(error, "reason", "") or str(error) or type(error).__name__
            if not self._text[STDERR].ended:
                self._output(STDERR, f"ssh: {words}\n".encode())
            self._over(255)
        except Exception as error:
            self._failed(error)

    async def _work(self, made: Any) -> None:
        raise NotImplementedError

    def _signal(self, number: int) -> None:
        if self._task is not None:
            self._task.cancel()

    def _put(self, data: bytes | None) -> None:
        raise NotImplementedError

    def _shown(self) -> str:
        return f"{self.cmd!r}, {self.host!r}"


class SshProcess(_OverSsh):
    """``cmd`` on ``host``, read by the login's shell there. Its stdout and stderr come apart and as
    they are; ``exit_code`` is its own, 255 when there was no connection (`stderr` says why).

    ``connection_params``: see `hosts.default_connection_params`. ``pty``: it has a terminal.
    """

    def __init__(
        self,
        cmd: str | Sequence[str],
        host: str | Host,
        connection_params: Mapping[str, Any] | None = None,
        pty: bool | None = None,
        **more: Any,
    ) -> None:
        super().__init__(cmd, host, connection_params, **more)
        self.pty = self._params["pty"] if pty is None else pty
        self.remote_cmd = cmd if isinstance(cmd, str) else shlex.join(cmd)
        self._mark = f"{OWNER}.{next(_numbers)}."
        self._channel: Any = None
        self._waiting: list[bytes | None] = []
        self._by_program: conducting.Followed | None = None

    # ------------------------------------------------------------------- by a program like OpenSSH

    def _argv(self) -> list[str]:
        params = self._params
        program = params["ssh"]
        words = shlex.split(program) if isinstance(program, str) else list(program)
        if self.pty:
            words.append("-tt")
        words += ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={int(params['connect_timeout'])}"]
        if not params["check_host_key"]:
            words += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
            words += ["-o", "LogLevel=ERROR"]
        for option, name in (("-l", "user"), ("-i", "keyfile"), ("-p", "port")):
            if params[name]:
                words += [option, str(params[name])]
        rewrite = params["host_rewrite_func"]
        address = rewrite(self.host.address) if rewrite else self.host.address
        return [*words, *params["ssh_options"], "--", address, self.remote_cmd]

    def _begin(self) -> None:
        if self._params["ssh"] == "asyncssh":
            super()._begin()
            return
        spawned = conducting.spawn(self._argv(), os.environ, False)
        self.pid = spawned.pid
        self._by_program = conducting.Followed(spawned, self._output, self._program_ended)
        conducting.conductor().follow(self._by_program)

    def _program_ended(self, status: int) -> None:
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            self._over(128 + number, number)
        else:
            self._over(os.waitstatus_to_exitcode(status))

    # ------------------------------------------------------------------------------- by asyncssh

    async def _work(self, made: Any) -> None:
        import asyncssh

        over = asyncio.get_running_loop().create_future()
        process = self

        class Session(asyncssh.SSHClientSession[bytes]):
            code: int | None = None
            number: int | None = None

            def data_received(self, data: bytes, datatype: int | None) -> None:
                process._output(STDERR if datatype else STDOUT, data)

            def exit_status_received(self, status: int) -> None:
                self.code = status

            def exit_signal_received(
                self, name: str, core_dumped: bool, msg: str, lang: str
            ) -> None:
                self.number = getattr(signal, f"SIG{name}", None)
                self.code = 128 + (self.number or 0)

            def connection_lost(self, exc: Exception | None) -> None:
                if not over.done():
                    over.set_result(exc)

        session: Session
        self._channel, session = await made.create_session(
            Session, f"export {MARK}={self._mark}; {self.remote_cmd}",
            encoding=None, term_type=os.environ.get("TERM") or "vt100" if self.pty else None,
            term_size=(80, 24),
        )  # fmt: skip
        for data in self._waiting:
            self._write(data)
        self._waiting.clear()
        error = await over
        if session.code is None:
            words = getattr(error, "reason", "") or "the connection was lost"
            self._output(STDERR, f"ssh: {words}\n".encode())
        self._over(255 if session.code is None else session.code, session.number)

    def _write(self, data: bytes | None) -> None:
        try:
            if data is None:
                self._channel.write_eof()
            else:
                self._channel.write(data)
        except OSError:  # it reads no more
            self.write_error = True

    def _put(self, data: bytes | None) -> None:
        if self._by_program is not None:
            conducting.conductor().write(self._by_program, data)
            return

        def put() -> None:
            if self._channel is None:
                self._waiting.append(data)
            else:
                self._write(data)

        _running().loop.call_soon_threadsafe(put)

    def _signal(self, number: int) -> None:
        if self._by_program is not None:
            if self.pid is not None:
                conducting.signal_tree(self.pid, number)
            return
        _running().begin(self._signal_there(number))

    async def _signal_there(self, number: int) -> None:
        import asyncssh

        if self._channel is None:  # it has not begun
            if self._task is not None:
                self._task.cancel()
            return
        name = signal.Signals(number).name.removeprefix("SIG")
        find = _FIND.format(mark=MARK, which=self._mark.replace(".", r"\."), signal=name)
        try:
            for _ in range(TRIES):
                with contextlib.suppress(asyncssh.ChannelOpenError):
                    async with _running().session(self.host, self._params) as made:
                        await made.run(find)
                    break
        except (asyncssh.Error, OSError):
            self._channel.close()
        else:
            if number == signal.SIGKILL:
                self._channel.close()


class _Copy(_OverSsh):
    """Files over the host's connection."""

    def __init__(
        self, files: Sequence[str], place: str, host: str | Host,
        connection_params: Mapping[str, Any] | None = None, **more: Any,
    ) -> None:  # fmt: skip
        self.files, self.place = list(files), place
        super().__init__([*files, place], host, connection_params, **more)

    def _put(self, data: bytes | None) -> None:
        self.write_error = True

    def _complain(self, error: Exception) -> None:
        path = getattr(error, "srcpath", None) or getattr(error, "dstpath", None) or b""
        where = os.fsdecode(path) + ": " if path else ""
        words = getattr(error, "reason", "") or str(error)
        self._output(STDERR, f"{where}{words}\n".encode("utf-8", "surrogateescape"))


class PutProcess(_Copy):
    """Local files and directories to ``place`` on ``host``, with modes and times."""

    async def _work(self, made: Any) -> None:
        failed: list[Exception] = []
        async with made.start_sftp_client() as sftp:
            await sftp.put(
                [_home(one) for one in self.files], _there(self.place),
                preserve=True, recurse=True, follow_symlinks=True,
                error_handler=failed.append,
            )  # fmt: skip
        for error in failed:
            self._complain(error)
        self._over(1 if failed else 0)


class GetProcess(_Copy):
    """Files and directories of ``host``, by name or pattern, to ``place`` here."""

    async def _work(self, made: Any) -> None:
        failed: list[Exception] = []
        async with made.start_sftp_client() as sftp:
            await sftp.mget(
                [_there(one) for one in self.files], _home(self.place),
                preserve=True, recurse=True, follow_symlinks=True,
                error_handler=failed.append,
            )  # fmt: skip
        for error in failed:
            self._complain(error)
        self._over(1 if failed else 0)


def _home(path: str) -> str:
    return os.path.expanduser(path)


def _there(path: str) -> str:
    """A path over there: relative ones begin at the login's home, as ``~`` does."""
    if path == "~":
        return "."
    return path.removeprefix("~/")
