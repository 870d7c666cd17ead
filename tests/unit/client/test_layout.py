"""Ranks over agents: even where it goes, as the slots allow where not, and refused in so many words."""

import pytest

from gshell.client.layout import Layout, Wish, at_first, fit
from gshell.errors import UsageError


def agents(*slots, cpus=2):
    return [
        {"id": f"n{at}", "slots": n, "cpus": cpus, "state": "waiting"} for at, n in enumerate(slots)
    ]


def laid(ranks, agents_=None, *, on, **more):
    return list(fit(Wish(ranks, agents_, **more), on).ranks)


def test_without_a_question_it_is_one_agent_or_even():
    assert at_first(Wish(4, None)) == Layout((4,), (4,))
    assert at_first(Wish(5, 2)) == Layout((3, 2), (3, 2))
    assert at_first(Wish(None, 2)) is None
    with pytest.raises(UsageError, match="some would have none"):
        at_first(Wish(2, 3))


def test_no_agent_more_than_it_takes():
    assert laid(4, on=agents(8, 8)) == [4]
    assert laid(12, on=agents(8, 8)) == [6, 6]
    assert laid(7, on=agents(2, 4, 4)) == [4, 3]
    assert laid(10, on=agents(2, 4, 4)) == [4, 4, 2]


def test_uneven_agents_get_what_they_have_room_for():
    assert laid(9, 2, on=agents(3, 6)) == [6, 3]
    assert laid(8, 2, on=agents(3, 6)) == [5, 3]


def test_all_there_is_are_the_slots_that_somebody_named_else_the_cpus():
    assert laid(None, 2, on=agents(8, 3)) == [8, 3]
    assert laid(None, None, on=agents(64, cpus=6)) == [6]


@pytest.mark.parametrize(
    ("wish", "on", "said", "next_"),
    [
        (Wish(9, None), agents(4, 4), "9 ranks wanted, and there are 8 slots", "--oversubscribe"),
        (Wish(9, 1), agents(4), "4 slots (1 agent)", "-n 4"),
        (Wish(9, 3), agents(4, 4), "3 agents wanted, and there are 2 agents", "-N 2"),
        (Wish(2, None, agent="x"), agents(4), "there are none", "gshell agents"),
    ],
)
def test_what_cannot_be_is_refused_with_what_there_is(wish, on, said, next_):
    with pytest.raises(UsageError) as refused:
        fit(wish, on)
    assert said in refused.value.message
    assert next_ in (refused.value.hint or "")


def test_oversubscribed_it_takes_what_slots_there_are():
    assert fit(Wish(128, None, oversubscribe=True), agents(4)) == Layout((128,), (4,))
    assert fit(Wish(9, 2, oversubscribe=True), agents(2, 8)) == Layout((5, 4), (5, 2))


def test_an_agent_that_takes_nothing_more_does_not_count():
    draining = [*agents(8), {"id": "d", "slots": 8, "state": "draining"}]
    with pytest.raises(UsageError, match="8 slots"):
        fit(Wish(9, None), draining)
