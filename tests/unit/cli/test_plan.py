"""From words to a plan: when there is a terminal, whose environment, which job."""

import pytest

from gshell.cli import commands, plan
from gshell.client.plan import Plan, Surroundings
from gshell.errors import UsageError

ON_TERMINAL = {"stdin_tty": True, "stdout_tty": True}


def surroundings(**more: object) -> Surroundings:
    fields: dict[str, object] = {
        "env": {"HOME": "/home/me", "LANG": "C"}, "cwd": "/proj/here", "umask": 0o022, "where": "this machine",
        "stdin_tty": False, "stdout_tty": False,
    }  # fmt: skip
    return Surroundings(**{**fields, **more})  # type: ignore[arg-type]


def made(line: str, **more: object) -> Plan:
    return plan.make(commands.read(line.split()), surroundings(**more))


@pytest.mark.parametrize(
    ("line", "stdin_tty", "stdout_tty", "pty"),
    [
        ("run -- top", True, True, True),
        ("run -- top", True, False, False),
        ("run -- top", False, True, False),
        ("run -t -- top", False, False, True),
        ("run -T -- top", True, True, False),
        ("run -t -T -- top", True, True, False),
        ("run --detach -- top", True, True, False),
        ("run -n 2 -- top", True, True, False),
        ("run -N 2 -- top", True, True, False),
        ("sh", True, True, True),
        ("sh", False, False, False),
        ("attach 1", True, True, True),
        ("attach 1", True, False, False),
        ("logs 1", True, True, False),
    ],
)
def test_there_is_a_terminal_where_a_person_is(
    line: str, stdin_tty: bool, stdout_tty: bool, pty: bool
) -> None:
    assert made(line, stdin_tty=stdin_tty, stdout_tty=stdout_tty).pty is pty


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("run -t -n 2 -- top", "a terminal has one task"),
        ("run -t -N 2 -- top", "a terminal has one task"),
        ("attach x", "not a job id"),
        ("attach 1.x", "not a job id"),
        ("logs 1 2", "one word too many"),
        ("sh ls", "'ls'"),
        ("logs 1 --grep (", "not a regular expression"),
        ("logs 1 --rank x", "no rank"),
        ("mpi -n 2 -N 3 -- x", "some would have none"),
        ("mpi -n 4 -i 4 -- x", "4 ranks, 0 to 3"),
        ("run -n 2 --rank 2 -- x", "2 ranks, 0 to 1"),
        ("sh --rank 1", "of a job's ID"),
        ("mpi", "PROG is missing"),
        ("run --keep --no-archive -- x", "take one"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(line: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        made(line)


def test_the_program_and_its_surroundings_go_along() -> None:
    spec = made(
        "run -J name --cwd sub/../other --env A=1 --env LANG --env NOT_HERE -- prog -n --x"
    ).spec
    assert spec["argv"] == ["prog", "-n", "--x"]
    assert (spec["cwd"], spec["home"]) == ("/proj/here/other", "/proj/here")
    assert spec["extra_env"] == {"A": "1", "LANG": "C"}
    assert (spec["name"], spec["umask"], spec["shell"], spec["keep"]) == (
        "name",
        0o022,
        False,
        False,
    )


@pytest.mark.parametrize(
    ("line", "name"), [("run /usr/bin/prog x", "prog"), ("sh", "sh"), ("run -J mine prog", "mine")]
)
def test_a_job_has_a_name_anyway(line: str, name: str) -> None:
    assert made(line).spec["name"] == name


def test_no_directory_named_is_none_and_an_absolute_one_itself() -> None:
    assert made("run true").spec["cwd"] is None
    assert (
        made("run --cwd /a/../b true").spec["cwd"] == "/a/../b"
    )  # the machine over there resolves it


def test_a_detached_job_keeps_its_output() -> None:
    detached = made("run --detach -- true", **ON_TERMINAL)
    assert detached.detach
    assert detached.spec["keep"]


def test_what_is_kept_and_archived_is_said_to_the_agent() -> None:
    assert made("run --keep -- x").spec["keep"] is True
    assert "archive" not in made("run -- x").spec
    assert made("run --no-archive -- x").spec["archive"] is False


def test_lines_are_matched_as_bytes() -> None:
    assert made("logs 1 -i --grep Ä").grep.pattern == "Ä".encode()
    assert made("logs 1 --rank 3,1").rank == "1,3"


def test_what_becomes_of_its_output_is_the_agent_s_to_know() -> None:
    told = made("run --keep --on-full gap --quota 1.5G -- x").spec
    assert (told["keep"], told["on_full"], told["quota"]) == (True, "gap", 3 << 29)
    assert made("sh --quota 0").spec["quota"] == 0
    untold = made("run -- x").spec
    assert "on_full" not in untold
    assert "quota" not in untold


def test_a_part_of_a_job_can_be_named() -> None:
    whole, part = made("attach 42"), made("attach 42.3")
    assert (whole.job, whole.part) == ("42", 0)
    assert (part.job, part.part) == ("42", 3)


def test_attaching_may_write_unless_told_otherwise_and_logs_never() -> None:
    assert made("attach 1").rights == "rw"
    assert made("attach -r 1").rights == "r"
    assert made("attach --steal 1").steal
    logs = made("logs 1")
    assert (logs.rights, logs.follow, logs.since, logs.escape) == ("r", False, "start", None)
    assert made("logs -f 1").follow


@pytest.mark.parametrize(
    ("typed", "escape"), [("", "~"), ("-e ^] ", "\x1d"), ("-e none ", None), ("-e % ", "%")]
)
def test_the_escape_character(typed: str, escape: str | None) -> None:
    assert made(f"run {typed}true").escape == escape


def test_inside_ssh_is_known() -> None:
    assert not made("run true").inside_ssh
    assert made("run true", env={"SSH_TTY": "/dev/pts/1"}).inside_ssh


def test_forwarding_is_part_of_the_plan_with_paths_of_this_directory():
    forwards = made("run -L ./s:/t -R 9:u/v -D 1080 true").forwards
    assert [str(forward) for forward in forwards] == [
        "-L /proj/here/./s to /t",
        "-R localhost:9 to /proj/here/u/v",
        "-D localhost:1080",
    ]
    assert made("run true").forwards is None


def test_x_needs_a_display_and_says_which_one_there_will_be():
    with pytest.raises(UsageError, match="DISPLAY is not set"):
        made("run -X true")
    found = made("run -X true", env={"DISPLAY": ":0", "HOME": "/home/me"})
    assert found.spec["extra_env"] == {
        "DISPLAY": f"localhost:{found.display.there}.0",
        "XAUTHORITY": found.display.file,
    }
    assert found.display.authority == "/home/me/.Xauthority"


def test_forwarding_and_detach_exclude_each_other():
    with pytest.raises(UsageError, match="--detach ends it"):
        made("run --detach -D 1 true")


def test_an_mpi_program_is_laid_out_before_it_is_opened() -> None:
    plan = made("mpi -n 5 -N 2 --pty 1 --option -x --pre h.sh -- prog a")
    assert plan.spec["mpi"] == {
        "layout": [3, 2], "flavour": "auto", "input": "0", "pty": "1", "options": ["-x"],
        "pre": "h.sh",
    }  # fmt: skip
    assert (plan.agents, plan.slots) == (2, (3, 2))
    assert made("mpi -n 2 -i none -- x").spec["mpi"]["input"] == ""
    assert made("mpi -n 2 -i all -- x").spec["mpi"]["input"] == "all"
    assert made("mpi -n 2 --detach -- x").spec["mpi"]["input"] == ""
    assert made("mpi -N 2 -- x").spec["mpi"]["layout"] == []  # to be asked for


def test_a_shell_beside_a_rank_says_which() -> None:
    plan = made("sh 42 --rank 3")
    assert (plan.beside, plan.spec["beside_rank"], plan.spec["argv"]) == ("42", 3, ["sh"])
    assert made("sh").beside == ""
