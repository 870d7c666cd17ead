"""Real batch systems in namespaces (tests/site/lab), with gshell installed in a user's home there."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from bench.measure import Failed, Missing

LAB = Path(__file__).resolve().parents[1] / "site" / "lab"
ROOT = Path(os.environ.get("LRMS_ROOT", "/srv/lrms"))
SYSTEM_PYTHON = "/usr/bin/python3"  # the one that users of the hosts can read
_NEEDED = {"slurm": "slurmctld", "oar": "oarsub", "sge": "sge_qmaster", "sites": "nft"}
_PACKAGES = (
    "gshell", "relay", "zmq", "cryptography", "cffi", "_cffi_backend", "asyncssh", "prompt_toolkit", "rich",
    "pygments", "wcwidth", "markdown_it", "mdurl", "typing_extensions", "pycparser", "classad2", "htcondor2",
)  # fmt: skip


def missing(kind: str) -> str:
    """Why this cannot be brought up here; empty if it can."""
    if os.geteuid() != 0:
        return "namespaces need root"
    for program in (_NEEDED[kind], "tini", "ip", "nsenter"):
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            return f"there is no {program}: tests/site/lab/install.sh {kind}"
    version = subprocess.run(
        [SYSTEM_PYTHON, "-c", "import sysconfig; print(sysconfig.get_config_var('SOABI'))"],
        capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    if version != sysconfig.get_config_var("SOABI"):
        return f"{SYSTEM_PYTHON} cannot load this environment's compiled packages ({version})"
    return ""


class Bed:
    """A cluster, or two sites with a client's and a relay's host, while it is entered."""

    def __init__(self, kind: str, name: str, *options: str, fe: str = "fe") -> None:
        self.kind, self.name, self.options, self.fe = kind, name, options, fe

    def __enter__(self) -> Bed:
        why = missing(self.kind)
        if why:
            raise Missing(why)
        up = [str(LAB / f"{self.kind}-up.sh"), *self.options, "-N", self.name]
        done = subprocess.run(up, capture_output=True, text=True, timeout=180, check=False)
        if done.returncode:
            raise Failed(f"{self.kind} did not come up: {done.stderr[-300:]}")
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(
            [str(LAB / f"{self.kind}-down.sh"), self.name],
            capture_output=True,
            timeout=60,
            check=False,
        )

    def home(self, site: str = "all", user: str = "alice") -> Path:
        """Of a user in a site, as a path of this machine."""
        return ROOT / self.name / "home" / site / user

    def run(
        self, host: str, *argv: str, user: str = "alice", stdin: str = "", timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(LAB / "hx"), self.name, f"{host}:{user}", *argv],
            input=stdin, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def checked(self, host: str, *argv: str, **more: Any) -> str:
        done = self.run(host, *argv, **more)
        if done.returncode:
            raise Failed(
                f"{argv[:4]} on {host}: {done.returncode}: {(done.stderr or done.stdout)[-300:]}"
            )
        return done.stdout

    def install(self, site: str = "all") -> None:
        """gshell, as an installed user has it: ~/gs/bin/gshell, its packages beside it."""
        place = self.home(site) / "gs"
        packages = place / "lib" / "python3.11" / "site-packages"
        packages.mkdir(parents=True)
        for name in _PACKAGES:
            spec = importlib.util.find_spec(name)
            if spec is None or spec.origin is None:
                continue
            origin = Path(spec.origin)
            if spec.submodule_search_locations:
                shutil.copytree(origin.parent, packages / name, symlinks=True)
                libs = origin.parent.parent / f"py{name}.libs"
                if libs.exists():
                    shutil.copytree(libs, packages / libs.name)
            else:
                shutil.copy(origin, packages)
        (place / "bin").mkdir()
        shutil.copy(packages / "gshell" / "data" / "launcher.sh", place / "bin" / "gshell") if (
            packages / "gshell" / "data" / "launcher.sh"
        ).exists() else shutil.copy(shutil.which("gshell") or "gshell", place / "bin" / "gshell")
        (place / "bin" / "gshell").chmod(0o755)
        for name in ("python3", "python3.11"):
            (place / "bin" / name).symlink_to(SYSTEM_PYTHON)
        for path in [place, *place.rglob("*")]:
            os.chown(path, 2001, 2001, follow_symlinks=False)

    def times(self, host: str, rounds: int, contestants: list[dict[str, Any]]) -> dict[str, Any]:
        """What firstbyte.py measured in that host, as its user."""
        driver = (Path(__file__).parent / "firstbyte.py").read_text()
        plan = json.dumps({"rounds": rounds, "contestants": contestants})
        done = self.run(host, SYSTEM_PYTHON, "-c", driver, stdin=plan, timeout=900)
        if done.returncode:
            raise Failed(f"the driver on {host}: {done.stderr[-500:]}")
        return dict(json.loads(done.stdout))
