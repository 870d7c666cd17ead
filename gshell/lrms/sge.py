"""Grid Engine: qsub, qstat, qdel, qhost; qrsh -inherit inside. Proven on Son of Grid Engine 8.1.

More than one slot needs a parallel environment, whose name only the site knows: it is said with the
user's own options, as ``-pe NAME`` (the number of slots is ours; with a number, it is the user's).
How its slots are spread over hosts is that environment's rule, so a pilot may get other hosts than
it asked for. An ended job is gone: only qacct knows it, and reads for a minute.
"""

from __future__ import annotations

import datetime
import re

from gshell.errors import LrmsError
from gshell.lrms import common
from gshell.lrms.base import Allocation, Command, Headers, Queue, State, Status
from gshell.model.sanitize import sanitize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from gshell.lrms.base import Done, PilotRequest

name = "sge"
directive = "#$"

ID = r"\d{1,12}"
PATH = r"[\w.@+/%=~-]+"  # a colon or a comma would be a host's or another path; $ a variable
UTC = {"TZ": "UTC"}  # qstat's times are the front end's

BUSY = (
    "unable to contact qmaster",
    "got no response",
    "commlib error",
    "error reading answer",
    "try again later",
    "can't connect to service",
    "jobs are currently",  # "only N jobs are allowed per user (current job count: N)"
    "current job count",
)


# ------------------------------------------------------------------------------ the submit side


def header(request: PilotRequest) -> list[str]:
    environment, _ = _parallel(request.extra)
    slots = request.nodes * max(1, request.slots)
    asks = [
        "-S /bin/sh",  # the #! line is often not looked at
        f"-N {common.name(request.name, 'name')}",
        f"-o {common.name(request.output, 'output', PATH)}",
        "-j y",
    ]
    if environment:
        asks.append(f"-pe {common.name(environment, 'parallel environment')} {slots}")
    elif slots > 1 and "-pe" not in request.extra:
        raise LrmsError(
            "refused",
            f"{slots} slots need a parallel environment, and Grid Engine has no usual name for one",
            "qconf -spl    (then add the option '-pe NAME')",
        )
    if request.walltime_s:
        asks.append(f"-l h_rt={common.clock(request.walltime_s)}")
    if request.memory_bytes:  # the limit is per slot
        size = common.mebibytes(-(-request.memory_bytes // max(1, request.slots)))
        asks.append(f"-l h_vmem={size}M")
    if request.queue:
        asks.append(f"-q {common.name(request.queue, 'queue')}")
    if request.account:
        asks.append(f"-P {common.name(request.account, 'account')}")
    return [f"{directive} {ask}" for ask in asks]


def _parallel(extra: Sequence[str]) -> tuple[str, list[str]]:
    """The parallel environment that is named without a number, and the other words."""
    words = list(extra)
    if "-pe" not in words[:-1]:
        return "", words
    at = words.index("-pe")
    if len(words) > at + 2 and re.match(r"\d|-\d", words[at + 2]):
        return "", words
    return words[at + 1], words[:at] + words[at + 2 :]


def submit(request: PilotRequest) -> Command:
    return Command(["qsub", "-terse", *_parallel(request.extra)[1], request.script])


def submitted(done: Done) -> str:
    return common.named("qsub", done, rf"^({ID})(?:\.\S+)?$", BUSY)[-1]


def status(ids: Sequence[str]) -> list[Command]:
    mine = common.known(ids, ID)
    if not mine:
        return []
    return [
        Command(["qstat", "-xml", "-g", "t", "-u", "*"], env=UTC),
        Command(["qstat", "-j", ",".join(mine)]),
    ]


def statuses(ids: Sequence[str], done: Sequence[Done]) -> dict[str, Status]:
    mine = set(common.known(ids, ID))
    if not mine:
        return common.completed(ids, {}, ID, doubt=False)
    rows = jobs_listed(done[0])
    reasons = _reasons(done[1].out) if len(done) > 1 else {}
    found: dict[str, Status] = {}
    ahead = 0
    for pending, job in rows:
        one, word = job.get("JB_job_number", ""), job.get("state", "")
        state = _state(word)
        if one in mine:
            found[one] = _status(found.get(one), one, state, word, job, reasons.get(one, ""))
            if pending and state is State.QUEUED:
                found[one] = found[one]._replace(position=ahead)
        ahead += pending and state is State.QUEUED
    return common.completed(ids, found, ID, doubt="</job_info>" not in done[0].out[-40:])


def jobs_listed(done: Done) -> list[tuple[bool, dict[str, str]]]:
    """(does it wait?, field -> text) of each job that is listed, in the order of the list."""
    if done.code:
        raise common.failed("qstat", done, BUSY, otherwise="busy")
    rows = [
        (block[1] == "pending", dict(fields_of(block[2])))
        for block in re.finditer(r'<job_list state="(\w+)">(.*?)</job_list>', done.out, re.DOTALL)
    ]
    if not rows and "</job_info>" not in done.out:
        raise common.broken("qstat", done.out)
    return rows


def fields_of(block: str) -> Iterator[tuple[str, str]]:
    for field in re.finditer(r"<(\w+)(?: [^<>]*)?>([^<>]*)</\1>", block):
        yield field[1], unescaped(field[2])


def unescaped(text: str) -> str:
    """What XML's text says."""
    text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"')
    return sanitize(text.replace("&apos;", "'").replace("&amp;", "&"))


def _state(word: str) -> State:
    if not word or word.strip("dEhrtRsSTNPqwz"):
        return State.UNKNOWN
    for letter, state in (
        ("d", State.ENDING),
        ("z", State.ENDED),
        ("E", State.HELD),
        ("t", State.STARTING),
        ("r", State.RUNNING),
        ("s", State.RUNNING),
        ("S", State.RUNNING),
        ("T", State.RUNNING),
        ("h", State.HELD),
        ("q", State.QUEUED),
        ("w", State.QUEUED),
    ):
        if letter in word:
            return state
    return State.UNKNOWN


def _status(
    before: Status | None, one: str, state: State, word: str, job: Mapping[str, str], reason: str
) -> Status:
    """A parallel job has a row for each of its slots and one more for its master."""
    host = job.get("queue_name", "").partition("@")[2]
    hosts = (before.hosts if before else ()) + ((host,) if host else ())
    if state is State.RUNNING:
        reason = "" if word == "r" else word
    elif state is State.HELD and "E" not in word:
        reason = word  # not the place that it might have had
    return Status(
        one,
        state,
        reason or ("" if state in (State.RUNNING, State.QUEUED) else word),
        _instant(job.get("JAT_start_time", "")),
        hosts=tuple(dict.fromkeys(hosts)),
    )


def _instant(text: str) -> float | None:
    try:
        moment = datetime.datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return None
    return moment.replace(tzinfo=datetime.timezone.utc).timestamp()


def _reasons(out: str) -> dict[str, str]:
    """Why each waits, as ``qstat -j`` says where the site lets it."""
    reasons: dict[str, str] = {}
    one = ""
    for line in out.splitlines():
        label, _, rest = line.partition(":")
        label = " ".join(label.split())
        if label == "job_number":
            one = rest.strip()
        elif one and label.startswith("error reason"):
            reasons[one] = sanitize(rest.strip())
        elif one and label == "scheduling info":
            reasons.setdefault(one, sanitize(rest.strip()))
    return reasons


def cancel(ids: Sequence[str]) -> Command:
    return Command(["qdel", *common.cancellable(ids, ID)])


def find(prefix: str, user: str) -> Command:
    return Command(["qstat", "-xml", "-u", common.word(user, "user")])


def found(done: Done) -> dict[str, str]:
    rows = (job for _, job in jobs_listed(done))
    return {
        job["JB_job_number"]: job.get("JB_name", "")
        for job in rows
        if re.fullmatch(ID, job.get("JB_job_number", ""), re.ASCII)
    }


def offers() -> list[Command]:
    return [Command(["qhost", "-q", "-xml"]), Command(["qstat", "-xml", "-r", "-u", "*"])]


def offered(done: Sequence[Done]) -> list[Queue]:
    if done[0].code:
        raise common.failed("qhost", done[0], BUSY, otherwise="busy")
    if "</qhost>" not in done[0].out:
        raise common.broken("qhost", done[0].out)
    queues: dict[str, Queue] = {}
    for host in re.finditer(r"<host name='[^']*'>(.*?)</host>", done[0].out, re.DOTALL):
        values = dict(re.findall(r"<hostvalue name='(\w+)'>([^<]*)</hostvalue>", host[1]))
        memory = common.size(values.get("mem_total", ""))
        for entry in re.finditer(r"<queue name='([^']*)'>(.*?)</queue>", host[1], re.DOTALL):
            _add(queues, sanitize(entry[1]), entry[2], memory)
    rows = []
    if len(done) > 1 and not done[1].code:
        rows = jobs_listed(done[1])
    for called, queue in queues.items():
        queues[called] = queue._replace(
            default=called == "all.q" or len(queues) == 1,
            running=_count(rows, called, False) if rows or len(done) > 1 else None,
            waiting=_count(rows, called, True) if rows or len(done) > 1 else None,
        )
    return list(queues.values())


def _add(queues: dict[str, Queue], called: str, text: str, memory: int | None) -> None:
    """One queue instance, on one host."""
    values = dict(re.findall(r"name='(\w+)'>([^<]*)</queuevalue>", text))
    slots = common.number(values.get("slots", "")) or 0
    taken = sum(common.number(values.get(each, "")) or 0 for each in ("slots_used", "slots_resv"))
    up = not values.get("state_string", "").strip()
    free = max(0, slots - taken) if up else 0
    was = queues.get(called) or Queue(called, 0, 0, 0, 0, up=False)
    least = [size for size in (was.memory_bytes, memory) if size is not None]
    queues[called] = Queue(
        called,
        (was.nodes or 0) + 1,
        (was.nodes_free or 0) + (free == slots > 0),
        (was.cpus or 0) + slots,
        (was.cpus_free or 0) + free,
        min(slots, was.cpus_per_node or slots),
        min(least, default=None),
        up=was.up or up,
    )


def _count(rows: Sequence[tuple[bool, Mapping[str, str]]], queue: str, waiting: bool) -> int:
    """Jobs in a queue; one that waits and names none may go to any."""
    count = 0
    for pending, job in rows:
        where = job.get("hard_req_queue", queue) if pending else job.get("queue_name", "")
        count += pending == waiting and where.partition("@")[0] == queue
    return count


# ------------------------------------------------------------------------------ inside


def allocation(env: Mapping[str, str], read: Callable[[str], str], now: float) -> Allocation | None:
    one = env.get("JOB_ID", "")
    if not common.known([one], ID) or not ("SGE_TASK_ID" in env or "PE_HOSTFILE" in env):
        return None
    host = env.get("HOSTNAME", "")
    if env.get("PE_HOSTFILE"):
        hosts = _pe_hosts(env["PE_HOSTFILE"], read)
    elif host:
        hosts = ((sanitize(host), common.number(env.get("NSLOTS", "")) or 1),)
    else:
        raise LrmsError("broken", "Grid Engine: neither PE_HOSTFILE nor HOSTNAME is set")
    return Allocation(
        name,
        one,
        hosts,
        restart=common.number(env.get("RESTARTED", "")) or 0,
        queue=sanitize(env.get("QUEUE", "")),
        name=sanitize(env.get("JOB_NAME", "")),
    )


def _pe_hosts(path: str, read: Callable[[str], str]) -> tuple[tuple[str, int], ...]:
    """Lines of "host slots queue processors"; a host has one for each of its queues."""
    try:
        text = read(path)
    except OSError as error:
        raise LrmsError("broken", f"PE_HOSTFILE: {sanitize(str(error))}")
    hosts: dict[str, int] = {}
    for line in text.splitlines():
        match = re.match(r"(\w[\w.-]*) (\d{1,6})(?: |$)", line, re.ASCII)
        if line.strip() and not match:
            raise common.broken("PE_HOSTFILE", line)
        if match:
            hosts[match[1]] = hosts.get(match[1], 0) + int(match[2])
    if not hosts:
        raise common.broken("PE_HOSTFILE", text)
    return tuple(hosts.items())


def ends(allocation: Allocation) -> Command | None:
    if not common.known([allocation.id], ID):
        return None
    return Command(["qstat", "-xml", "-j", allocation.id])


def ended_at(done: Done, now: float) -> float | None:
    """Its h_rt; a limit that only the queue has is not told."""
    limit = re.search(
        r"<CE_name>h_rt</CE_name>.*?<CE_stringval>(\d{1,10})</CE_stringval>", done.out, re.DOTALL
    )
    start = re.search(r"<JAT_start_time>(\d{1,15})</JAT_start_time>", done.out)
    if done.code or not limit or not start:
        return None
    began = float(start[1])
    return (began / 1000 if began > 1e11 else began) + int(limit[1])  # Univa's are milliseconds


def on_nodes(allocation: Allocation, hosts: Sequence[str], argv: Sequence[str]) -> list[Command]:
    return common.by_ssh(hosts, argv, ("qrsh", "-inherit", "-nostdin"))


# ------------------------------------------------------------------------------ scripts

OPTIONS = {
    "-N": "name",
    "-pe": "pe+",
    "-l": "resources",
    "-q": "queue",
    "-P": "account",
    "-o": "output",
    "-e": "error",
    "-j": "join",
    "-cwd": "here!",
    "-wd": "cwd",
    "-t": "array",
}


def headers(text: str) -> Headers | None:
    fields: dict[str, Any] = {}
    ignored: list[str] = []
    count = None
    joins = False
    for count, line in common.header_lines(text, directive, whole=True):
        parts = common.words(common.joined(line), count)
        for field, value, written in common.options(parts, OPTIONS, glued=False):
            if field == "join":
                joins = value.lower() in ("y", "yes")
            elif field == "pe":  # "4-8": the fewest that will do
                fewest = value.rpartition(" ")[2].partition("-")[0]
                fields["tasks"] = common.asked(count, written, common.number(fewest))
            elif field == "resources":
                ignored += _resources(count, written, value, fields)
            elif field == "here":
                fields["cwd"] = "."
            elif field in ("output", "error"):
                fields[field] = sanitize(common.without_host(value))
            elif field:
                fields[field] = sanitize(value)
            else:
                ignored.append(written)
    if joins and "output" in fields:
        fields["error"] = fields["output"]
    return None if count is None else common.gathered(fields, ignored)


def _resources(count: int, written: str, asked: str, fields: dict[str, Any]) -> list[str]:
    ignored = []
    for part in asked.split(","):
        key, _, value = part.partition("=")
        if key in ("h_rt", "s_rt"):
            full = re.sub(r"(?<![0-9])(?=:)|(?<=:)$", "0", value)  # ":30:" is half an hour
            fields["walltime_s"] = common.asked(count, written, common.duration(full, alone=1))
        elif key in ("h_vmem", "mem_free", "mem", "virtual_free"):
            fields["memory_bytes"] = common.asked(count, written, common.size(value, "b"))
            fields["memory_of_slot"] = key != "mem_free"  # that is what a host must have
        elif key in ("excl", "exclusive"):
            fields["whole"] = value.lower() not in ("false", "0")
        else:
            ignored.append(f"-l {part}")
    return ignored
