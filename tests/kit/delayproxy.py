"""A TCP proxy that delays every byte, each way, as a long wire would. Knows not what it carries.

Run as a process of its own (``python delayproxy.py LISTEN_PORT TARGET_PORT ONE_WAY_MS``) or, from
a test, with ``with DelayProxy(target_port, one_way_s=0.025) as proxy: ... proxy.port``.

A real connection also pays for its handshake: the client may send one round trip after it dialled,
and the server sees the connection half a round trip later still. The kernel accepts at once here,
so both are made up for: the client's bytes are treated as sent one round trip after the accept at
the earliest, and the target is dialled only when the client's third packet would have arrived.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections import deque

READ_BYTES = 256 * 1024  # one read; loopback hands over at most about this much at once
QUEUE_BYTES = (
    64 * 1024 * 1024
)  # in flight per direction: 1 GB/s at 25 ms is 25 MB, so never the limit
HOST = "127.0.0.1"


class _Half:
    """One direction: bytes read from ``source``, due at ``sink`` one delay later, in order."""

    def __init__(self, source: socket.socket, sink: socket.socket, not_before: float) -> None:
        self.source = source
        self.sink = sink
        self.not_before = not_before  # what arrives earlier is treated as sent at this instant
        self.queue: deque[tuple[float, bytes]] = deque()  # (due, bytes); b"" is end of file
        self.queued = 0
        self.reading = True
        self.writing = True
        self.blocked = False  # the sink's buffer is full: wait for writability, not for a time

    def receive(self, now: float, delay_s: float) -> None:
        try:
            data = self.source.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # a reset arrives as an end of file: good enough for a measurement
        self.reading = bool(data)
        self.queue.append((max(now, self.not_before) + delay_s, data))
        self.queued += len(data)

    def send_due(self, now: float) -> None:
        self.blocked = False
        while self.queue and self.queue[0][0] <= now:
            due, data = self.queue.popleft()
            try:
                if not data:
                    self.sink.shutdown(socket.SHUT_WR)
                    self.writing = False
                    return
                sent = self.sink.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.reading = self.writing = False
                self.queue.clear()
                return
            self.queued -= sent
            if sent < len(data):
                self.queue.appendleft((due, data[sent:]))
                self.blocked = True
                return


class _Pair:
    """A client's connection and ours to the target; both directions, until both have ended."""

    def __init__(self, client: socket.socket, now: float, delay_s: float) -> None:
        self.client = client
        self.target = socket.socket()
        self.dial_at: float | None = now + 3 * delay_s
        for end in (self.client, self.target):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.halves = [
            _Half(self.client, self.target, now + 2 * delay_s),
            _Half(self.target, self.client, now),
        ]

    def dial(self, port: int) -> None:
        self.dial_at = None
        self.target.setblocking(True)  # loopback: accepted or refused at once
        try:
            self.target.connect((HOST, port))
        except OSError:
            for half in self.halves:
                half.reading = half.writing = False
        self.target.setblocking(False)

    @property
    def over(self) -> bool:
        return not any(half.writing for half in self.halves)

    def close(self) -> None:
        self.client.close()
        self.target.close()


def serve(listener: socket.socket, target_port: int, delay_s: float) -> None:
    """Carry connections from ``listener`` to ``target_port`` until the process is ended."""
    listener.setblocking(False)
    pairs: list[_Pair] = []
    while True:
        now = time.monotonic()
        deadlines = []
        readable: dict[int, _Half] = {}
        writable: dict[int, _Half] = {}
        for pair in list(pairs):
            if pair.dial_at is not None and pair.dial_at <= now:
                pair.dial(target_port)
            if pair.dial_at is not None:
                deadlines.append(pair.dial_at)
            for half in pair.halves:
                if pair.dial_at is None:
                    half.send_due(now)
                if (
                    half.reading
                    and half.queued < QUEUE_BYTES
                    and (pair.dial_at is None or half.source is pair.client)
                ):
                    readable[half.source.fileno()] = half
                if half.blocked:
                    writable[half.sink.fileno()] = half
                elif half.queue:
                    deadlines.append(half.queue[0][0])
            if pair.over:
                pair.close()
                pairs.remove(pair)
                for half in pair.halves:
                    readable = {fd: h for fd, h in readable.items() if h is not half}
                    writable = {fd: h for fd, h in writable.items() if h is not half}
        # select, not epoll: its time-out has microseconds, epoll's rounds up to milliseconds
        wait = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
        waiting = [listener.fileno(), *readable]
        ready, _, _ = select.select(waiting, list(writable), [], wait)
        now = time.monotonic()
        for fd in ready:
            if fd == listener.fileno():
                client, _ = listener.accept()
                pairs.append(_Pair(client, now, delay_s))
            else:
                readable[fd].receive(now, delay_s)


class DelayProxy:
    """The proxy as a process of its own, so that its work isn't done on the measurer's clock."""

    def __init__(self, target_port: int, one_way_s: float) -> None:
        self._listener = socket.create_server((HOST, 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.one_way_s = one_way_s
        self._target_port = target_port
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> DelayProxy:
        fd = self._listener.fileno()
        arguments = [str(self._target_port), str(self.one_way_s * 1000)]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", os.path.abspath(__file__), f"fd:{fd}", *arguments],
            pass_fds=[fd],
        )
        self._listener.close()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


def main(listen: str, target_port: str, one_way_ms: str) -> None:
    if listen.startswith("fd:"):
        listener = socket.socket(fileno=int(listen[3:]))
    else:
        listener = socket.create_server((HOST, int(listen)), backlog=128)
    serve(listener, int(target_port), float(one_way_ms) / 1000)


if __name__ == "__main__":
    main(*sys.argv[1:])
