"""Who may cost the door how much before it is known who they are. Decides; knows no socket and no
clock.

A stranger is a connection that has not shown who it is. When there are too many, the oldest of the
*source* with the most of them goes: a flood from one address drowns nobody's handshake but its
own. (MaxStartups' random refusal would hit everybody alike. An honest stranger is one for a few
milliseconds: the oldest hardly ever is honest.) What strangers waste is counted against their
source; a source from which somebody is known is never shut out, whatever its others do.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Callable

STRANGERS = 1024  # at once; with a TLS handshake under way each costs about 30 KiB
PER_SOURCE = 512  # of one address; a site of 500 agents behind one fits
DEADLINE_S = 10.0  # from the connection to who it is
HELLOS_A_ROUND = (
    4  # TLS handshakes begun in one round of the loop, 2 ms each: keystrokes pass between
)
KNOWN_S = 60.0  # somebody was known there: no penalties for so long, renewed while they are there

# Penalties, in seconds. They add up; shut out is who owes ENFORCED_S, until it is paid by waiting.
GARBAGE = 1.0  # what came was no request, or not a genuine one
TOO_SLOW = 2.0  # said nothing that counts until the deadline
CROWDED = 0.1  # had to go earlier, for others' sake: little, it may have been honest
REFUSED = 5.0  # an invite that is none: somebody guesses
ENFORCED_S = 15.0  # a mistyped invite or a scanner's three attempts do not shut anybody out
MOST_S = 300.0
SOURCES = 4096  # remembered; beyond that who owes the least is forgotten


def source_of(family_is_inet6: bool, host: str) -> str:
    """What counts as one source: an IPv4 address, the /64 of an IPv6 one."""
    if not family_is_inet6:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(address) >> 64 << 64)) + "/64"


class _Source:
    __slots__ = ("keys", "known_until", "owes_until", "shut")

    def __init__(self) -> None:
        self.keys: dict[int, None] = {}  # its strangers, oldest first
        self.owes_until = self.known_until = float("-inf")
        self.shut = False


class Limits:
    """All strangers by key, and what their sources have done.

    The source ``""`` is a local process (a unix socket): it never owes anything.
    """

    def __init__(self) -> None:
        self._sources: dict[str, _Source] = {}
        self._crowds: dict[str, _Source] = {}  # of these, those with strangers
        self._strangers: dict[int, tuple[str, float]] = {}  # key -> source, deadline; by arrival
        self._keys = 0
        self.shut_out = 0  # refused at the door, ever

    def __len__(self) -> int:
        return len(self._strangers)

    @property
    def sources(self) -> int:
        return len(self._sources)

    # ------------------------------------------------------------------------------------ strangers

    def may_come(self, source: str, now: float) -> bool:
        """Whether a connection from there is looked at."""
        it = self._sources.get(source)
        if it is None or not it.shut or it.known_until > now:
            return True
        if it.owes_until > now:
            self.shut_out += 1
            return False
        it.shut = False
        return True

    def arrive(self, source: str, now: float) -> int:
        """A new stranger; its key. Ask `too_many` afterwards."""
        self._keys += 1
        self._strangers[self._keys] = (source, now + DEADLINE_S)
        it = self._crowds[source] = self._of(source)
        it.keys[self._keys] = None
        return self._keys

    def too_many(self, source: str) -> int:
        """The stranger that has to go so that there is room for this one's; 0: none."""
        keys = self._sources[source].keys
        if source and len(keys) > PER_SOURCE:
            return next(iter(keys))
        if len(self._strangers) > STRANGERS:
            crowd = max(self._crowds.values(), key=lambda it: len(it.keys))
            return next(iter(crowd.keys))
        return 0

    def overdue(self, now: float) -> int:
        """A stranger whose time is up; 0: none."""
        key = next(iter(self._strangers), 0)
        return key if key and self._strangers[key][1] <= now else 0

    def next_deadline(self) -> float | None:
        key = next(iter(self._strangers), 0)
        return self._strangers[key][1] if key else None

    def any_stranger(self) -> int:
        return next(iter(self._strangers), 0)

    # --------------------------------------------------------------------------- what became of it

    def gone(self, key: int, now: float, penalty: float = 0.0) -> None:
        """No stranger any more: handed on, left, or ended with that penalty."""
        source, _ = self._strangers.pop(key, ("", 0.0))
        it = self._sources.get(source)
        if it is not None:
            it.keys.pop(key, None)
            if not it.keys:
                self._crowds.pop(source, None)
            if penalty:
                self.blame(source, penalty, now)
            else:
                self._forget(source, it, now)

    def known(self, source: str, now: float) -> None:
        """Somebody there has shown who they are, or still is who they were."""
        it = self._of(source)
        it.known_until = now + KNOWN_S
        it.owes_until = float("-inf")
        it.shut = False

    def blame(self, source: str, penalty: float, now: float) -> None:
        """A stranger from there has wasted our time."""
        it = self._of(source)
        if source and it.known_until <= now:
            it.owes_until = min(max(it.owes_until, now) + penalty, now + MOST_S)
            it.shut = it.shut or it.owes_until - now >= ENFORCED_S

    # -------------------------------------------------------------------------------------- memory

    def _of(self, source: str) -> _Source:
        it = self._sources.get(source)
        if it is None:
            if len(self._sources) >= SOURCES:
                idle = [(s.owes_until, name) for name, s in self._sources.items() if not s.keys]
                for _, name in sorted(idle)[: SOURCES // 8 or 1]:
                    del self._sources[name]
            it = self._sources[source] = _Source()
        return it

    def _forget(self, source: str, it: _Source, now: float) -> None:
        if not it.keys and it.owes_until <= now and it.known_until <= now:
            self._sources.pop(source, None)


class Turns:
    """Who waits for something that costs, by source: each source in turn, so that one with a
    thousand waits for its own."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Callable[[], None]]] = {}

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._waiting.values())

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, source: str, call: Callable[[], None]) -> None:
        self._waiting.setdefault(source, deque()).append(call)

    def take(self, most: int) -> list[Callable[[], None]]:
        """The next, at most so many."""
        calls: list[Callable[[], None]] = []
        while self._waiting and len(calls) < most:
            source = next(iter(self._waiting))
            queue = self._waiting.pop(source)
            calls.append(queue.popleft())
            if queue:
                self._waiting[source] = queue  # behind the others
        return calls
