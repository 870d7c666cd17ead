"""The prompt with a relay behind it: everything a person does there in one sitting."""

import re
import shutil
import subprocess

import pytest

from kit.procs import until
from kit.pty import Tmux

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux")
PATIENCE_S = 40.0


@pytest.fixture
def tmux(relay_env, tmp_path):
    with Tmux(tmp_path, relay_env.env, ("bash", "--norc", "--noprofile", "-i")) as one:
        one.wait_for("ready$", PATIENCE_S)
        one.line("clear; " + " ".join(relay_env.argv()))
        one.wait_for("agents 2 free", PATIENCE_S)
        yield one


def test_run_shell_detach_jobs_attach_exit(tmux, relay_env):
    tmux.line("run sh -c 'echo from th''ere; exit 3'")
    tmux.wait_for("\nfrom there\n", PATIENCE_S)
    tmux.wait_for("[3] gshell>", PATIENCE_S)
    tmux.line("sh -J mine")
    tmux.wait_for("ready$", PATIENCE_S)
    tmux.line("echo in''side")
    tmux.wait_for("\ninside\n", PATIENCE_S)
    tmux.keys("~", ".")
    tmux.wait_for("detached from", PATIENCE_S)
    tmux.wait_for("jobs 1 running", PATIENCE_S)
    tmux.line("jobs")
    tmux.wait_for("ELAPSED", PATIENCE_S)
    tmux.do("send-keys", "-l", "attach mi")
    tmux.keys("Tab")
    job = next(str(job["id"]) for job in relay_env.jobs() if job["name"] == "mine")
    tmux.wait_for(f"gshell> attach {job}", PATIENCE_S)
    tmux.clear()
    tmux.keys("Enter")
    tmux.wait_for("~. detaches", PATIENCE_S)
    tmux.line("exit")
    until(lambda: tmux.screen().rstrip().endswith("no jobs"), "its end", PATIENCE_S, tmux.screen)
    screen = tmux.screen()
    assert "●" not in screen, f"its end was seen: it is no news\n{screen}"
    tmux.line("exit 5")
    tmux.wait_for("exit 5\nready$", PATIENCE_S)
    tmux.line("echo left $?")
    tmux.wait_for("left 5", PATIENCE_S)


def test_the_end_of_a_job_is_announced_above_what_is_typed(tmux, tmp_path):
    go = tmp_path / "go"
    subprocess.run(["mkfifo", go], check=True)
    tmux.line(f"run --detach -J waits -- cat {go}")
    tmux.wait_for("jobs 1 running", PATIENCE_S)
    tmux.clear()
    tmux.do("send-keys", "-l", "jobs --hal")
    tmux.wait_for("gshell> jobs --hal", PATIENCE_S)
    go.write_text("now\n")
    tmux.wait_for("no jobs", PATIENCE_S)
    # What is typed is drawn anew below the news: later than these.
    told = re.compile(r"^● job .*waits: done 0.*\n\n*gshell> jobs --hal$", re.M)
    until(lambda: told.search(tmux.screen()), "the news", PATIENCE_S, tmux.screen)


def test_files_there_are_completed_and_shown(tmux, relay_env, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "result.txt").write_text("it is \x1b[31m42\x1b[m\n")
    agent = relay_env.agents()[0]["id"]
    tmux.line(f"cd {agent}:{tmp_path}/there")
    tmux.wait_for(f"{agent}:", PATIENCE_S)
    tmux.wait_for("there>", PATIENCE_S)
    tmux.do("send-keys", "-l", "cat res")
    tmux.keys("Tab")
    tmux.wait_for("cat result.txt", PATIENCE_S)
    tmux.keys("Enter")
    tmux.wait_for("it is \\x1b[31m42", PATIENCE_S)
    tmux.clear()
    tmux.line("run pwd")
    until(
        lambda: f"\n{tmp_path}/there\n" in tmux.screen(), "where it runs", PATIENCE_S, tmux.screen
    )
    tmux.line("cd :")
    tmux.keys("C-d")


def test_a_relay_that_goes_away_is_said_and_found_again(relay_env, tmp_path):
    state = str(relay_env.state)
    with Tmux(tmp_path, relay_env.env, ("bash", "--norc", "--noprofile", "-i")) as tmux:
        tmux.line("clear; " + " ".join(relay_env.argv()))
        tmux.wait_for("agents 2 free", PATIENCE_S)
        done = relay_env.gshell("relay", "stop", "--state", state)
        assert done.returncode == 0, done.stderr
        tmux.wait_for("relay away", PATIENCE_S)
        tmux.do("send-keys", "-l", "jobs -a")
        tmux.wait_for("gshell> jobs -a", PATIENCE_S)
        address = relay_env.address
        done = relay_env.gshell("relay", "start", "--listen", address, "--state", state)
        assert done.returncode == 0, done.stderr
        back = lambda s: "relay away" not in s and "agents 2 free" in s and "gshell> jobs -a" in s
        until(lambda: back(tmux.screen()), "it to come back", PATIENCE_S, tmux.screen)
        tmux.keys("C-u", "C-d")


def test_lines_from_a_pipe_are_done_as_they_come(relay_env):
    done = relay_env.gshell("-k", input=b"run cat\nrun echo a\nrun sh -c 'exit 4'\nrun echo b\n")
    assert (done.returncode, done.stdout) == (4, b"a\nb\n")
    assert b"stdin:3: status 4" in done.stderr
    done = relay_env.gshell(input=b"run sh -c 'exit 4'\nrun echo b\n")
    assert (done.returncode, done.stdout) == (4, b"")


def test_a_script_gives_its_stdin_on(relay_env, tmp_path):
    script = tmp_path / "a.gsh"
    script.write_text("# cat\nrun cat\n")
    done = relay_env.gshell(str(script), input=b"mine\n")
    assert (done.returncode, done.stdout) == (0, b"mine\n"), done.stderr
