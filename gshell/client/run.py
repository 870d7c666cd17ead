"""A run or an attachment, from the user's descriptors to the exit status.

Joins the local stdin, stdout and stderr, the terminal and one conversation per agent. The same in a
process of its own and in the background process; who owns the terminal is behind ``Port``.
"""

from __future__ import annotations

import os
import time

from gshell.client.conversation import Conversation, Dialler
from gshell.client.escape import EscapeKeys, detach_key, help_text
from gshell.client.labels import LineLabels
from gshell.client.outlet import Outlet
from gshell.client.plan import Plan, Port
from gshell.client.stdio import Sink, Source
from gshell.errors import AuthError, BrokerError, GshellError, LinkLost
from gshell.net.loop import Loop, Timer
from gshell.wire import peer as wire
from gshell.wire.constants import (
    INPUT_WINDOW,
    INTERACTIVE_WINDOW,
    MAX_PIPE_WINDOW,
    MAX_TASKS,
    PIPE_WINDOW,
    rank_of,
    rank_streams,
    stderr_of,
    stdin_of,
    stdout_of,
)
from gshell.wire.streams import MAX_OFFSET, SendBuffer

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from gshell.client.waitline import WaitLine
else:
    Protocol = object

STDIN = stdin_of(0)
SAY_LOST_AFTER_S = 0.7  # shorter breaks are mended before anybody could read about them
SAY_WAITING_AFTER_S = 1.0
HAMMER_S = 2.0  # Ctrl-C three times within this ends a program that does not listen
PATIENCE_S = 3600.0  # without a terminal: give up a link that does not come back
SKEW_NEWS_S = 30.0  # a clock that was set by less was not why the door refused
ASK_AGAIN_S = 0.5  # between two openings that the relay knows no reason against
REPLACE_S = 0.05  # before asking for another agent when one turned out to be full


HISTORY_HELD_BYTES = 1 << 20  # of the past, until it is whole: four times what an agent begins with


def _within(value: object, least: int, most: int) -> int:
    """A number that an agent said. Raises ValueError: it cannot be that."""
    if not isinstance(value, int) or not least <= value <= most:
        raise ValueError(value)
    return value


class _Seat:
    """One conversation and how far its ranks are."""

    __slots__ = (
        "ended",
        "exits",
        "filters",
        "finals",
        "finished",
        "first",
        "history",
        "live",
        "started",
        "starter",
        "talk",
        "tasks",
        "torn",
    )

    def __init__(self, talk: Conversation, first: int, tasks: int, starter: bool = False) -> None:
        self.talk = talk
        self.first = first
        self.tasks = tasks + starter
        """With the starter, which is the last."""
        self.starter = starter
        self.exits: dict[int, dict[str, Any]] = {}
        self.finals: dict[int, int] = {}
        self.history: dict[
            int, tuple[int, list[bytes]]
        ] = {}  # stream -> until where, pieces so far
        self.torn: set[int] = set()  # what follows may begin in the middle of a sequence
        self.filters: dict[int, Any] = {}  # stream -> what a terminal must not obey is left out
        self.live: dict[int, int] = {}  # stream -> where the present was when we joined
        self.started = False
        self.finished = False
        self.ended = False  # before we came


class Runner:
    """Invariant: ``on_done`` is called once, after the terminal is as it was and all output is
    written."""

    def __init__(
        self,
        dialler: Dialler,
        plan: Plan,
        descriptors: tuple[int, int, int],
        port: Port,
        on_done: Callable[[int], None],
        warm: Conversation | None = None,
    ) -> None:
        self._dialler = dialler
        self._loop: Loop = dialler.loop
        self._plan = plan
        self._port = port
        self._on_done = on_done
        self._done = False
        self._raw = False
        self._awaiting_raw = False
        self._ending: int | None = None  # the status, once the terminal is raw
        self._was_raw = False  # the terminal may still be raw for a moment: its lines need CR
        self._stdin: Source | None = Source(self._loop, descriptors[0])
        self._stdin_started = False
        self._input_paused = False
        self._input = SendBuffer()
        self._out = Outlet(Sink(self._loop, descriptors[1], self._out_written, self._out_broken))
        self._err = Outlet(Sink(self._loop, descriptors[2], self._err_written, self._err_broken))
        self._err_fd = descriptors[2]
        self._err_is_tty = descriptors[2] >= 0 and os.isatty(descriptors[2])
        self._out_is_tty = descriptors[1] >= 0 and os.isatty(descriptors[1])
        self._keys = EscapeKeys(plan.escape) if plan.pty else None
        self._labels = LineLabels()
        self._wait_line: WaitLine | None = None
        self._note = ""  # the file for `gshell why`, while it waits
        self._matching: Any = None
        if plan.grep is not None:
            from gshell.client.matching import Matching

            self._matching = Matching(plan.grep)
        self._lost_said = False
        self._lost_timer: Timer | None = None
        self._patience: Timer | None = None
        self._interrupts: list[float] = []
        self._relay: Any = None
        self._forwards: Any = None
        self._writer = plan.verb == "run"
        self._out_is_tty = descriptors[1] >= 0 and os.isatty(descriptors[1])
        self._shows = plan.pty and self._out_is_tty  # a terminal's output on a terminal
        self._ended_input = False
        self._timed_out = False
        self._seats = [
            self._seat(index, warm if index == 0 else None) for index in range(plan.agents)
        ]

    # -- starting

    def start(self) -> None:
        plan = self._plan
        for seat in self._seats:
            if seat.talk.up:
                self.on_greeted(seat.talk, {})
                seat.talk.check_now(0.0)  # it was opened long ago: it may be dead by now
                seat.talk.pump()
            else:
                seat.talk.dial()
        if plan.verb == "run" and not plan.pty and not plan.detach:
            self._read_stdin()
        if plan.timeout_s is not None:
            self._loop.later(plan.timeout_s, self._time_out)
        if plan.verb == "run" and self._err_is_tty and not plan.quiet:
            self._loop.later(SAY_WAITING_AFTER_S, self._say_waiting)

    def _seat(self, index: int, warm: Conversation | None) -> _Seat:
        plan = self._plan
        if plan.verb != "run":
            request: dict[str, Any] = {
                "op": "attach",
                "job": plan.job,
                "index": plan.part,
                "rights": plan.rights,
            }
            if plan.share:
                request["share"] = plan.share
            hello = {"since": plan.since, "steal": plan.steal}
            looking = Conversation(self._dialler, self, request, hello)
            if plan.owner:
                looking.trusts = plan.owner
            return _Seat(looking, 0, 0)
        mpi = plan.spec.get("mpi")
        layout = mpi["layout"] if mpi else [plan.tasks] * plan.agents
        first, tasks = sum(layout[:index]), layout[index]
        talk = warm
        if talk is None:
            request = {"op": "open", "tasks": tasks, "index": index, "size": plan.agents}
            if plan.agent:
                request["agent"] = plan.agent
            if plan.agents > 1:
                request["group"] = self._group()
            if plan.pool:
                request["pool"] = plan.pool
            if plan.pty:
                request["pty"] = True
            if plan.wants:
                request.update(plan.wants)
            talk = Conversation(self._dialler, self, request, {})
            if plan.pool:
                talk.trusts = "*"
        else:
            talk.hand_over(self)
        seat = _Seat(talk, first, tasks, bool(mpi))
        peer = talk.peer
        if first == 0:
            peer.add_send(STDIN, self._input, INPUT_WINDOW)
        window = INTERACTIVE_WINDOW if plan.pty else PIPE_WINDOW
        for rank in range(seat.tasks):
            peer.add_recv(stdout_of(rank), window)
            if not plan.pty:
                peer.add_recv(stderr_of(rank), window)
        spec = dict(plan.spec)
        spec.update(t="open", tasks=tasks, first=first, size=sum(layout))
        if plan.pty:
            spec["pty"] = list(self._port.size())
        if plan.detach:
            spec["announce"] = True
        if plan.timeout_s is not None:
            spec["timeout_s"] = plan.timeout_s
        peer.say(spec)
        return seat

    def _group(self) -> str:
        if not hasattr(self, "_group_id"):
            self._group_id = os.urandom(16).hex()
        return self._group_id

    def _read_stdin(self) -> None:
        source = self._stdin
        if source is not None and not self._stdin_started:
            self._stdin_started = True
            source.start(self._typed, self._stdin_ended)
            if self._input_paused:
                source.pause()

    # -- conversations

    def _seat_of(self, talk: Conversation) -> _Seat:
        for seat in self._seats:
            if seat.talk is talk:
                return seat
        raise AssertionError("a conversation that is not ours")

    def on_greeted(self, talk: Conversation, welcome: dict[str, Any]) -> None:
        self._forget_note()
        seat = self._seat_of(talk)
        self._found()
        first = seat is self._seats[0]
        if self._plan.forwards and first and self._forwards is None and not self._done:
            self._loop.soon(lambda: self._forward(seat))
        if self._plan.verb != "run" and not seat.tasks:
            self._joined_running(seat, welcome)
        plan = self._plan
        if plan.pty and not plan.detach and plan.verb != "logs":
            self._enter_terminal(welcome)

    def _forward(self, seat: _Seat) -> None:
        """Port forwarding beside the step; if it ends, the step goes on."""
        if self._done or self._forwards is not None:
            return
        from gshell.client.forwards import Forwards

        def ended(error: GshellError | None) -> None:
            if error is not None:
                self._say(f"gshell: {error.message}")

        where = {"beside": f"{seat.talk.job}.{seat.talk.index}"}
        plan = self._plan
        self._forwards = Forwards(
            self._dialler, plan.forwards, where, self._say, ended, plan.display
        )
        self._forwards.talk.trusts = seat.talk.trusts
        self._forwards.fresh = plan.verb == "run"
        self._forwards.start()

    def _joined_running(self, seat: _Seat, welcome: dict[str, Any]) -> None:
        """WELCOME of an attachment tells what there is to see."""
        seat.starter = welcome.get("starter") is True
        tasks = _within(welcome.get("tasks", 1), 1, MAX_TASKS) + seat.starter
        live = welcome.get("live", {})
        streams = []  # all of it is looked at before any of it counts
        for key, at in welcome.get("start", {}).items():
            rank, kind = divmod(int(key) - 1, 4)
            _within(rank, 0, tasks - 1)
            _within(kind, 2, 3)  # the only ones that an agent sends
            begins = _within(at, 0, MAX_OFFSET)
            streams.append((int(key), begins, _within(live.get(key, at), 0, MAX_OFFSET)))
        pty = bool(welcome.get("pty"))
        if self._plan.verb == "attach" and not pty and self._plan.pty:
            self._plan = self._plan._replace(pty=False)
        self._shows = pty and self._out_is_tty
        seat.tasks = tasks
        self._writer = bool(welcome.get("writer"))
        seat.ended = welcome.get("state") == "ended"
        window = INTERACTIVE_WINDOW if pty else PIPE_WINDOW
        for stream, begins, present in streams:
            seat.talk.peer.add_recv(stream, window, begins)
            seat.live[stream] = present
            if self._plan.rank is not None and rank_of(stream) != self._plan.rank:
                seat.talk.peer.stop(stream)
                continue
            if not self._shows:
                continue
            if begins:
                seat.torn.add(stream)
            if present > begins:
                seat.history[stream] = (present, [])
        if self._plan.verb == "logs":
            self._loop.soon(lambda: self._check(seat))
            return
        seat.talk.peer.add_send(STDIN, self._input, INPUT_WINDOW)
        if self._writer and self._plan.verb == "attach" and not pty:
            self._read_stdin()
        if self._plan.verb == "attach" and pty and self._writer and self._plan.pty:
            self._redraw()
        if self._plan.verb == "attach" and not self._plan.quiet and self._err_is_tty:
            name = str(welcome.get("name", ""))
            key_name = detach_key(self._plan.escape, self._plan.inside_ssh)
            key = f" | {key_name} detaches" if key_name and self._plan.pty else ""
            role = self._role()
            if seat.ended:
                role, key = ", has ended", ""
            self._say(f"[job {seat.talk.job} {name}{role}{key}]")

    def _role(self) -> str:
        """Whose job it is, what we may do there, until when."""
        role = "" if self._writer else ", looking on"
        if not self._plan.share:
            return role
        if not self._writer and self._plan.rights == "rw":
            role = ", looking on while somebody else types"
        elif self._writer:
            role = ", you may type"
        until = ""
        if self._plan.until is not None:
            import time

            left = self._plan.until - time.time()
            form = "%H:%M:%S" if left < 86400 else "%Y-%m-%d %H:%M"
            until = time.strftime(f", until {form}", time.localtime(self._plan.until))
        return f" of {self._plan.owner}{role}{until}"

    def _enter_terminal(self, welcome: dict[str, Any]) -> None:
        if not self._raw:
            self._raw = self._was_raw = True
            self._make_raw()
            if self._plan.rights == "rw" or self._plan.verb == "attach":
                self._read_stdin()

    def on_event(self, talk: Conversation, event: wire.Event) -> None:
        seat = self._seat_of(talk)
        if isinstance(event, wire.StreamData):
            self._output(seat, event.stream, event.offset, event.data)
        elif isinstance(event, wire.ControlReceived):
            self._control(seat, event.message)
        elif isinstance(event, wire.StreamGap):
            self._gap(seat, event)
        elif isinstance(event, wire.StreamEnded):
            self._check(seat)
        elif isinstance(event, wire.StreamStopped) and self._stdin is not None:
            self._stdin.close()  # we send no other stream

    def _control(self, seat: _Seat, message: dict[str, Any]) -> None:
        kind = message.get("t")
        if kind == "exit":
            rank = _within(message.get("rank", 0), 0, max(0, seat.tasks - 1))
            message["code"] = _within(message.get("code", 0), 0, 255)
            finals = {
                _within(int(key), *rank_streams(rank)[2:]): int(end)
                for key, end in message.get("final", {}).items()
            }
            seat.exits[rank] = message
            seat.finals.update(finals)
            self._check(seat)
        elif kind == "starved":
            self._widen(seat, int(message.get("stream", -1)))
        elif kind == "started":
            seat.started = True
            if self._plan.detach and all(s.started for s in self._seats):
                self._detached_start()
        elif kind == "modes" and self._plan.pty and self._plan.verb != "logs":
            from gshell.model.vt import check_prelude

            prelude = check_prelude(bytes.fromhex(str(message.get("prelude", ""))))
            self._port.seen(prelude)
            self._out.write(prelude, None, 0, 0)
        elif kind == "writer" and self._plan.verb != "logs":
            self._now_writing(bool(message.get("on")))
        elif kind == "notice" and not self._plan.quiet:
            self._say(f"[{message.get('text', '')}]")

    def _widen(self, seat: _Seat, stream: int) -> None:
        """The program waits for credit; more of it helps only if we are not the ones who are
        slow."""
        receiving = seat.talk.peer.receiving(stream)
        waiting = (self._out if stream % 4 == 3 else self._err).pending
        if receiving is not None and not waiting and receiving.consumed == receiving.have:
            seat.talk.peer.widen(stream, MAX_PIPE_WINDOW)

    def _now_writing(self, on: bool) -> None:
        """The agent says whether it is us who types."""
        if on == self._writer:
            return
        self._writer = on
        if self._err_is_tty and not self._plan.quiet:
            self._say("[you type now]" if on else "[somebody else types now; you look on]")
        if on:
            if self._plan.pty:
                self._redraw()
            self._read_stdin()

    def on_flow(self, talk: Conversation) -> None:
        source = self._stdin
        if (
            source is not None
            and self._stdin_started
            and not source.ended
            and not self._input_paused
            and self._room_for_input()
        ):
            source.resume()

    def on_lost(self, talk: Conversation, error: GshellError) -> None:
        if self._lost_timer is None and self._seat_of(talk).talk.joined:
            self._lost_timer = self._loop.later(SAY_LOST_AFTER_S, lambda: self._say_lost(error))
            if not self._plan.pty:
                self._patience = self._loop.later(PATIENCE_S, lambda: self._fail(error))

    def _say_lost(self, error: GshellError) -> None:
        if not self._lost_said and not self._plan.quiet:
            self._lost_said = True
            key = detach_key(self._plan.escape, self._plan.inside_ssh)
            leave = f", {key} leaves" if self._raw else ""
            self._say(f"[{error.message}; reconnecting{leave}]")

    def _found(self) -> None:
        self._clear_line()
        for timer in (self._lost_timer, self._patience):
            if timer is not None:
                timer.cancel()
        self._lost_timer = self._patience = None
        if self._lost_said:
            self._lost_said = False
            self._say("[connected again, nothing was lost]")

    def on_failed(self, talk: Conversation, error: GshellError) -> None:
        if talk.ended == "gone" and self._plan.job and not talk.joined:
            self._ask_why(talk, "gone")  # it has ended; the relay knows why nothing was kept
        else:
            self._fail(error)

    def on_refused(self, talk: Conversation, code: str) -> None:
        if code == "again":
            self._loop.later(REPLACE_S, lambda: self._replace(talk))
        elif code == "foreign":
            self._ask_whose(talk)
        else:
            self._ask_why(talk, code)  # what a door says in clear is never final

    def _replace(self, talk: Conversation) -> None:
        """An agent turned out to be full: the same opening anew, somewhere else."""
        if self._done:
            return
        seat = self._seat_of(talk)
        talk.close()
        if self._stdin_started and self._input.start > 0:
            self._fail(LinkLost("the agent had no room and part of the input is gone"))
            return
        index = self._seats.index(seat)
        self._seats[index] = self._seat(index, None)
        self._seats[index].talk.dial()

    # -- asking the relay

    def _with_relay(self) -> Any:
        if self._relay is None:
            from gshell.net.relaylink import RelayLink

            self._relay = RelayLink(
                self._loop, self._dialler.ticket, self._relay_lost, self._relay_says
            )
            try:
                self._relay.open()
            except LinkLost as error:
                self._loop.soon(lambda error=error: self._relay_lost(error))  # type: ignore[misc]
        return self._relay

    def _relay_lost(self, error: GshellError) -> None:
        was_there = self._relay is not None and self._relay.welcome is not None
        self._relay = None
        if isinstance(error, AuthError):
            if self._plan.share:  # a guest's certificate ends with it
                error = AuthError("the share has ended, or these credentials have")
            self._fail(error)
            return
        for seat in self._seats:  # what it was asked for is asked again
            if not seat.talk.up and not seat.finished:
                if was_there:
                    seat.talk.was_answered()
                self._again(seat.talk, error)

    def _again(self, talk: Conversation, error: GshellError) -> None:
        if talk.patient:
            self._loop.later(ASK_AGAIN_S, talk.dial)
        else:
            self._fail(error)

    def _relay_says(self, message: dict[str, Any]) -> None:
        if message.get("m") == "queue":
            if not self._note and self._plan.verb == "run":
                from gshell.client import waitnote

                job = str(message.get("job") or "")
                self._note = waitnote.leave(self._dialler.ticket.pin, job, self._plan)
            if not self._plan.quiet:
                self._explain(str(message.get("why") or "no agent is free"))

    def _explain(self, why: str) -> None:
        if self._done or any(seat.talk.joined for seat in self._seats):
            return
        if self._wait_line is None:
            from gshell.client.waitline import WaitLine

            # Where nobody looks only those are told who asked for what may take its time.
            plain = bool(self._plan.wants)
            self._wait_line = WaitLine(self._err_text, self._width, self._err_is_tty, plain)
        self._wait_line.tell(why)

    def _clear_line(self) -> None:
        if self._wait_line is not None:
            self._wait_line.clear()

    def _forget_note(self) -> None:
        if self._note:
            from gshell.client import waitnote

            waitnote.drop(self._note)
            self._note = ""

    def on_queued(self, talk: Conversation) -> None:
        from gshell.client import upkeep

        try:
            upkeep.ensure(self._dialler.ticket.pin)  # whoever makes agents must be there
        except GshellError as error:
            self._say(f"gshell: {error.message}")
        relay = self._with_relay()
        if self._plan.wants and self._plan.wants.get("site") and not self._plan.pool:
            relay.request({"m": "sites"}, self._check_sites)
        relay.request({"m": "await", "att": talk.att}, lambda answer: self._place(talk, answer))

    def _check_sites(self, answer: dict[str, Any]) -> None:
        """Nobody waits for a site that there is not."""
        found = answer.get("sites")
        if self._done or not answer.get("ok") or not isinstance(found, list):
            return
        there = {str(site.get("name")) for site in found}
        missing = [name for name in self._plan.wants["site"] if name not in there]
        if missing:
            known = ", ".join(sorted(there)) or "none yet"
            what = f"there is no site {missing[0]} (there are: {known})"
            self._fail(
                BrokerError(what, hint=f"gshell sites    or    gshell site add {missing[0]}")
            )

    def _place(self, talk: Conversation, answer: dict[str, Any]) -> None:
        if self._done:
            return
        if answer.get("ok"):
            talk.dial()
        else:
            from gshell.net.relaylink import said_no

            self._fail(said_no(answer))

    def _ask_whose(self, talk: Conversation) -> None:
        """The agent is somebody else's. If the relay says that so is the job, or that it runs in a
        pool, that is as it should be."""

        def told(answer: dict[str, Any]) -> None:
            if self._done:
                return
            found = answer.get("jobs") or [{}]
            job, me = found[0], self._dialler.ticket.user
            if job.get("pool"):
                talk.trusts = "*"
            elif job.get("user", me) != me:
                talk.trusts = str(job["user"])
            talk.dial()

        self._with_relay().request({"m": "jobs", "ids": [self._plan.job]}, told)

    def _ask_why(self, talk: Conversation, code: str) -> None:
        def told(answer: dict[str, Any]) -> None:
            if self._done:
                return
            if code == "time" and self._set_clock():
                talk.dial()
                return
            said = answer.get("message") if answer.get("ok") else None
            known = str(answer.get("code"))
            words = {
                "time": "this machine's clock and the relay's differ too much",
                "denied": "the relay does not allow it",
                "full": "the relay is at its limits",
                "silent": "the relay closes the connection without a word",
                "gone": "its output is not kept any more",
            }
            error = BrokerError(
                str(said or words.get(code, f"the relay refused: {code}")), hint="gshell doctor"
            )
            passing = known in ("again", "used", "queued")
            if known == "revoked":
                self._fail(AuthError(str(said)))
                return
            if self._plan.verb == "run" and (
                "gone" in (known, code) or (known == "none" and talk.joined)
            ):
                why = f"its agent has gone: {error.message}"
                self._fail(LinkLost(why, hint="gshell jobs -a    shows what became of it"))
                return
            if known == "none" and self._plan.job and not self._plan.share:
                error = BrokerError(f"no job {self._plan.job} of yours", hint="gshell jobs -a")
            elif "gone" in (known, code):
                if known == "unknown":
                    error.message = f"job {self._plan.job} has ended, and {words['gone']}"
                error.hint = "gshell jobs -a    shows what is archived"
                if "without --keep" in error.message:
                    error.hint = "gshell run --keep ...    keeps it, next time"
            elif known == "unknown":  # the door's word only, or anybody's on the way
                passing = True
                error.message = words.get(code, error.message)
            if passing:
                self._again(talk, error)
            else:
                self._fail(error)

        self._with_relay().request({"m": "whynot", "att": talk.att}, told)

    def _set_clock(self) -> bool:
        """Go by the relay's clock, which it told under TLS; False if that is no news."""
        welcome = self._relay.welcome if self._relay is not None else None
        now = (welcome or {}).get("now")
        if not isinstance(now, (int, float)):
            return False
        before = self._dialler.skew_s
        self._dialler.skew_s = now - time.time()
        return abs(self._dialler.skew_s - before) > SKEW_NEWS_S

    def _say_waiting(self) -> None:
        if (
            not self._done
            and not any(seat.talk.joined for seat in self._seats)
            and self._relay is None
        ):
            self._say("[connecting ...]")

    # -- output

    def _output(self, seat: _Seat, stream: int, offset: int, data: bytes) -> None:
        past = seat.history.get(stream)
        if past is not None:
            data = self._history(seat, stream, past, offset, data)
            if not data:
                return
        if self._plan.detach:
            return  # not ours to show; untaken, it stays where `logs` finds it
        kind = stream % 4
        outlet = self._out if kind == 3 else self._err
        raw = len(data)
        if stream in seat.torn:
            data = self._mend(seat, stream, data)
        if not self._writer and (self._out_is_tty if kind == 3 else self._err_is_tty):
            data = self._filtered(seat, stream, data)
        if self._plan.pty:
            self._port.seen(data)
        if self._plan.label:
            rank = (stream - 1) // 4
            starter = seat.starter and rank == seat.tasks - 1
            data = self._labels.feed(-1 if starter else seat.first + rank, kind != 3, data)
        if self._matching is not None:
            data = self._matching.feed((seat, stream), data)
        if outlet.broken or not data:
            self._dropped(seat, stream, raw)
        else:
            outlet.write(data, seat, stream, raw)

    def _filtered(self, seat: _Seat, stream: int, data: bytes) -> bytes:
        """Who only looks on, or reads a log, has a terminal that answers nobody's questions and a
        clipboard that is not the program's."""
        if stream not in seat.filters:
            from gshell.model.vt import LiveFilter

            seat.filters[stream] = LiveFilter(strict=not self._writer)
        filtered: bytes = seat.filters[stream].feed(data)
        return filtered

    def _history(
        self, seat: _Seat, stream: int, past: tuple[int, list[bytes]], offset: int, data: bytes
    ) -> bytes:
        """Hold the past back until it is whole; then show it without the questions in it."""
        until, pieces = past
        here = data[: max(0, until - offset)]
        pieces.append(here)
        seat.talk.peer.consume(stream, len(here))
        last = offset + len(data) >= until
        if last:
            del seat.history[stream]
        if last or sum(map(len, pieces)) >= HISTORY_HELD_BYTES:
            self._show_history(seat, stream, pieces, last)
        return data[len(here) :]

    def _show_history(self, seat: _Seat, stream: int, pieces: list[bytes], last: bool) -> None:
        past = b"".join(pieces)
        pieces.clear()
        if past and stream in seat.torn:
            past = self._mend(seat, stream, past)
        shown = self._filtered(seat, stream, past)
        if last and self._writer:  # what is left may go on in the present
            shown += seat.filters.pop(stream).rest()
        if shown:
            if self._matching is not None:
                shown = self._matching.feed((seat, stream), shown)
            self._port.seen(shown)
            self._out.write(shown, None, 0, 0)

    def _mend(self, seat: _Seat, stream: int, data: bytes) -> bytes:
        """What a terminal can begin with: what comes before that was lost."""
        from gshell.model.vt import safe_start

        seat.torn.discard(stream)
        return data if data.startswith(b"\x1b") else data[safe_start(data) :]

    def _flush_labels(self) -> None:
        for err, text in self._labels.flush():
            (self._err if err else self._out).write(text, None, 0, 0)
        if self._matching is not None:
            for (_, stream), line in self._matching.flush():
                (self._out if stream % 4 == 3 else self._err).write(line, None, 0, 0)

    def _gap(self, seat: _Seat, event: wire.StreamGap) -> None:
        size = event.end - event.start
        amount = f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size} bytes"
        past = seat.history.get(event.stream)
        if past is not None:
            last = event.end >= past[0]
            self._show_history(seat, event.stream, past[1], last)
            if last:
                del seat.history[event.stream]
        seat.filters.pop(event.stream, None)  # what it held belongs to bytes that will never come
        if not (self._plan.verb == "logs" and self._plan.quiet):
            self._say_amid(f"[gap: {amount} not kept]")
        if self._shows:
            seat.torn.add(event.stream)
            if self._raw and past is None:
                self._redraw()  # which modes were set, and what is on the screen, may be gone too
        self._dropped(seat, event.stream, size)

    def _dropped(self, seat: _Seat, stream: int, size: int) -> None:
        seat.talk.peer.consume(stream, size)
        self._check(seat)

    def _out_written(self, count: int) -> None:
        self._settle(self._out, count)

    def _err_written(self, count: int) -> None:
        self._settle(self._err, count)

    def _settle(self, outlet: Outlet, count: int) -> None:
        for seat, stream, raw in outlet.written(count):
            seat.talk.peer.consume(stream, raw)
            if seat.finals or seat.live:
                self._check(seat)
            if not outlet.writing:
                seat.talk.pump()  # a grant may be due, and nothing else may happen for a while

    def _out_broken(self, number: int) -> None:
        self._reader_gone(self._out, stdout_of)

    def _err_broken(self, number: int) -> None:
        self._reader_gone(self._err, stderr_of)

    def _reader_gone(self, outlet: Outlet, stream_of: Callable[[int], int]) -> None:
        """The reader of our stdout or stderr is gone: so is the program's."""
        for seat in self._seats:
            for rank in range(max(1, seat.tasks)):
                if seat.talk.peer.receiving(stream_of(rank)) is not None:
                    seat.talk.peer.stop(stream_of(rank))
            seat.talk.pump()
        for seat, stream, raw in outlet.drop():
            self._dropped(seat, stream, raw)
        if outlet is self._out and not self._writer:
            self._loop.soon(lambda: self._finish(141))  # who only looks on has nobody to look for

    # -- input

    def _room_for_input(self) -> bool:
        return self._input.end - self._input.start < INPUT_WINDOW

    def _typed(self, data: bytes) -> None:
        if self._keys is not None and self._raw:
            for action, typed in self._keys.feed(data, self._loop.clock()):
                if action == "data":
                    self._send_input(typed)
                else:
                    self._command(action)
                    if self._done:
                        return
        else:
            self._send_input(data)

    def _send_input(self, data: bytes) -> None:
        if not self._writer or self._ended_input:
            return
        self._input.append(data)
        if not self._room_for_input() and self._stdin is not None:
            self._stdin.pause()
        talk = self._seats[0].talk
        talk.check_now()
        talk.pump()

    def _stdin_ended(self) -> None:
        if self._keys is not None:
            self._send_input(self._keys.end())
        if not self._ended_input:
            self._ended_input = True
            self._input.closed = True
            self._seats[0].talk.pump()

    def _command(self, action: str) -> None:
        if action == "detach":
            self.detach()
        elif action == "suspend":
            self._suspend()
        elif action == "help":
            self._say(help_text(self._plan.escape).rstrip("\n"))
        elif action == "redraw":
            self._redraw()
        elif action == "status":
            talk = self._seats[0].talk
            self._say(
                f"[job {talk.job} on {talk.agent_id}, {'connected' if talk.up else 'reconnecting'}]"
            )
        elif action == "kill":
            if self._plan.share:
                self._say(f"[only {self._plan.owner} can end it]")
                return
            self._say(f"[ending job {self._seats[0].talk.job}]")
            self._tell({"t": "cancel"})

    def _make_raw(self) -> None:
        """Nothing is shown before the terminal is raw: it would be edited on its way."""
        self._awaiting_raw = held = not self._port.raw()
        self._out.sink.hold(held)
        if self._err_is_tty:
            self._err.sink.hold(held)

    def is_raw(self) -> None:
        """The front process has made the terminal raw."""
        self._awaiting_raw = False
        self._out.sink.hold(False)
        self._err.sink.hold(False)
        if self._ending is not None:
            self._end(self._ending)

    def _suspend(self) -> None:
        if self._stdin is not None:
            self._stdin.pause()
        self.hold_output(True)
        self._port.cooked()
        self._port.suspend()

    @property
    def in_terminal(self) -> bool:
        """A terminal session, which draws on a raw terminal only."""
        return self._raw

    def hold_output(self, held: bool) -> None:
        """While the front process is stopped nothing is written over what the shell shows."""
        self._out.sink.hold(held)
        self._err.sink.hold(held)

    def resumed(self) -> None:
        """The front process goes on (SIGCONT), in the foreground."""
        if self._done:
            return
        if self._raw:
            self._make_raw()
            self._redraw()
        if not self._input_paused:
            self.pause_input(False)

    def pause_input(self, paused: bool) -> None:
        """The front process is about to stop, or not in the foreground: leave the user's typing
        alone."""
        self._input_paused = paused
        if self._stdin is None:
            return
        if paused:
            self._stdin.pause()
        elif self._stdin_started and self._room_for_input():
            self._stdin.resume()

    def abandon(self) -> None:
        """The front process is gone: nobody reads or is told any more, the job goes on."""
        if self._done:
            return
        self._done = True
        if self._forwards is not None:
            self._forwards.close()
        if self._stdin is not None:
            self._stdin.close()
        for seat in self._seats:
            seat.talk.close("detach")
        self._leave_queue()
        self._out.sink.close()
        self._err.sink.close()

    def resized(self) -> None:
        if self._plan.pty:
            self._send_size()

    def _send_size(self) -> None:
        rows, columns = self._port.size()
        self._tell({"t": "resize", "rows": rows, "cols": columns})

    def _redraw(self) -> None:
        """Have the terminal's modes told again and the program draw anew, in the present size."""
        rows, columns = self._port.size()
        self._tell({"t": "redraw", "rows": rows, "cols": columns})

    def _tell(self, message: dict[str, Any]) -> None:
        for seat in self._seats:
            if not seat.finished:
                seat.talk.peer.say(message)
                seat.talk.pump()

    def signalled(self, name: str) -> None:
        """A signal for the program arrived at the front process (INT, TERM, QUIT, USR1, ...)."""
        if self._done:
            return
        if not any(seat.talk.joined for seat in self._seats) or self._plan.verb == "logs":
            self._finish(130 if name == "INT" else 143)
            return
        if name == "HUP":
            self.detach()
            return
        if not self._writer or (self._plan.share and name not in ("INT", "QUIT")):
            self._finish(130 if name == "INT" or not self._plan.share else 143)
            return
        if name == "INT":
            now = self._loop.clock()
            self._interrupts = [then for then in self._interrupts if now - then < HAMMER_S] + [now]
            if len(self._interrupts) >= 3 and self._plan.share:
                self._finish(130)
                return
            if len(self._interrupts) >= 3:
                name = "KILL"
        self._tell({"t": "signal", "sig": name})

    # -- ends

    def detach(self) -> None:
        """Leave; the job goes on."""
        job = self._seats[0].talk.job
        for seat in self._seats:
            seat.talk.close("detach")
        self._leave_terminal()
        if not self._plan.quiet and (self._err_is_tty or self._raw):
            again = "the link" if self._plan.share else f"`gshell attach {job}`"
            self._say(f"[detached from {job}; it goes on. {again} returns]")
        self._finish(0)

    def _detached_start(self) -> None:
        job = self._seats[0].talk.job
        for seat in self._seats:
            seat.talk.close("detach")
        self._out.write(job.encode() + b"\n", None, 0, 0)
        self._finish(0)

    def _time_out(self) -> None:
        if self._done:
            return
        self._timed_out = True
        if any(seat.talk.joined for seat in self._seats):
            self._tell({"t": "cancel"})
        else:
            self._say(f"gshell: nothing started within {self._plan.timeout_s:g} s")
            self._finish(124)

    def _check(self, seat: _Seat) -> None:
        """Is everything of this conversation here and written?"""
        if self._plan.verb == "logs" and not self._plan.follow and not seat.finished:
            if not seat.history and self._all_shown(seat):
                self._seat_done(seat)
            return
        if seat.finished or not seat.tasks or len(seat.exits) < seat.tasks:
            return
        peer = seat.talk.peer
        for stream, end in seat.finals.items():
            receiving = peer.receiving(stream)
            if receiving is not None and receiving.consumed < end and not receiving.stop_wanted:
                return
        self._seat_done(seat)

    def _all_shown(self, seat: _Seat) -> bool:
        """Everything that was there when we came has been written."""
        for stream, end in seat.live.items():
            receiving = seat.talk.peer.receiving(stream)
            if receiving is not None and receiving.consumed < end and not receiving.stop_wanted:
                return False
        return True

    def _seat_done(self, seat: _Seat) -> None:
        seat.finished = True
        seat.talk.close("done")
        for message in seat.exits.values():
            if message.get("error"):
                self._say(f"gshell: {message['error']}")
        if all(other.finished for other in self._seats):
            self._flush_labels()
            exits = [message for s in self._seats for message in s.exits.values()]
            code = max((int(message.get("code", 0)) for message in exits), default=0)
            if self._matching is not None:
                code = 0 if self._matching.found else 1
            elif self._plan.verb == "logs":
                code = 0
            elif self._timed_out or any(message.get("timed_out") for message in exits):
                code = 124
            if self._plan.verb == "attach" and self._seats[0].ended:
                self._say_ended(code)
            self._end(code)

    def _say_ended(self, code: int) -> None:
        """Its output might be taken for what happens now."""
        if not self._plan.quiet and self._err_is_tty:
            self._say(f"[job {self._seats[0].talk.job} ended with status {code}]")

    def _end(self, code: int) -> None:
        """All is here; what was printed before we came may still wait for a raw terminal."""
        if self._awaiting_raw:
            self._ending = code
            return
        self._leave_terminal()
        self._finish(code)

    def _fail(self, error: GshellError) -> None:
        if self._done:
            return
        joined = any(seat.talk.joined for seat in self._seats)
        for seat in self._seats:
            seat.talk.close()
        self._leave_terminal()
        from gshell.model.sanitize import sanitize

        self._say("gshell: " + sanitize(error.message))
        if error.hint:
            self._say("  try:  " + sanitize(error.hint))
        self._finish(255 if joined else error.exit_code)

    def _leave_terminal(self) -> None:
        if self._raw:
            if self._stdin is not None:
                self._stdin.pause()
            reset = self._port.reset()
            if reset:
                self._out.write(reset, None, 0, 0)
            self._out.sink.flush_blocking(2.0)
            self._err.sink.hold(False)
            self._raw = False
            self._port.cooked()

    def _err_text(self, text: str) -> None:
        self._err.write(text.encode(), None, 0, 0)

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._err_fd).columns
        except OSError:
            return 0

    def _say(self, text: str) -> None:
        self._clear_line()
        end = "\r\n" if self._was_raw and self._err_is_tty else "\n"
        self._err.write((text.replace("\n", end) + end).encode(), None, 0, 0)

    def _say_amid(self, text: str) -> None:
        """At this very place in the output, where that is a terminal's: it may be far behind."""
        if self._raw and self._err_is_tty:
            self._out.write(f"\x18\r\n{text}\r\n".encode(), None, 0, 0)  # CAN: ends a sequence
        else:
            self._say(text)

    def _finish(self, code: int) -> None:
        if self._done:
            return
        self._done = True
        self._forget_note()
        self._clear_line()
        self._leave_terminal()
        if self._forwards is not None:
            self._forwards.close()
        if self._stdin is not None:
            self._stdin.close()
        for seat in self._seats:
            if not seat.talk.over:
                seat.talk.close("detach")
        self._leave_queue()
        self._drain(code)

    def _leave_queue(self) -> None:
        """Nobody waits for an agent any more: the relay need not keep our turn."""
        if self._relay is None:
            return
        if self._plan.verb == "run" and not any(seat.talk.joined for seat in self._seats):
            for seat in self._seats:
                self._relay.request({"m": "cancel", "att": seat.talk.att}, lambda answer: None)
        self._relay.close()

    def _drain(self, code: int) -> None:
        """Our own last words may still wait for a slow descriptor."""
        if self._out.pending or self._err.pending:
            self._loop.later(0.01, lambda: self._drain(code))
            return
        self._out.sink.close()
        self._err.sink.close()
        self._on_done(code)
