"""Open MPI programs over several nodes without sshd: its remote shell goes through the agents."""

import signal
import subprocess
from collections.abc import Iterator

import pytest

from kit import ompikit
from kit.nodes import NodesEnv, reason_not_to
from kit.procs import until

WAIT_S = 40.0


@pytest.fixture(scope="module")
def env() -> Iterator[NodesEnv]:
    reason = reason_not_to()
    if reason:
        pytest.skip(reason)
    one = NodesEnv(3)
    try:
        yield one
    finally:
        one.close()


@pytest.fixture(scope="module", params=ompikit.compilers() or [None])
def ring(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param is None:
        pytest.skip("no Open MPI")
    return ompikit.ring(tmp_path_factory.mktemp("ring"), request.param)


def test_uneven_ranks_on_three_nodes_pass_a_message_round(env: NodesEnv, ring: str) -> None:
    words = ("-n", "5", "-N", "3", "-l", "--", ring)
    done = env.gshell("mpi", *words, stdin=subprocess.DEVNULL, timeout_s=WAIT_S)
    assert (done.returncode, done.stdout) == (0, b"0: ring 5\n"), done.stderr.decode() + env.logs()
    # Open MPI may say there, too, that an rsh of its own was quicker than its setpgid().
    passed = [line for line in done.stderr.splitlines() if b": passed " in line]
    assert sorted(passed) == [b"%d: passed %d" % (rank, rank) for rank in range(1, 5)]


def test_a_rank_that_dies_on_another_node_is_named_with_its_node(env: NodesEnv, ring: str) -> None:
    words = ("-n", "4", "-N", "2", "-l", "--", ring, "die", "3", "9")
    done = env.gshell("mpi", *words, stdin=subprocess.DEVNULL, timeout_s=WAIT_S)
    assert done.returncode == 137, done
    named = [line for line in done.stderr.splitlines() if b"was ended by signal 9" in line]
    assert len(named) == 1
    assert named[0].startswith(b"mpi: rank 3 on node"), done


def test_the_launchers_daemons_end_with_the_job(env: NodesEnv, ring: str) -> None:
    process = env.popen("mpi", "-n", "2", "-N", "2", "--", ring, "hang", stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip
    with process:
        assert process.stdout is not None
        said = {process.stdout.readline(), process.stdout.readline()}
        assert set(daemons(env)) & {"orted", "prted"}
        process.send_signal(signal.SIGTERM)
        process.wait(WAIT_S)
    assert said == {b"up 0\n", b"up 1\n"}
    until(lambda: not daemons(env), "what the job started to end", show=env.logs)


def daemons(env: NodesEnv) -> list[str]:
    """Names of all processes on the nodes but the agents'."""
    found = []
    for name in env.nodes.names:
        done = subprocess.run(["ip", "netns", "pids", name], capture_output=True, timeout=20)
        for pid in done.stdout.split():
            try:
                with open(f"/proc/{int(pid)}/comm") as file:
                    found.append(file.read().strip())
            except OSError:
                continue
    return [name for name in found if not name.startswith("python")]
