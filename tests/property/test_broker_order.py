"""Whatever is asked for in whatever order: nobody gets more than there is, nobody starves, all or
none, and the same story ends the same way.

Agents here start what they are told to at once, and end it when its time is over; or die.
"""

import os
import random

import pytest

from kit.broker import BrokerBench
from relay.broker import places
from relay.broker.states import JobState

STORIES = int(os.environ.get("GSHELL_STORIES", "40"))  # of co-allocations; 200 take a while
SITES = ("alpha", "beta", "gamma")


class Story:
    """A bench with agents at sites, and submitted jobs that take their time."""

    def __init__(self, seed, lanes=False, half_life_s=21600.0):
        self.luck = random.Random(seed)
        self.bench = BrokerBench(half_life_s=half_life_s)
        self.lanes = lanes
        self.conns = {}
        self.boots = {}
        self.running = {}  # (agent, job, index) -> when it ends
        self.given = set()  # (job, index, attempt): programs that were allowed to start
        self.log = []  # (now, agent, job, index): what was started, in order

    def agent(self, name, slots, site="", **how):
        self.boots[name] = self.boots.get(name, 0) + 1
        self.conns[name] = self.bench.agent(
            name, slots=slots, site=site, lanes=self.lanes, boot=f"boot{self.boots[name]}", **how
        )

    def kill(self, name):
        self.bench.say(self.conns[name], "bye")
        self.bench.gone(self.conns.pop(name))
        self.running = {k: v for k, v in self.running.items() if k[0] != name}

    def submit(self, length=10, said=True, **wants):
        walltime = {"walltime": length} if said else {}
        job = self.bench.submit(argv=f"x {length}", **walltime, **wants)
        return int(job)

    def work(self):
        """Every agent does what it was told."""
        b = self.bench
        for name, conn in list(self.conns.items()):
            for m in b.got(conn, "signal"):
                for key in [k for k in self.running if k[:2] == (name, m["job"])]:
                    del self.running[key]
                    b.ended(conn, key[1], key[2], 137, attempt=b_attempt(b, key[1]))
            for m in b.got(conn, "start"):
                job = b.core.books.jobs[int(m["job"])]
                if m.get("token"):
                    b.say(conn, "token", job=m["job"], index=m["index"], attempt=m["attempt"])
                    if not b.got(conn, "token-ok"):
                        continue
                    key = (m["job"], m["index"], m["attempt"])
                    assert key not in self.given
                    self.given.add(key)
                self.running[name, m["job"], m["index"]] = b.now + float(m["spec"]["argv"][1])
                self.log.append((b.now, name, job.id, m["index"]))
                b.started(conn, m["job"], m["index"], tasks=job.members[m["index"]].tasks,
                          lane=m["lane"], attempt=m["attempt"])  # fmt: skip

    def pass_time(self, seconds):
        for _ in range(seconds):
            self.bench.after(1)
            for key in [k for k, at in self.running.items() if at <= self.bench.now]:
                del self.running[key]
                self.bench.ended(self.conns[key[0]], key[1], key[2], 0)
            self.work()
            self.check()

    def check(self):
        books = self.bench.core.books
        for agent in books.agents.values():
            batch = agent.used - agent.interactive
            assert 0 <= batch <= agent.slots, agent
            assert 0 <= agent.interactive <= agent.slots, agent
            assert self.lanes or agent.used <= agent.slots, agent
            assert agent.held == sum(agent.holds.values()) <= agent.slots, agent
            for job, index in agent.holds:
                assert books.jobs[job].held_at[agent.id] == index
        for job in books.jobs.values():
            placed = [bool(m.agent_id) for m in job.members]
            assert all(placed) or not any(placed), "all or none"
            waits = job.state.value < JobState.HELD.value
            assert (job.line is not None) == (waits and not job.pending)
            assert waits or not job.held_at, "a hold that nobody needs"

    def live(self):
        return [j for j in self.bench.core.books.jobs.values() if not j.state.final]


def b_attempt(bench, job):
    return bench.core.books.jobs[int(job)].attempt


@pytest.mark.parametrize("seed", range(0, STORIES, 10))
def test_co_allocations_with_deaths_neither_block_each_other_nor_leak(seed):
    for number in range(seed, seed + 10):
        s = Story(number, lanes=number % 2 == 1)
        luck = s.luck
        for site in SITES:
            for i in range(luck.randint(1, 2)):
                s.agent(f"{site}{i}", luck.randint(1, 3), site)
        for _ in range(luck.randint(2, 8)):
            sites = luck.sample(SITES, luck.randint(1, 3))
            size = luck.randint(1, 3)
            s.submit(luck.randint(1, 20), luck.random() < 0.7, n=luck.randint(1, 2), size=size,
                     site=sites, retry=luck.choice((0, 10)), hold=luck.choice((5, 30, 600)),
                     lane=luck.choice(("batch", "interactive")))  # fmt: skip
            s.submit(luck.randint(1, 20), luck.random() < 0.5)
            s.work()
            s.pass_time(luck.randint(0, 3))
            if luck.random() < 0.4:
                name = luck.choice(sorted(s.conns))
                s.kill(name)
                if luck.random() < 0.7:
                    s.agent(name, luck.randint(1, 3), name[:-1])
            s.work()
            s.check()
        for site in SITES:  # then all is there, and enough of it
            for i in range(3):
                if f"{site}{i}" not in s.conns:
                    s.agent(f"{site}{i}", 3, site)
            for i in range(3, 5):
                s.agent(f"{site}{i}", 3, site)
        for _ in range(100):
            if not s.live():
                break
            s.pass_time(10)
        assert not s.live(), f"seed {number}: {[(j.id, j.state, j.note) for j in s.live()]}"
        assert not any(a.holds or a.held for a in s.bench.core.books.agents.values())
        market = s.bench.core.books.markets["alice", ""]
        assert (market.lines, market.held, market.gathering) == ({}, {}, {})


def crowd(seed, said=1.0, agents=4, jobs=40, lanes=False):
    s = Story(seed, lanes)
    for i in range(agents):
        s.agent(f"n{i}", s.luck.randint(2, 6))
    for _ in range(jobs):
        if s.luck.random() < 0.4:
            s.pass_time(1)
        s.submit(s.luck.randint(1, 15), s.luck.random() < said, n=s.luck.randint(1, 3),
                 size=s.luck.choice((1, 1, 1, 2, 4)))  # fmt: skip
        s.work()
        s.check()
    return s


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("said", [0.0, 0.5, 1.0])
def test_nobody_starves_while_smaller_jobs_come_for_ever(seed, said):
    s = crowd(seed, said, agents=2)
    books = s.bench.core.books
    waiting = [j.id for j in s.live() if places.choose(books, j, idle=True) is not None]
    for _ in range(200):
        for _ in range(4):  # more than can ever be run
            s.submit(s.luck.randint(1, 5), s.luck.random() < said, lane="batch")
        s.pass_time(1)
    left = [j.id for j in s.live() if j.id in waiting and not j.started]
    assert not left, f"seed {seed}"


@pytest.mark.parametrize("seed", range(4))
def test_passing_never_delays_what_was_promised_to_the_first(seed):
    s = crowd(seed, jobs=10)
    promised = {}
    for _ in range(80):
        s.submit(s.luck.randint(1, 20), True, n=s.luck.randint(1, 3))
        s.work()
        market = s.bench.core.books.markets["alice", ""]
        for line in market.lines.values():
            if line.first == market.head and line.guard is not None and line.guard.at is not None:
                promised.setdefault(line.first, line.guard.at)
        s.pass_time(1)
    begun = {job: at for at, _, job, _ in reversed(s.log)}
    late = {j: begun[j] - at for j, at in promised.items() if j in begun and begun[j] > at + 1}
    assert not late, f"seed {seed}: {late}"
    assert promised


@pytest.mark.parametrize("seed", range(2))
def test_the_same_story_ends_the_same_way(seed):
    assert crowd(seed, 0.5, lanes=True).log == crowd(seed, 0.5, lanes=True).log


@pytest.mark.parametrize("seed", range(2))
def test_after_a_restart_it_goes_on_as_it_would_have(seed):
    s = crowd(seed, 0.5)
    books = s.bench.core.books
    waiting = [(j.id, j.state, j.record()) for j in books.jobs.values()]
    loads = {a.id: dict(a.load) for a in books.agents.values()}
    s.bench.restart()
    books = s.bench.core.books
    assert [(j.id, j.state, j.record()) for j in books.jobs.values()] == waiting
    assert {a.id: dict(a.load) for a in books.agents.values()} == loads


def test_shares_of_a_pool_become_equal_and_yielding_is_rewarded():
    b = BrokerBench(half_life_s=50.0)
    b.groups(alice="lab", bob="lab")
    agent = b.agent("p1", "alice", 4, pool="lab")
    for user in ("alice",) * 120 + ("bob",) * 60:
        b.submit(user=user, pool="lab")
    had = {"alice": 0, "bob": 0}
    running = []
    for round_ in range(60):
        for m in b.got(agent, "start"):
            b.started(agent, m["job"])
            running.append((m["job"], m["user"]))
        job, user = running.pop(0)
        had[user] += round_ >= 20
        b.ended(agent, job)
        b.after(3)
    assert abs(had["alice"] - had["bob"]) <= 4, had


def test_what_interactive_use_costs_is_more_and_yielding_is_less():
    from relay.broker import fairshare

    b = BrokerBench()
    b.groups(alice="lab", bob="lab", carol="lab")
    agent = b.agent("p1", "alice", 2, pool="lab", lanes=True)
    b.submit(user="bob", n=2, pool="lab")
    b.work(agent)
    assert fairshare.share(b.core.books, "bob") == 2.0
    b.submit(user="carol", pool="lab", lane="interactive", loss=25)
    b.work(agent)
    assert fairshare.share(b.core.books, "carol") == 1.75
    assert fairshare.share(b.core.books, "bob") == 0.5
    b.ended(agent, 2)
    assert (fairshare.share(b.core.books, "bob"), fairshare.share(b.core.books, "carol")) == (2, 0)
