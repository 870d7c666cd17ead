"""LSF: bsub, bjobs, bkill, bqueues; blaunch inside.

Not proven on a real one: after IBM's manuals of version 10.1 and what users have published.
bsub reads header lines only from its standard input, so a constant script puts the pilot's there.
LSF's times have no year: when a job started is not told.
"""

from __future__ import annotations

import re

from gshell.lrms import common
from gshell.lrms.base import Allocation, Command, Headers, Queue, State, Status
from gshell.model.sanitize import sanitize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from gshell.lrms.base import Done, PilotRequest

name = "lsf"
directive = "#BSUB"

ID = r"\d{1,12}"
SUBMIT = 'script=$1; shift; exec bsub "$@" <"$script"'  # SCRIPT OPTION...
FIELDS = "jobid stat exit_code exec_host exit_reason pend_reason delimiter='|'"

STATES = {
    "PEND": State.QUEUED,
    "WAIT": State.QUEUED,
    "FWD_PEND": State.QUEUED,
    "PSUSP": State.HELD,
    "PROV": State.STARTING,
    "RUN": State.RUNNING,
    "USUSP": State.RUNNING,
    "SSUSP": State.RUNNING,
    "ZOMBI": State.ENDING,
    "DONE": State.ENDED,
    "EXIT": State.ENDED,
}
BUSY = (
    "lsf is down",
    "please wait",
    "cannot connect",
    "failed in an lsf library call",
    "batch system daemon not responding",
    "still trying",
    "job limit",
    "timed out",
)
NONE_THERE = ("is not found", "no unfinished job", "no job found", "no pending job")


# ------------------------------------------------------------------------------ the submit side


def header(request: PilotRequest) -> list[str]:
    each = max(1, request.slots)
    asks = [
        f"-J {common.name(request.name, 'name')}",
        f"-o {common.quoted(common.word(request.output, 'output'))}",  # and errors, without -e
        f"-n {request.nodes * each}",
        f'-R "span[ptile={each}]"',
    ]
    if not request.slots:
        asks.append("-x")
    if request.walltime_s:
        minutes = -(-request.walltime_s // 60)
        asks.append(f"-W {minutes // 60}:{minutes % 60:02}")
    if request.memory_bytes:
        asks.append(f"-M {common.mebibytes(request.memory_bytes)}MB")
    if request.queue:
        asks.append(f"-q {common.name(request.queue, 'queue')}")
    if request.account:
        asks.append(f"-P {common.name(request.account, 'account')}")
    return [f"{directive} {ask}" for ask in asks]


def submit(request: PilotRequest) -> Command:
    return Command(["sh", "-c", SUBMIT, "sh", request.script, *request.extra])


def submitted(done: Done) -> str:
    return common.named("bsub", done, rf"^Job <({ID})> is submitted", BUSY)[0]


def status(ids: Sequence[str]) -> list[Command]:
    mine = common.known(ids, ID)
    if not mine:
        return []
    return [
        Command(["bjobs", "-noheader", "-o", FIELDS, *mine]),
        # Those that wait, in the order in which they are looked at.
        Command(["bjobs", "-u", "all", "-p", "-noheader", "-o", "jobid queue delimiter='|'"]),
    ]


def statuses(ids: Sequence[str], done: Sequence[Done]) -> dict[str, Status]:
    if not common.known(ids, ID):
        return common.completed(ids, {}, ID, doubt=False)
    lines = _lines("bjobs", done[0])
    positions = _positions(done[1].out) if len(done) > 1 and not done[1].code else {}
    found, doubt = {}, False
    for line in lines:
        fields = [sanitize(field.strip()) for field in line.split("|", 5)]
        if len(fields) < 6 or not re.fullmatch(ID, fields[0], re.ASCII):
            doubt = True
            continue
        found[fields[0]] = _status(fields, positions.get(fields[0]))
    if doubt and not found:
        raise common.broken("bjobs", done[0].out)
    return common.completed(ids, found, ID, doubt or common.cut(done[0].out))


def _lines(tool: str, done: Done) -> list[str]:
    if done.code and not any(words in done.err.lower() for words in NONE_THERE):
        raise common.failed(tool, done, BUSY, otherwise="busy")
    return [line for line in done.out.splitlines() if line.strip()]


def _status(fields: Sequence[str], position: int | None) -> Status:
    one, word, code, hosts, ended, waits = ("" if field == "-" else field for field in fields)
    state = STATES.get(word, State.UNKNOWN)
    reason = waits if state in (State.QUEUED, State.HELD) else ended
    if state is State.RUNNING and word == "RUN":
        reason = ""
    exit_code = 0 if word == "DONE" else common.number(code)
    return Status(
        one,
        state,
        reason or ("" if state is State.RUNNING and word == "RUN" else word),
        None,
        position if state is State.QUEUED else None,
        tuple(dict.fromkeys(host.rpartition("*")[2] for host in hosts.split(":") if host)),
        exit_code if state is State.ENDED else None,
    )


def _positions(out: str) -> dict[str, int]:
    ahead: dict[str, int] = {}
    positions = {}
    for line in out.splitlines():
        one, _, queue = line.strip().partition("|")
        positions[one] = ahead.get(queue, 0)
        ahead[queue] = ahead.get(queue, 0) + 1
    return positions


def cancel(ids: Sequence[str]) -> Command:
    return Command(["bkill", *common.cancellable(ids, ID)])


def find(prefix: str, user: str) -> Command:
    asked = "jobid job_name delimiter='|'"
    return Command(["bjobs", "-u", common.word(user, "user"), "-noheader", "-o", asked])


def found(done: Done) -> dict[str, str]:
    lines = _lines("bjobs", done)
    rows = [line.partition("|") for line in lines]
    jobs = {
        one.strip(): sanitize(called.strip())
        for one, bar, called in rows
        if bar and re.fullmatch(ID, one.strip(), re.ASCII)
    }
    if lines and not jobs:
        raise common.broken("bjobs", done.out)
    return jobs


def offers() -> list[Command]:
    return [Command(["bqueues", "-w"]), Command(["bhosts", "-w"]), Command(["bparams"])]


def offered(done: Sequence[Done]) -> list[Queue]:
    lines = _lines("bqueues", done[0])
    if lines and not lines[0].startswith("QUEUE_NAME"):
        raise common.broken("bqueues", done[0].out)
    everything = Queue("")  # a queue's own hosts are not told
    if len(done) > 1 and not done[1].code:
        everything = _hosts(done[1].out)
    defaults: list[str] = []
    if len(done) > 2 and not done[2].code:
        match = re.search(r"^Default Queues?:\s*(.*)$", done[2].out, re.MULTILINE)
        defaults = match[1].split()[:1] if match else []
    return [
        everything._replace(
            name=sanitize(row["QUEUE_NAME"]),
            waiting=common.number(row.get("PEND", "")),
            running=common.number(row.get("RUN", "")),
            default=row["QUEUE_NAME"] in defaults,
            up=row.get("STATUS") == "Open:Active",
        )
        for row in _table(done[0].out)
    ]


def _table(out: str) -> list[dict[str, str]]:
    """Lines of words under a line of names."""
    lines = [line.split() for line in out.splitlines() if line.strip()]
    return [dict(zip(lines[0], words)) for words in lines[1:]]


def _hosts(out: str) -> Queue:
    nodes = empty = cpus = free = 0
    per_node = []
    for row in _table(out):
        have = common.number(row.get("MAX", "")) or 0
        taken = common.number(row.get("NJOBS", "")) or 0
        left = max(0, have - taken) if row.get("STATUS") == "ok" else 0
        nodes, empty = nodes + 1, empty + (left == have > 0)
        cpus, free = cpus + have, free + left
        per_node.append(have)
    return Queue("", nodes, empty, cpus, free, min(per_node, default=None))


# ------------------------------------------------------------------------------ inside


def allocation(env: Mapping[str, str], read: Callable[[str], str], now: float) -> Allocation | None:
    one = env.get("LSB_JOBID", "")
    if not one:
        return None
    counts = env.get("LSB_MCPU_HOSTS", "").split()  # host count host count
    if counts:
        numbers = [common.number(count) for count in counts[1::2]]
        if None in numbers or len(counts) % 2:
            raise common.broken("LSB_MCPU_HOSTS", env["LSB_MCPU_HOSTS"])
        slots: dict[str, int] = {}
        for host, each in zip(map(sanitize, counts[::2]), numbers):
            slots[host] = slots.get(host, 0) + (each or 0)
        hosts = tuple(slots.items())
    elif env.get("LSB_HOSTS", "").strip():
        hosts = common.counted(map(sanitize, env["LSB_HOSTS"].split()))
    elif env.get("LSB_DJOB_HOSTFILE"):
        hosts = common.node_file(env["LSB_DJOB_HOSTFILE"], read)
    else:
        return None
    return Allocation(
        name,
        one,
        hosts,
        restart=int(env.get("LSB_RESTART", "").upper() == "Y"),
        queue=sanitize(env.get("LSB_QUEUE", "")),
        name=sanitize(env.get("LSB_JOBNAME", "")),
    )


def ends(allocation: Allocation) -> Command | None:
    if not common.known([allocation.id], ID):
        return None
    return Command(["bjobs", "-noheader", "-o", "time_left", allocation.id])


def ended_at(done: Done, now: float) -> float | None:
    """ "1:30 L" is an hour and a half to the limit; E and X are guesses."""
    match = re.match(r"\s*(\d{1,7}:\d\d) L", done.out, re.ASCII)
    left = common.duration(match[1], pair=3600) if match and not done.code else None
    return None if left is None else now + left


def on_nodes(allocation: Allocation, hosts: Sequence[str], argv: Sequence[str]) -> list[Command]:
    return common.by_ssh(hosts, argv, ("blaunch", "-n"))


# ------------------------------------------------------------------------------ scripts

OPTIONS = {
    "-J": "name",
    "-n": "tasks",
    "-nnodes": "nodes",
    "-R": "resources",
    "-W": "walltime_s",
    "-M": "memory_bytes",
    "-q": "queue",
    "-P": "account",
    "-G": "",
    "-o": "output",
    "-oo": "output",
    "-e": "error",
    "-eo": "error",
    "-cwd": "cwd",
    "-x": "whole!",
}


def headers(text: str) -> Headers | None:
    fields: dict[str, Any] = {}
    ignored: list[str] = []
    count = None
    for count, line in common.header_lines(text, directive, whole=True):
        parts = common.words(line, count)
        for field, value, written in common.options(parts, OPTIONS, glued=False):
            if field in ("tasks", "nodes"):  # "4,8": the fewest that will do
                fewest = value.partition(",")[0]
                fields[field] = common.asked(count, written, common.number(fewest))
            elif field == "walltime_s":  # [H:]M[/HOST]
                limit = common.duration(value.partition("/")[0], pair=3600)
                fields[field] = common.asked(count, written, limit)
            elif field == "memory_bytes":
                fields[field] = common.asked(count, written, common.size(value, "k"))
            elif field == "resources":
                if value.strip() == "span[hosts=1]":
                    fields["nodes"] = 1
                    continue
                match = re.search(r"span\[ptile=(\d{1,9})\]", value, re.ASCII)
                if match:
                    fields["tasks_per_node"] = int(match[1])
                if not match or match[0] != value.strip():
                    ignored.append(written)
            elif field == "whole":
                fields[field] = True
            elif field == "name":  # "name[1-10]" is an array
                called, bracket, array = value.partition("[")
                fields[field] = sanitize(called)
                if bracket:
                    fields["array"] = sanitize(array.rstrip("]"))
            elif field:
                fields[field] = sanitize(value)
            else:
                ignored.append(written)
    if "nodes" not in fields and fields.get("tasks") and fields.get("tasks_per_node"):
        fields["nodes"] = -(-fields["tasks"] // fields["tasks_per_node"])
    return None if count is None else common.gathered(fields, ignored)
