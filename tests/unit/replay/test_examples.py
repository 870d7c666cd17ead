"""The examples are scripts, and written as scripts are."""

import pathlib

import pytest

from gshell.replay import gst, gstwrite

EXAMPLES = sorted((pathlib.Path(__file__).parents[3] / "examples" / "replay").glob("*.gst"))


def test_there_are_some():
    assert {path.name for path in EXAMPLES} >= {"gdb.gst", "lu.gst", "python.gst"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_read_and_reads_back(path):
    script = gst.read(path.read_text(), path.name)
    assert gstwrite.write(gst.read(gstwrite.write(script), path.name)) == gstwrite.write(script)
    assert all(
        step.expected is not None or step.status for step in script.steps if step.kind == "shell"
    )
