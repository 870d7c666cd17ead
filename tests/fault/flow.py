"""Makes, copies and checks a numbered flow of bytes. A script: ``flow.py VERB SIZE SEED``.

feed     writes SIZE bytes
check    reads them, says on its last line how many came and whether they were the right ones
copy     copies stdin to stdout until its end; then says the same on stderr
raw      as ``copy``, but for SIZE bytes through a terminal, which it makes raw
watch    reads them where some may be missing: how many gaps there are, and of how many bytes;
         watch=RATE: at most so many bytes a second
lines    writes SIZE numbered lines, one for each line that it reads; its status is 5
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import time

BLOCK = 1 << 16
CELL = 1 << 12
MARK = (
    b"\xe5CELL\x9a\r\n"  # every cell begins with it and its number: so its offset is known anywhere
)


def blocks(size: int, seed: int, first: int = 0):
    """``size`` bytes in blocks that are all different, so that none can stand in for another; from
    the cell ``first`` on."""
    base = random.Random(seed).randbytes(2 * CELL)
    body = CELL - 16
    for cell in range(first, -(-size // CELL), BLOCK // CELL):
        block = b"".join(
            MARK + number.to_bytes(8, "big") + base[number * 61 % CELL :][:body]
            for number in range(cell, cell + BLOCK // CELL)
        )
        yield block[: size - cell * CELL]


class Checker:
    """Compares what comes with what should."""

    def __init__(self, size: int, seed: int) -> None:
        self._due = hashlib.sha256()
        self._came = hashlib.sha256()
        self._blocks = blocks(size, seed)
        self._left = b""
        self.count = 0
        self.wrong_at = -1
        self._size = size

    def feed(self, data: bytes) -> None:
        self._came.update(data)
        if self.wrong_at < 0:
            while len(self._left) < len(data):
                block = next(self._blocks, b"")
                if not block:
                    break
                self._due.update(block)
                self._left += block
            if self._left[: len(data)] != data:
                first = next(
                    (i for i, (a, b) in enumerate(zip(data, self._left, strict=False)) if a != b),
                    len(self._left),
                )
                self.wrong_at = self.count + first
            self._left = self._left[len(data) :]
        self.count += len(data)

    def verdict(self) -> str:
        if self.wrong_at >= 0:
            return f"wrong at {self.wrong_at} of {self.count}"
        if self.count != self._size:
            return f"{self.count} of {self._size} bytes"
        assert self._came.digest() == self._due.digest()
        return f"good {self.count} {self._came.hexdigest()}"


class Watcher:
    """Compares what comes with what should, where pieces may be missing, but nothing else.

    What lies between a gap and the next cell's beginning is compared as soon as that tells where
    it belongs.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._seed = seed
        self._due = b""  # what comes next, as far as it is made
        self._blocks = blocks(size, seed)
        self._lost = b""  # since a gap, not yet placed
        self.at = 0
        self.gaps: list[tuple[int, int]] = []
        self.wrong = ""

    def feed(self, data: bytes) -> None:
        if self.wrong:
            return
        if self._lost:
            data, self._lost = self._lost + data, b""
            self._place(data)
            return
        while len(self._due) < len(data):
            block = next(self._blocks, b"")
            if not block:
                break
            self._due += block
        if self._due.startswith(data):
            self._due = self._due[len(data) :]
            self.at += len(data)
            return
        same = next((i for i, (a, b) in enumerate(zip(data, self._due)) if a != b), len(self._due))
        self.at += same
        self._place(data[same:])

    def _place(self, data: bytes) -> None:
        """Find where this belongs."""
        found = data.find(MARK)
        if found < 0 or len(data) < found + 16:
            if len(data) > 2 * CELL:
                self.wrong = f"nonsense at {self.at}"
            self._lost = data
            return
        number = int.from_bytes(data[found + 8 : found + 16], "big")
        start = number * CELL - found
        if start <= self.at:
            same = start == self.at
            self.wrong = f"changed at {start}" if same else f"at {self.at} again that of {start}"
            return
        if start >= self._size:
            self.wrong = f"at {self.at} a cell {number} that there is not"
            return
        first = start // CELL
        before = b"".join(blocks(min((first + 16) * CELL, self._size), self._seed, first))
        self._blocks = blocks(self._size, self._seed, first + 16)
        self._due = before[start - first * CELL :]
        self.gaps.append((self.at, start))
        self.at = start
        self.feed(data)

    def verdict(self) -> str:
        """ "good COUNT gaps N missing M", or what is wrong."""
        if self._lost and not self.wrong:
            self._tail()
        if self.wrong:
            return f"wrong: {self.wrong}"
        if self.at < self._size:
            self.gaps.append((self.at, self._size))
        missing = sum(end - start for start, end in self.gaps)
        return f"good {self._size - missing} gaps {len(self.gaps)} missing {missing}"

    def _tail(self) -> None:
        """The end, which no cell begins after: it must be the end of all."""
        start = self._size - len(self._lost)
        first = start // CELL
        due = b"".join(blocks(self._size, self._seed, first))[start - first * CELL :]
        if start < self.at or due != self._lost:
            self.wrong = f"nonsense at {self.at}"
            return
        self.gaps.append((self.at, start))
        self.at = self._size


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def watch(size: int, seed: int, rate: float) -> int:
    watcher = Watcher(size, seed)
    start, count = time.monotonic(), 0
    while data := os.read(0, 1 << 17):
        watcher.feed(data)
        count += len(data)
        if rate:  # a slow reader is one: this is its pace, nothing waits for it
            time.sleep(max(0.0, count / rate - (time.monotonic() - start)))
    verdict = watcher.verdict()
    write_all(1, verdict.encode() + b"\n")
    return 0 if verdict.startswith("good") else 9


def main(verb: str, size: int, seed: int) -> int:
    if verb == "feed":
        for block in blocks(size, seed):
            write_all(1, block)
    elif verb in ("check", "copy", "raw"):
        checker = Checker(size, seed)
        if verb == "raw":
            import tty

            tty.setraw(0)
            write_all(1, b"ready\n")
        while verb != "raw" or checker.count < size:
            data = os.read(0, 1 << 17)
            if not data:
                break
            checker.feed(data)
            if verb != "check":
                write_all(1, data)
        write_all(
            2 if verb == "copy" else 1, b"\n" * (verb == "raw") + checker.verdict().encode() + b"\n"
        )
        return 0 if checker.verdict().startswith("good") else 9
    elif verb.startswith("watch"):
        return watch(size, seed, float(verb.partition("=")[2] or 0))
    elif verb == "lines":
        for number in range(size):
            line = sys.stdin.buffer.readline()
            if line != b"%d\n" % number:
                write_all(1, b"line %d is %r\n" % (number, line))
                return 9
            write_all(1, b"%d\n" % number)
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
