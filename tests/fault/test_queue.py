"""Who waits in the queue keeps its turn while broker and relay are killed, however long it has waited."""

from __future__ import annotations

import pytest
from fault.runners import Crowd
from fault.talks import Known, kill

from kit.procs import Env, alive, running, until

LONG_S = 60.0  # in the queue; more than the patience with a relay that was never there


@pytest.mark.parametrize("victim", ["broker_pid", "pid"])
def test_those_who_wait_keep_their_turn_when_the_relay_restarts(victim: str) -> None:
    with running() as env, Crowd(env_with_one_slot(env)) as crowd:
        go, order = env.root / "go", env.root / "order"
        statuses: dict[str, int] = {}
        known = Known(env)

        def start(name: str, program: str) -> None:
            crowd.run(["sh", "-c", program], name, lambda status: statuses.update({name: status}))

        def states() -> dict[str, str]:
            return {job["id"]: job["state"] for job in known.look().values()}

        def carry(done, what: str) -> None:
            assert crowd.loop.run_until(done, 30.0), f"{what}: {states()} {statuses}\n{env.logs()}"

        start("first", f"while [ ! -e {go} ]; do sleep 0.02; done")
        carry(lambda: list(states().values()) == ["ACTIVE"], "the first to run")
        for number in range(3):
            start(f"next{number}", f"echo {number} >>{order}; exit {number}")
            carry(lambda n=number: list(states().values()).count("QUEUED") == n + 1, "the queue")
        crowd.skipped_s += LONG_S
        facts, before = env.relay_facts(), states()
        kill(facts[victim])
        until(lambda: not alive(facts["broker_pid"]), "the broker's end")
        if victim == "pid":
            crowd.loop.run_until(lambda: False, 2.0)  # they find nobody who would take a connection
            done = env.gshell("relay", "start", "--listen", env.address, "--state", str(env.state))
            assert done.returncode == 0, done.stderr
        carry(lambda: states() == before, "the queue to be as before")
        assert not statuses, (env.root / "crowd.err.log").read_text()
        go.touch()
        carry(lambda: len(statuses) == 4, "all to end")
        assert statuses == {"first": 0, "next0": 0, "next1": 1, "next2": 2}
        assert order.read_text().split() == ["0", "1", "2"]


def env_with_one_slot(env: Env) -> Env:
    env.start_agent("agent", env.start_relay(), "--slots", "1")
    return env
