"""Where an interactive job's i2glogin calls when its description leaves that open; the waiting.

``-p 0:IP``, ``-p 0`` or no ``-p``: a free port of this machine is found and goes into the job. With
a terminal, `submit` itself waits there; without one it says which ``i2glogin -p`` does.
"""

from __future__ import annotations

import socket
import sys
import time
from typing import Any

from gshell.errors import BrokerError, GshellError, UsageError
from gshell.model.sanitize import sanitize
from gshell.model.ticket import Ticket
from gshell.net.relaylink import ask, items_of

LOOK_S = 2.0  # between two looks at a job that has not called yet


class Meeting:
    """Invariant: a port that was found is ours until `close`, so that no two jobs get the same."""

    def __init__(self) -> None:
        self._found: dict[str, socket.socket] = {}

    def place(self, said: str) -> str:
        """The address for a job whose description has ``said``.

        Raises:
            ValueError: that is no address, or nobody can listen there.
        """
        from gshell.agent.gloginwords import Place, parse_place
        from gshell.glogin import main as glogin

        try:
            place = parse_place(said or "0")
            if place.port and place.host:
                return said
            if place.port:  # somebody may be waiting there already
                return str(Place(glogin.own_address(), place.port))
            sock, place = glogin.listen(place, lambda _: None)
        except UsageError as error:
            raise ValueError(error.message.removeprefix("i2glogin: ")) from None
        self._found[str(place)] = sock
        return str(place)

    def is_ours(self, address: str) -> bool:
        """Was it found here?"""
        return address in self._found

    def close(self) -> None:
        """The ports are free again."""
        for sock in self._found.values():
            sock.close()
        self._found.clear()

    def wait(self, ticket: Ticket, job: str, address: str) -> int:
        """Be the terminal of this job, which calls at an address that was found; its status.

        Raises:
            GshellError: it has ended and did not call.
        """
        from gshell.agent import gloginwords
        from gshell.client.stdio import standard_descriptors
        from gshell.glogin import main as glogin
        from gshell.glogin.secret import forget

        words = gloginwords.parse(["-p", address])
        sys.stderr.write(f"gshell: waiting for job {job} to call at {address}; ^C cancels it\n")
        watch = Watch(ticket, job)
        sock = self._found.pop(address)
        try:
            return glogin.serve(words, words.place, sock, standard_descriptors(), watch.look)
        except GshellError:
            forget(address)
            raise
        except KeyboardInterrupt:
            forget(address)
            ask(ticket, {"m": "cancel", "job": job})
            sys.stderr.write(f"gshell: job {job} is canceled\n")
            return 130


class Watch:
    """What becomes of a job that has not called yet; said on stderr when it changes."""

    def __init__(self, ticket: Ticket, job: str) -> None:
        self._ticket = ticket
        self._job = job
        self._next_at = time.monotonic() + LOOK_S
        self._said = ""

    def look(self) -> None:
        """
        Raises:
            GshellError: it will not call any more.
        """
        if time.monotonic() < self._next_at:
            return
        try:
            message = {"m": "jobs", "ids": [self._job], "why": True}
            found = items_of(ask(self._ticket, message), "jobs")
        except BrokerError:
            raise
        except GshellError:
            found = []  # the relay is away for the moment
        self._next_at = time.monotonic() + LOOK_S
        for job in found:
            self._tell(job)

    def _tell(self, job: dict[str, Any]) -> None:
        if job.get("ended_at") is not None:
            why = job.get("error") or "its i2glogin did not reach this machine, or was not started"
            raise GshellError(
                f"job {self._job} has ended and never called: {why}",
                hint=f"gshell logs {self._job}",
            )
        said = job.get("why") if job.get("state") == "QUEUED" else ""
        if said and said != self._said:
            sys.stderr.write(f"gshell: job {self._job} waits: {sanitize(str(said))}\n")
        self._said = str(said or "")
