"""Sites, clusters and hosts by name, and what is known of them.

``g5k_configuration["testbed"]``, or GSHELL_TESTBED, or testbed.toml among the configuration, says
from where: a description (`platform`), a file or directory with one, or the address of a reference
API. Without any of them, the batch system of this host is asked.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from gshell import config
from gshell.errors import UsageError
from gshell.sweep.frontends import g5k_configuration
from gshell.sweep.hosts import Host

HERE = "this host's batch system"


class Known(NamedTuple):
    """A host and where it is."""

    site: str
    cluster: str
    attributes: dict[str, Any]


class Testbed:
    """All of it. Invariant: a host's attributes have ``uid``, its name, and ``network_address``."""

    def __init__(self, sites: Mapping[str, Any], source: str) -> None:
        """``sites``: name -> attributes, ``clusters`` among them: name -> attributes, ``hosts``
        among them: name -> attributes."""
        self.sites = sites
        self.source = source
        self.clusters = {
            cluster: (site, about)
            for site, here in sites.items()
            for cluster, about in here["clusters"].items()
        }
        self.hosts: dict[str, Known] = {}
        for cluster, (site, about) in self.clusters.items():
            for name, attributes in about["hosts"].items():
                known = Known(site, cluster, attributes)
                self.hosts[name] = self.hosts[attributes["network_address"]] = known

    def site(self, name: Any) -> Any:
        return self._one("site", getattr(name, "address", name), self.sites)

    def cluster(self, name: Any) -> tuple[str, Any]:
        found: tuple[str, Any] = self._one("cluster", name, self.clusters)
        return found

    def host(self, name: Any) -> Known:
        """By name or address; ``CLUSTER-N`` is the cluster's host number N, whatever it is called
        there."""
        address = str(getattr(name, "address", name))
        short = address.partition(".")[0]
        for one in (address, short):
            if one in self.hosts and (one == address or _at(address, self.hosts[one].site)):
                return self.hosts[one]
        cluster, _, number = short.rpartition("-")
        if cluster in self.clusters and number.isdigit():
            site, about = self.clusters[cluster]
            if 1 <= int(number) <= len(about["hosts"]) and _at(address, site):
                return Known(site, cluster, list(about["hosts"].values())[int(number) - 1])
        if number.isdigit() and cluster not in self.clusters:
            hint = _some("clusters", self.clusters, cluster)
        else:
            hint = _some("hosts", self.hosts, short)
        raise UsageError(
            f"host {address!r} is not known to {self.source}", hint=self._or_else(hint)
        )

    def _one(self, what: str, name: Any, among: Mapping[str, Any]) -> Any:
        if name not in among:
            raise UsageError(
                f"{what} {name!r} is not known to {self.source}",
                hint=self._or_else(_some(f"{what}s", among, str(name))),
            )
        return among[name]

    def _or_else(self, hint: str) -> str:
        return f"{hint}; others: describe them in {_usual()}" if self.source == HERE else hint


def _at(address: str, site: str) -> bool:
    labels = address.split(".")
    return len(labels) < 3 or labels[1] == site


def _some(what: str, names: Iterable[str], near: str) -> str:
    import difflib

    known = list(names)
    close = difflib.get_close_matches(near, known, 3)
    if close:
        return "did you mean " + " or ".join(close)
    return f"known {what}: " + (
        ", ".join(known[:8]) + (", ..." if len(known) > 8 else "") or "none"
    )


# ------------------------------------------------------------------------------ which it is

_lock = threading.RLock()
_loaded: dict[Any, Testbed] = {}


def testbed() -> Testbed:
    """The one that is configured, read once.

    Raises:
        UsageError: none is; it cannot be read, or makes no sense.
    """
    said = g5k_configuration["testbed"] or os.environ.get("GSHELL_TESTBED")
    if said is None and g5k_configuration["api_uri"]:
        said = g5k_configuration["api_uri"]
    if said is None:
        said = _usual() if os.path.exists(_usual()) else None
    key = (repr(said), _changed(said))
    with _lock:
        if key not in _loaded:
            _loaded[key] = _load(said)
        return _loaded[key]


def _usual() -> str:
    return os.path.join(config.config_dir(), "testbed.toml")


def _changed(said: Any) -> int:
    """When, if it is a file; a shell's user mends it and asks again."""
    try:
        return os.stat(os.path.expanduser(said)).st_mtime_ns if isinstance(said, str) else 0
    except OSError:
        return 0


def forget() -> None:
    """What was read; the next question reads it again."""
    with _lock:
        _loaded.clear()


def _load(said: Any) -> Testbed:
    from gshell.sweep import platform

    if isinstance(said, Mapping):
        return Testbed(platform.read(said, "the testbed"), "the testbed")
    if said is None:
        return Testbed(platform.here(), HERE)
    if re.match(r"https?://", str(said)):
        from gshell.sweep.refapi import Api

        return Testbed(Api(str(said)).sites(), str(said))
    return Testbed(platform.from_path(os.path.expanduser(str(said))), str(said))


# ------------------------------------------------------------------------------ as questions


def get_g5k_sites() -> list[str]:
    return list(testbed().sites)


Queues = str | Iterable[str] | None
"""Of a batch system: only clusters that one of them leads to, as far as that is known."""


def _of(queues: Queues, clusters: Iterable[str]) -> list[str]:
    wanted = [queues] if isinstance(queues, str) else list(queues or ())
    found = []
    for cluster in clusters:
        known = get_cluster_attributes(cluster).get("queues") if wanted else None
        if known is None or set(wanted) & set(known):
            found.append(cluster)
    return found


def get_g5k_clusters(queues: Queues = None) -> list[str]:
    return _of(queues, testbed().clusters)


def get_g5k_hosts(queues: Queues = None) -> list[str]:
    return [host for cluster in get_g5k_clusters(queues) for host in get_cluster_hosts(cluster)]


def get_site_clusters(site: str | Host, queues: Queues = None) -> list[str]:
    """Raises: UsageError: no such site."""
    return _of(queues, testbed().site(site)["clusters"])


def get_site_hosts(site: str | Host, queues: Queues = None) -> list[str]:
    clusters = get_site_clusters(site, queues)
    return [host for cluster in clusters for host in get_cluster_hosts(cluster)]


def get_cluster_hosts(cluster: str) -> list[str]:
    """Raises: UsageError: no such cluster."""
    return list(testbed().cluster(cluster)[1]["hosts"])


def get_cluster_site(cluster: str) -> str:
    """Raises: UsageError: no such cluster."""
    return testbed().cluster(cluster)[0]


def get_host_site(host: str | Host) -> str:
    """Raises: UsageError: no such host."""
    return testbed().host(host).site


def get_host_cluster(host: str | Host) -> str:
    """Raises: UsageError: no such host."""
    return testbed().host(host).cluster


def get_host_attributes(host: str | Host) -> dict[str, Any]:
    """Of a host, or of number N of a cluster (``CLUSTER-N``): ``["architecture"]["nb_cores"]`` and
    what else its source tells, under the names that Grid'5000 uses.

    Raises:
        UsageError: no such host.
    """
    return testbed().host(host).attributes


def get_cluster_attributes(cluster: str) -> dict[str, Any]:
    """Raises: UsageError: no such cluster."""
    about = testbed().cluster(cluster)[1]
    return {name: value for name, value in about.items() if name != "hosts"}


def get_site_attributes(site: str | Host) -> dict[str, Any]:
    """Raises: UsageError: no such site."""
    about = testbed().site(site)
    return {name: value for name, value in about.items() if name != "clusters"}


def get_host_shortname(host: str | Host) -> str:
    return str(getattr(host, "address", host)).partition(".")[0]


def group_hosts(hosts: Iterable[str | Host]) -> dict[str, dict[str, list[Any]]]:
    """Site -> cluster -> those of ``hosts`` that are there, as they were given."""
    grouped: dict[str, dict[str, list[Any]]] = {}
    for host in hosts:
        known = testbed().host(host)
        grouped.setdefault(known.site, {}).setdefault(known.cluster, []).append(host)
    return grouped
