"""What a batch system's plug-in is: commands as argv, answers as values read from text. A module
whose functions are those of `Plugin` is one.

A plug-in has two sides. The *submit side* runs on a front end: submit a pilot, ask after many
pilots at once, cancel, look at what the site has. The *inside* runs in a batch job: which
allocation is this, how long does it last, how is one process per node started.

What a plug-in is asked for and cannot say to its batch system in one line and one word (a queue
with a newline in its name) is refused by it: `LrmsError` "refused". No value reaches a shell as
anything but one word.
"""

from __future__ import annotations

import enum

from gshell.errors import LrmsError
from gshell.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Protocol
else:
    Protocol = object

__all__ = [
    "Allocation",
    "Command",
    "Done",
    "Headers",
    "LrmsError",
    "PilotRequest",
    "Plugin",
    "Queue",
    "State",
    "Status",
]


class Command(Record):
    """To be run on the submit host, as the user."""

    argv: Sequence[str]
    stdin: str = ""
    env: Mapping[str, str] = {}  # never changed
    """Added to the environment there."""


class Done(Record):
    """How a command went; ``err`` is kept apart from ``out``. The text is as it came, last newline
    included (without it, it was cut off); a plug-in makes safe what it takes from it."""

    code: int
    out: str
    err: str = ""


class PilotRequest(Record):
    """What a pilot asks of the batch system."""

    name: str
    """Of the batch job: "gshell-PILOT", by which a lost pilot is found again."""
    script: str
    """Its path on the submit host: an executable file, ``#!/bin/sh``, then `Plugin.header`."""
    output: str
    """Where the batch system puts what the script prints: a path on the submit host."""
    nodes: int = 1
    slots: int = 0
    """Slots per node; 0: whole nodes where the batch system has such a thing, else one slot."""
    walltime_s: int = 0
    """0: the site's default."""
    memory_bytes: int = 0
    """Per node; 0: the site's default."""
    queue: str = ""
    account: str = ""
    extra: Sequence[str] = ()
    """The user's own options for the submit command, word by word; they win over the header."""


class State(enum.Enum):
    """Of a batch job, as far as a pilot's owner cares."""

    QUEUED = "queued"
    HELD = "held"
    """It does not start until a person changes something; `Status.reason` says what."""
    STARTING = "starting"
    RUNNING = "running"
    ENDING = "ending"
    ENDED = "ended"
    UNKNOWN = "unknown"


class Status(Record):
    """One batch job. What the batch system does not tell is None or empty."""

    id: str
    state: State
    reason: str = ""
    """Its own word: why it waits, or how it ended ("Resources", "TIMEOUT", "NODE_FAIL")."""
    start_at: float | None = None
    """When it is expected to start or has started, epoch seconds."""
    position: int | None = None
    """How many of the queue are before it, as far as the site shows the jobs of others."""
    hosts: tuple[str, ...] = ()
    code: int | None = None


class Queue(Record):
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


class Allocation(Record):
    """The batch job we are in, as its environment tells."""

    lrms: str
    id: str
    hosts: tuple[tuple[str, int], ...]
    """(host, slots) in the batch system's order, each host once."""
    ends_at: float | None = None
    """When the batch system will end it, epoch seconds, if the environment tells. Some tell only
    how long it lasts: then this is as if it had begun now, and `Plugin.ends` knows better."""
    restart: int = 0
    """How often it was started before (requeued jobs)."""
    queue: str = ""
    name: str = ""


class Headers(Record):
    """What a job script's own header lines ask for (#SBATCH, #OAR, #PBS, #$, #BSUB)."""

    name: str = ""
    nodes: int | None = None
    tasks: int | None = None
    """In all."""
    tasks_per_node: int | None = None
    cpus_per_task: int | None = None
    whole: bool = False
    """Nobody else on its nodes."""
    walltime_s: int | None = None
    memory_bytes: int | None = None
    """Per node."""
    memory_of_slot: bool = False
    """... or of each slot."""
    queue: str = ""
    account: str = ""
    output: str = ""
    error: str = ""
    cwd: str = ""
    array: str = ""
    ignored: tuple[str, ...] = ()
    """Options that mean nothing here, as written: the user is told."""


class Plugin(Protocol):
    """A batch system. Every method is pure. A state or a field that it does not know is UNKNOWN or
    None, never an exception; text that is not an answer at all raises `LrmsError` "broken" with the
    text's first line, a command that failed "busy" or "refused" with its own words."""

    name: str
    directive: str
    """What begins a header line in its scripts: "#SBATCH"; empty: it has none."""

    # -- the submit side

    def header(self, request: PilotRequest) -> list[str]:
        """Lines for the script's head, without newline.

        Raises:
            LrmsError: "refused": no such batch job can be asked for here.
        """

    def submit(self, request: PilotRequest) -> Command:
        """Raises: LrmsError: as `header`."""

    def submitted(self, done: Done) -> str:
        """The batch job's id.

        Raises:
            LrmsError: it was not accepted: the site's own words. "broken": it may have been.
        """

    def status(self, ids: Sequence[str]) -> list[Command]:
        """To learn of all of them at once. The first command is the answer; the others add to it
        (position, how it ended) and may be left out. None for no ids."""

    def statuses(self, ids: Sequence[str], done: Sequence[Done]) -> dict[str, Status]:
        """An answer for every id: one that the batch system has forgotten is ENDED with reason
        "gone"; one that it may have spoken of in words we don't understand is UNKNOWN.

        Raises:
            LrmsError: the first command failed: nothing is known of any.
        """

    def cancel(self, ids: Sequence[str]) -> Command:
        """Those that have ended already do no harm. Whether it worked is for `status` to tell.

        Raises:
            LrmsError: "refused": there is nothing among ``ids`` that could be an id.
        """

    def find(self, prefix: str, user: str) -> Command:
        """To find this user's batch jobs, queued or running, whose name begins so."""

    def found(self, done: Done) -> dict[str, str]:
        """Batch job id -> name, of those whose names begin with the prefix asked for or not: all
        listed."""

    def offers(self) -> list[Command]:
        """To learn what the site has; the first command is the answer, as with `status`."""

    def offered(self, done: Sequence[Done]) -> list[Queue]: ...

    # -- inside a batch job

    def allocation(
        self, env: Mapping[str, str], read: Callable[[str], str], now: float
    ) -> Allocation | None:
        """None: this is not one of mine. ``read(path)`` gives a file's text (a node file), or
        raises OSError.

        Raises:
            LrmsError: "broken": it is one of mine, but where it has its nodes cannot be read.
        """

    def ends(self, allocation: Allocation) -> Command | None:
        """To learn when it ends, where the environment does not tell, or not precisely; None: it
        cannot be asked."""

    def ended_at(self, done: Done, now: float) -> float | None: ...

    def on_nodes(
        self, allocation: Allocation, hosts: Sequence[str], argv: Sequence[str]
    ) -> list[Command]:
        """To start ``argv`` once on each of ``hosts`` (not the one we are on) by the site's own
        launcher; each command stays in the foreground while its processes live, and takes no
        standard input. Whether the environment goes along is the launcher's habit: what ``argv``
        needs, it says itself."""

    # -- scripts

    def headers(self, text: str) -> Headers | None:
        """What a script's header lines ask for; None: it has none of mine.

        Raises:
            LrmsError: "refused", with the line's number.
        """
