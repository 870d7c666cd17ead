import pytest

from gshell.model.ticket import Ticket
from gshell.net import rendezvous
from gshell.web import visits
from gshell.web.visits import Visit, Visits

TICKET = Ticket("client", "guest-1", "", ["h:1"], "0" * 64, "", "", "", "id", "00" * 32)


def visit(**more):
    return Visit(TICKET, "42", "ann", "r", "5f0c", None, **more)


def test_who_comes_back_is_known_by_the_secret_and_by_nothing_else():
    all_of_them, one = Visits(), visit()
    all_of_them.add(one, 0.0)
    assert all_of_them.find(one.secret.hex()) is one
    assert [all_of_them.find(word) for word in ("", "00", one.att, "no hex", "00" * 32)] == [
        None
    ] * 5
    assert one.secret.hex() not in repr(one)
    all_of_them.forget(one)
    assert all_of_them.find(one.secret.hex()) is None


def test_a_page_that_remembers_nothing_is_another_attachment_of_the_same_visitor():
    one = visit(asked_whose=True, trusts="*")
    again = one.again()
    assert (again.ticket, again.share, again.trusts) == (one.ticket, one.share, "*")
    assert again.att != one.att


def test_visits_without_a_page_are_forgotten_after_a_day_and_when_there_are_too_many(monkeypatch):
    all_of_them, looks, gone = Visits(), visit(pages=1), visit(left_at=5.0)
    for one in (looks, gone):
        all_of_them.add(one, 10.0)
    all_of_them.add(visit(), 10.0 + visits.KEPT_S)
    assert all_of_them.find(looks.secret.hex()) is looks
    assert all_of_them.find(gone.secret.hex()) is None
    monkeypatch.setattr(visits, "VISITS", 3)
    many = [visit(left_at=20.0 + n) for n in range(4)]
    for one in many:
        all_of_them.add(one, 30.0)
    assert [all_of_them.find(one.secret.hex()) is not None for one in many] == [
        False,
        False,
        True,
        True,
    ]
    assert all_of_them.find(looks.secret.hex()) is looks


def test_only_an_agent_of_the_owner_or_the_archive_may_have_what_is_typed():
    one = visit()
    assert one.believes(["gshell:agent:ann:a1"])
    assert one.believes(["gshell:agent:@archive:a"])
    for uri in ("gshell:agent:bob:a1", "gshell:user:ann", "gshell:agent:ann", "https://x", ""):
        assert not one.believes([uri])
    assert not one.believes([])
    one.trusts = "*"
    assert one.believes(["gshell:agent:bob:a1"])


@pytest.mark.parametrize("op", ["attach", "resume"])
def test_the_door_is_told_which_attachment_and_never_the_secret(op):
    one = visit()
    sent = one.preamble(b"hello", op, 1000.0)
    said = rendezvous.parse(sent)
    assert said is not None
    assert said.genuine(bytes(32))
    assert (said.body["att"], said.body["op"], said.body["t"]) == (one.att, op, 1000.0)
    assert ("share" in said.body) == (op == "attach")
    assert one.secret.hex().encode() not in sent
    assert one.preamble(b"hello", op, 1000.0) != sent  # a nonce is used once
