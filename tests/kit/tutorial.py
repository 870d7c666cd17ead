"""The practical session of examples/lu_tutorial at a real OAR that is reached over SSH: the folder
of its script, where alice sits, and what it says there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from gshell.sweep.ledger import Ledger
from kit.labhome import LAB, Installed
from kit.procs import until

EXAMPLE = Path(__file__).parents[2] / "examples" / "lu_tutorial"
NEEDS = ("mpicc", "mpirun", "make", "bzip2")
PATIENCE_S = 120.0
NAMES = ("paravance", "stremi")
HEAD = " LU (C, MPI)"  # begins what LU prints
TIMES = re.compile(r" (Time in|Elapsed) seconds| Mop/s| Compile date")


class Desk:
    """~/execo_tutorial on the front end of an OAR whose nodes belong to two clusters."""

    def __init__(self, cluster, home: Path, nodes: int) -> None:
        """``nodes`` (an even number) of ``cluster``, whose alice has ``home``."""
        self.cluster = cluster
        self.folder = home / "execo_tutorial"
        self.folder.mkdir()
        (home / "testbed.toml").write_text('[sites.lyon]\nask = "oar"\n')
        for name in ("mpi_bench.py", "README.md"):
            shutil.copy(EXAMPLE / name, self.folder)
        shutil.copy(EXAMPLE.parents[1] / "README.md", self.folder / "short.md")
        subprocess.run(
            [EXAMPLE / "npb.sh", self.folder], check=True, timeout=30, capture_output=True
        )
        settings = home / ".openmpi"
        settings.mkdir()
        (settings / "mca-params.conf").write_text(
            "rmaps_base_oversubscribe = 1\nmpi_yield_when_idle = 1\n"
        )
        subprocess.run(["chown", "-R", "2001:2001", self.folder], check=True, timeout=10)
        self.env = {
            **Installed(cluster, home=home).env, "GSHELL_TESTBED": "/home/alice/testbed.toml",
        }  # fmt: skip
        for number in range(nodes):
            name = NAMES[number // (nodes // 2)]
            self.root("oarnodesetting", "-h", f"n{number + 1}", "-p", f"cluster={name}")
        address = cluster.run("fe", "hostname", "-I").stdout.split()[0]
        self.root("sh", "-c", f"echo {address} lyon >> /etc/hosts")

    def root(self, *argv: str) -> None:
        done = self.cluster.run("fe", *argv, user="root")
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """Python in that folder; its output goes to the file "said"."""
        env = [f"{name}={value}" for name, value in self.env.items()]
        line = 'cd ~/execo_tutorial; exec "$@" > said 2>&1'
        return subprocess.Popen(
            [LAB / "hx", self.cluster.name, "fe:alice", "env", *env, "sh", "-c", line, "-",
             "/usr/bin/python3", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    @property
    def said(self) -> str:
        path = self.folder / "said"
        return path.read_text(errors="replace") if path.exists() else ""

    def results(self) -> list[Path]:
        """The result directories, the oldest first."""
        return sorted(self.folder.glob("mpi_bench_*_*"))

    def until(self, good: Callable[[], object], what: str) -> None:
        until(good, what, PATIENCE_S, lambda: f"{self.jobs()}\n{self.said}")

    def jobs(self) -> dict[int, str]:
        """Number -> state of alice's jobs that OAR has not ended."""
        done = self.cluster.run("fe", "oarstat", "-J")
        assert done.returncode == 0, done.stdout + done.stderr
        jobs = json.loads(done.stdout) if done.stdout.strip() else {}
        return {int(number): job["state"] for number, job in jobs.items()}

    def reserved(self, results: Path) -> list[str]:
        """Jobs that were asked for by who worked there, and that nobody has given back."""
        return [one.job for one in Ledger(str(results / "reservations")).open()]

    def kill(self) -> None:
        """The script, at once; nobody in it can do anything about it."""
        self.cluster.run("fe", "pkill", "-KILL", "-f", "python3 mpi_bench.py")

    def nothing_left(self) -> None:
        self.until(lambda: not self.jobs(), "every job ended")


def outputs(results: Path) -> dict[str, list[str]]:
    """Name -> what the last run of that combination has printed, but for what it took: an attempt
    that was cut short is before it in the file."""
    found = {}
    for path in results.glob("*.out"):
        last = path.read_text().rpartition(HEAD)[2]
        found[path.name] = [line for line in last.splitlines() if not TIMES.match(line)]
    return found
