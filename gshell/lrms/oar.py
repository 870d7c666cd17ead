"""OAR: oarsub, oarstat, oardel, oarnodes; oarsh inside. Proven on OAR 2.5.

Asks for JSON (Debian's oarstat needs libjson-perl for it), whose times are epoch seconds. OAR has
no request for memory: `PilotRequest.memory_bytes` is not asked for. It knows ended jobs for ever.
"""

from __future__ import annotations

import json
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

name = "oar"
directive = "#OAR"

ID = r"\d{1,12}"
PATH = r"[\w.@:+/%=,~-]+"  # header lines have no quotes, and the script's path goes through a shell

STATES = {
    "Waiting": State.QUEUED,
    "toAckReservation": State.QUEUED,
    "Hold": State.HELD,
    "toLaunch": State.STARTING,
    "Launching": State.STARTING,
    "Running": State.RUNNING,
    "Suspended": State.RUNNING,
    "Resuming": State.RUNNING,
    "Finishing": State.ENDING,
    "toError": State.ENDING,
    "Terminated": State.ENDED,
    "Error": State.ENDED,
}
BUSY = (
    "cannot connect",
    "could not connect",
    "connection refused",
    "too many connections",
    "timeout",
    "timed out",
    "database system is",  # starting up, shutting down
)


# ------------------------------------------------------------------------------ the submit side


def header(request: PilotRequest) -> list[str]:
    common.name(request.script, "script", PATH)
    resources = f"/nodes={request.nodes}"
    if request.slots:
        resources += f"/core={request.slots}"
    if request.walltime_s:
        resources += f",walltime={common.clock(request.walltime_s)}"
    output = common.name(request.output, "output", PATH)
    asks = [
        f"-n {common.name(request.name, 'name')}",
        f"-l {resources}",
        f"-O {output}",
        f"-E {output}",
    ]
    if request.queue:
        asks.append(f"-q {common.name(request.queue, 'queue')}")
    if request.account:
        asks.append(f"--project {common.name(request.account, 'account')}")
    return [f"{directive} {ask}" for ask in asks]


def submit(request: PilotRequest) -> Command:
    return Command(["oarsub", "-S", *request.extra, common.name(request.script, "script", PATH)])


def submitted(done: Done) -> str:
    # a refusal is OAR_JOB_ID=-5
    return common.named("oarsub", done, rf"^OAR_JOB_ID=({ID})$", BUSY)[0]


def status(ids: Sequence[str]) -> list[Command]:
    mine = common.known(ids, ID)
    if not mine:
        return []
    asked = [word for one in mine for word in ("-j", one)]
    return [Command(["oarstat", "-f", "-J", *asked]), Command(["oarstat", "-J"])]


def statuses(ids: Sequence[str], done: Sequence[Done]) -> dict[str, Status]:
    if not common.known(ids, ID):
        return common.completed(ids, {}, ID, doubt=False)
    jobs = jobs_of("oarstat", done[0])
    everyone = {}
    if len(done) > 1 and not done[1].code:
        try:
            everyone = jobs_of("oarstat", done[1])
        except LrmsError:
            pass  # it only adds
    found = {
        one: _status(one, job, _position(one, job, everyone))
        for one, job in jobs.items()
        if job.get("state")
    }
    return common.completed(ids, found, ID, doubt=len(found) < len(jobs))


def jobs_of(tool: str, done: Done) -> dict[str, dict[str, Any]]:
    """What -J prints: an object of objects, or nothing for none."""
    if done.code:
        raise common.failed(tool, done, BUSY, otherwise="busy")
    if not done.out.strip():
        return {}
    try:
        found = json.loads(done.out)
    except (ValueError, RecursionError):
        raise common.broken(tool, done.out)
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise common.broken(tool, done.out)
    return found


def _status(one: str, job: Mapping[str, Any], position: int | None) -> Status:
    word = _word(job.get("state"))
    state = STATES.get(word, State.UNKNOWN)
    code = job.get("exit_code")
    start = _instant(job.get("startTime")) or _instant(job.get("scheduledStart"))
    hosts = job.get("assigned_network_address")
    return Status(
        one,
        state,
        _reason(word, state, job),
        start,
        position if state is State.QUEUED else None,
        tuple(map(_word, hosts)) if isinstance(hosts, list) else (),
        exit_of(code) if state is State.ENDED and isinstance(code, int) else None,
    )


def _reason(word: str, state: State, job: Mapping[str, Any]) -> str:
    if state is State.RUNNING and word == "Running":
        return ""
    if state is State.QUEUED:
        return _word(job.get("message"))
    if state is State.ENDED:
        events = job.get("events")
        kinds = [
            _word(event.get("type"))
            for event in (events if isinstance(events, list) else ())
            if isinstance(event, dict)
        ]
        telling = [TOLD.get(kind, kind) for kind in kinds if kind not in QUIET]
        return telling[0] if telling else word
    return word


# Events in other words; and those of every job's end, or that only go with another.
TOLD = {"FRAG_JOB_REQUEST": "deleted (FRAG_JOB_REQUEST)"}
QUIET = {"", "SWITCH_INTO_TERMINATE_STATE", "SWITCH_INTO_ERROR_STATE", "SEND_KILL_JOB"}


def exit_of(raw: int) -> int:
    """OAR keeps what wait() said."""
    return raw >> 8 if raw >> 8 else 128 + (raw & 127) if raw & 127 else 0


def _word(value: object) -> str:
    return sanitize(value) if isinstance(value, str) else ""


def _instant(value: object) -> float | None:
    return float(value) if isinstance(value, int) and 0 < value < 1 << 40 else None


def _position(one: str, job: Mapping[str, Any], everyone: Mapping[str, Any]) -> int | None:
    """Oldest first; what karma does to the order is OAR's secret."""
    if job.get("state") != "Waiting" or one not in everyone:
        return None
    ahead = (
        other.get("state") == "Waiting"
        and other.get("queue") == job.get("queue")
        and other.get("reservation") in (None, "None")
        and (common.number(number) or 0) < int(one)
        for number, other in everyone.items()
    )
    return sum(map(bool, ahead))


def cancel(ids: Sequence[str]) -> Command:
    return Command(["oardel", *common.cancellable(ids, ID)])


def find(prefix: str, user: str) -> Command:
    return Command(["oarstat", "-J", "-u", common.word(user, "user")])


def found(done: Done) -> dict[str, str]:
    jobs = jobs_of("oarstat", done)
    return {
        one: _word(job.get("name")) for one, job in jobs.items() if re.fullmatch(ID, one, re.ASCII)
    }


def offers() -> list[Command]:
    return [Command(["oarnodes", "-J"]), Command(["oarstat", "-J"])]


def offered(done: Sequence[Done]) -> list[Queue]:
    """One queue: OAR's all share the same resources."""
    nodes: dict[str, list[bool]] = {}  # host -> for each of its resources: is it free?
    memory: list[int] = []
    for resource in jobs_of("oarnodes", done[0]).values():
        host = _word(resource.get("network_address"))
        if not host or resource.get("type", "default") != "default":
            continue
        usable = resource.get("state") == "Alive" and resource.get("drain", "NO") != "YES"
        nodes.setdefault(host, []).append(usable and not resource.get("jobs"))
        if isinstance(resource.get("memnode"), int):  # in MiB, where the site has it
            memory.append(resource["memnode"] * common.UNITS["m"])
    running = waiting = None
    if len(done) > 1 and not done[1].code:
        states = [job.get("state") for job in jobs_of("oarstat", done[1]).values()]
        running, waiting = states.count("Running"), states.count("Waiting")
    return [
        Queue(
            "default",
            len(nodes),
            sum(all(free) for free in nodes.values()),
            sum(map(len, nodes.values())),
            sum(map(sum, nodes.values())),
            min(map(len, nodes.values()), default=None),
            min(memory, default=None),
            running=running,
            waiting=waiting,
            default=True,
        )
    ]


# ------------------------------------------------------------------------------ inside


def allocation(env: Mapping[str, str], read: Callable[[str], str], now: float) -> Allocation | None:
    one = env.get("OAR_JOB_ID") or env.get("OAR_JOBID", "")
    path = env.get("OAR_NODEFILE") or env.get("OAR_NODE_FILE") or env.get("OAR_FILE_NODES", "")
    if not one or not path:
        return None
    walltime = common.number(env.get("OAR_JOB_WALLTIME_SECONDS", ""))
    return Allocation(
        name,
        one,
        common.node_file(path, read),
        now + walltime if walltime else None,
        name=sanitize(env.get("OAR_JOB_NAME", "")),
    )


def ends(allocation: Allocation) -> Command | None:
    if not common.known([allocation.id], ID):
        return None
    return Command(["oarstat", "-f", "-J", "-j", allocation.id])


def ended_at(done: Done, now: float) -> float | None:
    try:
        jobs = list(jobs_of("oarstat", done).values())
    except LrmsError:
        return None
    if not jobs:
        return None
    start, walltime = _instant(jobs[0].get("startTime")), _instant(jobs[0].get("walltime"))
    return start + walltime if start and walltime else None


def on_nodes(allocation: Allocation, hosts: Sequence[str], argv: Sequence[str]) -> list[Command]:
    return common.by_ssh(hosts, argv, ("oarsh", "-n"))


# ------------------------------------------------------------------------------ scripts

OPTIONS = {
    "-n": "name",
    "--name": "name",
    "-l": "resources",
    "--resource": "resources",
    "-q": "queue",
    "--queue": "queue",
    "--project": "account",
    "-d": "cwd",
    "--directory": "cwd",
    "-O": "output",
    "--stdout": "output",
    "-E": "error",
    "--stderr": "error",
    "--array": "array",
    "--array-param-file": "array",
}


def headers(text: str) -> Headers | None:
    """OAR takes the rest of a line as it is: one option, no quotes."""
    fields: dict[str, Any] = {}
    ignored: list[str] = []
    count = None
    for count, line in common.header_lines(text, directive, whole=True):
        match = re.match(r"(--[\w-]+|-\w)\s*=?\s*(.*)", line)
        field = OPTIONS.get(match[1], "") if match else ""
        if not match or not field or (field == "resources" and "nodes asked" in fields):
            ignored.append(line)
        elif field == "resources":
            fields["nodes asked"] = True
            _resources(count, line, match[2].strip("\"' "), fields, ignored)
        else:
            fields[field] = sanitize(match[2])
    fields.pop("nodes asked", None)
    return None if count is None else common.gathered(fields, ignored)


def _resources(
    count: int, line: str, asked: str, fields: dict[str, Any], ignored: list[str]
) -> None:
    """{properties}/nodes=2/core=4,walltime=1:00:00"""
    asked = common.joined(asked)
    asked, comma, walltime = asked.rpartition(",walltime=")
    if not comma and walltime.startswith("walltime="):
        walltime = walltime.partition("=")[2]
    elif not comma:
        asked, walltime = walltime, ""
    if walltime:
        fields["walltime_s"] = common.asked(
            count, line, common.duration(walltime, alone=3600, pair=3600)
        )
    first, plus, more = asked.partition("+")
    if plus:
        ignored.append(f"-l ...+{more}")
    per_node = None
    for part in re.sub(r"\{.*?\}", "", first).strip("/").split("/"):
        level, equals, amount = part.partition("=")
        if not part:
            continue
        value = common.number(amount)
        if not equals or value is None:
            ignored.append(part)  # ALL, BEST
        elif level in ("nodes", "host", "network_address"):
            fields["nodes"] = value
        elif level in ("cpu", "core", "thread"):
            per_node = (per_node or 1) * value
        else:
            ignored.append(part)
    if per_node is not None:
        fields["tasks_per_node" if "nodes" in fields else "tasks"] = per_node
    elif "nodes" in fields:
        fields["whole"] = True  # a node is all that is in it
