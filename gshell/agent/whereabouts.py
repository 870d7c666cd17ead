"""Where a node is, as its neighbours see it: its addresses, and whether two share a directory."""

from __future__ import annotations

import os
import socket
import stat

from gshell.net.machine import machine_id
from gshell.net.place import Place

MOST_ADDRESSES = 4  # of a node: what more there is are bridges of its own
OF_NETWORKS = (
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.ceph-fuse", "fuse.glusterfs", "fuse.juicefs",
    "fuse.sshfs", "gpfs", "lustre", "nfs", "nfs4", "orangefs", "panfs", "pvfs2", "smb3", "wekafs",
)  # fmt: skip
"""File systems whose source and inodes are the same on all nodes."""


def addresses() -> list[str]:
    """Where others may reach this node, likely ones first; none that only we can."""
    found = []
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:  # nothing is sent
                probe.connect((far, 9))
                found.append(str(probe.getsockname()[0]))
        except OSError:
            continue
    try:
        with open("/proc/net/fib_trie") as file:
            found += local_addresses(file.read())
    except OSError:
        pass
    usual = [one for one in dict.fromkeys(found) if not one.startswith(("127.", "::1"))]
    return usual[:MOST_ADDRESSES]


def local_addresses(text: str) -> list[str]:
    """The IPv4 addresses of this host, of the kernel's table of routes."""
    out, last = [], ""
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["|--"] and len(words) > 1:
            last = words[1]
        elif words[:3] == ["/32", "host", "LOCAL"]:
            out.append(last)
    return out


def spot(place: Place, path: str) -> str:
    """The same for two nodes if what is written to ``path`` by one is there for the other; the
    directory that it is, or the one it would be in, with its name.

    Raises:
        Trouble: there is no such directory.
    """
    above, name = place.folder(path or ".")
    try:
        try:
            status = os.stat(name, dir_fd=above)
        except OSError:
            status = None
        if status is not None and stat.S_ISDIR(status.st_mode):
            return f"{_file_system(status.st_dev)}:{status.st_ino}"
        status = os.fstat(above)
        return f"{_file_system(status.st_dev)}:{status.st_ino}/{name}"
    finally:
        os.close(above)


def _file_system(device: int) -> str:
    try:
        with open("/proc/self/mountinfo", errors="replace") as file:
            kind, source = mounted(file.read(), device)
    except OSError:
        kind = source = ""
    return f"{kind}:{source}" if kind in OF_NETWORKS else f"{machine_id()}:{device}"


def mounted(text: str, device: int) -> tuple[str, str]:
    """The kind and source of a file system, of the kernel's table of mounts."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in text.splitlines():
        words, _, rest = line.partition(" - ")
        fields, facts = words.split(), rest.split()
        if len(fields) > 2 and fields[2] == wanted and len(facts) > 1:
            return facts[0], facts[1]
    return "", ""
