"""A rank: one process of a step, and how it is started. Reads and writes nothing of it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from gshell.agent import environment
from gshell.agent.sessionlog import StreamLog
from gshell.agent.spawn import OUTPUT_PIPE_BYTES, USUAL_SIZE, Child, SpawnSpec, spawn
from gshell.agent.timeline import Timeline
from gshell.model.vt import ModeTracker
from gshell.net.loop import IN, OUT, Timer

if TYPE_CHECKING:
    from gshell.agent.attachment import Attachment
    from gshell.agent.session import Session
    from gshell.agent.spec import StepSpec

USUAL_TERM = "xterm-256color"
FEW_TASKS = 8
MANY_TASKS_PIPE_BYTES = 1 << 16  # all pipes of a user together have 64 MiB; beyond, new ones shrink


class Rank:
    """A process of the step, with its two logs and what its stdin has not taken yet."""

    __slots__ = (
        "child", "code", "core", "drain", "error", "exited", "input", "input_end", "input_waits",
        "logs", "modes", "number", "overdue", "paused", "said", "signal", "taken", "times",
    )  # fmt: skip

    def __init__(self, number: int) -> None:
        self.number = number
        self.child: Child | None = None
        self.times: dict[int, Timeline] = {}
        self.logs: dict[int, StreamLog] = {}  # by stream number
        self.input: list[tuple[Attachment | None, bytes]] = []  # whose, what
        self.taken = 0  # bytes of input that its programs have read
        self.input_waits = False  # the stdin pipe is in the loop
        self.input_end = False
        self.paused: dict[int, bool] = {}  # fd -> not read now
        self.modes: ModeTracker | None = None
        self.said = False  # its end, to whoever looks
        self.again()

    def again(self) -> None:
        """Another program is to run as this rank: nothing is said of the one before."""
        self.exited = False
        self.overdue = False  # it ended a while ago: whoever holds its output is not waited for
        self.drain: Timer | None = None
        self.code = 0
        self.signal: int | None = None
        self.core = False
        self.error: str | None = None

    def awaits(self, fd: int) -> int:
        """What the loop is to tell of a descriptor of its output: a terminal's is both ways'."""
        typed = self.child is not None and self.child.pty and bool(self.input)
        return (0 if self.paused[fd] else IN) | (OUT if typed else 0)


def launch(
    session: Session,
    rank: Rank,
    spec: StepSpec,
    more_env: dict[str, str] | None = None,
    inherit: tuple[int, int] | None = None,
) -> Child:
    """Start a rank's program.

    Raises:
        SpawnFailed: it cannot be.
    """
    env, cwd = environment.of_rank(spec, session, rank.number)
    env.update(more_env or {})
    first = rank.number == 0 and spec.first == 0
    stdin = "null"
    if first and spec.job is not None and spec.job.stdin:
        stdin = os.path.join(session.workdir or "", spec.job.stdin)
    elif spec.mpi is not None:
        if spec.first + rank.number in spec.mpi.input:
            stdin = "pipe"
    elif first and not spec.announce and session.primary is not None:
        stdin = "pipe"
    argv = environment.argv_of(spec, env)
    if session.workdir is not None and not session.beside and not spec.shell:
        argv = [executable(session.workdir, argv[0]), *argv[1:]]
    pty = spec.pty
    if spec.mpi is not None and spec.first + rank.number in spec.mpi.pty:
        pty = USUAL_SIZE  # who attaches to it says which it is
        env.setdefault("TERM", USUAL_TERM)
        rank.modes = ModeTracker()
        rank.modes.resized(*pty)
    return spawn(SpawnSpec(argv, env, cwd, pty, spec.umask, stdin, pipe_bytes(spec), inherit))


def pipe_bytes(spec: StepSpec) -> int:
    """Room in each of a rank's pipes."""
    return OUTPUT_PIPE_BYTES if spec.tasks <= FEW_TASKS else MANY_TASKS_PIPE_BYTES


def launch_script(session: Session, spec: StepSpec, words: tuple[str, ...]) -> Child:
    """Start a script of the job's that comes before or after its program.

    Raises:
        SpawnFailed: it cannot be.
    """
    env, cwd = environment.of_rank(spec, session, 0)
    argv = list(words)
    if session.workdir is not None:
        argv[0] = executable(session.workdir, argv[0])
    return spawn(SpawnSpec(argv, env, cwd, None, spec.umask, "null"))


def executable(workdir: str, name: str) -> str:
    """What to execute for ``name``: a file that was staged in needs no "./" and no permission."""
    path = os.path.join(workdir, name)
    try:
        mode = os.stat(path).st_mode
        if name.startswith("/") or not stat.S_ISREG(mode):
            return name
        if not mode & stat.S_IXUSR:
            os.chmod(path, mode | stat.S_IXUSR)
    except OSError:
        return name
    return name if "/" in name else f"./{name}"
