"""The step that stands for a batch job, as a process."""

import json
import os
import signal
import subprocess
import sys

from kit.procs import until

AGENT = """
import os, subprocess, sys, time
step = "import sys; from gshell.agent import adopted; sys.exit(adopted.main(sys.argv[1:]))"
print(subprocess.Popen([sys.executable, "-c", step, sys.argv[1]]).pid, flush=True)
time.sleep(60)
"""


def ended(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_it_does_not_outlive_an_agent_that_was_killed_with_its_keeper(tmp_path):
    out = tmp_path / "out"
    out.write_text("begun\n")
    words = json.dumps(
        {"lrms": "sge", "id": "1", "files": [str(out)], "asks_at": 0, "follows_at": 1}
    )
    agent = subprocess.Popen(
        [sys.executable, "-c", AGENT, words],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "GSHELL_MEMBER": "1"},
    )  # fmt: skip
    pid = int(agent.stdout.readline())
    try:
        assert agent.stdout.readline() == "begun\n"  # it is at work
        agent.kill()
        agent.wait(10)
        until(lambda: ended(pid))
    finally:
        agent.kill()
        agent.wait(10)
        agent.stdout.close()
        if not ended(pid):
            os.kill(pid, signal.SIGKILL)
