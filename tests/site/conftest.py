"""Real batch systems for the tests of this folder: brought up once a run, by the scripts in lab/."""

import contextlib
import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from kit.labhome import Hosts, Installed

LAB = pathlib.Path(__file__).parent / "lab"
ROOT = pathlib.Path(os.environ.get("LRMS_ROOT", "/srv/lrms"))
OURS = "gt"  # NAME of a cluster: gt-KIND-PID of the pytest it is for
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin"

NEEDS = {  # a program, and the Debian package that has it
    "": {"unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2", "bc": "bc"},
    "slurm": {"slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "munged": "munge"},
    "oar": {"oar-server": "oar-server", "oarsub": "oar-user", "sshd": "openssh-server"},
    "sge": {"sge_qmaster": "gridengine-master", "sge_execd": "gridengine-exec",
            "qsub": "gridengine-client"},
    "sites": {"sshd": "openssh-server", "nft": "nftables"},
}  # fmt: skip


class Cluster:
    """A real batch system: hosts "fe" (front end), "n1", "n2", ... with users alice and bob."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name
        self.home = ROOT / name / "home" / "all" / "alice"
        """On this machine: what every host sees as /home/alice."""

    def run(
        self,
        host: str,
        *argv: str,
        user: str = "alice",
        stdin: str = "",
        env: dict[str, str] | None = None,
        timeout: float = 30,
    ) -> subprocess.CompletedProcess[str]:
        """``argv`` in a host, as a user, in the user's home."""
        more = ["env", *(f"{name}={value}" for name, value in env.items())] if env else []
        return subprocess.run(
            [LAB / "hx", self.name, f"{host}:{user}", *more, *argv],
            input=stdin, capture_output=True, text=True, timeout=timeout, errors="replace",
        )  # fmt: skip

    def down(self) -> None:
        """Ends every process in every host. Twice is as good as once."""
        lab(f"{self.kind}-down.sh", self.name)


def lab(script: str, *argv: str, timeout: float = 55) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LAB / script, *argv],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
        env={**os.environ, "PATH": PATH},
    )  # fmt: skip


def absent(kind: str) -> str:
    """Why there can be no such cluster here; empty: there can."""
    if os.geteuid():
        return "needs root: virtual hosts are namespaces"
    needs = NEEDS[""] | NEEDS[kind]
    missing = {package for tool, package in needs.items() if not shutil.which(tool, path=PATH)}
    if missing:
        return f"not installed: {' '.join(sorted(missing))} (tests/site/lab/install.sh)"
    if kind == "oar" and not list(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        return "not installed: postgresql (tests/site/lab/install.sh)"
    probe = ["unshare", "--net", "--uts", "--pid", "--mount", "--ipc", "--fork", "true"]
    ran = subprocess.run(probe, capture_output=True, text=True, timeout=10)
    return f"no namespaces here: {ran.stderr.strip()}" if ran.returncode else ""


def sweep() -> None:
    """Takes down what runs that were killed have left."""
    for left in ROOT.glob(f"{OURS}-*-*"):
        _, kind, pid = left.name.split("-")
        if (
            kind.rstrip("0123456789") in NEEDS
            and pid.isdigit()
            and not pathlib.Path("/proc", pid).exists()
        ):
            lab("slurm-down.sh", left.name)  # they are all the same


@contextlib.contextmanager
def brought_up(kind: str, *options: str) -> Iterator[Cluster]:
    """A cluster of its own, for a test that breaks it; the fixtures share one each."""
    why = absent(kind)
    if why:
        pytest.skip(why)
    sweep()
    taken = len(list(ROOT.glob(f"{OURS}-{kind}*-{os.getpid()}")))
    cluster = Cluster(kind, f"{OURS}-{kind}{taken or ''}-{os.getpid()}")
    try:
        up = lab(f"{kind}-up.sh", "-N", cluster.name, *options)
        assert up.returncode == 0, f"{kind} did not come up:\n{up.stdout}{up.stderr}"
        yield cluster
    finally:
        cluster.down()


@pytest.fixture(scope="session")
def bring():
    """`brought_up`, for modules whose cluster is their own."""
    return brought_up


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    """Four nodes of four cores; nothing waits longer than it must."""
    with brought_up("slurm", "-f", "-n", "4") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def oar() -> Iterator[Cluster]:
    """Four nodes of two cores."""
    with brought_up("oar", "-f", "-n", "4") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def sge() -> Iterator[Cluster]:
    """Four nodes of two slots; parallel environments openmpi, smp."""
    with brought_up("sge", "-f", "-n", "4") as cluster:
        yield cluster


@contextlib.contextmanager
def _free(kind: str) -> Iterator[Cluster]:
    """As the fixture ``kind``, but no test leaves anything there that holds nodes: experiments wait
    for theirs. Who has a job may come by ssh."""
    if not shutil.which("sshd", path=PATH):
        pytest.skip("not installed: openssh-server")
    ssh = () if kind == "oar" else ("-S",)  # it always has it
    with brought_up(kind, "-f", "-n", "4", *ssh) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def free_slurm() -> Iterator[Cluster]:
    with _free("slurm") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def free_oar() -> Iterator[Cluster]:
    with _free("oar") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def free_sge() -> Iterator[Cluster]:
    with _free("sge") as cluster:
        yield cluster


@pytest.fixture(scope="session")
def two_sites() -> Iterator[Installed]:
    """Two sites with a Slurm of two nodes each behind the front ends a-fe and b-fe, reached by ssh;
    their nodes may dial the relay and nothing else. gshell is on two hosts: the relay's, and
    "home", where alice sits. It knows no site yet: tests add them, and remove them."""
    for kind in ("slurm", "sites"):
        if why := absent(kind):
            pytest.skip(why)
    sweep()
    name = f"{OURS}-sites-{os.getpid()}"
    home = ROOT / name / "home"
    try:
        up = lab("sites-up.sh", "-N", name, "-f", "-A", "slurm", "-B", "slurm", "-p", "relay")
        assert up.returncode == 0, f"the sites did not come up:\n{up.stdout}{up.stderr}"
        hosts = Hosts(name)
        relay = Installed(hosts, "relay", home / "relay" / "alice")
        me = Installed(hosts, "home", home / "home" / "alice")
        relay.start()
        me.run("login", relay.invite())
        yield me
        me.stop()
        relay.stop()
    finally:
        lab("sites-down.sh", name)


@pytest.fixture
def apart() -> Iterator[Installed]:
    """OAR behind the front end a-fe, Slurm behind b-fe; gshell's files at "home", whose alice
    reaches front ends by ssh, and nodes through them."""
    for kind in ("oar", "slurm", "sites"):
        if why := absent(kind):
            pytest.skip(why)
    sweep()
    name = f"{OURS}-sites1-{os.getpid()}"
    try:
        up = lab("sites-up.sh", "-N", name, "-f", "-A", "oar", "-B", "slurm", "-p", "relay")
        assert up.returncode == 0, f"the sites did not come up:\n{up.stdout}{up.stderr}"
        yield Installed(Hosts(name), "home", ROOT / name / "home" / "home" / "alice")
    finally:
        lab("sites-down.sh", name)
