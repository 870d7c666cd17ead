"""From a checked description to what is asked of the relay. Touches no file and asks nobody.

A description makes one request, or one for each node, in an order in which each comes behind those
it waits for. The files that go with a job are named; who sends them is somebody else.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gshell.jdl import graph, words
from gshell.jdl.description import PACX, Description, Mpi, Node
from gshell.jdl.errors import NOWHERE, JdlError
from gshell.jdl.geometry import Geometry
from gshell.jdl.reader import Findings
from gshell.jdl.syntax import NotConstant, constant
from gshell.jdl.words import Word

GLOGIN = ("i2glogin", "glogin")
USUAL_PTY = (24, 80)
MOST_FILES = 1000  # of a sandbox, as the broker takes them
AD_NAMES = 200  # of a job's ad, as the broker takes it
AD_TEXT = 1024  # characters of one value in it

# Starts an MPI program by the node's own mpi-start or the agent's; by mpirun where neither is,
# and then what only mpi-start can do is refused. The words are made here, where $NAME counts.
_START = """\
starter=$1; shift
if [ "$starter" != mpi-start ]; then exec "$starter" "$@"; fi
if [ -f "$I2G_MPI_APPLICATION" ]; then chmod u+x "$I2G_MPI_APPLICATION"; fi
if ! command -v mpi-start >/dev/null 2>&1; then starter=$I2G_MPI_START; fi
if [ -n "$starter" ] && "$starter" -V >/dev/null 2>&1; then
    : "${GSHELL_HOSTS=.:$I2G_MPI_NP}"
    export GSHELL_HOSTS
    eval 'set -- "$@" -- "$I2G_MPI_APPLICATION" '"$I2G_MPI_APPLICATION_ARGS"
    exec "$starter" "$@"
fi
if [ -n "$I2G_MPI_PRE_RUN_HOOK$I2G_MPI_POST_RUN_HOOK" ]; then
    echo "gshell: this job has mpi-start's hooks, and there is no mpi-start on $(hostname)" >&2
    exit 126
fi
if ! command -v mpirun >/dev/null 2>&1; then
    echo "gshell: there is neither mpi-start nor mpirun on $(hostname)" >&2
    exit 127
fi
: "${OMPI_MCA_rmaps_base_oversubscribe=1}" "${PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe}"
export OMPI_MCA_rmaps_base_oversubscribe PRTE_MCA_rmaps_default_mapping_policy
if [ "$(id -u)" = 0 ]; then
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    export OMPI_ALLOW_RUN_AS_ROOT OMPI_ALLOW_RUN_AS_ROOT_CONFIRM
fi
eval "set -- $I2G_MPI_APPLICATION_ARGS"
exec mpirun -np "$I2G_MPI_NP" "$I2G_MPI_APPLICATION" "$@"
"""
# A script that starts MPI programs itself, as the grid's guides had it, is run once; seen in the
# lines that are no comment.
_STARTERS = re.compile(
    r"(?:^|[;&|(`])\s*(?:(?:exec|time|eval|if|!|nohup)\s+|\w+=\S*\s+)*[\"']?"
    r"(?:\$\{?I2G_MPI_START\}?|(?:[\w$./{}-]*/)?(?:mpi-start|mpirun|mpiexec|orterun))[\"']?"
    r"(?=[\s;&|)`]|$)"
)
_STARTER_NAMES = ("mpi-start", "mpirun", "mpiexec", "orterun", "mpiexec.hydra", "mpirun_rsh")
# What came along may have lost its permission; the agent mends only what it starts itself.
_MENDED = 'chmod u+x "$1" && exec "$@"'


@dataclass(frozen=True, slots=True)
class Files:
    """What goes along and what comes back."""

    inputs: tuple[str, ...] = ()
    """Paths here."""
    outputs: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    destination_base: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One job to be submitted."""

    name: str
    """Of its node; empty: it is the only one."""
    message: dict[str, Any]
    """The `submit` verb, without `after` and `parent`."""
    files: Files = Files()
    after: tuple[str, ...] = ()
    """Names of nodes."""
    glogin: str = ""
    """The address at which somebody waits with i2glogin."""
    submit_to: str = ""
    """The place that the description names."""
    findings: Findings = field(default_factory=lambda: Findings("", []), compare=False)


def requests(
    description: Description,
    expand: Callable[[str], Sequence[str]],
    umask: int | None = None,
    name: str = "",
    meet: Callable[[str], str] | None = None,
    text_of: Callable[[str], str] | None = None,
) -> list[Request]:
    """``expand``: the files, here, that an entry of an InputSandbox means; none: there is no such
    file. ``name``: of the job, where the description gives none. ``meet``: the whole address for
    what is said of where i2glogin calls (nothing, or with port 0). Both raise ValueError.
    ``text_of``: what is in a script that is here; empty: nothing is known of it.

    Raises:
        JdlError: it cannot be run.
    """
    if not description.nodes:
        node = Node("", description)
        return [_request(node, expand, umask, name, meet, text_of)]
    nodes = {node.name: node for node in description.nodes}
    order = graph.order({node.name: list(node.after) for node in description.nodes})
    base = description.job_name or name or description.name
    return [_request(nodes[one], expand, umask, f"{base}.{one}", meet, text_of) for one in order]


def _request(
    node: Node,
    expand: Callable[[str], Sequence[str]],
    umask: int | None,
    name: str,
    meet: Callable[[str], str] | None,
    text_of: Callable[[str], str] | None,
) -> Request:
    job = node.job
    findings = Findings(job.name, [])
    inputs = _expanded(job, expand, findings)
    names = [path.rpartition("/")[2] for path in inputs]
    alone = _starts_itself(job, inputs, text_of)
    if alone:
        entry = job.ad.entry("Executable")
        text = f"{alone} starts MPI programs itself: it is run once, at the first host"
        findings.note(entry.at if entry is not None else NOWHERE, text)
    glogin, agent = _agent(job, names, findings, meet)
    argv = _argv(job, None if alone else job.mpi, names, agent, findings)
    argv = _with_live(job, argv)
    if agent and agent[0].text in GLOGIN:
        inputs = [p for p in inputs if p.rpartition("/")[2] not in GLOGIN]
        names = [one for one in names if one not in GLOGIN]
    findings.check()
    executable = job.executable.text.rpartition("/")[2] if job.executable else ""
    named = job.job_name or name or executable
    spec: dict[str, Any] = {
        "argv": argv,
        "env": {},
        "extra_env": _environment(job, bool(alone), names),
        "name": named[:200],
        "keep": True,
        "tasks": 1,
        "size": 1,
        "job": _job(job, names),
    }
    if job.geometry.agents > 1:
        spec["crew"] = _crew(job.geometry)
    if umask is not None:
        spec["umask"] = umask
    if job.interactive and job.agent is None and job.mpi is None and not job.stdin:
        spec["pty"] = list(USUAL_PTY)
    message: dict[str, Any] = {
        "m": "submit",
        "spec": spec,
        "n": job.geometry.slots,
        "size": job.geometry.agents,
        **_wants(job, named),
    }
    files = Files(tuple(inputs), job.outputs, job.destinations, job.destination_base)
    return Request(node.name, message, files, node.after, glogin, job.submit_to, findings)


# ---------------------------------------------------------------------------------------- the spec


def _expanded(
    job: Description, expand: Callable[[str], Sequence[str]], findings: Findings
) -> list[str]:
    at = job.ad.entry("InputSandbox")
    place = at.value.at if at is not None else NOWHERE
    found: dict[str, str] = {}
    for word in job.inputs:
        try:
            paths = expand(word)
        except ValueError as error:
            findings.error(place, f"InputSandbox: {error}")
            continue
        if not paths and not (job.agent and word.rpartition("/")[2] in GLOGIN):
            findings.error(place, f"InputSandbox: there is no file {word} here")
        for path in paths or ():
            base = path.rpartition("/")[2]
            if found.setdefault(base, path) != path:
                findings.error(place, f"InputSandbox has two files with the name {base}")
    if len(found) > MOST_FILES:
        why = f"{len(found)} files are too many, {MOST_FILES} at most: pack them"
        findings.error(place, f"InputSandbox: {why}")
    return list(found.values())


def _program(word: Word, names: Sequence[str]) -> Word:
    """An executable; one that came along stands in the job's directory."""
    base = word.text.rpartition("/")[2]
    if base in names and (word.text == base or word.text.startswith(("/", "./"))):
        return words.plain(f"./{base}")
    return word


def _starts_itself(
    job: Description, inputs: Sequence[str], text_of: Callable[[str], str] | None
) -> str:
    """The name of a Parallel job's executable that is no MPI program but starts one; else empty."""
    if job.mpi is None or job.executable is None or job.mpi.arguments:
        return ""
    if job.ad.entry("JobStarter") is not None:
        return ""
    base = job.executable.text.rpartition("/")[2]
    if base in _STARTER_NAMES:
        return base
    path = next((one for one in inputs if one.rpartition("/")[2] == base), "")
    text = text_of(path) if path and text_of is not None else ""
    if not text.startswith("#!"):
        return ""
    lines = (line.strip() for line in text.splitlines())
    return base if any(_STARTERS.search(line) for line in lines if line[:1] != "#") else ""


def _argv(
    job: Description, mpi: Mpi | None, names: list[str], agent: list[Word], findings: Findings
) -> list[str]:
    assert job.executable is not None
    command = [_program(job.executable, names), *job.arguments]
    if mpi is not None:
        if mpi.flavour == PACX:
            entry = job.ad.entry("SubJobType")
            findings.note(
                entry.at if entry else NOWHERE,
                "there is no bridge between sites yet: all of it runs at one site",
            )
        starter = _program(words.plain(mpi.starter), names)
        command = [
            *map(_literal, ("/bin/sh", "-c", _START, "gshell")), starter, *mpi.arguments,
        ]  # fmt: skip
    elif agent and command[0].text.startswith("./"):
        command = [*map(_literal, ("/bin/sh", "-c", _MENDED, "gshell")), *command]
    return words.argv([*agent, *command])


def _crew(geometry: Geometry) -> list[int]:
    """Processes for each agent.

    >>> _crew(Geometry(cpus=5, hosts=2))
    [3, 2]
    """
    least, more = divmod(geometry.cpus, geometry.agents)
    return [least + (index < more) for index in range(geometry.agents)]


def _literal(text: str) -> Word:
    """A word of ours in which nothing is filled in."""
    shell = text
    for char in '\\"$`':
        shell = shell.replace(char, "\\" + char)
    return Word(text, f'"{shell}"', False)


def _agent(
    job: Description,
    names: Sequence[str],
    findings: Findings,
    meet: Callable[[str], str] | None,
) -> tuple[str, list[Word]]:
    """The address of the one who waits (for i2glogin), and the words before the command."""
    if job.agent is None:
        return "", []
    base = job.agent.command.text.rpartition("/")[2]
    if base not in GLOGIN:
        return "", [_program(job.agent.command, names), *job.agent.arguments]
    arguments = list(job.agent.arguments)
    flags = [word.text for word in arguments]
    entry = job.ad.entry("InteractiveAgentArguments") or job.ad.entry("InteractiveAgent")
    at = entry.at if entry is not None else NOWHERE
    address = ""
    for number, flag in enumerate(flags):
        if flag == "-p" and number + 1 < len(flags):
            address = flags[number + 1]
            del arguments[number : number + 2]
            break
        if flag.startswith("-p") and len(flag) > 2:
            address = flag[2:]
            del arguments[number]
            break
        if flag == "-c":
            break
    if "p" in flags:
        findings.warning(at, f'{base}: "p" should be "-p"')
    if "-r" in flags:
        arguments.remove(next(word for word in arguments if word.text == "-r"))
    else:
        findings.note(at, f"{base}: -r is added: in the job it is the remote end")
    if not address and "p" in flags:
        findings.error(at, f"{base} needs the address of who waits: -p PORT:IP")
    elif meet is not None:
        try:
            address = meet(address)
        except ValueError as error:
            findings.error(at, f"{base}: {error}")
    address = address or "0"
    if "-c" not in flags:
        arguments.append(_literal("-c"))
    return address, [*map(_literal, ("i2glogin", "-r", "-p", address)), *arguments]


def _with_live(job: Description, argv: list[str]) -> list[str]:
    """With what the job's Environment says in variables of the place where it runs."""
    live = [(name, words.plain(value)) for name, value in job.environment]
    script = "".join(f"{name}={word.shell}; export {name}; " for name, word in live if word.live)
    return ["/bin/sh", "-c", f'{script}exec "$@"', "gshell", *argv] if script else argv


def _environment(job: Description, alone: bool, names: Sequence[str]) -> dict[str, str]:
    found = {name: value for name, value in job.environment if not words.plain(value).live}
    if job.geometry.agents == 1 and job.geometry.cpus > 1 and (job.mpi is None or alone):
        # For an mpi-start that the program starts: all the slots that the job has.
        found = {"GSHELL_HOSTS": f".:{job.geometry.cpus}", **found}
    if job.mpi is not None:
        found = {**_mpi_environment(job, job.mpi, alone, names), **found}
    return found


def _mpi_environment(
    job: Description, mpi: Mpi, alone: bool, names: Sequence[str]
) -> dict[str, str]:
    """The variables by which a broker of the time told mpi-start what to do."""
    assert job.executable is not None
    application = {
        "I2G_MPI_APPLICATION": _program(job.executable, names).text,
        "I2G_MPI_APPLICATION_ARGS": words.join(list(job.arguments)),
    }
    found = {
        **({} if alone else application),
        "I2G_MPI_TYPE": mpi.flavour,
        "I2G_MPI_NP": str(job.geometry.cpus),
        "I2G_MPI_JOB_NUMBER": "0",
    }
    if mpi.flavour == PACX:
        found["I2G_MPI_FLAVOUR"] = "openmpi"
    return found


def _job(job: Description, names: Sequence[str]) -> dict[str, Any]:
    """What the agent does around the program."""
    found: dict[str, Any] = {"workdir": True}
    streams = {"stdin": job.stdin, "stdout": job.stdout, "stderr": job.stderr}
    if job.agent is not None:
        del streams["stdin"]  # it comes from who waits
    found.update({key: value for key, value in streams.items() if value})
    if names:
        found["inputs"] = list(names)
    outputs = dict.fromkeys(job.outputs)
    if outputs:
        found["outputs"] = list(outputs)
    for key, hook in (("prologue", job.prologue), ("epilogue", job.epilogue)):
        if hook:
            found[key] = _with_live(job, words.argv([_program(hook[0], names), *hook[1:]]))
    if job.perusal is not None:
        perusal: dict[str, Any] = {"every": job.perusal.every_s, "files": list(job.perusal.files)}
        if not job.perusal.files:
            perusal["files"] = [one for one in (job.stdout, job.stderr) if one]
        found["perusal"] = perusal
    return found


# --------------------------------------------------------------------------------------- the wants


def _wants(job: Description, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": name[:200],
        "req": job.requirements,
        "rank": job.rank,
        "fuzzy": job.fuzzy,
        "lane": "interactive" if job.interactive else "batch",
        "loss": 0 if job.interactive and job.exclusive and job.loss is None else job.loss,
        "walltime": job.walltime_s,
        "memory": job.memory_bytes,
        "whole": job.geometry.whole or job.exclusive,
        "retry": job.retry,
        "shallow": job.shallow,
        "deadline": float(job.deadline_at) if job.deadline_at else None,
        "site": list(job.sites),
    }
    if job.requirements or job.rank:
        found["job_ad"] = job_ad(job)
    return {key: value for key, value in found.items() if value or (value == 0 and key == "loss")}


def job_ad(job: Description) -> dict[str, Any]:
    """What its requirements may refer to: its own attributes that are plain values."""
    found: dict[str, Any] = {}
    for entry in job.ad.entries:
        if len(found) >= AD_NAMES or entry.name.lower() in ("requirements", "rank", "nodes"):
            continue
        try:
            value = constant(entry.value)
        except NotConstant:
            continue
        if _plain(value):
            found[entry.name] = value
    return found


def _plain(value: object) -> bool:
    if isinstance(value, list):
        return len(value) <= AD_NAMES and all(_plain(one) for one in value)
    return isinstance(value, int | float) or (isinstance(value, str) and len(value) <= AD_TEXT)


def with_pin(request: Request, **changes: Any) -> Request:
    """The same, for one agent or one site."""
    return dataclasses.replace(request, message={**request.message, **changes})


__all__ = ["Files", "JdlError", "Request", "job_ad", "requests", "with_pin"]
