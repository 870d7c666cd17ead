"""Sites, submitters, batch systems, agents and brokers come and go as they like; in the end there
are as many pilots as there should be, on both sides.

The batch system here obeys: it starts what it was given, once, and ends what it was told to. The
submitter writes down what it submits before it does, and reports what has ended until it is known.
"""

import random

import pytest

from kit.broker import BrokerBench
from relay.broker import supply
from relay.broker.sitemodel import Pilot, Site

SITES = {
    "fast": {"name": "fast", "lrms": "slurm", "max_agents": 3, "slots": 2, "idle": 60},
    "big": {"name": "big", "lrms": "oar", "max_agents": 4, "nodes": 2, "idle": 120,
            "min_waiting": 1, "walltime": 900},
}  # fmt: skip


class Batch:
    """A batch job: its nodes' agents, once it runs."""

    def __init__(self, told, now):
        self.site, self.nodes = told["site"], told["nodes"]
        self.slots, self.walltime = told["slots"] or 1, told["walltime"]
        self.state = "queued"
        self.ends_at = None
        self.reason = ""
        self.conns = {}  # node -> connection, None: away
        self.gone = set()  # nodes whose agents have ended


class World:
    def __init__(self, luck):
        self.luck = luck
        self.bench = BrokerBench(pause_after=1000, agent_grace_s=120.0)
        self.batch = {}  # pilot -> Batch; kept for ever: nothing is submitted twice
        self.submits = {}  # pilot -> how often
        self.unsaid = {}  # pilot -> its end, until the broker says that it knows
        self.submitter = None
        self.steps = {}  # agent -> {(job, index): ends}
        self.refuse = 0
        self.told = 0  # pilot-submit and pilot-cancel
        self.client = self.bench.client()
        for site in SITES.values():
            assert self.bench.request(self.client, "site-put", site=site)["ok"]

    # ------------------------------------------------------------------------------- the submitter

    def register(self):
        if self.submitter is None:
            self.submitter = self.bench.client()
            live = [p for p, b in self.batch.items() if b.state != "ended" or p in self.unsaid]
            self.bench.request(self.submitter, "submitter", submitter="s", host="fe",
                               sites=list(SITES), pilots=live)  # fmt: skip
            for pilot in live:
                self.report(pilot)

    def leave(self):
        if self.submitter is not None:
            self.bench.gone(self.submitter)
            self.submitter = None

    def report(self, pilot):
        if self.submitter is None:
            return
        job = self.batch.get(pilot)
        fields = {"state": "ended", "reason": "not known here"}
        if job is not None:
            fields = {"state": job.state, "reason": job.reason, "lrms_id": f"id-{pilot}"}
        self.bench.say(self.submitter, "pilot", pilot=pilot, **fields)

    def read(self):
        """The submitter takes what it was sent."""
        if self.submitter is None:
            return
        box, self.bench.inbox[self.submitter] = self.bench.inbox.get(self.submitter, []), []
        for m in box:
            pilot = m.get("pilot")
            self.told += m.get("m") in ("pilot-submit", "pilot-cancel")
            if m.get("m") == "pilot-submit" and pilot not in self.batch:
                self.batch[pilot] = Batch(m, self.bench.now)
                self.submits[pilot] = self.submits.get(pilot, 0) + 1
                if self.refuse:
                    self.refuse -= 1
                    self.end(pilot, "Rejected")
                elif self.luck.random() < 0.9:  # else its word is lost
                    self.report(pilot)
            elif m.get("m") == "pilot-submit":
                self.report(pilot)
            elif m.get("m") == "pilot-cancel":
                if pilot in self.batch:
                    self.end(pilot, "CANCELLED")
                self.report(pilot)
            elif m.get("m") == "pilot-ok":
                self.unsaid.pop(pilot, None)

    # ----------------------------------------------------------------------------- the batch system

    def begin(self, pilot):
        job = self.batch[pilot]
        if job.state == "queued":
            job.state = "running"
            job.ends_at = self.bench.now + job.walltime if job.walltime else None
            self.report(pilot)

    def end(self, pilot, why):
        job = self.batch[pilot]
        if job.state == "ended":
            return
        job.state, job.reason = "ended", why
        self.unsaid[pilot] = why
        for node in list(job.conns):
            self.agent_gone(pilot, node)
        self.report(pilot)

    def agent(self, pilot, node):
        """The agent of this node comes, or comes back."""
        job, name = self.batch[pilot], f"{pilot}.{node}"
        if job.state == "running" and job.conns.get(node) is None and node not in job.gone:
            steps = self.steps.setdefault(name, {})
            sessions = [
                {"job": j, "index": i, "user": "alice", "state": "running", "name": "", "tasks": t,
                 "argv0": "x", "pty": False, "started_at": at, "atts": []}
                for (j, i), (_, t, at) in steps.items()
            ]  # fmt: skip
            job.conns[node] = self.bench.agent(
                name, slots=job.slots, sessions=sessions, pilot=pilot, node=node, site=job.site,
                ends_at=job.ends_at,
            )  # fmt: skip
            self.serve(pilot, node)

    def agent_gone(self, pilot, node, for_good=True):
        job = self.batch[pilot]
        conn = job.conns.get(node)
        if for_good:
            job.gone.add(node)
            self.steps.pop(f"{pilot}.{node}", None)
        if conn is not None:
            job.conns[node] = None
            self.bench.gone(conn)

    def serve(self, pilot, node):
        """The agent takes what it was sent."""
        job, name = self.batch[pilot], f"{pilot}.{node}"
        conn = job.conns.get(node)
        if conn is None:
            return
        box, self.bench.inbox[conn] = self.bench.inbox.get(conn, []), []
        for m in box:
            if m["m"] == "start":
                waits = self.bench.core.books.jobs.get(int(m["job"]))
                if waits is None or waits.state.final:
                    continue
                need = self.bench.now + waits.wants.walltime
                assert job.ends_at is None or job.ends_at >= need, "its agent ends before it"
                assert not waits.wants.site or job.site in waits.wants.site
                tasks = waits.members[m["index"]].tasks
                life = self.luck.uniform(1, waits.wants.walltime or 120)
                key = (m["job"], m["index"])
                self.steps[name][key] = (self.bench.now + life, tasks, self.bench.now)
                self.bench.started(conn, m["job"], m["index"], tasks=tasks)
            elif m["m"] == "signal" and m["sig"] == 9:
                for key in [k for k in self.steps[name] if k[0] == m["job"]]:
                    del self.steps[name][key]
                    self.bench.ended(conn, *key, code=137)
            elif m["m"] == "stop":
                assert not self.steps[name], "an agent at work was stopped"
                self.bench.say(conn, "bye")
                self.agent_gone(pilot, node)
                if len(job.gone) == job.nodes:
                    self.end(pilot, "COMPLETED")
                return

    def work(self, busy=True):
        """Everything that would happen by itself, once."""
        self.read()
        for pilot, job in list(self.batch.items()):
            if job.state == "running":
                if job.ends_at is not None and self.bench.now >= job.ends_at:
                    self.end(pilot, "TIMEOUT")
                    continue
                for node in range(job.nodes):
                    if busy:
                        self.agent(pilot, node)
                    self.serve(pilot, node)
                    name = f"{pilot}.{node}"
                    for key, (ends, _, _) in list(self.steps.get(name, {}).items()):
                        if self.bench.now >= ends and job.conns.get(node) is not None:
                            del self.steps[name][key]
                            self.bench.ended(job.conns[node], *key)
            elif job.state == "queued" and busy:
                self.begin(pilot)

    # ------------------------------------------------------------------------------------- checking

    def check(self):
        books = self.bench.core.books
        assert all(n == 1 for n in self.submits.values()), "a pilot was doubled"
        for name, site in books.sites["alice"].items():
            of = [p for p in books.pilots.values() if p.site == name and not p.by_hand]
            ours = sum(len(p.agents) + (0 if p.over else p.nodes - p.nodes_came) for p in of)
            assert ours <= site.max_agents, (name, of)
        assert self.bench.journal["batch"] == {p.id: p.record() for p in books.pilots.values()}
        assert self.bench.journal["site"] == {
            s.key: s.record() for s in books.sites["alice"].values()
        }
        for pilot in books.pilots.values():
            assert (pilot.id in books.pilots_of.get("alice", ())) is not pilot.over
            assert Pilot.restored(pilot.record()).record() == pilot.record()
            assert all(books.agents[a].pilot == pilot.id for a in pilot.agents)

    def restart(self):
        before = self.bench.core.books
        self.bench.restart()
        after = self.bench.core.books
        for table in ("pilots", "pilots_of", "pilots_over", "owed"):
            assert plain(getattr(before, table)) == plain(getattr(after, table)), table
        assert plain(before.sites) == plain(after.sites)
        assert before.next_pilot == after.next_pilot
        self.client, self.submitter = self.bench.client(), None
        for job in self.batch.values():
            job.conns = dict.fromkeys(job.conns)


def plain(table):
    """Of a table of records: what is kept, whatever its order."""
    if isinstance(table, dict):
        return {k: plain(v) for k, v in table.items() if v not in ({}, None)} or None
    if isinstance(table, Pilot | Site):
        return table.record()
    return table


OPS = ("submit", "submit", "submit", "work", "work", "work", "idle_work", "wait", "begin", "fail",
       "agent_away", "leave", "register", "register", "restart", "pilot_start", "pilot_cancel",
       "job_cancel", "refuse", "long_wait")  # fmt: skip


def step(w, luck):
    b, op = w.bench, luck.choice(OPS)
    pilots = sorted(w.batch)
    match op:
        case "submit":
            wants = {
                "site": luck.choice([[], ["fast"], ["big"], ["fast", "big"]]),
                "walltime": luck.choice([0, 100, 600, 2000]), "n": luck.choice([1, 1, 2]),
                "size": luck.choice([1, 1, 1, 2]),
            }  # fmt: skip
            assert b.request(w.client, "submit", spec={"argv": ["x"]}, **wants)["ok"]
        case "work":
            w.work()
        case "idle_work":
            w.work(busy=False)
        case "wait":
            b.after(luck.randrange(20))
        case "long_wait":
            for _ in range(10):
                b.after(15)
                w.work()
        case "begin" if pilots:
            w.begin(luck.choice(pilots))
        case "fail" if pilots:
            w.end(luck.choice(pilots), "NODE_FAIL")
        case "agent_away" if pilots:
            pilot = luck.choice(pilots)
            for node in list(w.batch[pilot].conns):
                w.agent_gone(pilot, node, for_good=False)
        case "leave" | "register" | "restart":
            getattr(w, op)()
        case "pilot_start":
            b.request(w.client, "pilot-start", site=luck.choice([*SITES]), n=luck.choice([1, 2]))
        case "pilot_cancel" if pilots:
            b.request(w.client, "pilot-cancel", pilot=luck.choice(pilots))
        case "job_cancel":
            if live := [i for i, j in b.core.books.jobs.items() if not j.state.final]:
                b.request(w.client, "cancel", job=str(luck.choice(live)))
        case "refuse":
            w.refuse = 1
    w.check()


def settle(w, seconds, until=lambda: False):
    for number in range(seconds // 5):
        w.register()
        w.work()
        w.bench.after(5)
        if number % 20 == 0:
            w.check()
        if until():
            return


@pytest.mark.parametrize("seed", range(0, 12, 4))
def test_in_the_end_there_are_as_many_pilots_as_there_should_be(seed):
    for number in range(seed, seed + 4):
        luck = random.Random(number)
        w = World(luck)
        for _ in range(luck.randrange(10, 80)):
            step(w, luck)
        quiesce(w)


def quiesce(w):
    """All that can run has run; what waits is what should; nothing comes and goes any more."""
    w.refuse = 0
    books = w.bench.core.books
    settle(w, 6000, lambda: not any(not j.state.final for j in books.jobs.values()))
    assert [j for j in books.jobs.values() if not j.state.final] == []
    settle(w, 400)
    settle(w, 60, lambda: all(waiting(w, name) for name in SITES))  # the old one may have ended
    there = {p for p, job in w.batch.items() if job.state != "ended"}
    assert there == set(books.pilots_of.get("alice", ())), "leaked, or only dreamt of"
    assert all(waiting(w, name) for name in SITES)
    told, before = w.told, set(books.pilots)
    settle(w, 300)
    assert w.told - told <= 2, "it comes and goes"
    assert len(set(books.pilots) - before) <= 1, "it comes and goes"


def waiting(w, name):
    """Do as many agents wait there as should, and no more?"""
    books = w.bench.core.books
    site = books.sites["alice"][name]
    n = sum(a.site == name and supply.idle(books, a) for a in books.agents.values())
    return site.min_waiting <= n <= site.min_waiting + site.nodes - 1
