"""Writes a flow of bytes at a steady rate. A script: ``paced.py MB_PER_S SIZE SEED``.

As ``flow.py feed``, but each block has its time, and at the end stderr says how many seconds all of
it took and how many of them it stood in write(2). A block that is late makes the next ones no
later, so only who is slowed for good takes longer.
"""

from __future__ import annotations

import os
import runpy
import sys
import time


def main(rate: float, size: int, seed: int) -> int:
    flow = runpy.run_path(os.path.join(os.path.dirname(os.path.abspath(__file__)), "flow.py"))
    begun = time.monotonic()
    written, stood = 0, 0.0
    for block in flow["blocks"](size, seed):
        due = begun + written / rate
        now = time.monotonic()
        if due > now:
            time.sleep(due - now)
            now = time.monotonic()
        flow["write_all"](1, block)
        stood += time.monotonic() - now
        written += len(block)
    sys.stderr.write(f"took {time.monotonic() - begun:.4f} stood {stood:.4f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) * 1e6, int(sys.argv[2]), int(sys.argv[3])))
