"""The private relay and agent: started by the first run, used by the next, ended by stop."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import gshell
from kit.procs import Env, below, until
from kit.pty import state_of


def pids(env: Env, word: str) -> list[int]:
    """Processes of this installation whose command line has ``word`` in it."""
    found = []
    mark = f"GSHELL_HOME={env.home}".encode()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            here = mark in Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
            if here and word.encode() in Path(f"/proc/{name}/cmdline").read_bytes():
                found.append(int(name))
        except OSError:
            continue
    return found


def serving(env: Env) -> list[int]:
    """The private relay and agent. Not by looking for processes: there are some for a moment."""
    facts = json.loads((env.home / "state" / "private" / "relay.json").read_text())
    relay = [int(facts[name]) for name in ("pid", "door_pid", "broker_pid")]
    return [*relay, *(int(agent["pid"]) for agent in env.agents())]


def test_nothing_runs_before_the_first_run(alone: Env) -> None:
    for words in (["jobs"], ["stop"], ["doctor"]):
        assert alone.gshell(*words).returncode == 0
    for words in (["agents"], ["whoami"], ["logs", "1"], ["attach", "1"]):
        done = alone.gshell(*words)
        assert done.returncode in (0, 125)
        assert b"Traceback" not in done.stderr
    assert not alone.leftovers()


def test_the_first_run_starts_it_the_next_uses_it_and_stop_ends_it(alone: Env) -> None:
    assert alone.gshell("run", "echo", "first").stdout == b"first\n"
    started = serving(alone)
    assert alone.gshell("run", "echo", "second").stdout == b"second\n"
    assert serving(alone) == started
    assert alone.gshell("stop").stdout == b"gshell: stopped\n"
    until(lambda: not alone.leftovers(), "all to end", show=lambda: str(alone.leftovers()))
    assert alone.gshell("stop").stdout == b"gshell: nothing runs\n"
    assert alone.gshell("run", "echo", "again").stdout == b"again\n"


def test_without_the_background_process_the_first_run_works_too(alone: Env) -> None:
    assert alone.gshell("run", "echo", "first", background=False).stdout == b"first\n"
    assert alone.gshell("run", "--no-background", "echo", "second").stdout == b"second\n"


def test_everything_of_ours_is_closed_to_others(alone: Env) -> None:
    alone.gshell("run", "true", preexec_fn=lambda: os.umask(0o022))
    for folder in (alone.home / "run", alone.home / "state", alone.home / "state" / "private"):
        assert folder.stat().st_mode & 0o077 == 0, folder
    for path in below(alone.home / "state" / "private", "*.ticket"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_no_secret_is_on_a_command_line_or_in_an_environment(alone: Env) -> None:
    alone.gshell("run", "true")
    ticket = json.loads((alone.home / "state" / "private" / "client.ticket").read_text())
    secrets = [ticket["mac_key"], ticket["key"].split("\n")[1]]
    for pid in pids(alone, ""):
        for name in ("cmdline", "environ"):
            text = Path(f"/proc/{pid}/{name}").read_bytes()
            assert not any(secret.encode() in text for secret in secrets)


def test_one_that_was_up_before_it_was_noted_is_stopped(alone: Env) -> None:
    """Who starts it writes its number down, and may come to that late."""
    alone.gshell("run", "true")
    run = alone.home / "run"
    (run / "bg.sock.starting").write_text((run / "bg.sock.pid").read_text())
    assert alone.gshell("stop", timeout_s=20).stdout == b"gshell: stopped\n"


def test_two_installations_do_not_meet(alone: Env, private: Env) -> None:
    job = private.gshell("run", "--detach", "--", "sleep", "600").stdout.decode().strip()
    assert alone.gshell("run", "true").returncode == 0
    assert job not in [found["id"] for found in alone.jobs() if found["state"] == "ACTIVE"]
    assert alone.gshell("stop").returncode == 0
    assert [found["state"] for found in private.jobs() if found["id"] == job] == ["ACTIVE"]
    private.gshell("cancel", job)


def test_first_runs_at_once_all_succeed(alone: Env) -> None:
    runs = [
        alone.popen("run", "--", "echo", str(number), background=number % 2 == 0)
        for number in range(4)
    ]
    for number, run in enumerate(runs):
        out, err = run.communicate(timeout=40)
        assert (out, run.returncode) == (b"%d\n" % number, 0), err
    assert len(alone.agents()) == 1


def test_a_relay_that_is_killed_is_started_again_and_sessions_go_on(
    alone: Env, tmp_path: Path
) -> None:
    alone.gshell("run", "true")
    run = alone.popen(
        "run",
        "--",
        "sh",
        "-c",
        f"echo one; until test -e {tmp_path}/go; do sleep 0.05; done; echo two",
    )
    assert run.stdout is not None
    assert run.stdout.readline() == b"one\n"
    killed = pids(alone, "embedded.py")
    for pid in killed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: set(pids(alone, "embedded.py")) - set(killed), "a new relay", show=alone.logs)
    (tmp_path / "go").touch()
    out, err = run.communicate(timeout=30)
    assert (out, run.returncode) == (b"two\n", 0), err.decode() + alone.logs()
    assert alone.gshell("run", "echo", "new").stdout == b"new\n"


def test_an_agent_that_is_killed_is_started_again(alone: Env) -> None:
    alone.gshell("run", "true")
    killed = pids(alone, "/agent/")
    for pid in killed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: set(pids(alone, "/agent/")) - set(killed), "a new agent", show=alone.logs)
    done = alone.gshell("run", "echo", "new")
    assert done.stdout == b"new\n", done.stderr.decode() + alone.logs()


def test_after_the_background_process_is_killed_all_is_as_before(alone: Env) -> None:
    alone.gshell("run", "true")
    job = alone.gshell("run", "--detach", "--", "sleep", "600").stdout.decode().strip()
    os.kill(int((alone.home / "run" / "bg.sock.pid").read_text()), signal.SIGKILL)
    assert alone.gshell("run", "echo", "next").stdout == b"next\n"
    assert [found["state"] for found in alone.jobs() if found["id"] == job] == ["ACTIVE"]
    assert alone.gshell("stop").returncode == 125  # the job lives
    assert alone.gshell("stop", "--force").returncode == 0
    until(lambda: not alone.leftovers(), "all to end", show=lambda: str(alone.leftovers()))


def test_stop_names_the_jobs_that_live(alone: Env) -> None:
    job = alone.gshell("run", "--detach", "--", "sleep", "600").stdout.decode().strip()
    done = alone.gshell("stop")
    assert done.returncode == 125
    assert job in done.stderr.decode().split("live: ")[1].split("\n")[0]
    assert alone.gshell("stop", "--force").returncode == 0


def test_stop_during_a_run_ends_it_and_says_why(alone: Env, background: bool) -> None:
    alone.gshell("run", "true")
    run = alone.popen("run", "--", "sh", "-c", "echo on; sleep 600", background=background)
    assert run.stdout is not None
    assert run.stdout.readline() == b"on\n"
    assert alone.gshell("stop", "--force").returncode == 0
    _, err = run.communicate(timeout=20)
    assert run.returncode in (143, 255)
    assert run.returncode == 143 or err


def test_a_home_with_a_very_long_path(alone: Env) -> None:
    deep = alone.root / ("deep" * 20) / ("deeper" * 20)
    alone.home = deep  # so that leftovers are found
    alone.env["GSHELL_HOME"] = str(deep)
    assert alone.gshell("run", "echo", "deep").stdout == b"deep\n"
    assert alone.gshell("run", "echo", "deep").stdout == b"deep\n"
    assert alone.gshell("run", "echo", "deep", background=False).stdout == b"deep\n"
    assert len(alone.agents()) == 1


def test_a_relative_home(alone: Env) -> None:
    done = alone.gshell("run", "pwd", cwd=alone.root, env={"GSHELL_HOME": "home"})
    assert done.stdout.decode() == f"{alone.root}\n"
    assert alone.gshell("run", "echo", "same").stdout == b"same\n"
    assert len(alone.agents()) == 1


# ------------------------------------------------------------------------------------ other users


FRONT = str(Path(gshell.__file__).with_name("front.py"))


class Nobody:
    """Another user, with a Python that he can run."""

    def __init__(self, ids: dict[str, Any], python: list[str], root: Path) -> None:
        self.ids = ids
        self._python = python
        self.root = root
        root.mkdir()
        os.chown(root, ids["user"], ids["group"])
        root.parent.chmod(0o755)

    def gshell(self, *words: str, **env: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*self._python, FRONT, *words],
            env={"PATH": os.environ["PATH"], "HOME": str(self.root), **env},
            stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False, cwd="/", **self.ids,
        )  # fmt: skip


def become_nobody(root: Path, needs: str = "") -> Nobody:
    """``needs``: third-party packages, by name."""
    if os.getuid() != 0:
        pytest.skip("needs root, to become somebody else")
    entry = pwd.getpwnam("nobody")
    ids: dict[str, Any] = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    packages = str(Path(pytest.__file__).parents[1])
    for python in (
        sys.executable,
        shutil.which("python3", path="/usr/local/bin:/usr/bin") or sys.executable,
    ):
        words = [python, "-I", "-S", "-X", f"gshell_site={packages}"]
        tries = [[*words, FRONT, "version"]]
        if needs:
            tries.append(
                [python, "-I", "-c", f"import sys; sys.path.append({packages!r}); import {needs}"]
            )
        try:
            if all(
                subprocess.run(t, capture_output=True, check=False, cwd="/", **ids).returncode == 0
                for t in tries
            ):
                return Nobody(ids, words, root)
        except OSError:
            continue
    pytest.skip(f"no Python that nobody can run ({needs})")


def test_two_users_have_each_their_own(alone: Env, private: Env) -> None:
    nobody = become_nobody(alone.root / "nobody", "zmq, cryptography")
    try:
        assert nobody.gshell("run", "id", "-un").stdout == b"nobody\n"
        assert nobody.gshell("whoami").stdout.startswith(b"nobody ")
        assert private.gshell("run", "id", "-un").stdout != b"nobody\n"
    finally:
        nobody.gshell("stop", "--force")


def test_somebody_elses_directory_is_refused(alone: Env, private: Env) -> None:
    nobody = become_nobody(alone.root / "nobody")
    private.home.parent.chmod(0o755)
    done = nobody.gshell("run", "true", GSHELL_HOME=str(private.home))
    assert done.returncode == 125, done.stderr
    assert b"GSHELL_HOME" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("home", ["/nonexistent", "/", "/root"])
def test_a_home_that_cannot_be_written_says_what_to_set(alone: Env, home: str) -> None:
    nobody = become_nobody(alone.root / "nobody")
    for words in (["run", "true"], ["sh"], ["doctor"]):
        done = nobody.gshell(*words, HOME=home)
        assert done.returncode in (1, 125), done.stderr
        assert b"GSHELL_HOME" in done.stderr + done.stdout, done
        assert b"Traceback" not in done.stderr


def test_an_idle_time_ends_it(alone: Env) -> None:
    with alone.popen("run", "--", "cat", env={"GSHELL_IDLE": "0.5"}) as run:
        path = alone.home / "run" / "bg.sock.pid"  # not there for long once nothing runs
        background = int(until(lambda: path.exists() and path.read_text(), "its process"))
        run.communicate(timeout=20)
        assert run.returncode == 0
    until(lambda: state_of(background) in ("", "Z"), "it to end of idleness", show=alone.logs)
    until(lambda: not alone.leftovers(), "the rest to end", show=lambda: str(alone.leftovers()))


def test_no_idle_time_ends_what_has_a_job(alone: Env) -> None:
    env = {"GSHELL_IDLE": "0.2"}
    go = alone.root / "go"
    script = f"until test -e {go}; do sleep 0.05; done"
    job = alone.gshell("run", "--detach", "--", "sh", "-c", script, env=env).stdout.decode().strip()
    background = int((alone.home / "run" / "bg.sock.pid").read_text())
    asked_again = time.monotonic() + 3 * 0.2
    until(lambda: time.monotonic() > asked_again, "several times as long")
    assert state_of(background) not in ("", "Z")
    go.touch()
    until(lambda: state_of(background) in ("", "Z"), "it to end of idleness", show=alone.logs)
    log = alone.gshell("logs", job, env=env)
    assert log.returncode == 125  # what was private went with it, but not before the job
    until(lambda: not alone.leftovers(), "the rest to end", show=lambda: str(alone.leftovers()))


def test_a_wrong_idle_time_is_said(alone: Env) -> None:
    done = alone.gshell("run", "true", env={"GSHELL_IDLE": "soon"})
    assert done.returncode == 125
    assert b"GSHELL_IDLE" in done.stderr
