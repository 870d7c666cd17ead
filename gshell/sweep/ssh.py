"""Processes and files on other hosts, over SSH: see `sshlines` for the connections, `sshmarks` for
how all that one has begun is found when it has to be ended."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import os
import shlex
import signal
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from gshell.errors import UsageError
from gshell.sweep import conductor as conducting
from gshell.sweep import sshlines, sshmarks, sshopening
from gshell.sweep.handlers import STDERR, STDOUT
from gshell.sweep.hosts import Host, connection
from gshell.sweep.process import UNENDING, ProcessBase
from gshell.sweep.proctree import signal_tree
from gshell.sweep.sshlines import OWNER
from gshell.sweep.sshmarks import MARK
from gshell.sweep.sshopening import home

__all__ = ["MARK", "OWNER", "GetProcess", "PutProcess", "SshProcess"]
_numbers = itertools.count(1)
TRIES = 10  # to open a session, where a server allows fewer; it is learnt what it allows
CLOSING_S = 1.0


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
        self._task = sshlines.lines().begin(self._guarded())

    async def _guarded(self) -> None:
        try:
            await sshlines.lines().ready(self.host, self._params)
            import asyncssh
        except ImportError as error:
            self._failed(
                UsageError(f"no ssh without asyncssh: {error}", hint="pip install asyncssh")
            )
            return
        try:
            for tries in range(1, TRIES + 1):
                try:
                    async with sshlines.lines().session(self.host, self._params) as line:
                        await self._work(line)
                    break
                except asyncssh.ChannelOpenError as refused:
                    if tries == TRIES or not sshopening.may_be_elsewhere(refused):
                        raise
                    await asyncio.sleep(0.02 * tries)  # for a session to end: no server says when
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

    async def _work(self, line: sshlines.Line) -> None:
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
    ``shell``, ``kill_subprocesses``: for who has them for all processes; they change nothing.
    """

    def __init__(
        self,
        cmd: str | Sequence[str],
        host: str | Host,
        connection_params: Mapping[str, Any] | None = None,
        pty: bool | None = None,
        shell: bool | None = None,
        kill_subprocesses: bool | None = None,
        **more: Any,
    ) -> None:
        super().__init__(cmd, host, connection_params, **more)
        self.pty = self._params["pty"] if pty is None else pty
        self.remote_cmd = cmd if isinstance(cmd, str) else shlex.join(cmd)

    def _clear(self) -> None:
        super()._clear()
        self._mark = ""
        """What all that it begins is found by; empty: it has not begun."""
        self._channel: Any = None
        self._waiting: list[bytes | None] = []
        self._asked: list[int] = []
        """Signals for what is just beginning."""
        self._ended_by: int | None = None
        self._room = threading.Event()
        """It reads, so that more may be written."""
        self._room.set()
        self._paused = False
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
        options = params["ssh_options"]
        words += shlex.split(options) if isinstance(options, str) else options
        return [*words, "--", address, self.remote_cmd]

    def _begin(self) -> None:
        if self._params["ssh"] == "asyncssh":
            super()._begin()
            return
        spawned = conducting.conductor().spawn(self._argv(), os.environ, False)
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

    async def _work(self, line: sshlines.Line) -> None:
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

            def pause_writing(self) -> None:
                process._room.clear()

            def resume_writing(self) -> None:
                process._room.set()

            def connection_lost(self, exc: Exception | None) -> None:
                process._room.set()
                if not over.done():
                    over.set_result(exc)

        self._mark = f"{line.mark}{next(_numbers)}-"
        session: Session
        try:
            self._channel, session = await line.made.create_session(
                Session, sshmarks.marked(self.remote_cmd, self._mark),
                encoding=None, term_type=os.environ.get("TERM") or "vt100" if self.pty else None,
                term_size=(80, 24),
            )  # fmt: skip
        except asyncssh.ChannelOpenError:
            self._mark = ""
            raise
        for data in self._waiting:
            self._write(data)
        self._waiting.clear()
        for number in self._asked:
            sshlines.lines().begin(self._signal_there(number))
        error = await over
        code: int | None = session.code
        by: int | None = session.number
        if code is None and self._ended_by is not None:
            code, by = 128 + self._ended_by, self._ended_by
        elif code is None:
            words = getattr(error, "reason", "") or "the connection was lost"
            self._output(STDERR, f"ssh: {self.host.address}: {words}\n".encode())
            if line.guard is None:  # nobody else ends what is left there
                sshlines.lines().begin(self._signal_there(signal.SIGTERM))
        self._over(255 if code is None else code, by)

    def _write(self, data: bytes | None) -> None:
        try:
            if data is None:
                self._channel.write_eof()
            else:
                self._channel.write(data)
        except OSError:  # it reads no more
            self._write_failed()

    def _put(self, data: bytes | None) -> None:
        if self._by_program is not None:
            conducting.conductor().write(self._by_program, data)
            return

        def put() -> None:
            if self._channel is None:
                self._waiting.append(data)
            else:
                self._write(data)

        lines = sshlines.lines()
        if threading.current_thread() is not lines.thread:
            self._room.wait()
        lines.loop.call_soon_threadsafe(put)

    def _pause(self, paused: bool) -> None:
        if self._by_program is not None:
            conducting.conductor().pause(self._by_program, paused)
            return

        def pause() -> None:
            self._paused = paused
            if self._channel is not None:
                (self._channel.pause_reading if paused else self._channel.resume_reading)()

        sshlines.lines().loop.call_soon_threadsafe(pause)

    def _signal(self, number: int) -> None:
        if self._by_program is not None:
            if self.pid is not None:
                signal_tree(self.pid, number)
            return
        sshlines.lines().begin(self._signal_there(number))

    async def _signal_there(self, number: int) -> None:
        import asyncssh

        if self._channel is None and self._mark and number != signal.SIGKILL:
            self._asked.append(number)  # it may be on its way
            return
        if self._channel is None and self._task is not None and number not in UNENDING:
            self._task.cancel()
        if not self._mark or not number:
            return
        end = sshmarks.ending(self._mark, signal.Signals(number).name.removeprefix("SIG"))
        try:
            for tries in range(1, TRIES + 1):
                try:
                    async with sshlines.lines().session(self.host, self._params) as line:
                        await line.made.run(end, encoding=None, stdin=asyncssh.DEVNULL)
                    break
                except asyncssh.ChannelOpenError:
                    if tries == TRIES:
                        raise
                    await asyncio.sleep(0.02 * tries)  # for a session to end: no server says when
        except (asyncssh.Error, OSError):
            self._close(number)
        else:
            if number == signal.SIGKILL:  # its status is on its way, or somebody holds its output
                asyncio.get_running_loop().call_later(CLOSING_S, self._close, number)

    def _close(self, number: int) -> None:
        if self._channel is not None:
            self._ended_by = number
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


def _absent(files: Sequence[str]) -> list[str]:
    return [one for one in files if not os.path.lexists(home(one))]


class PutProcess(_Copy):
    """Local files and directories to ``place`` on ``host``, with modes and times."""

    async def _work(self, line: sshlines.Line) -> None:
        absent = _absent(self.files)
        if absent:
            self._output(STDERR, f"no such file here: {', '.join(absent)}\n".encode())
            self._over(1)
            return
        failed: list[Exception] = []
        async with line.made.start_sftp_client() as sftp:
            await sftp.put(
                [home(one) for one in self.files], _there(self.place),
                preserve=True, recurse=True, follow_symlinks=True,
                error_handler=failed.append,
            )  # fmt: skip
        for error in failed:
            self._complain(error)
        self._over(1 if failed else 0)


class GetProcess(_Copy):
    """Files and directories of ``host``, by name or pattern, to ``place`` here."""

    async def _work(self, line: sshlines.Line) -> None:
        failed: list[Exception] = []
        async with line.made.start_sftp_client() as sftp:
            await sftp.mget(
                [_there(one) for one in self.files], home(self.place),
                preserve=True, recurse=True, follow_symlinks=True,
                error_handler=failed.append,
            )  # fmt: skip
        for error in failed:
            self._complain(error)
        self._over(1 if failed else 0)


def _there(path: str) -> str:
    """A path over there: relative ones begin at the login's home, as ``~`` does."""
    if path == "~":
        return "."
    return path.removeprefix("~/")
