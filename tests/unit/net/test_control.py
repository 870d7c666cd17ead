import time

import pytest

from gshell.errors import RemoteProtocolError
from gshell.net.control import MAX_FROM_PEER_BYTES, ControlDecoder, encode
from kit.feed import feed_all_ways

MESSAGES = [{"m": "hello", "v": 1}, {}, {"id": 7, "name": "é\udcff", "l": [1, None]}]


def test_messages_are_read_as_they_were_written_however_they_are_cut() -> None:
    data = b"".join(map(encode, MESSAGES))
    tail = encode({"m": "jobs"})[:-1]
    got = feed_all_ways(lambda: ControlDecoder(1000).feed, data, tail=tail)
    assert got == MESSAGES


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xff\xff\xff\xff", "frame-too-long"),
        ((1001).to_bytes(4, "big"), "frame-too-long"),
        (bytes(4), "bad-json"),
        (b"\x00\x00\x00\x02[]", "bad-json"),
        (b"\x00\x00\x00\x02\xff\xff", "bad-json"),
        ((900).to_bytes(4, "big") + b'{"a":' * 180, "bad-json"),
        (encode({}) + b"GET ", "frame-too-long"),
    ],
)
def test_wrong_bytes_are_refused(data: bytes, code: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        ControlDecoder(1000).feed(data)
    assert caught.value.code == code


def test_deep_nesting_is_refused() -> None:
    body = b"[" * 100_000
    with pytest.raises(RemoteProtocolError, match="bad-json"):
        ControlDecoder(MAX_FROM_PEER_BYTES).feed(len(body).to_bytes(4, "big") + body)


def test_a_long_message_in_small_pieces_takes_linear_time() -> None:
    data = encode({"x": "y" * (MAX_FROM_PEER_BYTES - 8)})
    decoder = ControlDecoder(MAX_FROM_PEER_BYTES)
    begun = time.process_time()
    got = [message for at in range(0, len(data), 4) for message in decoder.feed(data[at : at + 4])]
    assert len(got) == 1
    assert time.process_time() - begun < 5
