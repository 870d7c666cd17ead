"""Coming back to a job, from elsewhere and together with others."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from kit.procs import Env, until
from kit.pty import Pty, Tmux, draw

PROMPT = "ready$ "


def shell(env: Env, background: bool = True, size: tuple[int, int] = (24, 80)) -> Pty:
    pty = Pty(env.argv("sh"), env.client_env(background), size)
    pty.wait_for(PROMPT)
    return pty


def attach(
    env: Env, job: str, *options: str, background: bool = True, size: tuple[int, int] = (24, 80)
) -> Pty:
    return Pty(env.argv("attach", *options, job), env.client_env(background), size)


def detach(pty: Pty) -> str:
    """Leave; the job's id."""
    for key in "\r~.":
        pty.send(key)
    match = re.search(rb"detached from (\d+)", pty.wait_for("returns]"))
    assert match is not None
    assert pty.wait() == 0
    assert pty.modes() == pty.modes_at_start
    return match[1].decode()


def live_job(env: Env) -> str:
    found = [job for job in env.jobs() if job["state"] == "ACTIVE"]
    return str(max(found, key=lambda job: job["started_at"])["id"])


# ------------------------------------------------------------------------------------------- history


def test_a_shell_comes_back_without_a_seam(env: Env, background: bool) -> None:
    with shell(env, background) as pty:
        pty.line("for i in $(seq 1 500); do echo n$i; sleep 0.002; done; echo al'l'")
        pty.wait_for("n100\r\n")
        job = detach(pty)
    with attach(env, job, background=background) as pty:
        pty.wait_for("all\r\n")
        numbers = [int(word) for word in re.findall(rb"n(\d+)\r\n", bytes(pty.seen))]
        assert numbers == list(range(numbers[0], 501))
        assert numbers[0] == 1
        pty.line("exit 3")
        assert pty.wait() == 3
        assert pty.modes() == pty.modes_at_start


def test_vim_looks_the_same_from_a_terminal_of_another_size(
    private: Env, tmp_path: Path, background: bool
) -> None:
    text = "\n".join(f"line {number} of the text" for number in range(1, 60))
    (tmp_path / "text").write_text(text + "\n")
    environ = private.client_env(background)
    argv = private.argv("sh")
    first = tmp_path / "a"
    second = tmp_path / "b"
    first.mkdir()
    second.mkdir()
    with Tmux(first, environ, argv) as here:
        here.wait_for("ready$")
        here.line(f"vim {tmp_path}/text")
        here.wait_for("line 20 of the text")
        here.keys("1", "0", "j", "i")
        here.do("send-keys", "-l", "INSERTED ")
        here.wait_for("INSERTED line 11 of the text")
        here.keys("Escape")
        until(lambda: "-- INSERT --" not in here.screen(), "the end of inserting", show=here.screen)
        here.resize(30, 100)
        here.wait_for("line 28 of the text")
        here.keys("Enter")
        here.wait_for("12,1")
        before = here.screen()
        job = live_job(private)
        here.keys("~", ".")
        until(lambda: not _alive(here), "gshell to end")
        with Tmux(second, environ, private.argv("attach", job), size=(30, 100)) as there:
            there.wait_for("INSERTED line 11 of the text")
            until(
                lambda: there.screen().rstrip() == before.rstrip(),
                "the same screen",
                show=lambda: f"{before}\n{there.screen()}",
            )
            assert there.do("display", "-p", "#{alternate_on}").strip() == "1"
            there.resize(12, 60)
            until(
                lambda: "line 28" not in there.screen() and "INSERTED" in there.screen(),
                "vim to fit",
                show=there.screen,
            )
            there.line(":q!")
            there.wait_for("ready$")
            there.line("exit")
            until(lambda: not _alive(there), "gshell to end")


def _alive(tmux: Tmux) -> bool:
    try:
        return bool(tmux.do("list-panes"))
    except AssertionError:
        return False


def test_modes_are_set_again_and_put_back(private: Env, background: bool) -> None:
    script = "printf '\\033[?1049h\\033[?2004h\\033[?1006h\\033[?25l\\033]0;title\\007screen'; read x; exit 4"
    with Pty(
        private.argv("run", "--", "bash", "-c", script), private.client_env(background)
    ) as pty:
        pty.wait_for("screen")
        job = detach_anywhere(pty)
        assert b"\x1b[?1049l" in pty.seen
    with attach(private, job, background=background) as pty:
        pty.wait_for("screen")
        for mode in (b"\x1b[?1049h", b"\x1b[?2004h", b"\x1b[?1006h", b"\x1b[?25l"):
            assert mode in pty.seen, pty.tail()
        pty.line("")
        assert pty.wait() == 4
        for mode in (b"\x1b[?1049l", b"\x1b[?2004l", b"\x1b[?1006l", b"\x1b[?25h"):
            assert mode in pty.seen, pty.tail()


def detach_anywhere(pty: Pty) -> str:
    for _ in range(3):
        pty.send(b"\x1d")
    match = re.search(rb"detached from (\d+)", pty.wait_for("returns]"))
    assert match is not None
    assert pty.wait() == 0
    return match[1].decode()


def test_questions_of_the_past_are_not_asked_again(private: Env, background: bool) -> None:
    script = "printf 'before\\033[6n\\033[c\\033]11;?\\007after\\n'; read x"
    with Pty(
        private.argv("run", "--", "bash", "-c", script), private.client_env(background)
    ) as pty:
        pty.wait_for("after")
        assert b"\x1b[6n" in pty.seen
        job = detach_anywhere(pty)
    with attach(private, job, background=background) as pty:
        pty.wait_for("after")
        assert b"\x1b[6n" not in pty.seen
        assert b"\x1b[c" not in pty.seen
        assert b"\x1b]11;?" not in pty.seen
        pty.line("")
        assert pty.wait() == 0


def test_an_ended_job_shows_its_output_and_gives_its_status(env: Env, background: bool) -> None:
    with Pty(env.argv("run", "--", "sh", "-c", "echo to be seen; exit 5"), env.client_env()) as pty:
        assert pty.wait() == 5
    job = max(
        (job for job in env.jobs() if job["code"] == 5 and job["pty"]),
        key=lambda job: job["ended_at"],
    )["id"]
    with attach(env, job, background=background) as pty:
        assert pty.wait() == 5
        assert b"to be seen\r\n" in pty.seen
        assert pty.modes() == pty.modes_at_start


def test_a_job_without_a_terminal_can_be_attached_too(
    env: Env, tmp_path: Path, background: bool
) -> None:
    script = f"echo one; until test -e {tmp_path}/go; do sleep 0.02; done; echo two; echo err >&2; exit 6"
    job = env.gshell("run", "--detach", "--", "sh", "-c", script).stdout.decode().strip()
    run = env.popen("attach", job, background=background)
    assert run.stdout is not None
    assert run.stdout.readline() == b"one\n"
    (tmp_path / "go").touch()
    out, err = run.communicate(timeout=20)
    assert (out, err, run.returncode) == (b"two\n", b"err\n", 6)


def test_a_pipe_job_attached_from_a_terminal_keeps_it_as_it_is(
    private: Env, background: bool
) -> None:
    job = (
        private.gshell("run", "--detach", "--", "sh", "-c", "echo one; sleep 600")
        .stdout.decode()
        .strip()
    )
    with attach(private, job, background=background) as pty:
        pty.wait_for("one\r\n")
        assert pty.modes() == pty.modes_at_start
        private.gshell("kill", "-9", job)
        assert pty.wait() == 137


def test_an_opening_ahead_of_use_is_no_job(private: Env) -> None:
    private.gshell("run", "true")
    newest = max(int(job["id"]) for job in private.jobs())
    for number in range(newest + 1, newest + 4):  # those the background process keeps ready
        done = private.gshell("attach", str(number))
        assert done.returncode == 125
        assert b"no job" in done.stderr


# ------------------------------------------------------------------------------------------- several


def test_one_writes_the_others_look(env: Env, background: bool) -> None:
    with shell(env, background) as writer:
        job = live_job(env)
        with attach(env, job, background=background) as looker:
            looker.wait_for("looking on")
            looker.wait_modes(raw=True)
            looker.send("echo from the loo'ker'\r")
            writer.line("echo from the wri'ter'")
            looker.wait_for("from the writer\r\n")
            writer.wait_for("from the writer\r\n")
            assert b"looker" not in writer.seen
            writer.line("exit 7")
            assert looker.wait() == 7
            assert looker.modes() == looker.modes_at_start
        assert writer.wait() == 7


def test_keys_of_a_read_only_one_reach_nobody_even_alone(private: Env, background: bool) -> None:
    with shell(private, background) as pty:
        job = detach(pty)
    with attach(private, job, "--read-only", background=background) as looker:
        looker.wait_for("looking on")
        looker.wait_modes(raw=True)
        looker.send("echo not me\r\x03\x04")
        with attach(private, job, background=background) as writer:
            writer.wait_for("detaches]")
            writer.line("echo it' 'is me; exit")
            looker.wait_for("it is me")
            looker.wait()
            assert b"not me" not in looker.seen
        assert b"not me" not in writer.seen


def test_stealing_takes_over_and_the_other_looks_on(env: Env, background: bool) -> None:
    with shell(env, background) as first:
        job = live_job(env)
        with attach(env, job, "--steal", background=background) as thief:
            first.wait_for("you look on")
            first.send("echo from the fir'st'\r")
            thief.wait_for("detaches]")
            thief.line("echo from the thi'ef'")
            thief.wait_for("from the thief\r\n")
            first.wait_for("from the thief\r\n")
            assert b"from the first\r\n" not in thief.seen
            thief.line("exit 8")
            assert thief.wait() == 8
        assert first.wait() == 8


def test_when_the_writer_leaves_another_can_write(env: Env, background: bool) -> None:
    with shell(env, background) as first:
        job = live_job(env)
        with attach(env, job, background=background) as second:
            second.wait_for("looking on")
            detach(first)
            second.wait_for("you type now")
            second.line("echo my' 'turn; exit 9")
            second.wait_for("my turn")
            assert second.wait() == 9


def test_a_killed_writers_seat_is_free_for_who_comes_next(private: Env, background: bool) -> None:
    with shell(private, background) as first:
        job = live_job(private)
        os.kill(first.process.pid, signal.SIGKILL)
        first.wait()
    with attach(private, job, background=background) as second:
        second.wait_for("detaches]")
        second.line("exit 4")
        assert second.wait() == 4


def test_the_size_is_the_writers(private: Env, background: bool) -> None:
    with shell(private, background, size=(24, 80)) as first:
        job = live_job(private)
        with attach(private, job, background=background, size=(40, 120)) as second:
            second.wait_for("looking on")
            second.resize(41, 121)
            first.line("stty size")
            first.wait_for("24 80")
            detach(first)
            second.wait_for("you type now")
            second.line(
                "clear; until [ \"$(stty size)\" = '41 121' ]; do sleep 0.02; done; echo it' 'is; exit"
            )
            second.wait_for("it is")
            second.wait()


def test_a_stopped_looker_slows_nobody(private: Env, background: bool) -> None:
    with shell(private, background) as writer:
        job = live_job(private)
        with attach(private, job, "-r", background=background) as looker:
            looker.wait_for("looking on")
            os.kill(looker.process.pid, signal.SIGSTOP)
            writer.line("seq 300000; echo do'ne'")
            writer.wait_for("done")
            os.kill(looker.process.pid, signal.SIGCONT)
            writer.line("echo af'ter'")
            looker.wait_for("after")
            writer.line("exit")
            looker.wait()
        writer.wait()


def test_what_is_drawn_after_an_attach_is_what_was_there(private: Env) -> None:
    """A line-mode screen: the same rows, whatever way they came."""
    with shell(private) as pty:
        pty.line("clear; seq 1 15; printf '\\033[5;3Hhere'; printf '\\033[18;1H'")
        pty.wait_for("here")
        until(
            lambda: pty.screen()[17].startswith("ready$"),
            "the prompt below",
            show=lambda: "\n".join(pty.screen()),
        )
        before = pty.screen()[:17]
        job = detach_anywhere(pty)
    with attach(private, job) as pty:
        pty.wait_for("here")
        until(
            lambda: any(row.startswith("ready$") for row in pty.screen()[17:]),
            "the prompt",
            show=lambda: "\n".join(pty.screen()),
        )
        assert draw(bytes(pty.seen))[1:17] == before[1:17]
        pty.line("exit")
        pty.wait()


@pytest.mark.parametrize("way", ["background", "direct"])
def test_attach_without_an_id_means_the_newest(private: Env, way: str) -> None:
    with shell(private, way == "background") as pty:
        detach(pty)
    with Pty(private.argv("attach"), private.client_env(way == "background")) as pty:
        pty.wait_for("detaches]")
        pty.line("exit 2")
        assert pty.wait() == 2
