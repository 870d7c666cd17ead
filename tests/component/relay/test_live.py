"""A client that follows the feed, against a real door and broker."""

import pytest

from gshell.client import feed
from gshell.client.feed import Live
from gshell.errors import AuthError, BrokerError
from relay.broker import verbs

A = "a" * 32


@pytest.fixture
def live(relay):
    def open_(ticket=None):
        one = Live(relay.loop, ticket or relay.ticket(), ended_too=True)
        one.open()
        relay.closers.append(one.close)
        return one

    return open_


def test_it_knows_what_the_relay_knows(relay, live):
    agent, client = relay.agent(), relay.client()
    one = live()
    relay.until(lambda: one.up and one.latency_s is not None)
    assert abs(one.skew_s) < 5
    job = relay.run_job(agent, client)
    relay.until(lambda: one.mirror.jobs.get(job, {}).get("state") == "ACTIVE")
    relay.until(lambda: one.mirror.agents["n1"]["free"] < one.mirror.agents["n1"]["slots"])


def test_after_a_broker_s_death_it_watches_anew(relay, live):
    relay.agent()
    one = live()
    relay.until(lambda: one.up)
    relay.stop_broker()
    relay.start_broker()
    relay.until(lambda: not one.up)
    assert one.trouble
    relay.until(lambda: one.up)
    assert one.mirror.agents["n1"]["state"] == "away"


def test_a_relay_without_a_feed_is_told_from_one_that_is_away(relay, live, monkeypatch):
    monkeypatch.delitem(verbs.VERBS, "watch")
    one = live()
    relay.until(lambda: one.fatal)
    assert isinstance(one.fatal, BrokerError)


def test_who_is_not_welcome_does_not_come_again(relay, live):
    ticket = relay.ticket()
    assert relay.journal.revoke(ticket.mac_id, 1.0)
    one = live(ticket)
    relay.until(lambda: one.fatal)
    assert isinstance(one.fatal, AuthError)


def test_a_request_goes_over_the_same_connection(relay, live):
    one = live()
    relay.until(lambda: one.up)
    got = []
    one.request({"m": "cancel", "job": "77"}, got.append)
    relay.until(lambda: got)
    assert got[0]["code"] == "none"


def test_a_relay_that_falls_silent_is_given_up_and_dialled_again(relay, live, monkeypatch):
    monkeypatch.setattr(feed, "PING_S", 0.05)
    monkeypatch.setattr(feed, "SILENT_S", 0.2)
    one = live()
    relay.until(lambda: one.up)
    said = relay.door.controls.said
    relay.door.controls.said = lambda control, message: None
    relay.until(lambda: not one.up)
    assert "silent" in one.trouble
    relay.door.controls.said = said
    relay.until(lambda: one.up)
