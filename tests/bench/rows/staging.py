"""One file to many agents: sent once and passed on, beside sent to each, over a narrow way to the
relay. What the client sent is counted on that way.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from bench.lab import Lab
from bench.measure import Failed, Sample, interleaved, run_checked
from bench.table import Line, against, at_most
from kit.cuts import Connection
from kit.faultproxy import UP, FaultProxy, Way
from kit.sshd import HOST

AGENTS, SIZE, RATE = 16, 64 << 20, 50e6
QUICK_AGENTS, QUICK_SIZE = 4, 8 << 20
ONE_WAY_S = 0.005
DEADLINE_S = 150.0
ROOT = str(Path(__file__).parents[3])
PROBE = """
import sys
from gshell.sweep import AgentPut
file, to, tree, *agents = sys.argv[1:]
put = AgentPut(agents, [file], to + "/{{{host}}}/there", tree=tree == "tree").run()
sys.exit(0 if put.ok else "\\n".join(p.stderr for p in put.processes))
"""


def staging(lab: Lab) -> list[Line]:
    count, size = (QUICK_AGENTS, QUICK_SIZE) if lab.quick else (AGENTS, SIZE)
    file = lab.random_file(size)
    to = lab.directory / "staged"
    lab.gsh.ensure_agents(count)
    agents = lab.gsh.agent_ids()[:count]
    sent = [0]

    def counted(connection: Connection, direction: str, data: bytes) -> None:
        sent[0] += len(data) if direction == UP else 0

    way = Way(ONE_WAY_S, rate=RATE, shared=True)
    with FaultProxy(f"{HOST}:{lab.gsh.port}", tap=counted, way=way) as proxy:
        client = lab.gsh.new_client("staging", int(proxy.address.rpartition(":")[2]))
        env = {**client.env, "PYTHONPATH": ROOT}

        def turn(how: str) -> Sample:
            shutil.rmtree(to, ignore_errors=True)
            for agent in agents:
                (to / agent).mkdir(parents=True)
            sent[0] = 0
            argv = [sys.executable, "-c", PROBE, str(file), str(to), how, *agents]
            elapsed, _ = run_checked(argv, env, deadline_s=DEADLINE_S)
            for agent in agents:
                if (to / agent / "there").read_bytes() != file.read_bytes():
                    raise Failed(f"what arrived at {agent} is not what was sent")
            return {"s": elapsed, "MB": sent[0] / 1e6}

        contestants = {"tree": lambda: turn("tree"), "each": lambda: turn("each")}
        found = interleaved(contestants, lab.rounds(2, 1), warm_up=False)
    tree, each = found["tree"], found["each"]
    what = f"{size >> 20} MiB to {count} agents, {RATE / 1e6:.0f} MB/s to the relay"
    return [
        against("staging", what, tree, each, "s", at_most(0.5)),
        against("staging", "  sent by the client", tree, each, "MB", at_most(1.1 / count)),
    ]
