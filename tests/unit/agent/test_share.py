"""How strongly the batch lane is demoted, against a machine that is a formula."""

from __future__ import annotations

import pytest

from gshell.agent.proctree import Times
from gshell.agent.share import WINDOW_S, Control, competed

CPUS = 2


def machine(control: Control, seconds: float, strength: float = 1.0, inert: bool = False) -> float:
    """Spinners on all cores of both lanes; what batch has in the end. ``strength``: how much a
    weight really does, as a power of it."""
    share = 0.5
    for _ in range(int(seconds / 0.1)):
        order = control.order
        weight = 1.0 if inert else order.weight**strength
        share = order.runs * weight / (1 + weight)
        batch, mine = share * 0.1 * CPUS, (1 - share) * 0.1 * CPUS
        control.measured(
            Times(batch, 0.1 * CPUS - batch), Times(mine, 0.1 * CPUS - mine), 0.1, CPUS,
            1 - order.runs,
        )  # fmt: skip
    return share


@pytest.mark.parametrize("loss", [5, 10, 25])
@pytest.mark.parametrize("strength", [0.6, 1.0, 1.3])
def test_the_share_comes_to_what_was_asked_for(loss: int, strength: float) -> None:
    control = Control(loss / 100, 0.0144)
    assert machine(control, 8, strength) == pytest.approx(loss / 100, abs=0.015)
    assert not control.order.inert


def test_where_the_smallest_weight_is_not_enough_it_is_stopped_by_turns_too() -> None:
    control = Control(0.02, 0.25)
    assert machine(control, 15) == pytest.approx(0.02, abs=0.015)
    assert control.order.weight == 0.25
    assert control.order.runs < 0.2


def test_weights_that_do_nothing_are_seen() -> None:
    control = Control(0.10, 0.0144)
    machine(control, 6, inert=True)
    assert control.order.inert


def test_with_nothing_but_stopping_it_comes_to_the_share_too() -> None:
    control = Control(0.10, None)
    assert machine(control, 8) == pytest.approx(0.10, abs=0.015)
    assert not control.order.inert


@pytest.mark.parametrize(
    ("batch", "interactive"),
    [(Times(2, 0), Times(0, 0)), (Times(0, 0), Times(2, 0)), (Times(0.01, 0), Times(1.9, 0))],
)
def test_while_one_of_them_wants_nothing_nothing_is_corrected(
    batch: Times, interactive: Times
) -> None:
    control = Control(0.10, 0.0144)
    before = control.order
    for _ in range(20):
        control.measured(batch, interactive, 1.0, CPUS, 0.0)
    assert control.order == before
    assert control.share is None


def test_one_spinner_beside_an_idle_core_loses_nothing_to_batch() -> None:
    assert competed(Times(1.0, 0), Times(1.0, 0.0), 1.0, 2) == (0.0, 1.0)


def test_others_on_the_machine_do_not_count_as_batch() -> None:
    part, both = competed(Times(0.1, 1.0), Times(0.9, 1.1), 1.0, 2)  # and somebody else has 1.0
    assert part / both == pytest.approx(0.10)


def test_a_moment_in_which_others_had_nearly_everything_counts_little():
    control = Control(0.1, 0.01)
    for _ in range(20):
        control.measured(Times(0.04, 0.4), Times(0.36, 0.04), WINDOW_S, 1, 0.0)
        control.measured(Times(0.01, 0.4), Times(0.01, 0.39), WINDOW_S, 1, 0.0)
    assert control.share == pytest.approx(0.12, abs=0.02)
