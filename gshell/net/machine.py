"""Which machine this is, so that two processes can tell whether they share one; who we are on it;
and what it must not write down of us."""

from __future__ import annotations

import os

_machine_id = ""


def machine_id() -> str:
    """Equal in two processes iff they run as one user on one machine in one file system."""
    global _machine_id
    if not _machine_id:  # asked for with every step, and always the same
        try:
            with open("/proc/sys/kernel/random/boot_id") as file:
                boot = file.read().strip()
        except OSError:
            boot = os.uname().nodename
        root = os.stat("/")
        _machine_id = f"{boot}:{root.st_dev}:{root.st_ino}:{os.getuid()}"
    return _machine_id


def user_name() -> str:
    """Whose process this is, whatever USER says: it is somebody else's after `su`. The number where
    there is no name, as ps and squeue take it, too: a container's user need not have one."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


_core_limit: tuple[int, int] | None = None  # as we were started


def no_core_dumps() -> None:
    """Keys and other people's output are in our memory: it is not written down when we crash. Only
    the soft limit changes, so that what we start for the user can have it back."""
    import resource

    global _core_limit
    if _core_limit is None:
        _core_limit = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, _core_limit[1]))


class core_dumps_as_before:  # reads like what it does
    """In a ``with``: what is started now gets the limit that we were started with."""

    def __enter__(self) -> None:
        self._set(_core_limit)

    def __exit__(self, *_: object) -> None:
        self._set(_core_limit and (0, _core_limit[1]))

    def _set(self, limit: tuple[int, int] | None) -> None:
        if limit is not None:
            import resource

            resource.setrlimit(resource.RLIMIT_CORE, limit)
