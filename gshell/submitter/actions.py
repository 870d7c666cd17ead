"""What a submitter's core wants done, and what came of it. Values; who does it is elsewhere."""

from __future__ import annotations

from typing import Any, NamedTuple

from gshell.lrms.base import Queue, Status
from gshell.submitter.pilot import Pilot
from gshell.submitter.site import Site

# ------------------------------------------------------------------------------- what is to be done


class Say(NamedTuple):
    """To the relay, as a request; its answer means nothing."""

    message: dict[str, Any]


class AskInvite(NamedTuple):
    """Of the relay, for the nodes of this pilot; then `Core.on_invite`."""

    pilot: str
    nodes: int
    hours: int


class AskSites(NamedTuple):
    """Of the relay, which sites there are; then `Core.on_sites`."""


class SaveSites(NamedTuple):
    pass


class Save(NamedTuple):
    """The pilots, before anything that follows."""


class Submit(NamedTuple):
    pilot: Pilot
    look_first: bool
    """It may have been submitted already: look for its name."""


class Poll(NamedTuple):
    ids: dict[str, str]
    """Pilot -> batch job, all of this site."""


class Cancel(NamedTuple):
    ids: dict[str, str]


class Hunt(NamedTuple):
    """Look for a batch job that we have no memory of: it is to end."""

    pilot: str


class Look(NamedTuple):
    """What the site has."""


class Clear(NamedTuple):
    pilot: str


class Do(NamedTuple):
    """A command or some, at a site."""

    site: Site
    work: Work


Work = Submit | Poll | Cancel | Hunt | Look | Clear
Action = Say | AskInvite | AskSites | Save | SaveSites | Do

# ---------------------------------------------------------------------------------- what came of it


class Submitted(NamedTuple):
    pilot: str
    lrms_id: str


class Refused(NamedTuple):
    pilot: str
    why: str
    final: bool


class Polled(NamedTuple):
    found: dict[str, Status]
    """By pilot."""
    words: dict[str, str]
    """The last ones of those that have ended."""


class Hunted(NamedTuple):
    pilot: str
    lrms_id: str
    """Empty: it is not there."""


class Looked(NamedTuple):
    queues: list[Queue]


class Lost(NamedTuple):
    """It could not be done: the site is not to be reached."""

    why: str


class Done(NamedTuple):
    """And nothing to say about it."""


Result = Submitted | Refused | Polled | Hunted | Looked | Lost | Done
