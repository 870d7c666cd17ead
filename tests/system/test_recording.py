"""Recording through a relay and an agent, and playing what came of it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kit.procs import Env, until
from kit.pty import Pty

PROMPT = "ready$ "
SECRET = "Hunter2Zq"


def events(path: Path) -> list[list[Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


def texts(path: Path, codes: str = "o") -> str:
    return "".join(str(data) for _, code, data in events(path) if code in codes)


def has(path: Path, text: str) -> bool:
    return path.exists() and text in path.read_text()


def test_a_run_is_recorded_with_its_streams_and_its_end(
    private: Env, tmp_path: Path, background: bool
) -> None:
    path = tmp_path / "a.cast"
    script = "echo one; echo two >&2; exit 3"
    done = private.gshell("run", "--rec", str(path), "--", "sh", "-c", script,
                          background=background)  # fmt: skip
    assert done.returncode == 3
    assert done.stdout == b"one\n"
    assert texts(path) == "one\r\n"
    assert texts(path, "e") == "two\r\n"
    assert events(path)[-1][1:] == ["x", "3"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_there_is_not_overwritten_and_nothing_is_started(
    private: Env, tmp_path: Path, background: bool
) -> None:
    path = tmp_path / "a.cast"
    path.write_text("mine")
    done = private.gshell("run", "--rec", str(path), "--", "touch", str(tmp_path / "ran"),
                          background=background)  # fmt: skip
    assert done.returncode == 2
    assert b"is there already" in done.stderr
    assert path.read_text() == "mine"
    assert not (tmp_path / "ran").exists()


def test_a_shell_is_recorded_with_what_is_typed_but_for_passwords(
    private: Env, tmp_path: Path, background: bool
) -> None:
    path = tmp_path / "a.cast"
    argv = private.argv("sh", "--rec", str(path), "-I")
    with Pty(argv, private.client_env(background)) as pty:
        pty.wait_for(PROMPT)
        pty.line("read -s -p 'word: ' word; echo got ${#word}")
        pty.wait_for("\nword: ")
        pty.line(SECRET)
        pty.wait_for(f"got {len(SECRET)}")
        pty.wait_for(PROMPT)
        pty.resize(30, 100)
        pty.process.send_signal(signal.SIGWINCH)
        until(lambda: has(path, "100x30"), "the new size is recorded")
        pty.line("exit 4")
        assert pty.wait() == 4
        assert path.name.encode() in pty.rest()
    assert SECRET not in path.read_text()
    found = [(code, data) for _, code, data in events(path) if code in "is"]
    assert ("s", "1") in found
    assert "".join(data for code, data in found if code == "i").endswith("exit 4\r")
    assert events(path)[-1][1:] == ["x", "4"]
    header = json.loads(path.read_text().splitlines()[0])
    assert (header["width"], header["height"]) == (80, 24)
    assert set(header["env"]) <= {"TERM", "SHELL"}


def test_without_being_asked_nothing_typed_is_recorded(private: Env, tmp_path: Path) -> None:
    path = tmp_path / "a.cast"
    with Pty(private.argv("sh", "--rec", str(path)), private.client_env()) as pty:
        pty.wait_for(PROMPT)
        pty.line("exit")
        pty.wait()
    assert {code for _, code, _ in events(path)} == {"o", "x"}


def test_keys_begin_and_end_a_recording_and_mark_it(private: Env, background: bool) -> None:
    with Pty(private.argv("sh"), private.client_env(background)) as pty:
        pty.wait_for(PROMPT)
        pty.send("~")
        pty.send("R")
        name = pty.wait_for("; ~R stops").decode().partition("recording to ")[2]
        path = Path(name.removesuffix("; ~R stops"))
        pty.line("echo dur''ing")
        pty.wait_for("during")
        pty.wait_for(PROMPT)
        pty.send("\r")
        pty.wait_for(PROMPT)
        pty.send("~")
        pty.send("m")
        pty.wait_for("[marker 1]")
        pty.send("~")
        pty.send("R")
        pty.wait_for("[recording stopped")
        pty.line("echo aft''er; exit")
        assert pty.wait() == 0
    assert "during" in texts(path)
    assert "after" not in texts(path)
    assert texts(path, "m") == "1"
    path.unlink()


def test_a_job_is_recorded_from_beside_with_its_past_until_it_ends(
    private: Env, tmp_path: Path
) -> None:
    path, go = tmp_path / "a.cast", tmp_path / "go"
    script = f"echo before; until test -e {go}; do sleep 0.05; done; echo after; exit 5"
    job = private.gshell("run", "--detach", "--", "sh", "-c", script).stdout.decode().strip()
    argv = private.argv("rec", job, str(path))
    with subprocess.Popen(argv, env=private.client_env(), stderr=subprocess.PIPE) as recorder:
        until(lambda: has(path, "before"), "the past is recorded")
        go.touch()
        assert recorder.stderr is not None
        assert b"a.cast" in recorder.stderr.read()
    assert recorder.returncode == 0
    assert texts(path) == "before\r\nafter\r\n"
    assert events(path)[-1][1:] == ["x", "5"]


def test_who_has_enough_of_a_job_presses_ctrl_c_and_the_job_goes_on(
    private: Env, tmp_path: Path
) -> None:
    path, go = tmp_path / "a.cast", tmp_path / "go"
    script = f"echo before; until test -e {go}; do sleep 0.05; done"
    job = private.gshell("run", "--detach", "--", "sh", "-c", script).stdout.decode().strip()
    with subprocess.Popen(private.argv("rec", job, str(path)), env=private.client_env()) as one:
        until(lambda: has(path, "before"), "it is recorded")
        one.send_signal(signal.SIGINT)
    assert one.returncode == 0
    assert private.gshell("jobs", "-q").stdout.decode().split() == [job]
    go.touch()
    until(lambda: not private.gshell("jobs", "-q").stdout, "the job has ended")


def test_a_client_that_is_killed_leaves_a_recording_of_whole_lines(
    private: Env, tmp_path: Path
) -> None:
    path = tmp_path / "a.cast"
    script = "n=0; while :; do n=$((n+1)); echo $n; done"
    argv = private.argv("run", "--rec", str(path), "--", "sh", "-c", script)
    with subprocess.Popen(argv, env=private.client_env(False), stdout=subprocess.DEVNULL) as run:
        until(lambda: path.exists() and path.stat().st_size > 100_000, "much is recorded")
        run.kill()
    numbers = texts_of_whole_lines(path).split()
    assert numbers == [str(n) for n in range(1, len(numbers) + 1)]
    for job in private.gshell("jobs", "-q").stdout.decode().split():
        private.gshell("cancel", job)
    until(lambda: not private.gshell("jobs", "-q").stdout, "the job has ended")


def texts_of_whole_lines(path: Path) -> str:
    lines = path.read_text().split("\n")[1:-1]
    text = "".join(json.loads(line)[2] for line in lines)
    return text[: text.rfind("\n") + 1]


def test_each_rank_has_a_recording_of_its_own(private: Env, tmp_path: Path) -> None:
    done = private.gshell("run", "-n", "3", "--rec", f"{tmp_path}/r%r.cast", "--", "echo", "me")
    assert done.returncode == 0
    for rank in range(3):
        assert texts(tmp_path / f"r{rank}.cast") == "me\r\n"
        assert events(tmp_path / f"r{rank}.cast")[-1][1:] == ["x", "0"]


def test_asciinema_plays_it(private: Env, tmp_path: Path) -> None:
    beside = Path(sys.executable).with_name("asciinema")
    asciinema = str(beside) if beside.exists() else shutil.which("asciinema")
    if asciinema is None:
        pytest.skip("no asciinema")
    path = tmp_path / "a.cast"
    private.gshell("run", "--rec", str(path), "--", "sh", "-c", "echo héllo; printf '\\377'")
    env = {**private.client_env(), "HOME": str(tmp_path)}
    with Pty([asciinema, "play", str(path)], env) as pty:
        pty.wait_for("héllo\r\n\ufffd")
        assert pty.wait() == 0


# --------------------------------------------------------------------------------------- playing


def cast(path: Path, *events: tuple[float, str, str]) -> Path:
    lines = [json.dumps({"version": 2, "width": 80, "height": 24}), *map(json.dumps, events)]
    path.write_text("\n".join(lines) + "\n")
    return path


LONG = (
    (0.0, "o", "\x1b[?1049h\x1b[?25l\x1b[?1000h\x1b[>1ualpha"),
    (0.1, "m", "here"),
    (900.0, "o", "\r\nbeta\x1b]52;c;aGFoYQ==\x07\x1b[6n\x1b]0;title\x07"),
    (1800.0, "o", "\x1b[2J\x1b[Hgamma"),
)


def test_keys_move_through_a_recording_and_the_terminal_is_as_it_was(
    private: Env, tmp_path: Path
) -> None:
    path = cast(tmp_path / "a.cast", *LONG)
    with Pty(private.argv("play", str(path)), private.client_env()) as pty:
        pty.wait_for("alpha")
        pty.send("5")
        pty.wait_for("beta")
        pty.send(" ")
        pty.wait_for("paused 15:00/30:00")
        pty.send("\x1b[F")
        pty.wait_for("gamma")
        pty.send("/alp\r")
        pty.wait_for("alpha")
        pty.wait_for("paused 0:00/30:00")
        pty.send("q")
        assert pty.wait() == 0
        assert pty.modes() == pty.modes_at_start
        seen = bytes(pty.seen)
    assert seen.rfind(b"\x1b[?1049l") > seen.rfind(b"\x1b[?1049h")
    assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l")
    for asked in (b"\x1b]52", b"\x1b[6n", b"title", b"1000h", b"\x1b[>1u"):
        assert asked not in seen


def test_all_of_it_is_sent_if_that_is_wanted(private: Env, tmp_path: Path) -> None:
    path = cast(tmp_path / "a.cast", (0.0, "o", "\x1b[6n\x1b]0;title\x07end"))
    with Pty(private.argv("play", "--raw", str(path)), private.client_env()) as pty:
        pty.wait_for("\x1b[6n\x1b]0;title\x07end")
        assert pty.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_whatever_ends_it_the_terminal_is_as_it_was(
    private: Env, tmp_path: Path, number: signal.Signals
) -> None:
    path = cast(tmp_path / "a.cast", *LONG)
    with Pty(private.argv("play", str(path)), private.client_env()) as pty:
        pty.wait_for("alpha")
        pty.wait_modes(raw=True)
        pty.process.send_signal(number)
        assert pty.wait() == 128 + number
        pty.wait_modes(raw=False)
        pty.wait_for("\x1b[?1049l")
        assert pty.modes() == pty.modes_at_start


def test_off_a_terminal_its_lines_are_printed_with_their_times(
    private: Env, tmp_path: Path
) -> None:
    path = cast(tmp_path / "a.cast", (0.5, "o", "one\r\n"), (61.25, "o", "\x1b[1mtwo\x1b[m\r\n"))
    assert private.gshell("play", str(path)).stdout == b"    0.500  one\n   61.250  two\n"
    assert private.gshell("play", "-q", str(path)).stdout == b"one\ntwo\n"
    assert private.gshell("play", "--at", "10", str(path)).stdout == b"one\n"


def test_what_is_no_recording_is_said_to_be_none(private: Env, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a diary\n")
    done = private.gshell("play", str(tmp_path / "a"))
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert private.gshell("play", str(tmp_path / "none")).returncode == 2
