"""Ports for tests. Knows no test."""

from __future__ import annotations

import os
import random
import socket

HOST = "127.0.0.1"
BELOW_THE_SYSTEMS_OWN = range(20_000, 32_000)
_luck = random.Random(os.urandom(8))  # not the seed of a test's


def free_port() -> int:
    """One that nobody has now, nor gets by chance before it is used, or used again: the system
    gives those who ask for any port other numbers."""
    while True:
        port = _luck.choice(BELOW_THE_SYSTEMS_OWN)
        try:
            with socket.create_server((HOST, port)):
                return port
        except OSError:
            continue
