"""Who works on something, and whether they still live: by host, process and start, or by how long
ago they were heard of."""

from __future__ import annotations

import os
import socket
import time
from typing import NamedTuple

BEAT_S = 15.0  # who works says so this often
SILENT_S = 120.0  # and on another host counts as dead after this; clocks may differ by some of it
_NETWORKS = {  # file systems between hosts, by the names /proc/mounts has for them
    "nfs", "nfs4", "lustre", "gpfs", "beegfs", "fhgfs", "ceph", "cephfs", "glusterfs",
    "fuse.glusterfs", "fuse.sshfs", "cifs", "smb3", "smbfs", "afs", "pvfs2", "orangefs", "panfs",
    "9p", "virtiofs",
}  # fmt: skip


class Owner(NamedTuple):
    """A process, among all that ever were."""

    host: str
    boot: str
    """Of the host, and the processes that it could see there: a container has its own."""
    pid: int
    started: str
    """In ticks since the boot."""


def myself() -> Owner:
    pid = os.getpid()
    return Owner(socket.gethostname(), _boot(), pid, _started(pid))


def is_alive(owner: Owner, silent_s: float) -> bool:
    """``silent_s``: since when it has not been heard of."""
    if owner.host != socket.gethostname():
        return silent_s < SILENT_S
    here, there = _boot(), owner.boot
    if here == there:
        return owner.started == _started(owner.pid) != ""
    if here.split()[0] == there.split()[0]:  # in a container beside us
        return silent_s < SILENT_S
    # Dead since this host was started last; but who was heard of after that is on another host,
    # which has the same name.
    return silent_s < min(SILENT_S, time.clock_gettime(time.CLOCK_BOOTTIME))


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return "? ?"


def _started(pid: int) -> str:
    """When it began; empty if there is none, or only what is left of one."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(") ")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def on_network(path: str, mounts: str = "/proc/mounts") -> bool:
    """Is ``path`` on a file system that other hosts have too?"""
    where = os.path.realpath(path)
    best, kind = "", ""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                fields = line.split()
                point = fields[1].replace("\\040", " ")
                inside = where == point or where.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best):
                    best, kind = point, fields[2]
    except (OSError, IndexError):
        return True  # then better slow than wrong
    return kind in _NETWORKS
