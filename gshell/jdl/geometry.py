"""How many processes on how many hosts: CpuNumber, NodeNumber, HostNumber, SMPGranularity,
WholeNodes. Pure arithmetic."""

from __future__ import annotations

from typing import NamedTuple

MOST = 1 << 20


class Geometry(NamedTuple):
    cpus: int = 1
    """Processes, in all."""
    hosts: int = 0
    """Exactly so many; 0: wherever there is room."""
    per_host: int = 0
    """Of each host: at least so many cores of it; 0: as it comes."""
    whole: bool = False
    """Nothing else on these hosts."""

    @property
    def agents(self) -> int:
        """How many agents it takes."""
        return self.hosts or 1

    @property
    def slots(self) -> int:
        """On each of them."""
        return max(-(-self.cpus // self.agents), self.per_host)


SINGLE = Geometry()
"""What a job is that says nothing."""


def geometry(cpus: int | None, hosts: int | None, granularity: int | None, whole: bool) -> Geometry:
    """
    Raises:
        ValueError: they contradict each other; says how.
    """
    for name, value in (
        ("CpuNumber", cpus), ("HostNumber", hosts), ("SMPGranularity", granularity),
    ):  # fmt: skip
        if value is not None and not 1 <= value <= MOST:
            least = f"1 to {MOST}" if value > MOST else "1 or more"
            raise ValueError(f"{name} = {value}: it is {least}")
    count = cpus or 1
    if hosts is not None and hosts > count:
        raise ValueError(f"HostNumber = {hosts} hosts for CpuNumber = {count} processes")
    if granularity is not None and not whole:
        needed = -(-count // granularity)
        if hosts is not None and hosts != needed:
            raise ValueError(
                f"HostNumber = {hosts} and SMPGranularity = {granularity}: say one of them, "
                "or WholeNodes = true"
            )
        return Geometry(count, hosts or needed, min(granularity, count), False)
    if whole:
        if hosts is None:
            hosts = -(-count // granularity) if granularity else 1
        return Geometry(count, hosts, granularity or 0, True)
    return Geometry(count, hosts or 0, 0, False)
