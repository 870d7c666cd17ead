"""Two Peers joined by a wire that is cut at will: a client, and an agent with one session.

A plan is a list of steps; each is an operation and two numbers, so that a seed or Hypothesis can
make them. After the plan ``finish`` plays on without faults: everything must arrive. What a byte is
follows from its stream and offset, so that a lost or doubled one is seen where it happens.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gshell.wire import peer as wire
from gshell.wire.constants import SESSION_CONTROL
from gshell.wire.peer import Event, Peer
from gshell.wire.states import RECEIVING, SENDING, State, Table
from gshell.wire.streams import Missing, SendBuffer, SendStream

STDIN, STDOUT, STDERR = 2, 3, 4
OUTPUT = (STDOUT, STDERR)
STREAMS = (STDIN, STDOUT, STDERR)

OPERATIONS = [
    "write", "write", "write", "say", "pull", "pull", "pull", "pull", "deliver", "deliver",
    "deliver", "deliver", "consume", "consume", "dial", "dial", "adopt", "cut", "end", "stop",
    "ping",
]  # fmt: skip

Step = tuple[str, int, int]


def content(stream: int, start: int, end: int) -> bytes:
    return bytes((at * 167 + (at >> 8) * 59 + stream * 31) & 255 for at in range(start, end))


def random_plan(seed: int, steps: int) -> list[Step]:
    rng = random.Random(seed)
    return [
        (rng.choice(OPERATIONS), rng.randrange(1000), rng.choice([0, 1, 3, 19, 60, 400, 5000]))
        for _ in range(steps)
    ]


@dataclass(frozen=True)
class Setting:
    """How the two are set up."""

    windows: tuple[int, int, int, int] = (1 << 20, 64, 64, 64)
    """Of control, stdin, stdout, stderr, in bytes."""
    keep: int = 1 << 30
    """Bytes of stdout that the agent's log keeps; older ones become a GAP."""
    early: bool = True
    """The client sends data with its HELLO."""
    attach: bool = False
    """The client learns of its output streams from the WELCOME only."""
    late: bool = False
    """The agent opens its output streams only when a control message says so."""
    probe: bool = True
    """At the agent another Peer reads the HELLO, as it isn't known yet whose it is."""
    patient: bool = False
    """The agent adopts a HELLO only when the plan says so."""


class Log:
    """A Source that forgets what is old whether it was taken or not."""

    def __init__(self, stream: int, keep: int) -> None:
        self.end = 0
        self.closed = False
        self._stream = stream
        self._keep = keep

    @property
    def start(self) -> int:
        return max(0, self.end - self._keep)

    def append(self, data: bytes) -> None:
        self.end += len(data)

    def read(self, offset: int, at_most: int) -> bytes:
        if offset < self.start:
            raise Missing(self.start)
        return content(self._stream, offset, min(self.end, offset + at_most))

    def release(self, offset: int) -> None:
        assert offset <= self.end


@dataclass
class Reader:
    """What the owner of a received stream has seen, checked as it comes."""

    stream: int
    at: int = 0
    taken: int = 0
    missed: int = 0
    ended: bool = False
    stopped: bool = False

    def on_data(self, event: wire.StreamData) -> None:
        assert event.offset == self.at, f"at {self.at}, got {event}"
        assert event.data
        assert not self.ended
        assert event.data == content(self.stream, self.at, self.at + len(event.data))
        self.at += len(event.data)

    def on_gap(self, event: wire.StreamGap) -> None:
        assert event.start == self.at < event.end
        self.missed += event.end - event.start
        self.at = event.end

    def on_end(self, event: wire.StreamEnded) -> None:
        assert event.at == self.at
        assert not self.ended
        self.ended = True


@dataclass
class Party:
    """One end, with what its owner said and heard."""

    peer: Peer
    readers: dict[int, Reader] = field(default_factory=dict)
    said: list[dict[str, Any]] = field(default_factory=list)
    heard: list[dict[str, Any]] = field(default_factory=list)
    gone: set[int] = field(default_factory=set)  # our streams whose reader is gone
    greetings: list[dict[str, Any]] = field(default_factory=list)

    def on_events(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, wire.StreamData):
                self.readers[event.stream].on_data(event)
            elif isinstance(event, wire.StreamGap):
                self.readers[event.stream].on_gap(event)
            elif isinstance(event, wire.StreamEnded):
                self.readers[event.stream].on_end(event)
            elif isinstance(event, wire.StreamStopped):
                assert event.stream not in self.gone
                self.gone.add(event.stream)
            elif isinstance(event, wire.ControlReceived):
                self.heard.append(event.message)
            elif isinstance(event, wire.Greeted):
                self.greetings.append(event.message)
            else:
                assert isinstance(event, wire.PongReceived), event


class Pair:
    """The two, and the bytes on their way. Call ``do`` for each step and ``finish`` at the end."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.sources: dict[int, SendBuffer | Log] = {
            STDIN: SendBuffer(),
            STDOUT: Log(STDOUT, setting.keep),
            STDERR: SendBuffer(),
        }
        self.client = self._party(client=True)
        self.agent = self._party(client=False)
        self._started = False  # the agent has the session
        self._hello: Peer | None = None  # reads the HELLO at the agent, until adopted
        self._connected = False
        self._agent_linked = False  # the session's Peer believes in its link
        self._to_agent = bytearray()
        self._to_client = bytearray()
        self._states: dict[tuple[str, int], State] = {}
        self._opened = False  # and its output streams are open
        self._open_client()

    def _party(self, client: bool) -> Party:
        peer = Peer(client)
        window = self.setting.windows[0]
        peer.add_send(SESSION_CONTROL, peer.control, window)
        peer.add_recv(SESSION_CONTROL, window)
        return Party(peer)

    def _window(self, stream: int) -> int:
        return self.setting.windows[stream - 1]

    def _open_client(self) -> None:
        peer = self.client.peer
        peer.add_send(STDIN, self.sources[STDIN], self._window(STDIN))
        if not self.setting.attach:
            for stream in OUTPUT:
                self._receive(self.client, stream, 0)

        if self.setting.late:
            self.client.said.append({"t": "open"})
            peer.say({"t": "open"})

    def _open_outputs(self) -> None:
        self._opened = True
        for stream in OUTPUT:
            self.agent.peer.add_send(stream, self.sources[stream], self._window(stream))

    def _receive(self, party: Party, stream: int, start: int) -> None:
        party.peer.add_recv(stream, self._window(stream), start)
        party.readers[stream] = Reader(stream, at=start, taken=start)

    # -- steps

    def do(self, step: Step) -> None:
        operation, which, amount = step
        party = (self.client, self.agent)[which % 2]
        stream = STREAMS[which % 3]
        if operation == "write":
            self.write(stream, amount)
        elif operation == "say":
            message = {"n": len(party.said), "pad": "x" * (amount % 50)}
            party.said.append(message)
            party.peer.say(message)
        elif operation == "pull":
            self.pull(party, amount)
        elif operation == "deliver":
            self.deliver(party, amount)
        elif operation == "consume":
            self.consume(stream, amount)
        elif operation == "dial":
            self.dial()
        elif operation == "adopt":
            self.adopt()
        elif operation == "cut" and which % 3 == 0:  # else links would be too short to do much
            self.cut(noticed=bool(amount % 2))
        elif operation == "end" and which % 4 == 0:
            self.sources[STREAMS[amount % 3]].closed = True
        elif operation == "stop" and which % 20 == 0:
            self.stop(STREAMS[amount % 3])
        elif operation == "ping":
            party.peer.ping(amount)
        self.check()

    def write(self, stream: int, amount: int) -> None:
        source = self.sources[stream]
        owner = self.client if stream == STDIN else self.agent
        if not source.closed and stream not in owner.gone:
            source.append(content(stream, source.end, source.end + amount))

    def dial(self) -> None:
        if self._connected:
            return
        self._connected = True
        welcomed = bool(self.client.greetings)
        self.client.peer.link_up(
            {"op": "resume" if welcomed else "open"}, early_data=self.setting.early and not welcomed
        )
        if self.setting.probe:
            self._hello = Peer(client=False)
        else:
            if self._agent_linked:
                self.agent.peer.link_lost()
                self._agent_linked = False
            self._hello = self.agent.peer

    def cut(self, noticed: bool) -> None:
        """The link is gone with all that was on it; the agent may not have noticed yet."""
        if not self._connected:
            return
        self._connected = False
        self._to_agent.clear()
        self._to_client.clear()
        self.client.peer.link_lost()
        if self._hello is not None:
            if self._hello is self.agent.peer:
                self.agent.peer.link_lost()
            self._hello = None
            self._agent_linked = self._agent_linked and self.setting.probe
        elif noticed and self._agent_linked:
            self.agent.peer.link_lost()
            self._agent_linked = False

    def pull(self, party: Party, at_most: int) -> int:
        """Bytes onto the wire; into nothing if the agent hasn't noticed that its link is dead."""
        peer = party.peer
        if party is self.agent:
            if not (self._agent_linked or self._hello):
                return 0
            if self._hello not in (None, peer):
                if self._agent_linked:
                    peer.pull(at_most)
                peer = self._hello
        elif not self._connected:
            return 0
        data = b"".join(peer.pull(at_most))
        if self._connected:
            wire_out = self._to_agent if party is self.client else self._to_client
            wire_out += data
        return len(data)

    def deliver(self, party: Party, amount: int) -> None:
        wire_in = self._to_agent if party is self.agent else self._to_client
        chunk = bytes(wire_in[:amount])
        del wire_in[:amount]
        if not chunk:
            return
        if party is self.client:
            greetings = len(party.greetings)
            party.on_events(party.peer.receive(chunk))
            if len(party.greetings) > greetings:
                self._welcomed(party.greetings[-1])
        else:
            reader = self._hello or party.peer
            self._agent_heard(reader.receive(chunk))
            if self._hello is not None and not self.setting.patient:
                self.adopt()

    def _welcomed(self, message: dict[str, Any]) -> None:
        for stream, start in message["start"].items():
            if self.client.peer.receiving(int(stream)) is None:
                self._receive(self.client, int(stream), start)
        self.client.on_events(self.client.peer.adopt(message))

    def adopt(self) -> bool:
        """The agent takes the HELLO that it has read, if there is one."""
        if self._hello is None or not self._hello.greeted:
            return False
        if not self._started:
            self._started = True
            self._receive(self.agent, STDIN, 0)
            if not self.setting.late:
                self._open_outputs()
        peer = self.agent.peer
        message = self.agent.greetings[-1]
        start = {}
        for id in OUTPUT:
            stream = peer.sending(id)
            if str(id) not in message["have"]:
                start[id] = stream.acked if stream is not None else 0
        inherit = self._hello if self._hello is not peer else None
        self._hello = None
        self._agent_linked = True
        peer.link_up({"start": start}, inherit=inherit)
        self._agent_heard(peer.adopt(message))
        return True

    def _agent_heard(self, events: list[Event]) -> None:
        self.agent.on_events(events)
        if self._started and not self._opened and self.agent.heard:
            self._open_outputs()

    def consume(self, stream: int, amount: int) -> int:
        party = self.agent if stream == STDIN else self.client
        reader = party.readers.get(stream)
        if reader is None:
            return 0
        amount = min(amount, reader.at - reader.taken)
        reader.taken += amount
        party.peer.consume(stream, amount)
        return amount

    def stop(self, stream: int) -> None:
        party = self.agent if stream == STDIN else self.client
        if stream in party.readers:
            party.readers[stream].stopped = True
            party.peer.stop(stream)

    # -- what must hold

    def check(self) -> None:
        """The invariants, at any time."""
        for party, other in ((self.client, self.agent), (self.agent, self.client)):
            assert party.heard == other.said[: len(party.heard)]
            for id in (SESSION_CONTROL, *STREAMS):
                sending, receiving = party.peer.sending(id), party.peer.receiving(id)
                if sending is not None:
                    self._check_sending(sending)
                    self._moved(("send", id), sending.state, SENDING)
                if receiving is not None and id in party.readers:
                    reader = party.readers[id]
                    assert (receiving.have, receiving.consumed) == (reader.at, reader.taken)
                    assert reader.at - reader.taken - reader.missed <= receiving.window
                    self._moved(("recv", id), receiving.state, RECEIVING)

    def _check_sending(self, stream: SendStream) -> None:
        window = self.setting.windows[max(0, stream.id - 1)]
        if self.setting.keep >= stream.source.end:  # a gap is in flight without credit
            assert stream.sent - stream.acked <= window
        if isinstance(stream.source, SendBuffer) and not stream.stopped:
            assert stream.source.start == stream.acked  # kept: exactly what may be needed again
        assert stream.acked <= stream.sent <= stream.source.end

    def _moved(self, key: tuple[str, int], now: State, table: Table) -> None:
        """The table leads from the last state seen to this one."""
        reached = {self._states.get(key, State.OPEN)}
        while not (now in reached or reached >= (more := _next(reached, table))):
            reached |= more
        assert now in reached, f"{key}: {self._states.get(key)} -> {now}"
        self._states[key] = now

    # -- the end

    def finish(self) -> None:
        """No faults any more: whatever was sent arrives, on this link and after one more break."""
        self._play()
        self._check_complete()
        self.client.peer.ping(1)
        self.agent.peer.ping(2)
        self._play()
        for stream in STREAMS:
            sender, receiver = self._ends(stream)
            assert (stream in sender.gone) == receiver.readers[stream].stopped
        for party in (self.client, self.agent):
            for id in (SESSION_CONTROL, *STREAMS):
                sending = party.peer.sending(id)
                if sending is not None and not sending.stopped:
                    assert sending.acked == sending.source.end, f"stream {id} is not settled"
        self.cut(noticed=True)
        self._play()
        self._check_complete()

    def _play(self) -> None:
        self.dial()
        for _ in range(200_000):
            moved = self.pull(self.client, 1 << 16) + self.pull(self.agent, 1 << 16)
            moved += len(self._to_agent) + len(self._to_client)
            self.deliver(self.agent, 1 << 20)
            moved += self.adopt()
            self.deliver(self.client, 1 << 20)
            moved += sum(self.consume(stream, 1 << 20) for stream in STREAMS)
            self.check()
            if not moved:
                assert self.client.peer.idle
                assert self.agent.peer.idle
                return
        raise AssertionError("they never come to rest")

    def _check_complete(self) -> None:
        assert self.client.heard == self.agent.said
        assert self.agent.heard == self.client.said
        for stream, source in self.sources.items():
            reader = self._ends(stream)[1].readers[stream]
            if not reader.stopped:
                assert reader.at == source.end, f"stream {stream} stalls"
                assert reader.ended == source.closed

    def _ends(self, stream: int) -> tuple[Party, Party]:
        """(sender, receiver) of a stream."""
        both = (self.client, self.agent)
        return both if stream == STDIN else both[::-1]


def _next(states: set[State], table: Table) -> set[State]:
    return {to for (start, _), to in table.items() if start in states}


def play(setting: Setting, plan: list[Step]) -> Pair:
    pair = Pair(setting)
    for step in plan:
        pair.do(step)
    pair.finish()
    return pair
