"""Does at a site what `core` decided: one thread each, so that a front end that hangs delays no
other. Knows plug-ins and places; decides nothing.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from gshell import plugins
from gshell.errors import GshellError
from gshell.lrms.base import Done as Ran
from gshell.lrms.base import LrmsError, PilotRequest, Plugin, State
from gshell.submitter import actions, script, stage
from gshell.submitter.actions import Result, Work
from gshell.submitter.pilot import JOB_PREFIX, Pilot
from gshell.submitter.place import Here, Place, PlaceLost, run
from gshell.submitter.site import Site

Told = Callable[[Site, Work, Result], None]
NOT_THERE = 127  # as a shell says of a command


def open_place(site: Site) -> Place:
    """
    Raises:
        PlaceLost: it cannot be reached.
    """
    if not site.ssh:
        return Here()
    from gshell.submitter.ssh import There

    return There(site.ssh)


class Worker:
    """Owns the site's place; opened when first needed, and anew after it was lost."""

    def __init__(self, site: Site, tell: Told, opens: Callable[[Site], Place] = open_place) -> None:
        self.site = site
        self._tell = tell
        self._opens = opens
        self._place: Place | None = None
        self._queue: queue.SimpleQueue[tuple[Site, Work] | None] = queue.SimpleQueue()
        # A daemon: who ends us must not wait for a front end.
        self._thread = threading.Thread(target=self._work, name=f"site {site.name}", daemon=True)
        self._thread.start()

    def do(self, site: Site, work: Work) -> None:
        self._queue.put((site, work))

    def close(self) -> None:
        self._queue.put(None)

    def _work(self) -> None:
        while (next := self._queue.get()) is not None:
            site, work = next
            self._tell(site, work, self._done(site, work))
        if self._place is not None:
            self._place.close()

    def _done(self, site: Site, work: Work) -> Result:
        try:
            if site.ssh != self.site.ssh or self._place is None:
                if self._place is not None:
                    self._place.close()
                self._place, self.site = None, site
                self._place = self._opens(site)
            return perform(site, work, plugins.lrms(site.lrms), self._place)
        except PlaceLost as error:
            if self._place is not None:
                self._place.close()
            self._place = None
            return actions.Lost(error.message)
        except GshellError as error:
            if isinstance(work, actions.Submit):
                return actions.Refused(work.pilot.id, error.message, False)
            return actions.Lost(error.message)
        except Exception as error:  # a plug-in's fault ends no other site's pilots
            what = f"{site.lrms}: {type(error).__name__}: {error}"
            if isinstance(work, actions.Submit):
                return actions.Refused(work.pilot.id, what, False)
            return actions.Lost(what)


def perform(site: Site, work: Work, plugin: Plugin, place: Place) -> Result:
    """
    Raises:
        PlaceLost, LrmsError, StagingError: it could not be done.
    """
    match work:
        case actions.Submit(pilot, look_first):
            return _submit(site, pilot, look_first, plugin, place)
        case actions.Poll(ids):
            return _poll(ids, plugin, place)
        case actions.Cancel(ids):
            run(place, plugin.cancel(list(ids.values())))  # what came of it, the next poll says
            return actions.Done()
        case actions.Hunt(pilot):
            return actions.Hunted(pilot, _found(plugin, place).get(pilot, ""))
        case actions.Look():
            done = [run(place, command) for command in plugin.offers()]
            missing = [d for d in done if d.code == NOT_THERE]
            if missing:
                raise LrmsError("broken", missing[0].err.strip() or "its commands are not there")
            return actions.Looked(plugin.offered(done))
        case actions.Clear(pilot):
            stage.clear(place, pilot)
            return actions.Done()


def request_of(pilot: Pilot, files: stage.Files) -> PilotRequest:
    site = pilot.site
    return PilotRequest(
        name=JOB_PREFIX + pilot.id,
        script=files.script,
        output="/dev/null" if site.inline else files.output,
        nodes=pilot.nodes,
        slots=pilot.number("slots"),
        walltime_s=pilot.number("walltime"),
        memory_bytes=pilot.number("memory"),
        queue=str(pilot.wanted.get("queue") or site.queue),
        account=site.account,
        extra=site.extra,
    )


def words_of(pilot: Pilot) -> list[str]:
    """What the agents are told by the script."""
    words = ["--site", pilot.site.name, "--pilot", pilot.id, "--lrms", pilot.site.lrms]
    for key in ("slots", "walltime", "idle"):
        value = pilot.number(key) if key != "idle" else pilot.site.idle
        if value:
            words += [f"--{key}", str(value)]
    return words


def _submit(site: Site, pilot: Pilot, look_first: bool, plugin: Plugin, place: Place) -> Result:
    if look_first:
        there = _found(plugin, place).get(pilot.id)
        if there:
            return actions.Submitted(pilot.id, there)
    files = stage.files_of(place, pilot.id)
    request = request_of(pilot, files)
    small = {}
    what: script.Staged | script.Inline
    if site.inline:
        what = script.Inline(stage.packed(), pilot.invite)
    else:
        what = script.Staged(stage.put_pyz(place), files.invite)
        small[files.invite] = (pilot.invite + "\n", 0o600)
    small[files.script] = (script.text(plugin.header(request), what, words_of(pilot)), 0o700)
    stage.put(place, small)
    done = run(place, plugin.submit(request))
    if done.code == NOT_THERE:
        return actions.Refused(pilot.id, f"{site.lrms} is not there: {done.err.strip()}", True)
    try:
        return actions.Submitted(pilot.id, plugin.submitted(done))
    except LrmsError as error:
        return actions.Refused(pilot.id, error.message, error.code == "refused")


def _poll(ids: dict[str, str], plugin: Plugin, place: Place) -> Result:
    wanted = list(ids.values())
    done = [run(place, command) for command in plugin.status(wanted)]
    _must_be_there(done)
    by_job = plugin.statuses(wanted, done)
    found = {pilot: by_job[job] for pilot, job in ids.items() if job in by_job}
    words = {
        pilot: stage.last_words(place, pilot)
        for pilot, status in found.items()
        if status.state is State.ENDED
    }
    return actions.Polled(found, words)


def _found(plugin: Plugin, place: Place) -> dict[str, str]:
    """Pilot -> batch job, of this user's jobs that are named as ours are."""
    done = run(place, plugin.find(JOB_PREFIX, place.user))
    _must_be_there([done])
    return {
        name[len(JOB_PREFIX) :]: id
        for id, name in plugin.found(done).items()
        if name.startswith(JOB_PREFIX)
    }


def _must_be_there(done: list[Ran]) -> None:
    """A batch system whose commands are gone has not forgotten its jobs."""
    for one in done:
        if one.code == NOT_THERE:
            raise PlaceLost(one.err.strip() or "the batch system's commands are not there")
