"""The process that speaks SSH: connections that are passed to it, early, late, and not at all."""

import asyncio
import json
import os
import signal
import socket

import pytest

asyncssh = pytest.importorskip("asyncssh")

from relay import sshca  # noqa: E402
from relay.ssh.joiner import Joiner  # noqa: E402
from relay.ssh.main import Keys, SshDoor  # noqa: E402

NOW = 1_800_000_000.0
WAIT_S = 30.0


def served(tmp_path, act):
    """What ``act(connect)`` returns, with the process's loop at work."""

    async def run():
        ca = sshca.Authority(str(tmp_path))
        host, signed = ca.relay(["gshell-relay"], NOW)
        path = f"{tmp_path}/ssh"
        door = SshDoor(path, Keys(host, signed.cert, ca.public), Joiner("127.0.0.1:1", b"0" * 32))
        life, ours = os.pipe()
        task = asyncio.ensure_future(door.run(life))
        await asyncio.sleep(0)  # so that it has begun
        try:
            async with asyncio.timeout(WAIT_S):
                return await asyncio.to_thread(act, lambda: connected(path))
        finally:
            os.close(ours)
            await task
            os.close(life)

    return asyncio.run(run())


def connected(path):
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line.settimeout(WAIT_S)
    line.connect(path)
    return line


def pass_on(line):
    """A connection, as the door passes it; our end of it."""
    near, far = socket.socketpair()
    near.settimeout(WAIT_S)
    socket.send_fds(line, [json.dumps({"from": "x"}).encode()], [far.fileno()])
    far.close()
    return near


def test_a_connection_may_be_passed_long_after_the_door_has_connected(tmp_path):
    def act(connect):
        lines = [connect() for _ in range(3)]
        # Who is answered came later than the others: those were accepted.
        with connect() as other, pass_on(other) as sock:
            assert sock.recv(8) == b"SSH-2.0-"
        for line in lines:
            with line, pass_on(line) as sock:
                assert sock.recv(8) == b"SSH-2.0-"

    served(tmp_path, act)


def test_the_door_s_closing_of_the_line_ends_a_connection_that_nobody_has_logged_in_on(tmp_path):
    def act(connect):
        line = connect()
        with pass_on(line) as sock:
            assert sock.recv(8) == b"SSH-2.0-"
            line.close()
            while sock.recv(1000):
                pass

    served(tmp_path, act)


def test_the_end_of_a_connection_ends_its_line(tmp_path):
    def act(connect):
        with connect() as line:
            pass_on(line).close()
            assert line.recv(10) == b""

    served(tmp_path, act)


def test_hanging_up_is_for_its_log_and_ends_nothing(tmp_path):
    async def run():
        ca = sshca.Authority(str(tmp_path))
        host, signed = ca.relay(["gshell-relay"], NOW)
        keys = Keys(host, signed.cert, ca.public)
        door = SshDoor(f"{tmp_path}/ssh", keys, Joiner("127.0.0.1:1", b"0" * 32))
        life, ours = os.pipe()
        hung_up = asyncio.Event()
        task = asyncio.ensure_future(door.run(life, hung_up.set))
        await asyncio.sleep(0)  # so that it listens for the signal
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(WAIT_S):
            await hung_up.wait()
            assert not task.done()
            os.close(ours)
            await task
        os.close(life)

    asyncio.run(run())


def test_a_line_on_which_nothing_is_passed_is_closed(tmp_path):
    def act(connect):
        with connect() as line:
            line.send(b"{}")
            assert line.recv(10) == b""

    served(tmp_path, act)
