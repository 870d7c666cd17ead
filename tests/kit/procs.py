"""Real processes for tests: a relay, agents, clients, each with a log of its own. Knows no test.

Everything lives below one directory and is ended by its own process id; ``Env.close()`` complains about what
was left over.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kit.ports import free_port

PATIENCE_S = 20.0  # a loaded machine of two cores; nothing waits this long when all is well


def until(
    condition: Callable[[], Any],
    what: str = "",
    patience_s: float = PATIENCE_S,
    show: Callable[[], str] = str,
) -> Any:
    """Wait for ``condition`` to be true and return its value; else fail with what was seen last."""
    end = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(
                f"waited {patience_s:.0f} s for {what or condition}; last: {value!r}\n{show()}"
            )
        time.sleep(0.01)


def below(folder: Path, name: str = "*") -> list[Path]:
    """All with such a name; what others remove meanwhile harms nothing, as it would `Path.rglob`."""
    return sorted(
        Path(where, one)
        for where, folders, files in os.walk(folder)
        for one in fnmatch.filter([*folders, *files], name)
    )


def alive(pid: int) -> bool:
    """Does it run? A zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


COMPILED_FRONT = "GSHELL_TEST_FRONT"  # a variable: the compiled front that tests are to start


def gshell_argv() -> list[str]:
    """How gshell is started: the installed launcher, or this checkout's entry file."""
    front = os.environ.get(COMPILED_FRONT)
    if front:
        words = _entry()
        return [front, str(len(words)), *words]
    named = os.environ.get("GSHELL_BIN")
    if named:
        return [named]
    launcher = Path(sys.executable).with_name("gshell")
    if launcher.exists():
        return [str(launcher)]
    return _entry()


def _entry() -> list[str]:
    import gshell

    return [sys.executable, "-I", "-S", str(Path(gshell.__file__).with_name("front.py"))]


class Env:
    """A private installation below ``root``: GSHELL_HOME for the client, a relay's state, agents."""

    def __init__(self, root: Path | None = None) -> None:
        self._made = root is None
        self.root = Path(tempfile.mkdtemp(prefix="gsh-")) if root is None else root
        self.home = self.root / "home"
        self.state = self.root / "relay"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.address = ""
        self.user = "tester"  # whose the client and the agents are: the relay's administrator
        foreign = ("GSHELL_", "PYTEST_")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
        self.env["GSHELL_HOME"] = str(self.home)
        self.env["GSHELL_NODE_ADDRESS"] = "127.0.0.1"
        self.env.pop("XDG_RUNTIME_DIR", None)
        self.env["PYTHONWARNINGS"] = ""

    # -- clients

    def argv(self, *words: str) -> list[str]:
        """How a command is started; its environment is `client_env`."""
        return [*gshell_argv(), *words]

    def gshell(
        self, *words: str, timeout_s: float = 60.0, background: bool = True, **more: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Run one command to its end; stdin is empty unless ``input`` or ``stdin`` is given."""
        if "input" not in more and "stdin" not in more:
            more["stdin"] = subprocess.DEVNULL
        env = {**self.env, **more.pop("env", {})}
        if not background:
            env["GSHELL_BACKGROUND"] = "0"
        return subprocess.run(
            self.argv(*words), env=env, capture_output=True, timeout=timeout_s, check=False, **more
        )

    def client_env(self, background: bool = True) -> dict[str, str]:
        return self.env if background else {**self.env, "GSHELL_BACKGROUND": "0"}

    def popen(self, *words: str, background: bool = True, **more: Any) -> subprocess.Popen[bytes]:
        """Start one command; the caller waits for it. Pipes unless told otherwise."""
        env = {**self.env, **more.pop("env", {})}
        if not background:
            env["GSHELL_BACKGROUND"] = "0"
        for name in ("stdin", "stdout", "stderr"):
            more.setdefault(name, subprocess.PIPE)
        return subprocess.Popen(self.argv(*words), env=env, **more)

    def jobs(self) -> list[dict[str, Any]]:
        done = self.gshell("jobs", "-a", "--json")
        assert done.returncode == 0, done.stderr.decode()
        return list(json.loads(done.stdout)["jobs"])

    def agents(self) -> list[dict[str, Any]]:
        done = self.gshell("agents", "--json")
        assert done.returncode == 0, done.stderr.decode()
        return list(json.loads(done.stdout)["agents"])

    # -- a relay of our own, over TCP

    def start_relay(
        self, listen: str = "", user: str = "tester", options: Sequence[str] = ()
    ) -> str:
        """A real relay, enrolled by this Env's client; returns an invite for agents. Whose address
        nobody else takes while it is away."""
        listen = listen or f"127.0.0.1:{free_port()}"
        done = self.gshell(
            "relay", "start", "--listen", listen, "--state", str(self.state), "--user", user,
            *options,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode() + self.logs()
        self.address = self.relay_facts()["listen"]
        self.user = user
        invite = self.invite()
        done = self.gshell("login", invite)
        assert done.returncode == 0, done.stderr.decode() + self.logs()
        return self.invite()

    def invite(self, uses: int = 100) -> str:
        words = ["--user", self.user, "--uses", str(uses)]
        done = self.gshell("relay", "invite", "--state", str(self.state), *words)
        assert done.returncode == 0, done.stderr.decode() + self.logs()
        words = done.stdout.decode().split()
        return next(word.strip("'") for word in words if "gshell://" in word)

    def relay_facts(self) -> dict[str, Any]:
        return dict(json.loads((self.state / "relay.json").read_text()))

    def start_agent(
        self, name: str, invite: str, *words: str, wait: bool = True
    ) -> subprocess.Popen[bytes]:
        """An agent process, ended with the Env."""
        before = len(self.agents()) if wait else 0
        path = self.root / f"{name}.invite"
        path.write_text(invite)
        path.chmod(0o600)
        import gshell

        main = Path(gshell.__file__).parent / "agent" / "__main__.py"
        spool = self.root / f"{name}.spool"
        spool.mkdir(mode=0o700, exist_ok=True)
        with open(self.root / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    str(main),
                    "--invite",
                    f"@{path}",
                    "--spool",
                    str(spool),
                    *words,
                ],
                env={**self.env, "GSHELL_LOG": "info"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes[name] = process
        if wait:
            until(lambda: len(self.agents()) > before, f"agent {name} to register", show=self.logs)
        return process

    def logs(self) -> str:
        """The ends of all logs, for a failure's message."""
        paths = [path for path in below(self.root) if path.suffix in (".log", ".out")]
        return "\n".join(
            f"--- {path.relative_to(self.root)}\n{path.read_text(errors='replace')[-3000:]}"
            for path in paths
            if path.is_file()
        )

    # -- the end

    def close(self) -> None:
        """End everything that was started, by process id."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.gshell("stop", "--force", "-q")
        if self.state.exists():
            self.gshell("relay", "stop", "--state", str(self.state))
        until(
            lambda: not self.leftovers(),
            "our processes to end",
            show=lambda: f"{self.leftovers()}\n{self.logs()}",
        )
        if self._made:
            shutil.rmtree(self.root, ignore_errors=True)

    def leftovers(self) -> list[str]:
        """Command lines of processes that still have our GSHELL_HOME in their environment."""
        found = []
        mark = f"GSHELL_HOME={self.home}".encode()
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) != os.getpid():
                try:
                    environ = Path(f"/proc/{name}/environ").read_bytes()
                    if mark in environ.split(b"\0"):
                        found.append(
                            Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                        )
                except OSError:
                    continue
        return found


@contextlib.contextmanager
def running(words: Sequence[str] = ()) -> Iterator[Env]:
    """An Env that is closed whatever happens."""
    env = Env()
    try:
        yield env
    finally:
        env.close()


@contextlib.contextmanager
def two_agents() -> Iterator[Env]:
    """That, with a relay, and agents called ``first`` and ``second``."""
    with running() as env:
        invite = env.start_relay()
        for name in ("first", "second"):
            env.start_agent(name, invite)
        yield env
