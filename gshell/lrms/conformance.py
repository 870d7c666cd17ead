"""What is wrong with a plug-in? For those who write one; ours are tested with it too. Runs nothing:
it is fed with texts that the batch system printed, and spoils them.

    complaints = check(my_plugin, Samples(...))
    assert complaints == []
"""

from __future__ import annotations

import shlex

from gshell.errors import LrmsError
from gshell.lrms.base import (
    Allocation,
    Command,
    Done,
    Headers,
    PilotRequest,
    Queue,
    State,
    Status,
)
from gshell.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from gshell.lrms.base import Plugin

METHODS = (
    "header", "submit", "submitted", "status", "statuses", "cancel", "find", "found", "offers",
    "offered", "allocation", "ends", "ended_at", "on_nodes", "headers",
)  # fmt: skip

# Values that people, or those who mean ill, have put where a name should be.
HOSTILE = ("a b;rm", "x\ny", "x\r#y", "-rf", "$(id)", "`id`", "it's", 'a"b', "a\\", "\0", "%s", " ")
NO_IDS = ("-rf", "--all", "", "1;rm -rf /", "a b", "*", "12\n13", "$(id)", "٣")
GARBAGE = (
    "\0\x01\x02", "<html>502 Bad Gateway</html>\n", "Segmentation fault\n", "{", "null\n",
    "[1]\n", '{"1": 2}\n', "|||||||\n", "1\n", "Job <\n", "-5\n", "é" * 50, "\t\n \n", "=\n",
    "9" * 5000 + "\n", "[" * 5000,
)  # fmt: skip
UNREACHABLE = Done(1, "", "cannot reach the server: Connection refused\n")
STRANGE_WORDS = ("/opt/a b/prog", "--flag", "it's", '"$HOME"', "a;b|c&d", "*", "", "\\n")
WALLTIMES_S = (59, 90, 3600, 86399, 90061, 30 * 86400)
SIZES = (1 << 30, (3 << 29) + 1, 1 << 40)

# What a batch job of each batch system has in its environment: others must not take it for theirs.
ENVIRONMENTS: Mapping[str, Mapping[str, str]] = {
    "slurm": {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n1", "SLURM_TASKS_PER_NODE": "2"},
    "oar": {"OAR_JOB_ID": "7", "OAR_NODEFILE": "/nodes", "OAR_JOB_WALLTIME_SECONDS": "60"},
    "sge": {"JOB_ID": "7", "SGE_TASK_ID": "undefined", "PE_HOSTFILE": "/pe", "HOSTNAME": "n1"},
    "pbs": {"PBS_JOBID": "7.srv", "PBS_NODEFILE": "/nodes", "PBS_ENVIRONMENT": "PBS_BATCH"},
    "lsf": {"LSB_JOBID": "7", "LSB_HOSTS": "n1 n1", "LSB_MCPU_HOSTS": "n1 2"},
    "htcondor": {"_CONDOR_JOB_AD": "/ad", "_CONDOR_SCRATCH_DIR": "/scratch"},
    "local": {"GSHELL_LOCAL_JOB": "7.gshell-p", "GSHELL_LOCAL_HOST": "n1"},
    "a login": {"HOME": "/home/alice", "SGE_ROOT": "/opt/sge", "SGE_CELL": "default",
                "PBS_SERVER": "srv", "LSF_ENVDIR": "/opt/lsf", "SLURM_CONF": "/etc/slurm.conf"},
}  # fmt: skip


class Samples(Record):
    """What the batch system printed, as it came, and what that means."""

    submitted: Done
    id: str
    """Of the batch job that ``submitted`` tells of."""
    refused: Done
    status: Sequence[Done]
    """Answers to `Plugin.status` of ``states``' ids."""
    states: Mapping[str, State]
    """One of them at least lives."""
    strange: Sequence[Done]
    """The same with a state that no release has, of this id alone: ``strange_id``."""
    strange_id: str
    found: Done
    names: Mapping[str, str]
    """What ``found`` lists."""
    offered: Sequence[Done]
    env: Mapping[str, str]
    """Of a batch job, on two hosts if there can be two."""
    files: Mapping[str, str]
    """path -> text, of those that ``env`` names."""
    hosts: Sequence[tuple[str, int]]
    """What ``env`` and ``files`` mean."""
    extra: Sequence[str] = ()
    """Options that every pilot here needs."""
    lacks: Sequence[str] = ()
    """Fields of a `PilotRequest` for which this batch system has no word."""


def check(plugin: Plugin, samples: Samples) -> list[str]:
    """Complaints, each one line; empty: nothing is wrong as far as can be seen."""
    missing = [each for each in METHODS if not callable(getattr(plugin, each, None))]
    texts = [
        each for each in ("name", "directive") if not isinstance(getattr(plugin, each, None), str)
    ]
    if missing or texts:
        return [f"{each}: there is none" for each in [*texts, *missing]]
    complaints: list[str] = []
    for part in (_requests, _values, _answers, _ids, _statuses, _lists, _inside, _nodes, _scripts):
        for complaint in part(plugin, samples):
            if complaint not in complaints:
                complaints.append(complaint)
    return complaints


# ------------------------------------------------------------------------------ how it is asked


class _Broke(Exception):
    """A complaint on its way out."""


def _call(label: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What it returns, or the LrmsError that it raises.

    Raises:
        _Broke: it raised something else.
    """
    try:
        return function(*arguments)
    except LrmsError as error:
        if error.code not in ("refused", "busy", "broken"):
            raise _Broke(f"{label}: LrmsError with the code {error.code!r}")
        return error
    except Exception as error:
        shown = repr(arguments[-1] if arguments else "")[:60]
        raise _Broke(f"{label}: raised {type(error).__name__} for {shown}")


def _collected(part: Callable[[Plugin, Samples], Iterator[str]]) -> Callable[..., Iterator[str]]:
    def checked(plugin: Plugin, samples: Samples) -> Iterator[str]:
        try:
            yield from part(plugin, samples)
        except _Broke as broke:
            yield str(broke)

    return checked


def _command(label: str, command: Any) -> Iterator[str]:
    if not isinstance(command, Command):
        yield f"{label}: not a Command but {type(command).__name__}"
        return
    if isinstance(command.argv, str) or not command.argv:
        yield f"{label}: argv is not a list of words"
    elif not all(isinstance(part, str) and "\0" not in part for part in command.argv):
        yield f"{label}: argv has what no process can be given"


def _scripts_in(command: Any) -> str:
    """What a shell would read of it."""
    if not isinstance(command, Command):
        return ""
    words = list(command.argv)
    shell = words and words[0].rpartition("/")[2] in ("sh", "bash", "dash", "ksh", "zsh")
    return words[words.index("-c") + 1] if shell and "-c" in words[:-1] else ""


def _request(samples: Samples, **asked: Any) -> PilotRequest:
    base = PilotRequest(
        "gshell-p1", "/home/alice/p1.sh", "/home/alice/p1.out", 1, 1, extra=samples.extra
    )
    return base._replace(**asked)


def _all_of(plugin: Plugin, request: PilotRequest) -> str:
    """All that the batch system is told by it."""
    command = plugin.submit(request)
    return "\n".join([*plugin.header(request), *command.argv, command.stdin])


# ------------------------------------------------------------------------------ the checks


@_collected
def _requests(plugin: Plugin, samples: Samples) -> Iterator[str]:
    """Nothing that is asked for gets lost on the way."""
    base = _request(samples)
    wrong = list(_command("submit", _call("submit", plugin.submit, base)))
    if wrong:
        yield from wrong
        return
    changes: dict[str, Any] = {
        "name": "gshell-p2",
        "script": "/home/alice/p2.sh",
        "output": "/home/alice/p2.out",
        "nodes": 2,
        "slots": 4,
        "walltime_s": 7200,
        "memory_bytes": 1 << 31,
        "queue": "long",
        "account": "lab",
    }
    for field, value in changes.items():
        if field in samples.lacks:
            continue
        changed = base._replace(**{field: value})
        told = _call(f"header and submit with {field}", _all_of, plugin, changed)
        if isinstance(told, LrmsError):
            yield f"submit: refuses {field}={value}, which is not among what it lacks: {told}"
        elif told == _call("header and submit", _all_of, plugin, base):
            yield f"submit: {field} is not asked for"
    if plugin.directive:
        for nodes in (1, 2):
            for slots in (0, 1, 4):
                yield from _round_trip(plugin, samples, _request(samples, nodes=nodes, slots=slots))
        for seconds in WALLTIMES_S:
            yield from _round_trip(plugin, samples, _request(samples, walltime_s=seconds))
        for size in SIZES:
            asked = _request(samples, nodes=2, slots=2, memory_bytes=size)
            yield from _round_trip(plugin, samples, asked)


def _round_trip(plugin: Plugin, samples: Samples, request: PilotRequest) -> Iterator[str]:
    lines = _call("header", plugin.header, request)
    if isinstance(lines, LrmsError):
        yield f"header: refuses {request.nodes} nodes with {request.slots} slots: {lines}"
        return
    read = _call("headers", plugin.headers, "\n".join(["#!/bin/sh", *lines, "true", ""]))
    if not isinstance(read, Headers):
        yield "headers: does not read what header wrote"
        return
    if read.ignored and "output" not in "".join(read.ignored):
        meant = [line for line in read.ignored if line.split()[0] not in ("-S", "-j")]
        if meant:
            yield f"headers: does not know what header wrote: {meant[0]}"
    nodes = read.nodes or 1
    tasks = read.tasks if read.tasks is not None else nodes * (read.tasks_per_node or 1)
    wanted = request.nodes * max(1, request.slots)
    if tasks != wanted or (read.nodes or request.nodes) != request.nodes:
        asked = f"{request.nodes} nodes with {request.slots} slots"
        yield f"header: {asked} come back as {tasks} in all"
    if request.walltime_s and not 0 <= (read.walltime_s or 0) - request.walltime_s < 60:
        yield f"header: a walltime of {request.walltime_s} s comes back as {read.walltime_s} s"
    if request.memory_bytes and "memory_bytes" not in samples.lacks:
        got = (read.memory_bytes or 0) * (request.slots if read.nodes is None else 1)
        if not 0 <= got - request.memory_bytes <= 1 << 23:
            yield f"header: a memory of {request.memory_bytes} bytes comes back as {got}"


@_collected
def _values(plugin: Plugin, samples: Samples) -> Iterator[str]:
    """What a person says stays one word on one line, or is refused."""
    plain = _scripts_in(_call("submit", plugin.submit, _request(samples)))
    for field in ("name", "queue", "account", "output"):
        for value in HOSTILE:
            request = _request(samples, **{field: value})
            lines = _call(f"header with {field}", plugin.header, request)
            command = _call(f"submit with {field}", plugin.submit, request)
            if isinstance(lines, LrmsError) or not isinstance(command, Command):
                continue  # refused, or complained of elsewhere
            shown = f"{field} {value!r}"
            if any(
                not line.isprintable() or not line.startswith(plugin.directive) for line in lines
            ):
                yield f"header: {shown} is not on one line"
                continue
            yield from _command(f"submit with {shown}", command)
            if _scripts_in(command) != plain:
                yield f"submit: {shown} gets into what a shell reads"
            if value.startswith("-") and value in command.argv:
                yield f"submit: {shown} is taken for an option"
            if any(value in line for line in command.stdin.splitlines()) and not value.isalnum():
                yield f"submit: {shown} stands in the description as it is"
            if lines and field != "output":
                text = "\n".join(["#!/bin/sh", *lines, ""])
                read = _call(f"headers with {field}", plugin.headers, text)
                if getattr(read, field, "") != value:
                    yield f"header: {shown} does not come back"
    plain = _scripts_in(_call("find", plugin.find, "gshell-", "alice"))
    for value in HOSTILE:
        command = _call("find with a user", plugin.find, "gshell-", value)
        if not isinstance(command, LrmsError):
            yield from _command(f"find for user {value!r}", command)
            if _scripts_in(command) != plain:
                yield f"find: user {value!r} gets into what a shell reads"
            if value.startswith("-") and value in command.argv:
                yield f"find: user {value!r} is taken for an option"


@_collected
def _answers(plugin: Plugin, samples: Samples) -> Iterator[str]:
    """What a submission answers."""
    got = _call("submitted", plugin.submitted, samples.submitted)
    if got != samples.id:
        yield f"submitted: {got!r}, not {samples.id!r}"
    if not isinstance(_call("submitted", plugin.submitted, samples.refused), LrmsError):
        yield "submitted: takes a refusal for a batch job"
    failed = samples.submitted._replace(code=1)
    if not isinstance(_call("submitted", plugin.submitted, failed), LrmsError):
        yield "submitted: does not look at the exit code"
    for text in (*GARBAGE, ""):
        got = _call("submitted", plugin.submitted, Done(0, text))
        if not isinstance(got, LrmsError) and got not in text:
            yield f"submitted: finds {got!r} in {text[:20]!r}"
        if not text.strip() and not isinstance(got, LrmsError):
            yield "submitted: finds an id in nothing"


@_collected
def _ids(plugin: Plugin, samples: Samples) -> Iterator[str]:
    """Only what can be an id gets into a command."""
    real = list(samples.states)
    if _call("status", plugin.status, []) != [] or _call("statuses", plugin.statuses, [], []) != {}:
        yield "status: asks for something where there is nothing to ask for"
    for label, commands in (
        ("status", _call("status", plugin.status, [*real, *NO_IDS])),
        ("cancel", [_call("cancel", plugin.cancel, [*real, *NO_IDS])]),
        ("cancel", [_call("cancel", plugin.cancel, real)]),
    ):
        for command in commands if isinstance(commands, list) else [commands]:
            yield from _command(label, command)
            for bad in filter(None, NO_IDS):
                if label == "status" and bad == "*":
                    continue  # to ask after everybody's is fair
                if any(bad in part.split(",") for part in getattr(command, "argv", ())):
                    yield f"{label}: {bad!r} gets into the command"
    if not isinstance(_call("cancel", plugin.cancel, list(NO_IDS)), LrmsError):
        yield "cancel: makes a command of what is no id"
    answers = _call("statuses", plugin.statuses, [*real, *NO_IDS], samples.status)
    if isinstance(answers, dict):
        for bad in NO_IDS:
            if bad not in answers or answers[bad].state is not State.UNKNOWN:
                yield f"statuses: {bad!r} is no id, so nothing is known of it"


@_collected
def _statuses(plugin: Plugin, samples: Samples) -> Iterator[str]:
    ids = [*samples.states, _other_id(samples)]
    whole = _statuses_of(plugin, ids, samples.status)
    if isinstance(whole, LrmsError):
        yield f"statuses: {whole}"
        return
    for one, state in samples.states.items():
        if whole[one].state is not state:
            yield f"statuses: {one} is {whole[one].state.name}, not {state.name}"
    if (whole[ids[-1]].state, whole[ids[-1]].reason) != (State.ENDED, "gone"):
        yield "statuses: one that the batch system does not know is not gone"
    strange = _statuses_of(plugin, [samples.strange_id], samples.strange)
    if isinstance(strange, LrmsError) or strange[samples.strange_id].state is not State.UNKNOWN:
        yield "statuses: a state that nobody knows is not UNKNOWN"
    if not isinstance(_statuses_of(plugin, ids, [UNREACHABLE]), LrmsError):
        yield "statuses: a command that failed is taken for an answer"
    alone = _statuses_of(plugin, ids, samples.status[:1])
    if isinstance(alone, LrmsError):
        yield f"statuses: the first command alone is not enough: {alone}"
    for text in GARBAGE:
        got = _statuses_of(plugin, ids, [Done(0, text)])
        if text.strip() and _ends_one(got, samples.states):
            yield f"statuses: takes {text[:20]!r} for an end"
        for at in range(1, len(samples.status)):
            spoilt = [*samples.status[:at], Done(0, text), *samples.status[at + 1 :]]
            if isinstance(_statuses_of(plugin, ids, spoilt), LrmsError):
                yield f"statuses: command {at + 1} only adds, but spoils everything"
    living = [one for one in samples.states if whole[one].state is not State.ENDED]
    out = samples.status[0].out
    for end in range(1, len(out), max(1, len(out) // 80)):
        if out[end - 1] != "\n":  # at the end of a line nobody can tell
            got = _statuses_of(plugin, ids, [Done(0, out[:end])])
            if _ends_one(got, living):
                yield f"statuses: an answer that is cut off after {end} characters ends a job"
                break


def _ends_one(got: dict[str, Status] | LrmsError, ids: Iterable[str]) -> bool:
    return not isinstance(got, LrmsError) and any(got[one].state is State.ENDED for one in ids)


def _other_id(samples: Samples) -> str:
    """One that looks like an id and is none of those."""
    first = next(iter(samples.states))
    digits = first[: len(first) - len(first.lstrip("0123456789"))]
    return first.replace(digits, "987654321", 1)


def _statuses_of(
    plugin: Plugin, ids: Sequence[str], done: Sequence[Done]
) -> dict[str, Status] | LrmsError:
    got = _call("statuses", plugin.statuses, ids, done)
    if isinstance(got, LrmsError):
        return got
    for one in ids:
        if one not in got or not isinstance(got[one], Status) or got[one].id != one:
            raise _Broke(f"statuses: no answer for {one!r}")
    return dict(got)


@_collected
def _lists(plugin: Plugin, samples: Samples) -> Iterator[str]:
    """What is found and what is offered."""
    yield from _command("find", _call("find", plugin.find, "gshell-", "alice"))
    got = _call("found", plugin.found, samples.found)
    if got != dict(samples.names):
        yield f"found: {got!r}, not {dict(samples.names)!r}"
    for command in _call("offers", plugin.offers):
        yield from _command("offers", command)
    queues = _call("offered", plugin.offered, samples.offered)
    if isinstance(queues, LrmsError) or not all(isinstance(queue, Queue) for queue in queues):
        yield f"offered: {queues!r} are no queues"
        return
    if sum(queue.default for queue in queues) > 1:
        yield "offered: more than one queue is the default"
    for queue in queues:
        for free, have in ((queue.cpus_free, queue.cpus), (queue.nodes_free, queue.nodes)):
            if free is not None and have is not None and not 0 <= free <= have:
                yield f"offered: {queue.name} has {have} and {free} of them are free"
    for label, read in (("found", plugin.found), ("offered", lambda done: plugin.offered([done]))):
        if not isinstance(_call(label, read, UNREACHABLE), LrmsError):
            yield f"{label}: a command that failed is taken for an answer"
        for text in (*GARBAGE, ""):
            _call(label, read, Done(0, text))


@_collected
def _inside(plugin: Plugin, samples: Samples) -> Iterator[str]:
    def read(path: str) -> str:
        if path not in samples.files:
            raise FileNotFoundError(path)
        return samples.files[path]

    def anything(path: str) -> str:
        return "n1 2 q@n1 UNDEFINED\n"

    for called, env in ENVIRONMENTS.items():
        if called == plugin.name:
            continue
        if _call("allocation", plugin.allocation, env, anything, 0.0) is not None:
            yield f"allocation: takes the environment of {called} for its own"
    if _call("allocation", plugin.allocation, {}, anything, 0.0) is not None:
        yield "allocation: takes an empty environment for its own"
    got = _call("allocation", plugin.allocation, samples.env, read, 0.0)
    if not isinstance(got, Allocation):
        yield f"allocation: {got!r} is none"
        return
    if got.hosts != tuple(samples.hosts) or got.lrms != plugin.name:
        yield f"allocation: {got.hosts!r} in {got.lrms}, not {tuple(samples.hosts)!r}"
    for variable in samples.env:
        for text in (*(text for text in GARBAGE if "\0" not in text), ""):
            spoilt = {**samples.env, variable: text}
            _call(f"allocation with {variable}", plugin.allocation, spoilt, read, 0.0)
    for path in samples.files:
        for text in (*GARBAGE, ""):
            _call("allocation", plugin.allocation, samples.env, lambda _, text=text: text, 0.0)
        if samples.files[path] and not samples.lacks:
            missing = _call("allocation", plugin.allocation, samples.env, _nothing, 0.0)
            if not isinstance(missing, LrmsError):
                yield "allocation: does not miss a file that is not there"
    command = _call("ends", plugin.ends, got)
    if command is not None:
        yield from _command("ends", command)
    for text in (*GARBAGE, ""):
        if _call("ended_at", plugin.ended_at, Done(1, text), 0.0) is not None:
            yield "ended_at: knows an end from a command that failed"
        _call("ended_at", plugin.ended_at, Done(0, text), 0.0)


def _nothing(path: str) -> str:
    raise FileNotFoundError(path)


@_collected
def _nodes(plugin: Plugin, samples: Samples) -> Iterator[str]:
    """Starting processes elsewhere."""
    here = Allocation(plugin.name, samples.id, tuple(samples.hosts))
    if _call("on_nodes", plugin.on_nodes, here, [], ["true"]) != []:
        yield "on_nodes: starts something on no hosts"
    others = [host for host, _ in samples.hosts[1:]]
    commands = _call("on_nodes", plugin.on_nodes, here, others, list(STRANGE_WORDS))
    if others and (isinstance(commands, LrmsError) or not commands):
        yield f"on_nodes: starts nothing: {commands}"
        return
    for command in commands:
        yield from _command("on_nodes", command)
        words = list(command.argv)
        if STRANGE_WORDS not in (tuple(words[-len(STRANGE_WORDS) :]), _as_a_shell(words[-1])):
            yield "on_nodes: the words do not arrive as they were"
    named = " ".join(" ".join(command.argv[: -len(STRANGE_WORDS)]) for command in commands)
    if commands and len(commands) == 1 < len(others) and not all(one in named for one in others):
        yield "on_nodes: not all hosts are named"


def _as_a_shell(line: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(line))
    except ValueError:
        return ()


@_collected
def _scripts(plugin: Plugin, samples: Samples) -> Iterator[str]:
    for text in ("", "#!/bin/sh\ntrue\n", "# a comment\n", *GARBAGE):
        if _call("headers", plugin.headers, text) is not None:
            yield "headers: finds some where there are none"
    if not plugin.directive:
        return
    for rest in ("-", "--", "-l", "'", '"', "-N -N", "-l x=", "-n x", "--time", "-t 1-", "-W :"):
        got = _call("headers", plugin.headers, f"#!/bin/sh\n{plugin.directive} {rest}\n")
        if isinstance(got, LrmsError) and "line 2" not in str(got):
            yield f"headers: does not say which line is wrong: {got}"
        elif not isinstance(got, (Headers, LrmsError)):
            yield f"headers: does not see {plugin.directive} {rest}"
    if _call("headers", plugin.headers, f"#{plugin.directive} -N x\n") is not None:
        yield f"headers: takes #{plugin.directive}, a comment, for one"
