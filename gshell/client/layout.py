"""How many ranks of an MPI program go to each agent. Pure: agents are as the relay lists them."""

from __future__ import annotations

from gshell.errors import UsageError
from gshell.model.record import Record
from gshell.wire.constants import MAX_TASKS

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any

USUAL_SLOTS = 64  # or 4 per cpu: what an agent offers that nobody told how many


class Wish(Record):
    """What the user said of it."""

    ranks: int | None
    """Of all agents together; None: all they have."""
    agents: int | None
    """None: one, or as many as it takes."""
    oversubscribe: bool = False
    """More ranks than slots are no hindrance."""
    agent: str = ""
    """This one only."""


class Layout(Record):
    """What goes where: one number for each agent."""

    ranks: tuple[int, ...]
    slots: tuple[int, ...]
    """That these take there; fewer where that is wanted."""


def even(ranks: int, agents: int) -> list[int]:
    """As even as it goes, the larger first.

    >>> even(5, 2)
    [3, 2]
    """
    each, more = divmod(ranks, agents)
    return [each + (at < more) for at in range(agents)]


def at_first(wish: Wish) -> Layout | None:
    """Without a question; None: that needs to be known what there is.

    Raises:
        UsageError: it makes no sense.
    """
    if wish.ranks is None:
        return None
    agents = wish.agents or 1
    if agents > wish.ranks:
        raise UsageError(
            f"{agents} agents for {_count(wish.ranks, 'rank')}: some would have none",
            hint=f"gshell mpi -n {agents} -N {agents} ...",
        )
    ranks = tuple(even(wish.ranks, agents))
    if ranks[0] > MAX_TASKS:
        raise UsageError(f"an agent takes at most {MAX_TASKS} ranks", hint="gshell mpi -N ...")
    return Layout(ranks, ranks)


def fit(wish: Wish, listed: list[dict[str, Any]]) -> Layout:
    """Onto what is there, whether or not it is free at the moment.

    Raises:
        UsageError: there is not so much; what there is, and what to type.
    """
    able = [_slots(a) for a in listed if wish.agent in ("", str(a.get("id")))]
    able = sorted((slots for slots in able if slots > 0), reverse=True)
    if len(able) < (wish.agents or 1):
        raise UsageError(
            f"{_count(wish.agents or 1, 'agent')} wanted, and there {_are(len(able), 'agent')}",
            hint=f"gshell mpi -N {len(able)} ..." if able else "gshell agents",
        )
    if wish.ranks is None:
        mine = sorted(_cores(a) for a in listed if wish.agent in ("", str(a.get("id"))))[::-1]
        ranks = tuple(mine[: wish.agents or 1])
        return Layout(ranks, ranks)
    if wish.oversubscribe:
        agents = wish.agents or 1
        ranks = tuple(even(wish.ranks, agents))
        return Layout(ranks, tuple(min(n, able[at]) for at, n in enumerate(ranks)))
    if wish.agents is None:
        for agents in range(1, len(able) + 1):
            if sum(able[:agents]) >= wish.ranks:
                ranks = tuple(_fill(wish.ranks, able[:agents]))
                return Layout(ranks, ranks)
        raise _too_many(wish.ranks, able)
    ranks = tuple(even(wish.ranks, wish.agents))
    if any(n > able[at] for at, n in enumerate(ranks)):
        if sum(able[: wish.agents]) < wish.ranks:
            raise _too_many(wish.ranks, able[: wish.agents])
        ranks = tuple(_fill(wish.ranks, able[: wish.agents]))
    return Layout(ranks, ranks)


def _fill(ranks: int, slots: list[int]) -> list[int]:
    """As even as the slots, the largest first, allow."""
    left, given = ranks, []
    for at in range(len(slots) - 1, -1, -1):  # the smallest decides first
        n = min(slots[at], left // (at + 1))
        given.append(n)
        left -= n
    return given[::-1]


def _too_many(ranks: int, able: list[int]) -> UsageError:
    shown = " + ".join(map(str, able[:8])) + (" + ..." if len(able) > 8 else "")
    where = "1 agent" if len(able) == 1 else f"{len(able)} agents: {shown}"
    return UsageError(
        f"{ranks} ranks wanted, and there are {_count(sum(able), 'slot')} ({where})",
        hint=f"gshell mpi -n {sum(able)} ...    or    gshell mpi -n {ranks} --oversubscribe ...",
    )


def _slots(agent: dict[str, Any]) -> int:
    value = agent.get("slots")
    return value if isinstance(value, int) and agent.get("state") != "draining" else 0


def _cores(agent: dict[str, Any]) -> int:
    """Ranks that run at full speed: its slots, where somebody said how many it has."""
    slots, cpus = _slots(agent), agent.get("cpus")
    if isinstance(cpus, int) and cpus > 0 and slots == max(USUAL_SLOTS, 4 * cpus):
        return min(slots, cpus)
    return slots


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _are(number: int, what: str) -> str:
    return f"{'is' if number == 1 else 'are'} {_count(number, what) if number else 'none'}"
