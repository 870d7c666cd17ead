"""gshell in a user's home in the virtual hosts of tests/site/lab: what is typed there, and what it says."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import shutil
import subprocess
import tempfile

import gshell

CHECKOUT = pathlib.Path(gshell.__file__).parents[1]
LAB = pathlib.Path(__file__).parents[1] / "site" / "lab"
PACKAGES = ("zmq", "cryptography", "cffi", "asyncssh", "rich", "typing_extensions", "_cffi_backend", "pycparser",
            "pyzmq.libs", "pygments", "markdown_it", "mdurl")  # fmt: skip


class Installed:
    """gshell in alice's home, for one host of a lab."""

    def __init__(self, cluster, host="fe", home=None) -> None:
        self.cluster = cluster
        self.host = host
        self.home = home or cluster.home
        top = self.home / "gshell-src"
        shutil.rmtree(top, ignore_errors=True)
        top.mkdir()
        for name in ("gshell", "relay"):
            shutil.copytree(
                CHECKOUT / name, top / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        for name in PACKAGES:
            self._bring(name, top)
        self.env = {
            "PYTHONPATH": "/home/alice/gshell-src", "GSHELL_LOG": "info", "GSHELL_HOME": "/home/alice/gsh",
        }  # fmt: skip

    def _bring(self, name: str, top: pathlib.Path) -> None:
        spec = importlib.util.find_spec(name.partition(".")[0] if name != "pyzmq.libs" else "zmq")
        if spec is None or spec.origin is None:
            return
        origin = pathlib.Path(spec.origin)
        if name == "pyzmq.libs":
            libs = origin.parents[1] / name
            if libs.is_dir():
                shutil.copytree(libs, top / name)
        elif origin.name == "__init__.py":
            shutil.copytree(origin.parent, top / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(origin, top / origin.name)

    def run(self, *words: str, timeout: float = 100, check: bool = True):
        argv = ["/usr/bin/python3", "/home/alice/gshell-src/gshell/front.py", *words]
        done = self.cluster.run(self.host, *argv, env=self.env, timeout=timeout)
        assert not check or done.returncode == 0, (
            f"{words}: {done.returncode}\n{done.stdout}{done.stderr}{self.logs()}"
        )
        return done

    def json(self, verb: str, *words: str):
        return json.loads(self.run(verb, *words, "--json").stdout)[verb]

    def start(self) -> None:
        self.start_relay()
        self.run("login", self.invite())

    def start_relay(self) -> None:
        address = self.cluster.run(self.host, "hostname", "-I").stdout.split()[0]
        self.run(
            "relay",
            "start",
            "--listen",
            f"{address}:4433",
            "--state",
            "/home/alice/relay",
            "--user",
            "alice",
        )

    def invite(self) -> str:
        text = self.run("relay", "invite", "--state", "/home/alice/relay", "--user", "alice").stdout
        return next(word.strip("'") for word in text.split() if "gshell://" in word)

    def stop(self) -> None:
        self.run("stop", "--force", "-q", check=False)
        self.run("relay", "stop", "--state", "/home/alice/relay", check=False)

    def logs(self) -> str:
        home = self.home
        paths = [*home.glob("gsh/state/*.log"), *home.glob("gsh/state/*.json"), *home.glob("gsh/cache/*.out"),
                 *home.glob("relay/*.log")]  # fmt: skip
        return "\n".join(
            f"--- {p}\n{p.read_text(errors='replace')[-2500:]}"
            for p in paths
            if p.name != "audit.log"
        )

    def agents(self, state: str = "waiting"):
        return [a for a in self.json("agents") if a["state"] == state]


class Hosts:
    """Hosts of a lab that are no cluster of the fixtures'."""

    def __init__(self, name):
        self.name = name

    def run(self, host, *argv, user="alice", env=None, timeout=30):
        more = ["env", *(f"{key}={value}" for key, value in env.items())] if env else []
        return subprocess.run(
            [LAB / "hx", self.name, f"{host}:{user}", *more, *argv],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, errors="replace",
        )  # fmt: skip


class Started:
    """A command of gshell's on one of the hosts, in the background."""

    def __init__(self, place, *words):
        self._files = [tempfile.NamedTemporaryFile("w"), tempfile.NamedTemporaryFile("w")]  # noqa: SIM115 - see `end`
        argv = ["/usr/bin/python3", "/home/alice/gshell-src/gshell/front.py", *words]
        env = [f"{name}={value}" for name, value in place.env.items()]
        self._place = place
        self.process = subprocess.Popen(
            [LAB / "hx", place.cluster.name, f"{place.host}:alice", "env", *env, *argv],
            stdin=subprocess.DEVNULL, stdout=self._files[0], stderr=self._files[1],
        )  # fmt: skip

    @property
    def printed(self):
        return pathlib.Path(self._files[0].name).read_text(errors="replace")

    @property
    def said(self):
        return pathlib.Path(self._files[1].name).read_text(errors="replace")

    def wait(self, timeout=60.0):
        return self.process.wait(timeout)

    def succeeds(self, timeout=60.0):
        status = self.wait(timeout)
        assert status == 0, f"{status}\n{self.printed}{self.said}{self._place.logs()}"
        return self.printed

    def interrupt(self):
        """What Ctrl-C does to the newest `gshell run` there."""
        cluster, host = self._place.cluster, self._place.host
        pid = cluster.run(host, "pgrep", "-n", "-u", "alice", "-f", "front.py run").stdout.strip()
        cluster.run(host, "kill", "-INT", pid)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        for file in self._files:
            file.close()
