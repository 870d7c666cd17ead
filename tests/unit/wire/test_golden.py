"""Bytes of version 1, written once. Whatever changes, they must decode, and encode again, for ever.

The files are never rewritten; a new one is added for what is new.
"""

import pathlib
from collections.abc import Callable

import pytest

from gshell.wire import frames, peer
from gshell.wire.frames import (
    Bye,
    Data,
    Decoder,
    Frame,
    Gap,
    Grant,
    Hello,
    Ping,
    Pong,
    Stop,
    Welcome,
)
from gshell.wire.peer import Event, Peer
from gshell.wire.streams import SendBuffer
from kit.feed import feed_all_ways

V1 = pathlib.Path(__file__).parents[2] / "data" / "wire" / "v1"

SPEC = {
    "argv": ["ls", "-l"], "env": {"LANG": "C.UTF-8", "ODD": "\udcff"}, "cwd": "/home/u",
    "pty": [24, 80], "tasks": 1, "first": 0, "name": "ls", "umask": 18, "keep": 60,
}  # fmt: skip
HELLO = {"op": "open", "secret": "00ff", "spec": SPEC, "v": 1, "have": {"0": [0, 0, 1048576]},
         "stopped": []}  # fmt: skip
WELCOME = {"job": "42", "index": 0, "size": 1, "state": "running", "ranks": [0],
           "pty": True, "writer": True, "start": {"3": 5}, "prelude": "G1s/bA==", "v": 1,
           "have": {"0": [0, 0, 1048576], "2": [3, 3, 65539]}, "stopped": [2]}  # fmt: skip

ONE_FRAME: dict[str, Frame] = {
    "data": Data(3, 2**33 + 7, b"total 0\r\n", False),
    "data_empty": Data(3, 0, b"", False),
    "data_fin": Data(3, 9, b"bye", True),
    "data_fin_alone": Data(6, 0, b"", True),
    "grant": Grant(3, 65536, 196608),
    "stop": Stop(3),
    "gap": Gap(3, 1000, 5000000000),
    "hello": Hello(HELLO),
    "welcome": Welcome(WELCOME),
    "ping": Ping(1234567890123),
    "pong": Pong(2**64 - 1),
    "bye": Bye("done", "that was é\n"),
}


@pytest.mark.parametrize("name", ONE_FRAME)
def test_a_frame_decodes_and_encodes_as_ever(name: str) -> None:
    data = (V1 / f"{name}.bin").read_bytes()
    assert Decoder().feed(data) == [ONE_FRAME[name]]
    assert frames.encode(ONE_FRAME[name]) == data


def test_every_golden_file_is_looked_at() -> None:
    names = {path.stem for path in V1.glob("*.bin")}
    assert names == {*ONE_FRAME, "conversation_client", "conversation_agent"}


@pytest.mark.parametrize("name", ["conversation_client", "conversation_agent"])
def test_a_conversation_encodes_as_ever(name: str) -> None:
    data = (V1 / f"{name}.bin").read_bytes()
    assert b"".join(map(frames.encode, Decoder().feed(data))) == data


def owned(party: Peer) -> Callable[[bytes], list[Event]]:
    """``receive`` with an owner that adopts what greets it."""

    def feed(chunk: bytes) -> list[Event]:
        events = party.receive(chunk)
        if events and isinstance(events[-1], peer.Greeted):
            if events[-1].message.get("op"):
                party.link_up({"job": "42", "start": {}})
            events += party.adopt(events[-1].message)
        return events

    return feed


def new_agent() -> Callable[[bytes], list[Event]]:
    agent = Peer(client=False)
    agent.add_recv(2, 65536)
    for stream in (3, 4):
        agent.add_send(stream, SendBuffer(), 131072)
    return owned(agent)


def new_client() -> Callable[[bytes], list[Event]]:
    client = Peer(client=True)
    source = SendBuffer()
    source.append(b"x" * 33000)
    client.add_send(2, source, 65536)
    for stream in (3, 4):
        client.add_recv(stream, 131072)
    client.link_up({}, early_data=True)
    client.pull(1 << 20)
    return owned(client)


def joined(events: list[Event]) -> tuple[bytes, list[Event]]:
    """The data apart, as its pieces depend on how the bytes were cut."""
    data = b"".join(event.data for event in events if isinstance(event, peer.StreamData))
    return data, [event for event in events if not isinstance(event, peer.StreamData)]


def test_a_client_of_then_is_understood_now() -> None:
    data = (V1 / "conversation_client.bin").read_bytes()
    events = feed_all_ways(new_agent, data, joined)
    assert joined(events) == (
        b"x" * 33000,
        [
            peer.Greeted(HELLO | {"have": {"0": [0, 0, 1048576], "3": [0, 0, 131072],
                                           "4": [0, 0, 131072]}}),
            peer.ControlReceived({"t": "resize", "rows": 24, "cols": 80}),
            peer.StreamEnded(2, 33000),
            peer.StreamStopped(4),
        ],
    )  # fmt: skip


def test_an_agent_of_then_is_understood_now() -> None:
    data = (V1 / "conversation_agent.bin").read_bytes()
    events = feed_all_ways(new_client, data, joined)
    exit = {"t": "exit", "rank": 0, "code": 0, "signal": None, "core": False, "final": {"3": 7}}
    assert joined(events) == (
        b"hello\r\n",
        [
            events[0],
            peer.Ended("done", ""),
            peer.ControlReceived(exit),
            peer.StreamEnded(3, 7),
        ],
    )
