"""An opening kept warm may be dead without a sign when it is needed."""

from __future__ import annotations

import time

from fault.lab import two_legs, warm


def test_a_run_on_a_dead_warm_opening_goes_on_over_a_new_connection_soon() -> None:
    with two_legs() as lab:
        warm(lab.env)
        lab.clients.hole("data")
        began = time.monotonic()
        done = lab.env.gshell("run", "--", "sh", "-c", "echo yes; exit 5")
        assert (done.returncode, done.stdout) == (5, b"yes\n"), done.stderr
        assert time.monotonic() - began < 20.0
