"""Two lanes over the same cores: while an interactive step runs, batch steps keep a share of them.

Measures what both lanes get (proctree.py), decides (share.py) and does it (demotion.py). A way that
does nothing here, whatever its writes returned, is left for the next; stopping by turns is the last
and always works. Weights cost nothing while the interactive step is idle, so they stay as long as
it runs; who is stopped by turns is so only while the interactive step wants the processor.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, Callable, Protocol

from gshell.agent.cpugroup import CpuGroup
from gshell.agent.demotion import Autogroup, Nice, Stop, Way
from gshell.agent.proctree import Times, Tree
from gshell.agent.share import USUAL_LOSS, Control
from gshell.net.loop import Loop, Timer

PERIOD_S = 0.1  # of stopping by turns, and of looking
IDLE_PERIOD_S = 0.25  # of looking, while the interactive step does nothing
COST = 20  # looking may take one part in so many of the time
REPORT_S = 1.0
NEWS = 0.01  # of the share
RUN_S = 0.015  # the least that it runs between two stops: our timers may be late by as much
MOST_STOPPED_S = 1.0
WANTS = 0.03  # of a core, from which on the interactive step counts as busy
LEFT_ALONE_S = 1.0  # who was sent a signal is not stopped: it is to act on it
RETRY_S = 0.05  # the kernel lets autogroups be written every 0.1 s

log = logging.getLogger("gshell.agent")


class Step(Protocol):
    """What matters here of a session."""

    lane: str
    loss: float | None

    def pids(self) -> list[int]:
        """Of its ranks that run."""


class Lanes:
    """Invariant: nothing is demoted or stopped but while steps of both lanes run."""

    def __init__(
        self,
        loop: Loop,
        say: Callable[[dict[str, Any]], None],
        environ: Mapping[str, str] = os.environ,
        cpus: int | None = None,
    ) -> None:
        self._loop = loop
        self._say = say
        self._cpus = cpus or len(os.sched_getaffinity(0))
        self._forced = environ.get("GSHELL_LANE", "")
        self._batch: dict[Step, Tree] = {}
        self._interactive: dict[Step, Tree] = {}
        self._ways: list[Way] = []
        self._stop = Stop()
        self._control: Control | None = None
        self._asked = USUAL_LOSS
        self._alone: dict[Step, float] = {}  # until when it is not stopped
        self._timer: Timer | None = None
        self._looked_at = 0.0
        self._slice_at = 0.0
        self._wants = True
        self._told: tuple[float | None, str] = (None, "none")
        self._told_at = 0.0

    # -- from the agent

    def started(self, step: Step) -> None:
        lane = self._interactive if step.lane == "interactive" else self._batch
        lane[step] = Tree()
        self._changed()

    def ended(self, step: Step) -> None:
        tree = self._batch.pop(step, None)
        self._interactive.pop(step, None)
        self._alone.pop(step, None)
        if tree is not None:
            self._stop.go_on(set(tree.members))
        self._changed()

    def before_signal(self, step: Step) -> None:
        """Somebody sends it a signal: it must be able to act, and what stops it is theirs."""
        tree = self._batch.get(step)
        if tree is not None:
            self._stop.go_on(set(tree.members))
            self._alone[step] = self._loop.clock() + LEFT_ALONE_S

    def close(self) -> None:
        """The agent ends."""
        self._batch.clear()
        self._interactive.clear()
        self._changed()

    @property
    def active(self) -> bool:
        """Do steps of both lanes run?"""
        return self._control is not None

    def report(self) -> dict[str, Any]:
        """As it is, for a relay that is new to us."""
        share, how = self._told
        return {"m": "lane", "share": share, "how": how, "asked": self._asked}

    # -- on and off

    def _changed(self) -> None:
        if not self._batch or not self._interactive:
            self._restore()
            return
        losses = [USUAL_LOSS if s.loss is None else s.loss for s in self._interactive]
        asked = min(losses)
        if self._control is None or asked != self._asked:
            self._asked = asked
            if self._control is None:
                self._ways = self._possible()
            self._new_control()
        if self._timer is None:
            self._looked_at = self._loop.clock()
            self._wants = True
            self._tick()

    def _possible(self) -> list[Way]:
        forced = self._forced
        ways: list[Way] = []
        group = CpuGroup.find(forced == "cgroup") if forced in ("", "cgroup") else None
        if group is not None:
            ways.append(group)
        if forced == "autogroup" or (not forced and Autogroup.possible()):
            ways.append(Autogroup())
        if forced == "nice" or (not forced and Nice.reversible()):
            if not Nice.reversible():
                log.warning("lanes: priorities that are lowered here cannot be raised again")
            ways.append(Nice())
        return ways

    def _new_control(self) -> None:
        least = self._ways[0].least if self._ways else None
        self._control = Control(self._asked / 100, least)

    def _restore(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._stop.go_on()
        if self._control is None:
            return
        ways, self._ways, self._control = self._ways, [], None
        for way in ways:
            self._restore_way(way)
        self._tell(None, "none")

    def _restore_way(self, way: Way) -> None:
        if not way.restore():
            self._loop.later(RETRY_S, lambda: self._restore_way(way))

    # -- while both run

    def _tick(self) -> None:
        """Look, correct, and begin the next period."""
        control = self._control
        assert control is not None
        for step in [step for step in self._interactive if not step.pids()]:
            del self._interactive[step]  # it has ended, but for what it left in its pipes
        if not self._interactive:
            self._restore()
            return
        now = self._loop.clock()
        wall_s = now - self._looked_at
        stopped_s = now - self._slice_at if self._stop.any else 0.0
        self._looked_at = now
        batch = self._spent(self._batch)
        # The kernel counts a wait when it is over: demoted, they may have waited all this time.
        waiting = sum(tree.runnable() for tree in self._batch.values())
        batch = batch._replace(wait=max(batch.wait, waiting * wall_s - batch.run))
        interactive = self._spent(self._interactive)
        if wall_s > 0:
            self._wants = interactive.run + interactive.wait > WANTS * wall_s
            control.measured(batch, interactive, wall_s, self._cpus, stopped_s / wall_s)
        order = control.order
        if self._ways:
            way = self._ways[0]
            if order.inert or not way.apply(list(self._batch.values()), order.weight):
                log.info("lanes: %s does nothing here", way.name)
                self._ways.pop(0)
                self._restore_way(way)
                self._new_control()
        if now - self._told_at >= REPORT_S:
            self._tell(control.share, self._ways[0].name if self._ways else "stop")
        self._stop.go_on()
        went_on = self._loop.clock()
        period_s = PERIOD_S if self._wants else IDLE_PERIOD_S
        period_s = max(period_s, COST * (went_on - now))
        if order.runs < 1 and self._wants:
            run_s = max(RUN_S, order.runs * period_s)
            self._timer = self._loop.later(run_s, lambda: self._begin_slice(went_on, order.runs))
        else:
            self._timer = self._loop.later(period_s, self._tick)

    def _spent(self, lane: dict[Step, Tree]) -> Times:
        run = wait = 0.0
        keeper = os.getppid()
        for step, tree in lane.items():
            tree.refresh(step.pids(), keeper)
            spent = tree.spent()
            run, wait = run + spent.run, wait + spent.wait
        return Times(run, wait)

    def _begin_slice(self, went_on: float, runs: float) -> None:
        """Stop them for as long as makes up for how long they really ran."""
        self._slice_at = now = self._loop.clock()
        self._stop.stop([t for s, t in self._batch.items() if self._alone.get(s, 0.0) < now])
        self._timer = self._loop.later(
            min(MOST_STOPPED_S, (now - went_on) * (1 - runs) / runs), self._tick
        )

    def _tell(self, share: float | None, how: str) -> None:
        before, way = self._told
        if share is not None:
            share = round(share, 3)
        changed = (share is None) != (before is None) or how != way
        if changed or (share is not None and before is not None and abs(share - before) >= NEWS):
            self._told, self._told_at = (share, how), self._loop.clock()
            self._say(self.report())
