import json

import pytest

from gshell.errors import LocalProtocolError, RemoteProtocolError
from gshell.wire import frames
from gshell.wire.constants import MAX_BYE_BYTES, MAX_FRAME_BYTES, MAX_GREETING_BYTES
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
from kit.feed import feed_all_ways

ALL: list[Frame] = [
    Hello({"v": 1, "have": {}}),
    Welcome({"v": 1, "text": "é\udcff"}),
    Data(3, 5, b"hello", False),
    Data(3, 10, b"", False),
    Data(4, 2**40, b"x" * 100, True),
    Data(2, 0, b"", True),
    Grant(3, 7, 2**33),
    Stop(9),
    Gap(3, 0, 2**40),
    Ping(2**64 - 1),
    Pong(0),
    Bye("done", "all was said"),
]


def joined(pieces: list[Frame]) -> list[Frame]:
    """Frames with the pieces of each DATA frame put together."""
    out: list[Frame] = []
    open_piece = False
    for frame in pieces:
        last = out[-1] if out else None
        if (
            open_piece
            and isinstance(frame, Data)
            and isinstance(last, Data)
            and frame[:2] == (last.stream, last.offset + len(last.data))
        ):
            out[-1] = Data(last.stream, last.offset, last.data + frame.data, frame.fin)
        else:
            out.append(frame)
        open_piece = isinstance(frame, Data) and not frame.fin
    return out


def test_every_frame_is_read_as_it_was_written_however_it_is_cut() -> None:
    data = b"".join(frames.encode(frame) for frame in ALL)
    tail = frames.encode(Grant(1, 2, 3))[:-1]
    got = feed_all_ways(lambda: Decoder().feed, data, joined, tail)
    assert joined(got) == joined(ALL)


def test_data_is_handed_on_before_its_frame_is_complete() -> None:
    decoder = Decoder()
    whole = frames.encode(Data(3, 5, b"hello", True))
    assert decoder.feed(whole[:-2]) == [Data(3, 5, b"hel", False)]
    assert decoder.feed(b"") == []
    assert decoder.feed(whole[-2:-1]) == [Data(3, 8, b"l", False)]
    assert decoder.feed(whole[-1:] + whole[:3]) == [Data(3, 9, b"o", True)]
    assert decoder.feed(whole[3:]) == [Data(3, 5, b"hello", True)]


def head(kind: int, length: int) -> bytes:
    return bytes([kind]) + length.to_bytes(4, "big")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (head(0, 0), "unknown-frame"),
        (head(10, 0), "unknown-frame"),
        (head(frames.DATA, MAX_FRAME_BYTES + 14), "frame-too-long"),
        (head(frames.DATA, 12), "short-frame"),
        (head(frames.DATA, 13) + bytes(12) + b"\x02", "bad-flags"),
        (head(frames.GRANT, 19) + bytes(19), "short-frame"),
        (head(frames.GAP, 0), "short-frame"),
        (head(frames.GRANT, 21), "frame-too-long"),
        (head(frames.STOP, 3) + bytes(3), "short-frame"),
        (head(frames.PING, 7) + bytes(7), "short-frame"),
        (head(frames.PONG, 9), "frame-too-long"),
        (head(frames.HELLO, MAX_GREETING_BYTES + 1), "frame-too-long"),
        (head(frames.BYE, MAX_BYE_BYTES + 1), "frame-too-long"),
        (head(frames.HELLO, 0), "bad-json"),
        (head(frames.WELCOME, 2) + b"[]", "bad-json"),
        (head(frames.WELCOME, 2) + b"\xff\xff", "bad-json"),
        (head(frames.BYE, 5000) + b"[" * 5000, "bad-json"),
    ],
)
def test_wrong_bytes_are_refused_by_name_however_they_are_cut(data: bytes, code: str) -> None:
    for piece in (1, 4, len(data)):
        decoder = Decoder()
        with pytest.raises(RemoteProtocolError) as caught:
            [decoder.feed(data[at : at + piece]) for at in range(0, len(data), piece)]
        assert caught.value.code == code


@pytest.mark.parametrize("body", [{}, {"code": 5, "reason": {}}, {"code": [[]], "reason": None}])
def test_a_bye_of_wrong_types_is_an_empty_bye(body: dict[str, object]) -> None:
    text = json.dumps(body).encode()
    assert Decoder().feed(head(frames.BYE, len(text)) + text) == [Bye("", "")]


def test_the_longest_bye_there_can_be_is_taken() -> None:
    bye = Bye("\U0001f600" * 64, "\U0001f600" * 1024)
    assert Decoder().feed(frames.encode(bye)) == [bye]
    assert Decoder().feed(frames.encode(Bye("x" * 99, "y" * 9999))) == [Bye("x" * 64, "y" * 1024)]


def test_a_greeting_too_long_for_the_other_side_is_our_own_error() -> None:
    with pytest.raises(LocalProtocolError, match="4194304 are possible"):
        frames.encode(Hello({"env": "x" * MAX_GREETING_BYTES}))


def test_a_long_greeting_in_single_bytes_is_not_copied_each_time() -> None:
    decoder = Decoder()
    data = frames.encode(Hello({"env": "x" * 300_000}))
    got = [frame for at in range(len(data)) for frame in decoder.feed(data[at : at + 1])]
    assert len(got) == 1  # the copies would take minutes, and the test time out
