"""config.toml: what it may say, what it overrides, what is wrong with it and where."""

import json

import pytest

from gshell.cli import commands, configfile, main, settings


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GSHELL_HOME", str(tmp_path))
    for name in ("NO_COLOR", "FORCE_COLOR", "GSHELL_RELAY", "GSHELL_BACKGROUND", "GSHELL_IDLE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config").mkdir()

    def write(text):
        (tmp_path / "config" / "config.toml").write_text(text)
        return str(tmp_path / "config" / "config.toml")

    return write


def wrong(text):
    found = configfile.read(text.encode(), "c.toml")
    return [f"{one.origin}: {one.what} ({one.hint})" for one in settings.problems(found)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('colour = "auto"', "c.toml:1: colour means nothing (did you mean 'color'?)"),
        ('\ncolor = "blue"', "c.toml:2: color is not one of auto, always, never: 'blue' "
                             '(color = "auto")'),
        ("ascii = 1", "c.toml:1: ascii is neither true nor false: 1 (ascii = true)"),
        ("[alias]\nj = 5", 'c.toml:2: alias.j is not a string: 5 (j = "jobs -a")'),
        ('[alias]\nj = "jbos"', "c.toml:2: alias.j: there is no command 'jbos' "
                                "(did you mean 'jobs'?)"),
        ('[alias]\njobs = "jobs -a"', "c.toml:2: alias.jobs hides nothing: jobs is a command of "
                                      "gshell (another name)"),
        ('[alias]\nj = "gshell jobs"', "c.toml:2: alias.j is a command without the word gshell "
                                       '(j = "jobs")'),
        ("[alias]\nj = \"run 'x\"", "c.toml:2: alias.j cannot be split into words: no closing "
                                    "quotation ()"),
        ('alias = "x"', 'c.toml:1: alias is a table ([alias]  and below it  j = "jobs -a")'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line_and_what_was_meant(text, words):
    assert wrong(text) == [words]


def test_what_is_no_toml_or_no_text_has_a_line_too():
    assert wrong("x = 1\ny = = 2\n")[0].startswith("c.toml:2: is no TOML: ")
    found = configfile.read(b"x = 1\n\xff\n", "c.toml")
    assert [one.origin for one in found.wrong] == ["c.toml:2"]


def test_a_file_that_begins_with_a_mark_is_read():
    found = configfile.read(b"\xef\xbb\xbfascii = true\r\n", "c.toml")
    assert (found.ascii, found.wrong) == (True, [])


def test_a_word_that_was_to_be_an_alias_leads_to_the_broken_file(home, capsys):
    home('[alias]\nj = "jobs\n')
    assert main.main(["j"]) == 2
    assert "gshell config check" in capsys.readouterr().err


def test_an_option_beats_a_variable_beats_the_file(home, monkeypatch):
    path = home('color = "always"\n')

    def color(line):
        rows = settings.every(commands.read(line.split()), configfile.load())
        return next((row.value, row.origin) for row in rows if row.name == "color")

    assert color("config show") == ("always", f"{path}:1")
    monkeypatch.setenv("NO_COLOR", "1")
    assert color("config show") == ("never", "$NO_COLOR")
    assert color("config show --color auto") == ("auto", "--color")


def test_an_alias_is_spelt_out_and_hides_no_command(home, capsys):
    home('[alias]\nv = "version"\ncompletion = "version"\nloop = "loop"\n')
    assert main.main(["v"]) == 0
    assert main.main(["--color", "never", "v", "--json"]) == 0
    assert "gshell 0." in capsys.readouterr().out
    assert main.main(["completion", "bash"]) == 0
    assert "complete -F" in capsys.readouterr().out
    assert main.main(["loop"]) == 2
    assert "unknown command 'loop'" in capsys.readouterr().err


def test_what_is_wrong_in_the_file_stops_no_command(home, capsys):
    home("]]]")
    assert main.main(["version"]) == 0
    assert main.main(["config", "check"]) == 1
    assert "config.toml:1: is no TOML" in capsys.readouterr().out
    assert main.main(["config", "check", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"][0]["line"] == 1


def test_the_file_s_colour_and_ascii_count(home):
    home('color = "always"\nascii = true\n')
    argv, kept = main._kept_settings(["jobs"])
    parsed = commands.read(argv)
    parsed.options["ascii"] = False
    assert (kept.color, kept.ascii) == ("always", True)


def test_path_says_what_is_there(home, capsys):
    assert main.main(["config", "path"]) == 0
    assert "(not there)" in capsys.readouterr().out
    home("")
    assert main.main(["config", "path", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["paths"]["config"].endswith("config.toml")


def test_a_word_that_is_none_of_the_three(home, capsys):
    assert main.main(["config", "shwo"]) == 2
    assert "did you mean 'show'" in capsys.readouterr().err
