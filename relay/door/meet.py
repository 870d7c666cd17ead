"""Where a client's data connection and an agent's spare meet. Checks preambles, asks, joins.

A preamble that is not genuine is answered with silence. What a genuine one is told is a code; the
reasons are with the broker, over control TLS.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from gshell.net import rendezvous
from gshell.net.address import half_open, peer_name
from gshell.net.loop import IN, Loop
from gshell.net.rendezvous import Preamble
from relay.door import limits
from relay.door.nonces import Nonces
from relay.door.sane import shallow
from relay.door.splice import Farewells, Pair
from relay.door.tally import Tally

Message = dict[str, Any]

SPARES_PER_AGENT = 16  # parked; an agent keeps two, more after a burst
SPARE_WAIT_S = 5.0  # an agent tops up as soon as one was used: a round trip or two
FIRST_BYTE_S = 5.0  # a spare that does not answer the client's hello within this is taken for dead
TRIES = 4  # spares tried for one client
ANSWER_S = 20.0  # the broker holds a group's openings for 10 s; nothing takes longer
LOOK_S = 10.0  # between two looks at all pairs: is somebody still there?
RETRY_S = 0.15  # suggested to clients that are told to come again

_LEFT = select.EPOLLRDHUP  # the other side closed, without reading what it sent
_FIRST_BYTES = 1 << 16

_log = logging.getLogger("relay.door")


class Spare:
    """An agent's parked connection."""

    __slots__ = ("agent_id", "sock")

    def __init__(self, agent_id: str, sock: socket.socket) -> None:
        self.agent_id = agent_id
        self.sock = sock


class Visit:
    """A client's data connection from its preamble to the agent's first byte.

    Owns the client's socket, and the spare it is trying.
    """

    __slots__ = ("agent_id", "att", "initial", "number", "sock", "spare", "timer", "tries")

    def __init__(self, number: int, sock: socket.socket, initial: bytes, att: str) -> None:
        self.number = number
        self.sock = sock
        self.initial = initial  # the client's first flight, for as many spares as it takes
        self.att = att
        self.agent_id = ""  # once the broker has said so
        self.spare: socket.socket | None = None
        self.timer: Any = None
        self.tries = 0


class Meeting:
    """All parked spares, waiting clients and joined pairs of a door."""

    def __init__(self, loop: Loop, secret: bytes, tell: Callable[[Message], None]) -> None:
        self.loop = loop
        self.connected = False  # to a broker
        self.pairs: set[Pair] = set()
        self.visits: dict[int, Visit] = {}
        self.spares: dict[str, deque[Spare]] = {}
        self.farewells = Farewells(loop)
        self.vouch: Callable[[socket.socket], None] = lambda sock: None
        self.blame: Callable[[socket.socket, float], None] = lambda sock, penalty: None
        self.tally = Tally()
        self._secret = secret
        self._tell = tell
        self._keys: dict[str, tuple[int, bytes]] = {}  # agent -> (control connection, park key)
        self._waiting: dict[str, deque[Visit]] = {}
        self._nonces = Nonces(2 * rendezvous.SKEW_S)
        self._numbers = 0
        self._look()

    def _look(self) -> None:
        """The kernel gives up a connection with unsent bytes after a quarter of an hour only."""
        for pair in list(self.pairs):
            for sock in (pair.client.sock, pair.agent.sock):
                if sock.fileno() < 0:
                    continue
                if half_open(sock):
                    _log.info("a connection of %s is half-open: cut", pair.att)
                    pair.cut()
                    break
                self.vouch(sock)
        self.loop.later(LOOK_S, self._look)

    # ------------------------------------------------------------------------------------ preambles

    def arrive(self, sock: socket.socket, preamble: Preamble, rest: bytes) -> None:
        """Takes over the socket of a connection that began with a preamble."""
        if preamble.kind == rendezvous.CLIENT:
            self._client(sock, preamble, rest)
        else:
            self._agent(sock, preamble, rest)

    def _client(self, sock: socket.socket, preamble: Preamble, rest: bytes) -> None:
        body = preamble.body
        mac_id, nonce, att = _text(body, "k"), _text(body, "n"), _text(body, "att")
        if not mac_id or len(nonce) != 32 or not preamble.hello or not shallow(body):
            self._hush(sock)
            return
        if not preamble.genuine(rendezvous.client_key(self._secret, mac_id)):
            self.blame(sock, limits.GARBAGE)
            self._hush(sock)
            return
        self.vouch(sock)
        code = self._stale(body.get("t"), nonce)
        if code or not self.connected:
            if code:
                self._tell({
                    "m": "note", "k": mac_id, "att": att[:64], "code": code,
                    "from": peer_name(sock),
                })  # fmt: skip
            self._say_no(sock, code or "again", 0.0 if code else RETRY_S)
            return
        self._numbers += 1
        visit = Visit(self._numbers, sock, preamble.hello + rest, att)
        self.visits[visit.number] = visit
        self._watch(visit)
        visit.timer = self.loop.later(ANSWER_S, lambda: self._no_answer(visit))
        self._tell({
            "m": "ask", "a": visit.number, "k": mac_id, "n": nonce, "body": body,
            "from": peer_name(sock),
        })  # fmt: skip

    def _agent(self, sock: socket.socket, preamble: Preamble, rest: bytes) -> None:
        agent_id, nonce = _text(preamble.body, "a"), _text(preamble.body, "n")
        key = self._keys.get(agent_id)
        good = (
            key is not None
            and len(nonce) == 32
            and not rest
            and preamble.genuine(key[1])
            and not self._stale(preamble.body.get("t"), nonce)
        )
        if key is not None and not good:
            # Not when there is no key: after a restart of ours spares come that were good before.
            self.blame(sock, limits.GARBAGE)
        if not good or len(self.spares.get(agent_id, ())) >= SPARES_PER_AGENT:
            self._hush(sock)
            return
        waiting = self._waiting.get(agent_id)
        if waiting:
            self._try(waiting.popleft(), sock)
            return
        spare = Spare(agent_id, sock)
        self.spares.setdefault(agent_id, deque()).append(spare)
        # Nothing may come from a parked spare: whatever happens to it is its end.
        self.loop.add(sock.fileno(), IN | _LEFT, lambda _: self._unpark(spare))

    def _stale(self, at: object, nonce: str) -> str:
        """The code to refuse it with, if it is too old or not the first."""
        now = time.time()
        if not isinstance(at, int | float):
            return "time"
        if not now - rendezvous.SKEW_S <= at <= now + rendezvous.SKEW_S:  # nor NaN, nor 10**400
            return "time"
        return "" if self._nonces.burn(nonce, now) else "used"

    def _unpark(self, spare: Spare) -> None:
        if not _has_news(spare.sock):
            return
        self.spares[spare.agent_id].remove(spare)
        self.loop.remove(spare.sock.fileno())
        spare.sock.close()

    # --------------------------------------------------------------------------------- agents' keys

    def set_key(self, agent_id: str, number: int, key: bytes) -> None:
        """Spares of this agent are now those of this control connection."""
        self.drop_key(agent_id)
        self._keys[agent_id] = (number, key)

    def drop_key(self, agent_id: str, number: int | None = None) -> None:
        """Its control connection has gone: what it had parked is worth nothing."""
        key = self._keys.get(agent_id)
        if key is None or (number is not None and key[0] != number):
            return
        del self._keys[agent_id]
        for spare in list(self.spares.pop(agent_id, ())):
            self.loop.remove(spare.sock.fileno())
            spare.sock.close()

    # -------------------------------------------------------------------------------------- answers

    def pair(self, number: int, agent_id: str, att: str) -> None:
        visit = self.visits.get(number)
        if visit is None:  # it left while the broker thought
            self._tell({"m": "unjoined", "a": number, "agent": agent_id, "att": att})
            return
        visit.agent_id = agent_id
        visit.timer.cancel()
        self._next_spare(visit)

    def refuse(self, number: int, code: str, retry_s: float) -> None:
        visit = self.visits.get(number)
        if visit is not None:
            self._dismiss(visit)
            self._say_no(visit.sock, code, retry_s)

    def cut(self, att: str) -> None:
        """End it, joined or about to be."""
        for pair in [p for p in self.pairs if p.att == att]:
            pair.cut()
        for visit in [v for v in self.visits.values() if v.att == att and v.agent_id]:
            self._unjoined(visit)
            if visit.spare is not None:
                self.loop.remove(visit.spare.fileno())
                visit.spare.close()
            self.refuse(visit.number, "denied", 0.0)

    def close(self) -> None:
        """End everything at once."""
        for visit in list(self.visits.values()):
            self._left_now(visit)
        for agent_id in list(self._keys):
            self.drop_key(agent_id)
        for pair in list(self.pairs):
            pair.cut()
        self.farewells.close()

    def broker_lost(self) -> None:
        """Nobody will answer what was asked. Joined pairs live on."""
        self.connected = False
        for visit in list(self.visits.values()):
            if not visit.agent_id:
                self.refuse(visit.number, "again", RETRY_S)

    # -------------------------------------------------------------------------------------- joining

    def _next_spare(self, visit: Visit) -> None:
        spares = self.spares.get(visit.agent_id)
        if spares and visit.tries < TRIES:
            spare = spares.popleft()
            self.loop.remove(spare.sock.fileno())
            self._try(visit, spare.sock)
            return
        self._waiting.setdefault(visit.agent_id, deque()).append(visit)
        visit.timer = self.loop.later(SPARE_WAIT_S, lambda: self._give_up(visit))

    def _try(self, visit: Visit, sock: socket.socket) -> None:
        visit.timer.cancel()
        visit.tries += 1
        visit.spare = sock
        try:
            whole = sock.send(visit.initial) == len(visit.initial)  # 6 KB into an empty socket
        except OSError:
            whole = False
        if not whole:
            self._dead_spare(visit)
            return
        self.loop.add(sock.fileno(), IN, lambda _: self._first_byte(visit))
        visit.timer = self.loop.later(FIRST_BYTE_S, lambda: self._dead_spare(visit))

    def _dead_spare(self, visit: Visit) -> None:
        assert visit.spare is not None
        _log.info("a spare was dead", extra={"agent": visit.agent_id, "att": visit.att})
        visit.timer.cancel()
        self.loop.remove(visit.spare.fileno())
        visit.spare.close()
        visit.spare = None
        if visit.tries >= TRIES:
            self._give_up(visit)
        else:
            self._next_spare(visit)

    def _first_byte(self, visit: Visit) -> None:
        """The agent answers: from here on there is nothing to try again."""
        spare = visit.spare
        assert spare is not None
        try:
            first = spare.recv(_FIRST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            first = b""
        if not first:
            self._dead_spare(visit)
            return
        self._dismiss(visit)
        self.loop.remove(spare.fileno())
        pair = Pair(self.loop, visit.att, visit.sock, spare, self._parted, self.farewells)
        pair.client.got, pair.agent.got = len(visit.initial), len(first)
        self.tally.paired += 1
        self.pairs.add(pair)
        pair.begin(first)

    def _parted(self, pair: Pair) -> None:
        if pair not in self.pairs:
            return
        self.pairs.discard(pair)
        tally, up, down = self.tally, pair.client.got, pair.agent.got
        tally.parted += 1
        tally.up += up
        tally.down += down
        seconds = round(self.loop.clock() - pair.since, 3)
        self._tell({"m": "parted", "att": pair.att, "up": up, "down": down, "seconds": seconds})

    def stats(self) -> Message:
        """What was counted and what is here now, for the broker."""
        totals = self.tally.totals()
        totals["up"] += sum(pair.client.got for pair in self.pairs)
        totals["down"] += sum(pair.agent.got for pair in self.pairs)
        parked = sum(len(spares) for spares in self.spares.values())
        return {**totals, "pairs": len(self.pairs), "visits": len(self.visits), "spares": parked}

    def _give_up(self, visit: Visit) -> None:
        self._unjoined(visit)
        self.refuse(visit.number, "again", RETRY_S)

    def _no_answer(self, visit: Visit) -> None:
        _log.warning("the broker did not answer", extra={"att": visit.att})
        self._tell({"m": "left", "a": visit.number})
        self.refuse(visit.number, "again", RETRY_S)

    # -------------------------------------------------------------------------------------- clients

    def _watch(self, visit: Visit) -> None:
        """While it waits a client is not read; only its leaving is noticed."""
        self.loop.add(visit.sock.fileno(), _LEFT, lambda _: self._left(visit))

    def _left(self, visit: Visit) -> None:
        if _has_news(visit.sock, _LEFT):
            self._left_now(visit)

    def _left_now(self, visit: Visit) -> None:
        self._dismiss(visit)
        visit.sock.close()
        if visit.spare is not None:
            self.loop.remove(visit.spare.fileno())
            visit.spare.close()
        if visit.agent_id:
            self._unjoined(visit)
        else:
            self._tell({"m": "left", "a": visit.number})

    def _dismiss(self, visit: Visit) -> None:
        """It waits no longer."""
        del self.visits[visit.number]
        self.loop.remove(visit.sock.fileno())
        if visit.timer is not None:
            visit.timer.cancel()
        waiting = self._waiting.get(visit.agent_id)
        if waiting is not None:
            if visit in waiting:
                waiting.remove(visit)
            if not waiting:
                del self._waiting[visit.agent_id]

    def _unjoined(self, visit: Visit) -> None:
        self._tell({"m": "unjoined", "a": visit.number, "agent": visit.agent_id, "att": visit.att})

    def _hush(self, sock: socket.socket) -> None:
        """Nothing genuine: not a word."""
        self.tally.silent += 1
        sock.close()

    def _say_no(self, sock: socket.socket, code: str, retry_s: float) -> None:
        self.tally.refuse(code)
        try:
            sock.send(rendezvous.refusal(code, retry_s))
        except OSError:
            pass
        self.farewells.take(sock)


def _text(body: Message, key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) and value.isascii() else ""


def _has_news(sock: socket.socket, mask: int = IN | _LEFT) -> bool:
    """An event may have been meant for the descriptor's former owner, closed in the same round."""
    probe = select.poll()
    probe.register(sock, mask)
    return bool(probe.poll(0))
