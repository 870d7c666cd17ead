"""Relay, agent and client on three networks; the agent can only dial out.

The agent is one file, started where nothing is installed. Needs root and iproute2.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault.lab import FULL, Console

from kit.nodes import ip, reason_not_to
from kit.procs import Env, until

RELAY = "10.177.0.1"  # inside the relay's namespace only
SIDES = {"agent": "10.177.1", "client": "10.177.2"}


class Spaces:
    """Three namespaces; ``relay`` has a line to each of the others and forwards nothing."""

    def __init__(self) -> None:
        self.names = {name: f"gsh{os.getpid()}{name}" for name in ("relay", *SIDES)}
        for name in self.names.values():
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        relay = self.names["relay"]
        ip("-n", relay, "addr", "add", f"{RELAY}/32", "dev", "lo")
        for number, (side, net) in enumerate(SIDES.items()):
            here, there = f"gv{os.getpid()}{number}r", f"gv{os.getpid()}{number}s"
            ip(
                "link",
                "add",
                here,
                "netns",
                relay,
                "type",
                "veth",
                "peer",
                "name",
                there,
                "netns",
                self.names[side],
            )
            for space, device, last in ((relay, here, 1), (self.names[side], there, 2)):
                ip("-n", space, "addr", "add", f"{net}.{last}/24", "dev", device)
                ip("-n", space, "link", "set", device, "up")
            ip("-n", self.names[side], "route", "add", f"{RELAY}/32", "via", f"{net}.1")

    def enter(self, name: str) -> list[str]:
        return ["ip", "netns", "exec", self.names[name]]

    def close(self) -> None:
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


class NetEnv(Env):
    """An Env whose relay commands run in one namespace and whose client is in another."""

    def __init__(self, spaces: Spaces) -> None:
        super().__init__()
        self.spaces = spaces

    def argv(self, *words: str) -> list[str]:
        return [
            *self.spaces.enter("relay" if words[0] == "relay" else "client"),
            *super().argv(*words),
        ]

    def start_pyz(self, invite: str) -> subprocess.Popen[bytes]:
        """The packed agent in a bare directory: the system's Python, next to no environment."""
        bare = self.root / "bare"
        bare.mkdir()
        done = self.gshell("agent", "pack", str(bare / "agent.pyz"))
        assert done.returncode == 0, done.stderr
        (bare / "invite").write_text(invite)
        (bare / "invite").chmod(0o600)
        with open(self.root / "agent.log", "ab") as log:
            process = subprocess.Popen(
                [*self.spaces.enter("agent"), shutil.which("python3", path="/usr/bin:/bin"),
                 "-I", "-S", "agent.pyz", "--invite", "@invite"],
                cwd=bare,
                env={"PATH": "/usr/bin:/bin", "GSHELL_HOME": str(self.home), "GSHELL_LOG": "info"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self.processes["agent"] = process
        until(lambda: self.agents(), "the agent to register", show=self.logs)
        return process


@pytest.fixture
def env() -> Iterator[NetEnv]:
    why = reason_not_to()
    if why:
        pytest.skip(why)
    spaces = Spaces()
    try:
        env = NetEnv(spaces)
        try:
            invite = env.start_relay(f"{RELAY}:0")
            env.start_pyz(invite)
            yield env
        finally:
            env.close()
    finally:
        spaces.close()


def listeners(pid: int) -> list[str]:
    """Sockets that wait for connections in a process's network namespace."""
    lines = []
    for name in ("tcp", "tcp6"):
        path = Path(f"/proc/{pid}/net/{name}")
        if path.exists():
            lines += [line for line in path.read_text().splitlines()[1:] if line.split()[3] == "0A"]
    return lines


@pytest.mark.parametrize("background", [False, True], ids=["direct", "background"])
def test_run_sh_and_attach_across_three_networks(env: NetEnv, background: bool) -> None:
    assert listeners(env.processes["agent"].pid) == []
    dial = "import socket; s = socket.socket(); s.settimeout(2); print(s.connect_ex((%r, 22)))"
    to_agent = subprocess.run(
        [*env.spaces.enter("client"), "python3", "-c", dial % f"{SIDES['agent']}.2"],
        capture_output=True, text=True, check=True, timeout=20,
    )  # fmt: skip
    assert int(to_agent.stdout) in (101, 110, 111, 113, 11)  # unreachable, however that is said
    for _ in range(3):
        done = env.gshell(
            "run",
            "--",
            "sh",
            "-c",
            "cat; printf err >&2; exit 7",
            input=b"in",
            background=background,
        )
        assert (done.returncode, done.stdout, done.stderr) == (7, b"in", b"err")
    with Console(env, "sh", background=background) as console:
        until(lambda: console.is_raw, "the terminal to be raw")
        console.type(b"echo $((6*7)) network $(ls /sys/class/net | wc -l); mark=here\r")
        console.until(b"42 network")
        (job,) = (job for job in env.jobs() if job["state"] == "ACTIVE")
        console.type(b"\r")
        console.type(b"~.")
        assert console.wait() == 0, bytes(console.seen)
        assert b"detached" in console.seen
    with Console(env, "attach", job["id"], background=background) as console:
        console.until(b"42 network")
        console.type(b"echo still $mark; exit 3\r")
        console.until(b"still here")
        assert console.wait() == 3


@pytest.mark.skipif(not FULL, reason="takes a minute: GSHELL_FAULT_FULL=1")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("side", SIDES)
def test_a_network_that_swallows_everything_is_noticed_by_all_sides(env: NetEnv, side: str) -> None:
    door = int(env.relay_facts()["door_pid"])

    def connections() -> int:
        return sum(
            os.readlink(f"/proc/{door}/fd/{fd}").startswith("socket:")
            for fd in os.listdir(f"/proc/{door}/fd")
        )

    script = "while echo still here; do sleep 0.2; done"  # so there are bytes on the way
    client = env.popen("run", "--", "sh", "-c", script, background=False)
    idle = env.popen("run", "--", "cat", background=False)
    try:
        assert client.stdout.readline() == b"still here\n"
        until(lambda: len([j for j in env.jobs() if j["state"] == "ACTIVE"]) == 2, "two jobs")
        before = connections()
        device = f"gv{os.getpid()}{list(SIDES).index(side)}"
        lost = subprocess.run(  # the other end keeps its carrier: nobody is told anything
            [*env.spaces.enter(side), "tc", "qdisc", "add", "dev", f"{device}s", "root", "netem",
             "loss", "100%"], check=False, capture_output=True, timeout=20,
        )  # fmt: skip
        if lost.returncode:
            pytest.skip(f"no netem here: {lost.stderr.decode().strip()}")
        until(lambda: connections() <= before - 4, "the door to notice", 50.0, show=env.logs)
        subprocess.run(
            [*env.spaces.enter(side), "tc", "qdisc", "del", "dev", f"{device}s", "root"],
            check=True, capture_output=True, timeout=20,
        )  # fmt: skip
        idle.stdin.write(b"back")
        idle.stdin.close()
        assert idle.stdout.read() == b"back"
        assert idle.wait(20) == 0
    finally:
        for process in (client, idle):
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                pipe.close()
