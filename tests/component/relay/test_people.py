"""Users, keys, pilots: the desk and its table; and revocations through a real door."""

import hashlib
import json
import sqlite3
import time

import pytest

from gshell.errors import GshellError, UsageError
from gshell.net.relaylink import parse_invite
from relay import auth, desk, state
from relay.broker.events import Conn, ConnUp, Known, Revoked
from relay.journal import Credential, Journal
from relay.people import People

NOW = time.time()
# The tables of the first version, word for word.
V1 = """
CREATE TABLE IF NOT EXISTS job (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS agent (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS nonce (key TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS nonce_until ON nonce (until);
CREATE TABLE IF NOT EXISTS invite (hash TEXT PRIMARY KEY, user TEXT NOT NULL, role TEXT NOT NULL,
    uses INTEGER NOT NULL, until REAL NOT NULL, made REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS credential (serial TEXT PRIMARY KEY, kind TEXT NOT NULL,
    user TEXT NOT NULL, agent_id TEXT NOT NULL, made REAL NOT NULL, revoked REAL) WITHOUT ROWID;
"""


def test_a_journal_of_the_first_version_is_taken_over(tmp_path):
    path = str(tmp_path / "journal.sqlite")
    old = sqlite3.connect(path, isolation_level=None)
    old.execute("PRAGMA journal_mode=WAL")
    old.executescript(V1)
    old.execute("PRAGMA user_version=1")
    old.execute("INSERT INTO job VALUES ('1', '{\"id\": 1}')")
    old.execute("INSERT INTO meta VALUES ('next_id', '{\"value\": 2}')")
    old.execute("INSERT INTO nonce VALUES ('n', 9e9)")
    old.execute("INSERT INTO invite VALUES ('h', 'carol', 'any', 3, 9e9, 7.0)")
    old.execute("INSERT INTO credential VALUES ('aa11', 'client', 'alice', '', 5.0, NULL)")
    old.execute("INSERT INTO credential VALUES ('bb22', 'agent', 'alice', 'n1', 6.0, NULL)")
    old.execute("INSERT INTO credential VALUES ('cc33', 'client', 'bob', '', 6.0, 8.0)")
    old.close()
    for _ in range(2):  # the second time there is nothing left to do
        journal = Journal(path)
        assert journal.records("job") == [{"id": 1}]
        assert journal.next_id() == 2
        assert not journal.burn("n", 1.0)
        assert [(u.name, u.role, u.made) for u in journal.users()] == [
            ("alice", "user", 5.0), ("bob", "user", 6.0), ("carol", "user", 7.0),
        ]  # fmt: skip
        assert journal.credential("aa11").user == "alice"
        assert journal.withdrawn() == ["cc33"]
        assert journal.records("share") == journal.records("boots") == []
        journal.close()


class Office:
    def __init__(self, folder):
        self.folder = str(folder)
        state.prepare(self.folder)
        auth.ensure(self.folder)
        self.journal = Journal(self.folder + "/journal.sqlite")
        self.desk = desk.Desk(self.folder, self.journal, ["h:1"])
        self.people = People(self.desk)
        self.last = None

    def ask(self, who, m, standing="user", now=NOW, key="", **fields):
        up = ConnUp(Conn("d", 1), "client", who, "", key, "", standing, "10.0.0.1:7")
        self.last = self.people.on_request(up, {"m": m, "id": 1, **fields}, now)
        return self.last.answer

    def admin(self, m, **fields):
        return self.ask("root", m, "admin", **fields)

    def enrol(self, invite, role="client", now=NOW, **fields):
        token = parse_invite(invite)[1] if "://" in invite else invite
        self.last = self.desk.enrol({"invite": token, "role": role, **fields}, now, "10.0.0.2:8")
        return self.last.answer

    def audited(self):
        return [(a.who, a.verb, a.object, a.result) for a in self.last.audits]


@pytest.fixture
def office(tmp_path):
    one = Office(tmp_path / "state")
    yield one
    one.journal.close()


# -------------------------------------------------------------------------------------------- users


def test_a_user_is_added_with_an_invite_for_one_machine(office):
    answer = office.admin("user-add", user="bob", groups=["gpu", "a"])
    assert (answer["role"], answer["groups"], answer["uses"]) == ("user", ["a", "gpu"], 1)
    assert office.audited() == [("root", "user-add", "user bob", "ok")]
    assert office.last.events == (Known("bob", "user", frozenset(["a", "gpu"])),)
    ticket = office.enrol(answer["invite"])["ticket"]
    assert (ticket["user"], ticket["kind"]) == ("bob", "client")
    assert office.audited() == [("bob", "enrol", "user bob", "ok")]
    assert office.enrol(answer["invite"])["code"] == "invite"
    assert office.audited() == [("", "enrol", "", "invite")]
    (bob,) = office.admin("users")["users"]
    assert (bob["name"], bob["keys"], bob["groups"]) == ("bob", 1, ["a", "gpu"])


@pytest.mark.parametrize(
    "fields",
    [{"user": "a:b"}, {"user": ""}, {}, {"user": "guest-1"}, {"user": "b", "role": "king"},
     {"user": "b", "groups": ["x y"]}, {"user": "b", "groups": 7}, {"user": "b", "uses": 0},
     {"user": "b", "hours": "x"}, {"user": "b", "hours": -1}, {"user": "b", "groups": ["x"] * 65},
     {"user": ["b"]}, {"user": "b" * 300}],
)  # fmt: skip
def test_users_that_cannot_be_are_refused(office, fields):
    assert office.admin("user-add", **fields)["code"] == "usage"
    assert office.admin("users")["users"] == []


def test_a_revoked_user_has_no_keys_and_no_invites_and_may_be_added_again(office):
    invite = office.admin("user-add", user="bob", uses=5)["invite"]
    old = office.enrol(invite)["ticket"]
    answer = office.admin("user-revoke", user="bob")
    assert answer["keys"] == 1
    (gone,) = office.last.events
    assert gone == Revoked(frozenset([old["mac_id"]]), "bob", "the user bob was revoked", True)
    assert office.journal.credential(old["mac_id"]) is None
    assert office.enrol(invite)["code"] == "invite"
    assert office.admin("users")["users"] == []
    assert office.admin("user-revoke", user="bob")["ok"] is False
    with pytest.raises(UsageError, match="was revoked"):
        office.desk.invite("bob", "any", 1, 1.0, NOW)
    again = office.admin("user-add", user="bob")["invite"]
    assert office.enrol(again)["ticket"]["mac_id"] != old["mac_id"]
    assert office.journal.credential(old["mac_id"]) is None


def test_an_invite_for_somebody_unknown_makes_a_user(office):
    office.desk.invite("carol", "any", 1, 1.0, NOW)
    assert office.desk.standing("carol") == "user"
    assert [user["name"] for user in office.admin("users")["users"]] == ["carol"]


def test_who_starts_the_relay_is_its_administrator(office):
    office.desk.ensure_user("ann", NOW)
    office.desk.ensure_user("ann", NOW, "admin")
    assert office.desk.standing("ann") == "admin"
    office.desk.ensure_user("ann", NOW)
    assert office.desk.standing("ann") == "admin"
    assert office.desk.standing("guest-x") == "guest"


def test_invites_for_others_are_for_administrators(office):
    assert office.ask("bob", "invite", user="ann")["ok"] is False
    assert office.admin("invite", user="ann")["ok"]
    assert office.ask("bob", "invite", user="bob")["ok"]


def test_invites_and_keys_of_a_user_are_bounded(office, monkeypatch):
    monkeypatch.setattr(desk, "INVITES_PER_USER", 2)
    monkeypatch.setattr(desk, "KEYS_PER_USER", 1)
    invite = office.ask("bob", "invite")["invite"]
    office.ask("bob", "invite")
    assert "has 2 invites" in office.ask("bob", "invite")["message"]
    assert office.ask("ann", "invite")["ok"]
    office.enrol(invite)
    assert "has 1 keys" in office.enrol(invite)["message"]


# --------------------------------------------------------------------------------------------- keys


def test_my_keys_are_listed_and_mine_only(office):
    mine = office.desk.ticket("client", "bob", "", NOW).mac_id
    office.desk.ticket("agent", "bob", "n1", NOW + 1)
    office.desk.ticket("client", "ann", "", NOW)
    office.journal.mark_seen(mine, NOW + 5)
    keys = office.ask("bob", "keys", key=mine, user="ann", all=True)["keys"]
    assert [(k["kind"], k["agent_id"], k["mine"]) for k in keys] == [
        ("client", "", True), ("agent", "n1", False),
    ]  # fmt: skip
    assert (keys[0]["seen_at"], keys[1]["seen_at"]) == (NOW + 5, None)
    assert len(office.admin("keys", all=True)["keys"]) == 3
    assert len(office.admin("keys", user="ann")["keys"]) == 1


def test_a_key_is_revoked_by_the_beginning_of_its_serial(office):
    serial = office.desk.ticket("client", "bob", "", NOW).mac_id
    answer = office.ask("bob", "revoke", what=serial[:6].upper())
    assert (answer["revoked"], answer["id"]) == ("key", serial)
    assert office.audited() == [("bob", "key-revoke", f"key {serial[:12]}", "ok")]
    assert office.last.events[0].serials == {serial}
    assert office.journal.credential(serial) is None
    assert office.ask("bob", "revoke", what=serial)["code"] == "none"


def test_another_s_key_is_none_but_for_administrators(office):
    serial = office.desk.ticket("client", "bob", "", NOW).mac_id
    theirs = office.ask("eve", "revoke", what=serial, any=True)
    none = office.ask("eve", "revoke", what="0" + "f" * 39, any=True)
    assert theirs["code"] == none["code"] == "none"
    assert office.journal.credential(serial)
    assert office.admin("revoke", what=serial[:8], any=True)["ok"]


@pytest.mark.parametrize("what", ["", "12345", "zzzzzz", "%%%%%%", 7, None, ["a"]])
def test_what_names_no_key_revokes_none(office, what):
    serial = office.desk.ticket("client", "bob", "", NOW).mac_id
    assert office.ask("bob", "revoke", what=what)["ok"] is False
    assert office.journal.credential(serial)


def test_a_beginning_that_fits_two_keys_revokes_neither(office):
    for end in ("1", "2"):
        office.journal.add_credential(Credential("abcdef" + end, "client", "bob", ""), NOW)
    assert "say more" in office.ask("bob", "revoke", what="abcdef")["message"]
    assert office.ask("bob", "revoke", what="abcdef1")["id"] == "abcdef1"


# ------------------------------------------------------------------------------------------- pilots


def test_each_node_of_a_pilot_is_given_out_once(office):
    answer = office.ask("bob", "pilot", name="night", nodes=2)
    assert answer["name"] == "night"
    invite = answer["invite"]
    ticket = office.enrol(invite, "agent", claim={"node": 1, "restart": 0})["ticket"]
    assert (ticket["agent_id"], ticket["user"], ticket["mac_key"]) == ("night.1", "bob", "")
    again = office.enrol(invite, "agent", claim={"node": 1, "restart": 0})
    assert again["code"] == "claimed"
    assert office.audited() == [("bob", "enrol", "agent night.1", "claimed")]
    assert office.enrol(invite, "agent", claim={"node": 0})["ticket"]["agent_id"] == "night.0"


def test_a_later_start_of_a_node_withdraws_what_the_earlier_had(office):
    invite = office.ask("bob", "pilot", name="night", nodes=2)["invite"]
    office.enrol(invite, "agent", claim={"node": 1, "restart": 0})
    (first,) = office.journal.agent_keys("bob", "night.1")
    office.enrol(invite, "agent", claim={"node": 1, "restart": 3})
    (event,) = office.last.events
    assert event.serials == {first}
    assert office.journal.credential(first) is None
    assert len(office.journal.agent_keys("bob", "night.1")) == 1
    for restart in (0, 2, 3):
        claim = {"node": 1, "restart": restart}
        assert office.enrol(invite, "agent", claim=claim)["code"] == "claimed"


@pytest.mark.parametrize(
    ("role", "claim", "code"),
    [("agent", {"node": 2}, "usage"), ("agent", {"node": -1}, "usage"), ("agent", {}, "usage"),
     ("agent", {"node": True}, "usage"), ("agent", {"node": 0, "restart": "x"}, "usage"),
     ("agent", {"node": 0, "restart": 10**400}, "usage"), ("agent", 7, "usage"),
     ("client", {"node": 0}, "invite"), ("agent", None, "invite"), ("client", None, "invite")],
)  # fmt: skip
def test_a_pilot_s_token_is_good_for_claims_only(office, role, claim, code):
    invite = office.ask("bob", "pilot", nodes=2)["invite"]
    fields = {} if claim is None else {"claim": claim}
    assert office.enrol(invite, role, **fields)["code"] == code


def test_an_ordinary_invite_and_a_pilot_that_is_over_are_no_pilot_s(office):
    plain = office.ask("bob", "invite")["invite"]
    assert office.enrol(plain, "agent", claim={"node": 0})["code"] == "invite"
    invite = office.ask("bob", "pilot", hours=1)["invite"]
    late = office.enrol(invite, "agent", now=NOW + 3601, claim={"node": 0})
    assert late["code"] == "invite"


@pytest.mark.parametrize(
    "fields", [{"nodes": 0}, {"nodes": 10**6}, {"nodes": "x"}, {"name": "a b"}, {"name": 7}, {"hours": 0}]
)  # fmt: skip
def test_pilots_that_cannot_be(office, fields):
    assert office.ask("bob", "pilot", **fields)["ok"] is False


def test_two_pilots_of_one_name_cannot_be_at_a_time_and_not_of_two_users(office):
    invite = office.ask("bob", "pilot", name="p")["invite"]
    assert "already" in office.ask("bob", "pilot", name="p")["message"]
    office.enrol(invite, "agent", claim={"node": 0})
    other = office.ask("eve", "pilot", name="p")["invite"]
    assert office.enrol(other, "agent", claim={"node": 0})["code"] == "failed"
    assert office.journal.agent_owner("p.0") == "bob"


def test_no_token_is_written_down(office):
    invite = office.ask("bob", "pilot")["invite"]
    token = parse_invite(invite)[1]
    assert token not in json.dumps([a._asdict() for a in office.last.audits])
    office.journal.close()
    with open(office.folder + "/journal.sqlite", "rb") as file:
        text = file.read()
    assert token.encode() not in text
    assert hashlib.sha256(token.encode()).hexdigest()
    office.journal = Journal(office.folder + "/journal.sqlite")


# ---------------------------------------------------------------------------------- through a door


def audited(relay):
    with open(f"{relay.folder}/audit.log") as file:
        return [json.loads(line) for line in file]


def test_a_revoked_key_is_dead_on_a_live_connection(relay):
    admin = relay.client("root")
    relay.journal.put_user("root", "admin", [], NOW)
    relay.broker._feed(Known("root", "admin"))
    bob = relay.client("bob")
    answer = admin.control.ask("revoke", what=bob.welcome["mac_id"][:10], any=True)
    assert answer["ok"], answer
    assert bob.control.get("error")["code"] == "revoked"
    relay.until(lambda: bob.control.error is not None)
    sock = bob.come()
    assert b"NO denied" in relay.ended(sock)
    last = [(e["who"], e["verb"], e["result"]) for e in audited(relay)][-2:]
    assert last == [("root", "key-revoke", "ok"), ("", "connect", "revoked")]


def test_a_revoked_key_s_joined_pair_is_cut(relay):
    agent = relay.agent(spares=1)
    alice = relay.client("alice")
    sock = alice.come(att="a" * 32)
    agent.control.get("expect")
    assert relay.read(agent.spares[0]) == b"HELLO"
    agent.spares[0].send(b"answer")
    assert relay.read(sock) == b"answer"
    assert alice.control.ask("revoke", what=alice.welcome["mac_id"])["revoked"] == "key"
    assert agent.control.get("revoke")["atts"] == ["a" * 32]
    assert relay.ended(sock) == b""
    assert relay.ended(agent.spares[0]) == b""


def test_a_client_that_waits_for_a_spare_is_sent_away_too(relay):
    agent = relay.agent()
    alice = relay.client("alice")
    sock = alice.come(att="a" * 32)
    agent.control.get("expect")
    relay.until(lambda: any(v.agent_id for v in relay.door.meeting.visits.values()))
    alice.control.ask("revoke", what=alice.welcome["mac_id"])
    assert b"NO denied" in relay.ended(sock)
    assert relay.door.meeting.visits == {}


def test_unanswered_requests_are_bounded(relay):
    alice = relay.client("alice")
    jobs = [alice.control.ask("submit", spec={"argv": ["x"]})["job"] for _ in range(6)]
    for number in range(300):  # few enough for each job
        alice.control.say({"m": "wait", "id": f"w{number}", "job": jobs[number % 6]})
    for number in (299, 256):
        answer = alice.control.answer(f"w{number}")
        assert (answer["code"], answer["message"][:12]) == ("full", "256 requests")
    assert len(alice.control.got) == 42  # the other ones that are too many
    assert relay.client("bob").control.ask("whoami")["ok"]
    other = relay.client("alice")
    for _ in range(300):
        assert other.control.ask("whoami")["ok"]


def test_an_agent_with_a_withdrawn_key_is_sent_away(relay):
    agent = relay.agent("n1", "alice")
    alice = relay.client("alice")
    (key,) = [k for k in alice.control.ask("keys")["keys"] if k["agent_id"] == "n1"]
    alice.control.ask("revoke", what=key["serial"])
    assert agent.control.get("error")["code"] == "revoked"
    assert alice.control.ask("agents")["agents"] == []


def test_whoami_says_what_i_am_and_until_when(relay):
    facts = relay.client("alice").control.ask("whoami")
    assert facts["role"] == "user"
    assert facts["until"] > NOW + 300 * 86400
    assert auth.serial_text(facts["key"]) == facts["key"]


def test_an_expired_certificate_says_to_log_in_again(relay, make_control):
    ticket = relay.ticket("client", "alice")
    issued = auth.issue(relay.folder, "gshell:user:alice", False, days=0)
    expired = ticket._replace(cert=issued.cert, key=issued.key)
    control = make_control(expired)
    relay.until(lambda: control.error is not None)
    assert isinstance(control.error, GshellError)
    assert (control.error.message, control.error.hint) == (
        "our certificate has expired", "gshell login INVITE",
    )  # fmt: skip


def test_the_log_is_chained_over_a_restart_of_the_broker(relay):
    from relay import audit
    from relay.audit import Mark

    relay.agent("n1")
    greeting = relay.door._greeting
    relay.stop_broker()
    relay.start_broker()
    relay.until(lambda: relay.door._greeting not in ("", greeting))
    relay.agent("n2")
    count, bad = audit.verify([f"{relay.folder}/audit.log"], Mark(**relay.journal.meta("audit")))
    assert (count, bad) == (2, None)
