"""Installations that tests share: the private one, and a real relay with two agents.

Starting one costs a second; each test looks afterwards that nothing of its own is left running there.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gshell.model.ticket import Ticket
from gshell.net.relaylink import ask
from kit.procs import COMPILED_FRONT, Env, until

RC = "PS1='ready$ '; PS2='more> '; unset PROMPT_COMMAND; bind 'set enable-bracketed-paste off'\n"


def furnish(env: Env) -> Env:
    """A home directory that is the same everywhere: a shell with a known prompt, a plain vim."""
    home = env.root / "user"
    home.mkdir()
    (home / ".bashrc").write_text(RC)
    (home / ".bash_profile").write_text(RC)
    (home / ".vimrc").write_text(
        "set nocompatible noswapfile nomodeline shortmess+=I laststatus=2\n"
    )
    env.env.update(HOME=str(home), SHELL="/bin/bash", TERM="xterm-256color", LC_ALL="C.UTF-8")
    for name in (
        "TMUX",
        "TMUX_PANE",
        "SSH_TTY",
        "SSH_CONNECTION",
        "PROMPT_COMMAND",
        "BASH_ENV",
        "ENV",
    ):
        env.env.pop(name, None)
    return env


@pytest.fixture(scope="session")
def private_env() -> Iterator[Env]:
    env = furnish(Env())
    try:
        done = env.gshell("run", "true")
        assert done.returncode == 0, done.stderr.decode() + env.logs()
        yield env
    finally:
        env.close()


@pytest.fixture(scope="session")
def relay_env() -> Iterator[Env]:
    env = furnish(Env())
    try:
        invite = env.start_relay()
        env.start_agent("one", invite)
        env.start_agent("two", invite)
        done = env.gshell("run", "true")
        assert done.returncode == 0, done.stderr.decode() + env.logs()
        yield env
    finally:
        env.close()


def nothing_left(env: Env) -> None:
    """No job of the test lives on. If one does, it is this test's failure, and not the next one's."""
    try:
        until(
            lambda: not _live(env),
            "the test's jobs to end",
            show=lambda: f"{_live(env)}\n{env.logs()}",
        )
    except AssertionError:
        env.gshell("cancel", *(job.split()[0] for job in _live(env)))
        with contextlib.suppress(AssertionError):
            until(lambda: not _live(env))
        raise


def _live(env: Env) -> list[str]:
    """Asked from here: a process for each of hundreds of tests would take minutes."""
    for path in ("config/client.ticket", "state/private/client.ticket"):
        if (env.home / path).exists():
            ticket = Ticket.load((env.home / path).read_text(), path)
            jobs = ask(ticket, {"m": "jobs", "all": False})["jobs"]
            return [f"{job['id']} {job['name']}" for job in jobs]
    return []


@pytest.fixture
def private(private_env: Env) -> Iterator[Env]:
    """The private relay and agent, started already."""
    yield private_env
    nothing_left(private_env)


@pytest.fixture
def relay(relay_env: Env) -> Iterator[Env]:
    """A relay on a TCP port with two agents, and a client that is enrolled there."""
    yield relay_env
    nothing_left(relay_env)


@pytest.fixture(params=["private", "relay"])
def env(request: pytest.FixtureRequest) -> Iterator[Env]:
    """Both of them, for what the way between might change."""
    found: Env = request.getfixturevalue(f"{request.param}_env")
    yield found
    nothing_left(found)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module whose tests matter to each kind of front process has ``WAYS = ALL_WAYS``."""
    if "background" in metafunc.fixturenames:
        ways = getattr(metafunc.module, "WAYS", ["background", "direct"])
        metafunc.parametrize("background", ways, indirect=True)


@pytest.fixture
def background(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Through the background process (its front in Python or compiled), or all in one process."""
    if request.param == "compiled":
        monkeypatch.setenv(COMPILED_FRONT, request.getfixturevalue("compiled_front"))
    return bool(request.param != "direct")


@pytest.fixture(scope="session")
def compiled_front(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The front process that is compiled where there is a compiler."""
    from gshell.client import stub

    if not stub.compilers():
        pytest.skip("no C compiler")
    path = str(tmp_path_factory.mktemp("front") / stub.NAME)
    flags = ["-Wall", "-Wextra", "-Werror", "-o", path, stub.source()]
    subprocess.run([*stub.compilers()[-1], *flags], check=True, timeout=60)
    return path


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Env]:
    """An installation of the test's own, in which nothing was started yet."""
    env = furnish(Env())
    try:
        yield env
    finally:
        env.close()


@pytest.fixture(scope="module")
def node_env() -> Iterator[Env]:
    """A relay and one agent that has as many slots as there are processors, and no more."""
    env = furnish(Env())
    try:
        env.start_agent("one", env.start_relay(), "--slots", str(len(os.sched_getaffinity(0))))
        done = env.gshell("run", "true")
        assert done.returncode == 0, done.stderr.decode() + env.logs()
        yield env
    finally:
        env.close()


@pytest.fixture
def node(node_env: Env) -> Iterator[Env]:
    """That one."""
    yield node_env
    nothing_left(node_env)
