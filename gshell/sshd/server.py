"""One SSH connection, served in the user's account. Who may log in was said by the agent."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import socket
from collections.abc import Callable
from typing import Any

import asyncssh

from gshell.sshd.programs import Program, Shells

LOGIN_S = 20.0
ALIVE_S = 60.0  # so often the other side is asked for a sign of life while it is silent
MISSED = 5
WINDOW_BYTES = 1 << 22  # of a channel: a long fat way is filled
# The others of usual clients cost several times as much here: their work is done in Python.
CIPHERS = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"]

# OpenSSH's clients say what they know beyond the standard to who is called so: among it that nobody
# reads any more (`ssh job42 yes | head`), which we understand.
VERSION = "OpenSSH_9.0_gshell"

Tell = Callable[[dict[str, Any]], None]


class Keys:
    """The host key of this server, which nobody else ever has."""

    def __init__(self) -> None:
        self.host = asyncssh.generate_private_key("ssh-ed25519")
        self.public = self.host.export_public_key().decode().strip()


def serve(sock: socket.socket, keys: Keys, said: dict[str, Any], tell: Tell) -> None:
    """Until the connection is over. ``said``: the agent's message (see agent/sshdoor.py)."""
    asyncio.run(_serve(sock, keys, said, tell))


async def _serve(sock: socket.socket, keys: Keys, said: dict[str, Any], tell: Tell) -> None:
    sock.setblocking(False)
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    certificate = asyncssh.import_certificate(said["cert"])
    # Any login name will do: the account is the agent's, the person is in the certificate.
    entry = f'cert-authority,principals="{said["user"]}" {said["ca"]}'
    shells = Shells(_environment(said), int(said.get("beside") or 0), tell)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCHLD, shells.reap)
    conn = await asyncssh.run_server(
        sock,
        server_factory=lambda: Server(shells),
        server_host_keys=[(keys.host, certificate)],
        authorized_client_keys=asyncssh.import_authorized_keys(entry),
        encryption_algs=CIPHERS,
        compression_algs=None,
        login_timeout=LOGIN_S,
        keepalive_interval=ALIVE_S,
        keepalive_count_max=MISSED,
        agent_forwarding=True,  # where the certificate permits it
        x11_forwarding=False,
        allow_scp=False,
        line_editor=False,
        encoding=None,
        gss_host=None,
        server_version=VERSION,
        process_factory=None,
    )
    loop.add_signal_handler(signal.SIGTERM, conn.abort)
    await conn.wait_closed()
    shells.hang_up()


def plain(conn: Any) -> None:
    """Leave out the empty packet that asyncssh sends before each one: it is for ciphers which this
    server does not offer, and costs as much as the packet itself."""
    send = conn.send_packet

    def send_packet(pkttype: int, *args: Any, **more: Any) -> None:
        if pkttype != asyncssh.constants.MSG_IGNORE:
            send(pkttype, *args, **more)

    conn.send_packet = send_packet


class Server(asyncssh.SSHServer):
    """What a logged-in user may: all that their account may, but for X11."""

    def __init__(self, shells: Shells) -> None:
        self._shells = shells

    def connection_made(self, conn: Any) -> None:
        plain(conn)

    def begin_auth(self, username: str) -> bool:
        return True

    def session_requested(self) -> asyncssh.SSHServerSession[bytes]:
        return Program(self._shells)

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> bool:
        return True

    def unix_connection_requested(self, dest_path: str) -> bool:
        return True

    def server_requested(self, listen_host: str, listen_port: int) -> bool:
        return True

    def unix_server_requested(self, listen_path: str) -> bool:
        return True


def _environment(said: dict[str, Any]) -> dict[str, str]:
    """Of programs: the agent's, as for a client from elsewhere, and what says where they are."""
    env = {name: text for name, text in os.environ.items() if not name.startswith("GSHELL_")}
    for name in ("TERM", "LINES", "COLUMNS", "SSH_TTY", "SSH_AUTH_SOCK"):
        env.pop(name, None)
    try:
        user = pwd.getpwuid(os.getuid())
    except KeyError:
        pass  # a container's user need not be in its /etc/passwd
    else:
        env.update(USER=user.pw_name, LOGNAME=user.pw_name)
        env.setdefault("HOME", user.pw_dir)
        env.setdefault("SHELL", user.pw_shell)
    if not env.get("SHELL"):
        env["SHELL"] = "/bin/sh"
    env.setdefault("PATH", os.defpath)
    env["SSH_CLIENT"] = "127.0.0.1 0 22"  # who looks for it wants to know that it is remote
    env["SSH_CONNECTION"] = "127.0.0.1 0 127.0.0.1 22"
    env.update(said.get("env") or {})
    return env
