"""The plug-in for no batch system, against this machine."""

import getpass
import subprocess
import time

import pytest

from gshell.lrms import local, registry
from gshell.lrms.base import Done, PilotRequest, State
from kit.procs import until

SLOW_S = 20

pytestmark = pytest.mark.skipif(
    subprocess.run(["sh", "-c", "command -v setsid ps timeout"], capture_output=True).returncode,
    reason="needs setsid, ps, timeout",
)


def do(command):
    ran = subprocess.run(
        command.argv, input=command.stdin, capture_output=True, text=True, timeout=SLOW_S
    )
    return Done(ran.returncode, ran.stdout, ran.stderr)


def state(one):
    return local.statuses([one], [do(each) for each in local.status([one])])[one].state


@pytest.fixture
def submitted(tmp_path):
    """Submits a script; what was submitted is cancelled in the end."""
    made = []

    def submit(body, name="gshell-test", **asked):
        script = tmp_path / "it's a; script.sh"
        script.write_text(f"#!/bin/sh\n{body}\n")
        output = tmp_path / "what it $says"
        request = PilotRequest(name, str(script), str(output), **asked)
        made.append(local.submitted(do(local.submit(request))))
        return made[-1], output

    yield submit
    for one in made:
        do(local.cancel([one]))
        until(lambda one=one: state(one) is State.ENDED)


def test_a_local_pilot_lives_until_it_is_cancelled(submitted):
    one, _ = submitted("exec sleep 600")
    assert state(one) is State.RUNNING
    assert local.found(do(local.find("gshell-", getpass.getuser())))[one] == "gshell-test"
    do(local.cancel([one]))
    until(lambda: state(one) is State.ENDED)


def test_a_local_pilot_gets_time_to_end_by_itself(submitted):
    one, output = submitted("trap 'echo bye; exit' TERM; echo up; while :; do sleep .05; done")
    until(lambda: output.exists() and "up" in output.read_text())
    do(local.cancel([one]))
    until(lambda: state(one) is State.ENDED)
    assert output.read_text().endswith("bye\n")


def test_a_local_pilot_knows_what_it_is(submitted):
    one, output = submitted("env", slots=3, walltime_s=60)
    until(lambda: state(one) is State.ENDED)
    lines = output.read_text().splitlines()
    env = dict(line.split("=", 1) for line in lines if "=" in line)
    found = registry.detect({k: v for k, v in env.items() if k.startswith("GSHELL_")}, None, 0.0)
    assert (found.lrms, found.id, found.hosts[0][1]) == ("local", one, 3)
    assert found.ends_at == pytest.approx(time.time() + 60, abs=30)


def test_a_local_pilot_ends_when_its_time_is_over(submitted):
    one, _ = submitted("exec sleep 600", walltime_s=1)
    until(lambda: state(one) is State.ENDED)


def test_another_process_with_its_number_is_left_alone():
    other = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        one = f"{other.pid}.gshell-test"
        assert state(one) is State.ENDED
        do(local.cancel([one]))
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_what_this_machine_offers():
    [queue] = local.offered([do(one) for one in local.offers()])
    assert queue.cpus >= 1
    assert queue.memory_bytes > 1 << 20
