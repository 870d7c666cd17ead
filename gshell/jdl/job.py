"""What a job description means: an ad becomes a `Description`, or errors with their places.

Touches no file: what ``File = "x.jdl"`` names is read by a function it is given.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gshell.jdl import files, glue, sandbox, sequences, words
from gshell.jdl import geometry as shapes
from gshell.jdl.bounds import OF_GRIDS
from gshell.jdl.description import (
    COLLECTION,
    DAG,
    JOB,
    MPICH,
    MPICH_G2,
    OPENMPI,
    PACX,
    Agent,
    Description,
    Mpi,
    Perusal,
)  # fmt: skip
from gshell.jdl.errors import JdlError
from gshell.jdl.parse import parse, parse_expression
from gshell.jdl.reader import Findings, Reader
from gshell.jdl.syntax import Ad, Call, Entry, Literal, Ref, quoted, walk, write

MAX_RETRIES = 10  # of each kind, as the grid's own brokers had it
LEAST_PERUSAL_S = 5
USUAL_PERUSAL_S = 30
DEFAULT_STATE = 'other.GlueCEStateStatus == "Production"'  # the grid's own default: agents are
_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_JOB_TYPES = (
    "normal", "interactive", "mpich", "parallel", "parametric", "checkpointable", "partitionable",
)  # fmt: skip
_FLAVOURS = {
    OPENMPI: OPENMPI, "open-mpi": OPENMPI, MPICH: MPICH, "mpich-p4": MPICH, MPICH_G2: MPICH_G2,
    PACX: PACX, "pacxmpi": PACX, "pacx": PACX,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Options:
    """How a description is read."""

    dirac: bool = False
    """In DIRAC's dialect: Parameters is a count, %s %n %j are filled in."""
    sets: Sequence[tuple[str, str]] = ()
    """Attributes given beside the file: (name, expression); they count."""
    load: Callable[[str], str] | None = None
    """The text of a file that a node names; raises OSError. None: there are none."""


def read(text: str, name: str = "job", options: Options | None = None) -> Description:
    """
    Raises:
        JdlError: with file, line and column; of several errors all are in its message.
    """
    options = options or Options()
    ad, warnings = parse(text, name)
    findings = Findings(name, list(warnings))
    for attribute, expression in options.sets:
        value = parse_expression(expression, f"--set {attribute}")
        ad = ad.with_(Entry(attribute, value))
    numbered = [one for one in ad.entries if options.dirac and "%j" in write(one.value)]
    for entry in numbered[:1]:
        findings.warning(entry.at, "%j stays as it is: use $GSHELL_JOB, or %n")
    return read_ad(ad, findings, options)


def read_ad(ad: Ad, findings: Findings, options: Options) -> Description:
    """
    Raises:
        JdlError: as `read`.
    """
    from gshell.jdl import nodes

    reader = Reader(ad, findings)
    kind = reader.string("Type", JOB).lower()
    kinds = [one.lower() for one in reader.strings("JobType")]
    if kind in ("dag", "collection") or (reader.has("Nodes") and kind == "job"):
        whole = DAG if kind == "dag" or reader.has("Dependencies") else COLLECTION
        found = nodes.read_nodes(reader, whole, options)
    elif kind != "job":
        reader.wrong("Type", f'Type = "{kind}": it is "Job", "Collection" or "DAG"')
        found = Description(findings.name, ad)
    elif "parametric" in kinds or sequences.names(reader):
        found = nodes.read_parametric(reader, options)
    else:
        reader.names()
        found = _job(reader, kinds)
    findings.check()
    return found


def _job(reader: Reader, kinds: list[str]) -> Description:
    findings = reader.findings
    for kind in kinds:
        if kind not in _JOB_TYPES:
            _other_type(reader, kind)
        elif kind in ("checkpointable", "partitionable"):
            findings.warning(reader.at("JobType"), f"{kind} jobs are run as normal ones, whole")
    agent = _agent(reader)
    interactive = "interactive" in kinds or reader.flag("Interactive") or agent is not None
    if agent is not None and reader.has("Interactive") and not reader.flag("Interactive"):
        interactive, agent = False, None
        findings.note(reader.at("InteractiveAgent"), "Interactive is false: it is not used")
    shape = _geometry(reader)
    inputs = files.inputs(reader)
    executable = _executable(reader, inputs)
    stdout, stderr = _stream(reader, "StdOutput"), _stream(reader, "StdError")
    outputs, destinations, base = files.outputs(reader, (stdout, stderr))
    return Description(
        name=findings.name,
        ad=reader.ad,
        job_name=reader.string("JobName") or reader.string("NodeName"),
        executable=executable,
        arguments=_words(reader, "Arguments"),
        stdin=_stream(reader, "StdInput", inputs),
        stdout=stdout,
        stderr=stderr,
        environment=_environment(reader),
        inputs=inputs,
        outputs=outputs,
        destinations=destinations,
        destination_base=base,
        prologue=_hook(reader, "Prologue"),
        epilogue=_hook(reader, "Epilogue"),
        perusal=_perusal(reader),
        interactive=interactive,
        agent=agent,
        mpi=_mpi(reader, kinds),
        geometry=shape,
        loss=_loss(reader, interactive),
        reliable=_one_of(reader, "StreamingMode", "reliable", "fast") != "fast",
        exclusive=_one_of(reader, "MachineAccess", "shared", "exclusive") == "exclusive",
        short=reader.flag("ShortDeadlineJob"),
        retry=_retries(reader, "RetryCount"),
        shallow=_retries(reader, "ShallowRetryCount"),
        requirements=_requirements(reader),
        rank=_expression(reader, "Rank"),
        fuzzy=_fuzzy(reader),
        submit_to=reader.string("SubmitTo"),
        sites=tuple(one for one in reader.filled("Site") if one.lower() != "any"),
        walltime_s=_walltime(reader),
        memory_bytes=reader.whole("Memory", 1) or 0,
        deadline_at=reader.whole("ExpiryTime", 1) or 0,
        findings=tuple(findings.found),
    )


def _other_type(reader: Reader, kind: str) -> None:
    """A slip is an error; DIRAC's types are names that its users choose."""
    known = ", ".join(_JOB_TYPES)
    slip = kind != "mpi" and difflib.get_close_matches(kind, _JOB_TYPES, 1, 0.75)
    if kind in _FLAVOURS:
        text = f'JobType = "{kind}": write JobType = "Parallel"; SubJobType = "{kind}"'
        reader.wrong("JobType", text)
    elif slip or not kind.strip():
        reader.wrong("JobType", f'JobType = "{kind}": it is one of {known}')
    else:
        text = f'JobType = "{kind}" is none of {known}: run once, as a normal job'
        reader.findings.warning(reader.at("JobType"), text)


# ------------------------------------------------------------------------------- what is executed


def _words(reader: Reader, name: str) -> tuple[words.Word, ...]:
    value = reader.value(name)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        reader.findings.warning(reader.at(name), f"{name} is one string; its parts are joined")
        text = " ".join(value)
    else:
        text = reader.string(name)
    try:
        return tuple(words.split(text))
    except ValueError as error:
        reader.wrong(name, f"{name} {error}")
        return ()


def _executable(reader: Reader, inputs: tuple[str, ...]) -> words.Word | None:
    if not reader.has("Executable"):
        reader.findings.error(reader.ad.at, "Executable is missing: what is to be run?")
        return None
    text = reader.string("Executable")
    if not text.strip():
        if isinstance(reader.value("Executable"), str):
            reader.wrong("Executable", "Executable is empty")
        return None
    if text != text.strip() or (" " in text and not any(p.endswith(text) for p in inputs)):
        reader.findings.warning(
            reader.at("Executable"), f"Executable is {text!r}, blanks and all: use Arguments?"
        )
    return words.plain(text)


def _hook(reader: Reader, name: str) -> tuple[words.Word, ...]:
    text = reader.string(name)
    more = _words(reader, name + "Arguments")
    if more and not text:
        reader.wrong(name + "Arguments", f"{name}Arguments without {name}")
    return (words.plain(text), *more) if text else ()


def _agent(reader: Reader) -> Agent | None:
    text = reader.string("InteractiveAgent")
    more = _words(reader, "InteractiveAgentArguments")
    if more and not text:
        reader.wrong("InteractiveAgentArguments", "InteractiveAgentArguments without an agent")
    return Agent(words.plain(text), more) if text else None


def _stream(reader: Reader, name: str, inputs: Sequence[str] = ()) -> str:
    text = reader.string(name)
    if name == "StdInput" and any(path == text or path.endswith("/" + text) for path in inputs):
        return text.rpartition("/")[2]  # as it is called in the job's directory
    if text in ("", "/dev/null"):
        return ""
    text = text.removeprefix("./")
    if not sandbox.inside(text):
        bring = ": bring it in InputSandbox" if name == "StdInput" else ""
        reader.wrong(name, f"{name} = {text[:80]!r} is not in the job's directory{bring}")
    return text


def _environment(reader: Reader) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for one in reader.filled("Environment"):
        name, equals, value = one.partition("=")
        name = name.strip()
        if not equals or not _ENV.match(name):
            reader.wrong("Environment", f'Environment: {one[:60]!r} is not "NAME=value"')
        elif name in found:
            reader.findings.warning(reader.at("Environment"), f"{name} is set twice")
        found[name] = _unquoted(value)
    return tuple(found.items())


def _unquoted(value: str) -> str:
    """The grid's wrappers were shell scripts: quotes around a value were theirs."""
    quotes = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quotes and value[0] not in value[1:-1] else value


def _mpi(reader: Reader, kinds: list[str]) -> Mpi | None:
    said = reader.string("SubJobType")
    flavour = _FLAVOURS.get(said.lower(), "") if said else ""
    if said and not flavour:
        known = f"{OPENMPI}, {MPICH}, {MPICH_G2} or {PACX}"
        reader.wrong("SubJobType", f'SubJobType = "{said}": it is {known}')
    if said and flavour != said.lower():
        reader.findings.note(reader.at("SubJobType"), f'"{said}" is {flavour}')
    if "parallel" not in kinds and "mpich" not in kinds:
        for name in ("SubJobType", "JobStarter", "JobStarterArguments"):
            if reader.has(name):
                why = f'{name} counts for JobType = "Parallel" only'
                reader.findings.warning(reader.at(name), why)
        return None
    if "parallel" not in kinds:
        flavour = flavour or MPICH
    if not flavour and not said and not reader.has("JobStarter"):
        reader.findings.warning(
            reader.at("JobType"), f"a Parallel job without SubJobType is taken as {OPENMPI}"
        )
    starter = reader.string("JobStarter") or "mpi-start"
    return Mpi(flavour or OPENMPI, starter, _words(reader, "JobStarterArguments"))


# -------------------------------------------------------------------------------------- how much


def _geometry(reader: Reader) -> shapes.Geometry:
    counts = {
        name: value
        for name in ("CpuNumber", "NodeNumber", "NumberOfProcessors")
        if (value := reader.whole(name)) is not None
    }
    if len(set(counts.values())) > 1:
        said = " and ".join(f"{name} = {value}" for name, value in counts.items())
        reader.wrong(list(counts)[-1], f"{said}: they mean the same, say one")
    hosts, granularity = reader.whole("HostNumber"), reader.whole("SMPGranularity")
    whole = reader.flag("WholeNodes") or reader.flag("WholeNode")
    try:
        return shapes.geometry(next(iter(counts.values()), None), hosts, granularity, whole)
    except ValueError as error:
        names = [*counts, "HostNumber", "SMPGranularity"]
        reader.wrong(next(name for name in names if name in str(error) and reader.has(name)),
                     str(error))  # fmt: skip
        return shapes.SINGLE


def _loss(reader: Reader, interactive: bool) -> int | None:
    loss = reader.number("PerformanceLoss")
    if loss is None:
        return None
    if not 0 <= loss <= 100:
        reader.wrong("PerformanceLoss", f"PerformanceLoss = {loss:g}: it is a percentage")
        return None
    if not interactive:
        why = "PerformanceLoss is of interactive jobs: what a batch job beside it may keep"
        reader.findings.warning(reader.at("PerformanceLoss"), why)
        return None
    return round(loss)


def _retries(reader: Reader, name: str) -> int:
    """Its own, or what is said for all nodes; -1 is the grid's word for none."""
    if not reader.has(name):
        name = f"DefaultNode{name}"
    count = reader.whole(name, -1 if "Shallow" in name else 0) or 0
    if count > MAX_RETRIES:
        reader.findings.warning(reader.at(name), f"{name} is {MAX_RETRIES} at most")
    return max(0, min(count, MAX_RETRIES))


def _walltime(reader: Reader) -> int:
    value = reader.value("WallTime")
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(value, str):
        parts = value.split(":")
        if 1 <= len(parts) <= 3 and all(part.isdigit() and len(part) < 8 for part in parts):
            return sum(int(part) * 60**power for power, part in enumerate(reversed(parts)))
    if value is not None:
        reader.wrong("WallTime", 'WallTime is seconds, or "HH:MM:SS"')
    return reader.whole("CPUTime", 1) or 0


def _one_of(reader: Reader, name: str, *words_: str) -> str:
    said = reader.string(name, words_[0])
    if said.lower() not in words_:
        reader.wrong(name, f'{name} = "{said}": {" or ".join(words_)}')
    return said.lower()


def _perusal(reader: Reader) -> Perusal | None:
    every = reader.whole("PerusalTimeInterval", 0)
    files = tuple(reader.strings("PerusalFiles"))
    listed = reader.string("PerusalListFileURI")
    if not reader.flag("PerusalFileEnable"):
        return None
    if every is not None and every < LEAST_PERUSAL_S:
        reader.findings.note(
            reader.at("PerusalTimeInterval"),
            f"files are looked at each {LEAST_PERUSAL_S} s at most",
        )
        every = LEAST_PERUSAL_S
    if listed:
        reader.findings.warning(
            reader.at("PerusalListFileURI"),
            "no lists are read while it runs: name them in PerusalFiles",
        )
    return Perusal(every or USUAL_PERUSAL_S, files)


# -------------------------------------------------------------------------------- where it may run


def _expression(reader: Reader, name: str) -> str:
    expr = reader.ad.get(name)
    if expr is None:
        return ""
    if isinstance(expr, Literal) and isinstance(expr.value, str):
        reader.wrong(name, f"{name} is a text: an expression stands without quotes")
        return ""
    for one in walk(expr):
        if isinstance(one, Call) and one.name.lower() in OF_GRIDS:
            why = f"{one.name}() asked the grid's own services: there it is undefined"
            reader.findings.warning(one.at, why)
        glued = isinstance(one, Ref) and one.name.lower().startswith("glue")
        if isinstance(one, Ref) and glued and one.name.lower() not in glue.TABLE:
            reader.findings.warning(one.at, f"{one.name} is told by nobody here: undefined")
    return write(expr)


def _requirements(reader: Reader) -> str:
    """Its own, and what other attributes ask of a place."""
    parts = []
    own = _expression(reader, "Requirements")
    if own and own.lower() not in ("true", DEFAULT_STATE.lower()):
        parts.append(own)
    if reader.flag("ShortDeadlineJob"):
        parts.append('RegExp(".*sdj$", other.GlueCEUniqueID)')
    if batch := reader.string("BatchSystem"):
        parts.append(f"other.lrms == {quoted(batch)}")
    if queue := reader.string("QueueName"):
        parts.append(f"other.GlueCEName == {quoted(queue)}")
    if gpus := reader.whole("GPUNumber", 0):
        parts.append(f"other.gpus >= {gpus}")
    if model := reader.string("GPUModel"):
        parts.append(f"other.gpu_model == {quoted(model)}")
    parts += [f"other.site != {quoted(one)}" for one in reader.filled("BannedSites")]
    for one in (*reader.filled("Tags"), *reader.filled("Tag")):
        parts.append(f"Member({quoted(one)}, other.tags)")
    if len(parts) == 1:
        return parts[0]
    return " && ".join(f"({one})" for one in parts)


def _fuzzy(reader: Reader) -> float | None:
    factor = reader.number("FuzzyFactor")
    if not reader.flag("FuzzyRank"):
        return None
    if factor is not None and factor <= 0:
        reader.wrong("FuzzyFactor", "FuzzyFactor is more than 0")
    return factor if factor is not None else 1.0


__all__ = ["JdlError", "Options", "read", "read_ad"]
