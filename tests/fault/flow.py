"""Makes, copies and checks a numbered flow of bytes. A script: ``flow.py VERB SIZE SEED``.

feed     writes SIZE bytes
check    reads them, says on its last line how many came and whether they were the right ones
copy     copies stdin to stdout until its end; then says the same on stderr
raw      as ``copy``, but for SIZE bytes through a terminal, which it makes raw
lines    writes SIZE numbered lines, one for each line that it reads; its status is 5
"""

from __future__ import annotations

import hashlib
import os
import random
import sys

BLOCK = 1 << 16


def blocks(size: int, seed: int):
    """``size`` bytes in blocks that are all different, so that none can stand in for another."""
    base = random.Random(seed).randbytes(BLOCK + 4096)
    for number in range(-(-size // BLOCK)):
        at = number * 61 % 4096
        block = number.to_bytes(8, "big") + base[at : at + BLOCK - 8]
        yield block[: size - number * BLOCK]


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


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


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
