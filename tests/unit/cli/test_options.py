import pytest
from hypothesis import given
from hypothesis import strategies as st

from gshell.cli.options import Command, Option, help_text, nearest, parse, usage
from gshell.errors import UsageError

COMMON = (Option("-v --verbose", repeat=True), Option("-h --help", help="this page"))
RUN = Command(
    "run",
    "run it",
    (
        Option("-t --pty", help="a terminal"),
        Option("-l --label", help="labels"),
        Option("-n --tasks", "N", "how many", int),
        Option("--env", "K=V", "set", repeat=True),
        Option("--color", "WHEN", "when", default="auto", choices=("auto", "never")),
        Option("--dry-run", help="only say"),
    ),
    remainder="CMD...",
    examples=(("gshell run hostname", "example"),),
    common=COMMON,
)
KILL = Command(
    "kill",
    "kill",
    (Option("-s --signal", "SIG"),),
    words="ID [ID...]",
    bare="signal",
    common=COMMON,
)
SHOW = Command("show", "show", words="ID [FILE]", common=COMMON)
ANY = Command("any", "any", words="[ID...]")
PASS = Command("pass", "pass", opaque=True)


def run(*argv):
    parsed = parse(RUN, argv)
    return {key: parsed[key] for key in parsed.given}, parsed.words


@pytest.mark.parametrize(
    "argv", [("-n4",), ("-n", "4"), ("--tasks=4",), ("--tasks", "4"), ("-n", "3", "-n4")]
)
def test_every_spelling_of_a_value(argv):
    assert run(*argv, "x") == ({"tasks": 4}, ["x"])


def test_clusters_of_short_options():
    assert run("-tl", "x") == ({"pty": True, "label": True}, ["x"])
    assert run("-tln4", "x") == ({"pty": True, "label": True, "tasks": 4}, ["x"])
    assert run("-tvvn", "4", "x") == ({"pty": True, "verbose": 2, "tasks": 4}, ["x"])


def test_a_value_may_look_like_an_option_or_be_empty():
    assert run("--env", "-t", "--env=", "--env", "", "x") == ({"env": ["-t", "", ""]}, ["x"])


def test_the_first_word_ends_our_options():
    assert run("echo", "-n", "--pty", "--", "-t") == ({}, ["echo", "-n", "--pty", "--", "-t"])
    assert run("-t", "--", "-n", "--", "x") == ({"pty": True}, ["-n", "--", "x"])
    assert run("-", "-t") == ({}, ["-", "-t"])


def test_elsewhere_options_may_follow_words():
    parsed = parse(SHOW, ["42", "-v", "--", "-f"])
    assert (parsed.words, parsed["verbose"]) == (["42", "-f"], 1)


def test_defaults_are_there_and_not_given():
    parsed = parse(RUN, ["x"])
    assert parsed.options == {
        "pty": False, "label": False, "tasks": None, "env": [], "color": "auto", "dry_run": False,
        "verbose": 0, "help": False,
    }  # fmt: skip
    assert parsed.given == set()
    assert parse(RUN, ["--dry-run", "x"])["dry_run"] is True


def test_lists_are_not_shared():
    assert parse(RUN, ["--env=a", "x"])["env"] == ["a"]
    assert parse(RUN, ["x"])["env"] == []


def test_options_before_the_command_hold_unless_given_again():
    before = parse(Command("", "", COMMON, remainder="[CMD...]"), ["-v", "run"])
    assert parse(RUN, ["x"], before)["verbose"] == 1
    assert parse(RUN, ["-v", "x"], before)["verbose"] == 2
    assert parse(RUN, ["x"], before).given == {"verbose"}


def test_help_ends_all_checking():
    assert parse(RUN, ["-h", "--nonsense"]).help
    assert parse(RUN, ["-th"]).help
    assert not parse(RUN, ["ls", "--help"]).help


def test_bare_signals_as_in_kill():
    for argv, signal in ((["-9", "1"], "9"), (["-KILL", "1"], "KILL"), (["-s", "9", "1"], "9")):
        parsed = parse(KILL, argv)
        assert (parsed["signal"], parsed.words) == (signal, ["1"])
    assert parse(KILL, ["1", "-USR1", "2"]).words == ["1", "2"]


def test_an_opaque_command_gets_everything_as_it_is():
    assert parse(PASS, ["--", "-x", "--help"]).words == ["--", "-x", "--help"]


@pytest.mark.parametrize(
    ("command", "argv", "message", "hint"),
    [
        (RUN, ["--tusks", "4"], "run: unknown option '--tusks'; did you mean --tasks?", None),
        (RUN, ["--dry", "x"], "run: unknown option '--dry'; did you mean --dry-run?", None),
        (
            RUN,
            ["\u2014tasks=4", "x"],
            "run: '\u2014tasks=4' begins with a dash that is no minus sign; did you mean --tasks=4?",
            None,
        ),
        (
            SHOW,
            ["1", "\u2013v"],
            "show: '\u2013v' begins with a dash that is no minus sign; did you mean -v?",
            None,
        ),
        (RUN, ["--zzzz"], "run: unknown option '--zzzz'", None),
        (RUN, ["-tz", "x"], "run: unknown option '-z'", None),
        (RUN, ["-t=x"], "run: unknown option '-='", None),
        (RUN, ["-n"], "run: -n needs a value: -n N", None),
        (RUN, ["--tasks", "--", "x"], "run: --tasks needs a value: --tasks N", None),
        (RUN, ["--pty=yes"], "run: --pty takes no value", None),
        (RUN, ["-nx", "y"], "run: -n: invalid literal for int() with base 10: 'x'", None),
        (RUN, ["--color=x"], "run: --color: 'x' is not one of auto, never", None),
        (RUN, ["-t"], "run: CMD is missing", "gshell run hostname"),
        (RUN, ["--"], "run: CMD is missing", "gshell run hostname"),
        (SHOW, [], "show: ID is missing", None),
        (SHOW, ["1", "2", "3"], "show: '3' is one word too many", None),
        (KILL, ["-s", "9"], "kill: ID is missing", None),
        (SHOW, ["--x\x1b[2Jy"], "show: unknown option '--x\\x1b[2Jy'", None),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(command, argv, message, hint):
    with pytest.raises(UsageError) as caught:
        parse(command, argv)
    assert caught.value.message == message
    assert caught.value.hint == (hint or f"gshell {command.name} --help")


def test_any_number_of_words_where_the_usage_says_so():
    assert parse(ANY, []).words == []
    assert parse(ANY, ["a", "b", "c"]).words == ["a", "b", "c"]
    assert parse(KILL, ["1", "2", "3"]).words == ["1", "2", "3"]


def test_help_has_the_examples_first_and_fits_80_columns():
    text = help_text(RUN)
    assert text.index("gshell run hostname") < text.index("usage:") < text.index("--pty")
    assert "--color WHEN" in text
    assert max(map(len, text.splitlines())) < 80
    assert text.endswith("\n")


def test_the_usage_line():
    assert usage(RUN) == "gshell run [OPTION...] [--] CMD..."
    assert usage(SHOW) == "gshell show [OPTION...] ID [FILE]"
    assert usage(PASS) == "gshell pass"


def test_the_nearest_word():
    assert nearest("jbos", ["jobs", "logs"]) == "jobs"
    assert nearest("att", ["attach", "agents"]) == "attach"
    assert nearest("rnu", ["jobs", "run"]) == "run"
    assert nearest("xyz", ["jobs"]) == ""
    assert nearest("", ["jobs"]) == ""


WORDS = st.sampled_from(
    ["-t", "-n", "-n4", "-tl", "--tasks", "--tasks=2", "--env", "--env=x", "--", "-", "", "cmd",
     "4", "--color=auto", "--nope", "-vvv", "-x", "--pty=1", "é", "-é"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=8))
def test_any_line_is_read_or_refused_with_a_hint(argv):
    refused, words = None, []
    try:
        words = parse(RUN, argv).words
    except UsageError as error:
        refused = error
    assert refused is None or (refused.hint and refused.message.startswith("run: "))
    assert argv[len(argv) - len(words) :] == words
