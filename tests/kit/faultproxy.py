"""A TCP proxy that breaks what passes through it, by a seeded plan or by hand.

Says where a cut fell (`tlsrecords`); knows nothing of what passes.

::

    with FaultProxy(relay, "client-door", plan=Plans(seed, 200, mean_bytes=1_000_000)) as proxy:
        ...                       # dial proxy.address
        proxy.cut()               # or break things by hand: cut, hole, refuse
    proxy.cuts                    # what was broken, where and when
    proxy.connections             # with record=True: every byte that passed

Runs in a thread of its own; what is asked of it from outside is done there.
"""

from __future__ import annotations

import os
import random
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from kit.cuts import Connection, Cut
from kit.faultplan import PIECES_BYTES, Fault, Plan, Plans
from kit.threadloop import ThreadLoop
from kit.tlsrecords import Records

READ_BYTES = 1 << 18
UP, DOWN = "up", "down"  # towards the target, and back
_RST = struct.pack("ii", 1, 0)  # SO_LINGER: a close that resets


class Way(NamedTuple):
    """A long or a narrow way; what is sent arrives in order."""

    delay_s: float = 0.0
    """Each direction."""
    jitter_s: float = 0.0
    """Up to so much more."""
    rate: float = 0.0
    """Bytes a second of each connection and direction; 0: as fast as it goes."""
    seed: int = 0
    shared: bool = False
    """``rate`` is of all connections together, each direction."""


WAY_BYTES = 1 << 20  # on the way at once; then the sender waits


class _Side:
    """One socket of a pair, and what waits to be written to it."""

    __slots__ = ("due", "eof", "late", "late_bytes", "mask", "name", "other", "pending", "records",
                 "sock")  # fmt: skip

    other: _Side

    def __init__(self, sock: socket.socket, name: str) -> None:
        self.sock = sock
        self.name = name  # of the direction that is read here
        self.pending = b""
        self.late: deque[tuple[float, bytes]] = deque()  # on its way, with the time of arrival
        self.late_bytes = 0
        self.due = 0.0  # when the last of these arrives
        self.eof = False
        self.mask = 0
        self.records: Records | None = None


class _Pair:
    __slots__ = ("client", "connection", "dead", "fault", "frozen", "target")

    def __init__(
        self,
        client: socket.socket,
        target: socket.socket,
        connection: Connection,
        fault: Fault | None,
    ) -> None:
        self.client = _Side(client, UP)
        self.target = _Side(target, DOWN)
        self.client.other, self.target.other = self.target, self.client
        self.connection = connection
        self.fault = fault
        self.frozen = False
        self.dead = False


class FaultProxy:
    """Listens on ``address`` from construction on; breaks by plan, and by hand."""

    def __init__(
        self,
        target: str,
        leg: str = "leg",
        plan: Plan | None = None,
        listen: str = "127.0.0.1:0",
        record: bool = False,
        carrying_bytes: int = 1 << 13,
        tap: Callable[[Connection, str, bytes], None] = lambda connection, direction, data: None,
        way: Way | None = None,
    ) -> None:
        """``tap`` sees what came before it is handed on; it may take its time. ``way``: how long
        that takes."""
        self.leg = leg
        self.cuts: list[Cut] = []
        self.connections: list[Connection] = []
        self.plan = plan
        self._target = target
        self._record = record
        self._tap = tap
        self._way = way
        self._luck = random.Random(way.seed if way is not None else 0)
        self._busy: dict[str, float] = {}  # by direction: until when the way is taken
        self._carrying = carrying_bytes
        self._pairs: set[_Pair] = set()
        self._loop = ThreadLoop(f"faultproxy {leg}")
        self._listen_at = listen
        self._listener: socket.socket | None = None
        self._listen()

    @property
    def address(self) -> str:
        return self._listen_at

    def __enter__(self) -> FaultProxy:
        self._loop.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.ask(self._stop)
        self._loop.end()

    # ------------------------------------------------------------------------------- from outside

    def calm(self) -> None:
        """No faults any more: for those connections that are, and those to come."""

        def do() -> None:
            self.plan = None
            for pair in self._pairs:
                pair.fault = None

        self._loop.ask(do)

    def begin(self, plan: Plan) -> None:
        """Faults from now on, for the connections that are as for those to come."""

        def do() -> None:
            self.plan = plan
            for pair in self._pairs:
                fault = plan(pair.connection.number)
                if fault is not None:
                    fault = fault._replace(after=fault.after + pair.connection.passed)
                pair.fault = fault

        self._loop.ask(do)

    def arm(self, fault: Fault, kind: str = "") -> None:
        """This to every connection (of that kind) there is, so many bytes from now; not to those
        that have one before them already."""

        def do() -> None:
            for pair in self._pairs:
                if pair.fault is None and (not kind or pair.connection.kind == kind):
                    pair.fault = fault._replace(after=fault.after + pair.connection.passed)

        self._loop.ask(do)

    def cut(self, how: str = "fin", kind: str = "") -> int:
        """Break every connection (of that kind) now; how many."""
        done: list[int] = []

        def do() -> None:
            pairs = [p for p in self._pairs if not kind or p.connection.kind == kind]
            for pair in pairs:
                self._break(pair, how)
            done.append(len(pairs))

        self._loop.ask(do)
        return done[0]

    def hole(self, kind: str = "") -> None:
        """What there is becomes a black hole: no byte, no end, in neither direction."""

        def do() -> None:
            for pair in self._pairs:
                if not kind or pair.connection.kind == kind:
                    self._freeze(pair)

        self._loop.ask(do)

    def refuse(self, on: bool) -> None:
        """Whether who dials is refused."""

        def do() -> None:
            if on and self._listener is not None:
                self._loop.drop(self._listener.fileno())
                self._listener.close()
                self._listener = None
            elif not on and self._listener is None:
                self._listen()

        self._loop.ask(do)

    def open_now(self, kind: str = "") -> int:
        """Connections that are."""
        return sum(1 for p in list(self._pairs) if not kind or p.connection.kind == kind)

    # ----------------------------------------------------------------------- connections

    def _stop(self) -> None:
        for pair in list(self._pairs):
            self._close(pair, "rst", "rst")
        if self._listener is not None:
            self._listener.close()
            if self._listen_at.startswith("unix:"):
                os.unlink(self._listen_at[5:])

    def _want(self, side: _Side, pair: _Pair) -> None:
        """Read where the other side has room; write where something waits. Not registered for
        nothing: a hang-up would be told for ever."""
        room = not side.other.pending and side.other.late_bytes < WAY_BYTES
        reading = not side.eof and room and not pair.frozen
        writing = bool(side.pending) and not pair.frozen
        mask = (select.EPOLLIN if reading else 0) | (select.EPOLLOUT if writing else 0)
        if mask == side.mask:
            return
        fd = side.sock.fileno()
        if not side.mask:
            self._loop.add(fd, lambda mask: self._event(pair, side, mask), mask)
        elif mask:
            self._loop.modify(fd, mask)
        else:
            self._loop.drop(fd)
        side.mask = mask

    def _listen(self) -> None:
        where = self._listen_at
        if where.startswith("unix:"):
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(where[5:])
        else:
            host, _, port = where.rpartition(":")
            self._listener = socket.socket()
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind((host, int(port)))
            self._listen_at = f"{host}:{self._listener.getsockname()[1]}"
        self._listener.listen(128)
        self._listener.setblocking(False)
        self._loop.add(self._listener.fileno(), lambda mask: self._accept())

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        if self._target.startswith("unix:"):
            target = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            where: object = self._target[5:]
        else:
            target = socket.socket()
            host, _, port = self._target.rpartition(":")
            where = (host, int(port))
        try:
            target.connect(where)  # type: ignore[arg-type]  # loopback: at once or refused
        except OSError:
            target.close()
            client.close()
            return
        for sock in (client, target):
            sock.setblocking(False)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(len(self.connections), time.monotonic())
        if self._record:
            connection.recorded = {UP: bytearray(), DOWN: bytearray()}
        self.connections.append(connection)
        fault = self.plan(connection.number) if self.plan is not None else None
        pair = _Pair(client, target, connection, fault)
        self._pairs.add(pair)
        self._want(pair.client, pair)
        self._want(pair.target, pair)

    def _event(self, pair: _Pair, side: _Side, mask: int) -> None:
        if pair.dead:
            return
        if side.pending and mask & ~select.EPOLLIN:
            try:
                side.pending = side.pending[side.sock.send(side.pending) :]
            except BlockingIOError:
                pass
            except OSError:
                self._close(pair, "fin", "fin")
                return
        room = not side.other.pending and side.other.late_bytes < WAY_BYTES
        if room and not side.eof and not pair.frozen and mask & ~select.EPOLLOUT:
            self._read(pair, side)
        if not pair.dead:
            self._settle(pair, side)

    def _settle(self, pair: _Pair, side: _Side) -> None:
        """Hand on an end that has nothing before it any more; read and write what can be."""
        both = (side, side.other)
        if all(one.eof and not one.pending and not one.late for one in both):
            self._close(pair, "fin", "fin")
            return
        for one in both:
            if one.other.eof and not one.pending and not one.late:
                try:
                    one.sock.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
        self._want(side, pair)
        self._want(side.other, pair)

    def _read(self, pair: _Pair, side: _Side) -> None:
        fault = pair.fault
        passed = pair.connection.passed
        most = READ_BYTES
        if fault is not None:
            most = min(most, max(1, fault.after - passed))
            if fault.pieces and passed < PIECES_BYTES:
                most = min(most, fault.pieces)
        try:
            data = side.sock.recv(most)
        except BlockingIOError:
            return
        except OSError:
            self._close(pair, "rst", "rst")  # as it came, so it goes on
            return
        if not data:
            side.eof = True
            return
        self._account(pair, side, data)
        if fault is not None and fault.how == "flip" and pair.connection.passed >= fault.after:
            data = self._flip(pair, side, fault, data)
        self._tap(pair.connection, side.name, data)
        if self._way is not None:
            self._delay(pair, side.other, data, self._way)
        elif not self._deliver(pair, side.other, data):
            return
        if fault is not None and fault.how != "flip" and pair.connection.passed >= fault.after:
            self._due(pair, side, fault)

    def _deliver(self, pair: _Pair, to: _Side, data: bytes) -> bool:
        try:
            sent = 0 if to.pending else to.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close(pair, "fin", "fin")
            return False
        to.pending += data[sent:]
        return True

    def _delay(self, pair: _Pair, to: _Side, data: bytes, way: Way) -> None:
        now = time.monotonic()
        before = self._busy.get(to.name, 0.0) if way.shared else to.due - way.delay_s
        sent_at = max(now, before) if way.rate else now  # a narrow way: one by one
        took = len(data) / way.rate if way.rate else 0.0
        self._busy[to.name] = sent_at + took
        arrives = sent_at + took + way.delay_s + self._luck.random() * way.jitter_s
        to.due = max(to.due, arrives)
        to.late.append((to.due, data))
        to.late_bytes += len(data)
        if len(to.late) == 1:
            self._loop.at(to.due, lambda: self._arrive(pair, to))

    def _arrive(self, pair: _Pair, to: _Side) -> None:
        if pair.dead:
            return
        now = time.monotonic()
        if pair.frozen:  # what is in a hole stays there until its end
            self._loop.at(now + 0.01, lambda: self._arrive(pair, to))
            return
        while to.late and to.late[0][0] <= now:
            _, data = to.late.popleft()
            to.late_bytes -= len(data)
            if not self._deliver(pair, to, data):
                return
        if to.late:
            self._loop.at(to.late[0][0], lambda: self._arrive(pair, to))
        self._settle(pair, to)

    def _flip(self, pair: _Pair, side: _Side, fault: Fault, data: bytes) -> bytes:
        """Turn one bit over, unless the plan has had its number."""
        assert side.records is not None
        if fault.within_head and side.records.where != "head":
            in_body = side.records.where == "body"
            after = pair.connection.passed + side.records.to_edge + 3
            pair.fault = fault._replace(after=after, within_head=in_body)
            return data
        pair.fault = None
        if not self._one_more():
            return data
        self._note(pair, "flip", side.records.last)
        return data[:-1] + bytes([data[-1] ^ 1 << fault.bit])

    def _one_more(self) -> bool:
        plan = self.plan
        if isinstance(plan, Plans):
            if plan.left <= 0:
                return False
            plan.left -= 1
        return True

    def _due(self, pair: _Pair, side: _Side, fault: Fault) -> None:
        assert side.records is not None
        if fault.within_head and side.records.where != "head":
            pair.fault = fault._replace(after=pair.connection.passed + side.records.to_edge + 3)
            if side.records.where == "body":  # read up to the edge and three bytes more
                return
            pair.fault = fault._replace(after=pair.connection.passed + 3, within_head=False)
            return
        if not self._one_more():
            pair.fault = None
            return
        if fault.how == "stall":
            self._freeze(pair)
            end = time.monotonic() + fault.stall_s
            self._loop.at(end, lambda: self._break(pair, "stall"))
        elif fault.how == "hole":
            self._freeze(pair)
            if fault.stall_s:  # what was dropped meanwhile is asked for by nobody: the end is a RST
                end = time.monotonic() + fault.stall_s
                self._loop.at(end, lambda: self._break(pair, "hole"))
            else:
                self._note(pair, "hole")
        else:
            self._break(pair, fault.how)

    def _account(self, pair: _Pair, side: _Side, data: bytes) -> None:
        connection = pair.connection
        if side.records is None:
            if side.name == UP:
                connection.kind = "control" if data[0] == 0x16 else "data"
            side.records = Records(side.name == UP and connection.kind == "data")
        side.records.feed(memoryview(data))
        connection.passed += len(data)
        connection.down += len(data) if side.name == DOWN else 0
        least = min(connection.down, connection.passed - connection.down)
        if least >= self._carrying and not connection.carrying_at:
            connection.carrying_at = time.monotonic()
        if self._record:
            connection.recorded[side.name] += data

    # ----------------------------------------------------------------------------- breaking

    def _freeze(self, pair: _Pair) -> None:
        pair.frozen = True
        self._want(pair.client, pair)
        self._want(pair.target, pair)

    def _note(self, pair: _Pair, how: str, where: str = "") -> None:
        connection = pair.connection
        wheres = [s.records.where for s in (pair.client, pair.target) if s.records is not None]
        where = where or next((w for w in ("preamble", "head", "body") if w in wheres), "edge")
        self.cuts.append(
            Cut(self.leg, connection.number, how, connection.kind, where, connection.passed,
                time.monotonic(), bool(connection.carrying_at))
        )  # fmt: skip

    def _break(self, pair: _Pair, how: str) -> None:
        if pair.dead:
            return
        self._note(pair, how)
        self._close(
            pair,
            "rst" if how in ("rst", "mixed", "hole") else "fin",
            "rst" if how in ("rst", "hole") else "fin",
        )

    def _close(self, pair: _Pair, to_client: str, to_target: str) -> None:
        pair.dead = True
        pair.connection.ended_at = time.monotonic()
        self._pairs.discard(pair)
        for side, how in ((pair.client, to_client), (pair.target, to_target)):
            side.late.clear()
            self._loop.drop(side.sock.fileno())
            try:
                if how == "rst" and side.sock.family != socket.AF_UNIX:
                    side.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
                else:
                    side.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            side.sock.close()
