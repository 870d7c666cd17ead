"""What is said of ranks that failed."""

from types import SimpleNamespace
from typing import Any

from gshell.client.outcome import FEW, complaints
from gshell.client.seats import Seat


def seat(first: int, exits: list[dict[str, Any]], starter: bool = False) -> Seat:
    talk: Any = SimpleNamespace(agent_id=f"a{first}")
    made = Seat(talk, first, len(exits) - starter, starter)
    made.exits = dict(enumerate(exits))
    return made


BAD, GOOD, SEGV, TERM = {"code": 3}, {"code": 0}, {"code": 139, "signal": 11}, {"code": 143, "signal": 15}  # fmt: skip


def test_the_same_is_said_once_of_all_ranks_of_an_agent() -> None:
    assert complaints([seat(0, [BAD, GOOD, BAD, SEGV])], []) == [
        "ranks 0,2: exit 3",
        "rank 3: signal 11",
    ]


def test_where_several_agents_are_each_is_named_unless_that_would_fill_the_screen() -> None:
    assert complaints([seat(0, [BAD]), seat(1, [BAD])], []) == [
        "rank 0 on a0: exit 3",
        "rank 1 on a1: exit 3",
    ]
    assert complaints([seat(n, [BAD]) for n in range(FEW + 1)], []) == [f"ranks 0-{FEW}: exit 3"]


def test_who_ended_with_the_first_or_as_the_user_wished_has_not_failed() -> None:
    assert complaints([seat(0, [SEGV, TERM, GOOD], starter=True)], []) == ["rank 0: signal 11"]
    assert complaints([seat(0, [TERM, TERM])], ["TERM"]) == []


def test_one_rank_speaks_for_itself_and_an_error_was_said_already() -> None:
    assert complaints([seat(0, [BAD])], []) == []
    assert complaints([seat(0, [{"code": 127, "error": "not found"}] * 2)], []) == []
