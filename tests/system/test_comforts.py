"""What helps with the rest, with real processes: --json of every verb, completion in real shells, `top`'s
keys, lists that are kept up to date, the manual."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from gshell.cli import commands
from kit.procs import Env, until
from kit.pty import Pty

PATIENCE_S = 40.0  # the machine may be busy with something else

# Every verb that is no program of its own, with words that do no harm here; {job} runs, {done} has ended.
JSON_LINES = {
    "run": "run --json --detach -- true", "mpi": "mpi --json --nonsense x", "sh": "sh --json ls",
    "attach": "attach --json 999999", "logs": "logs --json 999999", "fwd": "fwd --json 999999 -L 0:a:1",
    "submit": "submit --json /nowhere.jdl", "match": "match --json /nowhere.jdl",
    "ranks": "ranks --json {job}", "jobs": "jobs --json", "top": "top --json", "events": "events --json",
    "why": "why --json {job}", "put": "put --json /nowhere {job}:", "get": "get --json {job}:nothing .",
    "cp": "cp --json {job}:nothing .", "fetch": "fetch --json {done} -l", "cancel": "cancel --json 999999",
    "kill": "kill --json -9 999999", "forget": "forget --json 999999", "share": "share --json {job}",
    "shares": "shares --json", "agents": "agents --json", "agent start": "agent start --json --site none",
    "agent stop": "agent stop --json none", "agent drain": "agent drain --json none",
    "agent pack": "agent pack --json /proc/x", "agent ticket": "agent ticket --json {dir}/t",
    "agent pilot": "agent pilot --json {dir}/p", "adopt": "adopt --json nosuch:1", "sites": "sites --json",
    "site add": "site add --json -x", "site show": "site show --json none",
    "site remove": "site remove --json none", "site pause": "site pause --json none",
    "site resume": "site resume --json none", "pilots": "pilots --json",
    "pilot cancel": "pilot cancel --json none", "login": "login --json nonsense",
    "whoami": "whoami --json", "keys": "keys --json", "revoke": "revoke --json nosuch",
    "stop": "stop --json", "show": "show --json {done}", "config": "config --json show",
    "completion": "completion --json bash", "complete": "complete --json bash gshell att",
    "repl": "repl --json /nowhere.gsh", "play": "play --json /nowhere.cast",
    "replay": "replay --json /nowhere.gst",
    "cast info": "cast info --json /nowhere.cast", "cast cat": "cast cat --json /nowhere.cast",
    "cast cut": "cast cut --json /nowhere.cast {dir}/a.cast",
    "cast convert": "cast convert --json /nowhere.cast {dir}/a.svg",
    "cast validate": "cast validate --json /nowhere.cast", "rec": "rec --json 1 2 3",
    "web": "web --json --listen 0.0.0.0:1", "ssh-config": "ssh-config --json",
    "proxy": "proxy --json nowhere 1", "ssh": "ssh --json +", "show-none": "show --json 999999",
    "sweep run": "sweep run --json /nowhere.toml", "sweep resume": "sweep resume --json /nowhere",
    "sweep status": "sweep status --json /nowhere", "sweep list": "sweep list --json",
    "sweep show": "sweep show --json /nowhere", "sweep plot": "sweep plot --json /nowhere",
    "man": "man --json", "doctor": "doctor --json", "help": "help --json", "version": "version --json",
}  # fmt: skip


def every_verb() -> set[str]:
    return {c.name for c in commands.COMMANDS if not c.opaque} - {"submitter"}


def parsed(text: bytes) -> list[dict[str, Any]]:
    """The JSON values one after the other."""
    found, rest, decoder = [], text.decode().strip(), json.JSONDecoder()
    while rest:
        value, end = decoder.raw_decode(rest)
        found.append(value)
        rest = rest[end:].strip()
    return found


def test_every_verb_speaks_json_and_so_do_its_errors(relay: Env, tmp_path: Path) -> None:
    assert set(JSON_LINES) - {"show-none"} == every_verb()
    job = relay.gshell("run", "--detach", "--", "sleep", "600").stdout.decode().strip()
    done = relay.gshell("run", "--detach", "--", "true").stdout.decode().strip()
    wrong = []
    for line in JSON_LINES.values():
        words = line.format(job=job, done=done, dir=tmp_path).split()
        ran = relay.gshell(*words, cwd=tmp_path, timeout_s=PATIENCE_S)
        try:
            values = parsed(ran.stdout) + parsed(ran.stderr)
            assert values
            assert all(isinstance(v, dict) and isinstance(v["schema"], int) for v in values)
            for value in values:
                if "error" in value:
                    assert value["error"]["exit"] == ran.returncode
                    assert value["error"]["code"].isalpha()
        except (ValueError, AssertionError, KeyError) as error:
            wrong.append(f"{line}: {ran.returncode} {ran.stdout!r} {ran.stderr!r} {error!r}")
    relay.gshell("cancel", job)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["--detach", "--", "true"], 0, {}),
        (["--", "sh", "-c", "exit 3"], 3, {"cause": "program", "exit": 3}),
        (["--timeout", "0.5", "--", "sleep", "600"], 124, {"cause": "time-out", "exit": 124}),
        (["--", "no-such-program"], 127, {"cause": "program", "exit": 127}),
    ],
)
def test_a_run_tells_programs_how_it_ended(
    private: Env, words: list[str], status: int, told: dict[str, Any]
) -> None:
    ran = private.gshell("run", "--json", *words)
    values = parsed(ran.stdout) + parsed(ran.stderr)  # nothing there is for people
    assert ran.returncode == status
    ends = [value["end"] for value in values if "end" in value]
    assert [{key: end[key] for key in told} for end in ends] == ([told] if told else [])
    assert ("error" in values[0]) == (status == 127)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_real_shell_completes_verbs_live_ids_and_paths(
    private: Env, tmp_path: Path, shell: str
) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell} here")
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "result.dat").write_text("x")
    job = (
        private.gshell("run", "--detach", "--", "sleep", "600", cwd=tmp_path / "far")
        .stdout.decode()
        .strip()
    )
    launcher = tmp_path / "bin" / "gshell"
    launcher.parent.mkdir()
    entry = " ".join(f"'{word}'" for word in private.argv())
    launcher.write_text(f'#!/bin/sh\nexec {entry} "$@"\n')
    launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
    script = tmp_path / "script"
    script.write_bytes(private.gshell("completion", shell).stdout)
    env = {**private.env, "PATH": f"{launcher.parent}:{os.environ['PATH']}", "HOME": str(tmp_path),
           "XDG_CONFIG_HOME": str(tmp_path), "ZDOTDIR": str(tmp_path), "TERM": "xterm"}  # fmt: skip
    argv, start = {
        "bash": (["bash", "--norc", "--noprofile", "-i"], f"PS1='rea''dy$ '; . {script}"),
        "zsh": (["zsh", "-f", "-i"],
                f"PS1='rea''dy%% '; autoload -U compinit; compinit -u -D; . {script}"),
        "fish": (["fish", "-i"], f"source {script}; function fish_prompt; echo -n 'rea''dy> '; end"),
    }[shell]  # fmt: skip
    with Pty(argv, env, size=(40, 100)) as pty:
        pty.send(start + "\r")
        pty.wait_for("ready", PATIENCE_S)
        for typed, wanted in (("echo one; gshell attac", "attach"), (f"gshell get {job}:resu", "result.dat"),
                              ("gshell jobs -o id,nam", "name"), ("gshell --color=alw", "always")):  # fmt: skip
            pty.send(typed)
            pty.wait_for(typed[-3:], PATIENCE_S)
            pty.send("\t")
            pty.wait_for(
                wanted[len(typed) - len(typed.rstrip("abcdefghijklmnopqrstuvwxyz")) :], PATIENCE_S
            )
            pty.send("\x15")
        pty.send("exit\r")
    private.gshell("cancel", job)


def test_the_question_of_a_shell_is_answered_and_never_complained_about(private: Env) -> None:
    assert b"word\tattach\t" in private.gshell("complete", "bash", "gshell att").stdout
    lost = private.gshell(
        "complete", "bash", "gshell attach ", env={"GSHELL_HOME": "/nonexistent/x"}
    )
    assert (lost.stdout, lost.stderr) == (b"", b"")


def test_top_finds_tags_and_signals_with_htop_s_keys(private: Env) -> None:
    jobs = [
        private.gshell("run", "--detach", "-J", name, "--", "sleep", "600").stdout.decode().strip()
        for name in ("alpha", "beta")
    ]
    env = {**private.env, "TERM": "xterm-256color"}
    with Pty(private.argv("top"), env, size=(30, 100)) as pty:
        pty.wait_for("F10", PATIENCE_S)
        pty.wait_for("beta", PATIENCE_S)
        pty.send("\x1bOP")
        pty.wait_for("any key goes back", PATIENCE_S)
        pty.send("x")
        pty.wait_for("F1", PATIENCE_S)
        pty.send("\x1b[13~bet\r")
        pty.wait_for("F10", PATIENCE_S)
        pty.send("\x1b[20~")
        pty.wait_for(f"send to job {jobs[1]}", PATIENCE_S)
        pty.send("9\r")
        pty.wait_for(f"signal 9 to job {jobs[1]}", PATIENCE_S)
        pty.wait_for("failed KILL", PATIENCE_S)
        pty.send("\x1b[21~")
        assert pty.wait(PATIENCE_S) == 0
    private.gshell("cancel", jobs[0])


def test_top_asks_what_the_ranks_do_and_ends_who_asked(private: Env) -> None:
    job = private.gshell("run", "--detach", "-n", "2", "--", "sleep", "600").stdout.decode().strip()
    with Pty(private.argv("top"), {**private.env, "TERM": "xterm"}, size=(30, 100)) as pty:
        pty.wait_for("sleep", PATIENCE_S)
        pty.send("\x1b[B")
        pty.wait_for("> ", PATIENCE_S)
        pty.send("\x1b[15~")
        pty.wait_for("RANK", PATIENCE_S)
        pty.send("q")
        assert pty.wait(PATIENCE_S) == 0
    watchers = lambda: private.jobs()[-1]["watchers"]
    until(lambda: not watchers(), "who looked on to leave")
    private.gshell("cancel", job)


def test_a_list_is_kept_up_to_date_in_place_and_leaves_the_screen_as_it_was(private: Env) -> None:
    with Pty(private.argv("jobs", "-w"), {**private.env, "TERM": "xterm"}) as pty:
        pty.wait_for("no jobs", PATIENCE_S)
        job = (
            private.gshell("run", "--detach", "-J", "seen", "--", "sleep", "600")
            .stdout.decode()
            .strip()
        )
        pty.wait_for("seen", PATIENCE_S)
        pty.send("\x03")
        assert pty.wait(PATIENCE_S) == 0
        assert pty.seen.count(b"\x1b[2J") == 1
    private.gshell("cancel", job)


def test_a_terminal_that_can_nothing_gets_the_list_again_and_again(private: Env) -> None:
    with Pty(private.argv("jobs", "-i", "0.2"), {**private.env, "TERM": "dumb"}) as pty:
        for _ in range(3):
            pty.wait_for("no jobs", PATIENCE_S)
        pty.send("\x03")
        assert pty.wait(PATIENCE_S) == 0
        assert b"\x1b" not in pty.seen


def test_show_tells_all_of_a_job_that_has_ended(private: Env) -> None:
    ran = private.gshell("run", "-J", "lu.A", "--", "sh", "-c", "exit 3")
    assert ran.returncode == 3
    job = private.jobs()[-1]["id"]
    page = private.gshell("show", job).stdout.decode()
    assert f"job {job}  lu.A  failed 3" in page
    for word in ("program", "where", "created", "started", "ended", "ran", "exit        3"):
        assert word in page
    missing = private.gshell("show", "999999", job)
    assert missing.returncode == 1
    assert f"job {job}".encode() in missing.stdout
    assert b"no job 999999" in missing.stderr


def test_man_finds_the_page_where_it_is_installed(private: Env, tmp_path: Path) -> None:
    done = private.gshell("man", "--install", env={"XDG_DATA_HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "man" / "man1" / "gshell.1").read_text().startswith(".TH GSHELL 1")


def test_ascii_means_ascii(private: Env) -> None:
    ran = private.gshell("run", "-J", "計算…", "--", "true")
    assert ran.returncode == 0
    out = private.gshell("jobs", "-a", "--ascii").stdout
    assert out.isascii()
    assert b"????" in out
