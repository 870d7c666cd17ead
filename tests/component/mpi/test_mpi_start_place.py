"""Where mpi-start is: beside us, in the one file an agent runs from, and as an installed command."""

import os
import pathlib
import subprocess
import sys

import pytest

import gshell
from gshell.agent import mpistart
from gshell.agent.pack import pack
from gshell.agent.spoolplace import SpoolPlace

ROOT = pathlib.Path(gshell.__file__).parents[1]
LAUNCHER = ROOT / "gshell/data/mpi-start.sh"


def run(*argv, cwd, **env):
    ran = subprocess.run(
        argv, cwd=cwd, capture_output=True, text=True, timeout=20,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(cwd), **env},
    )  # fmt: skip
    return ran.returncode, ran.stdout, ran.stderr


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "agent.pyz"
    pack(str(path))
    return path


def test_a_link_to_it_in_a_place_with_blanks_is_mpi_start(tmp_path):
    script = (ROOT / "gshell/mpi/mpi-start").resolve()
    (tmp_path / "a place").mkdir()
    link = tmp_path / "a place/mpi-start"
    link.symlink_to(script)
    ran = run(link, "-t", "dummy", "printenv", "I2G_MPI_START", cwd=tmp_path)
    assert ran == (0, f"{script}\n", "")


def test_the_packed_agent_is_mpi_start_too_and_leaves_nothing(archive, tmp_path):
    ran = run(
        sys.executable,
        archive,
        "mpi-start",
        "-t",
        "dummy",
        "printf",
        "<%s>",
        "a  b",
        "",
        cwd=tmp_path,
    )
    assert ran == (0, "<a  b><>", "")
    assert run(sys.executable, archive, "mpi-start", "-V", cwd=tmp_path)[1] == "mpi-start v1.5.3\n"
    assert list(tmp_path.iterdir()) == []


def test_a_packed_agent_unpacks_it_once_for_its_jobs_and_a_dead_ones_is_removed(
    archive, tmp_path, monkeypatch
):
    monkeypatch.setattr(mpistart.sitepath, "root", lambda: str(archive))
    monkeypatch.setattr(mpistart, "_place", None)
    path = mpistart.script(str(tmp_path))
    before = os.stat(path).st_ino
    assert mpistart.script() == path
    assert os.stat(path).st_ino == before
    assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
    assert run(path, "-t", "dummy", "echo", "a", cwd=tmp_path) == (0, "a\n", "")
    place = SpoolPlace(str(tmp_path), mpistart.PLACE)
    assert list(place.leftovers()) == []  # it lives
    mpistart._place._unlock()
    list(place.leftovers())
    assert list(tmp_path.iterdir()) == []


def test_a_job_finds_it_behind_what_the_node_has():
    env = {"PATH": "/site/bin"}
    mpistart.offer(env, on_path=True)
    assert env == {
        "PATH": f"/site/bin:{ROOT}/gshell/mpi",
        "I2G_MPI_START": f"{ROOT}/gshell/mpi/mpi-start",
    }
    env = {"PATH": "/site/bin", "I2G_MPI_START": "/site/mpi-start"}
    mpistart.offer(env, on_path=False)
    assert env["PATH"] == "/site/bin"
    assert env["I2G_MPI_START"] == "/site/mpi-start"


@pytest.mark.skipif(not LAUNCHER.exists(), reason="gshell is installed from a wheel")
def test_the_installed_command_finds_it_without_python(tmp_path):
    prefix = tmp_path / "a prefix"
    (prefix / "bin").mkdir(parents=True)
    site = prefix / "lib/python3.11/site-packages"
    (site / "gshell").mkdir(parents=True)
    (site / "gshell/mpi").symlink_to(ROOT / "gshell/mpi")
    command = prefix / "bin/mpi-start"
    command.write_text(LAUNCHER.read_text())
    command.chmod(0o755)
    link = tmp_path / "link"
    link.symlink_to(command)
    for path in (command, link):
        assert run(path, "-t", "dummy", "echo", "a  b", cwd=tmp_path) == (0, "a  b\n", "")
    said = run(
        "bash",
        "-c",
        f'. "{command}"; type -t generic_mpiexec',
        cwd=tmp_path,
        I2G_MPI_START_ENABLE_TESTING="TEST",
    )
    assert said == (0, "function\n", "")
