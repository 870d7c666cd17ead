"""An experiment on several clusters at once, of any batch systems: a job each time there is
something to do for a cluster, and a worker in a thread for each job.

To be inherited: ``get_clusters``, ``get_job`` and ``worker``. How batch systems are talked to is
behind `Reserving`; nothing here knows one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any, Protocol

from gshell.errors import GshellError, UsageError
from gshell.sweep.actions import ProcessesFailed
from gshell.sweep.engine import Engine
from gshell.sweep.hosts import Host
from gshell.sweep.log import logger
from gshell.sweep.times import get_seconds

KINDS = ("oar", "slurm", "sge")
REFUSALS = 5  # jobs in a row that never ran: the cluster is given up
END_S = 60.0  # for workers to see that their job has ended


class Reserving(Protocol):
    """A batch system, as far as it concerns us."""

    def submit(self, submission: Any, site: Any) -> Any:
        """A job's id; None: refused, which was said."""

    def wait_start(self, job: Any, site: Any) -> bool:
        """Until it runs; False: it has ended instead."""

    def nodes(self, job: Any, site: Any) -> list[Host]:
        """Of a job that runs."""

    def delete(self, jobs: list[tuple[Any, Any]]) -> None:
        """(id, site) of each. Those that have ended before are passed over."""


class Batch:
    """A `Reserving` for what `oar`, `slurm` and `sge` submit."""

    def __init__(self, kind: str) -> None:
        from importlib import import_module

        self._batch: Any = import_module("gshell.sweep.batch")
        self._system = import_module(f"gshell.sweep.{kind}").SYSTEM

    def submit(self, submission: Any, site: Any) -> Any:
        return self._batch.submit(self._system, [(submission, site)], None, None, False)[0][0]

    def wait_start(self, job: Any, site: Any) -> bool:
        return bool(self._batch.wait_start(self._system, job, site, None, None, None))

    def nodes(self, job: Any, site: Any) -> list[Host]:
        return list(self._batch.nodes(self._system, job, site, None, None))

    def delete(self, jobs: list[tuple[Any, Any]]) -> None:
        self._batch.delete(self._system, jobs, None, None)


class _Work:
    """A job and its worker. What changes is changed under the engine's lock."""

    def __init__(self, cluster: str, site: Any, submission: Any, data: Any, index: int) -> None:
        self.cluster, self.site = cluster, site
        self.submission, self.data, self.index = submission, data, index
        self.reserving: Reserving | None = None
        self.job: Any = None
        self.waiting = True
        self.ended = False
        """Given back, or about to be."""


class ClusterEngine(Engine):
    """Jobs on several clusters at once, and what is done in them.

    The engine asks `get_job` for one cluster after the other, as long as fewer than ``-t`` of its
    jobs wait and fewer than ``-r`` exist; it is over when there is no job, and none to be had. All
    jobs are ended with it. `get_job` is only ever called in the thread of `run`, `worker` in one of
    its own.
    """

    def __init__(self) -> None:
        super().__init__()
        add = self.args_parser.add_argument
        add("-r", "--running", type=_positive, default=20, metavar="N",
            help="jobs of a cluster at a time (%(default)s)")  # fmt: skip
        add("-t", "--waiting", type=_positive, default=2, metavar="N",
            help="of these, how many may be waiting (%(default)s)")  # fmt: skip
        add("-s", "--sleep", type=get_seconds, default=10.0, metavar="SECONDS",
            help="until a cluster for which there was nothing to do is asked again"
            " (%(default)s)")  # fmt: skip
        self.stopping = threading.Event()
        """Set when all of it is to end: for long workers."""
        self._changed = threading.Condition()
        self._turn = 0
        self._works: dict[threading.Thread, _Work] = {}
        self._count = 0
        self._refused: dict[str, int] = {}
        self._again_at: dict[str, float] = {}
        self._failed = 0

    # ---------------------------------------------------------------------------- to be inherited

    def get_clusters(self) -> Iterable[str]:
        """Names: ``cluster``, or ``cluster.site``. Asked again and again."""
        raise NotImplementedError

    def get_job(self, cluster: str) -> tuple[Any, Any] | None:
        """What to submit for ``cluster`` now (an `OarSubmission` or its kin), and what its worker
        should know; None: nothing, at the moment."""
        raise NotImplementedError

    def worker(
        self,
        cluster: str,
        site: Any,
        data: Any,
        nodes: list[Host] | None,
        worker_index: int,
        oarsubmission: Any,
        jobid: Any,
    ) -> Any:
        """The work, while the job runs. ``nodes`` None: there is no job, or it has ended before it
        ran; ``data`` is to be done another time."""
        raise NotImplementedError

    def get_site(self, cluster: str) -> Any:
        """Where jobs for ``cluster`` are submitted; None: on this host."""
        site = cluster.partition(".")[2]
        if site:
            return site
        from importlib import import_module

        return import_module("gshell.sweep.testbed").get_cluster_site(cluster)

    def limits(self, cluster: str) -> tuple[int, int]:
        """Its jobs at a time, and how many of them may be waiting."""
        return self.args.running, self.args.waiting

    def reserving(self, submission: Any) -> Reserving:
        """The batch system that ``submission`` is for."""
        for one in type(submission).__mro__:
            package, _, kind = one.__module__.rpartition(".")
            if package == "gshell.sweep" and kind in KINDS:
                return Batch(kind)
        raise UsageError(
            f"{submission!r} is no submission",
            hint="get_job() returns (OarSubmission(...), data), or another system's kind of it",
        )

    # ------------------------------------------------------------------------------------ the loop

    def run(self) -> bool:
        """Whether all workers ended without an exception, and no cluster was given up."""
        try:
            while not self.stopping.is_set():
                turn = self._turn
                alone = not self._works
                begun, again_s = self._fill()
                if alone and not begun and again_s is None:
                    break
                with self._changed:
                    wait_s = self.args.sleep if again_s is None else min(again_s, self.args.sleep)
                    self._changed.wait_for(lambda turn=turn: self._turn != turn, wait_s)  # type: ignore[misc]
        finally:
            self._end()
        return not self._failed

    def _fill(self) -> tuple[int, float | None]:
        """Begin what may be begun, a job for each cluster in its turn; how many, and when to ask
        again a cluster that is left alone for a while."""
        begun = 0
        clusters = list(self.get_clusters())
        while clusters and not self.stopping.is_set():
            clusters = [one for one in clusters if self._may_begin(one) and self._begin(one)]
            begun += len(clusters)
        pauses = [at - time.monotonic() for at in self._again_at.values()]
        return begun, max(0.05, min(pauses)) if pauses else None

    def _may_begin(self, cluster: str) -> bool:
        with self._changed:
            if self._refused.get(cluster, 0) >= REFUSALS:
                return False
            if self._again_at.get(cluster, 0.0) > time.monotonic():
                return False
            self._again_at.pop(cluster, None)
            mine = [work for work in self._works.values() if work.cluster == cluster]
        running, waiting = self.limits(cluster)
        return len(mine) < running and sum(work.waiting for work in mine) < waiting

    def _begin(self, cluster: str) -> bool:
        job = self.get_job(cluster)
        if job is None:
            return False
        submission, data = job
        work = _Work(cluster, self.get_site(cluster), submission, data, self._count)
        work.reserving = self.reserving(submission)
        self._count += 1
        thread = threading.Thread(
            target=self._do, args=(work,), daemon=True, name=f"sweep-worker-{work.index}"
        )
        with self._changed:
            self._works[thread] = work
        thread.start()
        return True

    # -------------------------------------------------------------------------- a job, in a thread

    def _do(self, work: _Work) -> None:
        try:
            nodes = self._nodes(work)
            with self._changed:
                work.waiting = False
                self._turned()
            try:
                self.worker(work.cluster, work.site, work.data, nodes, work.index,
                            work.submission, work.job)  # fmt: skip
            except Exception:
                self._failed += 1
                logger.exception("worker %d, %s", work.index, work.cluster)
            self._give_back([work])
        finally:
            with self._changed:
                self._works.pop(threading.current_thread(), None)
                self._turned()

    def _turned(self) -> None:
        self._turn += 1
        self._changed.notify_all()

    def _nodes(self, work: _Work) -> list[Host] | None:
        assert work.reserving is not None
        try:
            if self.stopping.is_set():
                return None
            work.job = work.reserving.submit(work.submission, work.site)
            if work.job is None:
                self._was_refused(work, "no job was got")
            elif self.stopping.is_set():
                return None
            elif work.reserving.wait_start(work.job, work.site):
                nodes = work.reserving.nodes(work.job, work.site)
                with self._changed:
                    self._refused.pop(work.cluster, None)
                logger.info("%s: job %s runs on %d hosts", work.cluster, work.job, len(nodes))
                return nodes
            else:
                self._was_refused(work, f"job {work.job} has ended before it ran")
        except (GshellError, ProcessesFailed, OSError) as error:
            self._was_refused(work, str(error))
        except Exception:
            logger.exception("reserving for %s", work.cluster)
            self._was_refused(work, "no job was got")
        return None

    def _was_refused(self, work: _Work, words: str) -> None:
        """The cluster is left alone for a while, and at last for ever."""
        if self.stopping.is_set():
            return
        with self._changed:
            count = self._refused[work.cluster] = self._refused.get(work.cluster, 0) + 1
            if count == REFUSALS:
                self._failed += 1
                self._again_at.pop(work.cluster, None)
            elif count < REFUSALS:
                self._again_at[work.cluster] = time.monotonic() + self.args.sleep
        if count == REFUSALS:
            logger.error("%s: %s, %d times: given up", work.cluster, words, count)
        else:
            logger.warning("%s: %s", work.cluster, words)

    def _give_back(self, works: Iterable[_Work]) -> None:
        """Their jobs, each once."""
        mine = []
        with self._changed:
            for work in works:
                if work.job is not None and not work.ended:
                    work.ended = True
                    mine.append(work)
        for work in mine:
            assert work.reserving is not None
            try:
                work.reserving.delete([(work.job, work.site)])
            except Exception as error:  # it stays in the ledger
                logger.warning("%s: job %s: %s", work.cluster, work.job, error)

    def _end(self) -> None:
        """All jobs, and wait for their workers to see it."""
        with self._changed:
            self.stopping.set()
            left = dict(self._works)
        self._give_back(left.values())
        end = time.monotonic() + END_S
        for thread in left:
            thread.join(max(0.0, end - time.monotonic()))
        self._give_back(left.values())  # what was got only now
        still = [work for thread, work in left.items() if thread.is_alive()]
        if still:
            logger.warning("%d workers have not ended: %s", len(still),
                           ", ".join(f"{one.index} ({one.cluster})" for one in still))  # fmt: skip


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
