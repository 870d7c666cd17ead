"""A broker without its shell: feed it events, look at what it decided, live through hours at
once.
"""

import itertools
import random

from relay.broker import events as ev
from relay.broker.core import Broker
from relay.broker.model import Settings

T0 = 1_000_000.0


class BrokerBench:
    """One core, a journal in memory, and a clock. What is sent or answered waits for a look."""

    def __init__(self, matcher=None, **settings):
        self.matcher = matcher
        self.settings = Settings(**settings)
        self.now = T0
        tables = ("job", "agent", "share", "boots", "site", "batch", "meta")
        self.journal = {table: {} for table in tables}
        self.withdrawn = set()  # what a shell would have in its table
        self.feeds = {}  # conn -> (user, seq)
        self.published = []  # (user, seq, events)
        self.audit = []  # (who, verb, object, result)
        self.details = []  # of each of those
        self.numbers = itertools.count(1)
        self.drawn = 0
        self.core = self._broker()
        self._forget_connections()

    def _broker(self):
        return Broker(self.settings, self.matcher, random.Random(7))

    def _forget_connections(self):
        self.inbox = {}  # conn -> messages
        self.verdicts = {}  # ask -> ("pair", agent_id) | ("no", code)
        self.closed = set()
        self.cuts = []
        self.desk = []  # (user, message) of requests that the desk answers

    # ----------------------------------------------------------------------------------- driving it

    def feed(self, event):
        actions = self.core.handle(event, self.now)
        for action in actions:
            match action:
                case ev.Send(conn, message):
                    self.inbox.setdefault(conn, []).append(message)
                case ev.WelcomeClient(conn, user):
                    self.inbox.setdefault(conn, []).append({"m": "welcome", "user": user})
                case ev.Pair(ask, agent_id, _):
                    assert ask not in self.verdicts, "answered twice"
                    self.verdicts[ask] = ("pair", agent_id)
                case ev.Refuse(ask, code, _):
                    assert ask not in self.verdicts, "answered twice"
                    self.verdicts[ask] = ("no", code)
                case ev.Close(conn):
                    self.closed.add(conn)
                case ev.Cut(att):
                    self.cuts.append(att)
                case ev.EnrolGuest(conn, user, until):
                    self.inbox.setdefault(conn, []).append(
                        {"m": "ticket", "user": user, "until": until}
                    )
                case ev.Audit():
                    self.details.append(action.detail)
                    self.audit.append(tuple(action[:4]))
                case ev.Feed(conn, user, seq):
                    self.feeds[conn] = (user, seq)
                case ev.Publish(user, seq, events):
                    self.published.append((user, seq, events))
                case ev.AtDesk(up, _, message):
                    self.desk.append((up.user, message))
                case ev.Journal(table, key, value):
                    if value is None:
                        self.journal[table].pop(key, None)
                    else:
                        self.journal[table][key] = value
        return actions

    def after(self, seconds):
        """Let time pass, with a tick each second."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 1.0)
            self.feed(ev.Tick())

    def restart(self):
        """The broker dies; the next one has the journal only. Everybody must connect again."""
        self._forget_connections()
        self.core = self._broker()
        self.core.restore(
            self.journal["job"].values(),
            self.journal["agent"].values(),
            self.journal["meta"].get("next_id", {"value": 1})["value"],
            self.now,
            self.journal["boots"].values(),
            self.withdrawn,
            (),
            self.journal["share"].values(),
            self.journal["site"].values(),
            self.journal["batch"].values(),
            self.journal["meta"].get("next_pilot", {"value": 1})["value"],
            self.journal["meta"].get("usage"),
        )

    # --------------------------------------------------------------------------------- who is there

    def conn(self):
        return ev.Conn("door0", next(self.numbers))

    def agent(
        self, agent_id="n1", user="alice", slots=2, boot="b1", sessions=(), cred=None, **facts
    ):
        conn = self.conn()
        credential = f"key-of-{agent_id}" if cred is None else cred
        self.feed(ev.ConnUp(conn, "agent", user, agent_id, credential, "00" * 32))
        self.say(conn, "hello", role="agent", boot=boot, host=f"host-{agent_id}", slots=slots,
                 sessions=list(sessions), **facts)  # fmt: skip
        return conn

    def client(self, user="alice", cred=None, standing="user"):
        """One that has said hello."""
        conn = self.conn()
        credential = f"key-of-{user}" if cred is None else cred
        self.feed(ev.ConnUp(conn, "client", user, "", credential, "", standing))
        self.say(conn, "hello")
        self.got(conn, "welcome")
        return conn

    def revoke(self, *serials, user="alice", whole=False, why="withdrawn"):
        self.withdrawn |= set(serials)
        self.feed(ev.Revoked(frozenset(serials), user, why, whole))

    def gone(self, conn):
        self.feed(ev.ConnDown(conn))

    # -------------------------------------------------------------------------------- what they say

    def say(self, conn, m, **fields):
        self.drawn += 1
        self.feed(ev.Said(conn, {"m": m, **fields}, f"{self.drawn:08x}{self.drawn:032x}"))

    def share(self, job, rights="r", user="alice", **fields):
        """(the share's id, its token) of a new share."""
        client = self.client(user)
        answer = self.request(client, "share", job=str(job), rights=rights, **fields)
        self.gone(client)
        return answer["share"]["id"], answer["token"]

    def redeem(self, token, user="bob"):
        client = self.client(user)
        answer = self.request(client, "redeem", token=token)
        self.gone(client)
        return answer

    def guest(self, token, name="guest-1"):
        """What a stranger with a share's link is answered."""
        conn = self.conn()
        self.feed(ev.GuestAsked(conn, name, f"share.{token}"))
        return self.inbox[conn][0]

    def groups(self, **users):
        """user -> groups, a blank between."""
        for user, groups in users.items():
            self.feed(ev.Known(user, "user", frozenset(groups.split())))

    def got(self, conn, m):
        """The messages ``m`` sent to ``conn`` since the last look."""
        box = self.inbox.get(conn, [])
        found = [x for x in box if x.get("m") == m]
        self.inbox[conn] = [x for x in box if x.get("m") != m]
        return found

    def request(self, conn, m, **fields):
        """Ask a verb; its answer, or None while it is held."""
        number = next(self.numbers)
        self.say(conn, m, id=number, **fields)
        return self.answer(conn, number)

    def request_held(self, conn, m, **fields):
        number = next(self.numbers)
        self.say(conn, m, id=number, **fields)
        return number

    def answer(self, conn, number):
        found = [x for x in self.inbox.get(conn, []) if x.get("re") == number]
        assert len(found) <= 1, "answered twice"
        return found[0] if found else None

    def submit(self, user="alice", n=1, size=1, argv="true", **wants):
        """The number of a new job without a client."""
        client = self.client(user)
        answer = self.request(
            client, "submit", spec={"argv": argv.split()}, n=n, size=size, **wants
        )
        self.gone(client)
        assert answer["ok"], answer
        return answer["job"]

    def why(self, job, user="alice"):
        client = self.client(user)
        answer = self.request(client, "why", job=str(job))
        self.gone(client)
        return answer["why"]

    def work(self, conn):
        """The agent starts everything that it was told to start; the jobs' numbers."""
        said = self.got(conn, "start")
        for m in said:
            tasks = self.core.books.jobs[int(m["job"])].members[m["index"]].tasks
            self.started(conn, m["job"], m["index"], tasks=tasks, lane=m["lane"])
        return [m["job"] for m in said]

    def ask(self, att, op="open", user="alice", cred=None, **body):
        """A client's data connection at the door; `verdict` has what became of it."""
        ask = ev.AskId("door0", next(self.numbers))
        credential = f"key-of-{user}" if cred is None else cred
        self.feed(ev.Asked(ask, user, {"op": op, "att": att, **body}, credential))
        return ask

    def verdict(self, ask):
        return self.verdicts.get(ask)

    def open(self, att, **body):
        return self.verdict(self.ask(att, **body))

    def started(self, conn, job, index=0, **fields):
        self.say(conn, "started", job=str(job), index=index, tasks=fields.pop("tasks", 1),
                 spec_name="", argv0="true", pty=False, at=self.now, **fields)  # fmt: skip

    def ended(self, conn, job, index=0, code=0, **fields):
        self.say(conn, "ended", job=str(job), index=index, code=code, signal=None, at=self.now,
                 error=None, **fields)  # fmt: skip

    # -------------------------------------------------------------------------------------- looking

    def jobs(self, user="alice"):
        """id -> JOB, as the user sees them."""
        client = self.client(user)
        answer = self.request(client, "jobs", all=True)
        self.gone(client)
        return {job["id"]: job for job in answer["jobs"]}

    def job(self, job_id, user="alice"):
        return self.jobs(user)[str(job_id)]

    def agents(self, user="alice"):
        client = self.client(user)
        answer = self.request(client, "agents")
        self.gone(client)
        return {agent["id"]: agent for agent in answer["agents"]}

    def running(self, att="a" * 32, agent="n1", **how):
        """An agent with one started job: (agent's connection, job id)."""
        conn = self.agent(agent, **how)
        assert self.open(att) == ("pair", agent)
        job = self.got(conn, "expect")[0]["job"]
        self.started(conn, job, att=att)
        return conn, job


def session(job, index=0, state="running", **fields):
    """A SESSION of an agent's hello."""
    return {
        "job": str(job), "index": index, "user": "alice", "state": state, "name": "",
        "argv0": "true", "pty": False, "tasks": 1, "started_at": T0, "ended_at": None,
        "code": None, "signal": None, "error": None, "atts": [], **fields,
    }  # fmt: skip
