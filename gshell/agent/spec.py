"""What a client asks to start, checked: hostile bytes become a StepSpec or an error. Pure."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from gshell.agent.jobspec import JobPart
from gshell.agent.mpispec import MAX_MEMBERS, MpiPart
from gshell.agent.services import ADOPT
from gshell.errors import RemoteProtocolError
from gshell.wire.constants import MAX_TASKS

USUAL_QUOTA_BYTES = 64 << 20
MAX_QUOTA_BYTES = 1 << 50


class StepSpec(NamedTuple):
    """What a client asks to start, checked."""

    argv: list[str]
    shell: bool
    """The user's own shell instead of ``argv[0]``."""
    env: dict[str, str]
    """The client's environment; how much of it counts depends on where the client is."""
    extra_env: dict[str, str]
    """What the user named; always counts."""
    cwd: str | None
    """What the user named; must exist."""
    home: str | None
    """Where the client stands; taken if it exists here."""
    where: str
    """The client's machine, see :func:`gshell.net.machine.machine_id`."""
    pty: tuple[int, int] | None
    """(rows, columns)"""
    tasks: int
    first: int
    """Number of our first rank among all of the job's."""
    size: int
    """Ranks of the whole job."""
    name: str
    umask: int | None
    keep: bool
    """Keep output beyond recent history even while somebody is attached."""
    on_full: str | None
    """What happens when there is no room for output that the one who writes has not taken:
    ``block`` stops the program, ``gap`` forgets the oldest. None: the first while somebody is there
    who writes, else the second."""
    quota_bytes: int
    """On disk, of all streams together; 0: none."""
    timeout_s: float | None
    announce: bool
    """Tell the client when it runs: it waits for that and leaves. Its stdin is empty."""
    service: str = ""
    """One of the agent's own programs instead of ``argv[0]``: see gshell.agent.services."""
    archive: bool = True
    """The relay's archive may have its output, see `archivable`."""
    job: JobPart | None = None
    """What a batch job has around its program."""
    mpi: MpiPart | None = None
    """The MPI program of which these ranks are a part."""
    crew: tuple[int, ...] = ()
    """Slots of each member: the program runs at the first one and uses all. See crew.py."""
    beside_rank: int | None = None
    """The rank of the job beside which it runs that it is for."""
    slots: int = 1
    """That its ranks take here."""

    @property
    def starter(self) -> bool:
        """Has it one rank more than its tasks, which starts them?"""
        return self.mpi is not None

    @property
    def archivable(self) -> bool:
        """May the relay keep its output? What was typed and shown in a terminal is only kept if
        that was asked for."""
        own = self.service and self.service != ADOPT
        return self.archive and not own and (self.pty is None or self.keep)

    def __repr__(self) -> str:
        return f"StepSpec({self.name}, ***)"  # arguments and environment are the user's

    @classmethod
    def parse(cls, message: dict[str, Any]) -> StepSpec:
        """
        Raises:
            RemoteProtocolError: not a spec.
        """
        try:
            argv = message["argv"]
            pty, cwd, home, umask = (message.get(key) for key in ("pty", "cwd", "home", "umask"))
            tasks, first = message.get("tasks", 1), message.get("first", 0)
            size, timeout_s = message.get("size", tasks), message.get("timeout_s")
            on_full, quota = message.get("on_full"), message.get("quota", USUAL_QUOTA_BYTES)
            envs = [message.get("env") or {}, message.get("extra_env") or {}]
            _require(isinstance(argv, list) and bool(argv) and all(_word(word) for word in argv))
            for env in envs:
                _require(
                    isinstance(env, dict)
                    and all(_word(k) and _word(v) and k for k, v in env.items())
                )
                _require(not any("=" in key for key in env))
            _require((cwd is None or _word(cwd)) and (home is None or _word(home)))
            _require(umask is None or isinstance(umask, int))
            _require(
                timeout_s is None or (isinstance(timeout_s, (int, float)) and 0 <= timeout_s < 1e9)
            )
            _require(all(isinstance(number, int) for number in (tasks, first, size, quota)))
            _require(on_full in (None, "block", "gap") and 0 <= quota <= MAX_QUOTA_BYTES)
            _require(1 <= tasks <= MAX_TASKS and first >= 0)
            slots = message.get("slots", tasks)
            beside_rank = message.get("beside_rank")
            _require(beside_rank is None or (type(beside_rank) is int and beside_rank >= 0))
            _require(isinstance(slots, int) and 1 <= slots <= tasks)
            _require(pty is None or (len(pty) == 2 and all(_side(side) for side in pty)))
            crew = tuple(message.get("crew") or ())
            _require(all(type(one) is int and 1 <= one <= MAX_TASKS for one in crew))
            _require(len(crew) <= MAX_MEMBERS and not (crew and (message.get("mpi") or tasks > 1)))
            mpi = MpiPart.parse(message["mpi"]) if message.get("mpi") else None
            _require(mpi is None or (mpi.fits(tasks, first, size) and pty is None))
            return cls(
                argv=argv,
                shell=bool(message.get("shell")),
                env=envs[0],
                extra_env=envs[1],
                cwd=cwd,
                home=home,
                where=str(message.get("where", "")),
                pty=(pty[0], pty[1]) if pty else None,
                tasks=tasks,
                first=first,
                size=size,
                name=str(message.get("name") or os.path.basename(argv[0]))[:200],
                umask=None if umask is None else umask & 0o777,
                keep=bool(message.get("keep")),
                on_full=on_full,
                quota_bytes=quota,
                timeout_s=timeout_s,
                announce=bool(message.get("announce")),
                service=str(message.get("service") or "")[:32],
                archive=message.get("archive", True) is not False,
                job=JobPart.parse(message["job"]) if message.get("job") else None,
                mpi=mpi,
                crew=crew,
                slots=slots,
                beside_rank=beside_rank,
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            raise RemoteProtocolError("bad-spec", "what to start") from None


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError


def _side(value: object) -> bool:
    """Of a terminal: what the kernel's struct has room for."""
    return isinstance(value, int) and 0 <= value <= 0xFFFF


def _word(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value
