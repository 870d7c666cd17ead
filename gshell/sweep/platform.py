"""Descriptions of testbeds: as values, as files, and from what batch systems say of themselves.

    [sites.lyon]
    clusters.edel = { hosts = 4, cores = 8 }              # edel-1 ... edel-4
    clusters.old = { hosts = ["n1", "n2"], cores = 2, architecture.platform_type = "x86_64" }

    [sites.lyon.clusters.mixed.hosts]
    mixed-1 = { cores = 8 }
    mixed-2 = { cores = 16, network_address = "10.0.0.2" }

    [sites.nancy]
    ask = "oar"                                           # its front end; or "slurm"

A directory has a file for each site (lyon.toml, with ``clusters`` at the top), or the tree of a
reference repository: sites/SITE/clusters/CLUSTER/nodes/*.json.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from gshell.errors import GshellError, UsageError
from gshell.lrms import common, oar
from gshell.lrms.base import Command
from gshell.sweep import frontends
from gshell.sweep.batch import in_order

MIB = 1024 * 1024


def read(said: Any, source: str) -> dict[str, Any]:
    """Sites as `testbed.Testbed` wants them, of a description.

    Raises:
        UsageError: it makes no sense; a site that is to be asked does not answer.
    """
    sites = _table(said.get("sites") if isinstance(said, Mapping) else None, f"{source}: sites")
    return {name: _site(name, about, f"{source}: sites.{name}") for name, about in sites.items()}


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{where} should be a table, it is {value!r}")
    return value


def _site(name: str, said: Any, where: str) -> dict[str, Any]:
    about = dict(_table(said, where))
    asked = about.pop("ask", None)
    if asked is not None:
        if asked not in ASKED:
            raise UsageError(f"{where}.ask is {asked!r}: one of {', '.join(ASKED)}")
        return {**about, **_asked(asked, name, name)}
    clusters = _table(about.get("clusters"), f"{where}.clusters")
    about["clusters"] = {
        one: _cluster(one, cluster, f"{where}.clusters.{one}") for one, cluster in clusters.items()
    }
    return about


def _cluster(name: str, said: Any, where: str) -> dict[str, Any]:
    about = dict(_table(said, where))
    hosts = about.pop("hosts", None)
    if isinstance(hosts, int) and not isinstance(hosts, bool) and hosts >= 0:
        hosts = [f"{name}-{number}" for number in range(1, hosts + 1)]
    if isinstance(hosts, list):
        hosts = {str(one): {} for one in hosts}
    if not isinstance(hosts, Mapping):
        raise UsageError(f"{where}.hosts should be a number, a list or a table, it is {hosts!r}")
    about = _cores(about, where)
    found = {}
    for one, more in hosts.items():
        own = _cores(_table(more, f"{where}.hosts.{one}"), f"{where}.hosts.{one}")
        parts = {**about.get("architecture", {}), **own.get("architecture", {})}
        found[one] = host(one, {**about, **own, **({"architecture": parts} if parts else {})})
    return {**about, "hosts": found}


def _cores(said: Mapping[str, Any], where: str) -> dict[str, Any]:
    """``cores`` is short for architecture.nb_cores."""
    about = dict(said)
    if "cores" in about:
        cores = about.pop("cores")
        if not isinstance(cores, int) or cores < 1:
            raise UsageError(f"{where}: cores is {cores!r}")
        about["architecture"] = {**about.get("architecture", {}), "nb_cores": cores}
    return about


def host(name: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """A host's attributes, complete."""
    about = {key: value for key, value in said.items() if key != "hosts"}
    about.setdefault("uid", name)
    about.setdefault("network_address", name)
    return about


# ------------------------------------------------------------------------------ files


def from_path(path: str) -> dict[str, Any]:
    """Raises: UsageError: it cannot be read, or makes no sense."""
    if not os.path.isdir(path):
        return read(_file(path), path)
    if os.path.isdir(os.path.join(path, "sites")):
        return _tree(os.path.join(path, "sites"))
    files = sorted(name for name in os.listdir(path) if name.endswith((".toml", ".json")))
    if not files:
        raise UsageError(f"{path} has neither sites/ nor SITE.toml nor SITE.json")
    said = {os.path.splitext(name)[0]: _file(os.path.join(path, name)) for name in files}
    return read({"sites": said}, path)


def _file(path: str) -> Any:
    try:
        with open(path, "rb") as file:
            return json.load(file) if path.endswith(".json") else tomllib.load(file)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None


def _tree(top: str) -> dict[str, Any]:
    sites: dict[str, Any] = {}
    for site in sorted(os.listdir(top)):
        clusters: dict[str, Any] = {}
        folder = os.path.join(top, site, "clusters")
        for cluster in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            clusters[cluster] = {"hosts": _nodes(os.path.join(folder, cluster), site)}
        sites[site] = {"clusters": clusters}
    return sites


def _nodes(folder: str, site: str) -> dict[str, Any]:
    nodes = os.path.join(folder, "nodes")
    if os.path.isdir(nodes):
        items = [_file(os.path.join(nodes, name)) for name in os.listdir(nodes)]
    elif os.path.exists(nodes + ".json"):
        found = _file(nodes + ".json")
        items = found.get("items", []) if isinstance(found, dict) else found
    else:
        items = []
    return by_name(items, site, folder)


def by_name(items: Any, site: str, where: str) -> dict[str, Any]:
    """Hosts of a reference API's ``items``, in the order of their numbers."""
    if not isinstance(items, list) or not all(
        isinstance(one, dict) and isinstance(one.get("uid"), str) for one in items
    ):
        raise UsageError(f"{where}: these are no nodes with a uid each")
    named = {one["uid"]: one for one in items}
    return {
        name: host(name, {"network_address": f"{name}.{site}.grid5000.fr", **named[name]})
        for name in in_order(named)
    }


# ------------------------------------------------------------------------------ batch systems


def here() -> dict[str, Any]:
    """Of this host's batch system; its site has this host's name.

    Raises:
        UsageError: it has none.
    """
    refused = None
    for kind, (tool, _) in ASKED.items():
        if shutil.which(tool):
            site = socket.gethostname()
            try:
                return {site: _asked(kind, site, None)}
            except GshellError as error:  # its commands are installed, that is all
                refused = refused or error
    raise refused or UsageError(
        "no testbed is described, and there is no batch system on this host",
        hint="GSHELL_TESTBED=FILE, or g5k_configuration['testbed']: a file, a table, an API",
    )


def _asked(kind: str, name: str, site: str | None) -> dict[str, Any]:
    return {"clusters": ASKED[kind][1](name, site)}


def _answer(argv: list[str], site: str | None) -> Any:
    done = frontends.ask([Command(argv)], site)[0]
    if done.code:
        words = done.err.strip() or f"ended with code {done.code}"
        raise UsageError(f"{argv[0]} at {site or 'this host'}: {words}")
    return done


def _oar(name: str, site: str | None) -> dict[str, Any]:
    """By the property ``cluster``, or one named as the site where OAR has no such property."""
    found: dict[str, dict[str, list[Any]]] = {}
    for resource in oar.jobs_of("oarnodes", _answer(["oarnodes", "-J"], site)).values():
        address = resource.get("network_address")
        if address and resource.get("type", "default") == "default":
            cluster = str(resource.get("cluster") or name)
            found.setdefault(cluster, {}).setdefault(str(address), []).append(resource)
    return {
        cluster: {"hosts": {one: _of_oar(one, hosts[one]) for one in in_order(hosts)}}
        for cluster, hosts in sorted(found.items())
    }


def _of_oar(address: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    def different(field: str) -> int:
        return len({row[field] for row in rows if row.get(field) is not None})

    about: dict[str, Any] = {
        "architecture": {
            "nb_cores": different("core") or len(rows), "nb_procs": different("cpu") or 1,
        },
        "state": rows[0].get("state"),
    }  # fmt: skip
    if isinstance(rows[0].get("memnode"), int):
        about["main_memory"] = {"ram_size": rows[0]["memnode"] * MIB}
    return host(address, about)


def _slurm(name: str, site: str | None) -> dict[str, Any]:
    """Slurm's own name is its one cluster's."""
    config = _answer(["scontrol", "show", "config"], site).out
    cluster = next(
        (
            value.strip()
            for line in config.splitlines()
            for key, _, value in [line.partition("=")]
            if key.strip() == "ClusterName"
        ),
        name,
    )
    hosts: dict[str, Any] = {}
    lines = _answer(["sinfo", "-h", "-N", "-o", "%N|%c|%X|%m|%T|%R"], site).out.splitlines()
    for line in lines:
        fields = line.split("|")
        if len(fields) != 6:
            raise UsageError(f"sinfo at {site or 'this host'}: {line!r} is no node")
        address, cores, sockets, memory, state, partition = (one.strip() for one in fields)
        about = hosts.setdefault(address, {"partitions": []})
        about["partitions"].append(partition)
        about["state"] = state
        about["architecture"] = {
            "nb_cores": common.number(cores) or 1, "nb_procs": common.number(sockets) or 1,
        }  # fmt: skip
        about["main_memory"] = {"ram_size": (common.number(memory) or 0) * MIB}
    return {cluster: {"hosts": {one: host(one, hosts[one]) for one in in_order(hosts)}}}


ASKED: dict[str, tuple[str, Callable[[str, str | None], dict[str, Any]]]] = {
    "oar": ("oarnodes", _oar), "slurm": ("sinfo", _slurm),
}  # fmt: skip
