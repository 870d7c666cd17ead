"""A private gshell for the benchmark: relay, agents and clients of its own, found by their pids.

Everything the benchmark knows about gshell's command line and files stands in this module; the
rows only ask for argvs, environments and pids. The relay listens on a loopback port, so what is
measured takes the way a distant user's bytes take (TCP, TLS, the door), not the embedded default's
unix sockets.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Failed, brief, run_checked, tail
from bench.processes import descendants, environment_of
from kit.ports import free_port
from kit.sshd import HOST

SLOTS = 512  # of the first agent: more than any row holds at once
AT_ONCE = 5  # agents started together
START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 10.0
SESSION_LOG_RING_BYTES = 1 << 20  # what one session's log may keep in the agent's memory
INVITE = re.compile(r"(?:login|--invite)[ =]+(\S+)")  # as `relay start` shows how it is used


def find_command(given: str | None = None) -> list[str]:
    """gshell's argv: as given; else the launcher here or on PATH; empty: see `installed`."""
    if given:
        return shlex.split(given)
    beside = Path(sys.executable).parent / "gshell"
    found = str(beside) if beside.exists() else shutil.which("gshell")
    return [found] if found else []


def installed(prefix: Path) -> list[str]:
    """The argv of this checkout's launcher, as an editable installation below ``prefix`` has it:
    users start that, not the module with all of ``site``."""
    python = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = prefix / "lib" / python / "site-packages"
    packages.mkdir(parents=True)
    for found in Path(sysconfig.get_path("purelib")).iterdir():
        if "gshell" not in found.name:
            (packages / found.name).symlink_to(found)
    (packages / "_editable_gshell.pth").write_text(f"{repository()}\n")
    (prefix / "bin").mkdir()
    (prefix / "bin" / python).symlink_to(os.path.realpath(sys.executable))
    launcher = prefix / "bin" / "gshell"
    shutil.copy(repository() / "gshell" / "data" / "launcher.sh", launcher)
    launcher.chmod(0o755)
    return [str(launcher)]


@dataclass(frozen=True)
class Client:
    """How one user calls gshell: the command, and the environment that makes it this user's."""

    command: list[str]
    env: dict[str, str]

    def run(self, *argv: str, options: Iterable[str] = ()) -> list[str]:
        return [*self.command, "run", *options, "--", *argv]

    def without_background(self) -> Client:
        return Client(self.command, {**self.env, "GSHELL_BACKGROUND": "0"})


class Installation:
    """A relay, one agent with many slots, and a client that has logged in.

    Owns every process it started, directly or not, until ``stop``: they are told from all others
    by GSHELL_HOME or the relay's state directory lying under ``directory``.
    """

    def __init__(self, command: list[str], directory: Path, env: Mapping[str, str]) -> None:
        self.command = command
        self.directory = directory
        self.state = directory / "relay"
        self.port = free_port()
        self._env = {name: value for name, value in env.items() if not name.startswith("GSHELL_")}
        self._invite = ""
        self._agents = 0
        self._started = False
        self._homes: list[Path] = []

    # -- clients -----------------------------------------------------------------------------

    def start(self) -> None:
        """Raises Failed with what was said, if any step fails."""
        self.directory.mkdir(parents=True)
        listen = ("relay", "start", "--listen", f"{HOST}:{self.port}", "--state", str(self.state))
        said = self._gshell(self._home("operator"), *listen)
        found = INVITE.search(said)
        words = said.split()
        if not found and not words:
            raise Failed("gshell relay start: printed no invite")
        more = ("relay", "invite", "--state", str(self.state), "--uses", "200")
        found = INVITE.search(self._gshell(self._home("operator"), *more)) or found
        self._invite = found.group(1).strip("'\"") if found else words[-1]
        self.add_agents(1, SLOTS)
        self.client = self.new_client("client")
        self._started = True

    def new_client(self, name: str, relay_port: int | None = None) -> Client:
        """A client of its own that has logged in; through ``relay_port`` (a proxy's) if given."""
        env = self._home(name)
        self._gshell(env, "login", self._invite)
        if relay_port is not None:
            env["GSHELL_RELAY"] = f"{HOST}:{relay_port}"
        return Client(self.command, env)

    # -- agents --------------------------------------------------------------------------------

    def add_agents(self, count: int, slots: int) -> None:
        start = ("agent", "start", "--invite", self._invite, "--slots", str(slots))
        homes = [f"agent{self._agents + number}" for number in range(1, count + 1)]
        self._agents += count
        calls = [_Call(self.command, self._home(home), start) for home in homes]
        for call in calls:
            call.finish()

    def ensure_agents(self, count: int) -> None:
        """At least ``count`` agents, all of them registered at the relay."""
        while self._agents < count:
            self.add_agents(min(AT_ONCE, count - self._agents), slots=1)
        self._await(lambda: self.registered() >= count, f"{count} agents registered")

    def registered(self) -> int:
        out = self._gshell(self.client.env, "agents", "--json")
        agents = json.loads(out)
        return len(agents["agents"] if isinstance(agents, dict) else agents)

    def agent_ids(self) -> list[str]:
        agents = json.loads(self._gshell(self.client.env, "agents", "--json"))
        return [str(agent["id"]) for agent in agents["agents"]]

    # -- processes -----------------------------------------------------------------------------

    def door_pid(self) -> int:
        return self._relay_file()["door_pid"]

    def relay_pids(self) -> list[int]:
        """Door and broker."""
        return sorted(pid for name, pid in self._relay_file().items() if name.endswith("_pid"))

    def agent_pids(self, number: int = 1) -> list[int]:
        """The agent's own processes: keeper and agent, not what it runs for others."""
        return self._pids_of(self.directory / f"agent{number}")

    def _relay_file(self) -> dict[str, int]:
        path = self.state / "relay.json"
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError) as exc:
            raise Failed(f"{path.name}: {exc}") from None
        return {name: pid for name, pid in content.items() if isinstance(pid, int)}

    def _pids_of(self, home: Path) -> list[int]:
        living = (found for found in descendants() if found.state != "Z")
        return [p.pid for p in living if environment_of(p.pid).get("GSHELL_HOME") == str(home)]

    # -- the end -------------------------------------------------------------------------------

    def stop(self) -> None:
        """End clients' background processes, agents and relay, as far as they go when asked."""
        if self._started:
            with contextlib.suppress(Failed):
                self._stop_agents()
        calls: list[tuple[dict[str, str], tuple[str, ...]]] = [
            (self._home_env(home), ("stop",)) for home in self._homes
        ]
        calls.append((self._env, ("relay", "stop", "--state", str(self.state))))
        for env, argv in calls:
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run(
                    [*self.command, *argv], env=env, capture_output=True, timeout=STOP_DEADLINE_S,
                    stdin=subprocess.DEVNULL,
                )  # fmt: skip

    def _stop_agents(self) -> None:
        """They outlive the relay otherwise, and wait for it."""
        homes = [self.directory / f"agent{number + 1}" for number in range(self._agents)]
        self._gshell(self.client.env, "agent", "stop", *self.agent_ids())
        self._await(lambda: not any(map(self._pids_of, homes)), "all agents ended")

    # -- helpers -------------------------------------------------------------------------------

    def _home(self, name: str) -> dict[str, str]:
        home = self.directory / name
        home.mkdir(mode=0o700, exist_ok=True)
        self._homes.append(home)
        return self._home_env(home)

    def _home_env(self, home: Path) -> dict[str, str]:
        return {**self._env, "GSHELL_HOME": str(home)}

    def _gshell(self, env: Mapping[str, str], *argv: str) -> str:
        return _Call(self.command, env, argv).finish()

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        while not condition():
            if time.monotonic() > deadline:
                raise Failed(f"gshell: not {what} within {START_DEADLINE_S:.0f} s")
            time.sleep(0.1)


class _Call:
    """One of gshell's own commands, unmeasured. Output goes to files: a daemon may keep it."""

    def __init__(self, command: list[str], env: Mapping[str, str], argv: tuple[str, ...]) -> None:
        self._name = f"gshell {brief(argv)}"
        self._out = tempfile.TemporaryFile()  # noqa: SIM115 - closed in finish()
        self._err = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [*command, *argv], env=env, stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._err
        )

    def finish(self) -> str:
        """What it printed. Raises Failed unless it ended well, and in time."""
        with self._out, self._err:
            try:
                status = self._process.wait(START_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                raise Failed(f"{self._name}: no end after {START_DEADLINE_S:.0f} s") from None
            self._out.seek(0)
            self._err.seek(0)
            said = self._out.read()
            if status != 0:
                raise Failed(f"{self._name}: status {status}: {tail(self._err.read() or said)}")
        return said.decode(errors="replace")


def prove(client: Client) -> None:
    """Raises Failed unless streams stay apart and the status comes back."""
    script = "printf out; printf err >&2; exit 7"
    run_checked(client.run("sh", "-c", script), client.env, stdout=b"out", stderr=b"err", status=7)


def repository() -> Path:
    return Path(os.path.abspath(__file__)).parents[2]
