"""What a run asks the relay beside its conversations: why it waits, why it was refused, whose job
it is. Opens that connection only when there is something to ask."""

from __future__ import annotations

import time

from gshell.client.conversation import Conversation, Dialler
from gshell.client.screen import Screen
from gshell.client.seats import Seat
from gshell.errors import AuthError, BrokerError, GshellError, LinkLost

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from gshell.client.plan import Plan
else:
    Protocol = object

SKEW_NEWS_S = 30.0  # a clock that was set by less was not why the door refused
DOUBT_S = 0.3  # an agent's word to the relay takes no longer
ASK_AGAIN_S = 0.5  # between two openings that the relay knows no reason against
TICK_S = 1.0  # a waiting line says how long it has been


class Asker(Protocol):
    """Who asks: the run."""

    @property
    def over(self) -> bool:
        """Has it ended? Then no answer matters."""

    @property
    def seats(self) -> list[Seat]: ...

    def fail(self, error: GshellError) -> None:
        """It cannot be."""


class Asking:
    """Invariant: at most one connection to the relay, opened by the first question."""

    def __init__(self, asker: Asker, dialler: Dialler, plan: Plan, screen: Screen) -> None:
        self._asker = asker
        self._dialler = dialler
        self._loop = dialler.loop
        self._plan = plan
        self._screen = screen
        self._relay: Any = None
        self._waits_as = ""
        self._waits_since = 0.0
        self._ticking = False
        self._note = ""  # the file for `gshell why`, while it waits
        self._doubted = False  # there is no such job: asked again

    @property
    def begun(self) -> bool:
        """Was there a question?"""
        return self._relay is not None

    def request(self, message: dict[str, Any], told: Callable[[dict[str, Any]], None]) -> None:
        """``told`` gets the answer, unless all is over by then."""

        def answered(answer: dict[str, Any]) -> None:
            if not self._asker.over:
                told(answer)

        self._with_relay().request(message, answered)

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
            self._asker.fail(error)
            return
        for seat in self._asker.seats:  # what it was asked for is asked again
            if not seat.talk.up and not seat.finished:
                if was_there:
                    seat.talk.was_answered()
                self._again(seat.talk, error)

    def _again(self, talk: Conversation, error: GshellError) -> None:
        if talk.patient:
            self._loop.later(ASK_AGAIN_S, talk.dial)
        else:
            self._asker.fail(error)

    def _relay_says(self, message: dict[str, Any]) -> None:
        if message.get("m") == "queue":
            if not self._note and self._plan.verb == "run":
                from gshell.client import waitnote

                job = str(message.get("job") or "")
                self._note = waitnote.leave(self._dialler.ticket.pin, job, self._plan)
            if not self._plan.quiet:
                self._waits_as = str(message.get("job") or "")
                self._explain(str(message.get("why") or "no agent is free"))
                if not self._ticking and self._screen.err_is_tty:
                    self._ticking = True
                    self._waits_since = self._loop.clock()
                    self._loop.later(TICK_S, self._tick)

    def _explain(self, why: str) -> None:
        if not self._asker.over and not any(seat.talk.joined for seat in self._asker.seats):
            # Where nobody looks only those are told who asked for what may take its time.
            self._screen.explain(why, plain=bool(self._plan.wants))

    def _tick(self) -> None:
        """How long it has waited, each second while it waits."""
        if self._asker.over or any(seat.talk.joined for seat in self._asker.seats):
            self._ticking = False
            return
        hint = f"gshell why {self._waits_as}" if self._waits_as.isdigit() else ""
        self._screen.waited(self._loop.clock() - self._waits_since, hint)
        self._loop.later(TICK_S, self._tick)

    def forget_note(self) -> None:
        """It waits no more."""
        if self._note:
            from gshell.client import waitnote

            waitnote.drop(self._note)
            self._note = ""

    def leave(self) -> None:
        """Nobody waits for an agent any more: the relay need not keep our turn."""
        if self._relay is None:
            return
        if self._plan.verb == "run" and not any(s.talk.joined for s in self._asker.seats):
            self.forget_turns()
        self._relay.close()

    def forget_turns(self) -> None:
        """What was asked for is not wanted any more."""
        for seat in self._asker.seats:
            self._relay.request({"m": "cancel", "att": seat.talk.att}, lambda answer: None)

    # -- the questions

    def why_queued(self, talk: Conversation) -> None:
        """No agent has room: dial again when one has, and say meanwhile what it waits for."""
        from gshell.client import upkeep

        try:
            upkeep.ensure(self._dialler.ticket.pin)  # whoever makes agents must be there
        except GshellError as error:
            self._screen.say(f"gshell: {error.message}")
        if self._plan.wants and self._plan.wants.get("site") and not self._plan.pool:
            self.request({"m": "sites"}, self._check_sites)
        self.request({"m": "await", "att": talk.att}, lambda answer: self._place(talk, answer))

    def what_there_is(self, told: Callable[[list[dict[str, Any]], bool], None]) -> None:
        """Which agents; and whether there may be more of them."""
        agents: list[dict[str, Any]] = []

        def listed(answer: dict[str, Any]) -> None:
            agents.extend(a for a in answer.get("agents") or () if isinstance(a, dict))
            self.request({"m": "sites"}, lambda found: told(agents, bool(found.get("sites"))))

        self.request({"m": "agents"}, listed)

    def _check_sites(self, answer: dict[str, Any]) -> None:
        """Nobody waits for a site that there is not."""
        found = answer.get("sites")
        if not answer.get("ok") or not isinstance(found, list):
            return
        there = {str(site.get("name")) for site in found}
        missing = [name for name in self._plan.wants["site"] if name not in there]
        if missing:
            known = ", ".join(sorted(there)) or "none yet"
            what = f"there is no site {missing[0]} (there are: {known})"
            self._asker.fail(
                BrokerError(what, hint=f"gshell sites    or    gshell site add {missing[0]}")
            )

    def _place(self, talk: Conversation, answer: dict[str, Any]) -> None:
        if talk.over:
            return  # another layout was taken
        if answer.get("ok"):
            talk.dial()
        else:
            from gshell.net.relaylink import said_no

            self._asker.fail(said_no(answer))

    def whose(self, talk: Conversation) -> None:
        """The agent is somebody else's. If the relay says that so is the job, or that it runs in a
        pool, that is as it should be."""

        def told(answer: dict[str, Any]) -> None:
            found = answer.get("jobs") or [{}]
            job, me = found[0], self._dialler.ticket.user
            if job.get("pool"):
                talk.trusts = "*"
            elif job.get("user", me) != me:
                talk.trusts = str(job["user"])
            talk.dial()

        self.request({"m": "jobs", "ids": [self._plan.job]}, told)

    def why(self, talk: Conversation, code: str) -> None:
        """A door refused with this code: the relay knows more, and may know better."""
        told = self._told_why
        self.request({"m": "whynot", "att": talk.att}, lambda answer: told(talk, code, answer))

    def _told_why(self, talk: Conversation, code: str, answer: dict[str, Any]) -> None:
        if code == "time" and self.set_clock():
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
            self._asker.fail(AuthError(str(said)))
            return
        if self._plan.verb == "run" and (
            "gone" in (known, code) or (known == "none" and talk.joined)
        ):
            why = f"its agent has gone: {error.message}"
            self._asker.fail(LinkLost(why, hint="gshell jobs -a    shows what became of it"))
            return
        if known == "none" and self._plan.job and not self._plan.share:
            if not self._doubted and self._plan.verb != "run":
                # It may have begun this moment: who started it hears of that before the relay does.
                self._doubted = True
                self._loop.later(DOUBT_S, talk.dial)
                return
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
            self._asker.fail(error)

    def set_clock(self) -> bool:
        """Go by the relay's clock, which it told under TLS; False if that is no news."""
        welcome = self._relay.welcome if self._relay is not None else None
        now = (welcome or {}).get("now")
        if not isinstance(now, (int, float)):
            return False
        before = self._dialler.skew_s
        self._dialler.skew_s = now - time.time()
        return abs(self._dialler.skew_s - before) > SKEW_NEWS_S
