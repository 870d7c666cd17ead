"""``ssh 42@gshell-relay`` with stock OpenSSH: a job's terminal, shown by the relay, and nothing else."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.procs import Env, until
from kit.pty import Pty

pytestmark = [
    pytest.mark.skipif(shutil.which("ssh") is None, reason="OpenSSH's client is not installed"),
    pytest.mark.timeout(120),
]
TIMEOUT_S = 60.0
PATIENCE_S = 30.0
# Echoes nothing itself: what is seen twice was shown twice.
SHELL = "stty -echo; PS1=; echo rea''dy; while read line; do eval \"$line\"; done"


class Shows:
    """A relay that shows sessions, an agent, and a user with OpenSSH's client."""

    def __init__(self, *options: str) -> None:
        self.env = Env()
        try:
            invite = self.env.start_relay(options=options)
            self.env.start_agent("one", invite, "--slots", "16")
            assert self.env.gshell("ssh-config").returncode == 0
        except BaseException:
            self.env.close()
            raise
        self.config = self.env.home / "config" / "ssh" / "config"

    def argv(self, login: str, *words: str, config: object = None) -> list[str]:
        options = ["-F", str(config or self.config), "-o", "ConnectTimeout=30"]
        return ["ssh", *options, *words, f"{login}@gshell-relay"]

    def ssh(
        self, login: str, *words: str, command: str = "", **more: object
    ) -> subprocess.CompletedProcess[bytes]:
        argv = [*self.argv(login, *words), *([command] if command else [])]
        return subprocess.run(
            argv, env=self.env.env, capture_output=True, stdin=subprocess.DEVNULL,
            timeout=TIMEOUT_S, check=False,
        )  # fmt: skip

    def terminal(self, login: str, size: tuple[int, int] = (24, 80), config: object = None) -> Pty:
        return Pty(self.argv(login, config=config), self.env.env, size=size)

    def job(self, *words: str) -> str:
        done = self.env.gshell("run", "--detach", "--", *words)
        assert done.returncode == 0, done.stderr.decode() + self.env.logs()
        job = done.stdout.decode().split()[0]
        until(lambda: self.state(job) == "ACTIVE", "the job to run", show=self.env.logs)
        return job

    def state(self, job: str) -> str:
        return next((str(j["state"]) for j in self.env.jobs() if str(j["id"]) == job), "")

    def shell(self) -> str:
        """A job with a terminal, left by the one who began it."""
        before = {str(job["id"]) for job in self.env.jobs()}
        with Pty(self.env.argv("run", "-t", "--", "sh", "-c", SHELL), self.env.env) as pty:
            pty.wait_for("ready", PATIENCE_S)
            pty.send(b"\r~.")
            pty.wait_for("detached", PATIENCE_S)
            assert pty.wait(PATIENCE_S) == 0
        return next(str(j["id"]) for j in self.env.jobs() if str(j["id"]) not in before)


@pytest.fixture(scope="module")
def shows() -> Iterator[Shows]:
    one = Shows("--ssh-attach")
    try:
        yield one
    finally:
        one.env.close()


def test_a_terminal_is_attached_typed_at_resized_left_and_joined_again_until_its_exit_code(
    shows: Shows,
) -> None:
    job = shows.shell()
    with shows.terminal(job, size=(31, 71)) as pty:
        pty.wait_for("reads along", PATIENCE_S)  # before anything is typed
        pty.wait_for("Ctrl-] three times detaches", PATIENCE_S)
        pty.wait_for("ready", PATIENCE_S)  # the last screen
        pty.send(b"stty size; echo $((6*7))\r")
        pty.wait_for("31 71\r\n42", PATIENCE_S)
        pty.resize(40, 100)
        pty.send(b"until stty size | grep -q '40 100'; do sleep 0.05; done; echo re$((1+1))sized\r")
        pty.wait_for("re2sized", PATIENCE_S)
        pty.send(b"\x1d\x1d\x1d")
        pty.wait_for(f"detached from {job}", PATIENCE_S)
        assert pty.wait(PATIENCE_S) == 0
    with shows.terminal(f"job{job}") as pty:
        pty.wait_for("detaches", PATIENCE_S)
        pty.wait_for("re2sized", PATIENCE_S)
        pty.send(b"\recho a$((1+1))b\r")  # the first two keys went to the program
        pty.wait_for("a2b", PATIENCE_S)
        pty.send(b"\r~.")  # ssh's own
        pty.wait(PATIENCE_S)
    assert shows.state(job) == "ACTIVE"
    with shows.terminal(f"job{job}.0") as pty:
        pty.wait_for("detaches", PATIENCE_S)
        pty.send(b"exit 7\r")
        assert pty.wait(PATIENCE_S) == 7, bytes(pty.seen)


def test_a_second_one_looks_on_and_so_does_watch(shows: Shows) -> None:
    job = shows.shell()
    with shows.terminal(f"watch+job{job}") as two, contextlib.ExitStack() as stack:
        two.wait_for(f"[job {job} sh, looking on", PATIENCE_S)  # though nobody else types
        two.wait_for("ready", PATIENCE_S)
        one = stack.enter_context(shows.terminal(job))
        one.wait_for("detaches", PATIENCE_S)
        one.wait_for("ready", PATIENCE_S)
        with shows.terminal(job) as three:
            three.wait_for("looking on", PATIENCE_S)
            three.wait_for("ready", PATIENCE_S)
            for looker in (two, three):
                looker.send(b"echo from-a-loo''ker\r")
            one.send(b"echo from-the-wri''ter\r")
            for pty in (one, two, three):
                pty.wait_for("from-the-writer", PATIENCE_S)
            one.send(b"exit 0\r")
            for pty in (one, two, three):
                assert pty.wait(PATIENCE_S) == 0
                assert b"from-a-looker" not in pty.seen


def test_without_a_terminal_its_output_follows_from_the_start_and_nothing_can_be_typed(
    shows: Shows,
) -> None:
    go = shows.env.root / "go"
    script = f"echo out; echo err >&2; until [ -e {go} ]; do sleep 0.05; done; echo end; exit 5"
    job = shows.job("sh", "-c", script)
    one = subprocess.Popen(
        shows.argv(job, "-T"), env=shows.env.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert one.stdin is not None
    assert one.stdout is not None
    one.stdin.write(b"typed\n")
    one.stdin.flush()
    assert one.stdout.readline() == b"out\n"
    go.touch()
    out, err = one.communicate(timeout=TIMEOUT_S)
    assert (out, one.returncode) == (b"end\n", 0)  # as gshell logs -f
    assert err.endswith(b"\nerr\n"), err
    done = shows.ssh(job, "-T")  # it has ended: what there is, and the end
    assert (done.stdout, done.returncode) == (b"out\nend\n", 0), done.stderr.decode()


def test_a_program_without_a_terminal_gets_lines_from_one_that_edits_and_interrupts(
    shows: Shows,
) -> None:
    script = "echo ready; read a; echo got $a; trap 'exit 9' INT; echo trapped; while :; do sleep 0.05; done"
    with Pty(
        shows.env.argv("run", "--no-pty", "--", "sh", "-c", script), shows.env.env
    ) as begun:  # one with a stdin
        begun.wait_for("ready", PATIENCE_S)
        job = max((str(j["id"]) for j in shows.env.jobs()), key=int)
        begun.send(b"~.\r")
        begun.wait_for("detached", PATIENCE_S)
    with shows.terminal(job) as pty:
        pty.wait_for("detaches", PATIENCE_S)
        pty.send(b"wron\x7f\x7f\x7f\x7fright\r")
        pty.wait_for("got right", PATIENCE_S)
        pty.wait_for("trapped", PATIENCE_S)
        pty.send(b"\x03")
        assert pty.wait(PATIENCE_S) == 9, bytes(pty.seen)


def test_nothing_else_is_to_be_had_there_and_each_refusal_says_what_to_type(shows: Shows) -> None:
    job = shows.job("sleep", "1000")
    hint = f"ssh -J gshell-relay job{job} runs".encode()
    done = shows.ssh(job, command="true")
    assert (done.returncode, done.stdout) == (1, b"")
    assert hint in done.stderr
    done = shows.ssh(job, "-s", command="sftp")
    assert done.returncode == 1
    assert hint in done.stderr
    done = shows.ssh(job, "-W", "example.org:80")
    assert b"nowhere else" in done.stderr
    done = shows.ssh(job, "-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:localhost:1")
    assert b"remote port forwarding failed" in done.stderr.lower()
    done = shows.ssh("nobody", "-T")
    assert b"this relay runs nothing" in done.stderr
    shows.env.gshell("cancel", job)
    job = shows.shell()
    with shows.terminal(job) as pty:
        pty.wait_for("detaches", PATIENCE_S)
        for key, said in ((b"~~R", "gshell rec"), (b"~~\x1a", "ssh itself suspends")):
            pty.send(b"\r" + key[:1])  # the first one is held by ssh, as a person's is
            pty.send(key[1:])
            pty.wait_for(said, PATIENCE_S)
    shows.env.gshell("cancel", job)


def login(shows: Shows, name: str, user: str = "") -> tuple[Path, str]:
    """Another client: its configuration for ssh, and its credential's serial."""
    env = shows.env
    if user:
        words = ["relay", "invite", "--state", str(env.state), "--user", user]
        found = re.search(r"gshell://\S+#[\w-]+", env.gshell(*words).stdout.decode())
        assert found is not None
        invite = found[0]
    else:
        invite = env.invite(1)
    theirs = {"GSHELL_HOME": f"{env.home}/{name}"}
    assert env.gshell("login", invite, env=theirs).returncode == 0
    assert env.gshell("ssh-config", env=theirs).returncode == 0
    folder = env.home / name / "config" / "ssh"
    shown = subprocess.run(
        ["ssh-keygen", "-L", "-f", str(folder / "id_gshell-cert.pub")], capture_output=True,
        check=True,
    )  # fmt: skip
    serial = re.search(rb"\bkey:([0-9a-f]+)", shown.stdout)
    assert serial is not None
    return folder / "config", serial[1].decode()


def test_another_user_is_told_that_there_is_no_such_job(shows: Shows) -> None:
    job = shows.job("sleep", "1000")
    config, _ = login(shows, "mallory", "mallory")
    for name in (job, f"watch+job{job}", "999999"):
        with shows.terminal(name, config=config) as pty:
            pty.wait_for(f"no job {name.removeprefix('watch+job')} of yours", PATIENCE_S)
            assert pty.wait(PATIENCE_S) == 125
    shows.env.gshell("cancel", job)


def test_a_revoked_key_ends_what_it_was_shown_and_is_shown_nothing_more(shows: Shows) -> None:
    job = shows.shell()
    config, serial = login(shows, "second")
    with shows.terminal(job, config=config) as pty:
        pty.wait_for("detaches", PATIENCE_S)
        assert shows.env.gshell("revoke", serial).returncode == 0
        assert pty.wait(PATIENCE_S) == 255, bytes(pty.seen)
        assert b"withdrawn" in pty.seen
    with shows.terminal(job, config=config) as pty:
        pty.wait_for("credentials were withdrawn", PATIENCE_S)
        assert pty.wait(PATIENCE_S) != 0
    assert shows.state(job) == "ACTIVE"
    seen = [json.loads(line) for line in (shows.env.state / "audit.log").read_text().splitlines()]
    mine = [one for one in seen if one["verb"] == "attach" and serial[:12] in json.dumps(one)]
    assert mine, seen[-3:]
    assert '"via": "ssh 127.0.0.1' in json.dumps(mine[0])
    assert mine[0]["who"] == shows.env.user
    shows.env.gshell("cancel", job)
