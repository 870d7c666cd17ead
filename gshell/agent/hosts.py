"""What a member says of its machine, and how a job's hosts are told to mpi-start."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from gshell.net.machine import machine_id


def member_of(host: str) -> dict[str, Any]:
    """Of this one, for the head."""
    return {"host": host, "machine": machine(host), "cpus": len(os.sched_getaffinity(0))}


def machine(host: str) -> str:
    """Equal where processes share memory and a name."""
    try:
        net = os.stat("/proc/self/ns/net").st_ino
        ipc = os.stat("/proc/self/ns/mnt").st_ino
    except OSError:
        net = ipc = 0
    return f"{machine_id()}:{host}:{net}:{ipc}"


def of_hosts(names: list[str], slots: Iterable[int]) -> str:
    """GSHELL_HOSTS of members with these names.

    >>> of_hosts(["a", "a", "b"], [2, 1, 4])
    '.:2 .:1 b:4'
    """
    return " ".join(f"{'.' if n == names[0] else n}:{count}" for n, count in zip(names, slots))
