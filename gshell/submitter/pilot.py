"""A pilot as its submitter knows it. Decides nothing, asks nobody."""

from __future__ import annotations

from typing import Any

from gshell.submitter import site as sites
from gshell.submitter.site import Site

JOB_PREFIX = "gshell-"  # of batch jobs' names; the pilot's id follows
QUEUE_DAYS = 14  # a pilot may wait so long in a queue; then its invite is worth nothing


class Pilot:
    """A batch job of ours, or one that is to become one."""

    __slots__ = (
        "cancel", "final", "hosts", "id", "invite", "lrms_id", "position", "reason", "said_at",
        "site", "start_at", "state", "wanted",
    )  # fmt: skip

    def __init__(self, id: str, site: Site, wanted: dict[str, Any], state: str = "new") -> None:
        self.id = id
        self.site = site  # as it was described then: it may be removed before the pilot ends
        self.wanted = wanted
        self.state = state  # "new", "submitting", then as it is reported
        self.lrms_id = ""
        self.invite = ""
        self.cancel = False
        self.reason = ""
        self.start_at: float | None = None
        self.position: int | None = None
        self.hosts: tuple[str, ...] = ()
        self.final = False
        self.said_at = float("-inf")

    @property
    def over(self) -> bool:
        return self.state in ("ended", "failed")

    def number(self, key: str, default: int = 0) -> int:
        """What the broker wants of it, else what its site has."""
        value = self.wanted.get(key) or getattr(self.site, key)
        return int(value) if isinstance(value, (int, float)) and value > 0 else default

    @property
    def nodes(self) -> int:
        return self.number("nodes", 1)

    @property
    def hours(self) -> int:
        return QUEUE_DAYS * 24 + self.number("walltime") // 3600 + 24

    def report(self) -> dict[str, Any]:
        return {
            "m": "pilot", "pilot": self.id, "site": self.site.name, "state": self.state,
            "lrms_id": self.lrms_id, "reason": self.reason, "start_at": self.start_at,
            "position": self.position, "nodes": list(self.hosts), "final": self.final,
        }  # fmt: skip

    def dump(self) -> dict[str, Any]:
        return {
            "id": self.id, "site": self.site.message(), "wanted": self.wanted,
            "state": self.state, "lrms_id": self.lrms_id, "invite": self.invite,
            "cancel": self.cancel, "reason": self.reason, "final": self.final,
        }  # fmt: skip

    @classmethod
    def load(cls, data: dict[str, Any]) -> Pilot:
        """
        Raises:
            KeyError, TypeError, UsageError: that is none.
        """
        pilot = cls(str(data["id"]), sites.read(data["site"]), dict(data["wanted"]))
        pilot.state, pilot.lrms_id = str(data["state"]), str(data["lrms_id"])
        pilot.invite, pilot.cancel = str(data["invite"]), bool(data["cancel"])
        pilot.reason, pilot.final = str(data["reason"]), bool(data["final"])
        return pilot
