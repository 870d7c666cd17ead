"""The practical session of examples/lu_tutorial at a real OAR that is reached over SSH: its lines,
and its script, which is killed and goes on."""

import json
import pathlib
import shutil
import subprocess
import time

import pytest

from kit.labhome import LAB, Installed

pytestmark = [pytest.mark.timeout(150), pytest.mark.slow]  # whole OAR jobs

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "lu_tutorial"
SLOW_S = 90
COMBS = {("paravance", 2, "S"), ("stremi", 2, "S")}


class Desk:
    """~/execo_tutorial on the front end, where alice sits."""

    def __init__(self, cluster):
        self.cluster = cluster
        installed = Installed(cluster)
        self.folder = cluster.home / "execo_tutorial"
        self.folder.mkdir()
        bed = cluster.home / "testbed.toml"
        bed.write_text('[sites.lyon]\nask = "oar"\n')
        for name in ("mpi_bench.py", "README.md"):
            shutil.copy(EXAMPLE / name, self.folder)
        subprocess.run([EXAMPLE / "npb.sh", self.folder], check=True, timeout=30)
        settings = cluster.home / ".openmpi"
        settings.mkdir()
        (settings / "mca-params.conf").write_text(
            "rmaps_base_oversubscribe = 1\nmpi_yield_when_idle = 1\n"
        )
        subprocess.run(["chown", "-R", "2001:2001", self.folder], check=True, timeout=10)
        self.env = {
            **installed.env, "GSHELL_TESTBED": "/home/alice/testbed.toml", "N_NODES": "2",
            "CLUSTERS": "paravance stremi", "SIZES": "S",
        }  # fmt: skip
        for number, name in enumerate(("paravance", "paravance", "stremi", "stremi"), 1):
            self.root("oarnodesetting", "-h", f"n{number}", "-p", f"cluster={name}")
        address = cluster.run("fe", "hostname", "-I").stdout.split()[0]
        self.root("sh", "-c", f"echo {address} lyon >> /etc/hosts")

    def root(self, *argv):
        done = self.cluster.run("fe", *argv, user="root")
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"

    def begin(self, *words):
        """Python in that folder; its output goes to the file "said"."""
        env = [f"{name}={value}" for name, value in self.env.items()]
        line = 'cd ~/execo_tutorial; exec "$@" > said 2>&1'
        return subprocess.Popen(
            [LAB / "hx", self.cluster.name, "fe:alice", "env", *env, "sh", "-c", line, "-",
             "/usr/bin/python3", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    @property
    def said(self):
        path = self.folder / "said"
        return path.read_text(errors="replace") if path.exists() else ""

    def until(self, good, what):
        deadline = time.monotonic() + SLOW_S
        while not good():
            assert time.monotonic() < deadline, f"not {what}:\n{self.said}"
            time.sleep(0.1)

    def jobs(self):
        """Number -> state of alice's jobs that OAR has not ended."""
        text = self.cluster.run("fe", "oarstat", "-J").stdout
        jobs = json.loads(text) if text.strip() else {}
        return {int(number): job["state"] for number, job in jobs.items()}

    def kill(self):
        self.cluster.run("fe", "pkill", "-KILL", "-f", "mpi_bench.py")

    def nothing_left(self):
        self.until(lambda: not self.jobs(), "every job ended")


@pytest.fixture(scope="module")
def desk(bring):
    missing = [one for one in ("mpicc", "mpirun", "make", "bzip2") if not shutil.which(one)]
    if missing:
        pytest.skip(f"not installed: {' '.join(missing)}")
    with bring("oar", "-f", "-n", "4", "-c", "2") as cluster:
        yield Desk(cluster)


def test_the_session_s_lines_print_what_they_should(desk):
    flags = [word for flag in ("ELLIPSIS", "NORMALIZE_WHITESPACE", "FAIL_FAST")
             for word in ("-o", flag)]  # fmt: skip
    lines = desk.begin("-m", "doctest", *flags, "README.md")
    assert lines.wait(SLOW_S) == 0, desk.said
    desk.nothing_left()


def test_the_session_s_script_that_is_killed_goes_on_to_the_same_end(desk):
    first = desk.begin("mpi_bench.py")
    desk.until(lambda: "comb ok" in desk.said, "one combination done")
    seen = max(desk.jobs())  # OAR calls it running for some seconds more
    desk.until(lambda: desk.jobs().get(seen + 1) == "Running", "in its job")
    desk.kill()
    first.wait(SLOW_S)
    before = desk.said
    (results,) = desk.folder.glob("mpi_bench_*")

    second = desk.begin("mpi_bench.py", "-c", results.name)
    assert second.wait(SLOW_S) == 0, desk.said
    if before.count("comb ok") < len(COMBS):
        assert f"ending oar job {seen + 1} lyon: left by an earlier run" in desk.said
        assert "combinations 1\n" in desk.said
    desk.nothing_left()
    assert before.count("comb ok") + desk.said.count("comb ok") == len(COMBS)
    outputs = {path.name: path.read_text() for path in results.glob("*.out")}
    assert set(outputs) == {
        f"cluster-{cluster}-n_core-{cores}-size-{size.lower()}.out"
        for cluster, cores, size in COMBS
    }
    for name, text in outputs.items():
        assert text.count("SUCCESSFUL") >= 1, name
    stats = desk.cluster.run(
        "fe", "/usr/bin/python3", "-c",
        "import sys; from gshell.sweep import *; s = ParamSweeper(sys.argv[1], sweep("
        "{'cluster': ['paravance', 'stremi'], 'n_core': [2], 'size': ['S']})); "
        "print(s.get_done(), s.get_inprogress(), s.get_remaining())",
        f"/home/alice/execo_tutorial/{results.name}/sweeps", env=desk.env,
    )  # fmt: skip
    assert stats.stdout.count("size") == len(COMBS), stats
    assert stats.stdout.endswith("{} {}\n"), stats
