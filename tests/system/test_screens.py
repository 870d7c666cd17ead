"""Programs that draw: what a terminal shows of them is the same direct and through gshell."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from kit.procs import Env
from kit.screens import SCENARIOS, Panes, Scenario, missing

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux here")
QUICK = [scenario for scenario in SCENARIOS if scenario.quick]


@pytest.fixture(scope="module")
def panes(private_env: Env, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panes]:
    words = private_env.argv("run", "-t", "--")
    with Panes(words, private_env.env, tmp_path_factory.mktemp("screens")) as both:
        yield both


@pytest.mark.parametrize("scenario", QUICK, ids=lambda scenario: scenario.name)
def test_a_terminal_shows_the_same_as_without_us(
    private: Env, panes: Panes, scenario: Scenario
) -> None:
    lacking = missing(scenario)
    if lacking:
        pytest.skip(f"no {lacking} here")
    assert panes.play(scenario) == []
