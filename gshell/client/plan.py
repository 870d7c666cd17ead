"""What a run or an attachment is to do, and who has the terminal meanwhile. Values only."""

from __future__ import annotations

from gshell.model.record import Record

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any, Protocol
else:
    Protocol = object


class Surroundings(Record):
    """The user's side: taken from this process, or sent by the front process."""

    env: dict[str, str]
    cwd: str
    umask: int
    where: str
    """The machine, see :func:`gshell.net.machine.machine_id`."""
    stdin_tty: bool
    stdout_tty: bool

    def __repr__(self) -> str:
        return f"Surroundings({self.cwd}, ***)"  # an environment has secrets


class Plan(Record):
    """What to do."""

    verb: str
    """"run" or "attach" or "logs"."""
    spec: dict[str, Any]
    pty: bool
    tasks: int = 1
    agents: int = 1
    agent: str | None = None
    label: bool = False
    detach: bool = False
    timeout_s: float | None = None
    escape: str | None = "~"
    job: str = ""
    part: int = 0
    """Which of the job's steps, where it has several."""
    rights: str = "rw"
    share: str = ""
    """The share it is seen by, if it is somebody else's job."""
    owner: str = ""
    """Whose job that is."""
    until: float | None = None
    """When the share ends."""
    pool: str = ""
    """The group whose agents may run it, under whatever account they have."""
    beside: str = ""
    """The job's step (JOB.INDEX) beside which it runs, taking no slot."""
    wants: Any = None
    """What the opening asks of its agent: sites, time, memory, ... (CONTROL.md's WANTS)."""
    steal: bool = False
    since: Any = None
    follow: bool = True
    quiet: bool = False
    inside_ssh: bool = False
    grep: Any = None
    """A compiled regex of bytes: of ``logs``, only lines that match."""
    whole: bool = False
    """All of the job's steps."""
    rank: str = ""
    """Of these ranks only (a `gshell.model.rankset.RankSet`); empty: of all."""
    fold: bool = False
    """Lines that ranks have in common are shown once."""
    wish: Any = None
    """Of an MPI program: a `gshell.client.layout.Wish`; its layout is in ``spec``."""
    as_json: bool = False
    """Errors, the id of a job that is left running, and how it ended are told as JSON."""
    slots: Any = None
    """That its ranks take at each agent, if not one each."""
    forwards: Any = None
    """Port forwardings beside it: a list of `gshell.client.forwardspec.Forward`."""
    here: Any = None
    """The user's side: `Surroundings`."""
    record: Any = None
    """What is recorded: a `gshell.client.recordspec.RecordSpec`."""
    silent: bool = False
    """Nothing is shown: it is for the recording."""
    display: Any = None
    """The user's X display, for -X: a `gshell.client.forwardspec.Display`."""

    def laid_out(self, layout: Any) -> Plan:
        """Its ranks go where a `gshell.client.layout.Layout` says."""
        mpi = {**self.spec["mpi"], "layout": list(layout.ranks)}
        return self._replace(
            spec={**self.spec, "mpi": mpi}, agents=len(layout.ranks), slots=layout.slots
        )

    def __repr__(self) -> str:
        return f"Plan({self.verb}, {self.job or 'new'}, ***)"


class Port(Protocol):
    """Who has the terminal: this process, or the front process at the other end of a socket."""

    def raw(self) -> bool:
        """Whether it is raw now; if not yet, ``Runner.is_raw()`` when it is."""

    def cooked(self) -> None: ...

    def size(self) -> tuple[int, int]: ...

    def suspend(self) -> None:
        """Stop the front process; ``Runner.resumed()`` when it goes on."""

    def seen(self, data: bytes) -> None:
        """Output on its way to the terminal."""

    def reset(self) -> bytes:
        """What puts the terminal's modes back."""
