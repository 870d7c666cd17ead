"""Inside a batch job: which node are we, and what is its agent told."""

import json

import pytest

from gshell.agent import head, pilot
from gshell.agent.main import Settings as AgentSettings
from gshell.agent.main import read_facts
from gshell.errors import UsageError
from gshell.net import address


@pytest.mark.parametrize(
    ("hosts", "mine", "index"),
    [
        (["n1", "n2"], ["n2"], 1),
        (["n1.alpha.org", "n2.alpha.org"], ["n2"], 1),
        (["n1", "n2"], ["n2.alpha.org"], 1),
        (["n1.a", "n1.b"], ["n1"], None),  # which of them is not clear
        (["n1", "n2"], ["login"], None),
        (["n1", "n2"], ["", ""], None),
    ],
)
def test_a_node_knows_its_place_by_its_names(hosts, mine, index):
    assert pilot.which(hosts, mine) == index


def test_what_the_head_says_is_what_its_nodes_read():
    said = pilot.Settings(
        invite="@/x", site="alpha", pilot="p1", lrms="slurm", idle=600, head="n1:1234", hosts="n1:4,n2:2",
        lrms_id="77", ends_at="5000", restart=1,
    )  # fmt: skip
    assert pilot.read(pilot.as_words(said)) == said


def test_an_agent_is_told_its_node_and_its_slots():
    said = pilot.Settings(
        invite="@/x", site="alpha", pilot="p1", lrms="slurm", lrms_id="77", ends_at="5000", idle=9
    )
    words = pilot.agent_words(said, 1, 4)
    settings = AgentSettings(words)
    assert (settings.node, settings.slots, settings.idle) == (1, 4, 9)
    assert read_facts(settings.facts) == {
        "site": "alpha", "pilot": "p1", "node": 1, "lrms": "slurm", "lrms_id": "77", "ends_at": 5000.0,
    }  # fmt: skip


def test_slots_that_were_asked_for_are_those_there_are():
    words = pilot.agent_words(pilot.Settings(invite="@/x", slots=2), 0, 8)
    assert AgentSettings(words).slots == 2


@pytest.mark.parametrize(
    "argv", [["--nonsense"], ["--slots", "x"], ["more"], [], ["--invite", "gshell://token"]]
)
def test_a_pilot_that_makes_no_sense_is_one_clear_error(argv):
    with pytest.raises(UsageError):
        pilot.read(argv)


@pytest.mark.parametrize("text", ["[1]", "{", "7"])
def test_facts_are_an_object(text):
    with pytest.raises(UsageError):
        read_facts(text)


def test_facts_have_known_names_only():
    assert read_facts(json.dumps({"site": "a", "agent_id": "root", "node": None})) == {"site": "a"}


def test_the_word_for_the_head_is_not_the_token():
    said = head.address_of("n1:1234", "secret-token")
    assert "secret-token" not in said
    assert address.split(said)[1] == ("n1", 1234)
    assert address.preface(said) == head.word("secret-token").encode() + b"\n"
    assert address.preface("n1:1234") == b""
    assert head.word("a") != head.word("b")
