"""Lines of many ranks on one terminal: each begins with its rank, none is torn. Pure."""

from __future__ import annotations

LONGEST_BYTES = 1 << 16  # a line that is longer comes in pieces: nothing is held without an end
PATIENCE_S = 1.0  # for the rest of a line: a prompt has none
STARTER = -1
"""The rank's number of who starts the ranks."""


class LineLabels:
    """Holds what of each stream's last line has come so far."""

    __slots__ = ("_begun", "_labels", "_width")

    def __init__(self, size: int = 1) -> None:
        """``size``: ranks of the job, whose numbers are to stand below each other."""
        self._begun: dict[tuple[int, bool], tuple[bytes, float]] = {}
        # (rank, is stderr) -> unfinished line, since when
        self._labels: dict[int, bytes] = {}
        self._width = len(str(size - 1))

    def feed(self, rank: int, err: bool, data: bytes, now: float) -> list[tuple[bool, bytes]]:
        """(is stderr, whole lines) of ``data``, labelled; the rest waits for its end."""
        key = (rank, err)
        begun = self._begun.pop(key, None)
        if begun is not None:
            data = begun[0] + data
        label = self._labels.get(rank) or self._label(rank)
        end = data.rfind(b"\n") + 1
        size = len(data) - end
        if size > LONGEST_BYTES:
            data, end, size = data + b"\n", len(data) + 1, 0
        if size:
            self._begun[key] = data[end:], begun[1] if begun is not None and not end else now
        if not end:
            return []
        # All of it at once: the label behind every newline but the last, and before the first line.
        return [(err, label + data[: end - 1].replace(b"\n", b"\n" + label) + b"\n")]

    @property
    def due(self) -> float | None:
        """When to ask for what is `overdue`, if anything waits."""
        return min((since for _, since in self._begun.values()), default=None)

    def overdue(self, before: float) -> list[tuple[bool, bytes]]:
        """(is stderr, labelled) of the lines begun until ``before``: they are shown as they are."""
        found = [key for key, (_, since) in self._begun.items() if since <= before]
        return [
            (err, self._label(rank) + self._begun.pop((rank, err))[0] + b"\n")
            for rank, err in found
        ]

    def flush(self) -> list[tuple[bool, bytes]]:
        """(is stderr, labelled) of all unfinished lines: nothing more will come."""
        return self.overdue(float("inf"))

    def _label(self, rank: int) -> bytes:
        name = "mpi" if rank == STARTER else str(rank)
        label = self._labels[rank] = f"{name:>{self._width}}: ".encode()
        return label
