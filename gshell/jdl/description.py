"""A checked job description, as values. Reads nothing and decides nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from gshell.jdl.errors import Finding
from gshell.jdl.geometry import SINGLE, Geometry
from gshell.jdl.syntax import Ad
from gshell.jdl.words import Word

JOB, COLLECTION, DAG = "Job", "Collection", "DAG"
OPENMPI, MPICH, MPICH_G2, PACX = "openmpi", "mpich", "mpich-g2", "pacx-mpi"


@dataclass(frozen=True, slots=True)
class Perusal:
    """Files to be looked at while the job runs."""

    every_s: int
    files: tuple[str, ...] = ()
    """None: what it prints."""


@dataclass(frozen=True, slots=True)
class Mpi:
    """How a Parallel job is started."""

    flavour: str
    starter: str = "mpi-start"
    arguments: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Agent:
    """InteractiveAgent: what stands between the user and the program."""

    command: Word
    arguments: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """One job of several."""

    name: str
    job: Description
    after: tuple[str, ...] = ()
    """Names of nodes that must have completed before."""


@dataclass(frozen=True, slots=True)
class Description:
    """What is to be run, all of it checked. Empty strings and 0 are "not said"."""

    name: str
    """Of the file."""
    ad: Ad
    type: str = JOB
    job_name: str = ""
    executable: Word | None = None
    arguments: tuple[Word, ...] = ()
    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    inputs: tuple[str, ...] = ()
    """Paths or patterns, here."""
    outputs: tuple[str, ...] = ()
    """Patterns in the job's directory."""
    destinations: tuple[str, ...] = ()
    """For each of `outputs` a path here, or empty."""
    destination_base: str = ""
    prologue: tuple[Word, ...] = ()
    epilogue: tuple[Word, ...] = ()
    perusal: Perusal | None = None
    interactive: bool = False
    agent: Agent | None = None
    mpi: Mpi | None = None
    geometry: Geometry = SINGLE
    loss: int | None = None
    reliable: bool = True
    exclusive: bool = False
    short: bool = False
    retry: int = 0
    shallow: int = 0
    requirements: str = ""
    """As text, what was asked for in other attributes with it."""
    rank: str = ""
    fuzzy: float | None = None
    submit_to: str = ""
    sites: tuple[str, ...] = ()
    walltime_s: int = 0
    memory_bytes: int = 0
    deadline_at: int = 0
    nodes: tuple[Node, ...] = ()
    findings: tuple[Finding, ...] = field(default=(), compare=False)

    def all_findings(self) -> list[tuple[str, Finding]]:
        """With the name of the file each is about, each once."""
        found = {(self.name, one): None for one in self.findings}
        for node in self.nodes:
            found.update(dict.fromkeys(node.job.all_findings()))
        return list(found)
