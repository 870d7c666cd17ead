"""The proxy that breaks things must break them as planned, and nothing else."""

import contextlib
import hashlib
import os
import socket
import struct
import threading
import time

import pytest

from kit.faultplan import Fault, Plans
from kit.faultproxy import DOWN, FaultProxy, Way
from kit.procs import until
from kit.tlsrecords import Records


@contextlib.contextmanager
def echo():
    """A server that sends back what it gets."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()

    def serve(sock):
        with contextlib.suppress(OSError), sock:
            while data := sock.recv(1 << 16):
                sock.sendall(data)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def dial(proxy):
    host, _, port = proxy.address.rpartition(":")
    sock = socket.create_connection((host, int(port)), 5)
    sock.settimeout(10)
    return sock


def record(size, kind=0x16):
    return struct.pack("!BHH", kind, 0x303, size) + os.urandom(size)


def read(sock, size):
    out = b""
    while len(out) < size:
        data = sock.recv(1 << 16)
        if not data:
            break
        out += data
    return out


def once(fault):
    faults = [fault]
    return lambda number: faults.pop() if faults else None


def test_a_flip_turns_one_bit_and_all_goes_on():
    with echo() as target, FaultProxy(target, plan=once(Fault(100, "flip", bit=3))) as proxy:
        with dial(proxy) as sock:
            sent = record(500)
            sock.sendall(sent)
            came = read(sock, len(sent))
        changed = [(i, a ^ b) for i, (a, b) in enumerate(zip(sent, came, strict=True)) if a != b]
        assert changed == [(99, 1 << 3)]
        assert [(cut.how, cut.where) for cut in proxy.cuts] == [("flip", "body")]


def test_a_flip_falls_into_the_head_of_a_record_when_told_to():
    fault = Fault(100, "flip", within_head=True)
    with echo() as target, FaultProxy(target, plan=once(fault)) as proxy:
        with dial(proxy) as sock:
            sent = record(500) + record(500)
            sock.sendall(sent)
            came = read(sock, len(sent))
        (at,) = (i for i, (a, b) in enumerate(zip(sent, came, strict=True)) if a != b)
        assert 505 <= at < 510
        assert [cut.where for cut in proxy.cuts] == ["head"]


def test_a_plan_flips_once_a_connection_and_the_same_seed_does_the_same():
    def flipped():
        plan = Plans(7, 5, 400.0, joining=0.0, hows=["flip"])
        with echo() as target, FaultProxy(target, plan=plan) as proxy:
            for _ in range(8):
                with dial(proxy) as sock:
                    for _ in range(12):  # in step, so that both runs see the same order
                        sent = struct.pack("!BHH", 0x16, 0x303, 1000) + bytes(1000)
                        sock.sendall(sent)
                        read(sock, len(sent))
            return [(cut.connection, cut.passed, cut.where) for cut in proxy.cuts]

    first = flipped()
    assert [connection for connection, _, _ in first] == [0, 1, 2, 3, 4]
    assert flipped() == first


def test_what_is_there_can_be_given_a_fault():
    with echo() as target, FaultProxy(target) as proxy, dial(proxy) as sock:
        sock.sendall(record(100))
        read(sock, 105)
        proxy.arm(Fault(50, "flip"), "control")
        sent = record(100)
        sock.sendall(sent)
        came = read(sock, len(sent))
        assert [i for i, (a, b) in enumerate(zip(sent, came, strict=True)) if a != b] == [49]


def test_where_a_byte_lies():
    def last(data, preamble=False):
        records = Records(preamble)
        records.feed(memoryview(data))
        return records.last

    preamble = struct.pack("!8sBHH", b"GSHELL/1", 67, 20, 30) + bytes(20 + 30 + 32)
    assert last(preamble[:5], True) == "preamble"
    assert last(preamble[:60], True) == last(preamble, True) == "preamble"
    assert last(preamble + b"\x17\x03", True) == "head"
    assert last(preamble + record(7), True) == "body"
    assert last(record(7)[:5]) == "head"


def test_a_hole_swallows_and_ends_with_a_reset_after_its_time():
    with echo() as target, FaultProxy(target, plan=once(Fault(10, "hole", stall_s=0.2))) as proxy:
        with dial(proxy) as sock:
            start = time.monotonic()
            sock.sendall(record(100))
            with pytest.raises(ConnectionResetError):
                read(sock, 1 << 20)
            assert time.monotonic() - start >= 0.2
        assert [cut.how for cut in proxy.cuts] == ["hole"]


def test_a_long_way_takes_its_time_and_keeps_the_order():
    with echo() as target, FaultProxy(target, way=Way(0.02, 0.03)) as proxy, dial(proxy) as sock:
        sent = b"".join(record(50) for _ in range(50))
        start = time.monotonic()
        for at in range(0, len(sent), 55):
            sock.sendall(sent[at : at + 55])
        assert read(sock, len(sent)) == sent
        assert time.monotonic() - start >= 0.04
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""


def test_a_narrow_way_lets_so_much_through_a_second():
    with echo() as target, FaultProxy(target, way=Way(rate=1e6)) as proxy, dial(proxy) as sock:
        sent = os.urandom(300_000)
        came = []
        reader = threading.Thread(target=lambda: came.append(read(sock, len(sent))))
        start = time.monotonic()
        reader.start()
        sock.sendall(sent)
        reader.join(10)
        assert hashlib.sha256(came[0]).digest() == hashlib.sha256(sent).digest()
        assert 0.25 <= time.monotonic() - start < 10.0


def test_a_narrow_way_can_be_that_of_all_connections_together():
    way = Way(rate=1e6, shared=True)
    with echo() as target, FaultProxy(target, way=way) as proxy:
        start = time.monotonic()
        with dial(proxy) as one, dial(proxy) as two:
            for sock in (one, two):
                sock.sendall(bytes(100_000))
            for sock in (one, two):
                assert len(read(sock, 100_000)) == 100_000
        assert 0.15 <= time.monotonic() - start < 3.0


def test_bytes_on_their_way_are_not_lost_by_an_end_behind_them():
    with echo() as target, FaultProxy(target, way=Way(0.1)) as proxy, dial(proxy) as sock:
        sent = os.urandom(100_000)
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        assert read(sock, 1 << 20) == sent


def test_cuts_come_one_for_each_connection_until_the_plan_is_done():
    plan = Plans(3, 5, 100.0)
    with echo() as target, FaultProxy(target, plan=plan) as proxy:
        for _ in range(10):
            with contextlib.suppress(OSError), dial(proxy) as sock:
                sock.sendall(record(30_000))
                read(sock, 30_005)
        until(lambda: proxy.open_now() == 0, "all connections to end")
        assert len(proxy.cuts) == 5
        assert {cut.leg for cut in proxy.cuts} == {"leg"}
        assert all(c.down <= c.passed for c in proxy.connections)


def test_what_is_recorded_is_what_was_handed_on():
    with echo() as target, FaultProxy(target, record=True) as proxy, dial(proxy) as sock:
        sent = record(1000)
        sock.sendall(sent)
        read(sock, len(sent))
        assert bytes(proxy.connections[0].recorded[DOWN]) == sent
