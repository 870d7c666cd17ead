import time
from typing import Any

import pytest

from gshell.errors import LocalProtocolError, RemoteProtocolError
from gshell.wire import frames, peer
from gshell.wire.constants import EARLY_BYTES, MAX_FRAME_BYTES, MAX_JSON_BYTES, MAX_STREAMS
from gshell.wire.peer import Event, Peer, StreamData
from gshell.wire.streams import SendBuffer

STDIN, STDOUT, STDERR = 2, 3, 4


class Party(Peer):
    """A Peer with its streams open; window 100."""

    def __init__(self, client: bool) -> None:
        super().__init__(client)
        self.sources = {id: SendBuffer() for id in ((STDIN,) if client else (STDOUT, STDERR))}
        for id, source in self.sources.items():
            self.add_send(id, source, 100)
        for id in (STDOUT, STDERR) if client else (STDIN,):
            self.add_recv(id, 100)


def wire(party: Peer) -> bytes:
    return b"".join(party.pull(1 << 20))


def greet(client: Peer, agent: Peer, early: bool = False) -> list[Event]:
    """Greetings both ways; returns what came behind them."""
    client.link_up({"op": "open"}, early_data=early)
    (greeted,) = agent.receive(wire(client))
    assert isinstance(greeted, peer.Greeted)
    agent.link_up({"job": "42"})
    events = agent.adopt(greeted.message)
    (welcome,) = client.receive(wire(agent))
    assert isinstance(welcome, peer.Greeted)
    return events + client.adopt(welcome.message)


@pytest.fixture
def client() -> Party:
    return Party(client=True)


@pytest.fixture
def agent() -> Party:
    return Party(client=False)


@pytest.fixture
def linked(client: Party, agent: Party) -> tuple[Party, Party]:
    greet(client, agent)
    return client, agent


def bad(party: Peer, *got: frames.Frame) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        party.receive(b"".join(map(frames.encode, got)))
    with pytest.raises(RemoteProtocolError):  # and it stays dead
        party.receive(frames.encode(frames.Ping(1)))
    return caught.value.code


def hello(have: Any, stopped: Any = ()) -> frames.Hello:
    return frames.Hello({"v": 1, "have": have, "stopped": list(stopped)})


# -- the first round trip


def test_early_data_arrives_with_the_hello(client: Party, agent: Party) -> None:
    client.sources[STDIN].append(b"ls\n")
    client.say({"t": "resize"})
    events = greet(client, agent, early=True)
    assert events == [peer.ControlReceived({"t": "resize"}), StreamData(STDIN, 0, b"ls\n")]


def test_without_early_data_nothing_is_sent_before_the_welcome(client: Party, agent: Party) -> None:
    client.sources[STDIN].append(b"ls\n")
    assert greet(client, agent) == []
    assert not client.idle
    assert agent.receive(wire(client)) == [StreamData(STDIN, 0, b"ls\n")]
    assert client.idle


def test_early_data_has_a_bound_that_the_welcome_lifts(client: Party, agent: Party) -> None:
    client.add_send(STDIN, client.sources[STDIN], 2 * EARLY_BYTES)
    agent.add_recv(STDIN, 2 * EARLY_BYTES)
    client.sources[STDIN].append(bytes(2 * EARLY_BYTES))
    client.link_up({}, early_data=True)
    first = b"".join(client.pull(1 << 30))
    assert EARLY_BYTES - 1000 < len(first) < EARLY_BYTES + 1000
    assert client.idle
    assert client.pull(1 << 20) == []
    (greeted,) = agent.receive(first[:1000])
    agent.receive(first[1000:])
    agent.link_up({})
    got = agent.adopt(greeted.message)  # type: ignore[union-attr]
    client.adopt(client.receive(wire(agent))[0].message)  # type: ignore[union-attr]
    got += agent.receive(b"".join(client.pull(1 << 30)))
    sizes = [len(event.data) for event in got if isinstance(event, StreamData)]
    assert sum(sizes) == 2 * EARLY_BYTES


def test_a_client_that_sends_on_and_on_before_its_welcome_is_cut_off(agent: Party) -> None:
    agent.receive(frames.encode(hello({})))
    piece = frames.encode(frames.Data(STDIN, 0, bytes(60_000), False))
    for _ in range(2 * EARLY_BYTES // len(piece)):
        agent.receive(piece)
    with pytest.raises(RemoteProtocolError, match="too-early"):
        agent.receive(piece)


@pytest.mark.parametrize(
    "frame",
    [frames.Data(0, 0, b"{}\n", False), frames.Grant(0, 0, 9), frames.Stop(3), frames.Gap(2, 0, 9)],
)
def test_streams_do_not_exist_before_the_greeting(
    client: Party, agent: Party, frame: frames.Frame
) -> None:
    client.link_up({}, early_data=True)
    assert bad(client, frame) == "before-greeting"
    assert bad(agent, frame) == "before-greeting"


def test_an_agent_may_refuse_instead_of_a_welcome(client: Party, agent: Party) -> None:
    client.link_up({})
    agent.receive(wire(client))
    agent.bye("denied", "no such session")
    assert client.receive(wire(agent)) == [peer.Ended("denied", "no such session")]


def test_an_agent_says_nothing_of_streams_before_its_welcome(client: Party, agent: Party) -> None:
    greet(client, agent)
    client.sources[STDIN].append(bytes(80))
    agent.receive(wire(client))
    agent.link_lost()
    agent.consume(STDIN, 80)
    agent.stop(STDIN)
    agent.ping(1)
    assert wire(agent) == frames.encode(frames.Ping(1))


def test_two_greetings_or_the_wrong_one_end_the_link(client: Party, agent: Party) -> None:
    assert bad(agent, frames.Welcome({"v": 1, "have": {}})) == "unexpected-greeting"
    client.link_up({})
    assert bad(client, hello({})) == "unexpected-greeting"


def test_a_second_hello_behind_the_first_ends_the_link(agent: Party) -> None:
    (greeted,) = agent.receive(frames.encode(hello({})) * 2)
    agent.link_up({})
    with pytest.raises(RemoteProtocolError, match="second on this link"):
        agent.adopt(greeted.message)  # type: ignore[union-attr]


@pytest.mark.parametrize("version", [None, 2, "1", [], 1e300])
def test_another_version_is_refused(agent: Party, version: object) -> None:
    assert bad(agent, frames.Hello({"v": version, "have": {}})) == "version"


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"have": []},
        {"have": {str(id): [0, 0, 0] for id in range(MAX_STREAMS + 1)}},
        {"have": {}, "stopped": 3},
        {"have": {"²": [0, 0, 100]}},
        {"have": {"": [0, 0, 100]}},
        {"have": {"-3": [0, 0, 100]}},
        {"have": {"1234567890": [0, 0, 100]}},
        {"have": {"3": None}},
        {"have": {"3": [0, 0]}},
        {"have": {"3": [0, 0, -1]}},
        {"have": {"3": [0, 0, True]}},
        {"have": {"3": [0, 0, 1.5]}},
        {"have": {"3": [0, 0, 2**62]}},
        {"have": {"3": [0, 1, 100]}},
        {"have": {"3": [1, 0, 100]}},
    ],
)
def test_positions_that_cannot_be_end_the_link(agent: Party, message: dict[str, Any]) -> None:
    agent.receive(frames.encode(frames.Hello({"v": 1, **message})))
    agent.link_up({})
    with pytest.raises(RemoteProtocolError):
        agent.adopt(message)


def test_positions_of_streams_we_do_not_have_do_not_matter(agent: Party) -> None:
    agent.receive(frames.encode(hello({})))
    agent.link_up({})
    assert agent.adopt({"have": {"77": [1, 1, 1]}, "stopped": [77, 0, None, [], "3"]}) == []


# -- breaks


def test_a_lost_welcome_is_made_up_for(client: Party, agent: Party) -> None:
    agent.sources[STDOUT].append(b"hello")
    client.link_up({"op": "open"})
    agent.receive(wire(client))
    agent.link_up({})
    agent.adopt({"have": {}})
    assert wire(agent)  # and it is lost
    client.link_lost()
    agent.link_lost()
    assert greet(client, agent) == [StreamData(STDOUT, 0, b"hello")]


def test_a_stream_the_hello_does_not_name_begins_again(client: Party, agent: Party) -> None:
    agent.sources[STDOUT].append(b"hello")
    for _ in range(2):
        agent.receive(frames.encode(hello({"0": [0, 0, 1000]})))
        agent.link_up({})
        agent.adopt({"have": {}})
        sent = wire(agent)
        assert sent.endswith(b"hello")
        agent.link_lost()


def test_early_data_that_arrived_before_the_break_is_not_heard_twice(
    client: Party, agent: Party
) -> None:
    client.sources[STDIN].append(b"one")
    client.link_up({}, early_data=True)
    (greeted,) = agent.receive(wire(client))
    agent.link_up({})
    assert agent.adopt(greeted.message) == [StreamData(STDIN, 0, b"one")]  # type: ignore[union-attr]
    agent.link_lost()
    client.link_lost()
    client.sources[STDIN].append(b"two")
    assert greet(client, agent, early=True) == [StreamData(STDIN, 3, b"two")]


def test_early_positions_count_even_where_less_was_sent_on_this_link(
    client: Party, agent: Party
) -> None:
    client.sources[STDIN].append(bytes(100))
    greet(client, agent)
    agent.receive(wire(client))
    client.link_lost()
    client.link_up({}, early_data=True)
    (greeted,) = Party(client=False).receive(b"".join(client.pull(1)))
    agent.link_lost()
    agent.receive(frames.encode(frames.Hello(greeted.message)))  # type: ignore[union-attr]
    agent.link_up({})
    agent.adopt(greeted.message)  # type: ignore[union-attr]
    client.adopt(client.receive(wire(agent))[0].message)  # type: ignore[union-attr]
    assert client.sending(STDIN).sent == 100  # type: ignore[union-attr]
    assert client.idle


def test_a_session_takes_over_the_link_that_another_peer_has_read(
    client: Party, agent: Party
) -> None:
    greet(client, agent)
    client.sources[STDIN].append(b"abc")
    agent.receive(wire(client)[:-1])  # the old link's half a frame must not be missed
    client.link_lost()
    client.link_up({}, early_data=True)
    data = wire(client)
    probe = Peer(client=False)
    (greeted,) = probe.receive(data[:-5])
    assert probe.receive(data[-5:-2]) == []
    agent.link_up({}, inherit=probe)
    assert agent.adopt(greeted.message) == []  # type: ignore[union-attr]
    assert agent.receive(data[-2:]) == [StreamData(STDIN, 2, b"c")]


def test_stop_survives_a_break_and_is_heard_once(linked: tuple[Party, Party]) -> None:
    client, agent = linked
    client.stop(STDOUT)
    client.stop(STDOUT)
    wire(client)  # lost
    client.link_lost()
    agent.link_lost()
    client.link_up({})
    (greeted,) = agent.receive(wire(client))
    agent.link_up({})
    assert agent.adopt(greeted.message) == [peer.StreamStopped(STDOUT)]  # type: ignore[union-attr]
    assert agent.receive(frames.encode(frames.Stop(STDOUT))) == []


@pytest.mark.parametrize("lost", [False, True])
def test_a_stop_of_a_stream_not_yet_open_is_remembered(lost: bool) -> None:
    client, agent = Party(client=True), Peer(client=False)
    greet(client, agent)
    client.stop(STDOUT)
    data = wire(client)
    if lost:
        client.link_lost()
        agent.link_lost()
        greet(client, agent)
    else:
        assert agent.receive(data) == []
    assert agent.add_send(STDOUT, SendBuffer(), 100).stopped
    assert not agent.add_send(STDERR, SendBuffer(), 100).stopped
    assert agent.receive(b"") == [peer.StreamStopped(STDOUT)]
    assert agent.receive(b"") == []


def test_a_log_that_lost_bytes_says_gap_and_goes_on(client: Party, agent: Party) -> None:
    agent.sources[STDOUT].append(b"x" * 5000)
    agent.sources[STDOUT].append(b"y" * 50)
    agent.sources[STDOUT].release(5020)
    agent.sources[STDOUT].closed = True
    assert greet(client, agent) == [peer.StreamGap(STDOUT, 0, 5020)]
    assert client.receive(frames.encode(frames.Gap(STDERR, 0, 0))) == []
    assert agent.idle
    client.consume(STDOUT, 5020)
    agent.receive(wire(client))
    assert client.receive(wire(agent)) == [
        StreamData(STDOUT, 5020, b"y" * 30),
        peer.StreamEnded(STDOUT, 5050),
    ]


def test_a_peer_that_read_the_hello_may_keep_the_link(client: Party, agent: Party) -> None:
    client.sources[STDIN].append(b"abc")
    client.link_up({}, early_data=True)
    (greeted,) = agent.receive(wire(client))
    agent.link_up({}, inherit=agent)
    assert agent.adopt(greeted.message) == [StreamData(STDIN, 0, b"abc")]  # type: ignore[union-attr]


def test_an_end_that_was_lost_is_said_again(linked: tuple[Party, Party]) -> None:
    client, agent = linked
    client.sources[STDIN].append(b"abc")
    agent.receive(wire(client))
    client.sources[STDIN].closed = True
    assert wire(client)  # lost
    client.link_lost()
    agent.link_lost()
    greet(client, agent)
    assert agent.receive(wire(client)) == [peer.StreamEnded(STDIN, 3)]


def test_a_control_message_in_two_halves_on_two_links_is_one(linked: tuple[Party, Party]) -> None:
    client, agent = linked
    client.say({"t": "signal", "sig": "INT"})
    assert agent.receive(wire(client)[:-7]) == []
    agent.link_lost()
    client.link_lost()
    greet(client, agent)
    message = {"t": "signal", "sig": "INT"}
    assert agent.receive(wire(client)) == [peer.ControlReceived(message)]


# -- what was right counts


def test_what_came_before_a_wrong_frame_is_not_lost(linked: tuple[Party, Party]) -> None:
    client, agent = linked
    good = frames.encode(frames.Data(STDIN, 0, b"abc", False))
    assert agent.receive(good + frames.encode(frames.Grant(99, 0, 0))) == [
        StreamData(STDIN, 0, b"abc")
    ]
    with pytest.raises(RemoteProtocolError, match="no-stream"):
        agent.receive(b"")
    agent.link_lost()
    client.link_lost()
    client.sources[STDIN].append(b"abcd")
    greet(client, agent)
    assert agent.receive(wire(client)) == [StreamData(STDIN, 3, b"d")]


def test_a_stop_in_a_greeting_is_not_lost_to_a_wrong_frame_behind_it(agent: Party) -> None:
    first = hello({}, [STDOUT])
    agent.receive(frames.encode(first) + frames.encode(frames.Grant(99, 0, 0)))
    agent.link_up({})
    assert agent.adopt(first.message) == [peer.StreamStopped(STDOUT)]
    with pytest.raises(RemoteProtocolError, match="no-stream"):
        agent.receive(b"")


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (frames.Data(99, 0, b"", False), "no-stream"),
        (frames.Grant(99, 0, 0), "no-stream"),
        (frames.Grant(STDOUT, 1, 200), "bad-grant"),
        (frames.Stop(2**32 - 1), "no-stream"),
        (frames.Stop(0), "no-stream"),
        (frames.Gap(99, 0, 1), "no-stream"),
        (frames.Gap(0, 0, 1), "no-stream"),
        (frames.Gap(STDIN, 0, 2**63), "bad-gap"),
        (frames.Data(0, 0, b"[]\n", False), "bad-json"),
        (frames.Data(0, 0, b"\n", False), "bad-json"),
        (frames.Data(0, 0, b"[" * 9999 + b"\n", False), "bad-json"),
        (frames.Hello({}), "unexpected-greeting"),
    ],
)
def test_wrong_frames_end_the_link(
    linked: tuple[Party, Party], frame: frames.Frame, code: str
) -> None:
    assert bad(linked[1], frame) == code


# -- floods


def test_a_flood_of_pings_piles_up_one_pong(linked: tuple[Party, Party]) -> None:
    client, agent = linked
    for token in range(1000):
        agent.receive(frames.encode(frames.Ping(token)))
    assert not agent.idle
    assert client.receive(wire(agent)) == [peer.PongReceived(999)]


def test_an_endless_control_message_is_cut_off_in_linear_time(
    linked: tuple[Party, Party],
) -> None:
    begun = time.process_time()
    most = MAX_JSON_BYTES + MAX_FRAME_BYTES
    for at in range(0, most, 8):
        linked[1].receive(frames.encode(frames.Data(0, at, b"x" * 8, False)))
    assert time.process_time() - begun < 5
    assert bad(linked[1], frames.Data(0, most, b"x", False)) == "frame-too-long"


def test_a_control_message_too_long_is_our_own_error(client: Party) -> None:
    client.say({"t": "x" * (MAX_JSON_BYTES - 8)})
    with pytest.raises(LocalProtocolError):
        client.say({"t": "x" * MAX_JSON_BYTES})


def test_the_longest_control_message_arrives(linked: tuple[Party, Party]) -> None:
    client, agent = linked
    message = {"t": "x" * (MAX_JSON_BYTES - 8)}
    client.say(message)
    client.say({"t": "next"})
    assert agent.receive(wire(client)) == [
        peer.ControlReceived(message),
        peer.ControlReceived({"t": "next"}),
    ]


# -- order and grants


def test_control_overtakes_data_and_streams_take_turns(linked: tuple[Party, Party]) -> None:
    client, agent = linked
    for id in (STDOUT, STDERR):
        agent.sources[id].append(bytes(100))
    seen: list[Event] = []
    for turn in range(3):
        if turn == 2:
            agent.say({"t": "exit"})
        seen += client.receive(b"".join(agent.pull(20)))
    assert {event.stream for event in seen[:2]} == {STDOUT, STDERR}  # type: ignore[union-attr]
    assert seen[2:] == [peer.ControlReceived({"t": "exit"})]


def test_small_accounts_are_settled_by_a_ping_at_both_ends(linked: tuple[Party, Party]) -> None:
    client, agent = linked
    client.sources[STDIN].append(b"x")
    agent.sources[STDOUT].append(b"y")
    agent.receive(wire(client))
    client.receive(wire(agent))
    agent.consume(STDIN, 1)
    client.consume(STDOUT, 1)
    assert agent.idle
    client.ping(7)
    agent.receive(wire(client))
    assert client.receive(wire(agent)) == [peer.PongReceived(7)]
    assert client.sources[STDIN].start == agent.sources[STDOUT].start == 1


def test_half_a_window_used_up_is_granted_at_once(linked: tuple[Party, Party]) -> None:
    client, agent = linked
    client.sources[STDIN].append(bytes(100))
    agent.receive(wire(client))
    agent.consume(STDIN, 49)
    assert agent.idle
    agent.consume(STDIN, 1)
    client.receive(wire(agent))
    assert client.sending(STDIN).limit == 150  # type: ignore[union-attr]
    assert client.receiving(STDIN) is None


def test_input_for_a_rank_may_come_in_one_piece_with_what_starts_it(
    linked: tuple[Party, Party],
) -> None:
    _, agent = linked
    data = b"".join(
        map(frames.encode, (frames.Data(10, 0, b"typed", False), frames.Data(11, 0, b"", False)))
    )
    agent.early_input = 1 << 20
    (event,) = agent.receive(data)
    assert event == StreamData(10, 0, b"typed")
    # What is wrong behind it is known now: nobody has to wait for another byte to hear of it.
    assert agent.failed is not None
    assert agent.failed.code == "no-stream"


def test_input_for_ranks_that_cannot_be_opens_nothing(linked: tuple[Party, Party]) -> None:
    _, agent = linked
    agent.early_input = 1 << 20
    assert bad(agent, frames.Data(2 + 4 * 4096, 0, b"typed", False)) == "no-stream"
