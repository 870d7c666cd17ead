"""Processes of experiments at agents, without ssh: from a Python of its own, as a user's."""

import json
import subprocess
import sys
from pathlib import Path

import gshell
from kit.procs import until

ROOT = str(Path(gshell.__file__).parents[1])
HEAD = """
import json, sys, time
from gshell.sweep import *
logger.setLevel("ERROR")
"""


def python(env, script, *words, **more):
    return subprocess.Popen(
        [sys.executable, "-c", HEAD + script, *words],
        env={**env.env, "PYTHONPATH": ROOT},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        **more,
    )


def told(env, script, *words):
    """What it prints at last, as JSON."""
    process = python(env, script, *words)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return json.loads(out)


def test_a_process_at_an_agent_is_as_one_here(relay):
    facts = told(
        relay,
        """
p = AgentProcess("echo out; echo err >&2; exit 3", nolog_exit_code=True).run()
cat = AgentProcess(["cat"]).start()
cat.write("hello\\n")
which, match = cat.expect("hel+o", timeout=30)
cat.close_stdin()
cat.wait()
end = AgentProcess("trap 'exit 9' USR1; echo up; while :; do sleep 0.1; done").start()
end.expect("up", timeout=30)
end.kill(10)
end.wait()
long = AgentProcess(["sleep", "100"], timeout=3).run()
none = AgentProcess(["nonesuch-here"]).run()
away = AgentProcess("true", "nowhere").run()
print(json.dumps([p.stdout, p.stderr, p.exit_code, cat.exit_code, match and match.group(),
                  end.exit_code, long.timeouted, long.signal, none.exit_code, away.exit_code,
                  away.stderr.splitlines()[0]]))
""",
    )
    assert facts == [
        "out\n", "err\n", 3, 0, "hello", 9, True, 15, 127, 255, "gshell: there is no agent nowhere",
    ]  # fmt: skip


def test_bytes_of_any_kind_come_through_whole(relay, tmp_path):
    (tmp_path / "in").write_bytes(bytes(range(256)) * 4096)
    facts = told(
        relay,
        """
p = AgentProcess(["cat"], stdout_handlers=[sys.argv[1] + "/out"]).start()
p.write(open(sys.argv[1] + "/in", "rb").read())
p.close_stdin()
p.wait()
print(json.dumps([p.ok, p.exit_code]))
""",
        str(tmp_path),
    )
    assert facts == [True, 0]
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in").read_bytes()


def test_output_that_a_handler_is_slow_to_take_waits_over_there(relay, tmp_path):
    """Instead of filling this Python's memory; and all of it comes in the end."""
    facts = told(
        relay,
        """
import threading
wait, got, most = threading.Event(), [], 0
def slow(process, stream, text, eof, error):
    wait.wait()
    got.append(len(text))
p = AgentProcess("head -c 100000000 /dev/zero; touch " + sys.argv[1] + "/all",
                 default_stdout_handler=False, stdout_handlers=[slow]).start()
while p._talk is None or not p._held:
    time.sleep(0.01)
import os
before = os.path.exists(sys.argv[1] + "/all")
wait.set()
p.wait()
print(json.dumps([before, p.ok, sum(got), os.path.exists(sys.argv[1] + "/all")]))
""",
        str(tmp_path),
    )
    assert facts == [False, True, 100_000_000, True]


def test_a_writer_waits_while_much_is_not_read(relay, tmp_path):
    facts = told(
        relay,
        """
import os, threading
from gshell.sweep import conductor
conductor.UNREAD = 1 << 20
go = sys.argv[1] + "/go"
late = AgentProcess(f"while [ ! -e {go} ]; do sleep 0.05; done; wc -c").start()
written = []
def write():
    for number in range(32):
        late.write(b"x" * (1 << 20))
        written.append(number)
    late.close_stdin()
writer = threading.Thread(target=write)
writer.start()
while late._room.is_set():
    time.sleep(0.01)
waits = len(written)
open(go, "w").close()
writer.join()
late.wait()
print(json.dumps([waits < 32, late.ok, late.write_error, int(late.stdout),
                  late.host.address == late.agent]))
""",
        str(tmp_path),
    )
    assert facts == [True, True, False, 32 << 20, True]


def test_many_more_processes_than_slots_wait_their_turn_and_all_run(relay):
    facts = told(
        relay,
        """
r = AgentRemote("echo $((6*7))", 60).run()
print(json.dumps([r.ok, {p.stdout for p in r.processes} == {"42\\n"}, r.stats()["num_ended"]]))
""",
    )
    assert facts == [True, True, 60]


def test_a_process_beside_a_job_takes_no_slot_and_ends_with_it(relay):
    facts = told(
        relay,
        """
job = AgentProcess(["sleep", "100"]).start()
while job.job is None:
    time.sleep(0.01)
beside = AgentProcess("echo $GSHELL_JOB; echo there", job.job).run()
job.kill()
job.wait()
print(json.dumps([beside.ok, beside.stdout.splitlines()[-1], job.signal]))
""",
    )
    assert facts == [True, "there", 15]


def test_those_that_wait_for_room_are_given_up_when_they_are_killed(relay):
    facts = told(
        relay,
        """
r = AgentRemote("sleep 100", 40).start()
while not any(p.job for p in r.processes):
    time.sleep(0.01)
r.kill()
r.wait()
print(json.dumps([all(p.ended for p in r.processes), sorted({p.exit_code for p in r.processes}),
    {p.stderr for p in r.processes} <= {"", "gshell: canceled\\n"}]))
""",
    )
    assert facts == [True, [143], True]
    until(
        lambda: not [job for job in relay.jobs() if not job["ended_at"]],
        "all jobs to end",
        show=relay.logs,
    )


def test_what_runs_at_agents_ends_with_the_python_that_began_it_however_that_ends(relay):
    process = python(
        relay,
        """
r = AgentRemote("sleep 1000", 3).start()
while not all(p.job for p in r.processes):
    time.sleep(0.01)
print(json.dumps([p.job for p in r.processes]), flush=True)
time.sleep(1000)
""",
    )
    assert process.stdout is not None
    jobs = json.loads(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()

    def live():
        return [job for job in relay.jobs() if job["id"] in jobs and not job["ended_at"]]

    until(lambda: not live(), "the jobs to be canceled", show=relay.logs)


def test_files_go_to_several_agents_and_come_back(relay, tmp_path):
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "e" / "f").write_bytes(bytes(range(256)) * 4096)
    for name in ("to", "back"):
        (tmp_path / name).mkdir()
    agents = [agent["id"] for agent in relay.agents()]
    assert len(agents) == 2
    facts = told(
        relay,
        """
import os
top, *agents = sys.argv[1:]
for agent in agents:
    os.makedirs(f"{top}/to/{agent}")
    os.makedirs(f"{top}/back/{agent}")
put = ParallelActions([AgentPut(agents, [f"{top}/d"], top + "/to/{{{host}}}")]).run()
get = AgentGet(agents, top + "/to/{{{host}}}/d", top + "/back/{{{host}}}").run()
quiet = {"nolog_exit_code": True, "nolog_error": True}
none = AgentPut(agents[0], f"{top}/nonesuch", "x", quiet).run()
gone = AgentGet(agents[0], f"{top}/nonesuch", top, quiet).run()
print(json.dumps([put.ok, get.ok, none.ok, gone.ok, gone.processes[0].stderr]))
""",
        str(tmp_path),
        *agents,
    )
    assert facts[:4] == [True, True, False, False]
    assert "nonesuch" in facts[4]
    for agent in agents:
        for side in ("to", "back"):
            copied = tmp_path / side / agent / "d" / "e" / "f"
            assert copied.read_bytes() == (tmp_path / "d" / "e" / "f").read_bytes()
