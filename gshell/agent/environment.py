"""What a program is started with: argv, environment, working directory. Knows no processes.

A client on this very machine (the embedded default, a login node) gets its own environment and
directory, as a shell would; one from elsewhere gets the agent's, plus what belongs to its terminal
and what it named.
"""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from gshell.agent import mpistart, services
from gshell.errors import SpawnFailed
from gshell.net.machine import machine_id

if TYPE_CHECKING:
    from gshell.agent.session import Session
from gshell.agent.spec import StepSpec

OF_THE_TERMINAL = ("TERM", "COLORTERM", "LANG", "LANGUAGE", "TZ", "NO_COLOR", "FORCE_COLOR")
# Of the client's own session: wrong or harmful inside another one.
NOT_FORWARDED = frozenset(
    (
        "SHLVL", "OLDPWD", "_", "TMUX", "TMUX_PANE", "STY", "WINDOW", "WINDOWID", "TERM_PROGRAM",
        "TERM_PROGRAM_VERSION", "SSH_CLIENT", "SSH_CONNECTION", "SSH_TTY", "SSH_AUTH_SOCK", "LINES",
        "COLUMNS", "DISPLAY", "XAUTHORITY", "GPG_TTY",
    )
)  # fmt: skip


def of_rank(spec: StepSpec, session: Session, rank: int) -> tuple[dict[str, str], str | None]:
    """(environment, working directory) of a rank.

    Raises:
        SpawnFailed: the rank that it is to be beside is not here.
    """
    here = spec.where == machine_id()
    if here:
        env = {name: value for name, value in spec.env.items() if name not in NOT_FORWARDED}
    else:
        env = {name: value for name, value in os.environ.items() if not name.startswith("GSHELL_")}
        for name, value in spec.env.items():
            if name in OF_THE_TERMINAL or name.startswith("LC_"):
                env[name] = value
    env.update(spec.extra_env)
    for name, changed in session.changes.items():
        if changed is None:
            env.pop(name, None)
        else:
            env[name] = changed
    if spec.pty and not env.get("TERM"):
        env["TERM"] = "xterm-256color"
    elif not spec.pty and not here:
        env.pop("TERM", None)
    env["GSHELL_JOB"] = session.job
    env["GSHELL_RANK"] = str(spec.first + rank)
    env["GSHELL_SIZE"] = str(spec.size)
    if spec.service == services.ADOPT:
        env["GSHELL_MEMBER"] = str(session.index)
    elif not spec.pty and not spec.service:
        mpistart.offer(env, on_path=spec.job is not None)
    cwd = spec.cwd
    workdir = session.workdir
    if workdir is not None:
        env["GSHELL_WORKDIR"] = workdir
        if not session.beside:
            cwd = os.path.join(workdir, cwd) if cwd is not None else workdir
    neighbour = session.neighbour()
    pid = neighbour.pid(spec.beside_rank) if neighbour is not None else 0
    if spec.beside_rank is not None:
        if not pid:
            raise SpawnFailed(f"rank {spec.beside_rank} does not run (any more)")
        env = {**_of_process(pid), **_of_terminal(env)}
        env["GSHELL_BESIDE_RANK"] = str(spec.beside_rank)
    if pid:
        env["GSHELL_BESIDE_PID"] = str(pid)
        if cwd is None:
            try:
                cwd = os.readlink(f"/proc/{pid}/cwd")
            except OSError:
                pass  # it has just ended
    if cwd is None and spec.home is not None and (here or os.path.isdir(spec.home)):
        cwd = spec.home
    if cwd is None:
        cwd = env.get("HOME") or os.path.expanduser("~")
        if not os.path.isdir(cwd):
            cwd = "/"
    return env, cwd


def _of_process(pid: int) -> dict[str, str]:
    """What a process was started with; empty if it has just ended."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            words = file.read(1 << 20).split(b"\0")
    except OSError:
        return {}
    pairs = (os.fsdecode(word).partition("=") for word in words if b"=" in word)
    # Of a launcher's sockets there is one for each rank: a second user would confuse it.
    return {name: value for name, _, value in pairs if name and not name.startswith("PMI")}


def _of_terminal(env: dict[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in env.items()
        if name in OF_THE_TERMINAL or name.startswith("LC_")
    }


def argv_of(spec: StepSpec, env: dict[str, str]) -> list[str]:
    """The words to execute; a request for "a shell" becomes the user's own."""
    if spec.service:
        return services.argv(spec.service, spec.argv[1:])
    if not spec.shell:
        return services.found(spec.argv, env.get("PATH"))
    return [user_shell(env), *spec.argv[1:]]


def user_shell(env: dict[str, str]) -> str:
    shell = env.get("SHELL") or ""
    if not os.access(shell, os.X_OK):
        try:
            shell = pwd.getpwuid(os.getuid()).pw_shell
        except KeyError:
            shell = ""
    return shell if os.access(shell, os.X_OK) else "/bin/sh"
