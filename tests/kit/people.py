"""People with operating-system accounts of their own, at one relay. Wants root; knows no test."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from typing import Any

from kit.procs import Env, until

FIRST_UID = 61_000  # nobody's: no account is made, and none is needed


_AGAIN = "import os, sys; sys.version_info >= (3, 11) and os.execv(sys.executable, [sys.executable, '-c', 'print(1)'])"


@functools.cache
def python() -> str:
    """An interpreter that an account of no privileges can run, and run again; empty: none."""
    if os.geteuid() == 0 and shutil.which("setpriv"):
        for path in (
            os.path.realpath(sys.executable),
            "/usr/bin/python3",
            "/usr/local/bin/python3",
        ):
            done = subprocess.run(
                [*become(FIRST_UID), path, "-I", "-S", "-c", _AGAIN],
                capture_output=True, timeout=20, check=False, cwd="/",
            )  # fmt: skip
            if done.stdout == b"1\n" and _entry_is_readable():
                return path
    return ""


def possible() -> bool:
    """Can somebody else be played here, who can run this gshell?"""
    return bool(python())


def _entry() -> str:
    import gshell

    return os.path.join(os.path.dirname(os.path.abspath(gshell.__file__)), "front.py")


def _entry_is_readable() -> bool:
    done = subprocess.run(
        [*become(FIRST_UID), "test", "-r", _entry()], timeout=20, check=False, cwd="/"
    )
    return done.returncode == 0


def become(uid: int) -> list[str]:
    """The start of an argv that runs as somebody else."""
    number = str(uid)
    return ["setpriv", "--reuid", number, "--regid", number, "--clear-groups", "--"]


class Person:
    """An account with a home of its own, enrolled with the Env's relay; ``close`` ends what it
    started."""

    def __init__(self, env: Env, name: str, number: int) -> None:
        self.env, self.name, self.uid = env, name, FIRST_UID + number
        self.home = env.root / name
        self.home.mkdir(mode=0o700)
        os.chmod(env.root, 0o711)  # to the homes in it, and no further
        os.chown(self.home, self.uid, self.uid)
        kept = ("PATH", "LANG", "LC_ALL", "PYTHONWARNINGS", "TERM")
        self.environ = {key: env.env[key] for key in kept if key in env.env}
        self.environ.update(
            HOME=str(self.home), GSHELL_HOME=str(self.home / "g"), USER=name, SHELL="/bin/sh",
        )  # fmt: skip
        self.processes: list[subprocess.Popen[bytes]] = []

    def argv(self, *words: str) -> list[str]:
        return [*become(self.uid), python(), "-I", "-S", _entry(), *words]

    def gshell(
        self, *words: str, background: bool = True, **more: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """One command to its end."""
        more.setdefault("stdin", subprocess.DEVNULL)
        environ = {**self.environ, **({} if background else {"GSHELL_BACKGROUND": "0"})}
        return subprocess.run(
            self.argv(*words), env=environ, cwd=self.home, capture_output=True, timeout=60,
            check=False, **more,
        )  # fmt: skip

    def popen(self, *words: str, background: bool = True, **more: Any) -> subprocess.Popen[bytes]:
        environ = {**self.environ, **({} if background else {"GSHELL_BACKGROUND": "0"})}
        for name in ("stdin", "stdout", "stderr"):
            more.setdefault(name, subprocess.PIPE)
        process = subprocess.Popen(self.argv(*words), env=environ, cwd=self.home, **more)
        self.processes.append(process)
        return process

    def enrol(self) -> None:
        """With an invite of the administrator's."""
        state = str(self.env.state)
        done = self.env.gshell("relay", "user", "add", self.name, "--state", state)
        assert done.returncode == 0, done.stderr.decode() + self.env.logs()
        invite = next(w.strip("'") for w in done.stdout.decode().split() if "gshell://" in w)
        done = self.gshell("login", invite)
        assert done.returncode == 0, done.stderr.decode() + self.env.logs()

    def start_agent(self) -> subprocess.Popen[bytes]:
        """An agent of theirs, in the foreground."""
        with open(self.home / "agent.log", "ab") as log:
            process = self.popen(
                "agent", "start", "--foreground", stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until(lambda: self.gshell("agents", "-q").stdout, "the agent", show=self.env.logs)
        return process

    def close(self) -> None:
        self.gshell("stop", "--force", "-q")
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
            try:
                process.communicate(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
