"""The keeper, with real processes: what an agent started does not outlive it, the rest does."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import gshell
from kit.procs import until

ROOT = str(Path(gshell.__file__).parents[1])
KEEP = f"import sys; sys.path.insert(0, {ROOT!r}); from gshell.agent.keeper import run; "
KEEP += "sys.exit(run(sys.argv[1:]))"


@pytest.fixture
def keep(tmp_path):
    """Starts a keeper whose agent is a script: in it $dir is ours and $fd the keeper's pipe."""
    started = []

    def start(script: str, **more) -> subprocess.Popen:
        preamble = f"dir={tmp_path}; fd=$2; "
        argv = [sys.executable, "-c", KEEP, "bash", "-c", preamble + script, "agent"]
        keeper = subprocess.Popen(argv, stdout=subprocess.PIPE, **more)
        started.append(keeper)
        return keeper

    yield start
    for keeper in started:
        keeper.kill()
        keeper.wait()
        assert keeper.stdout is not None
        keeper.stdout.close()


def pids_in(directory: Path, count: int) -> list[int]:
    """The process numbers that the agent's descendants have written to files ``*.pid``."""

    def written():
        texts = [path.read_text() for path in sorted(directory.glob("*.pid"))]
        return texts if len(texts) == count and all(text.endswith("\n") for text in texts) else None

    texts = until(written, f"{count} files *.pid", show=lambda: str(list(directory.iterdir())))
    return [int(text) for text in texts]


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # whose parent, in a container, may be careless


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137), ("kill $$", 143)]
)
def test_it_exits_as_its_agent_did(keep, script, status):
    assert keep(script).wait(20) == status


def test_whatever_the_agent_started_ends_when_the_agent_is_killed(keep, tmp_path):
    keeper = keep("""
        sleep 1000 & echo $! >$dir/child.pid
        (setsid bash -c 'echo $$ >'$dir'/daemon.pid; exec sleep 1000' >/dev/null 2>&1 &)
        setsid bash -c 'trap "" TERM HUP INT; sleep 1000 & echo $! >'$dir'/deep.pid; wait' &
        echo $$ >$dir/agent.pid; wait
    """)
    pids = pids_in(tmp_path, 4)
    os.kill(int((tmp_path / "agent.pid").read_text()), signal.SIGKILL)
    assert keeper.wait(20) == 137
    assert [pid for pid in pids if lives(pid)] == []


def test_a_long_line_of_descendants_ends_too(keep, tmp_path):
    keeper = keep("""
        nest() { if [ $1 = 0 ]; then echo $BASHPID >$dir/last.pid; sleep 1000
                 else (nest $(($1 - 1))) & wait; fi; }
        nest 25 & until [ -s $dir/last.pid ]; do sleep 0.01; done; kill -KILL $$
    """)
    assert keeper.wait(20) == 137
    assert not lives(pids_in(tmp_path, 1)[0])


def test_who_is_no_descendant_is_left_alone(keep):
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as bystander:
        assert keep("exit 3").wait(20) == 3
        assert bystander.poll() is None
        bystander.kill()


def test_children_of_a_script_that_became_the_keeper_are_left_alone(tmp_path):
    pid_file = tmp_path / "before.pid"
    script = f'sleep 1000 >/dev/null & echo $! >{pid_file}; exec "$@"'
    agent = [sys.executable, "-c", KEEP, "bash", "-c", "exit 5"]
    assert subprocess.run(["sh", "-c", script, "sh", *agent]).returncode == 5
    before = int(pid_file.read_text())
    assert lives(before)
    os.kill(before, signal.SIGKILL)


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1", "USR2", "QUIT"])
def test_a_signal_is_handed_on_and_the_agent_s_answer_is_the_status(keep, name):
    keeper = keep(f"trap 'exit 9' {name}; echo ready; sleep 1000 & wait")
    assert keeper.stdout.readline() == b"ready\n"
    keeper.send_signal(getattr(signal, f"SIG{name}"))
    assert keeper.wait(20) == 9


def test_the_agent_sees_that_its_keeper_was_killed(keep, tmp_path):
    keeper = keep("echo ready; read -u $fd nothing; echo $? >$dir/end.pid; exec sleep 0")
    assert keeper.stdout.readline() == b"ready\n"
    assert list(tmp_path.glob("*.pid")) == []
    keeper.kill()
    assert pids_in(tmp_path, 1) == [1]  # read's status at end of file


def test_a_descriptor_handed_on_ends_with_the_agent_s_copy(keep):
    reads, writes = os.pipe()
    keeper = keep(f"exec {writes}>&-; echo ready; read -u $fd nothing", pass_fds=[writes])
    os.close(writes)
    assert keeper.stdout.readline() == b"ready\n"
    with os.fdopen(reads, "rb") as file:
        assert file.read() == b""  # and the keeper lives still
    assert keeper.poll() is None


def test_a_log_on_a_full_disk_changes_no_status():
    agent = str(Path(gshell.__file__).parent / "agent" / "__main__.py")
    with open("/dev/full", "w") as full:
        for words in (["--nonsense"], ["--quota", "much"]):
            argv = [sys.executable, "-I", "-S", agent, *words]
            assert subprocess.run(argv, stderr=full, timeout=20).returncode == 2
