"""What is said to one connection in one round of a loop travels in one piece."""

from types import SimpleNamespace

import pytest

from gshell.agent.uplink import Uplink
from gshell.net.control import ControlDecoder
from gshell.net.link import Link
from gshell.net.relaylink import RelayLink


@pytest.fixture
def sent(monkeypatch):
    """(link, messages) of every write to a control connection."""
    pieces = []

    def send(link, data, really=Link.send):
        pieces.append((link, [m.get("re", m.get("m")) for m in ControlDecoder(1 << 24).feed(data)]))
        really(link, data)

    monkeypatch.setattr(Link, "send", send)
    return pieces


def test_what_the_broker_says_in_one_round_leaves_the_door_in_one_piece(relay, sent):
    errors, answers = [], []
    link = RelayLink(relay.loop, relay.ticket(), errors.append)
    link.open()
    relay.closers.append(link.close)
    link.request({"m": "whoami"}, answers.append)
    assert relay.loop.run_until(lambda: answers, 10), errors
    controls = relay.door.controls
    (one,) = controls.by_number.values()
    sent.clear()
    controls.send(one.number, {"re": 7})
    controls.send(one.number, {"re": 8})
    controls.flush()
    controls.send(one.number, {"re": 9})
    controls.close_number(one.number)
    assert sent == [(one.link, [7, 8]), (one.link, [9])], "before it is closed"


def test_an_agent_says_in_one_piece_what_happened_together_and_its_last_words(relay, sent):
    owner = SimpleNamespace(hello=lambda: {"m": "hello", "role": "agent", "boot": "b", "host": "h"},
                            on_welcome=lambda: None, on_away=lambda error: None,
                            on_control=lambda message: None)  # fmt: skip
    one = Uplink(relay.loop, relay.ticket("agent", agent_id="n1"), owner)
    relay.closers.append(one.close)
    one.start()
    assert relay.loop.run_until(lambda: one.welcomed, 10)
    mine = one._link
    for word in ("a", "b"):
        one.say({"m": word})
    assert relay.loop.run_until(lambda: (mine, ["a", "b"]) in sent, 10), sent
    one.say({"m": "bye"})
    one.close()
    assert (mine, ["bye"]) in sent


def test_what_an_agent_says_between_its_hello_and_the_welcome_is_said_after_it(relay, sent):
    owner = SimpleNamespace(on_welcome=lambda: None, on_away=lambda error: None,
                            on_control=lambda message: None)  # fmt: skip
    one = Uplink(relay.loop, relay.ticket("agent", agent_id="n1"), owner)

    def hello():
        # In a moment, when the hello is on its way: a step ends.
        relay.loop.soon(lambda: one.say({"m": "ended", "job": "1"}))
        one.say({"m": "before"})  # it says that itself
        return {"m": "hello", "role": "agent", "boot": "b", "host": "h"}

    owner.hello = hello
    relay.closers.append(one.close)
    one.start()
    assert relay.loop.run_until(lambda: one.welcomed, 10)
    mine = one._link
    assert [said for link, said in sent if link is mine] == [["hello"], ["ended"]]
