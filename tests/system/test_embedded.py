"""The private relay and agent: started by the first run, used by the next, ended by stop."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.procs import Env, gshell_argv, until
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
    started = sorted(pids(alone, ""))
    assert alone.gshell("run", "echo", "second").stdout == b"second\n"
    assert sorted(pids(alone, "embedded.py") + pids(alone, "/agent/")) == sorted(
        pid for pid in started if pid in set(pids(alone, "embedded.py") + pids(alone, "/agent/"))
    )
    assert alone.gshell("stop").stdout == b"gshell: stopped\n"
    until(lambda: not alone.leftovers(), "all to end", show=lambda: str(alone.leftovers()))
    assert alone.gshell("stop").stdout == b"gshell: nothing runs\n"
    assert alone.gshell("run", "echo", "again").stdout == b"again\n"


def test_without_the_background_process_the_first_run_works_too(alone: Env) -> None:
    assert alone.gshell("run", "echo", "first", background=False).stdout == b"first\n"
    assert alone.gshell("run", "--no-background", "echo", "second").stdout == b"second\n"


def test_everything_of_ours_is_closed_to_others(alone: Env) -> None:
    os.umask(before := os.umask(0o022))
    assert before is not None
    alone.gshell("run", "true")
    for folder in (alone.home / "run", alone.home / "state", alone.home / "state" / "private"):
        assert folder.stat().st_mode & 0o077 == 0, folder
    for path in (alone.home / "state" / "private").rglob("*.ticket"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_no_secret_is_on_a_command_line_or_in_an_environment(alone: Env) -> None:
    alone.gshell("run", "true")
    ticket = (alone.home / "state" / "private" / "client.ticket").read_text()
    secrets = [word.strip('",') for word in ticket.split() if len(word) > 40]
    assert secrets
    for pid in pids(alone, ""):
        for name in ("cmdline", "environ"):
            text = Path(f"/proc/{pid}/{name}").read_bytes()
            assert not any(secret.encode() in text for secret in secrets)


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


def user(name: str) -> tuple[int, int] | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return entry.pw_uid, entry.pw_gid


@pytest.fixture
def nobody(alone: Env) -> Iterator[Env]:
    """An installation of another user, who owns no more than a directory below /tmp."""
    ids = user("nobody")
    if os.getuid() != 0 or ids is None:
        pytest.skip("needs root, to become nobody")
    if not _can_read_us(*ids):
        pytest.skip("nobody cannot read the interpreter or the package")
    alone.home.mkdir()
    for path in (alone.root, alone.home, alone.root / "user"):
        os.chown(path, *ids)
    yield alone
    as_nobody(alone, "stop", "--force")


def _can_read_us(uid: int, gid: int) -> bool:
    done = subprocess.run(
        [*gshell_argv(), "version"],
        user=uid,
        group=gid,
        extra_groups=[],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def as_nobody(env: Env, *words: str) -> subprocess.CompletedProcess[bytes]:
    uid, gid = user("nobody") or (0, 0)
    return env.gshell(*words, user=uid, group=gid, extra_groups=[], cwd="/")


def test_two_users_have_each_their_own(nobody: Env, private: Env) -> None:
    assert as_nobody(nobody, "run", "id", "-un").stdout == b"nobody\n"
    assert b"nobody" in as_nobody(nobody, "whoami").stdout
    assert private.gshell("run", "id", "-un").stdout != b"nobody\n"


def test_somebody_elses_directory_is_refused(nobody: Env, private: Env) -> None:
    done = as_nobody(nobody, "run", "true") if False else nobody.gshell(
        "run", "true", env={"GSHELL_HOME": str(private.home)}, cwd="/",
        user=user("nobody")[0], group=user("nobody")[1], extra_groups=[],  # type: ignore[index]
    )  # fmt: skip
    assert done.returncode == 125
    assert b"GSHELL_HOME" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_home_that_cannot_be_written_says_what_to_set(nobody: Env) -> None:
    env = {name: value for name, value in nobody.env.items() if name != "GSHELL_HOME"}
    uid, gid = user("nobody") or (0, 0)
    done = subprocess.run(
        [*gshell_argv(), "run", "true"], env={**env, "HOME": "/nonexistent"}, stdin=subprocess.DEVNULL,
        capture_output=True, timeout=30, check=False, user=uid, group=gid, extra_groups=[], cwd="/",
    )  # fmt: skip
    assert done.returncode == 125
    assert b"export GSHELL_HOME=" in done.stderr
    assert b"Traceback" not in done.stderr


def test_an_idle_time_ends_it(alone: Env) -> None:
    """Not waited for half an hour: the same decision, by the variable that tests may set."""
    done = alone.gshell("run", "true", env={"GSHELL_IDLE_S": "1"})
    assert done.returncode == 0
    background = int((alone.home / "run" / "bg.sock.pid").read_text())
    until(lambda: state_of(background) in ("", "Z"), "it to end of idleness", show=alone.logs)
    until(lambda: not alone.leftovers(), "the rest to end", show=lambda: str(alone.leftovers()))
