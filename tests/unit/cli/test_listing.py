"""Lists: which of them, which fields, in which form."""

import json
import subprocess
import sys

import pytest

import gshell
from gshell.cli import commands, launch, verbs
from gshell.cli.listing import every, states
from gshell.cli.page import changed_lines
from gshell.cli.plain import ascii_text
from gshell.client import fields, glance
from gshell.client.ranksview import ranks_table
from gshell.client.render import agents_table, display_width, jobs_table, keys_table, shares_table
from gshell.client.sitetables import pilots_table, sites_table
from gshell.errors import UsageError
from kit import hostile

NOW = 1_800_000_000.0


def job(id="1", **more):
    return {"id": id, "name": "lu", "user": "u", "state": "ACTIVE", "hosts": ["n1", "n2"],
            "tasks": 4, "size": 2, "created_at": NOW - 9, "started_at": NOW - 8, "ended_at": None,
            "code": None, "argv0": "sh", **more}  # fmt: skip


JOBS = [job("1"), job("2", name="cg", state="QUEUED", started_at=None),
        job("3", state="FAILED", code=3, ended_at=NOW)]  # fmt: skip


@pytest.fixture
def shown(monkeypatch, capsys):
    def run(line):
        asked = []

        def ask(parsed, request, start=False):
            asked.append(request)
            return {"jobs": [dict(one) for one in JOBS]}

        monkeypatch.setattr(verbs, "_ask", ask)
        monkeypatch.setattr(launch, "ticket_for", lambda *_, **__: None)
        monkeypatch.setattr(glance, "jobs", lambda _, request: ask(None, request)["jobs"])
        assert verbs.jobs(commands.read(line.split())) == 0
        return capsys.readouterr().out, asked[0]

    return run


def test_chosen_fields_in_their_order_with_what_the_relay_tells_beside(shown):
    out, _ = shown("jobs -a -o id,state,code,hosts,name")
    assert out.splitlines() == [
        "ID  STATE     CODE  HOSTS  NAME",
        "2   queued    -     n1,n2  cg",
        "1   active    -     n1,n2  lu",
        "3   failed 3  3     n1,n2  lu",
    ]


def test_quiet_fields_have_no_titles_and_quiet_alone_is_ids(shown):
    assert shown("jobs -q -o name,id -t R")[0] == "lu    1\n"
    assert shown("jobs -q -a")[0] == "2\n1\n3\n"


def test_json_has_the_chosen_fields_only(shown):
    assert json.loads(shown("jobs -o id,code --json -t F")[0]) == {
        "schema": 1, "jobs": [{"id": "3", "code": 3}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "ids", "ended_too"),
    [
        ("-t queued", "2", False), ("-t PD", "2", False), ("-t R", "1", False),
        ("-t active,queued", "21", False), ("-t active -t queued", "21", False),
        ("-t failed", "3", True), ("-t all", "213", True), ("-n lu", "13", False),
        ("-n l*", "13", False), ("-n nothing", "", False), ("--me", "213", False),
        ("-j 1,3", "213", True), ("1 3", "213", True),
    ],
)  # fmt: skip
def test_letters_that_fingers_know(shown, line, ids, ended_too):
    out, request = shown(f"jobs -q {line}")
    assert (out.split(), request["all"]) == (list(ids), ended_too)


def test_ids_are_those_of_words_and_of_j(shown):
    assert shown("jobs -j 1,3 7")[1]["ids"] == ["7", "1", "3"]


def test_a_field_that_is_none_is_named_with_what_was_meant():
    with pytest.raises(UsageError, match="there is no field 'naem'; did you mean 'name'") as caught:
        commands.read(["jobs", "-o", "id,naem"])
    assert caught.value.hint == "gshell jobs -o help"


@pytest.mark.parametrize("kind", fields.NAMES)
def test_every_list_that_has_fields_names_them(kind):
    page = fields.help_text(kind)
    assert max(map(len, page.splitlines())) < 80
    assert all(name in page for name in fields.names_of(kind))
    assert "fields" in {option.key for option in commands.find(kind).options}


TABLES = {
    "jobs": lambda items, names: jobs_table(items, NOW, 40, False, names),
    "agents": lambda items, names: agents_table(items, NOW, 40, False, names),
    "keys": lambda items, names: keys_table(items, NOW, 40, False, names),
    "shares": lambda items, names: shares_table(items, NOW, 40, False, names),
    "sites": lambda items, names: sites_table(items, [], NOW, 40, False, names),
    "pilots": lambda items, names: pilots_table(items, NOW, 40, False, names),
    "ranks": lambda items, names: ranks_table(list(items), 40, False, names),
}


@pytest.mark.parametrize("kind", TABLES)
def test_each_field_can_be_asked_for_and_nothing_is_left_out_for_lack_of_room(kind):
    names = fields.names_of(kind)
    title = TABLES[kind]([], names).split("\n")[0]
    assert title.split() == " ".join(name.upper().replace("_", " ") for name in names).split() or (
        len(title.replace("_", " ").split()) == len(" ".join(names).replace("_", " ").split())
    )


@pytest.mark.parametrize("text", ["x", "nan", "0", "-1", "1e9", ""])
def test_how_often_is_a_number_of_seconds(text):
    with pytest.raises(ValueError, match=r"seconds"):
        every(text)


def test_states_that_nobody_knows_are_refused():
    with pytest.raises(ValueError, match="'dead' is not one of queued, active"):
        states("active,dead")


def test_no_cell_of_any_list_can_tell_the_terminal_anything():
    for text in hostile.strings(300):
        text = text[:300]  # the rest is cut where it comes in, or before a cell is made
        item = dict.fromkeys(
            [name for kind in fields.NAMES for name in fields.names_of(kind)], text
        ) | {"until": NOW, "hosts": [text], "users": [text], "progress": {text: text}}  # fmt: skip
        for kind, table in TABLES.items():
            for names in ((), fields.names_of(kind)):
                out = table([item], names)
                assert out.count("\n") == 2
                assert all(char == "\n" or char.isprintable() for char in out), (kind, out)


WIDE = "計算" * 30


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("name", ["lu", WIDE, "e\u0301" * 40, "x" * 300])
def test_tables_fit_the_screen_whatever_the_names(columns, name):
    items = [job(str(n), name=name, hosts=[name], user=name + str(n)) for n in range(3)]
    for line in jobs_table(items, NOW, columns).splitlines():
        assert display_width(line) <= columns


def test_only_changed_lines_are_written():
    assert changed_lines(["a", "b", "c"], ["a", "x", "c"]) == "\x1b[2;1Hx\x1b[m\x1b[K"
    assert changed_lines(["a", "b", "c"], ["a"]) == "\x1b[2;1H\x1b[J"
    assert changed_lines(["a"], ["a"]) == ""


def test_in_ascii_everything_is_as_wide_as_it_was():
    for text in ("lu…", "▁▂▃▄▅▆▇█", WIDE, "né", "plain"):
        plain = ascii_text(text)
        assert plain.isascii()
        assert len(plain) == display_width(text)


def test_a_list_as_json_loads_nothing_of_third_parties():
    script = (
        "import sys; sys.path.append(sys.argv[1])\n"
        "from gshell.cli import commands, launch, main\n"
        "from gshell.client import glance\n"
        "launch.ticket_for = lambda *_, **__: None\n"
        "glance.jobs = lambda *_: [{'id': '1', 'state': 'ACTIVE'}]\n"
        "assert main.main(['jobs', '--json']) == 0\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    root = gshell.__path__[0].rpartition("/")[0]
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", script, root], capture_output=True,
                         text=True, timeout=50)  # fmt: skip
    assert json.loads(ran.stdout)["jobs"] == [{"id": "1", "state": "ACTIVE"}]
    names = {name.partition(".")[0] for name in ran.stderr.split()}
    ours = {"gshell", "__main__"}
    assert names - ours <= sys.stdlib_module_names
    assert not names & {"asyncio", "argparse", "rich", "prompt_toolkit", "asyncssh", "subprocess"}
