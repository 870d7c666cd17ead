"""Lines of many ranks on one terminal: each begins with its rank, none is torn. Pure."""

from __future__ import annotations

LONGEST_BYTES = 1 << 16  # a line that is longer comes in pieces: nothing is held without an end


class LineLabels:
    """Holds what of each stream's last line has come so far."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        self._begun: dict[tuple[int, bool], bytes] = {}  # (rank, is stderr) -> unfinished line

    def feed(self, rank: int, err: bool, data: bytes) -> bytes:
        """Whole lines of ``data``, labelled; the rest waits for its end."""
        key = (rank, err)
        whole, newline, rest = (self._begun.pop(key, b"") + data).rpartition(b"\n")
        label = _label(rank)
        text = label + whole.replace(b"\n", b"\n" + label) + b"\n" if newline else b""
        if len(rest) > LONGEST_BYTES:
            return text + label + rest + b"\n"
        if rest:
            self._begun[key] = rest
        return text

    def flush(self) -> list[tuple[bool, bytes]]:
        """(is stderr, labelled) of all unfinished lines: nothing more will come."""
        begun, self._begun = self._begun, {}
        return [(err, _label(rank) + rest + b"\n") for (rank, err), rest in begun.items()]


def _label(rank: int) -> bytes:
    """-1 is who starts the ranks."""
    return b"%d: " % rank if rank >= 0 else b"mpi: "
