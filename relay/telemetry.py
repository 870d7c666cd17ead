"""What the relay's figures are: counted from what the core decides and what the doors report.

The core counts nothing for us: states are read from its journal records as they pass, the rest from
its books when somebody asks. No label names a user, a job, a host or a program.
"""

from __future__ import annotations

from typing import Any

from gshell import __version__
from relay.broker import events
from relay.broker.books import Books
from relay.broker.model import Agent
from relay.broker.states import JobState
from relay.broker.views import agent_view
from relay.metrics import PATIENT_S, QUICK_S, Registry

Message = dict[str, Any]

_AGENT_STATES = ("waiting", "busy", "draining", "away")
_WAITING = ("NEW", "QUEUED")


class Telemetry:
    """All figures of one relay, in the broker process."""

    def __init__(self) -> None:
        r = self._registry = Registry()
        self._seen: dict[str, str] = {}  # job -> state in its last record
        self._doors: dict[str, Message] = {}
        self._build = r.gauge("gshell_build_info", "1, by version.", "version")
        self._build.set(1, __version__)
        self._uptime = r.gauge("gshell_uptime_seconds", "Since the broker began.")
        self._jobs = r.gauge("gshell_jobs", "Jobs remembered, by state.", "state")
        self._queued = r.gauge("gshell_queue_jobs", "Jobs that wait for slots.")
        self._submitted = r.counter("gshell_jobs_submitted_total", "Jobs that came.")
        self._started = r.counter("gshell_jobs_started_total", "Jobs that began to run.")
        self._ended = r.counter("gshell_jobs_ended_total", "Jobs that ended, by result.", "result")
        for state in JobState:
            if state.final:
                self._ended.set(0, state.name.lower())
        self._waited = r.histogram(
            "gshell_queue_wait_seconds", "From a job's coming to its place.", PATIENT_S
        )
        self._start = r.histogram(
            "gshell_start_seconds",
            "From a job's coming to its start, but for openings ahead of use.",
            QUICK_S + PATIENT_S[5:],
        )
        self._agents = r.gauge("gshell_agents", "Agents, by state.", "state")
        self._slots = r.gauge("gshell_slots", "Slots of agents that are there, by use.", "use")
        self._watched = r.gauge("gshell_watchers", "Control connections that watch.")
        self._resumed = r.counter("gshell_resumes_total", "Attachments that came back.")
        self._cuts = r.counter("gshell_cuts_total", "Attachments ended by the broker.")
        self._audit = r.counter(
            "gshell_audited_total", "Entries of the audit log, by verb and result.", "verb",
            "result",
        )  # fmt: skip
        self._revoked = r.counter("gshell_revocations_total", "Credentials and shares revoked.")
        self._commits = r.histogram(
            "gshell_journal_commit_seconds", "Writing one round to the journal.", QUICK_S
        )
        self._lag = r.gauge("gshell_loop_lag_seconds", "Longest wait of the loop since the last "
                            "look.", "process")  # fmt: skip
        self._rss = r.gauge("gshell_resident_memory_bytes", "Memory.", "process")
        self._fds = r.gauge("gshell_open_fds", "Descriptors in use.", "process")
        self._fds_most = r.gauge("gshell_max_fds", "Descriptors allowed.", "process")
        self._bus_lag = r.gauge("gshell_bus_lag_seconds", "Age of a door's last report when it "
                                "came.", "process")  # fmt: skip
        self._bus_batch = r.gauge("gshell_bus_batch_messages", "Most messages that one round of "
                                  "the broker took from the bus since the last look.")  # fmt: skip
        self._batch = 0
        self._control = r.gauge("gshell_control_connections", "Control connections.", "role")
        self._door_gauges = {
            key: r.gauge(f"gshell_{name}", text)
            for key, name, text in (
                ("strangers", "strangers", "Connections that have not said who they are."),
                ("spares", "parked_spares", "Agents' connections that wait for a client."),
                ("visits", "visits", "Clients' connections that wait for an agent's."),
                ("pairs", "pairs", "Joined connections."),
            )
        }
        self._door_counters = {
            key: r.counter(f"gshell_{name}_total", text)
            for key, name, text in (
                ("accepted", "door_connections", "Connections accepted."),
                ("accept_errors", "door_accept_errors", "Connections that could not be."),
                ("silent", "door_silent_closes", "Connections closed without a word."),
                ("paired", "door_pairs", "Connections joined."),
                ("parted", "door_parted", "Joined connections that have ended."),
                ("resyncs", "feed_resyncs", "Watchers that needed a fresh snapshot."),
            )
        }
        self._refused = r.counter(
            "gshell_refused_preambles_total", "Genuine preambles refused, by code.", "code"
        )
        self._bytes = r.counter(
            "gshell_door_bytes_total", "Bytes copied: up is to agents.", "direction"
        )
        self._before: Message = {"refused": {}}  # of doors that are gone
        self._fold()

    # ------------------------------------------------------------------------------------- counting

    def restored(self, jobs: list[Message]) -> None:
        """What the journal held is not news."""
        self._seen = {str(job["id"]): job["state"] for job in jobs}

    def on_actions(self, actions: list[events.Action], now: float) -> None:
        for action in actions:
            if isinstance(action, events.Journal):
                if action.table == "job":
                    self._on_job(action.key, action.value, now)
            elif isinstance(action, events.Cut):
                self._cuts.inc()
            elif isinstance(action, events.Audit):
                self._audit.inc(1, action.verb, action.result)
                if "revoke" in action.verb and action.result == "ok":
                    self._revoked.inc()

    def _on_job(self, key: str, record: Message | None, now: float) -> None:
        if record is None:
            self._seen.pop(key, None)
            return
        ran = any("started_at" in member for member in record["members"])
        warm = bool(record.get("warm"))  # made ahead of use: its age says nothing
        if warm and not ran:
            return
        state, before = record["state"], self._seen.get(key)
        self._seen[key] = state
        if before == state:
            return
        age = now - record["created_at"]
        was_waiting = before is None or before in _WAITING
        if before is None:
            self._submitted.inc()
        if was_waiting and not warm and state not in _WAITING and state != "CANCELED":
            self._waited.observe(age)
        final = JobState[state].final
        new_to_running = before is None or JobState[before].value < JobState.ACTIVE.value
        if ran and new_to_running and JobState[state].value >= JobState.ACTIVE.value:
            self._started.inc()
            if not warm:
                self._start.observe(age)
        if final:
            self._ended.inc(1, state.lower())

    def resumed(self) -> None:
        self._resumed.inc()

    def committed(self, seconds: float) -> None:
        self._commits.observe(seconds)

    def batch(self, messages: int) -> None:
        self._batch = max(self._batch, messages)

    # ---------------------------------------------------------------------------------------- doors

    def on_door(self, door: str, stats: Message, clock: float) -> None:
        """A door's report; ``clock`` is what its ``at`` was read from."""
        self._doors[door] = {**stats, "bus_lag_s": max(0.0, clock - stats["at"])}
        self._fold()

    def descriptors(self) -> Message:
        """How many the door uses, and may; nothing if none has reported."""
        doors = list(self._doors.values())
        return {"fds": doors[0]["fds"], "fds_limit": doors[0]["fds_limit"]} if doors else {}

    def door_lost(self, door: str) -> None:
        """Its successor counts from nothing; our counters go on."""
        last = self._doors.pop(door, None)
        if last is not None:
            for key in (*self._door_counters, "up", "down"):
                self._before[key] = self._before.get(key, 0) + last.get(key, 0)
            for code, count in last["refused"].items():
                self._before["refused"][code] = self._before["refused"].get(code, 0) + count
        self._fold()

    def _fold(self) -> None:
        reports = list(self._doors.values())
        for key, gauge in self._door_gauges.items():
            gauge.set(sum(r.get(key, 0) for r in reports))
        for role in ("agent", "client"):
            self._control.set(sum(r["control"].get(role, 0) for r in reports), role)
        reports.append(self._before)
        for key, counter in self._door_counters.items():
            counter.set(sum(r.get(key, 0) for r in reports))
        for way in ("up", "down"):
            self._bytes.set(sum(r.get(way, 0) for r in reports), way)
        codes: dict[str, int] = {}
        for report in reports:
            for code, count in report["refused"].items():
                codes[code] = codes.get(code, 0) + count
        for code, count in codes.items():
            self._refused.set(count, code)

    # -------------------------------------------------------------------------------------- looking

    def page(self, books: Books, uptime_s: float, own: Message) -> str:
        """The text for a scraper. ``own``: the broker process's vitals."""
        self._uptime.set(uptime_s)
        states = dict.fromkeys((state.name.lower() for state in JobState), 0)
        for job in books.jobs.values():
            if job.shown:
                states[job.state.name.lower()] += 1
        for name, count in states.items():
            self._jobs.set(count, name)
        self._queued.set(sum(len(queue) for queue in books.queues.values()))
        self._watched.set(sum(len(conns) for conns in books.watched.values()))
        self._count_agents(list(books.agents.values()))
        for family in (self._lag, self._rss, self._fds, self._fds_most, self._bus_lag):
            family.clear()
        for process, vitals in {"broker": own, **self._doors}.items():
            self._lag.set(vitals["lag_s"], process)
            self._rss.set(vitals["rss_bytes"], process)
            self._fds.set(vitals["fds"], process)
            self._fds_most.set(vitals["fds_limit"], process)
            if "bus_lag_s" in vitals:
                self._bus_lag.set(vitals["bus_lag_s"], process)
        self._bus_batch.set(self._batch)
        self._batch = 0
        return self._registry.render()

    def _count_agents(self, agents: list[Agent]) -> None:
        states = dict.fromkeys(_AGENT_STATES, 0)
        used = free = 0
        for agent in agents:
            states[agent_view(agent)["state"]] += 1
            if agent.conn is not None:
                used += agent.used
                free += max(0, agent.free)
        for state, count in states.items():
            self._agents.set(count, state)
        self._slots.set(used, "used")
        self._slots.set(free, "free")
