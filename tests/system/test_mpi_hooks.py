"""mpi-start on nodes that share no directory and have no sshd: its hooks around `gshell mpi`, and
a description's Parallel job, which it starts on all agents of the job."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit import ompikit
from kit.nodes import NodesEnv, reason_not_to

WAIT_S = 40.0


@pytest.fixture(scope="module")
def env() -> Iterator[NodesEnv]:
    reason = reason_not_to()
    if reason or not ompikit.compilers():
        pytest.skip(reason or "no Open MPI")
    one = NodesEnv(2, private=True)
    try:
        yield one
    finally:
        one.close()


WHERE = r"""
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int rank, size; char host[256];
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank); MPI_Comm_size(MPI_COMM_WORLD, &size);
    gethostname(host, sizeof host);
    printf("%d of %d on %s with %s\n", rank, size, host, getenv("OF_THE_HOOK"));
    MPI_Finalize();
    return 0;
}
"""
HOOK = """
pre_run_hook() {
    $MPI_MPICC -o where where.c || return
    mpi_start_foreach_host at
    mpi_start_export_variable OF_THE_HOOK carried
}
at() { mpi_start_is_local "$1" || $GSHELL_PEERS "$1" 'echo "at $(hostname)"' </dev/null; }
post_run_hook() { mpi_start_foreach_host back; }
back() {
    if mpi_start_is_local "$1"; then return; fi
    copy_from_node "$1" "$PWD/where" from-there && cmp where from-there && echo compared
}
"""


def prefix() -> str:
    """Of an Open MPI: the first mpiexec on PATH may be another MPI's."""
    return str(Path(ompikit.compilers()[0]).parents[1])


def on_both(env: NodesEnv, script: str, data: str = "") -> list[str]:
    found = []
    for agent in env.agents():
        words = ("run", "--agent", str(agent["id"]), "--", "sh", "-c", script)
        done = env.gshell(*words, input=data.encode(), timeout_s=WAIT_S)
        assert done.returncode == 0, done
        found.append((done.stdout + done.stderr).decode())
    return found


def test_what_a_hook_builds_is_brought_to_the_other_nodes_by_the_agents(env: NodesEnv) -> None:
    work = env.private / "work"
    on_both(env, f"mkdir {work}; cat >{work}/where.c", WHERE)
    on_both(env, f"cat >{work}/h.sh", HOOK)
    done = env.gshell(
        "mpi", "-n", "4", "-N", "2", "-l", "--cwd", str(work), "--pre", "h.sh", "--post", "h.sh",
        "--env", "I2G_MPI_FILE_DIST=agents", "--env", "I2G_MPI_TYPE=openmpi", "--env", f"MPI_OPENMPI_PATH={prefix()}",
        "--", "./where",
        timeout_s=WAIT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode() + env.logs()
    lines = done.stdout.decode().splitlines()
    ranks = sorted(line for line in lines if not line.startswith("mpi: "))
    assert [line[:9] for line in ranks] == [f"{rank}: {rank} of 4" for rank in range(4)]
    assert {line[10:] for line in ranks} == {f"on node{n} with carried" for n in (0, 1)}
    assert [line[:10] for line in lines if line not in ranks] == ["mpi: at no", "mpi: compa"]
    built = on_both(env, f"ls {work}")
    assert sorted("where\n" in names for names in built) == [False, True]  # where it was built only


def test_a_parallel_description_runs_on_all_its_agents_with_its_hooks_and_files(
    env: NodesEnv, tmp_path: Path
) -> None:
    (tmp_path / "where.c").write_text(WHERE)
    (tmp_path / "h.sh").write_text(HOOK)
    (tmp_path / "job.jdl").write_text(f"""
        JobType = "Parallel"; SubJobType = "openmpi"; CpuNumber = 3; HostNumber = 2;
        Executable = "where"; InputSandbox = {{"where.c", "h.sh"}}; StdOutput = "out";
        StdError = "err"; OutputSandbox = {{"out", "err"}};
        Environment = {{"MPI_OPENMPI_PATH={prefix()}", "I2G_MPI_PRE_RUN_HOOK=h.sh", "I2G_MPI_POST_RUN_HOOK=h.sh",
                       "I2G_MPI_START_VERBOSE=1"}};""")
    done = env.gshell("submit", "-q", "--wait", "job.jdl", cwd=tmp_path, timeout_s=WAIT_S)
    assert done.stdout, done.stderr.decode() + env.logs()
    ident = done.stdout.decode().split()[-1]
    got = env.gshell("fetch", ident, "--dir", "got", cwd=tmp_path, timeout_s=WAIT_S)
    assert got.returncode == 0, got.stderr.decode() + env.logs()
    out, err = ((tmp_path / "got" / name).read_text() for name in ("out", "err"))
    assert done.returncode == 0, out + err + env.logs()
    ranks = sorted(line for line in out.splitlines() if " with carried" in line)
    assert [line[:6] for line in ranks] == ["0 of 3", "1 of 3", "2 of 3"], out + err
    assert len({line.split()[4] for line in ranks}) == 2
    assert "by agents" in err
    assert "compared" in out
    (job,) = json.loads(env.gshell("jobs", "--json", ident, timeout_s=WAIT_S).stdout)["jobs"]
    assert job["state"] == "COMPLETED"
