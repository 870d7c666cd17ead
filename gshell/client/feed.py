"""A user's jobs and agents as the relay's feed tells of them. `Mirror` is what is known (pure),
`Live` the connection that keeps it up to date."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from gshell.errors import AuthError, BrokerError, GshellError
from gshell.model.ticket import Ticket
from gshell.net.loop import Loop
from gshell.net.relaylink import RelayLink

Message = dict[str, Any]

STALE_S = 12.0  # agents report every 5 s what has changed: who is not mentioned does nothing
PING_S = 5.0
SILENT_S = 15.0  # no answer for so long: half-open
_BACKOFF_S = (0.1, 0.5, 1.0, 2.0, 5.0)


class Use(NamedTuple):
    """What a job's steps used, as of the last report."""

    at: float
    out: int
    taken: int
    cpu_s: float
    rss_bytes: int
    waits: bool
    out_rate: float
    """Bytes a second."""
    in_rate: float
    cpu_rate: float
    """Processors."""
    moved_at: float
    """When output or input last grew."""


class Mirror:
    """All that is known; `apply` messages in order."""

    def __init__(self) -> None:
        self.jobs: dict[str, Message] = {}
        self.agents: dict[str, Message] = {}
        self.seq = -1
        self._steps: dict[tuple[str, int], Use] = {}

    def apply(self, message: Message, now: float) -> Message | None:
        """A snapshot (the answer to ``watch``, or a resync) or an event. Returns what was known of
        its job or agent before, None if nothing was. ``now``: of this machine."""
        kind = message.get("kind", "resync")
        self.seq = message.get("seq", self.seq)
        before: Message | None = None
        if kind == "resync":
            self.jobs = {_job(job)["id"]: job for job in message.get("jobs", ())}
            self.agents = {agent["id"]: agent for agent in message.get("agents", ())}
        elif kind == "job":
            job = _job(message["job"])
            before = self.jobs.get(job["id"])
            self.jobs[job["id"]] = job
        elif kind == "agent":
            agent = message["agent"]
            before = self.agents.get(agent["id"])
            self.agents[agent["id"]] = agent
        elif kind == "gone":
            table = self.jobs if message["what"] == "job" else self.agents
            before = table.pop(message["id"], None)
        elif kind == "stats":
            for step in message["steps"]:
                self._use(step, now)
                known = self.jobs.get(step["job"])
                if known is not None and step["index"] == 0:
                    said = step.get("progress")  # as the relay would have it in the JOB
                    known["progress"] = {**said, "at": message.get("at", now)} if said else None
        return before

    def _use(self, step: Message, now: float) -> None:
        key = (step["job"], step["index"])
        old = self._steps.get(key)
        out, taken, cpu_s = step["out"], step["in"], step["cpu_s"]
        rates = (0.0, 0.0, 0.0)
        moved_at = now
        if old is not None:
            passed = max(0.5, now - old.at)
            deltas = (out - old.out, taken - old.taken, cpu_s - old.cpu_s)
            rates = (max(0.0, deltas[0]) / passed, max(0.0, deltas[1]) / passed,
                     max(0.0, deltas[2]) / passed)  # fmt: skip
            moved_at = now if deltas[0] or deltas[1] else old.moved_at
        self._steps[key] = Use(
            now, out, taken, cpu_s, step["rss_bytes"], step["waits"], *rates, moved_at
        )

    def use(self, job: str, now: float) -> Use | None:
        """Of all its steps together; None if nothing was reported of it."""
        found = [use for key, use in self._steps.items() if key[0] == job]
        if not found:
            return None
        live = [use for use in found if now - use.at < STALE_S]
        return Use(
            max(use.at for use in found),
            sum(use.out for use in found),
            sum(use.taken for use in found),
            sum(use.cpu_s for use in found),
            sum(use.rss_bytes for use in found),
            any(use.waits for use in found),
            sum(use.out_rate for use in live),
            sum(use.in_rate for use in live),
            sum(use.cpu_rate for use in live),
            max(use.moved_at for use in found),
        )


def _job(job: Message) -> Message:
    int(job["id"])  # it is sorted by it
    return job


class Live:
    """Keeps a mirror up to date; dials again when the connection is lost, and begins anew.

    ``heard`` is called with every message that was applied and what was known before; ``changed``
    when the connection came or went.
    """

    def __init__(
        self,
        loop: Loop,
        ticket: Ticket,
        heard: Callable[[Message, Message | None], None] = lambda message, before: None,
        changed: Callable[[], None] = lambda: None,
        ended_too: bool = False,
        wall: Callable[[], float] | None = None,
    ) -> None:
        import time

        self._loop = loop
        self._ticket = ticket
        self._heard = heard
        self._changed = changed
        self._ended_too = ended_too
        self._wall = wall or time.time
        self._link: RelayLink | None = None
        self._failures = 0
        self._closed = False
        self._asked_at = float("inf")  # the oldest request of ours that waits for an answer
        self.mirror = Mirror()
        self.up = False
        self.fatal: GshellError | None = None
        """The relay does not know the feed (`BrokerError`), or us (`AuthError`)."""
        self.trouble = ""
        self.latency_s: float | None = None
        self.skew_s = 0.0
        """The relay's clock against ours."""
        self._beat()

    def open(self) -> None:
        self._link = link = RelayLink(self._loop, self._ticket, self._lost, self._message)
        try:
            link.open()
        except GshellError as error:
            self._lost(error)
            return
        self._asked_at = self._loop.clock()
        link.request({"m": "watch", "all": self._ended_too}, self._answer)

    def close(self) -> None:
        self._closed = True
        if self._link is not None:
            self._link.close()

    def request(self, message: Message, answer: Callable[[Message], None]) -> None:
        """A verb over the same connection; nothing happens while it is away."""
        if self._link is not None and self.up:
            self._link.request(message, answer)

    def _answer(self, answer: Message) -> None:
        self._asked_at = float("inf")
        if not answer.get("ok"):
            self.fatal = BrokerError(str(answer.get("message")), hint=answer.get("hint"))
            self._changed()
            return
        self.up = True
        self.trouble = ""
        self._failures = 0
        welcome = self._link.welcome if self._link is not None else None
        if welcome and isinstance(welcome.get("now"), int | float):
            self.skew_s = welcome["now"] - self._wall()
        self._message({**answer, "m": "event", "kind": "resync"})
        self._ping()
        self._changed()

    def _message(self, message: Message) -> None:
        if message.get("m") != "event":
            return
        try:
            before = self.mirror.apply(message, self._wall())
        except (KeyError, TypeError, ValueError, AttributeError):
            if self._link is not None:
                self._link.close()
                self._link = None
            self._lost(GshellError("the relay sent an event that makes no sense"))
            return
        self._heard({"kind": "resync", **message}, before)

    def _lost(self, error: GshellError) -> None:
        self.up = False
        self._asked_at = float("inf")
        self.latency_s = None
        self.trouble = error.message
        if self._closed:
            return
        if isinstance(error, AuthError):
            self.fatal = error
        else:
            wait = _BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)]
            self._failures += 1
            self._loop.later(wait, self._again)
        self._changed()

    def _again(self) -> None:
        if not self._closed:
            self.open()

    def _beat(self) -> None:
        if self._link is not None and self._loop.clock() - self._asked_at > SILENT_S:
            self._link.close()
            self._link = None
            self._lost(GshellError("the relay has been silent"))
        elif self.up:
            self._ping()
        if not self._closed:
            self._loop.later(PING_S, self._beat)

    def _ping(self) -> None:
        asked = self._loop.clock()
        self._asked_at = min(self._asked_at, asked)

        def answered(_: Message) -> None:
            self._asked_at = float("inf")
            self.latency_s = self._loop.clock() - asked
            self._changed()

        self.request({"m": "whoami"}, answered)
