"""Connections to hosts over SSH: one a host, shared by all that is done there, and more where a
server gives one of them few sessions.

asyncssh has a loop of its own in one thread. Each connection has a guard on the other side, which
ends what was begun on it when it is lost or this Python dies.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import os
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any

from gshell.sweep import sshmarks, sshopening
from gshell.sweep.hosts import Host

OWNER = uuid.uuid4().hex[:16]
"""Of all marks of this Python."""
_numbers = itertools.count(1)  # of connections
KEEPALIVE_S = 15.0
SESSIONS = 8  # of a connection: OpenSSH's MaxSessions is 10, one is the guard's, one may be closing
TOGETHER_S = 0.01  # what is started at once begins with its connections before asyncssh is loaded
BURST_S = 1.0  # so long guards wait while other connections are still being made
AFTER_S = 0.1  # ... and so long after that: what was begun on the last ones


class Line:
    """A connection, or one that is being made, and how many sessions it has."""

    def __init__(self, task: asyncio.Task[Any], place: Place) -> None:
        self.task = task
        task.add_done_callback(sshopening.looked_at)
        self.place = place
        self.sessions = 0
        self.guard: asyncio.Task[None] | None = None
        self.marks = [f"{OWNER}-{next(_numbers)}-"]
        """What begins so ends with it. The first is its own."""

    @property
    def made(self) -> Any:
        return self.task.result()

    @property
    def lost(self) -> bool:
        task = self.task
        return task.done() and bool(
            task.cancelled() or task.exception() or task.result().is_closed()
        )

    @property
    def mark(self) -> str:
        """With which marks of what is begun on it begin."""
        watch = self.place.watch
        return self.marks[0] if watch is None else watch.marks[0]


class Place:
    """A host, as somebody, and the connections there."""

    def __init__(self, address: str, params: Mapping[str, Any]) -> None:
        self.address, self.params = address, params
        self.lines: list[Line] = []
        self.most = SESSIONS
        """Sessions of a connection; fewer where that was learnt."""
        self.apart = False
        """There is no room for guards beside them: one has a connection of its own, `watch`."""
        self.watch: Line | None = None


class Lines:
    """All of them, and asyncio in a thread."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self.places: dict[tuple[Any, ...], Place] = {}
        self.jumps: dict[tuple[str, bool], Line] = {}
        self.limits: dict[int, asyncio.Semaphore] = {}
        self.making = 0
        """Connections."""
        self.knocks = sshopening.Knocks(self.loop)
        self.loaded: asyncio.Future[Any] | None = None
        self.unguarded: list[Line] = []
        self.burst: asyncio.TimerHandle | None = None
        self.thread = threading.Thread(target=self._run, name="sweep-ssh", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def begin(self, work: Coroutine[Any, Any, None]) -> concurrent.futures.Future[None]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    async def ready(self, host: Host, params: Mapping[str, Any]) -> None:
        """asyncssh is there. While it is being loaded, servers begin with what they do for a
        connection (if no configuration, which only asyncssh reads, might send us elsewhere).

        Raises:
            ImportError: it is not installed.
        """
        if "asyncssh" in sys.modules and self.loaded is None:
            return
        if not sshopening.configured() and not (self.loaded and self.loaded.done()):
            port = int(params["port"] or 22)
            self.knocks.knock(_address(host, params), port, params["limit"])
        if self.loaded is None:
            self.loaded = self.loop.create_task(self._load())
        await asyncio.shield(self.loaded)

    async def _load(self) -> Any:
        """In this thread: in another it would hold up all that is done here meanwhile."""
        await asyncio.sleep(TOGETHER_S)
        self.loop.call_later(sshopening.KNOCK_S, self.knocks.forget)
        return sshopening.library()

    @contextlib.asynccontextmanager
    async def session(self, host: Host, params: Mapping[str, Any]) -> AsyncIterator[Line]:
        """A connection to ``host`` on which one more session may be opened: made now or before.

        Raises:
            asyncssh.ChannelOpenError: it was refused there; the next time it may be elsewhere.
        """
        import asyncssh

        address = _address(host, params)
        key = (
            address, params["user"], params["port"], params["keyfile"],
            bool(params["check_host_key"]),
        )  # fmt: skip
        place = self.places.setdefault(key, Place(address, params))
        lines = place.lines
        lines[:] = [line for line in lines if not line.lost]
        line = next((line for line in lines if line.sessions < place.most), None)
        if line is None:
            line = Line(self.loop.create_task(self._connect(address, params)), place)
            lines.append(line)
        line.sessions += 1
        try:
            await asyncio.shield(line.task)
            if place.apart:
                self._watch(place)
            else:
                self._unguarded(line)
            yield line
        except asyncssh.ChannelOpenError as refused:
            if sshopening.may_be_elsewhere(refused) and not line.lost:
                place.most = min(place.most, max(1, line.sessions - 1))
                if line.sessions == 1 and line.guard is not None:
                    place.apart = True
                    line.guard.cancel()
                    self._watch(place)
            raise
        finally:
            line.sessions -= 1

    # ----------------------------------------------------------------------------------- guards

    def _unguarded(self, line: Line) -> None:
        """It is to have a guard, as soon as nobody waits for a connection: that is what a command
        on many hosts takes its time for, and the short ones are over by then."""
        if line.guard is not None or line in self.unguarded:
            return
        self.unguarded.append(line)
        if not self.making and len(self.unguarded) == 1:
            self._guards()
        elif self.burst is None:
            self._guards_after(BURST_S)

    def _guards_after(self, delay_s: float) -> None:
        if self.burst is not None:
            self.burst.cancel()
        self.burst = self.loop.call_later(delay_s, self._guards)

    def _guards(self) -> None:
        if self.burst is not None:
            self.burst.cancel()
            self.burst = None
        lines, self.unguarded = self.unguarded, []
        for line in lines:
            if line.sessions and not line.lost and line.guard is None and not line.place.apart:
                line.guard = self.loop.create_task(self._guard(line))

    def _watch(self, place: Place) -> None:
        """A connection of its own for the guard of all of them."""
        before = [place.watch] if place.watch is not None else []
        if before and not before[0].lost:
            return
        watch = Line(self.loop.create_task(self._connect(place.address, place.params)), place)
        watch.marks += [mark for line in [*before, *place.lines] for mark in line.marks]
        watch.guard = self.loop.create_task(self._guard(watch))
        place.watch = watch

    async def _guard(self, line: Line) -> None:
        """What waits over there for the end of this connection, and then ends what is left."""
        import asyncssh

        guard = None
        try:
            made = await asyncio.shield(line.task)
            guard = await made.create_process(sshmarks.guarding(line.marks), encoding=None)
            await guard.wait_closed()
        except asyncssh.ChannelOpenError as refused:
            if (
                sshopening.may_be_elsewhere(refused)
                and not line.lost
                and line is not line.place.watch
            ):
                line.place.most = min(line.place.most, max(1, line.sessions))
                line.place.apart = True
                self._watch(line.place)
        except (asyncssh.Error, OSError):
            pass
        finally:
            if guard is not None:  # told to make room, or there is nobody any more to be told
                with contextlib.suppress(OSError):
                    guard.stdin.write(b"leave\n")
                    guard.stdin.write_eof()
                guard.close()

    # ------------------------------------------------------------------------------ connections

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
            more["client_keys"] = [sshopening.home(params["keyfile"])]
        if not params["check_host_key"]:
            more["known_hosts"] = None
        self.making += 1
        try:
            async with gate:
                said: Mapping[str, Any] = {}
                if sshopening.configured():
                    found = await asyncssh.SSHClientConnectionOptions.construct(
                        host=address, config=()
                    )
                    said = {
                        "kex_algs": found.config.get("KexAlgorithms"),
                        "encryption_algs": found.config.get("Ciphers"),
                    }
                    if isinstance(found.tunnel, str):  # asyncssh would not tell it our parameters
                        more["tunnel"] = await self._through(found.tunnel, params)
                elif sock := await self.knocks.taken(
                    address, int(params["port"] or 22), params["connect_timeout"]
                ):
                    more["sock"] = sock
                made = await asyncssh.connect(
                    address, connect_timeout=params["connect_timeout"],
                    keepalive_interval=KEEPALIVE_S, keepalive_count_max=4,
                    password_auth=False, kbdint_auth=False, **sshopening.quick(said), **more,
                )  # fmt: skip
        except (asyncssh.Error, OSError, ValueError) as error:
            words = getattr(error, "reason", "") or str(error) or type(error).__name__
            raise ConnectionError(f"{address}: {words}") from None
        finally:
            self.making -= 1
            if not self.making and self.unguarded:
                self._guards_after(AFTER_S if len(self.unguarded) > 1 else 0.0)
        return made

    async def _through(self, jumps: str, params: Mapping[str, Any]) -> Any:
        """The connection to the last of ``jumps`` (``user@host:port,...``, ProxyJump's), which all
        hosts behind it share."""
        key = (jumps, bool(params["check_host_key"]))
        line = self.jumps.get(key)
        if line is None or line.lost:
            line = self.jumps[key] = Line(
                self.loop.create_task(self._jump(jumps, params)), Place(jumps, params)
            )
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


_lines: Lines | None = None
_lock = threading.Lock()


def lines() -> Lines:
    """Those of this Python."""
    global _lines
    with _lock:
        if _lines is None or _lines.pid != os.getpid():
            _lines = Lines()
        return _lines


def _address(host: Host, params: Mapping[str, Any]) -> str:
    rewrite = params["host_rewrite_func"]
    return str(rewrite(host.address) if rewrite else host.address)
