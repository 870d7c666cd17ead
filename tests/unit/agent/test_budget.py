"""Room that several share."""

from __future__ import annotations

import pytest

from gshell.agent.budget import Budget


class Holder:
    """Takes what it is told to, gives ten at a time, unless it needs all."""

    def __init__(self, budget: Budget, held: int = 0, needed: bool = False) -> None:
        self.budget, self.held, self.needed = budget, 0, needed
        budget.join(self)
        if held:
            assert self.take(held)

    def take(self, size: int) -> bool:
        taken = self.budget.take(size)
        self.held += size if taken else 0
        return taken

    def shed(self) -> bool:
        if self.needed or not self.held:
            return False
        size = min(10, self.held)
        self.held -= size
        self.budget.give(size)
        return True


def test_it_gives_until_nothing_is_left_and_again_what_came_back():
    budget = Budget(100)
    assert budget.take(60)
    assert budget.take(40)
    assert not budget.take(1)
    budget.give(1)
    assert budget.take(1)
    assert budget.held == 100


def test_a_quota_of_nothing_gives_nothing():
    assert not Budget(0).take(1)


def test_whoever_holds_most_sheds_first_the_one_who_asks_too():
    budget = Budget(100)
    small, big = Holder(budget, 20), Holder(budget, 80)
    assert small.take(15)
    assert (small.held, big.held) == (35, 60)
    assert big.take(30)
    assert (small.held, big.held) == (35, 60)


def test_who_needs_all_sheds_nothing_and_the_next_one_does():
    budget = Budget(100)
    needs, other = Holder(budget, 80, needed=True), Holder(budget, 20)
    assert needs.take(20)
    assert (needs.held, other.held) == (100, 0)
    assert not other.take(1)


def test_what_can_never_fit_costs_nobody_anything():
    budget = Budget(100)
    holder = Holder(budget, 80)
    assert not holder.take(101)
    assert holder.held == 80


def test_a_session_s_quota_and_the_agent_s_hold_both():
    agent = Budget(100)
    one, other = Holder(Budget(70, agent)), Holder(Budget(70, agent))
    assert one.take(70)
    assert not Holder(one.budget, needed=True).take(71)
    assert other.take(30)
    assert (one.held, other.held, agent.held) == (70, 30, 100)
    assert other.take(30)
    assert (one.held, other.held, agent.held) == (40, 60, 100)
    one.needed = other.needed = True
    assert not other.take(10)
    assert not one.take(10)


def test_who_was_refused_is_told_of_room_once():
    told: list[str] = []
    agent = Budget(100, None, lambda: told.append("agent"))
    session = Budget(50, agent, lambda: told.append("session"))
    assert session.take(50)
    session.give(1)
    assert told == []
    assert not session.take(20)
    session.give(1)
    session.give(1)
    assert told == ["session"]
    assert agent.take(52)
    assert not session.take(3)
    agent.give(10)
    assert told == ["session", "agent"]


def test_a_budget_that_is_closed_is_asked_for_nothing():
    agent = Budget(100)
    session = Budget(50, agent)
    assert session.take(10)
    with pytest.raises(AssertionError):
        session.close()
    session.give(10)
    session.close()
    assert not agent.shed()
