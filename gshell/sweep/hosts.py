"""Hosts, and how they are reached."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from gshell.errors import UsageError
from gshell.sweep.log import logger

default_connection_params: dict[str, Any] = {
    "user": None,
    "keyfile": None,
    "port": None,
    "ssh": "asyncssh",
    "ssh_options": (),
    "connect_timeout": 20.0,
    "host_rewrite_func": None,
    "check_host_key": False,
    "pty": False,
    "limit": 100,
}
"""How hosts are reached, where nothing else is said.

``ssh``: ``asyncssh``, which uses one connection for all that is done on a host, or the words of a
program (``("ssh",)``), which is then started for each process. ``ssh_options``: words for that
program. ``check_host_key``: refuse hosts that ~/.ssh/known_hosts does not know; nodes of a testbed
are installed anew all the time, so not by default. ``limit``: connections that are being made at
the same time. ``pty``: remote processes have a terminal (and no stderr of their own).
"""
UNUSED = frozenset(
    ("scp", "scp_options", "taktuk", "taktuk_options", "taktuk_connector",
     "taktuk_connector_options", "chainput_nc_client_timeout", "chainput_nc_server_timeout",
     "chainput_host_retry", "chainput_chain_retry", "chainput_try_delay", "nc",
     "forwarding_timeout")
)  # fmt: skip
"""Of execo's ways to reach hosts: who gives these need not take them out."""
default_frontend_connection_params: dict[str, Any] = {}
"""What is different for front ends, where jobs are reserved."""


class Host:
    """A host by its address; what is None is as the connection parameters say. Hosts are equal if
    all of them are."""

    __slots__ = ("address", "keyfile", "port", "user")

    def __init__(
        self,
        address: str | Host,
        user: str | None = None,
        keyfile: str | None = None,
        port: int | None = None,
    ) -> None:
        if isinstance(address, Host):
            user, keyfile = user or address.user, keyfile or address.keyfile
            port, address = port or address.port, address.address
        if not address or address != address.strip() or address.startswith("-"):
            raise UsageError(f"{address!r} is no host's address")
        self.address: str = address
        self.user: str | None = user or None
        self.keyfile: str | None = keyfile or None
        self.port: int | None = port or None

    def _key(self) -> tuple[Any, ...]:
        return (self.address, self.user, self.keyfile, self.port)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Host) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __lt__(self, other: Host) -> bool:
        return [str(one) for one in self._key()] < [str(one) for one in other._key()]

    def __repr__(self) -> str:
        more = [f"{name}={value!r}" for name in ("user", "keyfile", "port")
                if (value := getattr(self, name)) is not None]  # fmt: skip
        return f"Host({', '.join([repr(self.address), *more])})"

    def __str__(self) -> str:
        return repr(self)


def get_hosts_list(hosts: str | Host | Iterable[str | Host]) -> list[Host]:
    """Of one or several, as they come."""
    if isinstance(hosts, str | Host):
        hosts = [hosts]
    return [one if isinstance(one, Host) else Host(one) for one in hosts]


def connection(params: Mapping[str, Any] | None, host: Host) -> dict[str, Any]:
    """Everything that is to be known for reaching ``host``.

    Raises:
        UsageError: a parameter that does not exist.
    """
    merged = dict(default_connection_params)
    for name, value in (params or {}).items():
        if name in UNUSED:
            continue
        if name not in merged:
            raise UsageError(
                f"connection parameter {name!r} does not exist",
                hint="one of " + ", ".join(sorted(merged)),
            )
        if value is not None:
            merged[name] = value
    for name in ("user", "keyfile", "port"):
        if getattr(host, name) is not None:
            merged[name] = getattr(host, name)
    if merged["ssh"] == "asyncssh" and merged["ssh_options"]:
        _said(merged["ssh_options"])
    return merged


def _said(options: Any) -> None:
    """Once, what of them nobody will read."""
    words = shlex.split(options) if isinstance(options, str) else list(map(str, options))
    unread = [word for word in words if word not in EXPECTED]
    if unread and not _unread:
        _unread.append(unread)
        logger.warning(
            "ssh_options are for a program (connection parameter ssh=('ssh',)), not for asyncssh,"
            " which reads ~/.ssh/config: %s", shlex.join(unread),
        )  # fmt: skip


EXPECTED = frozenset(
    ("-tt", "-t", "-T", "-q", "-x", "-o", "BatchMode=yes", "PasswordAuthentication=no",
     "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=20")
)  # fmt: skip
"""Options that execo has by itself: they ask for nothing that is not so here."""
_unread: list[list[str]] = []
