"""One client's presence at a session: its Peer, its cursors in the logs, its present link if any.

Detached is an attachment whose cursor stopped. Knows the session it belongs to, no sockets.
"""

from __future__ import annotations

import signal as signals
import time
from typing import TYPE_CHECKING, Any

from gshell.agent import beside, rankview
from gshell.agent.trace import window
from gshell.errors import RemoteProtocolError
from gshell.model.rankset import RankSet
from gshell.net.link import Link
from gshell.net.loop import Timer
from gshell.wire import peer as wire
from gshell.wire.constants import INPUT_WINDOW, INTERACTIVE_WINDOW, PIPE_WINDOW, stdin_of

if TYPE_CHECKING:
    from gshell.agent.ranks import Rank
    from gshell.agent.session import Session
    from gshell.agent.sessionlog import Cursor, StreamLog
    from gshell.model.vt import ModeTracker

PULL_BYTES = 1 << 18  # one round of sending; the link is asked for room before each
TYPED_SIGNALS = (signals.SIGINT, signals.SIGQUIT, signals.SIGTSTP)
HISTORY_BYTES = 1 << 18  # what a terminal that joins is shown of the past
ARCHIVE = "@archive"  # the relay's archive, as a user: no person can have this name


class Attachment:
    """Invariant: ``link`` is the newest one; an older one is closed when the next arrives."""

    def __init__(self, session: Session, id: str, user: str, rights: str, hello: wire.Peer) -> None:
        self.session = session
        self.id = id
        self.user = user
        self.rights = rights
        self.credential = (
            ""  # what its client came in with: the relay ends it when that is withdrawn
        )
        self.peer = hello
        self.link: Link | None = None
        self.lost_at: float | None = None
        self.since: Any = None
        self.share = ""  # the share it hangs on, if its user is not the job's owner
        self.until: float | None = None  # seconds since the epoch, by the relay's clock
        self.credential = ""
        self.expiry: Timer | None = None
        self.ranks: RankSet | None = None
        """Those of the job it is for; None: it is for all of the session."""
        self._cursors: dict[int, Cursor] = {}
        self._from: dict[
            int, tuple[int, int]
        ] = {}  # stream -> where we began, where the present was
        self._starved_at: dict[int, int] = {}  # stream -> the limit at which we said so
        self._said_writer: bool | None = None
        self._wants_times = False
        self._said_sizes: dict[int, tuple[int, int]] = {}
        self._pumping = False

    def wants_ranks(self, hello: dict[str, Any]) -> None:
        """It is for those ranks only that its greeting names.

        Raises:
            RemoteProtocolError: not a set of ranks.
        """
        if hello.get("ranks") and hello.get("op") != "open":
            try:
                self.ranks = RankSet.parse("" if hello["ranks"] == "none" else str(hello["ranks"]))
            except ValueError:
                raise RemoteProtocolError("bad-ranks", "a set of ranks") from None
        self._wants_times = hello.get("times") is True

    # -- links

    def join(self, link: Link, greeting: dict[str, Any], probe: wire.Peer) -> None:
        """A link for us: greet, go on from where the other side is."""
        if self.link is not None and self.link is not link:
            self.link.close()
        self.link = link
        self.lost_at = None
        link.owner = self
        peer = self.peer
        peer.link_up(self._welcome(), inherit=probe)
        for event in peer.adopt(greeting):
            self._handle(event)
        if peer.failed is not None and self.link is link:
            raise peer.failed
        if self.session.primary is self:
            self.session.reader_changed()
        self.pump()

    def _welcome(self) -> dict[str, Any]:
        session = self.session
        spec = session.spec
        message: dict[str, Any] = {
            "job": session.job,
            "index": session.index,
            "size": session.size,
            "state": session.state,
            "writer": session.primary is self
            or (self.ranks is not None and session.typists.types(self)),
        }
        if beside.is_adopted(session):
            message["adopted"] = True
            if self.ranks is None:  # one member has all that there is to see
                message["size"] = 1
        if spec is not None:
            message["pty"] = spec.pty is not None
            message["tasks"] = spec.tasks
            message["first"], message["ranks"] = spec.first, spec.size
            if spec.mpi is not None:
                message["starter"] = True
                message["layout"] = list(spec.mpi.layout)
            message.update(session.typists.welcome(self))
            if self.ranks is not None:
                message["pty"] = self._one_terminal()
            size = next((found for found in map(window, session.ranks) if found), None)
            if size is not None:
                message["window"] = size
            message["name"] = spec.name
            message["start"] = {str(id): start for id, (start, _) in self._from.items()}
            message["live"] = {str(id): live for id, (_, live) in self._from.items()}
        return message

    def link_ready(self, link: Link) -> None:
        pass

    def link_data(self, link: Link, chunks: list[bytes]) -> None:
        receive = self.peer.receive
        for chunk in chunks:
            for event in receive(chunk):
                self._handle(event)
            if self.peer.failed is not None and self.link is link:
                raise self.peer.failed
        if self.link is link:
            self.pump()
            self.session.resume_reading()  # after: what was sent makes room

    def link_room(self, link: Link) -> None:
        self.pump()
        self.session.resume_reading()

    def link_closed(self, link: Link, error: Exception) -> None:
        if link is self.link:
            self.link = None
            self.lost_at = self.session.clock()
            self.peer.link_lost()
            self.session.reader_changed()

    def close(self) -> None:
        """For good."""
        if self.expiry is not None:
            self.expiry.cancel()
        for cursor in self._cursors.values():
            cursor.close()
        self._cursors.clear()
        if self.link is not None:
            link, self.link = self.link, None
            link.close()

    def end(self, code: str, reason: str = "") -> None:
        """Say BYE and go."""
        if self.link is not None:
            self.peer.bye(code, reason)
            self.link.send(b"".join(self.peer.pull(PULL_BYTES)))
        self.session.remove(self)

    def pump(self) -> None:
        """Send what may be sent, while the link has room."""
        link = self.link
        if link is None or self._pumping:
            return
        self._pumping = True
        peer = self.peer
        while link.room and not link.closed:
            out = peer.pull(PULL_BYTES)
            if not out:
                break
            link.send(out[0] if len(out) == 1 else b"".join(out))
        self._pumping = False

    # -- streams

    def open_streams(self, from_start: bool) -> None:
        """Give every output stream of the session a cursor; from its start, or from recent
        history."""
        session = self.session
        spec = session.spec
        assert spec is not None
        window = INTERACTIVE_WINDOW if spec.pty else PIPE_WINDOW
        needed = session.primary is self
        for rank in session.ranks:
            if not self.sees(rank):
                continue
            for stream, log in rank.logs.items():
                live = log.end
                start = 0 if from_start else self._begin(rank, stream, log)
                cursor = log.cursor(max(start, log.start), needed)
                self._from[stream] = (start, live)
                self._cursors[stream] = cursor
                self.peer.add_send(stream, cursor, start + window, start)
        typed = [0, *session.input_ranks()] if self.ranks is None else session.typists.ranks(self)
        for rank_number in typed:
            if self.peer.receiving(stdin_of(rank_number)) is None:
                self.peer.add_recv(stdin_of(rank_number), INPUT_WINDOW)
        self.peer.early_input = 0
        if not from_start:
            if self._wants_times:
                self._say_times()
            self._say_modes()
            for rank in session.ranks:
                if rank.exited and rank.child is None:
                    session.say_end(self, rank)

    def _say_times(self) -> None:
        """When what came that there is to see, before it is seen."""
        shift_s = time.time() - self.session.clock()
        for rank in self.session.ranks:
            if self.sees(rank):
                for stream, line in rank.times.items():
                    marks = line.marks(shift_s)
                    self.peer.say({"t": "times", "stream": stream, "marks": marks})

    def sees(self, rank: Rank) -> bool:
        """Is it for this rank, too?"""
        spec = self.session.spec
        if self.ranks is None or spec is None:
            return True
        return rank.number < spec.tasks and spec.first + rank.number in self.ranks

    def _one_terminal(self) -> bool:
        """Is it for a single rank, which has a terminal?"""
        seen = [rank for rank in self.session.ranks if self.sees(rank)]
        return len(seen) == 1 and seen[0].modes is not None

    def _drawn(self) -> list[tuple[int, ModeTracker]]:
        """The ranks' terminals that this reader may draw."""
        spec = self.session.spec
        return [
            (rank.number, rank.modes)
            for rank in self.session.ranks
            if rank.modes is not None
            and ((spec is not None and spec.pty) or (self.sees(rank) and self._one_terminal()))
        ]

    def _say_modes(self) -> None:
        """Of terminals, to who may draw what they print."""
        self.say_sizes()
        for rank, modes in self._drawn():
            self.peer.say({"t": "modes", "rank": rank, "prelude": modes.prelude().hex()})

    def say_sizes(self) -> None:
        """How large the program's terminals are, to who draws them and did not say it himself."""
        sizes = {rank: modes.size for rank, modes in self._drawn()}
        for rank, size in sizes.items():
            if size != self._said_sizes.get(rank) and self.session.primary is not self:
                rows, columns = size
                self.peer.say({"t": "size", "rank": rank, "rows": rows, "cols": columns})
        if sizes != self._said_sizes:
            self._said_sizes = sizes
            self.pump()

    def _begin(self, rank: Rank, stream: int, log: StreamLog) -> int:
        """Where this reader's history begins. What was asked for and is not kept becomes a gap."""
        since = self.since
        if since == "start" or (since is None and self.session.state == "ended"):
            return 0
        if isinstance(since, (int, float)) and 0 <= since < 1e9:
            return rank.times[stream].at(self.session.clock() - since, log.end)
        recent = max(log.start, log.end - HISTORY_BYTES)
        if rank.modes is not None:
            recent = max(recent, rank.modes.redraw_from(log.end - HISTORY_BYTES))
        return recent

    def starved(self, stream: int) -> None:
        """The program waits for this reader: if for nothing but credit, say so, once for each
        limit."""
        sending = self.peer.sending(stream)
        if sending is not None and sending.sent == sending.limit != self._starved_at.get(stream):
            self._starved_at[stream] = sending.limit
            self.peer.say({"t": "starved", "stream": stream})
            self.pump()

    def writing(self, on: bool) -> None:
        """We became, or are no more, the one who writes."""
        for cursor in self._cursors.values():
            cursor.needed = on
        if on != self._said_writer:
            self._said_writer = on
            self.peer.say({"t": "writer", "on": on})
            self.pump()

    def taken(self, stream: int) -> int | None:
        """Up to where the other side has this stream; None if it wants no more of it."""
        cursor = self._cursors.get(stream)
        if cursor is None:
            return 0
        return cursor.released if cursor.needed else None

    def input_taken(self, rank_number: int) -> int:
        """Up to where the program has what this client typed."""
        receiving = self.peer.receiving(stdin_of(rank_number))
        return receiving.consumed if receiving is not None else 0

    def consumed_input(self, stream: int, count: int) -> None:
        self.peer.consume(stream, count)
        if not self._pumping:
            self.pump()

    # -- what the client says

    def _handle(self, event: wire.Event) -> None:
        session = self.session
        if isinstance(event, wire.StreamData):
            if session.typists.may((event.stream - 2) // 4, self):
                session.take_input((event.stream - 2) // 4, event.data, self)
            else:
                self.peer.consume(event.stream, len(event.data))  # a watcher's keys reach nobody
        elif isinstance(event, wire.StreamEnded):
            if session.typists.may((event.stream - 2) // 4, self):
                session.end_input((event.stream - 2) // 4)
        elif isinstance(event, wire.StreamStopped):
            if event.stream in self._cursors:
                self._cursors[event.stream].needed = False
            if session.primary is self:
                session.reader_gone(event.stream)
        elif isinstance(event, wire.ControlReceived):
            self._control(event.message)
        elif isinstance(event, wire.Ended):
            session.left(self, event.code)

    def _control(self, message: dict[str, Any]) -> None:
        session = self.session
        kind = message.get("t")
        only = None if self.ranks is None else session.typists.ranks(self)
        types = session.primary is self or (only is not None and session.typists.types(self))
        if kind == "trace":
            session.taps.tell_waits(self, message.get("waits") is True)
        if kind == "open":
            session.open(self, message)
        elif kind == "resize":
            if types:
                session.resize(_size(message.get("rows")), _size(message.get("cols")), only)
        elif kind == "redraw":
            self._say_modes()
            if types:
                rows, columns = _size(message.get("rows")), _size(message.get("cols"))
                session.resize(max(1, rows - 1), columns, only)  # the same again would be no news
                session.resize(rows, columns, only)
        elif kind == "ranks":
            for answer in rankview.answers(session, str(message.get("ranks", "all"))):
                self.peer.say(answer)
        elif kind == "signal":
            number = _signal(message.get("sig"))
            # By a share one may do what typing does, no more: the job's life is its owner's.
            if self.rights == "rw" and number and (not self.share or number in TYPED_SIGNALS):
                session.signal_all(number, only)
        elif kind == "cancel":
            if self.rights == "rw" and not self.share:
                session.cancel()
        elif kind == "trace":
            session.taps.traced(self, message)
        elif kind == "record":
            session.taps.record(self, message)
        elif kind == "steal":
            session.steal(self)


def _size(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value <= 0xFFFF else 0


def _signal(value: Any) -> int:
    """A signal's number by name or number; 0 for what this system does not have."""
    try:
        return signals.Signals["SIG" + value] if isinstance(value, str) else signals.Signals(value)
    except (KeyError, ValueError, TypeError):
        return 0
