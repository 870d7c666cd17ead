"""What a batch system's plug-in is: commands as argv, answers as values read from text.

A plug-in has two sides. The *submit side* runs on a front end: submit a pilot, ask after many
pilots at once,
cancel, look at what the site has. The *inside* runs in a batch job: which allocation is this, how
long does it
last, how is one process per node started.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from gshell.errors import GshellError


class LrmsError(GshellError):
    """A batch system said no. ``code`` is "refused" (final: it would refuse again), "busy" (it
    may take it
    later) or "broken" (its answer makes no sense)."""

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class Command(NamedTuple):
    """To be run on the submit host, as the user."""

    argv: Sequence[str]
    stdin: str = ""
    env: Mapping[str, str] = {}  # never changed
    """Added to the environment there."""


class Done(NamedTuple):
    """How a command went; ``err`` is kept apart from ``out``."""

    code: int
    out: str
    err: str = ""


class PilotRequest(NamedTuple):
    """What a pilot asks of the batch system."""

    name: str
    """Of the batch job: "gshell-PILOT", by which a lost pilot is found again."""
    script: str
    """Its path on the submit host; the text begins with `Plugin.header`."""
    output: str
    """Where the batch system puts what the script prints: a path on the submit host."""
    nodes: int = 1
    slots: int = 0
    """Slots per node; 0: whatever the site gives with a node."""
    walltime_s: int = 0
    """0: the site's default."""
    memory_bytes: int = 0
    """Per node; 0: the site's default."""
    queue: str = ""
    account: str = ""
    extra: Sequence[str] = ()
    """The user's own options for the submit command, word by word."""


class State(enum.Enum):
    """Of a batch job, as far as a pilot's owner cares."""

    QUEUED = "queued"
    HELD = "held"
    STARTING = "starting"
    RUNNING = "running"
    ENDING = "ending"
    ENDED = "ended"
    UNKNOWN = "unknown"


class Status(NamedTuple):
    """One batch job. What the batch system does not tell is None or empty."""

    id: str
    state: State
    reason: str = ""
    """Its own word: why it waits, or how it ended ("Resources", "TIMEOUT", "NODE_FAIL")."""
    start_at: float | None = None
    """When it is expected to start or has started, epoch seconds."""
    position: int | None = None
    """How many of the queue are before it."""
    hosts: tuple[str, ...] = ()
    code: int | None = None


class Queue(NamedTuple):
    """A queue or partition and what it has now. Numbers that are not told are None."""

    name: str
    nodes: int | None = None
    nodes_free: int | None = None
    cpus: int | None = None
    cpus_free: int | None = None
    cpus_per_node: int | None = None
    memory_bytes: int | None = None
    """Of a node."""
    walltime_s: int | None = None
    """The longest allowed; None: no limit is told."""
    running: int | None = None
    waiting: int | None = None
    default: bool = False
    up: bool = True


class Allocation(NamedTuple):
    """The batch job we are in, as its environment tells."""

    lrms: str
    id: str
    hosts: tuple[tuple[str, int], ...]
    """(host, slots) in the batch system's order, each host once."""
    ends_at: float | None = None
    """When the batch system will end it, epoch seconds, if the environment tells."""
    restart: int = 0
    """How often it was started before (requeued jobs)."""
    queue: str = ""
    name: str = ""


class Headers(NamedTuple):
    """What a job script's own header lines ask for (#SBATCH, #OAR, #PBS, #$)."""

    name: str = ""
    nodes: int | None = None
    tasks: int | None = None
    """In all."""
    tasks_per_node: int | None = None
    walltime_s: int | None = None
    memory_bytes: int | None = None
    queue: str = ""
    account: str = ""
    output: str = ""
    error: str = ""
    cwd: str = ""
    array: str = ""
    ignored: tuple[str, ...] = ()
    """Options that mean nothing here, as written: the user is told."""


class Plugin(Protocol):
    """A batch system. Every method is pure; a state or a field it does not know is UNKNOWN or
    None, never
    an exception; text that is not an answer at all raises `LrmsError` "broken" with the text's
    first line."""

    name: str
    directive: str
    """What begins a header line in its scripts: "#SBATCH"; empty: it has none."""

    # -- the submit side

    def header(self, request: PilotRequest) -> list[str]:
        """Lines for the script's head, without newline."""

    def submit(self, request: PilotRequest) -> Command: ...

    def submitted(self, done: Done) -> str:
        """The batch job's id.

        Raises:
            LrmsError: it was not accepted: the site's own words.
        """

    def status(self, ids: Sequence[str]) -> list[Command]:
        """To learn of all of them at once."""

    def statuses(self, ids: Sequence[str], done: Sequence[Done]) -> dict[str, Status]:
        """An answer for every id: one that the batch system has forgotten is ENDED with reason
        "gone"."""

    def cancel(self, ids: Sequence[str]) -> Command: ...

    def find(self, prefix: str, user: str) -> Command:
        """To find this user's batch jobs, queued or running, whose name begins so."""

    def found(self, done: Done) -> dict[str, str]:
        """Batch job id -> name, of those whose names begin with the prefix asked for or not: all
        listed."""

    def offers(self) -> list[Command]: ...

    def offered(self, done: Sequence[Done]) -> list[Queue]: ...

    # -- inside a batch job

    def allocation(
        self, env: Mapping[str, str], read: Callable[[str], str], now: float
    ) -> Allocation | None:
        """None: this is not one of mine. ``read(path)`` gives a file's text (a node file), or
        raises OSError."""

    def ends(self, allocation: Allocation) -> Command | None:
        """To learn when it ends, where the environment does not tell; None: it cannot be asked."""

    def ended_at(self, done: Done, now: float) -> float | None: ...

    def on_nodes(
        self, allocation: Allocation, hosts: Sequence[str], argv: Sequence[str]
    ) -> list[Command]:
        """To start ``argv`` once on each of ``hosts`` (not the one we are on) by the site's own
        launcher; each
        command stays in the foreground while its processes live."""

    # -- scripts

    def headers(self, text: str) -> Headers | None:
        """What a script's header lines ask for; None: it has none of mine.

        Raises:
            LrmsError: "refused", with the line's number.
        """
