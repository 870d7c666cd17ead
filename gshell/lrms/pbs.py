"""PBS: OpenPBS, PBS Pro and Torque; qsub, qstat, qdel, pbsnodes; pbsdsh inside.

Not proven on a real one: after the manuals, OpenPBS's sources and what users have published. What
the branches agree on is used: ``nodes=N:ppn=S``, ``qstat -f`` and the line numbers of the node
file. An ended job is soon gone; PBS Pro's history is not asked. Submission and status were seen to
work with the imitation that comes with Slurm.
"""

from __future__ import annotations

import datetime
import re

from gshell.lrms import common
from gshell.lrms.base import Allocation, Command, Headers, Queue, State, Status
from gshell.model.sanitize import sanitize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from gshell.lrms.base import Done, PilotRequest

name = "pbs"
directive = "#PBS"

ID = r"\d{1,12}(?:\.[A-Za-z0-9][\w.-]{0,250})?"
PATH = r"[\w.@+/%=~-]+"  # a colon would be a host's
UTC = {"TZ": "UTC"}  # qstat makes times of the server's seconds, where it runs
FIND = 'ids=$(qselect -u "$1") || exit; [ -z "$ids" ] || qstat -f $ids'  # numbers.server each

STATES = {
    "Q": State.QUEUED,
    "W": State.QUEUED,
    "T": State.QUEUED,
    "M": State.QUEUED,
    "H": State.HELD,
    "R": State.RUNNING,
    "S": State.RUNNING,
    "U": State.RUNNING,
    "B": State.RUNNING,
    "E": State.ENDING,
    "C": State.ENDED,
    "F": State.ENDED,
    "X": State.ENDED,
}
BUSY = (
    "cannot connect to server",
    "end of file",
    "communication failure",
    "connection refused",
    "pbs_iff",
    "maximum number of jobs already in queue",
    "would exceed",
    "try again",
    "timed out",
)
YES = ("True", "yes")
NOT_THERE = ("unknown job id", "job has finished", "unknown job")


# ------------------------------------------------------------------------------ the submit side


def header(request: PilotRequest) -> list[str]:
    nodes = f"nodes={request.nodes}"
    if request.slots:
        nodes += f":ppn={request.slots}"
    asks = [
        f"-N {common.name(request.name, 'name')}",
        f"-o {common.name(request.output, 'output', PATH)}",
        "-j oe",
        f"-l {nodes}",
    ]
    if request.walltime_s:
        asks.append(f"-l walltime={common.clock(request.walltime_s)}")
    if request.memory_bytes:  # of all nodes
        asks.append(f"-l mem={common.mebibytes(request.memory_bytes) * request.nodes}mb")
    if request.queue:
        asks.append(f"-q {common.name(request.queue, 'queue')}")
    if request.account:
        asks.append(f"-A {common.name(request.account, 'account')}")
    return [f"{directive} {ask}" for ask in asks]


def submit(request: PilotRequest) -> Command:
    return Command(["qsub", *request.extra, request.script])


def submitted(done: Done) -> str:
    if done.code:
        raise common.failed("qsub", done, BUSY)
    found = [line for line in done.out.split() if re.fullmatch(ID, line, re.ASCII)]
    if not found:
        raise common.broken("qsub", done.out)
    return found[-1]


def status(ids: Sequence[str]) -> list[Command]:
    mine = common.known(ids, ID)
    if not mine:
        return []
    return [Command(["qstat", "-f", *mine], env=UTC), Command(["qstat"])]


def statuses(ids: Sequence[str], done: Sequence[Done]) -> dict[str, Status]:
    mine = common.known(ids, ID)
    if not mine:
        return common.completed(ids, {}, ID, doubt=False)
    complaints = done[0].err.lower()
    if done[0].code and not any(words in complaints for words in NOT_THERE):
        raise common.failed("qstat", done[0], BUSY, otherwise="busy")
    jobs = _blocks("Job Id", done[0].out)
    if not jobs and done[0].out.strip():
        raise common.broken("qstat", done[0].out)
    positions = _positions(done[1].out) if len(done) > 1 and not done[1].code else {}
    by_number = {_number(one): job for one, job in jobs.items()}  # servers have several names
    found, doubt = {}, False
    for one in mine:
        job = by_number.get(_number(one))
        if job is not None and "job_state" in job:
            found[one] = _status(one, job, positions.get(_number(one)))
        doubt = doubt or (job is not None and one not in found)
    return common.completed(ids, found, ID, doubt or common.cut(done[0].out))


def _number(one: str) -> str:
    return one.partition(".")[0]


def _blocks(label: str, out: str) -> dict[str, dict[str, str]]:
    """name -> attributes, of "LABEL: NAME" lines with indented "key = value" under them; a line
    that begins with a tab goes on with the one before. No label: the name stands alone. Slurm's
    imitation indents with tabs, also between label and name, and goes on nowhere."""
    blocks: dict[str, dict[str, str]] = {}
    block: dict[str, str] | None = None
    key, tabs = "", False
    for line in out.splitlines():
        if line.startswith("\t") and not tabs:
            if block is not None and key:
                block[key] += sanitize(line[1:])
        elif line[:1] in (" ", "\t"):
            key, equals, value = line.strip().partition(" = ")
            if block is not None and equals:
                block[key] = sanitize(value)
            else:
                key = ""
        elif line.strip():
            head, colon, called = line.partition(":") if label else (label, ":", line)
            mine = head == label and bool(colon)
            block = blocks.setdefault(sanitize(called.strip()), {}) if mine else None
            key, tabs = "", called.startswith("\t")
    return blocks


def _status(one: str, job: Mapping[str, str], position: int | None) -> Status:
    word = job["job_state"]
    state = STATES.get(word, State.UNKNOWN)
    code = job.get("exit_status", job.get("Exit_status", ""))
    reason = "" if state is State.RUNNING else job.get("comment", "")
    if state is State.ENDED and re.fullmatch(r"-?\d{1,6}", code, re.ASCII):
        reason = reason or f"exit status {code}"
    start = job.get("start_time") or job.get("stime") or job.get("estimated.start_time", "")
    hosts = (part.partition("/")[0] for part in job.get("exec_host", "").split("+"))
    return Status(
        one,
        state,
        reason or ("" if state is State.RUNNING else word),
        _instant(start),
        position if state is State.QUEUED else None,
        tuple(dict.fromkeys(host for host in hosts if host)),
        int(code) if state is State.ENDED and code.isdigit() and len(code) < 7 else None,
    )


def _instant(text: str) -> float | None:
    try:
        moment = datetime.datetime.strptime(" ".join(text.split()), "%a %b %d %H:%M:%S %Y")
    except ValueError:
        return None
    return moment.replace(tzinfo=datetime.timezone.utc).timestamp()


def _positions(out: str) -> dict[str, int]:
    """From ``qstat``: id, name, user, time, state, queue; in the order of the queue."""
    ahead: dict[str, int] = {}
    positions = {}
    for line in out.splitlines():
        words = line.split()
        if len(words) < 6 or words[-2] != "Q" or not words[0][:1].isdigit():
            continue
        positions[_number(words[0])] = ahead.get(words[-1], 0)
        ahead[words[-1]] = ahead.get(words[-1], 0) + 1
    return positions


def cancel(ids: Sequence[str]) -> Command:
    return Command(["qdel", *common.cancellable(ids, ID)])


def find(prefix: str, user: str) -> Command:
    return Command(["sh", "-c", FIND, "sh", common.name(user, "user")])


def found(done: Done) -> dict[str, str]:
    if done.code and not any(words in done.err.lower() for words in NOT_THERE):
        raise common.failed("qstat", done, BUSY, otherwise="busy")
    jobs = _blocks("Job Id", done.out)
    if not jobs and done.out.strip():
        raise common.broken("qstat", done.out)
    return {
        one: job.get("Job_Name", "")
        for one, job in jobs.items()
        if re.fullmatch(ID, one, re.ASCII) and job.get("job_state") not in ("C", "F", "X")
    }


def offers() -> list[Command]:
    return [
        Command(["qstat", "-Q", "-f"]),
        Command(["pbsnodes", "-a"]),
        Command(["qstat", "-B", "-f"]),
    ]


def offered(done: Sequence[Done]) -> list[Queue]:
    if done[0].code:
        raise common.failed("qstat", done[0], BUSY, otherwise="busy")
    queues = _blocks("Queue", done[0].out)
    if not queues and done[0].out.strip():
        raise common.broken("qstat", done[0].out)
    everything = Queue("")  # a queue's own nodes are not told
    if len(done) > 1 and not done[1].code:
        everything = _nodes(done[1].out)
    default = ""
    if len(done) > 2 and not done[2].code:
        for server in _blocks("Server", done[2].out).values():
            default = server.get("default_queue", "")
    return [
        everything._replace(
            name=called,
            walltime_s=common.duration(queue.get("resources_max.walltime", ""), alone=1),
            running=_count(queue, "Running"),
            waiting=_count(queue, "Queued"),
            default=called == default or len(queues) == 1,
            up=queue.get("enabled") in YES and queue.get("started") in YES,
        )
        for called, queue in queues.items()
        if queue.get("queue_type", "Execution") == "Execution"
    ]


def _count(queue: Mapping[str, str], state: str) -> int | None:
    match = re.search(rf"\b{state}:(\d{{1,9}})", queue.get("state_count", ""), re.ASCII)
    return int(match[1]) if match else None


def _nodes(out: str) -> Queue:
    nodes = _blocks("", out)
    cpus, free, empty, per_node, memory = 0, 0, 0, [], []
    for node in nodes.values():
        have = common.number(node.get("np") or node.get("resources_available.ncpus", "")) or 0
        taken = common.number(node.get("resources_assigned.ncpus", ""))
        if taken is None:
            taken = len([one for one in node.get("jobs", "").split(",") if one.strip()])
        left = max(0, have - taken) if node.get("state", "") in ("free", "job-busy") else 0
        cpus, free, empty = cpus + have, free + left, empty + (left == have > 0)
        per_node.append(have)
        size = common.size(node.get("resources_available.mem", ""))
        memory += [] if size is None else [size]
    return Queue(
        "",
        len(nodes),
        empty,
        cpus,
        free,
        min(per_node, default=None),
        min(memory, default=None),
    )


# ------------------------------------------------------------------------------ inside


def allocation(env: Mapping[str, str], read: Callable[[str], str], now: float) -> Allocation | None:
    one, path = env.get("PBS_JOBID", ""), env.get("PBS_NODEFILE", "")
    if not one or not path:
        return None
    walltime = common.number(env.get("PBS_WALLTIME", ""))  # Torque's
    return Allocation(
        name,
        one,
        common.node_file(path, read),
        now + walltime if walltime else None,
        queue=sanitize(env.get("PBS_QUEUE", "")),
        name=sanitize(env.get("PBS_JOBNAME", "")),
    )


def ends(allocation: Allocation) -> Command | None:
    if not common.known([allocation.id], ID):
        return None
    return Command(["qstat", "-f", allocation.id], env=UTC)


def ended_at(done: Done, now: float) -> float | None:
    for job in _blocks("Job Id", done.out).values():
        left = common.number(job.get("Walltime.Remaining", ""))
        if left is not None:
            return now + left
        start = _instant(job.get("start_time") or job.get("stime", ""))
        walltime = common.duration(job.get("Resource_List.walltime", ""), alone=1)
        return None if start is None or walltime is None else start + walltime
    return None


def on_nodes(allocation: Allocation, hosts: Sequence[str], argv: Sequence[str]) -> list[Command]:
    """pbsdsh counts the node file's lines, from 0."""
    first, at = {}, 0
    for host, slots in allocation.hosts:
        first[host] = at
        at += slots
    return [Command(["pbsdsh", "-n", str(first[host]), "--", *argv]) for host in hosts]


# ------------------------------------------------------------------------------ scripts

OPTIONS = {
    "-N": "name",
    "-l": "resources",
    "-q": "queue",
    "-A": "account",
    "-P": "account",
    "-o": "output",
    "-e": "error",
    "-j": "join",
    "-d": "cwd",
    "-w": "cwd",
    "-t": "array",
    "-J": "array",
    "-V": "!",
    "-h": "!",
    "-I": "!",
    "-X": "!",
}


def headers(text: str) -> Headers | None:
    fields: dict[str, Any] = {}
    ignored: list[str] = []
    count = None
    joins = ""
    for count, line in common.header_lines(text, directive):
        parts = common.words(common.joined(line), count)
        for field, value, written in common.options(parts, OPTIONS):
            if field == "join":
                joins = value
            elif field == "resources":
                for part in value.split(","):
                    _resource(count, written, part, fields, ignored)
            elif field in ("output", "error"):
                fields[field] = sanitize(common.without_host(value))
            elif field:
                fields[field] = sanitize(value)
            else:
                ignored.append(written)
    if count is None:
        return None
    if joins == "oe" and "output" in fields:
        fields["error"] = fields["output"]
    elif joins == "eo" and "error" in fields:
        fields["output"] = fields["error"]
    if "memory_bytes" in fields and "per node" not in fields:  # mem= is that of all nodes
        fields["memory_bytes"] //= max(1, fields.get("nodes") or 1)
    fields.pop("per node", None)
    return common.gathered(fields, ignored)


def _resource(
    count: int, written: str, part: str, fields: dict[str, Any], ignored: list[str]
) -> None:
    key, _, value = part.partition("=")
    if key == "walltime":
        if value.count(":") == 3:  # Torque's days
            value = value.replace(":", "-", 1)
        fields["walltime_s"] = common.asked(count, written, common.duration(value, alone=1))
    elif key in ("mem", "pmem"):
        fields["memory_bytes"] = common.asked(count, written, common.size(value, "b"))
        if key == "pmem":
            fields["memory_of_slot"] = fields["per node"] = True
    elif key in ("ncpus", "procs"):
        fields["tasks"] = common.asked(count, written, common.number(value))
    elif key == "place":
        fields["whole"] = "excl" in value
    elif key in ("nodes", "select"):
        fields["nodes"] = 0
        for chunk in value.split("+"):
            _chunk(count, written, key, chunk, fields, ignored)
    else:
        ignored.append(f"-l {part}")


def _chunk(
    count: int, written: str, key: str, chunk: str, fields: dict[str, Any], ignored: list[str]
) -> None:
    """``2:ppn=4``, ``node07:ppn=4``, ``ncpus=8:mem=4gb``: of several the largest counts for all."""
    amount, *more = chunk.split(":")
    nodes = common.number(amount)
    if nodes is None:  # the host, or a property, of one
        if not re.fullmatch(r"[A-Za-z][\w.-]*(=\S+)?", amount, re.ASCII):
            common.asked(count, written, None)
        nodes, more = 1, [amount, *more]
    fields["nodes"] += nodes
    asked = dict(each.partition("=")[::2] for each in more)
    for word in ("ncpus", "mpiprocs", "ppn"):
        if word in asked:
            each = common.asked(count, written, common.number(asked.pop(word)))
            fields["tasks_per_node"] = max(each, fields.get("tasks_per_node", 1))
    if "mem" in asked:
        size = common.asked(count, written, common.size(asked.pop("mem"), "b"))
        fields["memory_bytes"] = max(size, fields.get("memory_bytes", 0))
        fields["per node"] = True
    asked.pop("ompthreads", None)  # of those cores
    ignored += [f"-l {key}=...:{word}" for word in asked]
