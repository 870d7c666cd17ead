import os
from types import SimpleNamespace

import pytest

from gshell.errors import UsageError
from gshell.repl import builtins, scripts
from gshell.repl.places import Place
from gshell.repl.session import Foreground, Leave, Session

JOBS = [
    {"id": "42", "name": "lu", "started_at": 1.0},
    {"id": "43", "name": "bt", "started_at": 2.0},
]


class Spy(Session):
    """Says what it would start."""

    def __init__(self):
        super().__init__(lambda: JOBS)
        self.ran = []
        self.answer = 0

    def process(self, argv, rest=""):
        words = list(argv)
        front = [number for number, word in enumerate(words) if word.endswith("front.py")]
        words = words[front[0] + 1 :] if front else words
        self.ran.append(words + ([f"SH {rest}"] if rest else []))
        return self.answer


@pytest.fixture
def spy(monkeypatch, tmp_path):
    monkeypatch.setenv("GSHELL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHELL", "/bin/sh")
    monkeypatch.chdir(tmp_path)
    return Spy()


@pytest.mark.parametrize(
    ("line", "ran"),
    [
        ("run -n 2 ls -l", ["run", "-n", "2", "ls", "-l"]),
        ("gshell run ls", ["run", "ls"]),
        ("attach %lu", ["attach", "42"]),
        ("attach %2", ["attach", "43"]),
        ("%1", ["attach", "42"]),
        ("cp %1:a/b .", ["cp", "42:a/b", "."]),
        ("attach '%1'", ["attach", "%1"]),
        ("run -n 1 date +%s %1", ["run", "-n", "1", "date", "+%s", "%1"]),
        ("run --agent n -- printf %1", ["run", "--agent", "n", "--", "printf", "%1"]),
        ("logs 42 | grep x", ["logs", "42", "SH | grep x"]),
        ("jobs > f", ["jobs", "SH > f"]),
        ("jobs -w", ["jobs", "-w"]),
        ("!echo 'a b", ["/bin/sh", "-c", "echo 'a b"]),
        ("!", ["/bin/sh"]),
        ("a x ls", ["run", "-J", "x", "ls"]),
        ("l", ["/bin/sh", "-c", "ls"]),
    ],
)
def test_what_a_line_starts(spy, line, ran):
    spy.aliases = {"a": "b -J", "b": "run", "run": "run", "l": "!ls"}
    assert spy.execute(line) == 0
    assert spy.ran == [ran]


def test_a_pattern_stands_for_files_here(spy, tmp_path):
    (tmp_path / "a.c").write_text("")
    (tmp_path / "b.c").write_text("")
    spy.execute("put *.c n1:")
    assert spy.ran == [["put", "a.c", "b.c", "n1:"]]


@pytest.mark.parametrize(
    ("line", "ran"),
    [
        ("run ls", ["run", "--agent", "n1", "--cwd", "/x", "ls"]),
        ("-q run ls", ["-q", "run", "--agent", "n1", "--cwd", "/x", "ls"]),
        ("run --agent n2 ls", ["run", "--agent", "n2", "ls"]),
        ("run -N 2 ls", ["run", "-N", "2", "ls"]),
        ("sh 42", ["sh", "42"]),
        ("sh", ["sh", "--agent", "n1", "--cwd", "/x"]),
        ("logs 42", ["logs", "42"]),
    ],
)
def test_where_the_prompt_stands_is_where_it_runs(spy, line, ran):
    spy.place = Place("n1", "/x")
    spy.execute(line)
    assert spy.ran == [ran]
    spy.settings["here"] = "off"
    spy.execute("run ls")
    assert spy.ran[1:] == [["run", "ls"]]


def test_a_shell_beside_the_job_one_stands_in(spy):
    spy.place = Place("42", "a")
    spy.execute("sh")
    spy.execute("run ls")
    assert spy.ran == [["sh", "--", "42"], ["run", "ls"]]


def test_a_line_can_be_left_running(spy):
    spy.execute("run -n 2 ls", detached=True)
    spy.execute("run --detach ls", detached=True)
    assert spy.ran == [["run", "--detach", "-n", "2", "ls"], ["run", "--detach", "ls"]]
    assert spy.execute("jobs", detached=True) == 2


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("jbos", 2, "did you mean 'jobs'"),
        ("ls --nope 42:", 2, "not known there"),
        ("alias x", 2, "no alias 'x'"),
        ("set x on", 2, "no 'x'"),
        ("set here maybe", 2, "not on or off"),
        ("exit 256", 2, "not a status"),
        ("| less", 2, "nothing stands before"),
        ("cd /nonexistent", 1, "No such file"),
        ("alias | cat", 2, "word of the prompt"),
        ("attach %9", 2, "no job %9"),
        ("repl", 2, "this is the prompt"),
        ("source nope", 2, "cannot read nope"),
    ],
)
def test_what_is_wrong_is_said_and_the_prompt_goes_on(spy, capsys, line, status, said):
    assert spy.execute(line) == status
    assert said in capsys.readouterr().err


def test_a_program_of_this_machine_is_pointed_at(spy, capsys):
    assert spy.execute("true") == 2
    assert "!true" in capsys.readouterr().err


def test_aliases_are_made_shown_and_forgotten(spy, capsys):
    assert spy.execute("alias j='jobs -a'\nalias k kill -s TERM\nalias\nunalias j k\nalias") == 0
    assert capsys.readouterr().out == "alias j='jobs -a'\nalias k='kill -s TERM'\n"


def test_aliases_of_the_configuration_hold_here_too(tmp_path, monkeypatch):
    folder = tmp_path / "config"
    folder.mkdir(mode=0o700)
    (folder / "config.toml").write_text('[alias]\nj = "jobs -a"\n')
    (folder / "config.toml").chmod(0o600)
    monkeypatch.setenv("GSHELL_HOME", str(tmp_path))
    assert Session().aliases == {"j": "jobs -a"}


def test_an_alias_of_itself_ends(spy):
    spy.aliases = {"a": "b", "b": "a"}
    assert spy.execute("a") == 2


def test_leaving_has_a_status(spy):
    spy.status = 3
    for line, status in (("exit", 3), ("quit 7", 7)):
        with pytest.raises(Leave) as leave:
            spy.execute(line)
        assert leave.value.status == status


def test_going_somewhere_here(spy, tmp_path, capsys):
    (tmp_path / "d").mkdir()
    assert spy.execute("cd d") == 0
    assert os.getcwd() == str(tmp_path / "d")
    assert spy.execute("cd -") == 0
    assert os.getcwd() == str(tmp_path)


def test_help_names_every_word_of_the_prompt(spy, capsys):
    spy.execute("help")
    page = capsys.readouterr().out
    assert all(word in page for word in builtins.DOERS if word != "quit")
    assert "attach" in page
    assert max(map(len, page.splitlines())) < 80
    spy.execute("help run")
    assert capsys.readouterr().out.startswith("gshell run")
    for word in builtins.DOERS:
        assert spy.execute(f"help {word}") == 0


def test_the_end_of_a_job_that_was_watched_is_no_news():
    run = Foreground(100.0, "")
    run.ended = 110.0
    ours = {"id": "5", "started_at": 101.0, "ended_at": 109.9}
    assert run.saw_the_end_of(ours)
    assert run.saw_the_end_of({**ours, "started_at": 1101.0, "ended_at": 1109.0}, skew_s=1000.0)
    assert not run.saw_the_end_of({**ours, "started_at": 50.0})
    assert not run.saw_the_end_of({**ours, "ended_at": 150.0})
    joined = Foreground(100.0, "5")
    assert joined.saw_the_end_of({**ours, "started_at": 50.0})
    assert not joined.saw_the_end_of({**ours, "id": "6"})


def test_the_end_of_a_job_that_was_left_running_is(spy):
    spy.execute("run --detach ls")
    spy.execute("run ls", detached=True)
    assert spy.foreground == []
    spy.execute("run ls\nattach 42\nattach")
    assert [window.job for window in spy.foreground] == ["", "42", "*"]


def test_a_job_that_was_recorded_or_replayed_was_watched(spy):
    spy.execute("rec a.cast -- ls\nrec\nrec 42.1 a.cast\nreplay a.gst")
    assert [window.job for window in spy.foreground] == ["", "", "42", ""]


# ------------------------------------------------------------------------------------------ scripts


@pytest.mark.parametrize(
    ("user", "gid", "group", "private"),
    [
        (("alice", 1000), 1000, ("alice", []), True),
        (("alice", 1000), 1000, ("alice", ["alice"]), True),
        (("alice", 1000), 1000, ("alice", ["bob"]), False),
        (("alice", 100), 100, ("users", []), False),
        (("alice", 1000), 2000, ("alice", []), False),
    ],
)
def test_a_group_that_is_a_users_alone_is_nobody_else(monkeypatch, user, gid, group, private):
    me = SimpleNamespace(pw_name=user[0], pw_gid=user[1])
    monkeypatch.setattr("pwd.getpwuid", lambda uid: me)
    found = SimpleNamespace(gr_name=group[0], gr_mem=group[1])
    monkeypatch.setattr("grp.getgrgid", lambda number: found)
    assert scripts.is_private(gid, 1000) is private


def test_a_script_stops_at_the_first_line_that_fails(spy, tmp_path, capsys):
    path = tmp_path / "a.gsh"
    path.write_text("#!/usr/bin/gshell\n\nset here off\njbos x\nset here on\n")
    assert scripts.of_file(spy, str(path)) == 2
    assert spy.settings["here"] == "off"
    assert f"{path}:4: status 2: jbos x" in capsys.readouterr().err
    assert scripts.of_file(spy, str(path), keep_going=True) == 2
    assert spy.settings["here"] == "on"


def test_a_script_of_an_editor_that_begins_with_a_mark_is_a_script(spy, tmp_path):
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbfrun ls\r\n")
    assert scripts.of_file(spy, str(tmp_path / "x")) == 0
    assert spy.ran == [["run", "ls"]]


@pytest.mark.parametrize("data", [b"jobs\0", b"#" * (scripts.MAX_BYTES + 1)], ids=["nul", "large"])
def test_what_is_no_script_is_refused(spy, tmp_path, data):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(UsageError, match="no script"):
        scripts.of_file(spy, str(tmp_path / "x"))


def test_files_that_read_each_other_end(spy, tmp_path, capsys):
    (tmp_path / "a").write_text("source a\n")
    assert spy.execute("source a") == 2
    assert "without end" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mode", "uid", "read"),
    [(0o600, 0, True), (0o644, 0, True), (0o646, 0, False), (0o602, 0, False), (0o600, 1, False),
     (0o660, 0, False), (0o664, 0, False)],
)  # fmt: skip
def test_the_rc_file_is_read_only_if_nobody_else_may_write_it(
    spy, tmp_path, capsys, monkeypatch, mode, uid, read
):
    folder = tmp_path / "home" / "config"
    folder.mkdir(parents=True)
    rc = folder / "gshellrc"
    rc.write_text("nonsense\nalias j=jobs\n")
    rc.chmod(mode)
    mine = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + uid)
    monkeypatch.setattr(scripts, "is_private", lambda group, user: False)
    scripts.startup(spy)
    assert ("j" in spy.aliases) is read
    assert ("is not read" in capsys.readouterr().err) is not read
    assert spy.status == 0
