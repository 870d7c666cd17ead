"""What tests of mpi-start share."""

import pytest

from kit.mpistart import MpiStart, tools


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    return tools(tmp_path_factory.mktemp("tools"))


@pytest.fixture
def node(tmp_path, usual):
    node = MpiStart(tmp_path, usual)
    yield node
    assert node.left() == []
