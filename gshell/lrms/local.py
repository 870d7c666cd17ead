"""No batch system: a pilot is a session of processes on the submit host itself.

A batch job's id is PID.NAME: a process that got a dead pilot's number does not have its name.
Every value is a positional parameter of a constant script, so the shell never reads one.
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

    from gshell.lrms.base import Done, PilotRequest

name = "local"
directive = ""

NAME = r"[\w.+@-]{1,100}"
ID = rf"\d{{1,9}}\.{NAME}"

# The batch job: NAME SCRIPT SECONDS SLOTS. It lives as long as the script, also after a TERM to the
# whole session; its arguments are how it is found, so this is one line.
JOB = (
    "trap : HUP INT TERM; "
    "GSHELL_LOCAL_JOB=$$.$0; GSHELL_LOCAL_HOST=$(uname -n); GSHELL_LOCAL_SLOTS=$3; "
    '[ "$3" -gt 0 ] || GSHELL_LOCAL_SLOTS=$(getconf _NPROCESSORS_ONLN); '
    'GSHELL_LOCAL_ENDS=; [ "$2" -eq 0 ] || GSHELL_LOCAL_ENDS=$(($(date +%s) + $2)); '
    "export GSHELL_LOCAL_JOB GSHELL_LOCAL_HOST GSHELL_LOCAL_SLOTS GSHELL_LOCAL_ENDS; "
    'if [ "$2" -eq 0 ]; then sh "$1"; else timeout --foreground -k 10 "$2" sh "$1"; fi; exit $?'
)
# NAME SCRIPT SECONDS SLOTS OUTPUT JOB
SUBMIT = (
    'setsid sh -c "$6" "$1" "$2" "$3" "$4" </dev/null >>"$5" 2>&1 & printf "%s.%s\\n" "$!" "$1"'
)
# ID...: TERM to its session's group, if it is still what it was
CANCEL = (
    'for id; do case "$(ps -ww -o args= -p "${id%%.*}")" in *" ${id#*.} "*) '
    'kill -s TERM -- "-${id%%.*}";; esac; done'
)
OFFERS = "getconf _NPROCESSORS_ONLN; cat /proc/loadavg /proc/meminfo"


# ------------------------------------------------------------------------------ the submit side


def header(request: PilotRequest) -> list[str]:
    if request.nodes != 1:
        raise LrmsError("refused", f"{request.nodes} nodes: this is one machine, no batch system")
    if request.queue or request.account or request.extra:
        raise LrmsError("refused", "no batch system here, so no queue, account or options of one")
    return []


def submit(request: PilotRequest) -> Command:
    header(request)
    return Command(
        [
            "sh",
            "-c",
            SUBMIT,
            "sh",
            common.name(request.name, "name", NAME),
            common.word(request.script, "script"),
            str(request.walltime_s),
            str(request.slots),
            common.word(request.output, "output"),
            JOB,
        ]
    )


def submitted(done: Done) -> str:
    if done.code:
        raise common.failed("sh", done, ("fork", "resource temporarily unavailable"))
    one = done.out.strip()
    if not re.fullmatch(ID, one, re.ASCII):
        raise common.broken("sh", done.out)
    return one


def status(ids: Sequence[str]) -> list[Command]:
    pids = [one.partition(".")[0] for one in common.known(ids, ID)]
    if not pids:
        return []
    return [Command(["ps", "-ww", "-o", "pid=,args=", "-p", ",".join(pids)])]


def statuses(ids: Sequence[str], done: Sequence[Done]) -> dict[str, Status]:
    if not common.known(ids, ID):
        return common.completed(ids, {}, ID, doubt=False)
    if done[0].code and (done[0].code != 1 or done[0].err.strip()):  # 1: there is none of them
        raise common.failed("ps", done[0], otherwise="busy")
    rows, doubt = _processes(done[0])
    running = {one: Status(one, State.RUNNING) for one in rows}
    return common.completed(ids, running, ID, doubt or common.cut(done[0].out))


def _processes(done: Done) -> tuple[dict[str, str], bool]:
    """Id -> name of the batch jobs among the processes; was there a line that is none?"""
    jobs, doubt = {}, False
    for line in done.out.splitlines():
        match = re.match(r"\s*(\d+)(?:\s|$)", line, re.ASCII)
        if not match:
            doubt = doubt or bool(line.strip())
            continue
        called = line.partition(f" {JOB} ")[2].partition(" ")[0]
        if re.fullmatch(NAME, called, re.ASCII):
            jobs[f"{match[1]}.{called}"] = called
        elif len(line.split(None, 1)) < 2 or JOB.startswith(line.partition(" -c ")[2] or " "):
            doubt = True  # cut off
    if doubt and not jobs:
        raise common.broken("ps", done.out)
    return jobs, doubt


def cancel(ids: Sequence[str]) -> Command:
    return Command(["sh", "-c", CANCEL, "sh", *common.cancellable(ids, ID)])


def find(prefix: str, user: str) -> Command:
    return Command(["ps", "-ww", "-o", "pid=,args=", "-u", common.word(user, "user")])


def found(done: Done) -> dict[str, str]:
    if done.code and (done.code != 1 or done.err.strip()):
        raise common.failed("ps", done, otherwise="busy")
    return _processes(done)[0]


def offers() -> list[Command]:
    return [Command(["sh", "-c", OFFERS])]


def offered(done: Sequence[Done]) -> list[Queue]:
    lines = done[0].out.splitlines()
    cpus = common.number(lines[0]) if lines else None
    if cpus is None:
        if done[0].code:
            raise common.failed("sh", done[0], otherwise="busy")
        raise common.broken("getconf", done[0].out)
    busy = re.match(r"(\d{1,6})\.\d", lines[1]) if len(lines) > 1 else None
    memory = re.search(r"^MemTotal:\s*(\d{1,15}) kB$", done[0].out, re.MULTILINE | re.ASCII)
    return [
        Queue(
            name,
            nodes=1,
            cpus=cpus,
            cpus_free=max(0, cpus - int(busy[1])) if busy else None,
            cpus_per_node=cpus,
            memory_bytes=int(memory[1]) * common.KIB if memory else None,
            default=True,
        )
    ]


# ------------------------------------------------------------------------------ inside


def allocation(env: Mapping[str, str], read: Callable[[str], str], now: float) -> Allocation | None:
    one, host = env.get("GSHELL_LOCAL_JOB", ""), env.get("GSHELL_LOCAL_HOST", "")
    if not re.fullmatch(ID, one, re.ASCII) or not host:
        return None
    return Allocation(
        name,
        one,
        ((sanitize(host), common.number(env.get("GSHELL_LOCAL_SLOTS", "")) or 1),),
        common.instant(env.get("GSHELL_LOCAL_ENDS", "")),
        name=one.partition(".")[2],
    )


def ends(allocation: Allocation) -> Command | None:
    return None  # the environment has said it, if there is an end


def ended_at(done: Done, now: float) -> float | None:
    return None


def on_nodes(allocation: Allocation, hosts: Sequence[str], argv: Sequence[str]) -> list[Command]:
    if hosts:
        raise LrmsError("refused", "there are no other hosts: this is one machine")
    return []


def headers(text: str) -> Headers | None:
    return None
