"""What a spec says of its MPI program: hostile bytes become a part or an error."""

from typing import Any

import pytest

from gshell.agent.spec import StepSpec
from gshell.errors import RemoteProtocolError


def spec(mpi: Any, **more: Any) -> StepSpec:
    message = {"argv": ["a.out"], "tasks": 2, "first": 3, "size": 5, "mpi": mpi, **more}
    return StepSpec.parse(message)


def test_a_member_has_its_part_of_the_layout() -> None:
    part = spec({"layout": [3, 2], "input": "0-3", "pty": "all"}).mpi
    assert part is not None
    assert (part.layout, part.flavour, part.size, part.first(1)) == ((3, 2), "auto", 5, 3)
    assert 3 in part.input
    assert 4 not in part.input
    assert 4 in part.pty
    assert spec(None).mpi is None


@pytest.mark.parametrize(
    "mpi",
    [
        [], "mpi", 5, {}, {"layout": []}, {"layout": [2, 3]}, {"layout": [3, 2, 1]},
        {"layout": [3, 2.0]}, {"layout": [3, True, 1]}, {"layout": ["3", "2"]},
        {"layout": [3, 2], "input": "9"}, {"layout": [3, 2], "pty": "x"},
        {"layout": [3, 2], "input": 3}, {"layout": [3, 2], "flavour": "../x"},
        {"layout": [3, 2], "options": "-v"}, {"layout": [3, 2], "options": ["\0"]},
        {"layout": [3, 2], "pre": ["x"]}, {"layout": [1] * 5000}, {"layout": [3, 2, -1, 1]},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_an_error(mpi: Any) -> None:
    if mpi in ([], {}):
        assert spec(mpi).mpi is None
        return
    with pytest.raises(RemoteProtocolError):
        spec(mpi)


def test_an_mpi_program_has_no_single_terminal() -> None:
    with pytest.raises(RemoteProtocolError):
        spec({"layout": [3, 2]}, pty=[24, 80])
