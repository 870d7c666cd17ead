"""The example of LU, small: compiled, run, killed, gone on with; as a file and as a program."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gshell.cli import demo
from gshell.errors import NoMpi
from kit import sweepkill
from kit.procs import until

EXAMPLE = Path(__file__).parents[2] / "examples" / "lu_experiment"


@pytest.fixture(scope="module")
def mpi():
    try:
        found = demo.find_mpi(os.environ)
    except NoMpi as error:
        pytest.skip(str(error))
    if shutil.which("make") is None:
        pytest.skip("no make")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CFLAGS", "-O1 -std=c99")
        patch.setenv("MPICC", found.mpicc[0])
        patch.setenv("MPIRUN", found.mpirun[0])
        patch.setenv("PATH", os.path.dirname(found.mpirun[0]) + os.pathsep + os.environ["PATH"])
        yield found


def test_killed_at_a_point_it_goes_on_with_what_is_left(mpi, tmp_path):
    text = (EXAMPLE / "lu.toml").read_text().replace("repetitions = 3", "repetitions = 1")
    text = text.replace('["S", "W"]', '["S"]').replace("to = 4", "to = 2")
    file, folder = tmp_path / "lu.toml", tmp_path / "r"
    file.write_text(text.replace("../lu", str(EXAMPLE.parent / "lu")))
    process = sweepkill.sweep("run", "-o", str(folder), str(file))
    until(lambda: list(folder.glob("*.out*")), "its first output", 50.0)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    sweepkill.wait_none_left(folder)
    built = (folder / "build" / "bin" / "lu.S.2").stat().st_mtime_ns
    status, out = sweepkill.to_end("resume", str(folder))
    assert status == 0, out
    assert "prepare" not in out
    assert (folder / "build" / "bin" / "lu.S.2").stat().st_mtime_ns == built
    assert sweepkill.results(folder, ["size", "ranks", "processes", "verified"]) == [
        ("S", "1", "1", "true"), ("S", "2", "2", "true"),
    ]  # fmt: skip
    status, out = sweepkill.to_end("plot", str(folder))
    assert status == 0, out
    assert "speed-up" in out


def test_as_a_program_it_leaves_what_the_verbs_can_read(mpi, tmp_path):
    argv = [
        sys.executable,
        str(EXAMPLE / "lu.py"),
        "--sizes",
        "S",
        "--ranks",
        "1",
        "--repetitions",
        "1",
    ]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    [folder] = tmp_path.iterdir()
    status, out = sweepkill.to_end("show", str(folder))
    assert status == 0, out
    assert out.splitlines()[1].split()[:2] == ["S", "1"]
