import sys
import types

import pytest

from gshell import plugins
from gshell.errors import LrmsError
from gshell.lrms import registry, slurm


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package that brings one plug-in that loads and one that doesn't."""
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    points = "[gshell.lrms]\nflux = theirs\nbroken = theirs_missing\nslurm = theirs\n"
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = types.ModuleType("theirs")
    monkeypatch.setitem(sys.modules, "theirs", module)
    return module


def test_a_plug_in_of_an_installed_package_is_found_by_its_name(installed):
    assert plugins.lrms("flux") is installed
    assert plugins.names() == [*registry.NAMES, "broken", "flux"]


def test_ours_cannot_be_replaced(installed):
    assert plugins.lrms("slurm") is slurm


def test_a_plug_in_that_does_not_load_is_named(installed):
    with pytest.raises(LrmsError, match=r"'broken' \(theirs_missing\): No module named"):
        plugins.lrms("broken")


def test_an_unknown_name_is_answered_with_those_that_there_are(installed):
    with pytest.raises(LrmsError, match=r"'cobalt' is known; there are slurm, .*, broken, flux"):
        plugins.lrms("cobalt")
