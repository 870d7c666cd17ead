"""Writes numbered blocks at a steady rate until its input ends. A script: ``pace.py RATE SEED``.

Then it says on stderr how many bytes that were; its status is 4.
"""

from __future__ import annotations

import os
import random
import select
import sys
import time

BLOCK = 1 << 14


def base(seed: int) -> bytes:
    return random.Random(seed).randbytes(BLOCK + 4096)


def block(pattern: bytes, number: int) -> bytes:
    """All are different, so that none can stand in for another."""
    at = number * 61 % 4096
    return number.to_bytes(8, "big") + pattern[at : at + BLOCK - 8]


def main(rate: int, seed: int) -> int:
    pattern, number = base(seed), 0
    began = time.monotonic()
    while True:
        due = int((time.monotonic() - began) * rate / BLOCK)
        if number >= due:
            if select.select([0], [], [], 0.02)[0] and not os.read(0, 4096):
                break
            continue
        view = memoryview(block(pattern, number))
        while view:
            view = view[os.write(1, view) :]
        number += 1
        if number % 16 == 0 and select.select([0], [], [], 0)[0] and not os.read(0, 4096):
            break
    os.write(2, b"%d\n" % (number * BLOCK))
    return 4


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
