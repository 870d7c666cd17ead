"""Topics and the manual page: right, readable, made of the tables."""

import re
import shutil
import subprocess

import pytest

from gshell.cli import commands, helppages, manual, options
from gshell.cli.topics import TOPICS


@pytest.mark.parametrize("name", TOPICS)
def test_a_topic_fits_80_columns_and_its_lines_can_be_typed(name):
    page = helppages.help_page([name])
    assert max(map(len, page.splitlines())) < 80
    assert page.isascii()
    for line in re.findall(r"^ +gshell ([a-z].*)$", TOPICS[name].text, re.M):
        words = re.split(r"  |\s\|", line)[0].split()
        if words[0] in ("mpi", "run", "replay") and "--" in words:
            words = words[: words.index("--") + 2]
        commands.read([w.strip("'\"") for w in words])


@pytest.mark.parametrize(
    "word",
    sorted(
        {w for t in TOPICS.values() for w in re.findall(r"`gshell ([a-z-]+(?: [a-z-]+)?)`", t.text)}
    ),
)
def test_commands_and_topics_that_a_text_names_are_there(word):
    names = word.split()
    if names[0] == "help":
        helppages.help_page(names[1:])
    else:
        assert commands.find(names[0]) or names[0] in commands.GROUPS or names == ["j"]


def test_a_command_and_a_topic_of_one_name_are_both_told():
    page = helppages.help_page(["keys"])
    assert "list my keys" in page
    assert "keys while attached" in page


def test_a_topic_nearly_named_is_offered():
    with pytest.raises(
        options.wrong(commands.ROOT, "").__class__, match="did you mean 'exit-codes'"
    ) as caught:
        helppages.help_page(["exitcodes"])
    assert caught.value.hint == "gshell help exit-codes"


def test_every_verb_is_grouped_by_its_use_once():
    names = [name for _, group in helppages.USES for name in group]
    assert len(names) == len(set(names))


def test_the_manual_has_every_verb_option_and_topic():
    page = manual.page("2026-01-02")
    for command in commands.COMMANDS:
        if not command.hidden:
            assert f".SS gshell {command.name}".replace("-", "\\-") in page
            for option in command.options:
                assert manual.roff(option.shown().strip()) in page
    for name in TOPICS:
        assert f".SH {manual.roff(name.upper())}" in page


def test_nothing_in_a_text_is_a_request_of_roff():
    assert manual.roff(".SH x") == "\\&.SH x"
    assert manual.roff("'x' a\\b -c") == "\\&\\(aqx\\(aq a\\eb \\-c"
    for line in manual.page("2026-01-02").splitlines():
        assert not line.startswith("'")
        assert not line.startswith(".") or re.match(r"\.(TH|SH|SS|PP|TP|nf|fi|B|sp)\b", line)


@pytest.mark.parametrize(
    "checker", [["mandoc", "-Tlint", "-Wwarning"], ["groff", "-man", "-ww", "-z", "-Tutf8"]]
)
def test_the_formatters_have_nothing_to_say_against_the_manual(checker, tmp_path):
    if shutil.which(checker[0]) is None:
        pytest.skip(f"no {checker[0]} here")
    path = tmp_path / "gshell.1"
    path.write_text(manual.page("2026-01-02"))
    done = subprocess.run([*checker, str(path)], capture_output=True, text=True, timeout=50)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
