"""Which machine this is, so that two processes can tell whether they share one."""

from __future__ import annotations

import os


def machine_id() -> str:
    """Equal in two processes iff they run as one user on one machine in one file system."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
    except OSError:
        boot = os.uname().nodename
    root = os.stat("/")
    return f"{boot}:{root.st_dev}:{root.st_ino}:{os.getuid()}"
