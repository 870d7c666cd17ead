"""Machines of a small cluster, as network namespaces on one bridge, each with a name of its own.

No sshd anywhere. Needs root and iproute2.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from kit.procs import Env, until

NET = "10.178.9"
HUB = f"{NET}.254"  # where the relay and the client are


def ip(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


def reason_not_to() -> str:
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return "iproute2 and unshare are needed"
    probe = f"gshq{os.getpid()}"
    try:
        ip("netns", "add", probe)
        ip("netns", "del", probe)
    except subprocess.CalledProcessError as error:
        return f"no network namespaces here: {error.stderr.decode().strip()}"
    return ""


class Nodes:
    """``count`` namespaces, and the hub with the bridge between them."""

    def __init__(self, count: int, private: str = "") -> None:
        """``private``: a directory of which each node has one of its own."""
        self._private = private
        self._base = f"gsn{os.getpid()}"
        self.hub = f"{self._base}hub"
        self.names = [f"{self._base}n{number}" for number in range(count)]
        for name in (self.hub, *self.names):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", self.hub, "link", "add", "name", "br0", "type", "bridge")
        ip("-n", self.hub, "addr", "add", f"{HUB}/24", "dev", "br0")
        ip("-n", self.hub, "link", "set", "br0", "up")
        for number, name in enumerate(self.names):
            here = f"v{number}"
            ip("link", "add", here, "netns", self.hub, "type", "veth",
               "peer", "name", "eth0", "netns", name)  # fmt: skip
            ip("-n", self.hub, "link", "set", here, "master", "br0", "up")
            ip("-n", name, "addr", "add", f"{NET}.{number + 1}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")

    def on_hub(self) -> list[str]:
        return ["ip", "netns", "exec", self.hub]

    def on(self, number: int) -> list[str]:
        """What runs a command on a node, which has the name "node" and its number."""
        name = f'hostname node{number} && exec "$@"'
        if self._private:
            name = f"mount -t tmpfs none '{self._private}' && {name}"
        apart = ["unshare", "--uts", *(["--mount"] if self._private else [])]
        return ["ip", "netns", "exec", self.names[number], *apart, "sh", "-c", name, "sh"]

    def close(self) -> None:
        for name in (self.hub, *self.names):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


class NodesEnv(Env):
    """An Env on the hub, with an agent on each node."""

    def __init__(self, count: int, root: Path | None = None, private: bool = False) -> None:
        """``private``: they share neither `self.private` nor the agents' directories."""
        super().__init__(root)
        self.private = self.root / "private"
        self.private.mkdir()
        self._apart = private
        self.nodes = Nodes(count, str(self.private) if private else "")
        self.invite_text = self.start_relay(f"{HUB}:0")
        for number in range(count):
            self.start_on(number)

    def argv(self, *words: str) -> list[str]:
        return [*self.nodes.on_hub(), *super().argv(*words)]

    def start_on(self, number: int, *words: str) -> subprocess.Popen[bytes]:
        """An agent on a node."""
        import gshell

        before = len(self.agents())
        name = f"node{number}"
        invite = self.root / f"{name}.invite"
        invite.write_text(self.invite_text)
        invite.chmod(0o600)
        spool = self.private if self._apart else self.root / f"{name}.spool"
        spool.mkdir(mode=0o700, exist_ok=True)
        main = str(Path(gshell.__file__).parent / "agent" / "__main__.py")
        argv = [sys.executable, "-I", "-S", main, "--invite", f"@{invite}", "--spool", str(spool)]
        with open(self.root / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                [*self.nodes.on(number), *argv, *words],
                env={**self.env, "GSHELL_LOG": "info"}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        until(lambda: len(self.agents()) > before, f"{name} to register", show=self.logs)
        return self.processes[name]

    def close(self) -> None:
        try:
            super().close()
        finally:
            self.nodes.close()
