import pytest

from gshell.cli import commands
from gshell.cli.rec import own_name, words_of
from gshell.errors import UsageError


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("rec", ("", "", [])),
        ("rec out.cast", ("", "out.cast", [])),
        ("rec 42", ("42", "", [])),
        ("rec 42.1 out.cast -I", ("42.1", "out.cast", [])),
        ("rec out.cast -- ls -l", ("", "out.cast", ["ls", "-l"])),
        ("rec -- 42", ("", "", ["42"])),
    ],
)
def test_what_is_a_job_what_a_file_and_what_a_command(line, found):
    assert words_of(commands.read(line.split())) == found


@pytest.mark.parametrize("line", ["rec a b", "rec 42 a b", "rec 42 -- ls"])
def test_what_makes_no_sense_is_refused(line):
    with pytest.raises(UsageError):
        words_of(commands.read(line.split()))


def test_a_name_of_its_own_is_one_that_nothing_has():
    assert own_name("42", lambda name: name == "42.cast") == "42-1.cast"
