import pytest
from hypothesis import given
from hypothesis import strategies as st

from gshell.cli import sessions
from gshell.cli.commands import COMMANDS, GROUPS, named, read
from gshell.cli.helppages import help_page
from gshell.errors import UsageError


def read_line(line):
    parsed = read(line.split())
    return parsed.command.name, parsed.words


def options(line):
    parsed = read(line.split())
    return {key: parsed[key] for key in parsed.given}


def test_run_with_everything():
    assert options(
        "run -t -n 4 -N 2 -J lu --env A=b --env C --cwd /tmp --detach --timeout 1:30:00 -l -e ^B x"
    ) == {
        "pty": True, "tasks": 4, "agents": 2, "name": "lu", "env": [("A", "b"), ("C", None)],
        "cwd": "/tmp", "detach": True, "timeout": 5400.0, "label": True, "escape": "^B",
    }  # fmt: skip
    assert options("run --no-pty -e none x") == {"no_pty": True, "escape": "none"}
    assert read(["run", "x"])["escape"] == "~"


@pytest.mark.parametrize(
    "line", ["run ls -l --help", "run -- ls -l --help", "-q run -- ls -l --help"]
)
def test_the_command_is_passed_on_with_its_own_options(line):
    assert read_line(line) == ("run", ["ls", "-l", "--help"])


@pytest.mark.parametrize(
    "line", ["--json --relay h:1 jobs", "jobs --json --relay h:1", "--json jobs --relay=h:1"]
)
def test_global_options_before_or_after_the_command(line):
    assert options(line) == {"json": True, "relay": "h:1"}


def test_the_other_commands():
    assert options("attach 42 --read-only --steal --since 10m") == {
        "read_only": True, "steal": True, "since": 600.0,
    }  # fmt: skip
    assert options("attach 42 --since start") == {"since": "start"}
    assert options("logs -f 42") == {"follow": True}
    assert options("kill -9 42") == options("kill -s KILL 42") == {"signal": 9}
    assert options("cancel 42 43") == {}
    assert options("share 42 --write --for 10m --once --uses 3 --to bob") == {
        "write": True, "for": 600.0, "once": True, "uses": 3, "to": "bob",
    }  # fmt: skip
    assert read_line("revoke 5f0c") == ("revoke", ["5f0c"])
    assert options("jobs --everyone") == {"everyone": True}
    assert options("agents -u bob") == {"user": "bob"}
    assert options("run --pool staff x") == {"pool": "staff"}
    assert options("agent start --pool staff") == {"pool": "staff"}
    assert options("ps -a -w --json") == {"all": True, "watch": True, "json": True}
    assert read_line("ps") == ("jobs", [])
    assert read_line("agent start --tag gpu --tag x") == ("agent start", [])
    assert options("agent start --tag gpu --tag x") == {"tag": ["gpu", "x"]}
    assert read_line("agent pack a.pyz") == ("agent pack", ["a.pyz"])
    assert read_line("bg x --y") == ("bg", ["x", "--y"])


def test_the_relay_reads_its_own_command_line():
    assert read_line("relay start --listen :1 --help") == (
        "relay", ["start", "--listen", ":1", "--help"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("help", []),
        ("--help", []),
        ("-h", []),
        ("help run", ["run"]),
        ("run --help", ["run"]),
        ("run -t -h x", ["run"]),
        ("--help run", []),
        ("agent", ["agent"]),
        ("agent --help", ["agent"]),
        ("agent start --help", ["agent", "start"]),
        ("help agent start", ["agent", "start"]),
        ("ps -h", ["jobs"]),
    ],
)
def test_every_way_to_ask_for_help(line, words):
    assert read_line(line) == ("help", words)
    assert help_page(words)


@pytest.mark.parametrize(
    ("line", "words", "given"),
    [
        ("", [], {}),
        ("--json", [], {"json": True}),
        ("-", ["-"], {}),
        ("-k -", ["-"], {"keep_going": True}),
        ("a.gsh", ["a.gsh"], {}),
        ("./script", ["./script"], {}),
        ("-f script", [], {"file": "script"}),
        ("repl", [], {}),
    ],
)
def test_no_command_is_the_prompt_or_a_script(line, words, given):
    assert read_line(line) == ("repl", words)
    assert options(line) == given


@pytest.mark.parametrize(
    ("line", "name", "at"),
    [
        ("run -n 4 x", "run", 1),
        ("--relay h:1 -q jobs", "jobs", 4),
        ("agent start --tag x", "agent start", 2),
        ("ps", "jobs", 1),
        ("jbos", None, 0),
        ("agent", None, 0),
        ("-q", None, 0),
    ],
)
def test_the_command_that_a_line_names(line, name, at):
    found = named(line.split())
    assert (found[0].name, found[1]) == (name, at) if name else found is None


def test_every_way_to_ask_for_the_version():
    assert [read_line(line) for line in ("version", "--version", "-V")] == [("version", [])] * 3


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("jbos", "unknown command 'jbos'; did you mean 'jobs'?", "gshell jobs"),
        ("qqqqqq", "unknown command 'qqqqqq'", "gshell help"),
        ("ssh", "ssh: ID|AGENT is missing", "gshell ssh 42"),
        ("agent strat", "unknown command 'agent strat'; did you mean 'agent start'?",
         "gshell agent start"),
        ("run -n lu x", "run: -n: 'lu' is not a number of tasks; a job's name is given with -J",
         "gshell run --help"),
        ("kill", "kill: ID is missing", "gshell kill -s USR1 42"),
        ("run -e xx ls", "run: -e: 'xx' is not one character, ^X or none", "gshell run --help"),
        ("--nope", "unknown option '--nope'", "gshell --help"),
        ("--color=blue jobs", "--color: 'blue' is not one of auto, always, never", "gshell --help"),
    ],
)  # fmt: skip
def test_what_is_wrong_and_what_to_type(line, message, hint):
    with pytest.raises(UsageError) as caught:
        read(line.split())
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_help_about_nothing_known():
    with pytest.raises(UsageError, match="unknown command 'nope'"):
        help_page(["nope"])


@pytest.mark.parametrize("words", [[], *([c.name] for c in COMMANDS), *([g] for g in GROUPS)])
def test_every_page_fits_80_columns_and_shows_every_option(words):
    page = help_page(" ".join(words).split())
    assert max(map(len, page.splitlines())) < 80
    for command in COMMANDS:
        if [command.name] == words:
            for option in command.options:
                assert all(name in page for name in option.names)
                assert option.help
            assert command.examples or not command.options


def test_the_overview_names_every_command():
    overview = help_page([])
    for command in COMMANDS:
        if not command.hidden:
            assert command.name.split()[0] in overview
    assert "bg" not in overview.split()


def test_every_example_of_a_gshell_line_can_be_typed():
    for command in COMMANDS:
        for line, _ in command.examples:
            ours = line.rpartition("| ")[2].split()
            assert ours[0] == "gshell"
            assert read(ours[1:]).command is command


def test_no_name_is_taken_twice():
    names = [name for command in COMMANDS for name in (command.name, *command.aliases)]
    assert len(names) == len(set(names))
    for command in COMMANDS:
        options = [name for o in (*command.common, *command.options) for name in o.names]
        assert len(options) == len(set(options)), command.name
        keys = [option.key for option in (*command.common, *command.options)]
        assert len(keys) == len(set(keys)), command.name


@given(st.lists(st.one_of(st.text(max_size=6), st.sampled_from(["run", "kill", "agent", "-9"]))))
def test_any_line_is_read_or_refused(argv):
    refused = None
    try:
        read(argv)
    except UsageError as error:
        refused = error
    assert refused is None or refused.hint


@given(
    st.sampled_from(["run", "mpi", "sh", "attach", "logs", "jobs", "-q"]),
    st.lists(
        st.sampled_from(
            ["-n", "4", "--", "x", "--json", "-q", "-h", "--color=never", "-e", "none", "-vv", "42"]
        )
    ),
)
def test_a_session_s_line_is_read_the_same_without_the_other_commands(word, rest):
    argv = [word, *rest]
    both = []
    for reader in (sessions.read, read):
        try:
            one = reader(argv)
        except UsageError as error:
            both.append((error.message, error.hint))
        else:
            both.append(one and (one.command, one.options, one.given, one.words, one.rest_at))
    quick, whole = both
    assert quick == whole or (quick is None and (word in ("jobs", "-q") or "-h" in rest))


def test_a_gateway_s_options():
    assert options("web --listen h:1 --once --name a --name b") == {
        "listen": "h:1", "once": True, "name": ["a", "b"],
    }  # fmt: skip
    assert options("share 42 --web https://gate/x") == {"web": "https://gate/x"}
    assert read(["web"])["listen"] == "127.0.0.1:8080"
