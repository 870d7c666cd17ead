"""The frames of port forwarding: made and read back, in any pieces, and nonsense refused."""

from __future__ import annotations

import pytest

from gshell.net import mux
from gshell.wire.errors import RemoteProtocolError

_BYTES = b"".join((
    mux.encode(mux.OPEN, 1, {"host": "h", "port": 2}), mux.data(1, b"abc" * 50), mux.credit(1, 77),
    mux.encode(mux.EOF, 1), mux.data(2, b""), mux.encode(mux.REFUSED, 3, {"why": "no"}),
))  # fmt: skip


def _read(pieces: list[bytes]) -> list[tuple[int, int, object]]:
    decoder = mux.Decoder()
    out: list[tuple[int, int, object]] = []
    for piece in pieces:
        for frame in decoder.feed(piece):
            if frame.kind == mux.DATA and out and out[-1][:2] == (mux.DATA, frame.channel):
                out[-1] = (mux.DATA, frame.channel, out[-1][2] + frame.data)  # type: ignore[operator]
            else:
                what = frame.data if frame.kind == mux.DATA else frame.number or frame.message
                out.append((frame.kind, frame.channel, what))
    return out


@pytest.mark.parametrize("size", [1, 2, 3, 9, 10, 64, 10_000])
def test_frames_come_back_whatever_pieces_they_come_in(size):
    pieces = [_BYTES[at : at + size] for at in range(0, len(_BYTES), size)]
    assert _read(pieces) == [
        (mux.OPEN, 1, {"host": "h", "port": 2}),
        (mux.DATA, 1, b"abc" * 50),
        (mux.CREDIT, 1, 77),
        (mux.EOF, 1, {}),
        (mux.REFUSED, 3, {"why": "no"}),
    ]


def test_data_is_passed_on_before_its_frame_is_whole():
    frame = mux.data(5, b"x" * 1000)
    assert _read([frame[:100]]) == [(mux.DATA, 5, b"x" * (100 - mux.HEAD.size))]


@pytest.mark.parametrize(
    "wrong",
    [
        mux.HEAD.pack(0, 1, 0),
        mux.HEAD.pack(99, 1, 0),
        mux.HEAD.pack(mux.DATA, 1, mux.MAX_DATA + 1),
        mux.HEAD.pack(mux.OPEN, 1, mux.MAX_JSON + 1),
        mux.HEAD.pack(mux.OPEN, 1, 2) + b"[]",
        mux.HEAD.pack(mux.EOF, 1, 1) + b"x",
        mux.HEAD.pack(mux.CREDIT, 1, 3) + b"abc",
    ],
)
def test_what_is_no_frame_is_refused(wrong):
    with pytest.raises(RemoteProtocolError):
        mux.Decoder().feed(mux.data(1, b"good") + wrong)
