"""HTCondor: condor_submit, condor_q, condor_rm, condor_status.

Not proven on a real one: after the manual of version 23 and what users have published. There are no
header lines (a submit description goes to standard input), no queues and no order in which jobs
wait. A pilot has one node: in the parallel universe the script itself would run on every node.
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

name = "htcondor"
directive = ""

ID = r"\d{1,12}\.\d{1,9}"
PATH = r"[\w.@:+/=,~-]+"  # $ and % begin macros
LASTS = "GshellWalltime"  # our own attribute of the job

STATES = {
    1: State.QUEUED,
    2: State.RUNNING,
    3: State.ENDED,  # removed; it may still be leaving its machine
    4: State.ENDED,
    5: State.HELD,
    6: State.ENDING,  # its output is being transferred
    7: State.RUNNING,  # suspended
}
WORDS = {
    1: "Idle",
    3: "Removed",
    4: "Completed",
    5: "Held",
    6: "TransferringOutput",
    7: "Suspended",
}
ASKED = "ClusterId,ProcId,JobStatus,HoldReason,RemoveReason,ExitCode,RemoteHost,JobCurrentStartDate"
BUSY = (
    "failed to connect",
    "can't find address",
    "unable to connect",
    "failed to fetch ads",
    "timed out",
    "max_jobs",
    "failed to end the current transaction",
)


# ------------------------------------------------------------------------------ the submit side


def header(request: PilotRequest) -> list[str]:
    _description(request)
    return []


def _description(request: PilotRequest) -> str:
    if request.nodes != 1:
        raise LrmsError(
            "refused", f"{request.nodes} nodes: an HTCondor pilot has one; ask for several pilots"
        )
    if request.queue:
        raise LrmsError("refused", f"HTCondor has no queues, so no {sanitize(request.queue)!r}")
    output = common.name(request.output, "output", PATH)
    lines = [
        "universe = vanilla",
        f"executable = {common.name(request.script, 'script', PATH)}",
        f"output = {output}",
        f"error = {output}",
        f"batch_name = {common.name(request.name, 'name', PATH)}",
        "should_transfer_files = IF_NEEDED",
        "when_to_transfer_output = ON_EXIT",
        f"request_cpus = {max(1, request.slots)}",
    ]
    if request.memory_bytes:
        lines.append(f"request_memory = {common.mebibytes(request.memory_bytes)}")
    if request.walltime_s:
        lines.append(f"+{LASTS} = {request.walltime_s}")
        lines.append(
            "periodic_remove = (JobStatus == 2) && "
            f"((time() - JobCurrentStartDate) > {request.walltime_s})"
        )
    if request.account:
        lines.append(f"accounting_group = {common.name(request.account, 'account', PATH)}")
    return "\n".join([*lines, "queue 1", ""])


def submit(request: PilotRequest) -> Command:
    return Command(["condor_submit", "-terse", *request.extra], stdin=_description(request))


def submitted(done: Done) -> str:
    return common.named("condor_submit", done, rf"^({ID}) - {ID}\s*$", BUSY)[0]


def status(ids: Sequence[str]) -> list[Command]:
    mine = common.known(ids, ID)
    if not mine:
        return []
    return [
        Command(["condor_q", "-json", "-attributes", ASKED, *mine]),
        Command(["condor_history", "-json", "-limit", str(len(mine)), "-attributes", ASKED, *mine]),
    ]


def statuses(ids: Sequence[str], done: Sequence[Done]) -> dict[str, Status]:
    if not common.known(ids, ID):
        return common.completed(ids, {}, ID, doubt=False)
    ads = _ads("condor_q", done[0])
    if len(done) > 1 and not done[1].code:
        try:
            ads = [*_ads("condor_history", done[1]), *ads]
        except LrmsError:
            pass  # it only adds
    found, doubt = {}, False
    for ad in ads:
        one = _id(ad)
        if one and isinstance(ad.get("JobStatus"), int):
            found[one] = _status(one, ad)
        else:
            doubt = True
    return common.completed(ids, found, ID, doubt)


def _ads(tool: str, done: Done) -> list[dict[str, Any]]:
    """What -json prints: a list of objects, or nothing for none."""
    if done.code:
        raise common.failed(tool, done, BUSY, otherwise="busy")
    if not done.out.strip():
        return []
    try:
        ads = json.loads(done.out)
    except (ValueError, RecursionError):
        raise common.broken(tool, done.out)
    if not isinstance(ads, list) or not all(isinstance(ad, dict) for ad in ads):
        raise common.broken(tool, done.out)
    return ads


def _id(ad: Mapping[str, Any]) -> str:
    one = f"{ad.get('ClusterId')}.{ad.get('ProcId')}"
    return one if re.fullmatch(ID, one, re.ASCII) else ""


def _status(one: str, ad: Mapping[str, Any]) -> Status:
    number = ad["JobStatus"]
    state = STATES.get(number, State.UNKNOWN)
    said = ad.get("HoldReason") if state is State.HELD else None
    if state is State.ENDED:
        said = ad.get("RemoveReason")
    host = _word(ad.get("RemoteHost")).rpartition("@")[2]
    start, code = ad.get("JobCurrentStartDate"), ad.get("ExitCode")
    return Status(
        one,
        state,
        _word(said) or WORDS.get(number, "" if state is State.RUNNING else str(number)),
        float(start) if isinstance(start, int) and 0 < start < 1 << 40 else None,
        hosts=(host,) if host else (),
        code=code if isinstance(code, int) and state is State.ENDED else None,
    )


def _word(value: object) -> str:
    return sanitize(value) if isinstance(value, str) else ""


def cancel(ids: Sequence[str]) -> Command:
    return Command(["condor_rm", *common.cancellable(ids, ID)])


def find(prefix: str, user: str) -> Command:
    owner = common.name(user, "user", r"[\w.@-]+")
    asked = "ClusterId,ProcId,JobBatchName,JobStatus"
    return Command(
        ["condor_q", "-json", "-attributes", asked, "-constraint", f'Owner == "{owner}"']
    )


def found(done: Done) -> dict[str, str]:
    return {
        _id(ad): _word(ad.get("JobBatchName"))
        for ad in _ads("condor_q", done)
        if _id(ad) and ad.get("JobStatus") not in (3, 4)
    }


def offers() -> list[Command]:
    asked = "Machine,State,Cpus,TotalCpus,TotalMemory,PartitionableSlot"
    return [Command(["condor_status", "-json", "-attributes", asked])]


def offered(done: Sequence[Done]) -> list[Queue]:
    """One queue: the pool."""
    cpus: dict[str, int] = {}
    free: dict[str, int] = {}
    memory: list[int] = []
    for slot in _ads("condor_status", done[0]):
        machine = _word(slot.get("Machine"))
        if not machine:
            continue
        cpus[machine] = _whole(slot.get("TotalCpus")) or cpus.get(machine, 0)
        memory += [mib * common.UNITS["m"] for mib in [_whole(slot.get("TotalMemory"))] if mib]
        if slot.get("State") == "Unclaimed":  # what is left of a partitionable slot is that too
            free[machine] = free.get(machine, 0) + _whole(slot.get("Cpus"))
    return [
        Queue(
            "pool",
            len(cpus),
            sum(free.get(machine, 0) >= count > 0 for machine, count in cpus.items()),
            sum(cpus.values()),
            sum(free.values()),
            min(cpus.values(), default=None),
            min(memory, default=None),
            default=True,
        )
    ]


def _whole(value: object) -> int:
    return int(value) if isinstance(value, (int, float)) and 0 <= value < 1 << 40 else 0


# ------------------------------------------------------------------------------ inside


def allocation(env: Mapping[str, str], read: Callable[[str], str], now: float) -> Allocation | None:
    path = env.get("_CONDOR_JOB_AD", "")
    if not path:
        return None
    job = _ad(path, read)
    if "ClusterId" not in job:
        raise LrmsError("broken", f"no job is described in {sanitize(path)}")
    machine = _ad(env.get("_CONDOR_MACHINE_AD", ""), read)
    host = machine.get("Machine") or machine.get("Name", "").rpartition("@")[2]
    host = host or job.get("RemoteHost", "").rpartition("@")[2] or "localhost"
    slots = common.number(machine.get("Cpus") or job.get("RequestCpus", "")) or 1
    lasts = common.number(job.get(LASTS, ""))
    return Allocation(
        name,
        f"{job['ClusterId']}.{job.get('ProcId', '0')}",
        ((host, slots),),
        now + lasts if lasts else None,
        common.number(job.get("NumJobStarts", "")) or 0,
        name=job.get("JobBatchName", ""),
    )


def _ad(path: str, read: Callable[[str], str]) -> dict[str, str]:
    """ "Name = value" lines; texts without their quotes."""
    if not path:
        return {}
    try:
        text = read(path)
    except OSError as error:
        raise LrmsError("broken", f"the job's description: {sanitize(str(error))}")
    pairs = (line.partition(" = ") for line in text.splitlines())
    return {
        key.strip(): sanitize(value.strip().strip('"')) for key, equals, value in pairs if equals
    }


def ends(allocation: Allocation) -> Command | None:
    return None  # it is our own limit, in the job's description


def ended_at(done: Done, now: float) -> float | None:
    return None


def on_nodes(allocation: Allocation, hosts: Sequence[str], argv: Sequence[str]) -> list[Command]:
    if hosts:
        raise LrmsError("refused", "an HTCondor pilot has one node")
    return []


def headers(text: str) -> Headers | None:
    return None
