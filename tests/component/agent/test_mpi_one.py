"""An MPI program on one agent, which is its process manager; programs that speak PMI-1 by hand."""

from __future__ import annotations

import os
import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gshell.agent import mpifind
from gshell.agent.mpitopology import KEY
from gshell.agent.session import Session
from gshell.wire.constants import stderr_of, stdout_of
from kit import mpichkit
from kit.mpinode import MpiNode
from kit.uplink import Uplink

PATIENCE_S = 20.0
PATH = {"PATH": "/usr/bin:/bin"}
# What a rank of MPICH says, and what it was answered, on its stdout.
RANK = """
import os, socket, sys
line = socket.socket(fileno=int(os.environ["PMI_FD"])).makefile("rwb")
rank, size = int(os.environ["PMI_RANK"]), int(os.environ["PMI_SIZE"])
def ask(words):
    line.write(words.encode() + b"\\n"); line.flush()
    return dict(w.split("=", 1) for w in line.readline().decode().split() if "=" in w)
def tell(words):
    line.write(words.encode() + b"\\n"); line.flush()
"""


class Node(MpiNode):
    """That starts jobs of MPI, of one member each."""

    name = "5.0"

    def start(self, argv: list[str], ranks: int, **more: Any) -> None:  # type: ignore[override]
        mpi = {"layout": [ranks], "flavour": "mpich", **more.pop("mpi", {})}
        job = more.pop("job", "5")
        spec = {"argv": argv, "extra_env": PATH, "tasks": ranks, "first": 0, "size": ranks,
                "mpi": mpi, **more}  # fmt: skip
        message = {"job": job, "index": 0, "size": 1, "user": "alice", "attempt": 1}
        self.agent.on_control({"m": "start", **message, "spec": spec})

    def program(self, script: str, ranks: int, **more: Any) -> None:
        self.start([sys.executable, "-c", RANK + script], ranks, **more)

    @property
    def session(self) -> Session:
        return self.of(self.name)

    def of(self, step: str) -> Session:
        session: Session = self.agent.steps.by_key[step]
        return session

    def out(self, rank: int, stream_of: Any = stdout_of, step: str = "") -> str:
        log = self.of(step or self.name).ranks[rank].logs[stream_of(rank)]
        cursor = log.cursor(log.start, False)
        text = b""
        while len(text) < log.end - log.start:
            text += bytes(cursor.read(log.start + len(text), 1 << 16))
        cursor.close()
        return text.decode()

    def starter(self, step: str = "") -> str:
        return self.out(len(self.of(step or self.name).ranks) - 1, stderr_of, step)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setattr("gshell.agent.agent.Uplink", Uplink)
    node = Node(tmp_path)
    yield node
    node.agent.end_steps()
    assert node.loop.run_until(lambda: node.agent.idle, PATIENCE_S)
    node.agent.shut_down()
    node.loop.close()


def test_ranks_that_know_no_mpi_all_run_and_the_job_has_the_starter_beside_them(node: Node) -> None:
    node.start(["sh", "-c", "echo $PMI_RANK/$PMI_SIZE $MPI_LOCALRANKID $GSHELL_RANK"], 3)
    ended = node.end()
    assert ended["code"] == 0
    assert ended["error"] is None
    assert [node.out(rank) for rank in range(3)] == ["0/3 0 0\n", "1/3 1 1\n", "2/3 2 2\n"]
    assert len(node.session.ranks) == 4
    assert node.starter() == ""
    assert node.said("started")[0]["tasks"] == 3


def test_what_one_rank_puts_another_gets_after_the_barrier(node: Node) -> None:
    node.program(
        """
ask("cmd=init pmi_version=1 pmi_subversion=1")
name = ask("cmd=get_my_kvsname")["kvsname"]
ask(f"cmd=put kvsname={name} key=card-{rank} value=port#{rank}")
assert ask("cmd=barrier_in")["cmd"] == "barrier_out"
print(ask(f"cmd=get kvsname={name} key=card-{(rank + 1) % size}")["value"])
print(ask("cmd=finalize")["cmd"])
""",
        3,
    )
    assert node.end()["code"] == 0
    assert [node.out(rank) for rank in range(3)] == [
        f"port#{(rank + 1) % 3}\nfinalize_ack\n" for rank in range(3)
    ]


def test_a_rank_that_dies_ends_the_job_with_its_name_and_signal(node: Node) -> None:
    node.program(
        """
ask("cmd=init pmi_version=1 pmi_subversion=1")
if rank == 1:
    os.kill(os.getpid(), 11)
ask("cmd=barrier_in")
""",
        3,
    )
    ended = node.end()
    assert (ended["code"], ended["signal"]) == (139, 11)
    assert "rank 1 on" in node.starter()
    assert "signal 11 (Segmentation fault)" in node.starter()


HELLO = """
#include <mpi.h>
#include <stdio.h>
int main(int argc, char **argv) {
    int rank, size, sum;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    printf("rank %d of %d: %d\\n", rank, size, sum);
    MPI_Finalize();
    return 0;
}
"""


@pytest.fixture(scope="module")
def hello(tmp_path_factory: pytest.TempPathFactory) -> str:
    return mpichkit.compile_with_mpich(tmp_path_factory.mktemp("mpich"), "hello", HELLO)


def test_mpich_runs_without_its_own_process_manager(node: Node, hello: str) -> None:
    node.start([hello], 4)
    assert node.end()["code"] == 0
    assert [node.out(rank) for rank in range(4)] == [f"rank {r} of 4: 6\n" for r in range(4)]


def test_the_second_job_s_ranks_are_told_of_the_machine_by_a_file(node: Node, hello: str) -> None:
    if not mpifind.hydra_of("auto", [hello], PATH, "/"):
        pytest.skip("no hydra beside that MPICH")
    node.start([hello], 1)
    assert KEY not in _space(node)
    assert node.end()["code"] == 0
    topology = node.agent.claims.topology
    assert node.loop.run_until(lambda: topology._asking is None, PATIENCE_S)
    node.start([hello], 2, job="6")
    assert Path(_space(node, "6.0")[KEY]).read_text().startswith("<?xml")
    assert node.loop.run_until(lambda: len(node.said("ended")) == 2, PATIENCE_S)
    assert node.said("ended")[1]["code"] == 0


def test_who_says_by_variables_what_the_machine_is_is_not_told(node: Node, hello: str) -> None:
    node.start([hello], 1, extra_env={**PATH, "HWLOC_XMLFILE": "/nonexistent"})
    assert node.end()["code"] == 0
    assert node.agent.claims.topology is None


MPIRUN = """#!/bin/sh
[ "$1" = --version ] && { echo 'mpirun (Open MPI) 4.1.4'; exit 0; }
echo "$GSHELL_RANK_EXEC" >&2
PMIX_RANK=0 sh -c "exec $GSHELL_RANK_EXEC echo it is"
"""


def test_after_the_first_job_with_a_launcher_ranks_start_without_an_interpreter(
    node: Node, tmp_path: Path
) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    (tmp_path / "mpirun.openmpi").write_text(MPIRUN)
    (tmp_path / "mpirun.openmpi").chmod(0o755)
    more: dict[str, Any] = {"mpi": {"flavour": "openmpi"}}
    more["extra_env"] = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    node.start(["true"], 1, **more)
    assert node.end()["code"] == 0
    assert "rankexec.py" in node.starter()
    build = node.agent.claims.build
    assert node.loop.run_until(lambda: not build.busy, PATIENCE_S)
    node.start(["true"], 1, job="6", **more)
    assert node.loop.run_until(lambda: len(node.said("ended")) == 2, PATIENCE_S)
    assert node.starter("6.0").endswith("/rankexec rank\n")
    assert node.out(0, step="6.0") == node.out(0) == "it is\n"


def _space(node: Node, step: str = "5.0") -> dict[str, str]:
    way: Any = node.agent.steps.by_key[step].mpi.way
    space: dict[str, str] = way._server._space
    return space


def test_a_spawn_is_refused_and_the_starter_says_so(node: Node) -> None:
    node.program(
        """
ask("cmd=init pmi_version=1 pmi_subversion=1")
tell("mcmd=spawn\\nnprocs=1\\nexecname=true")
print(ask("endcmd")["rc"])
ask("cmd=finalize")
""",
        1,
    )
    assert node.end()["code"] == 0
    assert node.out(0) == "-1\n"
    assert "wants to start more ranks" in node.starter()


def test_the_code_of_an_abort_is_the_jobs(node: Node) -> None:
    node.program(
        """
ask("cmd=init pmi_version=1 pmi_subversion=1")
if rank == 0:
    tell("cmd=abort exitcode=9")
ask("cmd=barrier_in")
""",
        2,
    )
    ended = node.end()
    assert (ended["code"], ended["signal"]) == (9, None)
    assert "rank 0 on" in str(ended["error"])


def test_a_rank_that_never_comes_ends_those_who_wait_for_it(node: Node) -> None:
    node.program(
        """
if rank == 1:
    sys.exit(3)
ask("cmd=init pmi_version=1 pmi_subversion=1")
ask("cmd=barrier_in")
""",
        2,
    )
    assert node.end()["code"] == 3
    assert "rank 1 on" in node.starter()
    assert "exited with status 3 before MPI_Init" in node.starter()


# What a rank may send instead of PMI-1, while another one does what is right.
@pytest.mark.parametrize(
    "hostile",
    [
        "line.write(os.urandom(1 << 20)); line.flush()",
        "line.write(b'cmd=get' * (1 << 20)); line.flush()",
        "line.write(b'cmd=put key='); line.flush()",
        "socket.socket(fileno=os.dup(int(os.environ['PMI_FD']))).shutdown(2)",
        "line.write(b''.join(b'cmd=put key=k%d value=v\\n' % n for n in range(300000))); line.flush()",
        "line.write(b'cmd=put key=k value=' + b'v' * 60000 + b'\\n' + b'cmd=get key=k\\n' * 200000); line.flush()",
        "line.write(b'mcmd=spawn\\n' + b'a=b\\n' * 200000); line.flush()",
    ],
)
def test_a_rank_that_talks_nonsense_ends_and_costs_little(node: Node, hostile: str) -> None:
    node.program(
        f"""
if rank == 1:
    try:
        import signal
        signal.alarm(1)  # who does not read may wait for ever
        {hostile}
    except OSError:
        pass
    os._exit(0)
ask("cmd=init pmi_version=1 pmi_subversion=1")
assert ask("cmd=get_maxes")["rc"] == "0"
ask("cmd=finalize")
""",
        2,
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    node.end()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_a_signal_for_one_rank_that_ends_by_it_ends_the_others(node: Node) -> None:
    node.program(
        """
ask("cmd=init pmi_version=1 pmi_subversion=1")
print("up", flush=True)
ask("cmd=barrier_in" if rank else "cmd=get_maxes")
import time
time.sleep(100)
""",
        2,
    )
    assert node.loop.run_until(lambda: node.out(0) == node.out(1) == "up\n", PATIENCE_S)
    node.session.signal_all(2, [0])
    assert node.end()["signal"] == 2
    assert "rank 0 on" in node.starter()
    assert "was ended by signal 2" in node.starter()


def test_a_door_that_leads_nowhere_is_shut_with_the_job(node: Node) -> None:
    node.start(["/bin/true"], 1, extra_env={"PATH": "/nowhere"}, mpi={"flavour": "openmpi"})
    assert node.end()["code"] == 125
    assert node.agent.claims.path
    assert not node.agent.claims._doors


def wait_for_another(node: Node, flavour: str) -> None:
    """The first of two members, without the second."""
    spec = {"argv": ["sleep", "100"], "extra_env": PATH, "tasks": 1, "first": 0, "size": 2,
            "mpi": {"layout": [1, 1], "flavour": flavour}}  # fmt: skip
    message = {"job": "5", "index": 0, "size": 2, "user": "alice", "attempt": 1}
    node.agent.on_control({"m": "start", **message, "spec": spec})


def test_the_head_speaks_to_the_others_so_that_a_lost_one_ends_it(node: Node) -> None:
    wait_for_another(node, "mpich")
    (said,) = node.said("peer")
    assert (said["to"], said["body"]) == (1, {"t": "here"})
    node.agent.on_control({"m": "signal", "job": "5", "sig": 15})
    assert node.end()["code"] == 143


@pytest.mark.parametrize("flavour", ["mpich", "openmpi"])
@pytest.mark.parametrize("how", ["cancel", "timeout", "kill"])
def test_one_that_waits_for_the_others_can_be_ended(node: Node, flavour: str, how: str) -> None:
    wait_for_another(node, flavour)
    if how == "cancel":
        node.agent.on_control({"m": "cancel", "job": "5"})
    elif how == "timeout":
        node.session._timed_out()
    else:
        node.agent.on_control({"m": "signal", "job": "5", "sig": 9})
    assert node.end()["code"] == {"kill": 137}.get(how, 143)
    assert not node.agent.claims._doors


def test_a_member_whose_head_is_lost_before_its_ranks_came_ends_when_it_is_told(node: Node) -> None:
    spec = {"argv": ["sleep", "100"], "extra_env": PATH, "tasks": 1, "first": 1, "size": 2,
            "mpi": {"layout": [1, 1], "flavour": "openmpi"}}  # fmt: skip
    node.name = "5.1"
    message = {"job": "5", "index": 1, "size": 2, "user": "alice", "attempt": 1}
    node.agent.on_control({"m": "start", **message, "spec": spec})
    peer = {"m": "peer", "job": "5", "index": 1, "from": 0, "attempt": 1}
    plan = {"t": "plan", "way": "launch", "hosts": ["a", "b"], "names": ["a", "b"], "argv": ["x"]}
    node.agent.on_control({**peer, "seq": 1, "body": plan})
    daemon = {"t": "exec", "id": 1, "argv": ["/bin/sh", "-c", "echo up; exec sleep 100"]}
    node.agent.on_control({**peer, "seq": 2, "body": daemon})
    node.agent.on_control({"m": "signal", "job": "5", "sig": 15})
    assert node.session.state == "running"  # the launcher is to end it
    node.agent.on_control({"m": "signal", "job": "5", "sig": 9})
    assert node.end()["code"] == 137


@pytest.mark.parametrize(
    "plan",
    [{"way": "launch"}, {"way": "launch", "argv": 5}, {"hosts": 7}, {"way": "launch", "env": 1}],
)
def test_a_plan_that_makes_no_sense_starts_nothing_and_harms_nobody(
    node: Node, plan: dict[str, Any]
) -> None:
    peer = {"m": "peer", "job": "5", "index": 0, "from": 1, "attempt": 1}
    plan = {"t": "plan", "hosts": ["a", "b"], **plan}
    node.agent.on_control({**peer, "seq": 1, "body": {"t": "here", "door": 5, "cpus": "x"}})
    wait_for_another(node, "generic")  # what came before the step is heard when it starts
    node.agent.on_control({**peer, "from": 0, "seq": 1, "body": plan})
    node.agent.on_control({"m": "signal", "job": "5", "sig": 9})
    assert node.end()["code"]


SLEEPS = """
#include <mpi.h>
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    printf("up\\n"); fflush(stdout);
    sleep(100);
}
"""


@pytest.mark.parametrize("how", ["one dies", "canceled", "killed"])
def test_ranks_that_are_ended_leave_no_shared_memory(node: Node, tmp_path: Path, how: str) -> None:
    program = mpichkit.compile_with_mpich(tmp_path, "sleeps", SLEEPS)
    node.start([program], 2)
    assert node.loop.run_until(lambda: node.out(0) == node.out(1) == "up\n", PATIENCE_S)
    maps = Path(f"/proc/{node.session.pid()}/maps").read_text()
    (shared,) = {line.split()[-1] for line in maps.splitlines() if "/dev/shm/mpich" in line}
    if how == "one dies":
        os.kill(node.session.pid(), 9)
    elif how == "canceled":
        node.session.cancel()
    else:
        node.session.signal_all(9)
    node.end()
    assert not os.path.exists(shared)
