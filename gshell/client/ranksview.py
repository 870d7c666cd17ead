"""What the ranks of a job do, asked of the agents that have them. Shows no output; see MPI.md."""

from __future__ import annotations

from gshell.client import joining
from gshell.client.conversation import Conversation, Dialler
from gshell.errors import AuthError, BrokerError, GshellError, LinkLost, UsageError
from gshell.wire import peer as wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

AGAIN_S = 0.3
PATIENCE_S = 10.0


class _Member:
    """One agent's answer, as far as it is here."""

    __slots__ = ("answered", "asked", "ended", "host", "rows", "talk")

    def __init__(self, talk: Conversation) -> None:
        self.talk = talk
        self.host = ""
        self.rows: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []  # of the answer that is under way
        self.answered = False
        self.ended = False


class RanksView:
    """A `Talker`. Invariant: ``error`` is why there is no answer; until then `ask` gets one."""

    def __init__(self, dialler: Dialler, job: str, wanted: str = "all") -> None:
        self._dialler = dialler
        self._loop = dialler.loop
        self._job = job
        self._wanted = wanted
        self._members = [self._member(0)]
        self._known = False  # who they all are
        self.error: GshellError | None = None
        self._until = self._loop.clock() + PATIENCE_S
        self._relay: Any = None

    def _member(self, index: int) -> _Member:
        request = {"op": "attach", "job": self._job, "index": index, "rights": "r"}
        return _Member(Conversation(self._dialler, self, request, {"ranks": "none"}))

    def ask(self) -> list[dict[str, Any]]:
        """A row for each rank, in order.

        Raises:
            GshellError: nobody knows.
        """
        self._until = self._loop.clock() + PATIENCE_S
        for member in self._members:
            member.answered = False
            member.asked = []
            if member.talk.up:
                self._say(member)
            else:
                member.talk.dial()
        self._loop.run_until(self._over, PATIENCE_S + 1.0)
        if self.error is None and not self._over():
            self.error = LinkLost("the agent does not answer")
        if self.error is not None:
            raise self.error
        rows = [
            {**row, "host": member.host, "member": member.talk.index}
            for member in self._members
            for row in member.rows
        ]
        if not rows and self._wanted != "all":
            what = f"job {self._job} has no ranks {self._wanted}"
            raise UsageError(what, hint=f"gshell ranks {self._job}")
        return sorted(rows, key=lambda row: int(row.get("rank", 0)))

    @property
    def ended(self) -> bool:
        """Has all of it ended?"""
        return all(member.ended for member in self._members)

    def _over(self) -> bool:
        return self.error is not None or (
            self._known and all(member.answered for member in self._members)
        )

    def close(self) -> None:
        for member in self._members:
            if not member.talk.over:
                member.talk.close("detach")
        if self._relay is not None:
            self._relay.close()

    def _of(self, talk: Conversation) -> _Member:
        return next(member for member in self._members if member.talk is talk)

    def _say(self, member: _Member) -> None:
        member.talk.peer.say({"t": "ranks", "ranks": self._wanted})
        member.talk.pump()

    def on_greeted(self, talk: Conversation, welcome: dict[str, Any]) -> None:
        from gshell.model.rankset import RankSet

        member = self._of(talk)
        member.ended = welcome.get("state") == "ended"
        if not self._known:
            self._known = True
            joined = joining.read(welcome)
            wanted = RankSet.parse(self._wanted)
            if welcome.get("adopted") is True:  # others know where its ranks are
                wanted = RankSet.parse("all")
            if joined.size > 1 and wanted.beyond(joined.size):
                what = joining.lacks(self._job, self._wanted, joined.size)
                self.error = UsageError(what, hint=f"gshell ranks {self._job}")
                return
            for index in joined.members(wanted):
                if index:
                    self._members.append(self._member(index))
                    self._members[-1].talk.dial()
        self._say(member)

    def on_event(self, talk: Conversation, event: wire.Event) -> None:
        if not isinstance(event, wire.ControlReceived) or event.message.get("t") != "ranks":
            return
        member = self._of(talk)
        rows = event.message.get("ranks")
        member.asked += [row for row in rows or () if isinstance(row, dict)]
        member.host = str(event.message.get("host", member.host))
        if event.message.get("end", True):
            member.rows, member.asked = member.asked, []
            member.answered = True
            member.ended = all(row.get("state") == "ended" for row in member.rows)

    def on_flow(self, talk: Conversation) -> None:
        pass

    def on_lost(self, talk: Conversation, error: GshellError) -> None:
        pass  # it is being mended; `ask` knows how long that may take

    def on_queued(self, talk: Conversation) -> None:
        self._loop.later(AGAIN_S, talk.dial)

    def on_failed(self, talk: Conversation, error: GshellError) -> None:
        self.error = error

    def on_refused(self, talk: Conversation, code: str) -> None:
        if code == "again" and self._loop.clock() < self._until:
            self._loop.later(AGAIN_S, talk.dial)
            return
        if code == "foreign":
            self._ask_whose(talk)
            return

        def told(answer: dict[str, Any]) -> None:
            known, why = str(answer.get("code")), str(answer.get("message") or "")
            if known in ("again", "unknown") and self._loop.clock() < self._until:
                self._loop.later(AGAIN_S, talk.dial)
            elif known == "none":
                self.error = BrokerError(f"no job {self._job} of yours", hint="gshell jobs -a")
            else:
                self.error = BrokerError(why or f"the relay refused: {code}", hint="gshell jobs")

        self._with_relay().request({"m": "whynot", "att": talk.att}, told)

    def _ask_whose(self, talk: Conversation) -> None:
        """The agent is somebody else's: as it should be only if the relay says that the job runs in
        a pool, or is theirs."""

        def told(answer: dict[str, Any]) -> None:
            job = (answer.get("jobs") or [{}])[0]
            me = self._dialler.ticket.user
            if job.get("pool"):
                talk.trusts = "*"
            elif job.get("user", me) != me:
                talk.trusts = str(job["user"])
            else:
                self.error = AuthError(f"job {self._job} is yours, and that agent is not")
                return
            talk.dial()

        self._with_relay().request({"m": "jobs", "ids": [self._job], "all": True}, told)

    def _with_relay(self) -> Any:
        if self._relay is None:
            from gshell.net.relaylink import RelayLink

            self._relay = RelayLink(self._loop, self._dialler.ticket, self._relay_lost)
            self._relay.open()
        return self._relay

    def _relay_lost(self, error: GshellError) -> None:
        self.error = self.error or error


def ranks_table(
    rows: list[dict[str, Any]],
    width: int | None = None,
    color: bool = False,
    fields: Sequence[str] = (),
) -> str:
    """The rows of `RanksView.ask` as a table."""
    from gshell.client.render import Column, bytes_text, table

    def text(key: str) -> Callable[[Mapping[str, Any]], str]:
        return lambda row: "-" if row.get(key) in (None, "", 0) else str(row[key])

    def stdin(row: Mapping[str, Any]) -> str:
        return "pty" if row.get("pty") else "pipe" if row.get("input") else "-"

    def while_it_runs(
        key: str, shown: Callable[[object], str]
    ) -> Callable[[Mapping[str, Any]], str]:
        return lambda row: "-" if row.get("state") == "ended" else shown(row.get(key))

    def memory(value: object) -> str:
        return bytes_text(_number(value), 1024)

    columns = [
        Column("RANK", 0, lambda row: str(row.get("rank")), right=True),
        Column("STATE", 1, _state),
        Column("NODE", 3, text("host"), shrinks=True),
        Column("PID", 2, text("pid"), right=True),
        Column("CPU", 5, while_it_runs("cpu_s", _seconds), right=True),
        Column("MEMORY", 6, while_it_runs("rss_bytes", memory), right=True),
        Column("STDIN", 7, stdin),
        Column("LAST LINE", 4, text("line"), shrinks=True),
    ]
    return table(rows, columns, width, color, fields)


_STATES = {"R": ("runs", "green"), "S": ("sleeps", ""), "D": ("disk", "yellow"),
           "T": ("stopped", "yellow"), "t": ("traced", "yellow"), "Z": ("dead", "red")}  # fmt: skip


def _state(row: Mapping[str, Any]) -> tuple[str, str]:
    state = str(row.get("state", ""))
    if state != "ended":
        return _STATES.get(state, (state, ""))
    if row.get("signal"):
        return f"signal {row['signal']}", "red"
    return (f"exit {row['code']}", "red") if row.get("code") else ("done", "dim")


def _seconds(value: object) -> str:
    seconds = _number(value)
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
