"""What may come next on a command line: words of the tables, and things that live."""

import pytest

from gshell.cli import commands
from gshell.cli.complete import COMMANDS_HERE, FILES, Nothing, complete
from gshell.cli.completion import SHELLS, answer, script, words_of
from gshell.errors import UsageError
from kit import hostile


class Live(Nothing):
    """A relay's answers, as they are."""

    def __init__(self, **fields):
        self.fields = fields

    def jobs(self, ended_too):
        found = [
            {"id": "41", "name": "old", "state": "COMPLETED", "code": 0, "created_at": 1.0},
            {"id": "42", "name": "lu.C", "state": "ACTIVE", "hosts": ["n1"], "created_at": 2.0},
        ]
        found = [{**job, **self.fields} for job in found]
        return [job for job in found if ended_too or job["state"] == "ACTIVE"]

    def agents(self):
        return [{"id": "n014", "host": "h", "state": "waiting", "free": 1, "slots": 4,
                 **self.fields}]  # fmt: skip

    def sites(self):
        return [{"name": "alpha", "lrms": "slurm", "state": "ok", **self.fields}, {"name": "beta"}]

    def paths(self, where, path):
        return [one for one in ("out.log", "work/") if one.startswith(path)]


def fits(line):
    return [word.text for word in complete(words_of(line), Live()).words]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("att", ["attach"]),
        ("attach ", ["42", "41"]),
        ("attach 4", ["42", "41"]),
        ("why ", ["42"]),
        ("kill -s USR", ["USR1", "USR2"]),
        ("kill 42 ", []),
        ("agent st", ["start", "stop"]),
        ("agent drain ", ["n014"]),
        ("run --agent ", ["n014"]),
        ("run --site alpha,b", ["alpha,beta"]),
        ("run -t -n 4 --lane i", ["interactive"]),
        ("run --lane=i", ["--lane=interactive"]),
        ("--color al", ["always"]),
        ("--color=al", ["--color=always"]),
        ("--color always jo", ["jobs"]),
        ("jobs -t q", ["queued"]),
        ("jobs -t queued,act", ["queued,active"]),
        ("jobs -o id,na", ["id,name"]),
        ("jobs --wat", ["--watch"]),
        ("fwd ", ["42", "n014"]),
        ("get 42:o", ["42:out.log"]),
        ("get 42:", ["42:out.log", "42:work/"]),
        ("get n0", ["n014:"]),
        ("site show ", ["alpha", "beta"]),
        ("help agent pa", ["pack"]),
        ("help exit", ["exit-codes"]),
        ("completion z", ["zsh"]),
        ("config pa", ["path"]),
        ("nosuch ", []),
        ("jobs --nosuch ", ["42", "41"]),
    ],
)
def test_what_fits(line, words):
    assert fits(line) == words


@pytest.mark.parametrize(
    ("line", "also"),
    [
        ("submit ", FILES), ("put da", FILES), ("run ", COMMANDS_HERE), ("run -- ", COMMANDS_HERE),
        ("run ls ", FILES), ("mpi -n 4 -- ./lu ", FILES), ("jobs ", ""), ("agent pack ", FILES),
        ("get 42:x ", FILES), ("agent start --ticket ", FILES), ("submit -o ", FILES),
    ],
)  # fmt: skip
def test_where_files_and_programs_of_this_machine_fit(line, also):
    assert complete(words_of(line), Live()).also == also


def test_every_verb_and_each_of_its_options_can_be_found_through_tab():
    first = set(fits(""))
    for command in commands.COMMANDS:
        if command.hidden:
            continue
        names = command.name.split()
        assert names[0] in first
        if len(names) > 1:
            assert names[1] in fits(names[0] + " ")
        if command.opaque:
            continue
        shown = set(fits(f"{command.name} --"))
        for option in command.options:
            assert {name for name in option.names if name.startswith("--")} <= shown


def test_without_anything_alive_the_words_of_the_tables_are_still_there():
    assert [word.text for word in complete(["jo"]).words] == ["jobs"]
    assert complete(["attach", ""]).words == []


def test_a_name_from_elsewhere_cannot_reach_the_terminal_through_tab():
    class Evil(Live):
        def paths(self, where, path):
            return [self.fields["id"]]

    for text in hostile.strings(300):
        for id_ in (text, "7"):
            live = Evil(id=id_, name=text, host=text, hosts=[text], lrms=text, state="ACTIVE")
            for line in ("attach ", "agent drain ", "site show ", "get 42:", "get ", "run --site "):
                found = complete(words_of(line), live)
                for shell in SHELLS:
                    shown = answer(found, shell, "")
                    assert all(char in "\t\n" or char.isprintable() for char in shown)
                    assert all(len(one.split("\t")) <= 3 for one in shown.splitlines())


def test_what_the_shell_would_obey_is_quoted():
    class Odd(Live):
        def paths(self, where, path):
            return ["a b", "$(id)", "c d/"]

    lines = answer(complete(["get", "42:"], Odd()), "bash", "42:")
    assert lines == "word\t'a b'\t\nword\t'$(id)'\t\nword\tc\\ d/\tdirectory\n"
    for shell in ("zsh", "fish"):  # they quote what they are given
        lines = answer(complete(["get", "42:"], Odd()), shell, "42:")
        assert lines == "word\t42:a b\t\nword\t42:$(id)\t\nword\t42:c d/\tdirectory\n"


def test_bash_is_given_only_what_is_behind_its_last_word_break():
    assert answer(complete(["get", "42:o"], Live()), "bash", "42:o") == "word\tout.log\t\n"
    assert answer(complete(["get", "42:o"], Live()), "fish", "42:o") == "word\t42:out.log\t\n"
    assert "word\talways\t" in answer(complete(["--color=al"], Live()), "bash", "--color=al")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("gshell run 'a b' c", ["gshell", "run", "a b", "c"]),
        ("gshell a\\ b ", ["gshell", "a b", ""]),
        ("gshell 'a", ["gshell", "a"]),
        ("cd x; gshell jo", ["gshell", "jo"]),
        ("", [""]),
    ],
)
def test_a_line_that_is_being_typed_is_split_as_the_shell_will(line, words):
    assert words_of(line) == words


def test_a_shell_that_nobody_knows_is_refused():
    assert all("complete" in script(shell) for shell in SHELLS)
    with pytest.raises(UsageError, match="'tcsh' is not one of bash, zsh, fish"):
        script("tcsh")
