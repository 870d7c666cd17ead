"""Bytes to a decoder in every way they may arrive: split points are where parsers die."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

EVERY_SPLIT_BELOW = 600  # bytes; longer inputs are split at some places only


def feed_all_ways(
    new: Callable[[], Callable[[bytes], list[T]]],
    data: bytes,
    joined: Callable[[list[T]], object] = lambda results: results,
    tail: bytes = b"",
) -> list[T]:
    """What a fresh ``feed = new()`` makes of ``data``; the same however it is cut up.

    ``joined`` makes results comparable that depend on the cuts. ``tail``: the beginning of
    something that must change nothing while it is incomplete.
    """
    whole = list(new()(data))
    expected = joined(whole)
    step = 1 if len(data) < EVERY_SPLIT_BELOW else len(data) // 97
    cuts = [[data[:at], data[at:]] for at in range(1, len(data), step)]
    cuts.append([data[at : at + 1] for at in range(len(data))])
    cuts.append([data[at : at + 7] for at in range(0, len(data), 7)])
    cuts.append([b"", data, b""])
    cuts.extend([data, tail[:size]] for size in range(1, len(tail) + 1))
    cuts.append([data + tail])
    for pieces in cuts:
        feed = new()
        results = [result for piece in pieces for result in feed(piece)]
        assert joined(results) == expected, f"cut as {[len(piece) for piece in pieces][:20]}"
    return whole
