"""A program whose input and output are both known afterwards. A script: ``talk.py LEDGER``.

It writes what it reads to LEDGER.in and then to stdout; its first deed is a line in LEDGER.starts. A line
``end N`` ends it with status N.
"""

from __future__ import annotations

import os
import sys

LAST = b"end "


def main(ledger: str) -> int:
    with open(ledger + ".starts", "ab", 0) as starts:
        starts.write(b"%d\n" % os.getpid())
    tail = b""
    with open(ledger + ".in", "ab", 0) as record:
        while True:
            data = os.read(0, 1 << 16)
            if not data:
                return 3  # nobody said how to end
            record.write(data)
            view = memoryview(data)
            while view:
                view = view[os.write(1, view) :]
            tail = (tail + data)[-16:]
            words = tail.rpartition(b"\n" + LAST)[2] if tail.endswith(b"\n") else b""
            if words.strip().isdigit() and b"\n" + LAST in tail:
                return int(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
