"""What a recording is played to, where nobody says."""

import pytest

from gshell.cli import replaytarget


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("python3 -q", ["python3", "-q"]),
        ("bash -c 'echo a; b'", ["/bin/sh", "-c", "bash -c 'echo a; b'"]),
        ("PS1=x bash", ["/bin/sh", "-c", "PS1=x bash"]),
        ("it's", ["/bin/sh", "-c", "it's"]),
        (" ", []),
    ],
)
def test_what_was_recorded_is_started_as_a_shell_would(command, words):
    assert replaytarget._of_command(command) == words
