"""A site's front end over ssh. The one module here that knows asyncssh.

The user's own keys, agent, ``~/.ssh/config`` (ProxyJump too) and known hosts count; nobody is ever
asked for anything. One connection is kept; its event loop has a thread of its own, so that it
answers the server's probes while nothing is asked of it.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import threading
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import asyncssh

from gshell import config
from gshell.model.sanitize import sanitize
from gshell.submitter.place import COMMAND_S, PlaceLost

CONNECT_S = 30.0  # through a jump host round the world, with its key agent
OPEN_S = 15.0
CLOSE_S = 3.0
KEEPALIVE_S = 30.0  # below the time-outs of common firewalls
WORDS = 300
_HOME = 'umask 077; d="${XDG_CACHE_HOME:-$HOME/.cache}/gshell"; mkdir -p "$d" && chmod 700 "$d"'
_ASK = _HOME + ' && printf "%s\\n%s\\n" "$d" "$(id -un)"'

T = TypeVar("T")


class There:
    """One front end; used by one thread."""

    def __init__(self, target: str) -> None:
        """``target``: ``[user@]host[:port]``, or a ``Host`` of the user's configuration.

        Raises:
            PlaceLost: it cannot be reached, or will not have us.
        """
        self.target = target
        user, at, rest = target.rpartition("@")
        host, colon, port = rest.rpartition(":")
        self._host = host if colon and port.isdigit() else rest
        self._options: dict[str, Any] = {}
        if at:
            self._options["username"] = user
        if colon and port.isdigit():
            self._options["port"] = int(port)
        self._login = False  # its batch system's commands are in a login shell's PATH only
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._live, name="ssh", daemon=True)
        self._thread.start()
        self._connection: asyncssh.SSHClientConnection | None = None
        try:
            code, out, err = self.run(["sh", "-c", _ASK])
            lines = out.decode("utf-8", "replace").splitlines()[-2:]
            if code or len(lines) != 2 or not lines[0].startswith("/"):
                why = _words(err) or "it has no shell for us"
                raise PlaceLost(f"{target}: {why}")
        except PlaceLost:
            self.close()
            raise
        self.home, self.user = lines

    def run(
        self,
        argv: Sequence[str],
        data: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout_s: float = COMMAND_S,
    ) -> tuple[int, bytes, bytes]:
        settings = {"LC_ALL": "C", **(env or {})}
        words = ["env", *(f"{name}={value}" for name, value in settings.items()), *argv]
        line = shlex.join(words)
        done = self._run(_by_login_shell(line) if self._login else line, data, timeout_s)
        if done[0] == 127 and not self._login and argv[0] not in ("sh", "test", "tail"):
            again = self._run(_by_login_shell(line), data, timeout_s)
            if again[0] != 127:
                self._login = True
                return again
        return done

    def _run(self, line: str, data: bytes, timeout_s: float) -> tuple[int, bytes, bytes]:
        process = self._wait(self._open(line), CONNECT_S + OPEN_S)
        done = self._wait(process.communicate(data), timeout_s)
        code = process.exit_status
        if code is None:
            signal = process.exit_signal
            if signal is None:
                raise PlaceLost(f"{self.target}: the connection was lost")
            code = 128
        return code, bytes(done[0] or b""), bytes(done[1] or b"")

    async def _open(self, line: str) -> asyncssh.SSHClientProcess[bytes]:
        """A process there; if the kept connection is dead, over a new one: nothing ran yet."""
        if self._connection is not None:
            try:
                return await asyncio.wait_for(self._start(line), OPEN_S)
            except (OSError, asyncssh.Error, TimeoutError):
                self._connection.abort()
                self._connection = None
        self._connection = await asyncio.wait_for(
            asyncssh.connect(
                self._host, config=_configuration(), keepalive_interval=KEEPALIVE_S,
                password=None, **self._options,
                preferred_auth=("gssapi-keyex", "gssapi-with-mic", "publickey"),
            ),
            CONNECT_S,
        )  # fmt: skip
        return await asyncio.wait_for(self._start(line), OPEN_S)

    async def _start(self, line: str) -> asyncssh.SSHClientProcess[bytes]:
        assert self._connection is not None
        return await self._connection.create_process(line, encoding=None)

    def _wait(self, what: Coroutine[Any, Any, T], timeout_s: float) -> T:
        future = asyncio.run_coroutine_threadsafe(what, self._loop)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            future.cancel()
            raise PlaceLost(f"{self.target} does not answer") from None
        except asyncssh.PermissionDenied:
            raise PlaceLost(
                f"{self.target} refuses our keys: `ssh {self.target} true` must work without "
                "a question (ssh-add, or IdentityFile in ~/.ssh/config)"
            ) from None
        except asyncssh.HostKeyNotVerifiable:
            raise PlaceLost(
                f"the host key of {self.target} is not known: once, by hand: ssh {self.target} true"
            ) from None
        except (OSError, asyncssh.Error, ValueError) as error:
            why = sanitize(str(error) or type(error).__name__, WORDS)
            if isinstance(error, OSError) and error.errno:
                why = os.strerror(error.errno)
            raise PlaceLost(f"cannot reach {self.target}: {why}") from None

    def _live(self) -> None:
        self._loop.run_forever()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            self._loop.run_until_complete(asyncio.wait(left))
        self._loop.close()

    async def _leave(self) -> None:
        if self._connection is not None:
            self._connection.abort()
            await self._connection.wait_closed()
            self._connection = None
        await asyncio.sleep(0)  # the transports' own last words

    def close(self) -> None:
        if not self._thread.is_alive():
            return
        try:
            asyncio.run_coroutine_threadsafe(self._leave(), self._loop).result(CLOSE_S)
        except (TimeoutError, OSError, asyncssh.Error):
            pass
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_S)


def _configuration() -> list[str]:
    """What `ssh` would read, in its order; the first word on each thing counts. asyncssh leaves
    out the system's part of it."""
    known = ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"]
    lines = ["Host *"]
    for name, files in (("User", known), ("Global", ["/etc/ssh/ssh_known_hosts"])):
        there = [path for path in map(os.path.expanduser, files) if os.access(path, os.R_OK)]
        if there:
            lines.append(f"  {name}KnownHostsFile " + " ".join(f'"{path}"' for path in there))
    usual = config.private_dir(config.cache_dir()) + "/ssh-usual"
    config.write_private(usual, "\n".join(lines) + "\n")
    files = [os.path.expanduser("~/.ssh/config"), "/etc/ssh/ssh_config"]
    return [*(path for path in files if os.access(path, os.R_OK)), usual]


def _by_login_shell(line: str) -> str:
    return f'exec "${{SHELL:-/bin/sh}}" -lc {shlex.quote(line)}'


def _words(err: bytes) -> str:
    return sanitize(err.decode("utf-8", "replace").strip().rpartition("\n")[2], WORDS)
