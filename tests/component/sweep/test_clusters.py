"""Several clusters at once: their jobs, their limits, their end."""

import itertools
import os
import threading

import pytest

from gshell.sweep import clusters
from gshell.sweep.clusters import ClusterEngine
from gshell.sweep.hosts import Host
from gshell.sweep.space import sweep
from gshell.sweep.sweeper import ParamSweeper


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class Fake:
    """A batch system: jobs run when ``runs`` says so."""

    def __init__(self, runs=lambda job: True, accepts=lambda submission: True):
        self.runs, self.accepts = runs, accepts
        self.numbers = itertools.count(100)
        self.live, self.ended, self.sites = set(), [], {}
        self.changed = threading.Condition()
        self.most = {}

    def submit(self, submission, site):
        with self.changed:
            if not self.accepts(submission):
                return None
            job = next(self.numbers)
            self.live.add(job)
            self.sites[job] = site
            there = sum(self.sites[one] == site for one in self.live)
            self.most[site] = max(self.most.get(site, 0), there)
            self.changed.notify_all()
            return job

    def wait_start(self, job, site):
        with self.changed:
            self.changed.wait_for(lambda: self.runs(job) or job not in self.live)
            return job in self.live

    def nodes(self, job, site):
        return [Host(f"{site}-{job}")]

    def delete(self, jobs):
        with self.changed:
            for job, _ in jobs:
                self.live.discard(job)
                self.ended.append(job)
            self.changed.notify_all()


class Both(ClusterEngine):
    """Two clusters, a sweep over both."""

    def __init__(self, batch, per_cluster=6):
        super().__init__()
        self.batch, self.per_cluster = batch, per_cluster
        self.seen = []

    def init(self):
        space = sweep({"cluster": ["a.north", "b.south"], "n": range(self.per_cluster)})
        self.sweeper = ParamSweeper(os.path.join(self.result_dir, "sweeps"), space)

    def reserving(self, submission):
        return self.batch

    def get_clusters(self):
        return {one["cluster"] for one in self.sweeper.get_remaining()}

    def get_job(self, cluster):
        comb = self.sweeper.get_next(lambda all: [one for one in all if one["cluster"] == cluster])
        return (f"nodes={comb['n']}", comb) if comb else None

    def worker(self, cluster, site, data, nodes, worker_index, oarsubmission, jobid):
        self.seen.append((cluster, site, data["n"], nodes and nodes[0].address))
        (self.sweeper.done if nodes else self.sweeper.cancel)(data)


def test_two_clusters_share_a_sweep_each_within_its_limits_and_all_jobs_are_given_back():
    batch = Fake()
    one = Both(batch)
    assert one.start(["-r", "3", "-t", "2", "-s", "0.05"]) == 0
    assert sorted((cluster, site, n) for cluster, site, n, _ in one.seen) == sorted(
        (cluster, cluster[2:], n) for cluster in ("a.north", "b.south") for n in range(6)
    )
    assert one.sweeper.counts().done == 12
    assert not batch.live
    assert len(batch.ended) == 12 == len(set(batch.ended))
    assert all(count <= 3 for count in batch.most.values())


def test_no_more_jobs_than_may_wait_are_submitted_for_a_cluster_that_is_full():
    first = threading.Event()
    batch = Fake(runs=lambda job: first.is_set())
    one = Both(batch)
    told = threading.Thread(target=one.start, args=(["-t", "2", "-s", "0.02"],))
    told.start()
    with batch.changed:
        assert batch.changed.wait_for(lambda: len(batch.live) == 4, 20)
    for _ in range(5):  # rounds of the engine
        with one._changed:
            one._changed.wait(0.05)
    assert batch.most == {"north": 2, "south": 2}
    with batch.changed:
        first.set()
        batch.changed.notify_all()
    told.join(20)
    assert one.sweeper.counts().done == 12


def test_a_cluster_that_never_runs_anything_is_given_up_and_the_other_goes_on(caplog):
    batch = Fake(accepts=lambda submission: "bad" not in submission)

    class Half(Both):
        def get_job(self, cluster):
            job = super().get_job(cluster)
            return job and (("bad" if cluster == "b.south" else "good"), job[1])

    one = Half(batch)
    assert one.start(["-s", "0.01"]) == 1
    counts = one.sweeper.counts()
    assert (counts.done, counts.remaining, counts.inprogress) == (6, 6, 0)
    refused = [seen for seen in one.seen if seen[3] is None]
    assert len(refused) >= clusters.REFUSALS
    assert all(seen[0] == "b.south" for seen in refused)


def test_a_worker_that_fails_costs_only_its_own_combination():
    class Faulty(Both):
        def worker(self, cluster, site, data, *rest):
            if data["n"] == 2:
                raise ZeroDivisionError
            super().worker(cluster, site, data, *rest)

    batch = Fake()
    one = Faulty(batch)
    assert one.start(["-s", "0.01"]) == 1
    assert one.sweeper.counts().done == 10
    assert not batch.live


def test_ctrl_c_ends_all_jobs_and_every_worker_hears_of_it():
    batch = Fake(runs=lambda job: job == 100)

    class Stopped(Both):
        def worker(self, cluster, site, data, nodes, *rest):
            if nodes:
                self.at_work.set()
                self.stopping.wait(20)
                nodes = None
            super().worker(cluster, site, data, nodes, *rest)

        def get_clusters(self):
            if self.at_work.is_set():
                raise KeyboardInterrupt
            return super().get_clusters()

    one = Stopped(batch)
    one.at_work = threading.Event()
    assert one.start(["-s", "0.01"]) == 130
    assert not batch.live
    assert not one._works
    counts = one.sweeper.counts()
    assert (counts.done, counts.inprogress, counts.remaining) == (0, 0, 12)


def test_a_submission_of_no_batch_system_is_said():
    with pytest.raises(clusters.UsageError, match="is no submission"):
        ClusterEngine().reserving("nodes=1")
