"""What must not stand in our code, nor be shown of what it knows."""

import re
from pathlib import Path

import pytest

import gshell
from gshell.agent.spawn import SpawnSpec
from gshell.agent.spec import StepSpec
from gshell.client.plan import Plan, Surroundings
from gshell.model.ticket import Ticket
from gshell.wire.frames import Hello
from gshell.wire.peer import Greeted
from relay.auth import Issued
from relay.broker.events import Conn, ConnUp

ROOT = Path(gshell.__file__).parents[1]
FILES = sorted([*ROOT.glob("gshell/**/*.py"), *ROOT.glob("relay/**/*.py")])
# Each runs what it is given, or writes where it is told: never on what came from elsewhere, so never.
FORBIDDEN = re.compile(
    r"\b(?:import|from)\s+(?:pickle|marshal|shelve)\b|(?<![\w.])(?:eval|exec)\(|shell\s*=\s*True"
    r"|\.extractall\(|\.extract\(|\bos\.(?:system|popen)\("
)
SECRET = "kwzqjxvy-secret"


def code_of(path: Path) -> list[tuple[int, str]]:
    return [(n, line) for n, line in enumerate(path.read_text().splitlines(), 1)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_runs_or_unpacks_what_it_is_given(path):
    found = [f"{n}: {line.strip()}" for n, line in code_of(path) if FORBIDDEN.search(line)]
    assert not found


@pytest.mark.parametrize(
    "line",
    ["import pickle", "from marshal import loads", "x = eval(text)", "exec(code)", "run(a, shell=True)",
     "tar.extractall(path)", "tar.extract(member)", "os.system('x')", "os.popen('x')"],
)  # fmt: skip
def test_the_search_finds_them(line):
    assert FORBIDDEN.search(line)


@pytest.mark.parametrize(
    "value",
    [
        Ticket("client", "u", "", ["h:1"], "p", "ca", SECRET, SECRET, "m", SECRET),
        Issued("1", SECRET, SECRET),
        ConnUp(Conn("d", 1), "agent", "u", "a", "c", SECRET),
        Hello({"secret": SECRET}),
        Greeted({"secret": SECRET}),
        StepSpec.parse({"argv": ["x", SECRET], "env": {"A": SECRET}, "extra_env": {"B": SECRET}}),
        SpawnSpec(["x", SECRET], {"A": SECRET}),
        Surroundings({"A": SECRET}, "/", 0, "", False, False),
        Plan("run", {"argv": [SECRET], "env": {"A": SECRET}}, False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_secret_is_not_in_what_is_shown_of_its_holder(value):
    assert SECRET not in repr(value)
    assert SECRET not in f"{value}"
    assert "***" in repr(value)
