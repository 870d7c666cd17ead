"""What agents and sites are, under the names that requirements use: short ones of our own, and
those of GLUE 1.3 that the grid's users know. Every name is computed from facts as the broker and
the `sites` verb tell them; what is not known is None, and then undefined in an expression.

Walltimes are minutes and memory is MB here, as GLUE has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Facts = Mapping[str, Any]
_UNLIMITED_MIN = 999_999_999  # GLUE's word for "no limit"


def getter(name: str) -> Callable[[Facts], Any]:
    """What takes one value of an AGENT (or offer) or a SITE; ``name`` in whatever case."""
    low = name.lower()
    compute = TABLE.get(low)
    if compute is None:
        return lambda facts: _plain(low, facts)
    known = compute

    def computed(facts: Facts) -> Any:
        found = known(facts)
        return found if found is not None else _plain(low, facts)

    return computed


def fact(name: str, facts: Facts) -> Any:
    """That value."""
    return getter(name)(facts)


def _plain(low: str, facts: Facts) -> Any:
    """As somebody said it: an agent of itself in its `ad`, too."""
    more = facts.get("ad")
    for place in (facts, more) if isinstance(more, Mapping) else (facts,):
        found = place.get(low)
        if found is not None:
            return found
        for name, value in place.items():
            if isinstance(name, str) and name.lower() == low and value is not None:
                return value
    return None


def _number(facts: Facts, *names: str) -> Any:
    for name in names:
        found = _plain(name, facts)
        if isinstance(found, int | float) and not isinstance(found, bool):
            return found
    return None


def _text(facts: Facts, *names: str) -> str | None:
    for name in names:
        found = _plain(name, facts)
        if isinstance(found, str) and found:
            return found
    return None


def is_site(facts: Facts) -> bool:
    """A SITE has a name of its own and plug-in; an agent has a host."""
    return "max_agents" in facts or ("lrms" in facts and "host" not in facts)


def queues(facts: Facts) -> list[Facts]:
    """A site's queues, as it told them; the one meant, if one is."""
    ad = facts.get("ad")
    told = ad.get("queues") if isinstance(ad, Mapping) else None
    found = [one for one in told if isinstance(one, Mapping)] if isinstance(told, list) else []
    wanted = facts.get("queue")
    if wanted:
        found = [one for one in found if one.get("name") == wanted] or found
    return found


def _queue_sum(facts: Facts, name: str) -> Any:
    told = [one[name] for one in queues(facts) if isinstance(one.get(name), int)]
    return sum(told) if told else None


# ------------------------------------------------------------------------------------ our own names


def site(facts: Facts) -> str | None:
    return _text(facts, "name") if is_site(facts) else _text(facts, "site")


def host(facts: Facts) -> str | None:
    if not is_site(facts):
        return _text(facts, "host")
    return str(facts.get("ssh") or "").rpartition("@")[2] or _text(facts, "name")


def lrms(facts: Facts) -> str | None:
    return _text(facts, "lrms") or ("fork" if not is_site(facts) else None)


def queue(facts: Facts) -> str | None:
    named = _text(facts, "queue")
    if named:
        return named
    told = queues(facts)
    default = next((one for one in told if one.get("default")), told[0] if told else {})
    return _text(default, "name") or "gshell"


def cpus(facts: Facts) -> Any:
    if is_site(facts):
        return _number(facts, "cpus") or _queue_sum(facts, "cpus")
    return _number(facts, "cpus")


def free_slots(facts: Facts) -> Any:
    if is_site(facts):
        return _number(facts, "cpus_free", "free") or _queue_sum(facts, "cpus_free") or 0
    return _number(facts, "free")


def slots(facts: Facts) -> Any:
    return cpus(facts) if is_site(facts) else _number(facts, "slots")


def memory_mb(facts: Facts) -> Any:
    bytes_ = _number(facts, "memory_bytes")
    if bytes_ is None and is_site(facts):
        told = [one["memory_bytes"] for one in queues(facts) if one.get("memory_bytes")]
        bytes_ = max(told, default=None)
    return int(bytes_) >> 20 if bytes_ is not None else None


def tags(facts: Facts) -> list[str]:
    found = _plain("tags", facts)
    more = _plain("software", facts)
    lists = [one for one in (found, more) if isinstance(one, list)]
    return [str(tag) for one in lists for tag in one]


def environments(facts: Facts) -> list[str]:
    """Every agent has an mpi-start, and a site's will."""
    found = tags(facts)
    return found if "MPI-START" in found else [*found, "MPI-START"]


def ends_in(facts: Facts) -> Any:
    """Seconds until the batch system ends it, as of when the broker looked."""
    return _number(facts, "ends_in")


def os_name(facts: Facts) -> str | None:
    return _text(facts, "os_name", "os", "system")


# -------------------------------------------------------------------------------------------- GLUE


def unique_id(facts: Facts) -> str:
    return f"{host(facts)}:2119/jobmanager-{lrms(facts)}-{queue(facts)}"


def status(facts: Facts) -> str:
    state = str(facts.get("state") or "ok")
    if state in ("draining", "away", "paused"):
        return {"draining": "Draining", "away": "Closed", "paused": "Closed"}[state]
    return "Production"


def response_s(facts: Facts) -> int:
    """How long until a job begins there: agents that have room are best."""
    if is_site(facts):
        waiting = _queue_sum(facts, "waiting") or 0
        return 30 if free_slots(facts) else 3600 + 60 * int(waiting)
    return 0 if (free_slots(facts) or 0) > 0 else 600


def walltime_min(facts: Facts) -> int:
    seconds = ends_in(facts)
    if seconds is None and is_site(facts):
        told = [one["walltime_s"] for one in queues(facts) if one.get("walltime_s")]
        seconds = _number(facts, "walltime") or max(told, default=None)
    return int(seconds) // 60 if seconds else _UNLIMITED_MIN


def busy_slots(facts: Facts) -> Any:
    if is_site(facts):
        return _queue_sum(facts, "running") or 0
    total, free = slots(facts), free_slots(facts)
    return total - free if total is not None and free is not None else None


def waiting_jobs(facts: Facts) -> int:
    return _queue_sum(facts, "waiting") or 0 if is_site(facts) else 0


def _constant(value: Any) -> Callable[[Facts], Any]:
    return lambda facts: value


def _of(*names: str) -> Callable[[Facts], Any]:
    return lambda facts: _text(facts, *names)


_NAMES: dict[str, Callable[[Facts], Any]] = {
    "cpus": cpus,
    "slots": slots,
    "free_slots": free_slots,
    "memory_mb": memory_mb,
    "host": host,
    "site": site,
    "lrms": lrms,
    "queue": queue,
    "tags": tags,
    "ends_in": ends_in,
    "os": os_name,
    "cpu_model": _of("cpu_model", "model"),
    "id": lambda facts: _text(facts, "id", "name"),
    "GlueCEUniqueID": unique_id,
    "GlueCEName": queue,
    "GlueCEHostingCluster": host,
    "GlueCEInfoHostName": host,
    "GlueCEInfoGatekeeperPort": _constant("2119"),
    "GlueCEInfoJobManager": lrms,
    "GlueCEInfoLRMSType": lrms,
    "GlueCEInfoLRMSVersion": _of("lrms_version"),
    "GlueCEInfoTotalCPUs": slots,
    "GlueCEInfoApplicationDir": _of("application_dir"),
    "GlueCEStateStatus": status,
    "GlueCEStateFreeCPUs": free_slots,
    "GlueCEStateFreeJobSlots": free_slots,
    "GlueCEStateRunningJobs": busy_slots,
    "GlueCEStateWaitingJobs": waiting_jobs,
    "GlueCEStateTotalJobs": lambda facts: (busy_slots(facts) or 0) + waiting_jobs(facts),
    "GlueCEStateEstimatedResponseTime": response_s,
    "GlueCEStateWorstResponseTime": response_s,
    "GlueCEPolicyMaxCPUTime": walltime_min,
    "GlueCEPolicyMaxWallClockTime": walltime_min,
    "GlueCEPolicyMaxObtainableWallClockTime": walltime_min,
    "GlueCEPolicyMaxRunningJobs": slots,
    "GlueCEPolicyMaxTotalJobs": slots,
    "GlueCEPolicyPriority": _constant(1),
    "GlueCEPolicyAssignedJobSlots": slots,
    "GlueCEAccessControlBaseRule": lambda facts: [f"VO:{facts.get('user') or 'gshell'}"],
    "GlueClusterUniqueID": host,
    "GlueClusterName": site,
    "GlueSiteUniqueID": site,
    "GlueSiteName": site,
    "GlueHostApplicationSoftwareRunTimeEnvironment": environments,
    "GlueHostArchitectureSMPSize": cpus,
    "GlueHostArchitecturePlatformType": _of("machine", "arch"),
    "GlueHostProcessorModel": _of("cpu_model", "model"),
    "GlueHostProcessorVendor": _of("cpu_vendor"),
    "GlueHostProcessorClockSpeed": lambda facts: _number(facts, "cpu_mhz"),
    "GlueHostMainMemoryRAMSize": memory_mb,
    "GlueHostMainMemoryVirtualSize": memory_mb,
    "GlueHostOperatingSystemName": os_name,
    "GlueHostOperatingSystemRelease": _of("os_release", "kernel"),
    "GlueHostOperatingSystemVersion": _of("os_version"),
    "GlueHostNetworkAdapterInboundIP": _constant(False),
    "GlueHostNetworkAdapterOutboundIP": _constant(True),
    "GlueHostBenchmarkSI00": lambda facts: _number(facts, "benchmark", "benchmark_si00"),
    "GlueHostBenchmarkSF00": lambda facts: _number(facts, "benchmark"),
    "GlueSubClusterPhysicalCPUs": cpus,
    "GlueSubClusterLogicalCPUs": cpus,
    "GlueCESEBindGroupSEUniqueID": _constant([]),
}
TABLE = {name.lower(): compute for name, compute in _NAMES.items()}


def names() -> list[str]:
    """All that always have a meaning, as they are written."""
    return list(_NAMES)
