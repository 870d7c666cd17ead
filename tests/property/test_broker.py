"""Whatever happens in whatever order, the broker keeps its promises; and in the end everything
ends.

Agents here obey the protocol (they start only what they were told to expect, and never more than
they have slots for) but go away, die, refuse and stay silent as they like; clients come, go and
repeat.
"""

import random

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from kit.broker import BrokerBench, session
from relay.broker.states import TRANSITIONS, JobState

USERS = ("alice", "bob")
SLOTS = {"a1": 2, "a2": 3, "a3": 1, "b1": 2}
OWNER = {"a": "alice", "b": "bob"}


class World:
    """A bench with simulated agents and clients; checks the invariants after every step."""

    def __init__(self):
        self.bench = BrokerBench()
        self.conns = {}  # agent -> its connection
        self.boots = dict.fromkeys(SLOTS, 1)
        self.steps = {name: {} for name in SLOTS}  # agent -> {(job, index): SESSION}
        self.expected = {name: {} for name in SLOTS}  # agent -> {(job, index): (att, tasks)}
        self.clients = {}  # user -> connection
        self.asks = []
        self.atts = {}  # att -> (user, body)
        self.states = {}  # job -> last state seen
        self.keys = {who: f"{who}-key-0" for who in (*USERS, *SLOTS)}

    # --------------------------------------------------------------------------------------- agents

    def hello(self, name):
        if name not in self.conns:
            sessions = [dict(s) for s in self.steps[name].values()]
            self.expected[name].clear()
            self.conns[name] = self.bench.agent(
                name, OWNER[name[0]], SLOTS[name], f"boot{self.boots[name]}", sessions,
                self.keys[name],
            )  # fmt: skip

    def goodbye(self, name):
        if name in self.conns:
            self.bench.gone(self.conns.pop(name))

    def die(self, name):
        self.goodbye(name)
        self.boots[name] += 1
        self.steps[name].clear()
        self.expected[name].clear()

    def revoke(self, who):
        """A key is withdrawn, of a user's client or of an agent; the next one is another."""
        key = self.keys[who]
        self.keys[who] = f"{who}-key-{int(key.rpartition('-')[2]) + 1}"
        self.bench.revoke(key, user=OWNER[who[0]])
        if who in SLOTS:
            assert self.conns.get(who) in (None, *self.bench.closed)
            self.die(who)
        else:
            self.clients.pop(who, None)
        books = self.bench.core.books
        assert all(a.dead for a in books.atts.values() if a.credential == key)
        assert all(a.credential != key for a in books.agents.values())
        assert all(up.credential != key for up in books.conns.values())

    def read(self, name):
        """The agent takes what it was sent."""
        conn = self.conns.get(name)
        if conn is None:
            return
        box, self.bench.inbox[conn] = self.bench.inbox.get(conn, []), []
        for m in box:
            if m["m"] == "expect" and m["op"] == "open":
                key = (m["job"], m["index"])
                if key not in self.steps[name]:
                    self.expected[name][key] = m["att"]
            elif m["m"] == "start":
                self.expected[name][m["job"], m["index"]] = ""
            elif m["m"] == "unexpect":
                for key in [k for k, att in self.expected[name].items() if att == m["att"]]:
                    del self.expected[name][key]
            elif m["m"] == "revoke":
                for key in [k for k, att in self.expected[name].items() if att in m["atts"]]:
                    del self.expected[name][key]
            elif m["m"] == "ended-ok":
                self.steps[name].pop((m["job"], m["index"]), None)
            elif m["m"] == "signal" and m["sig"] == 9:
                for key in [k for k in self.steps[name] if k[0] == m["job"]]:
                    self.end(name, key, 137)

    def tasks_of(self, key):
        return self.bench.core.books.jobs[int(key[0])].members[key[1]].tasks

    def begin(self, name, key):
        att = self.expected[name].pop(key)
        tasks = self.tasks_of(key)
        self.steps[name][key] = session(key[0], key[1], tasks=tasks, user=OWNER[name[0]])
        if name in self.conns:
            self.bench.started(self.conns[name], key[0], key[1], att=att, tasks=tasks)

    def end(self, name, key, code):
        self.steps[name][key] |= {"state": "ended", "code": code, "ended_at": self.bench.now}
        if name in self.conns:
            self.bench.ended(self.conns[name], key[0], key[1], code)
            self.read(name)

    # ------------------------------------------------------------------------------------- checking

    def check(self):
        books = self.bench.core.books
        for agent in books.agents.values():
            assert agent.used == sum(agent.load.values())
            placed = [n for (job, _), n in agent.load.items() if not books.jobs[job].warm]
            assert sum(placed) <= agent.slots, agent  # warm ones take theirs when they start
            assert set(agent.load) <= agent.here
            assert all(books.jobs[job].user == agent.user for job, _ in agent.here)
        for ask in self.asks:
            held = ask in books.asks
            assert held != (ask in self.bench.verdicts), "neither answered nor held, or both"
            if held:
                assert books.jobs[books.asks[ask]].asks_until is not None
        queued = {i for queue in books.queues.values() for i in queue}
        for job in books.jobs.values():
            before = self.states.get(job.id, job.state)
            assert before is job.state or reachable(before, job.state), (before, job.state)
            self.states[job.id] = job.state
            waits = job.state.value < JobState.HELD.value
            assert (job.id in queued) == waits
            assert waits or job.state.final or all(m.agent_id or m.ended_at for m in job.members)
            if job.state.value >= JobState.HELD.value:
                assert self.bench.journal["job"][str(job.id)] == job.record(), job
        assert {int(i) for i in self.bench.journal["job"]} <= set(books.jobs)
        for att in books.atts.values():
            assert att.att in books.jobs[att.job_id].atts


def reachable(a, b):
    seen, news = set(), {a}
    while news:
        seen |= news
        news = {t for s in news for t in TRANSITIONS[s]} - seen
    return b in seen


OPS = (
    "hello", "goodbye", "die", "read", "begin", "end", "refuse", "unused", "open", "again",
    "group", "submit", "await", "cancel", "client", "client_gone", "wait", "restart", "drain",
    "revoke",
)  # fmt: skip
STEP = st.tuples(st.sampled_from(OPS), st.integers(0, 1 << 16), st.integers(0, 1 << 16))


def pick(items, number):
    items = sorted(items)
    return items[number % len(items)] if items else None


def step(w, op, x, y):
    b = w.bench
    name = pick(SLOTS, x)
    user = USERS[y % 2]
    match op:
        case "hello" | "goodbye" | "die" | "read":
            getattr(w, op)(name)
        case "begin":
            w.read(name)
            key = pick(w.expected[name], y)
            running = sum(s["tasks"] for s in w.steps[name].values() if s["state"] == "running")
            if (
                key
                and int(key[0]) in b.core.books.jobs
                and running + w.tasks_of(key) <= SLOTS[name]
            ):
                w.begin(name, key)
        case "end":
            running = [k for k, s in w.steps[name].items() if s["state"] == "running"]
            if key := pick(running, y):
                w.end(name, key, y % 3)
        case "refuse" | "unused":
            w.read(name)
            key = pick(w.expected[name], y)
            if key and name in w.conns:
                att = w.expected[name].pop(key)
                if op == "refuse":
                    b.say(w.conns[name], "refused", att=att, job=key[0], index=key[1],
                          code=("busy", "gone")[y % 2], message="")  # fmt: skip
                elif att:
                    b.say(w.conns[name], "unused", att=att, job=key[0], index=key[1])
        case "open":
            att = f"{len(w.atts) + 1:032x}"
            body = {"tasks": 1 + x % 3, "warm": x % 5 == 0, "agent": name if x % 7 == 0 else None}
            w.atts[att] = (user, body)
            w.asks.append(b.ask(att, user=user, cred=w.keys[user], **body))
        case "group":
            size = 2 + x % 2
            for i in range(size - (x % 5 == 0)):
                att = f"{len(w.atts) + 1:032x}"
                body = {"group": f"g{x}", "size": size, "index": i}
                w.atts[att] = (user, body)
                w.asks.append(b.ask(att, user=user, cred=w.keys[user], **body))
        case "again":
            if att := pick(w.atts, x):
                owner, body = w.atts[att]
                w.asks.append(b.ask(att, user=owner, cred=w.keys[owner], **body))
        case "client":
            if user not in w.clients:
                w.clients[user] = b.client(user, w.keys[user])
        case "client_gone":
            if user in w.clients:
                b.gone(w.clients.pop(user))
        case "drain":
            if user in w.clients:
                b.request(w.clients[user], "drain", agent=name, on=bool(x % 2))
        case "submit" | "await" | "cancel" | "wait":
            if user in w.clients:
                fields = {
                    "submit": {"spec": {"argv": ["x"]}, "n": 1 + x % 2, "size": 1 + x % 2},
                    "await": {"att": pick(w.atts, x) or ""},
                    "cancel": {"job": str(pick(b.core.books.jobs, x))},
                    "wait": {"job": str(pick(b.core.books.jobs, x))},
                }[op]
                b.request_held(w.clients[user], op, **fields)
        case "revoke":
            w.revoke(pick(w.keys, x))
        case "restart":
            b.restart()
            w.conns.clear()
            w.clients.clear()
            w.asks.clear()
            kept = b.core.books.jobs
            w.states = {i: s for i, s in w.states.items() if i in kept}
    b.after(x % 20 if y % 4 == 0 else 0)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEP, max_size=60))
def test_promises_are_kept_and_everything_ends(steps):
    w = World()
    for op, x, y in steps:
        step(w, op, x, y)
        w.check()
    end_everything(w)


@pytest.mark.parametrize("seed", range(0, 200, 10))
def test_long_seeded_stories_end_well(seed):
    for number in range(seed, seed + 10):
        luck, w = random.Random(number), World()
        for _ in range(luck.randrange(150)):
            op = luck.choice((*OPS, "read", "begin", "hello", "hello"))
            if op in ("restart", "die") and luck.random() < 0.7:
                continue
            step(w, op, luck.randrange(1 << 16), luck.randrange(1 << 16))
            w.check()
        end_everything(w)


def end_everything(w):
    """Liveness: with agents that do their work, every job ends, and nobody waits for an answer."""
    b = w.bench
    b.after(30)
    assert [a for a in w.asks if a not in b.verdicts] == []
    for client in w.clients.values():
        b.gone(client)
    for name in SLOTS:
        w.hello(name)
        b.say(w.conns[name], "watchers", job="none")
        user = b.client(OWNER[name[0]])
        b.request(user, "drain", agent=name, on=False)
    for _ in range(300):
        live = [j for j in b.core.books.jobs.values() if not j.state.final and j.shown and fits(j)]
        if not live:
            break
        for name in SLOTS:
            w.read(name)
            for key in list(w.expected[name]):
                running = sum(s["tasks"] for s in w.steps[name].values())
                known = int(key[0]) in b.core.books.jobs
                if known and running + w.tasks_of(key) <= SLOTS[name]:
                    w.begin(name, key)
            for key, s in list(w.steps[name].items()):
                if s["state"] == "running":
                    w.end(name, key, 0)
        b.after(5)
        w.check()
    else:
        pytest.fail(f"these never end: {live}")


def fits(job):
    """Not what nobody could ever run, and waits for a bigger agent for ever."""
    slots = sorted((n for a, n in SLOTS.items() if OWNER[a[0]] == job.user), reverse=True)
    return len(slots) >= job.size and all(
        m.tasks <= n
        for m, n in zip(sorted(job.members, key=lambda m: -m.tasks), slots, strict=False)
    )
