"""The matrix of rights: every verb and preamble × everybody who may try it, as a table, and what
tries a cell.

A cell is a word: "ok"; what was seen or given ("1", "r", "rw", "nothing"); the code of a refusal; "-"
where nothing is answered; "desk": handed on to who keeps the identities. What is refused with "none" must be word for word what is said of a thing
that does not exist.
"""

from __future__ import annotations

from typing import Any

from kit.broker import BrokerBench
from relay.broker import events as ev
from relay.broker.model import ARCHIVE

A, B = "a" * 32, "b" * 32  # the owner's attachment, and that of who tries
PARTIES = (
    "owner", "other", "read", "write", "expired", "revoked", "used", "guest", "admin", "agent",
    "nobody",
)  # fmt: skip
# used: of a single-use link, after that visit; agent: another user's, on its own connection;
# nobody: a connection that showed no certificate, or has said nothing yet

_TABLE = """
what             owner  other  read   write  expired revoked used   guest  admin  agent  nobody
jobs             1      empty  empty  empty  empty   empty   empty  empty  empty  -      -
jobs 1           1      empty  part   part   empty   empty   empty  part   1      -      -
jobs all         1      empty  empty  empty  empty   empty   empty  empty  empty  -      -
jobs everyone    denied denied denied denied denied  denied  denied denied 1      -      -
jobs of alice    1      denied denied denied denied  denied  denied denied 1      -      -
agents           n1     empty  empty  empty  empty   empty   empty  denied empty  -      -
agents everyone  denied denied denied denied denied  denied  denied denied n1,m1  -      -
agents of alice  n1     denied denied denied denied  denied  denied denied n1     -      -
whoami           ok     ok     ok     ok     ok      ok      ok     ok     ok     -      -
whynot           ok     ok     ok     ok     ok      ok      ok     ok     ok     -      -
signal           ok     none   none   none   none    none    none   denied ok     -      -
cancel           ok     none   none   none   none    none    none   denied ok     -      -
cancel att       ok     none   none   none   none    none    none   denied none   -      -
wait             held   none   none   none   none    none    none   denied held   -      -
why              ok     none   none   none   none    none    none   denied ok     -      -
await            ok     none   none   none   none    none    none   denied none   -      -
submit           ok     ok     ok     ok     ok      ok      ok     denied ok     -      -
submit pool      none   none   none   none   none    none    none   denied none   -      -
drain            ok     none   none   none   none    none    none   denied ok     -      -
stop-agent       ok     none   none   none   none    none    none   denied ok     -      -
share            ok     none   none   none   none    none    none   denied none   -      -
shares           mine   empty  empty  empty  empty   empty   empty  denied empty  -      -
redeem           ok     ok     ok     ok     ok      ok      ok     ok     ok     -      -
redeem expired   none   none   none   none   none    none    none   none   none   -      -
redeem revoked   none   none   none   none   none    none    none   none   none   -      -
redeem used      none   none   none   none   none    none    none   none   none   -      -
redeem guessed   none   none   none   none   none    none    none   none   none   -      -
revoke           ok     desk   desk   desk   desk    desk    desk   denied desk   -      -
forget           lives  none   none   none   none    none    none   denied none   -      -
watch            1      empty  empty  empty  empty   empty   empty  denied empty  -      -
invite           desk   desk   desk   desk   desk    desk    desk   denied desk   -      -
ticket           desk   desk   desk   desk   desk    desk    desk   denied desk   -      -
ssh-cert         desk   desk   desk   desk   desk    desk    desk   denied desk   -      -
pilot            desk   desk   desk   desk   desk    desk    desk   denied desk   -      -
keys             desk   desk   desk   desk   desk    desk    desk   denied desk   -      -
users            denied denied denied denied denied  denied  denied denied desk   -      -
user-add         denied denied denied denied denied  denied  denied denied desk   -      -
user-revoke      denied denied denied denied denied  denied  denied denied desk   -      -
sites            slurm  empty  empty  empty  empty   empty   empty  denied empty  -      -
sites everyone   denied denied denied denied denied  denied  denied denied slurm  -      -
site-put         ok     ok     ok     ok     ok      ok      ok     denied ok     -      -
site-drop        ok     none   none   none   none    none    none   denied none   -      -
site-pause       ok     none   none   none   none    none    none   denied none   -      -
site-ad          none   none   none   none   none    none    none   denied none   -      -
submitter        slurm  ok     ok     ok     ok      ok      ok     denied ok     -      -
pilots           mine   empty  empty  empty  empty   empty   empty  denied empty  -      -
pilots everyone  denied denied denied denied denied  denied  denied denied mine   -      -
pilots of alice  mine   denied denied denied denied  denied  denied denied mine   -      -
pilot-start      ok     none   none   none   none    none    none   denied none   -      -
pilot-cancel     ok     none   none   none   none    none    none   denied none   -      -
pilot report     none   none   none   none   none    none    none   denied none   -      -
attach r         r      none   r      r      none    none    none   r      none   -      -
attach rw        rw     none   r      rw     none    none    none   r      none   -      -
attach his       rw     none   none   none   none    none    none   none   none   -      -
resume           rw     none   r      rw     none    none    none   r      none   -      -
resume his       rw     none   none   none   none    none    none   none   none   -      -
open as his      rw     none   none   none   none    none    none   denied none   -      -
open on n1       rw     none   none   none   none    none    none   denied none   -      -
files beside     rw     none   none   none   none    none    none   denied none   -      -
files on n1      rw     none   none   none   none    none    none   denied none   -      -
ssh beside       rw     none   none   none   none    none    none   denied none   -      -
ssh on n1        rw     none   none   none   none    none    none   denied none   -      -
fetch            rw     none   none   none   none    none    none   denied none   -      -
upload           rw     rw     rw     rw     rw      rw      rw     denied rw     -      -
upload again     denied rw     rw     rw     rw      rw      rw     denied rw     -      -
"""


def table() -> dict[tuple[str, str], str]:
    """(what, party) -> cell."""
    lines = [line.split() for line in _TABLE.strip().splitlines()]
    assert tuple(lines[0][1:]) == PARTIES
    cells = {}
    for words in lines[1:]:
        what = " ".join(words[: -len(PARTIES)])
        for party, cell in zip(PARTIES, words[-len(PARTIES) :], strict=True):
            cells[what, party] = cell
    return cells


def rows() -> list[str]:
    return list(dict.fromkeys(what for what, _ in table()))


# what -> the request; {} stands for what exists or, for the comparison, does not
_REQUESTS: dict[str, dict[str, Any]] = {
    "jobs": {},
    "jobs 1": {"ids": ["1"]},
    "jobs all": {"all": True},
    "jobs everyone": {"everyone": True},
    "jobs of alice": {"user": "alice"},
    "agents": {},
    "agents everyone": {"everyone": True},
    "agents of alice": {"user": "alice"},
    "whoami": {},
    "whynot": {"att": A},
    "signal": {"job": "1", "sig": 15},
    "cancel": {"job": "1"},
    "cancel att": {"att": A},
    "wait": {"job": "1"},
    "why": {"job": "1"},
    "await": {"att": A},
    "submit": {"spec": {"argv": ["true"]}, "n": 1, "size": 1},
    "submit pool": {"spec": {"argv": ["true"]}, "n": 1, "size": 1, "pool": "staff"},
    "drain": {"agent": "n1"},
    "stop-agent": {"agent": "n1", "force": True},
    "share": {"job": "1", "rights": "r"},
    "shares": {},
    "redeem": {"token": "plain"},
    "redeem expired": {"token": "expired"},
    "redeem revoked": {"token": "revoked"},
    "redeem used": {"token": "used"},
    "redeem guessed": {"token": "0" * 64},
    "revoke": {"what": "plain"},
    "forget": {"job": "1"},
    "watch": {},
    "invite": {},
    "ticket": {"role": "agent"},
    "ssh-cert": {"key": "ssh-ed25519 AAAA"},
    "pilot": {"nodes": 1},
    "sites": {},
    "sites everyone": {"everyone": True},
    "site-put": {"site": {"name": "another", "lrms": "slurm"}},
    "site-drop": {"site": "slurm", "force": True},
    "site-pause": {"site": "slurm", "on": True},
    "site-ad": {"site": "slurm", "ad": {}},
    "submitter": {"submitter": "s2", "host": "elsewhere", "sites": [], "pilots": []},
    "pilots": {},
    "pilots everyone": {"everyone": True},
    "pilots of alice": {"user": "alice"},
    "pilot-start": {"site": "slurm"},
    "pilot-cancel": {"pilot": "p1"},
    "pilot report": {"pilot": "p1", "state": "ended"},
    "keys": {},
    "users": {},
    "user-add": {"user": "eve"},
    "user-revoke": {"user": "alice"},
}
_PREAMBLES: dict[str, dict[str, Any]] = {
    "attach r": {"op": "attach", "att": B, "job": "1", "rights": "r"},
    "attach rw": {"op": "attach", "att": B, "job": "1", "rights": "rw"},
    "attach his": {"op": "attach", "att": A, "job": "1", "rights": "rw"},
    "resume": {"op": "resume", "att": B, "job": "1", "rights": "rw"},
    "resume his": {"op": "resume", "att": A, "job": "1"},
    "open as his": {"op": "open", "att": A},
    "open on n1": {"op": "open", "att": "c" * 32, "agent": "n1"},
    "files beside": {"op": "open", "att": "c" * 32, "service": "files", "beside": "1"},
    "files on n1": {"op": "open", "att": "c" * 32, "service": "files", "agent": "n1"},
    "ssh beside": {"op": "open", "att": "c" * 32, "service": "ssh", "beside": "1"},
    "ssh on n1": {"op": "open", "att": "c" * 32, "service": "ssh", "agent": "n1"},
    "fetch": {"op": "open", "att": "c" * 32, "service": "files", "archive": True, "job": "1"},
    "upload": {
        "op": "open",
        "att": "c" * 32,
        "service": "files",
        "archive": True,
        "sandbox": "5" * 32,
    },
    "upload again": {  # what alice's job was submitted with; another user's box has their name
        "op": "open",
        "att": "c" * 32,
        "service": "files",
        "archive": True,
        "sandbox": "4" * 32,
    },
}
_INCOMPARABLE = (
    "submit pool",  # no such pool in both
    "open as his",  # a name of 128 bits that nobody else has used opens something
)
_ABSENT = {"1": "999", "n1": "n9", "slurm": "nowhere", "p1": "p9", A: "e" * 32, "plain": "f" * 64}


class Stage:
    """Alice's job 1 on her agent n1, and who tries: of whatever standing ``party`` is."""

    def __init__(self, party: str) -> None:
        self.bench = bench = BrokerBench()
        self.party = party
        self.agent, _ = bench.running(A)
        foreign = bench.agent("m1", user="mallory")
        self.user = {"owner": "alice", "guest": "guest-1", "agent": "mallory"}.get(party, "bob")
        self.share_id, self.token = bench.share(1)
        _, expired = bench.share(1, "rw", seconds=60)
        revoked_id, revoked = bench.share(1, "rw")
        _, used = bench.share(1, "rw", once=True)
        _, writing = bench.share(1, "rw")
        self.tokens = {"plain": self.token, "expired": expired, "revoked": revoked, "used": used}
        for who, token in (("expired", expired), ("revoked", revoked)):
            if party == who:
                assert bench.redeem(token, self.user)["ok"]
        visitor = self.user if party == "used" else "somebody"
        assert bench.redeem(used, visitor)["ok"]
        ask = bench.ask("d" * 32, "attach", visitor, job="1", rights="rw")
        assert bench.verdict(ask) == ("pair", "n1")
        bench.say(self.agent, "left", job="1", index=0, att="d" * 32)
        assert bench.request(bench.client("alice"), "revoke", what=revoked_id)["ok"]
        bench.after(61)
        self.submitter = bench.client("alice")
        site = {"name": "slurm", "lrms": "slurm"}
        there = {"submitter": "s1", "host": "fe", "sites": [site], "pilots": []}
        assert bench.request(self.submitter, "submitter", **there)["ok"]
        (self.pilot,) = bench.request(self.submitter, "pilot-start", site="slurm")["pilots"]
        bench.inbox[self.submitter] = []
        if party in ("read", "write"):
            assert bench.redeem({"read": self.token, "write": writing}[party], self.user)["ok"]
        if party == "guest":
            assert bench.guest(self.token, self.user)["m"] == "ticket"
        if party == "agent":
            self.conn = foreign
        elif party == "nobody":
            self.conn = bench.conn()
        else:
            standing = party if party in ("admin", "guest") else "user"
            self.conn = bench.client(self.user, standing=standing)
        bench.inbox[self.agent] = []
        bench.inbox[self.conn] = []

    def ask(self, what: str, absent: bool = False) -> str:
        """Try it; what came of it. ``absent``: the same of something that does not exist."""
        if what in _PREAMBLES:
            return self._preamble(self._named(_PREAMBLES[what], absent))
        number = 4711
        fields = self._named(_REQUESTS[what], absent)
        self.said = ""
        at_desk = len(self.bench.desk)
        self.bench.say(self.conn, what.split()[0], id=number, **fields)
        if len(self.bench.desk) > at_desk:
            return "desk"  # it knows whose things are whose: tests/component/relay/test_people.py
        if not self.bench.inbox.get(self.conn):
            return "held" if self.party not in ("agent", "nobody") else "-"
        answer = self.bench.answer(self.conn, number)
        assert answer is not None
        self.said = repr(answer)
        return _cell(what, answer)

    def _named(self, fields: dict[str, Any], absent: bool) -> dict[str, Any]:
        if absent:
            return {key: _ABSENT.get(value, value) if isinstance(value, str) else value
                    for key, value in fields.items()}  # fmt: skip
        fields = dict(fields)
        if "token" in fields:
            fields["token"] = self.tokens.get(fields["token"], fields["token"])
        if "what" in fields:
            fields["what"] = self.share_id
        if "pilot" in fields:
            fields["pilot"] = self.pilot
        return fields

    def _preamble(self, fields: dict[str, Any]) -> str:
        if self.party in ("agent", "nobody"):
            return "-"  # a door takes no preamble of a credential that is not a client's
        ask = ev.AskId("door0", 4712)
        agent = self.agent
        if fields.get("archive"):
            agent = self.bench.agent(ARCHIVE, user=ARCHIVE)
            sandbox = {"key": "4" * 32, "inputs": [], "outputs": ["*"]}
            self.bench.core.books.jobs[1].sandbox = sandbox
        self.bench.feed(ev.Asked(ask, self.user, dict(fields)))
        answer = self.bench.verdict(ask)
        if answer is None:
            return "held"
        self.said = repr((answer, self.bench.core.books.why.get((self.user, fields["att"]))))
        if answer[0] == "no":
            return str(answer[1])
        return str(self.bench.got(agent, "expect")[-1]["rights"])

    def nothing_happened(self) -> bool:
        """Alice's agent and her submitter have heard nothing, and her job goes on."""
        said = [m for m in self.bench.inbox.get(self.agent, []) if m["m"] != "unexpect"]
        said += self.bench.inbox.get(self.submitter, [])
        return not said and self.bench.job(1)["state"] == "ACTIVE"


def _cell(what: str, answer: dict[str, Any]) -> str:
    if not answer["ok"]:
        return str(answer["code"])
    if "jobs" in answer:
        seen = [job["id"] if job["agents"] else "part" for job in answer["jobs"]]
        return ",".join(seen) or "empty"
    if "agents" in answer:
        return ",".join(agent["id"] for agent in answer["agents"]) or "empty"
    if "shares" in answer:
        return "mine" if answer["shares"] else "empty"
    if answer.get("sites"):
        return ",".join(site["name"] for site in answer["sites"])
    if "sites" in answer:
        return "ok" if what == "submitter" else "empty"
    if answer.get("pilots") and isinstance(answer["pilots"][0], dict):
        return "mine"
    if answer.get("pilots") == []:
        return "empty"
    return "ok"


def try_cell(what: str, party: str, cell: str) -> list[str]:
    """What is wrong with this cell; an empty list if it is as it should be."""
    stage = Stage(party)
    got = stage.ask(what)
    wrong = [] if got == cell else [f"{what} × {party}: {got}, not {cell}"]
    if got in ("none", "denied", "empty", "-") and not stage.nothing_happened():
        wrong.append(f"{what} × {party}: refused, and yet something happened")
    if got == "none" and what not in _INCOMPARABLE:
        other = Stage(party)
        again = other.ask(what, absent=True)
        said = stage.said
        for there, absent in {
            **_ABSENT,
            stage.share_id: _ABSENT["plain"],
            stage.pilot: _ABSENT["p1"],
        }.items():
            said = said.replace(f" {there}'", f" {absent}'")
            said = said.replace(f"no job {there} ", f"no job {absent} ")
        if again != "none" or said != other.said:
            wrong.append(f"{what} × {party}: tells what exists: {said} {other.said}")
    return wrong
