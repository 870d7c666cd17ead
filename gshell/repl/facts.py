"""What the prompt knows of the relay, its agents and one's jobs at one moment. A value."""

from __future__ import annotations

from typing import Any, NamedTuple

Job = dict[str, Any]


class Facts(NamedTuple):
    """All texts in it have passed the decode boundary."""

    relay: str = ""
    """Its address; empty: there is none."""
    up: bool = False
    known: bool = False
    """The jobs and agents are those of the last snapshot, at least."""
    trouble: str = ""
    latency_s: float | None = None
    skew_s: float = 0.0
    jobs: tuple[Job, ...] = ()
    agents: tuple[Job, ...] = ()

    @property
    def live(self) -> list[Job]:
        """Jobs that are not over."""
        return [job for job in self.jobs if job.get("ended_at") is None]
