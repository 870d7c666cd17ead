"""One step: how it begins, what may be done to it, and how it ends.

It joins those who know one thing each: the processes of its ranks (`processes`), what these are
given to read and what they print (`rankinput`, `rankoutput`), what its logs keep (`keeping`), who
is attached (`presence`) and who looks over its shoulder (`taps`). Knows no relay and no sockets'
addresses: links come from outside, news go out by its owner.
"""

from __future__ import annotations

import signal as signals
import time
from typing import TYPE_CHECKING, Any, Callable

from gshell.agent import beside
from gshell.agent.jobspec import JobPart
from gshell.agent.keeping import Keeping
from gshell.agent.presence import Presence
from gshell.agent.processes import Processes
from gshell.agent.rankinput import Input
from gshell.agent.rankoutput import Output
from gshell.agent.ranks import Rank
from gshell.agent.spec import StepSpec
from gshell.agent.taps import Taps
from gshell.agent.timeline import Timeline
from gshell.agent.wrapped import Wrapped
from gshell.model.vt import ModeTracker
from gshell.wire.constants import stderr_of, stdout_of

if TYPE_CHECKING:
    from gshell.agent.attachment import Attachment
    from gshell.agent.claims import Claims
    from gshell.agent.crew import Crew
    from gshell.agent.meter import Meter
    from gshell.agent.mpijob import MpiJob
    from gshell.agent.peers import Peers
    from gshell.agent.sessionowner import SessionOwner
    from gshell.agent.spawn import Child
    from gshell.agent.typists import Typists
    from gshell.net.loop import Timer

ENDING = (signals.SIGHUP, signals.SIGINT, signals.SIGQUIT, signals.SIGTERM, signals.SIGKILL)
KILL_AFTER_S = 5.0  # a cancelled step that ignores TERM
UNWANTED = "unwanted"  # the BYE of who opened it and gave up before it heard of its beginning


class Session:
    """A step and its attachments. Invariant: ended means every rank was reaped and its output
    drained."""

    def __init__(self, owner: SessionOwner, job: str, index: int, size: int, user: str) -> None:
        self._owner = owner
        self.loop = owner.loop
        self.job = job
        self.index = index
        self.size = size
        self.user = user
        self.state = "new"
        self.beside = ""
        """"JOB.INDEX" of the step beside which it runs, taking no slot."""
        self.stage = ""
        """"JOB.INDEX" whose work directory the relay's archive fills or reads by it."""
        self.service = ""
        """The relay announced this program of ours, which takes no slot, and nothing else."""
        self.lane = "batch"
        self.loss: float | None = None
        """An interactive step's: the share, in percent, that batch steps keep beside it."""
        self.warm = False
        """Opened ahead of use: what it starts decides its lane."""
        self.misplaced = 0
        """A warm one: how often in a row its agent was found not to be as it was when placed."""
        self.attempt = 1
        self.wants_token = False
        """The relay is to be asked just before its program starts."""
        self.workdir: str | None = None
        """Of its job's member, or of the one beside which it runs."""
        self.launched = False
        """Its program was started; without, it surely never ran."""
        self.canceled = False
        self.wrapped: Wrapped | None = None
        """What is around its program, if there is anything."""
        self.mpi: MpiJob | Crew | None = None
        """Who starts its ranks, if they are an MPI program's."""
        self.changes: dict[str, str | None] = {}
        """What hooks made of the environment of its ranks."""
        self.claims: Claims | None = None
        """Where ranks that a launcher starts ask for their streams."""
        self.peers: Peers | None = None
        """The way to the other members of its job."""
        self.spec: StepSpec | None = None
        self.ranks: list[Rank] = []
        self.started_at = 0.0
        self.ended_at = 0.0
        self.code = 0
        self.signal: int | None = None
        self.error: str | None = None
        self.timed_out = False
        self.archived = False
        """The relay has all of it."""
        self.meter: Meter | None = None
        """Once somebody asked how far its program is."""
        self.taps = Taps(self)
        self.keeping = Keeping(self, lambda stream: owner.make_spool(self, stream))
        self._presence = Presence(owner, self)
        self.input = Input(self.loop, self.ranks, self.taps)
        self._output = Output(self.loop, self, self.input)
        self._processes = Processes(self.loop, self, self.input, self._output)
        self._timeout: Timer | None = None
        self._killing: Timer | None = None

    # -- starting

    def open(self, attachment: Attachment, message: dict[str, Any]) -> None:
        """A client says what to start; said again, it means the same start."""
        if self.state == "new" and attachment is self.primary:
            spec = StepSpec.parse(message)
            self._owner.admit(self, spec)

    def start(self, spec: StepSpec) -> None:
        """Start all ranks; what cannot be started ends the step with an error, not with an
        exception."""
        self.spec = spec
        self.state = "running"
        self.started_at = time.time()
        self.keeping.begin(spec, self._owner.disk)
        if spec.mpi is not None:
            from gshell.agent.mpijob import MpiJob  # most agents never run any

            self.mpi = MpiJob(self, spec, spec.mpi)
        elif spec.crew:
            from gshell.agent.crew import Crew, without_program

            if self.index:
                self.spec = spec = spec._replace(job=without_program(spec.job))
            self.mpi = Crew(self, spec, spec.crew)
        for number in range(spec.tasks + spec.starter):
            rank = Rank(number)
            self.ranks.append(rank)
            streams = (stdout_of(number),) if spec.pty else (stdout_of(number), stderr_of(number))
            for stream in streams:
                rank.logs[stream] = self.keeping.log(stream)
                rank.times[stream] = Timeline()
            if spec.pty:
                rank.modes = ModeTracker()
                rank.modes.resized(*spec.pty)
        for attachment in self.attachments.values():
            attachment.open_streams(from_start=True)
        self.keeping.hold_for_next(None)
        if spec.job is not None or self.wants_token:
            self.wrapped = Wrapped(self, spec, spec.job or JobPart())
            self.wrapped.begin()
        else:
            self.run()

    def run(self) -> None:
        """Start the program on all ranks."""
        spec = self.spec
        assert spec is not None
        self.start_clock()
        if self.mpi is not None:
            self.mpi.begin()
            return
        for rank in self.ranks:
            self.start_rank(rank, spec)
        self.say_started()

    def start_rank(self, rank: Rank, spec: StepSpec, **more: Any) -> None:
        """``more``: see :func:`gshell.agent.ranks.launch`."""
        self._processes.start(rank, spec, **more)

    def adopt_child(self, rank: Rank, child: Child) -> None:
        """Another program takes this rank's place."""
        self._processes.adopt(rank, child)

    def say_started(self) -> None:
        """What could be started runs."""
        spec = self.spec
        assert spec is not None
        self.launched = any(rank.child is not None for rank in self.ranks)
        if self.launched:
            self._owner.on_started(self)
            if spec.announce and self.primary is not None:
                self.primary.peer.say({"t": "started"})
            if spec.beside_rank is not None:
                self._say_pid(spec.beside_rank)
        for rank in self.ranks:
            self.input.give_early(rank)
        self.finish()

    def say_begun(self) -> None:
        """Nothing is started here, and yet it runs: the first member's program does."""
        self.launched = True
        self._owner.on_started(self)

    def _say_pid(self, rank: int) -> None:
        """Whom a debugger started here is to take."""
        neighbour = self.neighbour()
        pid = neighbour.pid(rank) if neighbour is not None else 0
        text = f"rank {rank} is pid {pid}: gdb -p {pid}, py-spy dump -p {pid}, top -p {pid}"
        self.say({"t": "notice", "text": text})

    def start_clock(self) -> None:
        """The time that its user gave it begins now."""
        self.stop_clock()
        if self.spec is not None and self.spec.timeout_s and self.state == "running":
            self._timeout = self.loop.later(self.spec.timeout_s, self._timed_out)

    def stop_clock(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    def _timed_out(self) -> None:
        self.timed_out = True
        self.cancel()

    # -- what its wrapping asks for

    def make_workdir(self) -> str:
        """
        Raises:
            OSError: there is no place.
        """
        return self._owner.make_workdir(self)

    def clock(self) -> float:
        """The loop's time."""
        return self.loop.clock()

    def clock_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        return self.loop.later(delay_s, call)

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def say_phase(self) -> None:
        self._owner.on_phase(self)

    def ask_token(self) -> None:
        self._owner.ask_token(self)

    @property
    def asks_token(self) -> bool:
        """Does it wait for the relay's word?"""
        return self.state == "running" and self.wrapped is not None and self.wrapped.asks

    def answer(self, may: bool) -> None:
        """The relay's word."""
        if self.asks_token and self.wrapped is not None:
            if may:
                self.wrapped.go()
            else:
                self.wrapped.refuse()

    def withdraw(self) -> None:
        """End as if it had never been."""
        self.state = "ended"
        self.ended_at = time.time()
        self._owner.on_withdrawn(self)

    @property
    def phase(self) -> str:
        """How far it got."""
        if self.mpi is not None and self.mpi.prepares:
            return "prologue"
        return self.wrapped.phase if self.wrapped is not None else "run"

    @property
    def slots(self) -> int:
        """That it takes while it runs."""
        if self.beside or self.service or self.spec is None:
            return 0
        return self.spec.slots

    @property
    def early(self) -> bool:
        """Is there no program yet?"""
        later = self.wrapped is not None or self.mpi is not None
        return later and not self.launched and self.state == "running"

    def holds(self, rank: Rank) -> bool:
        """Is this rank's output to go on after what runs now has ended?"""
        if self.mpi is not None and self.mpi.holds(rank):
            return True
        return self.wrapped is not None and self.wrapped.holds(rank)

    def goes_on(self, rank: Rank) -> bool:
        """May there be more in its logs when nothing that runs now can print any more?"""
        return self.holds(rank) or (self.wrapped is not None and self.wrapped.scripting)

    # -- ends

    def reaped(self, rank: Rank) -> None:
        """It has ended, and its output may still come."""
        scripting = self.wrapped is not None and self.wrapped.scripting
        if self.mpi is not None and not scripting:
            self.mpi.rank_exited(rank)

    def drained(self, rank: Rank) -> None:
        """One of its descriptors is closed."""
        self._processes.finish(rank)

    def fail(self, code: int, error: str, signal: int | None) -> None:
        """What is around the program went wrong."""
        for rank in self.ranks:
            if not rank.said:
                rank.exited = True
                rank.code, rank.signal, rank.error = code, signal, error
        self.finish()

    def finish(self) -> None:
        """Nothing more is to come."""
        self._check_ended()
        self.publish()

    def _check_ended(self) -> None:
        if self.state != "running" or not self._processes.over:
            return
        if self.mpi is not None and self.mpi.busy:
            return
        if self.wrapped is not None and self.wrapped.ran():
            return
        for rank in self.ranks:
            if not rank.said:
                self._processes.say_exit(rank)
        self.state = "ended"
        self.ended_at = time.time()
        ranks = self.ranks
        if self.mpi is not None:
            self.mpi.close()
            ranks = [self.mpi.starter, *self.mpi.ranks]  # it knows why, if it ended them
        worst = max(ranks, key=lambda rank: rank.code)
        self.code, self.signal, self.error = worst.code, worst.signal, worst.error
        if self.wrapped is not None and self.error is None:
            self.error = self.wrapped.files.trouble or None
        if self.mpi is not None and self.error is None:
            self.error = self.mpi.why or None
        for timer in (self._timeout, self._killing):
            if timer is not None:
                timer.cancel()
        if self.primary is None:
            self.reader_changed()
        self._owner.on_ended(self)

    def say_end(self, attachment: Attachment, rank: Rank) -> None:
        """A rank that has ended, to one who has come since."""
        self._processes.say_end(attachment, rank)

    def exit_message(self, rank: Rank) -> dict[str, Any]:
        return self._processes.exit_message(rank)

    def forget(self) -> None:
        """Drop logs and spools; the step is over and nobody may ask any more."""
        self._presence.close()
        self.keeping.close()

    # -- signals and sizes

    def signal_all(self, number: int, only: list[int] | None = None) -> None:
        """To every rank, or these, that still runs: the terminal's foreground group for terminal
        signals."""
        if self.mpi is None and self.early and number in ENDING and not self.pids():
            self.cancel(number)  # there is nobody yet whom it could end
            return
        self._owner.before_signal(self)
        if self.mpi is not None and only is None:  # a single one that ends by it leaves the others
            self.mpi.signalled(number)
        for rank in self._hearing(number):
            if rank.child is not None and (only is None or rank.number in only):
                rank.child.signal(number)

    def _hearing(self, number: int) -> list[Rank]:
        """Those to whom a signal for all goes."""
        mpi = self.mpi
        return [rank for rank in self.ranks if mpi is None or mpi.listens(rank, number)]

    def cancel(self, number: int = signals.SIGTERM) -> None:
        """TERM, and KILL for those who do not listen. A shell ignores TERM: its terminal hangs up
        too. ``number``: by which signal it ends if it has not begun."""
        self.canceled = True
        if self.wrapped is not None:
            self.wrapped.cancel(number)
        if self.mpi is not None:
            self.mpi.cancel()
        self._owner.before_signal(self)
        for rank in self._hearing(signals.SIGTERM):
            if rank.child is not None:
                rank.child.signal(signals.SIGTERM)
                if rank.child.pty:
                    rank.child.signal(signals.SIGHUP)
                rank.child.signal(signals.SIGCONT)
        self._killing = self.loop.later(KILL_AFTER_S, lambda: self.signal_all(signals.SIGKILL))
        self.loop.soon(self._output.canceled)

    def resize(self, rows: int, columns: int, only: list[int] | None = None) -> None:
        """The terminals of all ranks, or of these."""
        for rank in self.ranks:
            if only is not None and rank.number not in only:
                continue
            if rank.child is not None:
                rank.child.resize(rows, columns)
            if rank.modes is not None:
                rank.modes.resized(rows, columns)
            self.taps.sized(rank, rows, columns)
        for attachment in self.attachments.values():
            attachment.say_sizes()

    # -- who is here

    @property
    def attachments(self) -> dict[str, Attachment]:
        return self._presence.all

    @property
    def primary(self) -> Attachment | None:
        """Who writes."""
        return self._presence.primary

    @property
    def typists(self) -> Typists:
        return self._presence.typists

    def add(self, attachment: Attachment, steal: bool = False) -> None:
        """Let somebody in; whoever may write does, if nobody present is writing."""
        self._presence.add(attachment, steal)

    def remove(self, attachment: Attachment) -> None:
        """Somebody left for good; another one who may write takes over."""
        self._presence.remove(attachment)

    def left(self, attachment: Attachment, code: str) -> None:
        """A client said BYE."""
        if code == UNWANTED and attachment is self.primary and self.state == "running":
            self.cancel()
        self._presence.left(attachment)

    def steal(self, attachment: Attachment) -> None:
        self._presence.steal(attachment)

    def hand_on(self) -> None:
        """The one who writes has been away for long: one who is present takes over."""
        self._presence.hand_on()

    def say(self, message: dict[str, Any]) -> None:
        """To all who are here; it goes with what is sent next."""
        self._presence.say(message)

    def publish(self) -> None:
        """Send all who are here what there is."""
        self._presence.publish()

    # -- what is typed and printed

    def take_input(self, rank_number: int, data: bytes, writer: Attachment) -> None:
        """Bytes of ``writer`` for a rank's stdin; it is told when the program has taken them."""
        self.input.take(rank_number, data, writer, self.early)

    def end_input(self, rank_number: int) -> None:
        self.input.end(rank_number, self.early)

    def forget_input(self, attachment: Attachment) -> None:
        """What it has sent and the program not yet taken is not to reach it any more."""
        self.input.forget(attachment)

    def reader_changed(self) -> None:
        """The primary came, went or lost its link: other rules for the logs."""
        if self.spec is not None:
            self.keeping.reader_changed()
            self.resume_reading()

    def reader_gone(self, stream: int) -> None:
        """The primary wants no more of this stream: the program shall see SIGPIPE."""
        self._output.reader_gone(stream)

    def resume_reading(self) -> None:
        """Credit or room came: read those that were paused and need not be any more."""
        self._output.resume()

    @property
    def notice(self) -> str | None:
        """What those attached were told of output that has no room, while that lasts."""
        return self.keeping.notice

    @property
    def to_archive(self) -> bool:
        """Is the relay to have its output, and has it not yet?"""
        spec = self.spec
        return self._owner.archiving and spec is not None and spec.archivable and not self.archived

    def print_as(self, rank: Rank, text: str) -> None:
        """Words of ours on a rank's stderr."""
        self.print_bytes(rank, 2, text.encode("utf-8", "surrogateescape"))

    def print_bytes(self, rank: Rank, fd: int, data: bytes) -> None:
        """Output of what runs beside a rank as its own; ``fd``: 1 or 2."""
        stream = (stderr_of if fd == 2 else stdout_of)(rank.number)
        log = rank.logs[stream]
        if not log.closed:
            rank.times[stream].mark(self.loop.clock(), log.end)
            log.append(data)
            self.publish()

    # -- its processes

    def pid(self, number: int | None = None) -> int:
        """Of that rank, by its number in the job, or its first that runs; 0: none does."""
        if number is not None:
            foreign = beside.pid(self, number)
            if foreign or beside.is_adopted(self):
                return foreign
        first = self.spec.first if self.spec is not None else 0
        pids = [
            rank.child.pid
            for rank in self.ranks
            if rank.child and not rank.exited and number in (None, first + rank.number)
        ]
        return pids[0] if pids else 0

    def pids(self) -> list[int]:
        """Of its ranks that run."""
        return [rank.child.pid for rank in self.ranks if rank.child and not rank.exited]

    def batch_job(self) -> tuple[str, str]:
        """The batch job around us: whose system, and its number there; empty: none is known."""
        return self._owner.batch_job

    def neighbour(self) -> Session | None:
        """The step beside which it runs, while that is there."""
        return self._owner.find(self.beside) if self.beside else None

    def input_ranks(self) -> list[int]:
        """Those, by their number here, whose stdin is a pipe by the MPI program's spec."""
        spec = self.spec
        if spec is None or spec.mpi is None:
            return []
        return [n for n in range(spec.tasks) if spec.first + n in spec.mpi.input]
