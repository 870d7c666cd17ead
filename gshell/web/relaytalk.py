"""What a gateway says to the relay, in the name of a visitor: redeems a share, asks why not.

The same messages as `gshell.net.relaylink`, for asyncio: many visitors, none waits for another.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gshell.errors import AuthError, BrokerError, GshellError, LinkLost
from gshell.model.sanitize import sanitize_all
from gshell.net import control, relaylink
from gshell.net.relays import relays_of
from gshell.net.tls import client_context
from gshell.web.pipe import Pipe, dial

if TYPE_CHECKING:
    from gshell.model.ticket import Ticket

ANSWER_S = 20.0


async def enrol(there: Ticket, token: str) -> Ticket:
    """A guest's ticket, for a share's token; ``there``: address and pin only.

    Raises:
        BrokerError: it is not valid (any more). LinkLost, AuthError: the relay cannot be asked.
    """
    message = {"m": "enrol", "invite": relaylink.SHARE + token, "role": "guest", "name": ""}
    answer = await _converse(there, [message], lambda said: said.get("m") in ("ticket", "error"))
    if answer.get("m") != "ticket":
        raise BrokerError(str(answer.get("message") or "the relay said no"))
    ticket = relaylink.received_ticket(answer, there.relays)
    named = [one for one in ticket.relays if one not in there.relays]
    return ticket._replace(relays=[*there.relays, *named])


async def ask(ticket: Ticket, message: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """One request and its answer, ok or not; and what time it is to the relay.

    Raises:
        AuthError: the ticket is withdrawn, or over. LinkLost: the relay cannot be asked.
    """
    now = 0.0

    def is_answer(said: dict[str, Any]) -> bool:
        nonlocal now
        if said.get("m") == "welcome":
            at = said.get("now")
            now = at if isinstance(at, (int, float)) else 0.0
        if said.get("m") == "error":
            raise AuthError(str(said.get("message")))
        return said.get("re") == 1

    hello = {"m": "hello", "role": "client", "v": 1}
    return await _converse(ticket, [hello, {**message, "id": 1}], is_answer), now


async def _converse(ticket: Ticket, say: list[dict[str, Any]], until: Any) -> dict[str, Any]:
    every = relays_of(ticket.relays)
    context = client_context(ticket if ticket.cert else None)
    problem: GshellError = LinkLost("no address")
    for _ in range(len(ticket.relays)):
        where = every.address
        try:
            async with asyncio.timeout(ANSWER_S):
                pipe = await dial(where, context)
                try:
                    return await _talk(pipe, ticket, say, until)
                finally:
                    pipe.close()
        except LinkLost as error:
            problem = error
        except TimeoutError:
            problem = LinkLost(f"{where} does not answer")
        every.failed(where)
    raise relaylink.unreachable(ticket, problem.message)


async def _talk(
    pipe: Pipe, ticket: Ticket, say: list[dict[str, Any]], until: Any
) -> dict[str, Any]:
    if pipe.tls.peer_pin() != ticket.pin:
        raise AuthError("the relay's certificate is not the one we know")
    for message in say:
        await pipe.write(control.encode(message))
    decoder = control.ControlDecoder(control.MAX_FROM_RELAY_BYTES)
    while True:
        for said in decoder.feed(await pipe.read()):
            said = sanitize_all(said, but=("ticket",))
            if until(said):
                answer: dict[str, Any] = said
                return answer
