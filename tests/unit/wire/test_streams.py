import time

import pytest

from gshell.errors import RemoteProtocolError
from gshell.wire.constants import MAX_WINDOW, rank_of, rank_streams, stderr_of, stdin_of, stdout_of
from gshell.wire.states import State
from gshell.wire.streams import MAX_OFFSET, Missing, RecvStream, SendBuffer, SendStream


def buffer(data: bytes = b"", closed: bool = False) -> SendBuffer:
    source = SendBuffer()
    source.append(data)
    source.closed = closed
    return source


def test_each_rank_has_four_streams_after_the_sessions_own() -> None:
    assert rank_streams(0) == (1, 2, 3, 4)
    assert rank_streams(7) == (29, stdin_of(7), stdout_of(7), stderr_of(7)) == (29, 30, 31, 32)
    assert [rank_of(stream) for stream in (0, 1, 4, 5, 32)] == [-1, 0, 0, 1, 7]


# -- SendBuffer


def test_a_buffer_gives_what_it_holds_and_says_what_is_missing() -> None:
    source = buffer(b"a" * 5000)
    source.append(b"b" * 10)
    source.append(b"")
    source.append(b"c" * 10)
    assert source.read(0, 9999) == b"a" * 5000
    assert source.read(4999, 100) == b"a"
    assert source.read(5000, 100) == b"b" * 10 + b"c" * 10
    assert source.read(5020, 5) == b""
    source.release(5003)
    source.release(17)
    assert (source.start, source.end) == (5003, 5020)
    assert source.read(5003, 8) == b"b" * 7 + b"c"
    with pytest.raises(Missing) as caught:
        source.read(5002, 1)
    assert caught.value.start == 5003
    source.release(9999)
    assert (source.start, source.end) == (5020, 5020)
    assert buffer().read(0, 1) == b""


def test_a_million_small_pieces_are_read_and_released_in_linear_time() -> None:
    source = SendBuffer()
    begun = time.process_time()
    for _ in range(300_000):
        source.append(b"xy")
    for at in range(0, 600_000, 5):
        source.read(at, 5)
        source.release(at)
    assert time.process_time() - begun < 5


# -- SendStream


def test_credit_is_never_exceeded_and_a_late_or_small_grant_takes_none_away() -> None:
    stream = SendStream(3, buffer(b"0123456789"), limit=4)
    assert stream.take(100) == (0, b"0123", False)
    assert not stream.ready()
    stream.on_grant(2, 6)
    stream.on_grant(1, 5)
    assert (stream.acked, stream.limit) == (2, 6)
    assert stream.take(100) == (4, b"45", False)
    assert stream.take(100) == (6, b"", False)


def test_more_credit_than_a_peer_may_give_is_not_believed() -> None:
    stream = SendStream(3, buffer(b"0123456789"), limit=4)
    stream.on_grant(0, 2**64 - 1)
    assert stream.limit == MAX_WINDOW


def test_the_end_goes_out_with_the_last_byte_or_alone_without_credit() -> None:
    stream = SendStream(3, buffer(b"ab", closed=True), limit=2)
    assert stream.take(1) == (0, b"a", False)
    assert stream.take(9) == (1, b"b", True)
    assert not stream.ready()
    late = SendStream(3, buffer(b"ab"), limit=2)
    assert late.take(9) == (0, b"ab", False)
    assert not late.ready()
    late.source.closed = True
    assert late.ready()
    assert late.take(9) == (2, b"", True)


@pytest.mark.parametrize(("have", "consumed"), [(1, 1), (11, 2), (5, 6)])
def test_a_resume_cannot_unlearn_or_invent_bytes(have: int, consumed: int) -> None:
    stream = SendStream(3, buffer(b"0123456789"), limit=10)
    stream.take(10)
    stream.on_grant(2, 12)
    with pytest.raises(RemoteProtocolError, match="bad-resume"):
        stream.resume(have, consumed, 20)


def test_taking_what_was_not_sent_is_refused() -> None:
    stream = SendStream(3, buffer(b"0123456789"), limit=10)
    stream.take(3)
    with pytest.raises(RemoteProtocolError, match="bad-grant"):
        stream.on_grant(4, 20)


def test_a_sender_passes_through_its_states() -> None:
    stream = SendStream(3, buffer(b"ab"), limit=10)
    seen = [stream.state]
    stream.source.closed = True
    seen.append(stream.state)
    stream.take(9)
    seen.append(stream.state)
    stream.resume(2, 0, 10)
    seen.append(stream.state)
    stream.stop()
    seen.append(stream.state)
    assert [state.value for state in seen] == [
        "open",
        "eof_pending",
        "eof",
        "eof_pending",
        "stopped",
    ]
    assert not stream.ready()
    assert stream.source.start == 2  # type: ignore[attr-defined]


# -- RecvStream


def test_what_arrives_twice_counts_once() -> None:
    stream = RecvStream(3, window=10)
    assert stream.on_data(0, b"0123", False) == b"0123"
    assert stream.on_data(2, b"2345", False) == b"45"
    assert stream.on_data(0, b"0123", False) == b""
    assert stream.on_data(6, b"", True) == b""
    assert stream.on_data(4, b"45", True) == b""
    assert (stream.have, stream.eof_at) == (6, 6)


@pytest.mark.parametrize(
    ("offset", "data", "fin", "code"),
    [
        (5, b"x", False, "missing-bytes"),
        (4, b"1234567", False, "over-limit"),
        (2**64 - 1, b"x", False, "missing-bytes"),
        (0, b"12", True, "after-end"),
    ],
)
def test_bytes_that_cannot_be_are_refused(offset: int, data: bytes, fin: bool, code: str) -> None:
    stream = RecvStream(3, window=10)
    stream.on_data(0, b"0123", False)
    with pytest.raises(RemoteProtocolError, match=code):
        stream.on_data(offset, data, fin)
    assert (stream.have, stream.eof_at) == (4, None)


@pytest.mark.parametrize(("offset", "data", "fin"), [(4, b"x", False), (2, b"x", True)])
def test_an_end_is_an_end(offset: int, data: bytes, fin: bool) -> None:
    stream = RecvStream(3, window=10)
    stream.on_data(0, b"0123", True)
    with pytest.raises(RemoteProtocolError, match="after-end"):
        stream.on_data(offset, data, fin)


def test_a_gap_counts_as_arrived_costs_no_credit_and_the_end_may_follow() -> None:
    stream = RecvStream(3, window=10)
    stream.on_data(0, b"0123", False)
    assert stream.on_gap(2, 3) is None
    assert stream.on_gap(2, 1000) == (4, 1000)
    assert stream.on_data(1000, b"", True) == b""
    assert stream.eof_at == 1000
    stream.consume(1000)
    assert stream.state is State.CLOSED


@pytest.mark.parametrize(("start", "end"), [(5, 9), (3, 2), (4, MAX_OFFSET + 1)])
def test_a_gap_that_cannot_be_is_refused(start: int, end: int) -> None:
    stream = RecvStream(3, window=10)
    stream.on_data(0, b"0123", False)
    with pytest.raises(RemoteProtocolError, match="bad-gap"):
        stream.on_gap(start, end)


def test_there_is_no_gap_after_the_end() -> None:
    stream = RecvStream(3, window=10)
    stream.on_data(0, b"0123", True)
    with pytest.raises(RemoteProtocolError, match="bad-gap"):
        stream.on_gap(4, 5)


@pytest.mark.parametrize("window", [1, 2, 3, 7, 64])
def test_a_sender_at_its_limit_always_gets_a_grant(window: int) -> None:
    stream = RecvStream(3, window)
    stream.on_data(0, bytes(window), False)
    stream.consume(window)
    assert stream.grant_due()
    assert stream.promise() == (window, 2 * window)
    assert not stream.grant_due()


def test_a_reader_that_leaves_after_the_end_has_still_everything() -> None:
    stream = RecvStream(3, window=10)
    seen = [stream.state]
    stream.on_data(0, b"0123", True)
    seen.append(stream.state)
    stream.stop_wanted = True
    seen.append(stream.state)
    stream.consume(4)
    assert [*seen, stream.state] == [State.OPEN, State.EOF, State.STOPPED, State.CLOSED]
