"""The rows of the report, in the order they are run and shown. Each takes a Lab and gives Lines.

A row measures only; it starts nothing that outlives it except through the Lab. The rows that leave
many agents behind (``agents``, ``fanout``) come after those that a busy machine would disturb.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.lab import Lab
from bench.rows import (
    bulk,
    cast,
    coallocation,
    experiments,
    fanout,
    files,
    forward,
    integrity,
    keys,
    lanes,
    lu,
    prompt,
    relay,
    replay,
    screens,
    spawn,
    sshdoor,
    staging,
    startup,
    sweepkill,
    tutorial,
)
from bench.table import Line


@dataclass(frozen=True)
class Row:
    name: str
    what: str
    measure: Callable[[Lab], list[Line]]


ROWS = (
    Row("start", "run true, whole process", startup.start),
    Row("start-delayed", "run true, 25 ms one way to the relay", startup.start_delayed),
    Row("shell", "first byte of a shell in a pty", startup.shell),
    Row("prompt", "the prompt ready, lists and a Tab", prompt.prompt),
    Row("echo", "keystroke echo, p50", keys.echo),
    Row("interrupt", "Ctrl-C during yes: prompt back", keys.interrupt),
    Row("bulk", "bulk stdout, pipes", bulk.pipes),
    Row("bulk-pty", "bulk stdout, pty", bulk.pty),
    Row("lines", "4 writers, unbuffered lines", bulk.lines),
    Row("forward", "bulk and round trips through -L", forward.forward),
    Row("ssh", "stock ssh and scp to a job's node", sshdoor.ssh_door),
    Row("files", "files there and back", files.copies),
    Row("stall", "a client that doesn't read", relay.stall),
    Row("integrity", "random bytes arrive as sent", integrity.integrity),
    Row("screens", "terminal programs, direct and through", screens.screens),
    Row("replay", "replay: inputs placed right, no false alarms", replay.replay),
    Row("lu", "LU class W, 1 rank, wall", lu.lu),
    Row("lanes", "batch share beside interactive spinners", lanes.lanes),
    Row("sweepkill", "a sweep of LU, killed and resumed", sweepkill.sweepkill),
    Row("tutorial", "the session's script at OAR, killed and gone on with", tutorial.tutorial),
    Row("coallocation", "2 x 4 tasks at two sites, one late", coallocation.coallocation),
    Row("cast", "recordings: drift, reading, screen", cast.cast),
    Row("spawn", "agent: true under a pty, start to exit seen", spawn.spawn),
    Row("sweeper", "ParamSweeper: get_next and done", experiments.sweeper),
    Row("processes", "200 local processes at once", experiments.processes),
    Row("sshhosts", "one command on 50 ssh hosts", experiments.sshhosts),
    Row("staging", "64 MiB to 16 agents", staging.staging),
    Row("sessions", "relay memory per idle session", relay.sessions),
    Row("agents", "relay memory per idle agent", relay.agents),
    Row("fanout", "true on 50 waiting agents", fanout.fanout),
)
