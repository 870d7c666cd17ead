"""The process: takes connections from the door, serves them, ends with the relay."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
from collections.abc import Callable

import asyncssh

from relay.ssh import server
from relay.ssh.joiner import Joiner

BACKLOG = 512
MESSAGE_BYTES = 4096
KNOWN = b"k"

_log = logging.getLogger("relay.ssh")


class Keys:
    """What the relay shows and believes: its host key with certificate, and the CA."""

    def __init__(self, host: bytes, cert: str, ca: str) -> None:
        self.host = asyncssh.import_private_key(host)
        self.cert = asyncssh.import_certificate(cert)
        self.ca = asyncssh.import_public_key(ca)


class SshDoor:
    """Invariant: every connection has its line to the door until somebody has logged in."""

    def __init__(self, path: str, keys: Keys, joiner: Joiner) -> None:
        self._keys = keys
        self._joiner = joiner
        self._tasks: set[asyncio.Task[None]] = set()
        try:
            os.unlink(path)  # of one before us, which has ended: we have the relay's lock
        except FileNotFoundError:
            pass
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.bind(path)
        self._listening.listen(BACKLOG)
        self._listening.setblocking(False)

    async def run(self, life: int, hang_up: Callable[[], None] = lambda: None) -> None:
        """Until TERM, or ``life`` closes. ``hang_up`` is called at SIGHUP."""
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, over.set)
        loop.add_signal_handler(signal.SIGHUP, hang_up)
        loop.add_reader(life, over.set)
        loop.add_reader(self._listening.fileno(), self._accept)
        await over.wait()
        loop.remove_reader(life)
        loop.remove_reader(self._listening.fileno())
        self._listening.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)

    def _accept(self) -> None:
        try:
            line, _ = self._listening.accept()
        except OSError:
            return
        line.setblocking(False)
        task = asyncio.ensure_future(self._take(line))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take(self, line: socket.socket) -> None:
        """The door has connected; what it passes on comes a moment later."""
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(line.fileno(), ready.set)
        try:
            await ready.wait()
            data, fds, _, _ = socket.recv_fds(line, MESSAGE_BYTES, 4)
        except OSError:
            data, fds = b"", []
        finally:
            loop.remove_reader(line.fileno())
        socks = [socket.socket(fileno=fd) for fd in fds]
        if len(socks) != 1:  # that was no door
            for sock in [*socks, line]:
                sock.close()
            return
        await self._serve(socks[0], line, str(json.loads(data).get("from")))

    async def _serve(self, sock: socket.socket, line: socket.socket, source: str) -> None:
        """``line``: to the door, as long as nobody has logged in."""
        loop = asyncio.get_running_loop()
        this = asyncio.current_task()
        assert this is not None

        def given_up() -> None:
            loop.remove_reader(line.fileno())
            this.cancel()

        def known() -> None:
            if line.fileno() >= 0:
                loop.remove_reader(line.fileno())
                try:
                    line.send(KNOWN)
                except OSError:
                    pass
                line.close()

        loop.add_reader(line.fileno(), given_up)
        sock.setblocking(False)
        try:
            options = await asyncssh.SSHServerConnectionOptions.construct(
                server_factory=lambda: server.Server(self._keys.ca, self._joiner, known),
                server_host_keys=[(self._keys.host, self._keys.cert)],
                encryption_algs=server.CIPHERS,
                compression_algs=None,
                login_timeout=server.LOGIN_S,
                keepalive_interval=server.ALIVE_S,
                keepalive_count_max=server.MISSED,
                agent_forwarding=False,
                allow_scp=False,
                gss_host=None,
                server_version="gshell-relay",
            )
            await server.serve(sock, options)
        except (OSError, asyncssh.Error, TimeoutError) as error:
            _log.info("%s: %s", source, str(error) or type(error).__name__)
        except asyncio.CancelledError:
            pass
        except Exception:
            _log.exception("%s: an SSH connection failed", source)
        finally:
            if line.fileno() >= 0:
                loop.remove_reader(line.fileno())
                line.close()
            sock.close()


def run(path: str, keys: Keys, joiner: Joiner, life: int, hang_up: Callable[[], None]) -> None:
    """The process's life."""
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    asyncio.run(SshDoor(path, keys, joiner).run(life, hang_up))
