"""A share's link over the wire: a guest is made, may look on, and is gone with the share."""

import datetime
import time

import pytest

from gshell.model.ticket import Ticket
from relay.broker import rights

A, B = "a" * 32, "b" * 32


@pytest.fixture
def agent(relay):
    """Alice's job 1 runs on n1."""
    agent = relay.agent(spares=2)
    client = relay.client()
    visit = client.come(att=A, tasks=1)
    relay.read(agent.spares[0], 5)
    agent.spares[0].send(b"!")
    relay.read(visit)
    agent.control.get("expect")
    agent.control.say({"m": "started", "job": "1", "index": 0, "att": A, "tasks": 1})
    agent.owner = client
    return agent


def share(agent, **fields):
    answer = agent.owner.control.ask("share", job="1", **fields)
    assert answer["ok"], answer
    return answer["share"]["id"], answer["token"]


def enrol(relay, token):
    return relay.enrol(f"share.{token}", "guest")


def guest(relay, token):
    from tests.component.relay.conftest import Client

    return Client(relay, Ticket(**enrol(relay, token)["ticket"]))


def test_a_link_makes_a_guest_whose_certificate_ends_with_the_share(relay, agent):
    from cryptography import x509

    _, token = share(agent, seconds=600)
    ticket = Ticket(**enrol(relay, token)["ticket"])
    assert ticket.kind == "client"
    assert ticket.user.startswith(rights.GUEST)
    end = x509.load_pem_x509_certificate(ticket.cert.encode()).not_valid_after_utc
    left = end - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(seconds=580) < left < datetime.timedelta(seconds=602)


def test_a_guest_attaches_and_that_is_all(relay, agent):
    share_id, token = share(agent)
    one = guest(relay, token)
    told = one.control.ask("redeem", token=token)
    assert (told["job"], told["owner"], told["rights"]) == ("1", "alice", "r")
    for verb in ("ticket", "invite", "status", "submit", "agents", "share", "cancel", "nonsense"):
        answer = one.control.ask(verb, job="1", role="agent", spec={"argv": ["true"]})
        assert (answer["ok"], answer["code"]) == (False, "denied"), verb
    visit = one.come(op="open")
    assert relay.ended(visit).startswith(b"GSHELL/1 NO denied")
    visit = one.come(op="attach", job="1", att=B, rights="rw")
    expect = agent.control.get("expect")
    assert (expect["user"], expect["owner"], expect["rights"], expect["share"]) == (
        one.ticket.user, "alice", "r", share_id,
    )  # fmt: skip
    spare = agent.spares[1]
    relay.read(spare, 5)
    spare.send(b"!")
    relay.read(visit)
    assert agent.owner.control.ask("revoke", what=share_id)["revoked"] == "share"
    assert agent.control.get("revoke")["atts"] == [B]
    assert relay.ended(visit) == b""  # the door ends it, whatever the agent does
    again = one.come(op="resume", job="1", att=B)
    assert relay.ended(again).startswith(b"GSHELL/1 NO none")
    assert one.control.ask("whynot", att=B)["code"] == "revoked"


@pytest.mark.parametrize("wrong", ["0" * 64, "", "x" * 3000])
def test_a_link_that_is_none_makes_nobody(relay, agent, wrong):
    assert enrol(relay, wrong)["code"] == "none"


def test_a_guest_s_key_is_dead_with_its_share(relay, make_control, agent):
    _, token = share(agent, seconds=2)
    one = guest(relay, token)
    relay.until(lambda: not relay.broker._core.books.shares)
    visit = one.come(op="attach", job="1", att=B)
    assert relay.ended(visit).startswith(b"GSHELL/1 NO none")
    relay.until(lambda: _dead(make_control, one.ticket))


def _dead(make_control, ticket):
    control = make_control(ticket)
    control.relay.until(lambda: control.ready or control.error)
    control.link.send(b"\0")  # a refused certificate is noticed at the first read
    control.relay.loop.run_until(lambda: control.error, 0.5)
    return control.error is not None


def test_no_token_lies_in_the_relay_s_files(relay, agent):
    _, token = share(agent)
    guest(relay, token)
    import pathlib

    for path in pathlib.Path(relay.folder).rglob("*"):
        if path.is_file():
            assert token.encode() not in path.read_bytes(), path


def test_nobody_is_invited_under_a_guest_s_name(relay):
    with pytest.raises(Exception, match="guests'"):
        relay.desk.invite("guest-1", "any", 1, 1.0, time.time())
