"""A list of jobs, and how far those are that run: agents look at that only when they are asked."""

from __future__ import annotations

from gshell.net.loop import Loop
from gshell.net.relaylink import ANSWER_S, RelayLink, items_of, said_no, unreachable

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any

    from gshell.errors import GshellError
    from gshell.model.ticket import Ticket

    Message = dict[str, Any]

AGENTS_S = 0.15  # for what agents say: a list of jobs is worth no longer a wait


def jobs(ticket: Ticket, request: Message) -> list[Message]:
    """The JOBs that ``request`` asks for, with ``progress`` as of now where there is one.

    Raises:
        BrokerError: the relay said no; its words.
        LinkLost, AuthError: it could not be asked.
    """
    loop = Loop()
    got: list[Message] = []
    errors: list[GshellError] = []
    glance = _Glance()
    link = RelayLink(loop, ticket, errors.append, glance.heard)
    try:
        link.open()
        link.request(request, got.append)
        loop.run_until(lambda: bool(got or errors), ANSWER_S)
        if got and got[0].get("ok"):
            found = items_of(got[0], "jobs")
            glance.begin(found)
            if glance.lacking:
                link.request({"m": "watch", "bare": True}, glance.answered)
                loop.run_until(lambda: not glance.lacking or bool(errors), AGENTS_S)
            return found
    finally:
        link.close()
        loop.close()
    if errors:
        raise errors[0]
    if not got:
        raise unreachable(ticket, "it does not answer")
    raise said_no(got[0])


class _Glance:
    """Jobs that run, and what is still to be said about them."""

    def __init__(self) -> None:
        self.lacking: dict[Any, Message] = {}

    def begin(self, found: list[Message]) -> None:
        """One's own, on one's own agents: of others nothing is told."""
        self.lacking = {
            job.get("id"): job
            for job in found
            if job.get("state") == "ACTIVE" and not job.get("pool") and "progress" in job
        }

    def answered(self, answer: Message) -> None:
        if not answer.get("ok"):
            self.lacking.clear()

    def heard(self, message: Message) -> None:
        steps = message.get("steps") if message.get("kind") == "stats" else None
        for step in steps if isinstance(steps, list) else ():
            if isinstance(step, dict) and step.get("index") == 0:
                job = self.lacking.pop(step.get("job"), None)
                said = step.get("progress")
                if job is not None and isinstance(said, dict):
                    job["progress"] = {**said, "at": message.get("at")}
