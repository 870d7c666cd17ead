"""The codec of the service `files`."""

import pytest

from gshell.errors import RemoteProtocolError
from gshell.net import filewire
from kit.feed import feed_all_ways


def joined(items):
    """Pieces of data put together: how they are cut is nobody's business."""
    out = []
    for item in items:
        if isinstance(item, bytes) and out and isinstance(out[-1], bytes):
            out[-1] += item
        else:
            out.append(item)
    return out


def new():
    return filewire.Decoder().feed


def test_messages_and_data_are_the_same_however_they_are_cut():
    name = "caf\udce9\n"  # a name's bytes need not be UTF-8
    data = b"".join(
        [
            filewire.encode({"m": "files", "v": 1}),
            filewire.data_head(5) + b"12345",
            filewire.data_head(1) + b"6",
            filewire.encode({"m": "end", "n": 1, "path": name}),
        ]
    )
    found = feed_all_ways(new, data, joined, tail=filewire.encode({"m": "x"})[:-1])
    assert joined(found) == [{"m": "files", "v": 1}, b"123456", {"m": "end", "n": 1, "path": name}]


@pytest.mark.parametrize(
    "bad",
    [
        b"\0\0\0\0D",
        b"\0\x40\0\1D",
        b"\0\4\0\1J",
        b"\0\0\0\1Xx",
        b"\0\0\0\2J{]",
        b"\0\0\0\2J[]",
        b"\0\0\0\1J\xff",
    ],
)
def test_what_is_neither_ends_the_talk(bad):
    with pytest.raises(RemoteProtocolError):
        new()(bad)


@pytest.mark.parametrize(
    "rows",
    [
        None,
        [1],
        [["a", "b", "f", 1, 2]],
        [["a", "b", "l", 1, 2, 3]],
        [["a", "b", "f", -1, 2, 3]],
        [["a", "b\0", "f", 1, 2, 3]],
        [["a", "b" * 5000, "f", 1, 2, 3]],
        [["a", 7, "f", 1, 2, 3]],
    ],
)
def test_entries_that_make_no_sense_are_refused_whole(rows):
    with pytest.raises(RemoteProtocolError):
        filewire.entries({"entries": rows})
