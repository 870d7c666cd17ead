"""A batch job around its program: work directory, scripts before and after, token, files.

The order is gLite's: inputs are there, prologue, token, program, last perusal slice, epilogue. Up
to the token a failure is one of which the program surely saw nothing. Scripts run as the step's
first rank, so that signals, cancelling and logs work in every phase; what they print is in the log,
and not in the program's files.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from gshell.agent import ranks
from gshell.agent.jobspec import JobPart
from gshell.agent.perusal import Perusal
from gshell.agent.stdfiles import StdFiles
from gshell.errors import SpawnFailed

if TYPE_CHECKING:
    from gshell.agent.ranks import Rank
    from gshell.agent.session import Session
    from gshell.agent.spec import StepSpec
    from gshell.net.loop import Timer

CANNOT = 125  # the exit code where we could not do our part

log = logging.getLogger("gshell.agent")


class Wrapped:
    """Invariant: ``phase`` goes one way: stage-in, prologue, token, run, epilogue; and the program
    is started in ``run``, once."""

    def __init__(self, session: Session, spec: StepSpec, job: JobPart) -> None:
        self._session = session
        self._spec = spec
        self._job = job
        self._script = False  # one of ours runs as the first rank
        self.phase = "stage-in"
        self.files = StdFiles()
        self._perusal: Perusal | None = None
        self._timer: Timer | None = None
        self._over = False
        self._result: tuple[int, int | None, bool, str | None] = (0, None, False, None)
        """How the first rank's program ended, while the epilogue runs in its place."""

    # -- the way

    def begin(self) -> None:
        session, job = self._session, self._job
        if job.workdir:
            try:
                session.workdir = workdir = session.make_workdir()
            except OSError as error:
                return self._fail(CANNOT, f"no work directory: {error.strerror}")
            missing = [n for n in job.inputs if not os.path.exists(os.path.join(workdir, n))]
            if job.stdin and not os.path.isfile(os.path.join(workdir, job.stdin)):
                missing.append(job.stdin)  # nor may it be a pipe: to open that would wait
            if missing:
                return self._fail(CANNOT, f"input files are missing: {', '.join(missing[:5])}")
        self.phase = "prologue"
        if job.prologue:
            session.say_phase()  # that may last
            self._run_script(job.prologue)
        else:
            self._ask()

    def _ask(self) -> None:
        self.phase = "token"
        session = self._session
        if session.wants_token:
            session.stop_clock()  # the relay may be away for long
            session.ask_token()  # and again with every relay that comes, until there is an answer
        else:
            self.go()

    def go(self) -> None:
        """It may run."""
        if not self.asks:
            return
        session, job = self._session, self._job
        self.phase = "run"
        if session.workdir is not None:
            trouble = self.files.open(session.workdir, job)
            if trouble:
                return self._fail(CANNOT, trouble)
            if job.perusal_every_s:
                self._perusal = Perusal(session.workdir, job.perusal)
                self._peruse_later()
        session.run()

    def _peruse_later(self) -> None:
        self._timer = self._session.clock_later(self._job.perusal_every_s, self._peruse)

    def _peruse(self) -> None:
        assert self._perusal is not None
        self._perusal.slice(self._session.wall())
        self._peruse_later()

    def refuse(self) -> None:
        """It may not: another attempt does."""
        if self.asks:
            self._over = True
            self._session.withdraw()

    def ran(self) -> bool:
        """All ranks have ended; is there more to come?"""
        if self._over or self._script or self.phase != "run":
            return False
        if self._timer is not None:
            self._timer.cancel()
        if self._perusal is not None:
            self._perusal.slice(self._session.wall())
        self.files.close()
        session = self._session
        if not self._job.epilogue or not session.launched or session.canceled:
            self._over = True
            return False
        first = session.ranks[0]
        self._result = first.code, first.signal, first.core, first.error
        self.phase = "epilogue"
        session.say_phase()
        self._run_script(self._job.epilogue)
        return True

    def printed(self, err: bool, parts: list[bytes]) -> bool:
        """What runs printed this, and the program's files have it now; is it for the log, too?"""
        if not parts or self._script:
            return True
        for data in parts:
            self.files.write(err, data)
        return not self.files.drops(err)

    # -- scripts

    def _run_script(self, words: tuple[str, ...]) -> None:
        session = self._session
        try:
            child = ranks.launch_script(session, self._spec, words)
        except SpawnFailed as error:
            return self._fail(error.exit_code, f"{self.phase}: {error.message}")
        self._script = True
        session.start_clock()
        session.adopt_child(session.ranks[0], child)

    def script_ended(self, rank: Rank) -> bool:
        """Was it a script of ours that has ended, and not the program?"""
        if not self._script or rank.number:
            return False
        self._script = False
        code = rank.code
        late = " (time limit)" if self._session.timed_out else ""
        if code:
            self._fail(code, f"{self.phase} failed with error {code}{late}", rank.signal)
        elif self._session.canceled:
            self._fail(128 + 15, "canceled", 15)
        elif self.phase == "prologue":
            rank.again()
            self._ask()
        else:
            self._over = True
            rank.code, rank.signal, rank.core, rank.error = self._result
            self._session.finish()
        return True

    # -- ends

    def cancel(self, number: int = 15) -> None:
        """While nothing runs that a signal could end."""
        if self.asks:
            self._fail(128 + number, "canceled", number)

    def _fail(self, code: int, error: str, signal: int | None = None) -> None:
        log.info("job %s: %s", self._session.job, error)
        self._over = True
        self.files.close()
        if self._timer is not None:
            self._timer.cancel()
        self._session.fail(code, error, signal)

    def holds(self, rank: Rank) -> bool:
        """Is this rank's output to go on after what runs now has ended?"""
        if self._over or rank.number:
            return False
        return self.phase == "prologue" or (self.phase == "run" and bool(self._job.epilogue))

    @property
    def asks(self) -> bool:
        """Does it wait for the token?"""
        return self.phase == "token" and not self._over

    @property
    def scripting(self) -> bool:
        """Is what runs a script, whose output is not the program's?"""
        return self._script
