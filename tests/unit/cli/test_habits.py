"""What people of other systems type is named as it is called here; nothing is guessed that is not alike."""

import pytest

from gshell.cli import commands, habits
from gshell.errors import UsageError


def complaint(line):
    with pytest.raises(UsageError) as caught:
        commands.read(line.split())
    return caught.value


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("run --time 10 x", "--walltime"), ("run --mem 4G x", "--memory"),
        ("run --nodes 2 x", "--agents"), ("run --ntasks 4 x", "--tasks"),
        ("run --job-name a x", "--name"), ("run --chdir /tmp x", "--cwd"),
        ("run -it x", "--pty"), ("run -d x", "--detach"), ("attach -d 42", "--steal"),
        ("jobs --noheader", "--quiet"),
        ("jobs --follow", "--watch"), ("run --colour never x", "--color"),
        ("run --walltme 1 x", "--walltime"), ("run --det x", "--detach"),
    ],
)  # fmt: skip
def test_an_option_of_another_program_is_named_as_here(line, meant):
    assert complaint(line).message.endswith(f"did you mean {meant}?")


@pytest.mark.parametrize(
    "option",
    ["--bogus", "--force", "--rm", "--gres", "--version", "--host-file", "--input-x", "--yes",
     "--output", "--kill", "--x"],
)  # fmt: skip
def test_nothing_is_proposed_that_is_not_alike(option):
    assert complaint(f"run {option} x").message == f"run: unknown option '{option}'"


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("ls", "jobs"), ("squeue", "jobs"), ("sinfo", "agents"), ("srun", "run"),
        ("sbatch", "submit"), ("oardel", "cancel"), ("new-session", "sh"), ("a", "attach"),
        ("att", "attach"), ("jbos", "jobs"), ("agent list", "agents"), ("site rm", "site remove"),
        ("agent strat", "agent start"),
    ],
)  # fmt: skip
def test_a_command_of_another_program_is_named_as_here(word, meant):
    error = complaint(word)
    assert error.message == f"unknown command {word!r}; did you mean {meant!r}?"
    assert error.hint == f"gshell {meant}"


@pytest.mark.parametrize(
    ("word", "hint"),
    [("detach", "gshell help"), ("qqqq", "gshell help"), ("quit", "gshell help"),
     ("agent info", "gshell agent"), ("cast shown", "gshell cast")],
)  # fmt: skip
def test_a_word_like_no_command_gets_a_list_of_them(word, hint):
    error = complaint(word)
    assert error.message == f"unknown command {word!r}"
    assert error.hint == hint


def test_what_is_named_is_there():
    for word in habits._COMMANDS:
        assert commands.find(word) is None, f"{word} is a command"
        meant = habits.command(word)
        assert not meant or commands.find(meant) is not None, f"{word}: there is no {meant}"
    every = {
        name for one in commands.COMMANDS for option in (*one.options, *one.common)
        for name in option.names
    }  # fmt: skip
    for name, meant in habits._OPTIONS.items():
        assert set(meant.split()) <= every, f"{name}: {meant}"


@pytest.mark.parametrize("words", ["-np 4", "-np4"])
def test_mpiruns_way_to_say_how_many_is_explained(words):
    assert "-n N, not -np N" in complaint(f"mpi {words} ./a.out").message
