"""Two operating-system users on one relay, and what one sees of the other's: what was shared."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.procs import Env, below, until
from kit.pty import Pty

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be two users")

ALICE, BOB = 20_001, 20_002  # numbers without a name: nobody's
PROMPT = "ready$ "


_AGAIN = (
    "import os, sys; os.waitpid(os.posix_spawn(sys.executable, [sys.executable, '-c', ''], {}), 0)"
)


def as_user(uid: int) -> list[str]:
    setpriv = shutil.which("setpriv") or "setpriv"
    return [setpriv, f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"]


@functools.cache
def everybody_s_python() -> str:
    """An interpreter that other users can start, too: ours may be in somebody's home directory."""
    for path in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        words = [*as_user(ALICE), path, "-I", "-S", "-c", _AGAIN]
        if subprocess.run(words, cwd="/", capture_output=True, check=False).returncode == 0:
            return path
    pytest.skip("no python here that another user could start")


class User(Env):
    """A person with a uid and a home directory of their own."""

    def __init__(self, root: Path, uid: int) -> None:
        super().__init__(root)
        self.uid = uid
        user = root / "user"
        user.mkdir()
        for name in (".bashrc", ".bash_profile"):
            (user / name).write_text("PS1='ready$ '; unset PROMPT_COMMAND\n")
        for path in (root, user, *user.iterdir()):
            os.chown(path, uid, uid)
        root.chmod(0o700)
        self.env.update(HOME=str(user), SHELL="/bin/bash", TERM="xterm-256color", LC_ALL="C.UTF-8")
        for name in ("TMUX", "SSH_TTY", "SSH_CONNECTION", "PROMPT_COMMAND", "BASH_ENV", "ENV"):
            self.env.pop(name, None)

    def argv(self, *words: str) -> list[str]:
        argv = super().argv(*words)
        if argv[0] == sys.executable:
            argv[0] = everybody_s_python()
        return [*as_user(self.uid), *argv]

    def files(self) -> set[str]:
        """All that lies in their directories, but for what is compiled there in the background."""
        cache = self.home / "cache"
        return {str(path) for path in below(self.root) if cache not in (path, *path.parents)}


@pytest.fixture(scope="module")
def everybody() -> Iterator[tuple[Env, User, User]]:
    """The relay's operator, and two users with an agent each."""
    operator = Env()
    operator.root.chmod(0o711)
    users: list[User] = []
    try:
        operator.start_relay(user="operator")
        for name, uid in (("alice", ALICE), ("bob", BOB)):
            root = operator.root / name
            root.mkdir()
            user = User(root, uid)
            users.append(user)
            invite = invite_for(operator, name)
            done = user.gshell("login", invite)
            assert done.returncode == 0, done.stderr.decode() + operator.logs()
            done = user.gshell("agent", "start", "--slots", "4", cwd="/")
            assert done.returncode == 0, done.stderr.decode() + operator.logs()
            until(user.agents, "the agent")
        yield operator, users[0], users[1]
    finally:
        for user in users:
            with contextlib.suppress(AssertionError):
                for agent in user.agents():
                    user.gshell("agent", "stop", "--force", agent["id"])
            user.gshell("stop", "--force", "-q")
            until(lambda user=user: not user.leftovers(), "their processes to end",
                  show=lambda user=user: str(user.leftovers()))  # fmt: skip
        operator.close()


def invite_for(operator: Env, user: str) -> str:
    done = operator.gshell("relay", "invite", "--state", str(operator.state), "--user", user)
    assert done.returncode == 0, done.stderr.decode()
    found = re.search(r"gshell://\S+#[\w-]+", done.stdout.decode())
    assert found is not None
    return found[0]


@pytest.fixture
def alice(everybody: tuple[Env, User, User]) -> Iterator[User]:
    user = everybody[1]
    yield user
    left = user.gshell("shares", "-q").stdout.decode().split()
    if left:
        assert user.gshell("revoke", *left).returncode == 0
    for one in user.jobs():
        if one["state"] == "ACTIVE":
            user.gshell("kill", "-9", one["id"])


@pytest.fixture
def bob(everybody: tuple[Env, User, User]) -> User:
    return everybody[2]


@pytest.fixture
def stranger(everybody: tuple[Env, User, User], tmp_path: Path) -> Iterator[User]:
    """Somebody without a login."""
    root = everybody[0].root / "stranger"
    root.mkdir()
    user = User(root, BOB)
    yield user
    until(lambda: not user.leftovers(), "their processes to end")
    shutil.rmtree(root)


def cat(user: User) -> tuple[Pty, str]:
    """A program that shows each line typed twice, at a terminal; its job."""
    pty = Pty(user.argv("run", "-t", "--", "cat"), user.env)
    pty.send("here\r")
    pty.wait_for("here\r\nhere\r\n")
    found = [job for job in user.jobs() if job["state"] == "ACTIVE"]
    return pty, str(max(found, key=lambda job: job["started_at"])["id"])


def share(user: User, job: str, *options: str) -> tuple[str, str]:
    """(link, id) of a new share."""
    done = user.gshell("share", job, "--json", *options)
    assert done.returncode == 0, done.stderr.decode()
    made = json.loads(done.stdout)["share"]
    return made["link"], made["id"]


def open_link(user: User, link: str, *options: str) -> Pty:
    return Pty(user.argv("attach", *options, link), user.env)


def test_two_users_see_nothing_of_each_other_s(alice: User, bob: User) -> None:
    typing, job = cat(alice)
    with typing:
        assert bob.jobs() == []
        assert {agent["user"] for agent in bob.agents()} == {"bob"}
        none = str(int(job) + 1000)
        for words in (["attach"], ["logs"], ["cancel"], ["kill", "-s", "INT"], ["share"]):
            theirs, nothing = bob.gshell(*words, job), bob.gshell(*words, none)
            assert theirs.returncode == nothing.returncode != 0
            assert theirs.stderr.replace(job.encode(), b"N") == nothing.stderr.replace(
                none.encode(), b"N"
            )
            assert theirs.stdout == nothing.stdout == b""
        assert stat.S_IMODE((alice.home / "config/client.ticket").stat().st_mode) == 0o600
        typing.send("still\r")
        typing.wait_for("still\r\nstill\r\n")


@pytest.mark.parametrize("who", ["bob", "stranger"])
def test_a_link_shows_the_job_and_what_is_typed_there_goes_nowhere(
    alice: User, who: str, request: pytest.FixtureRequest
) -> None:
    visitor: User = request.getfixturevalue(who)
    typing, job = cat(alice)
    with typing:
        link, share_id = share(alice, job)
        before = visitor.files()
        with open_link(visitor, link) as watching:
            shown = watching.wait_for("detaches]").decode()
            assert re.search(
                rf"\[job {job} cat of alice, looking on, until \d\d:\d\d:\d\d \| ~\. detaches\]",
                shown,
            )
            watching.wait_for("here\r\nhere\r\n")  # the terminal is raw from here on
            watching.send("mischief\r\x03\x04~K")
            typing.send("seen\r")
            typing.wait_for("seen\r\nseen\r\n")
            watching.wait_for("seen\r\nseen\r\n")
            assert b"mischief" not in typing.seen
            (row,) = json.loads(alice.gshell("shares", "--json").stdout)["shares"]
            assert row["id"] == share_id
            assert len(row["users"]) == 1
            assert (row["users"][0] == "bob") == (who == "bob")
            watching.send("\r~.")
            assert watching.wait() == 0
            assert watching.modes() == watching.modes_at_start
        assert visitor.files() == before, "a visit leaves nothing behind"
        assert alice.gshell("revoke", share_id).returncode == 0


def test_with_write_what_a_visitor_types_reaches_the_program(alice: User, stranger: User) -> None:
    typing, job = cat(alice)
    with typing:
        link, _ = share(alice, job, "--write")
        with open_link(stranger, link, "--steal") as other:
            other.wait_for("of alice, you may type, until")
            typing.wait_for("somebody else types")
            other.send("from afar\r")
            typing.wait_for("from afar\r\nfrom afar\r\n")
            other.send("\r~K")
            other.wait_for("only alice can end it")
            other.send("\r~.")
            assert other.wait() == 0
        typing.wait_for("you type now")
        typing.send("mine\r")
        typing.wait_for("mine\r\nmine\r\n")


def test_a_share_that_may_write_can_still_only_look(alice: User, stranger: User) -> None:
    typing, job = cat(alice)
    with typing:
        link, _ = share(alice, job, "--write")
        with open_link(stranger, link, "--read-only", "--steal") as other:
            other.wait_for("looking on")
            other.send("mischief\r")
            typing.send("one\r")
            other.wait_for("one\r\none\r\n")
            assert b"mischief" not in typing.seen


def test_logs_and_jobs_by_a_share(alice: User, bob: User, stranger: User) -> None:
    typing, job = cat(alice)
    with typing:
        link, _ = share(alice, job)
        for user in (bob, stranger):
            done = user.gshell("logs", link)
            assert (done.returncode, done.stdout) == (0, b"here\r\nhere\r\n"), done.stderr
        done = bob.gshell("logs", job)  # redeemed: by its number from now on
        assert (done.returncode, done.stdout) == (0, b"here\r\nhere\r\n"), done.stderr
        assert bob.jobs() == []
        (row,) = json.loads(bob.gshell("jobs", job, "--json").stdout)["jobs"]
        assert (row["name"], row["user"], row["state"]) == ("cat", "alice", "ACTIVE")
        assert row["agents"] == row["hosts"] == []
        assert bob.gshell("cancel", job).returncode == 1
        assert bob.gshell("kill", "-s", "INT", job).returncode == 1
        assert bob.gshell("share", job).returncode != 0


def ended(watching: Pty, said: str) -> None:
    watching.wait_for(f"gshell: {said}")
    assert watching.wait() == 255
    assert watching.seen.count(b"gshell:") == 1, bytes(watching.seen)
    assert watching.modes() == watching.modes_at_start


@pytest.mark.parametrize("who", ["bob", "stranger"])
def test_a_share_expires_and_takes_those_who_look_on_along(
    alice: User, who: str, request: pytest.FixtureRequest
) -> None:
    visitor: User = request.getfixturevalue(who)
    typing, job = cat(alice)
    with typing:
        link, _ = share(alice, job, "--for", "8")
        with open_link(visitor, link) as watching:
            watching.wait_for("looking on")
            ended(watching, "the share has ended")
        again = visitor.gshell("attach", link)
        assert again.returncode == 125
        assert b"not valid" in again.stderr
        assert json.loads(alice.gshell("shares", "--json").stdout)["shares"] == []


@pytest.mark.parametrize("who", ["bob", "stranger"])
def test_a_revoked_share_is_over_at_once(
    alice: User, who: str, request: pytest.FixtureRequest
) -> None:
    visitor: User = request.getfixturevalue(who)
    typing, job = cat(alice)
    with typing:
        link, share_id = share(alice, job, "--write")
        with open_link(visitor, link) as watching:
            watching.wait_for("looking on")
            assert bob_may_not_revoke(visitor, share_id)
            assert alice.gshell("revoke", share_id).returncode == 0
            ended(watching, "the share was revoked")
        assert visitor.gshell("attach", link).returncode == 125
        assert visitor.gshell("logs", link).returncode == 125
        typing.send("alone\r")
        typing.wait_for("alone\r\nalone\r\n")


def bob_may_not_revoke(visitor: User, share_id: str) -> bool:
    done = visitor.gshell("revoke", share_id)
    return done.returncode != 0


def test_a_single_use_link_works_once(alice: User, bob: User, stranger: User) -> None:
    typing, job = cat(alice)
    with typing:
        link, _ = share(alice, job, "--once")
        with open_link(stranger, link) as watching:
            watching.wait_for("looking on")
            for other in (bob, stranger):
                done = other.gshell("attach", link)
                assert done.returncode == 125
                assert b"not valid" in done.stderr
            watching.send("\r~.")
            assert watching.wait() == 0
        assert stranger.gshell("attach", link).returncode == 125
        until(
            lambda: json.loads(alice.gshell("shares", "--json").stdout)["shares"] == [],
            "the share to be gone",
        )


def test_a_share_for_one_user_is_nobody_else_s(alice: User, bob: User, stranger: User) -> None:
    typing, job = cat(alice)
    with typing:
        link, _ = share(alice, job, "--to", "bob")
        assert stranger.gshell("logs", link).returncode == 125
        assert bob.gshell("logs", link).returncode == 0


def test_a_login_and_a_link_are_told_apart(
    everybody: tuple[Env, User, User], alice: User, bob: User
) -> None:
    typing, job = cat(alice)
    with typing:
        link, _ = share(alice, job)
        done = bob.gshell("login", link)
        assert done.returncode == 2
        assert b"gshell attach" in done.stderr
        done = bob.gshell("attach", invite_for(everybody[0], "bob"))
        assert done.returncode == 2
        assert b"gshell login" in done.stderr


def test_with_a_login_elsewhere_a_link_makes_a_guest(
    everybody: tuple[Env, User, User], alice: User, stranger: User, tmp_path: Path
) -> None:
    other = Env()
    other.root.chmod(0o711)
    try:
        other.start_relay(user="operator")
        assert stranger.gshell("login", invite_for(other, "stranger")).returncode == 0
        typing, job = cat(alice)
        with typing:
            link, _ = share(alice, job)
            before = stranger.files()
            done = stranger.gshell("logs", link)
            assert (done.returncode, done.stdout) == (0, b"here\r\nhere\r\n"), done.stderr
            assert stranger.files() == before
            (row,) = json.loads(alice.gshell("shares", "--json").stdout)["shares"]
            assert row["users"][0].startswith("guest-")
    finally:
        other.close()


def test_on_the_private_relay_a_share_says_what_to_do(private: Env) -> None:
    done = private.gshell("share", "1")
    assert done.returncode == 125
    assert b"gshell relay start" in done.stderr


def test_a_pool_s_agent_runs_members_jobs_and_nobody_else_s(
    everybody: tuple[Env, User, User], alice: User, bob: User
) -> None:
    operator = everybody[0]
    for name in ("alice", "bob"):
        words = ("relay", "user", "add", name, "--group", "staff")
        done = operator.gshell(*words, "--state", str(operator.state))
        assert done.returncode == 0, done.stderr.decode()
    done = alice.gshell("agent", "start", "--pool", "staff", cwd="/")
    assert done.returncode == 0, done.stderr.decode()
    pooled = until(
        lambda: [agent for agent in bob.agents() if agent["pool"] == "staff"], "the pool's agent"
    )
    assert [agent["user"] for agent in pooled] == ["alice"]
    assert b"alice" in bob.gshell("agents").stdout
    done = bob.gshell("run", "--", "id", "-u")
    assert done.stdout == b"%d\n" % BOB, done.stderr
    done = bob.gshell("run", "--pool", "staff", "--", "id", "-u")
    assert done.stdout == b"%d\n" % ALICE, done.stderr
    done = bob.gshell("run", "--pool", "staff", "--detach", "--", "echo", "later")
    job = done.stdout.decode().strip()
    done = bob.gshell("logs", "-f", job)
    assert (done.returncode, done.stdout) == (0, b"later\n"), done.stderr
    done = alice.gshell("logs", job)
    assert (done.returncode, done.stdout) == (125, b""), done.stderr
    done = bob.gshell("run", "--pool", "others", "--", "true")
    assert done.returncode == 125
    assert b"there is no pool others of yours" in done.stderr
    done = bob.gshell("agent", "start", "--pool", "others", cwd="/")
    assert done.returncode == 125
    assert b"not in the group others" in done.stderr
