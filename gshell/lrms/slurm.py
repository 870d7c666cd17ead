"""Slurm: sbatch, squeue, scancel, sinfo; srun inside. Proven on Slurm 22.05.

Needs neither accounting nor scontrol. Times are asked for in epoch seconds (``SLURM_TIME_FORMAT``),
so the front end's time zone does not matter.
"""

from __future__ import annotations

import re

from gshell.errors import LrmsError
from gshell.lrms import common
from gshell.lrms.base import Allocation, Command, Headers, Queue, State, Status
from gshell.model.sanitize import sanitize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from gshell.lrms.base import Done, PilotRequest

name = "slurm"
directive = "#SBATCH"

ID = r"\d{1,12}"
EPOCH = {"SLURM_TIME_FORMAT": "%s"}

STATES = {
    "PENDING": State.QUEUED,
    "REQUEUED": State.QUEUED,
    "REQUEUE_FED": State.QUEUED,
    "REQUEUE_HOLD": State.HELD,
    "RESV_DEL_HOLD": State.HELD,
    "SPECIAL_EXIT": State.HELD,
    "CONFIGURING": State.STARTING,
    "POWER_UP_NODE": State.STARTING,
    "RUNNING": State.RUNNING,
    "SUSPENDED": State.RUNNING,
    "STOPPED": State.RUNNING,
    "RESIZING": State.RUNNING,
    "SIGNALING": State.RUNNING,
    "COMPLETING": State.ENDING,
    "STAGE_OUT": State.ENDING,
    "BOOT_FAIL": State.ENDED,
    "CANCELLED": State.ENDED,
    "COMPLETED": State.ENDED,
    "DEADLINE": State.ENDED,
    "FAILED": State.ENDED,
    "LAUNCH_FAILED": State.ENDED,
    "NODE_FAIL": State.ENDED,
    "OUT_OF_MEMORY": State.ENDED,
    "PREEMPTED": State.ENDED,
    "RECONFIG_FAIL": State.ENDED,
    "REVOKED": State.ENDED,
    "TIMEOUT": State.ENDED,
}
HOLDS = {  # of a pending job: it waits for a person, not for its turn
    "AccountNotAllowed",
    "BadConstraints",
    "DependencyNeverSatisfied",
    "InvalidAccount",
    "InvalidQOS",
    "JobHeldAdmin",
    "JobHeldUser",
    "PartitionConfig",
    "PartitionNodeLimit",
    "PartitionTimeLimit",
    "QOSNotAllowed",
}
BUSY = (
    "unable to contact slurm controller",
    "socket timed out",
    "temporarily unable",
    "try again",
    "connection refused",
    "maxsubmit",  # AssocMaxSubmitJobLimit, QOSMaxSubmitJobPerUserLimit: when some have ended
    "slurm backup controller in standby",
)


# ------------------------------------------------------------------------------ the submit side


def header(request: PilotRequest) -> list[str]:
    asks = [
        f"--job-name={common.quoted(common.word(request.name, 'name'))}",
        # A % begins a pattern there.
        f"--output={common.quoted(common.word(request.output, 'output').replace('%', '%%'))}",
        f"--nodes={request.nodes}",
    ]
    asks.append(f"--ntasks-per-node={request.slots}" if request.slots else "--exclusive")
    if request.walltime_s:
        asks.append(f"--time={common.clock(request.walltime_s)}")
    if request.memory_bytes:
        asks.append(f"--mem={common.mebibytes(request.memory_bytes)}M")
    if request.queue:
        asks.append(f"--partition={common.quoted(common.word(request.queue, 'queue'))}")
    if request.account:
        asks.append(f"--account={common.quoted(common.word(request.account, 'account'))}")
    return [f"{directive} {ask}" for ask in asks]


def submit(request: PilotRequest) -> Command:
    return Command(["sbatch", "--parsable", *request.extra, request.script])


def submitted(done: Done) -> str:
    # a site's own sbatch may have greeted before
    return common.named("sbatch", done, rf"^({ID})(?:;\S+)?$", BUSY)[-1]


def status(ids: Sequence[str]) -> list[Command]:
    mine = common.known(ids, ID)
    if not mine:
        return []
    return [
        Command(
            ["squeue", "-h", "-t", "all", "-o", "%i|%T|%r|%S|%N", "-j", ",".join(mine)], env=EPOCH
        ),
        # Who is before whom: the scheduler's order is by priority.
        Command(["squeue", "-h", "-t", "PD", "-S", "-p,i", "-o", "%i|%P|%r"]),
    ]


def statuses(ids: Sequence[str], done: Sequence[Done]) -> dict[str, Status]:
    if not common.known(ids, ID):
        return common.completed(ids, {}, ID, doubt=False)
    if done[0].code and "invalid job id" not in done[0].err.lower():
        raise common.failed("squeue", done[0], BUSY, otherwise="busy")
    positions = _positions(done[1]) if len(done) > 1 and not done[1].code else {}
    found, doubt = {}, False
    for line in done[0].out.splitlines():
        fields = line.split("|")
        if len(fields) != 5 or not line.strip():
            doubt = doubt or bool(line.strip())
            continue
        one = fields[0].strip()
        found[one] = _status(one, fields[1:], positions.get(one))
    if doubt and not found:
        raise common.broken("squeue", done[0].out)
    return common.completed(ids, found, ID, doubt or common.cut(done[0].out))


def _status(one: str, fields: Sequence[str], position: int | None) -> Status:
    word, why, start, nodes = (sanitize(field.strip()) for field in fields)
    state = STATES.get(word, State.UNKNOWN)
    if state is State.QUEUED and (why in HOLDS or "held" in why.lower()):
        state = State.HELD
    if state in (State.QUEUED, State.HELD):
        reason = "" if why == "None" else why
    elif state is State.RUNNING and word == "RUNNING":
        reason = ""
    else:
        reason = word
    try:
        hosts = tuple(common.hostlist(nodes)) if nodes else ()
    except LrmsError:
        hosts = ()
    return Status(
        one,
        state,
        reason,
        common.instant(start),
        position if state is State.QUEUED else None,
        hosts,
        0 if word == "COMPLETED" else None,
    )


def _positions(done: Done) -> dict[str, int]:
    """How many wait in a job's partitions before it; those that are held are in nobody's way."""
    ahead: dict[str, int] = {}
    positions: dict[str, int] = {}
    for line in done.out.splitlines():
        fields = line.split("|")
        if len(fields) != 3 or fields[2] in HOLDS:
            continue
        partitions = fields[1].split(",")
        positions[fields[0]] = min(ahead.get(partition, 0) for partition in partitions)
        for partition in partitions:
            ahead[partition] = ahead.get(partition, 0) + 1
    return positions


def cancel(ids: Sequence[str]) -> Command:
    return Command(["scancel", *common.cancellable(ids, ID)])


def find(prefix: str, user: str) -> Command:
    return Command(["squeue", "-h", f"--user={common.word(user, 'user')}", "-o", "%i|%j"])


def found(done: Done) -> dict[str, str]:
    if done.code:
        raise common.failed("squeue", done, BUSY, otherwise="busy")
    jobs = {}
    lines = done.out.split("\n")
    for line in lines:
        one, bar, called = line.partition("|")
        if bar and re.fullmatch(ID, one.strip(), re.ASCII):
            jobs[one.strip()] = sanitize(called.rstrip())
    if not jobs and done.out.strip() and "|" not in done.out:
        raise common.broken("squeue", done.out)
    return jobs


def offers() -> list[Command]:
    return [
        Command(["sinfo", "-h", "-o", "%P|%a|%l|%F|%C|%c|%m"]),
        Command(["squeue", "-h", "-r", "-t", "PD,R", "-o", "%P|%T"]),
    ]


def offered(done: Sequence[Done]) -> list[Queue]:
    if done[0].code:
        raise common.failed("sinfo", done[0], BUSY, otherwise="busy")
    queues: dict[str, Queue] = {}
    for line in done[0].out.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) != 7 or not fields[0]:
            continue
        queue = _queue(fields)
        # A partition with several kinds of nodes has a line for each.
        queues[queue.name] = _sum(queues[queue.name], queue) if queue.name in queues else queue
    if not queues and done[0].out.strip():
        raise common.broken("sinfo", done[0].out)
    if len(done) > 1 and not done[1].code:
        for called, queue in queues.items():
            queues[called] = queue._replace(
                running=_count(done[1].out, called, "RUNNING"),
                waiting=_count(done[1].out, called, "PENDING"),
            )
    return list(queues.values())


def _queue(fields: Sequence[str]) -> Queue:
    called, up, limit, nodes, cpus, cpus_per_node, memory = fields
    have, free = _of_aiot(nodes)
    cpus_have, cpus_free = _of_aiot(cpus)
    megabytes = common.number(memory.rstrip("+"))
    return Queue(
        sanitize(called.rstrip("*")),
        have,
        free,
        cpus_have,
        cpus_free,
        common.number(cpus_per_node.rstrip("+")),
        None if megabytes is None else megabytes * common.UNITS["m"],
        common.duration(limit),
        default=called.endswith("*"),
        up=up == "up",
    )


def _of_aiot(field: str) -> tuple[int | None, int | None]:
    """All and idle of "allocated/idle/other/total"."""
    parts = field.split("/")
    if len(parts) != 4:
        return None, None
    return common.number(parts[3]), common.number(parts[1])


def _sum(one: Queue, other: Queue) -> Queue:
    def plus(first: int | None, second: int | None) -> int | None:
        return None if first is None or second is None else first + second

    def least(first: int | None, second: int | None) -> int | None:
        return None if first is None or second is None else min(first, second)

    return one._replace(
        nodes=plus(one.nodes, other.nodes),
        nodes_free=plus(one.nodes_free, other.nodes_free),
        cpus=plus(one.cpus, other.cpus),
        cpus_free=plus(one.cpus_free, other.cpus_free),
        cpus_per_node=least(one.cpus_per_node, other.cpus_per_node),
        memory_bytes=least(one.memory_bytes, other.memory_bytes),
    )


def _count(out: str, queue: str, state: str) -> int:
    rows = (line.rpartition("|") for line in out.splitlines())
    return sum(where.strip() == state and queue in names.split(",") for names, _, where in rows)


# ------------------------------------------------------------------------------ inside


def allocation(env: Mapping[str, str], read: Callable[[str], str], now: float) -> Allocation | None:
    one = env.get("SLURM_JOB_ID") or env.get("SLURM_JOBID", "")
    nodes = env.get("SLURM_JOB_NODELIST") or env.get("SLURM_NODELIST", "")
    if not one or not nodes:
        return None
    hosts = common.hostlist(nodes)
    slots = _slots(env, len(hosts))
    return Allocation(
        name,
        one,
        tuple(dict(zip(hosts, slots)).items()),
        common.instant(env.get("SLURM_JOB_END_TIME", "")),
        common.number(env.get("SLURM_RESTART_COUNT", "")) or 0,
        sanitize(env.get("SLURM_JOB_PARTITION", "")),
        sanitize(env.get("SLURM_JOB_NAME", "")),
    )


def _slots(env: Mapping[str, str], hosts: int) -> list[int]:
    in_step = "SLURM_STEP_ID" in env  # then SLURM_TASKS_PER_NODE is the step's
    slots = [] if in_step else common.repeated(env.get("SLURM_TASKS_PER_NODE", ""))
    if len(slots) == hosts:
        return slots
    slots = common.repeated(env.get("SLURM_JOB_CPUS_PER_NODE", ""))
    each = common.number(env.get("SLURM_CPUS_PER_TASK", "")) or 1
    if len(slots) == hosts:
        return [max(1, cpus // each) for cpus in slots]
    return [1] * hosts


def ends(allocation: Allocation) -> Command | None:
    if not common.known([allocation.id], ID):
        return None
    return Command(["squeue", "-h", "-o", "%e", "-j", allocation.id], env=EPOCH)


def ended_at(done: Done, now: float) -> float | None:
    return None if done.code else common.instant(done.out)


def on_nodes(allocation: Allocation, hosts: Sequence[str], argv: Sequence[str]) -> list[Command]:
    if not hosts:
        return []
    count = len(hosts)
    return [
        Command(
            [
                "srun",
                f"--jobid={allocation.id}",
                "--overlap",  # beside the script's own step and whatever else is started
                f"--nodes={count}",
                f"--ntasks={count}",
                "--ntasks-per-node=1",
                f"--nodelist={','.join(hosts)}",
                "--cpu-bind=none",  # it hands the node's cores on to others
                "--mpi=none",
                "--input=none",
                "--kill-on-bad-exit=0",  # one that ends does not end the others
                "--wait=0",
                "--",
                *argv,
            ]
        )
    ]


# ------------------------------------------------------------------------------ scripts

OPTIONS = {
    "-J": "name",
    "--job-name": "name",
    "-N": "nodes",
    "--nodes": "nodes",
    "-n": "tasks",
    "--ntasks": "tasks",
    "--ntasks-per-node": "tasks_per_node",
    "-c": "cpus_per_task",
    "--cpus-per-task": "cpus_per_task",
    "--exclusive": "whole!",
    "-t": "walltime_s",
    "--time": "walltime_s",
    "--mem": "memory_bytes",
    "--mem-per-cpu": "memory of cpu",
    "--tasks-per-node": "tasks_per_node",
    "-p": "queue",
    "--partition": "queue",
    "-A": "account",
    "--account": "account",
    "-o": "output",
    "--output": "output",
    "-e": "error",
    "--error": "error",
    "-D": "cwd",
    "--chdir": "cwd",
    "-a": "array",
    "--array": "array",
    "-H": "!",
    "-k": "!",
    "-O": "!",
    "-s": "!",
    "-Q": "!",
    "-v": "!",
    "-W": "!",
}


def headers(text: str) -> Headers | None:
    fields: dict[str, Any] = {}
    ignored: list[str] = []
    count = None
    for count, line in common.header_lines(text, directive):
        parts = common.words(line, count)
        if parts[:1] in (["hetjob"], ["packjob"]):
            raise LrmsError(
                "refused",
                f"line {count}: {parts[0]}: a job of several parts is not started from a script",
                "gshell run -N NODES    for each of them",
            )
        for field, value, written in common.options(parts, OPTIONS):
            if field in ("tasks", "tasks_per_node", "cpus_per_task"):
                fields[field] = common.asked(count, written, common.number(value))
            elif field == "nodes":  # "2-4": the fewest that will do
                fields[field] = common.asked(count, written, common.number(value.partition("-")[0]))
            elif field == "walltime_s":
                fields.pop(field, None)
                if value.lower() not in ("unlimited", "infinite"):
                    fields[field] = common.asked(count, written, common.duration(value))
            elif field in ("memory_bytes", "memory of cpu"):
                fields["memory_bytes"] = common.asked(count, written, common.size(value))
                fields["memory_of_slot"] = field == "memory of cpu"
            elif field == "whole":
                fields[field] = True
            elif field:
                fields[field] = sanitize(value)
            else:
                ignored.append(written)
    if "output" in fields:
        fields.setdefault("error", fields["output"])  # without one both go to the same file
    if "nodes" not in fields and fields.get("tasks") and fields.get("tasks_per_node"):
        fields["nodes"] = -(-fields["tasks"] // fields["tasks_per_node"])
    return None if count is None else common.gathered(fields, ignored)
