"""PMI-1, the server's side: what a member's ranks ask and are told. Knows no descriptors, no peers.

A line of ``key=value`` words each way; a request to spawn takes many. What ranks put is seen by
others after the next barrier, as PMI-1 promises, so only barriers leave the member.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple, Union

MAX_LINE_BYTES = 1 << 16  # of a request; one that spawns may have many lines
MAX_SPAWN_LINES = 1 << 16
MAX_NAME_BYTES = 256
MAX_KEY_BYTES = 64  # those that hydra says
MAX_VALUE_BYTES = 1024
MAX_PUTS_BYTES = 1 << 24  # of all of a member's ranks
MAX_SERVICES = 1 << 12  # published by all ranks of a job
NO_SPAWN = "gshell starts no further ranks"


class Answer(NamedTuple):
    """Send this to the rank."""

    rank: int
    data: bytes


class Entered(NamedTuple):
    """All ranks here wait in a barrier, and have put this since the last."""

    puts: dict[str, str]


class Aborted(NamedTuple):
    """The rank wants the job to end."""

    rank: int
    code: int
    """As it says it; a status has eight bits."""
    why: str


class Refused(NamedTuple):
    """The rank asked for something that there is not, and was told so."""

    rank: int
    what: str


class Asked(NamedTuple):
    """The rank asks what only the job knows: `Names` answers at the head."""

    rank: int
    line: str


class Broken(NamedTuple):
    """What the rank sends is not PMI-1: nothing more of it is listened to."""

    rank: int
    why: str


Action = Union[Answer, Entered, Aborted, Asked, Refused, Broken]


class _Seat:
    """A rank's connection."""

    __slots__ = ("begun", "broken", "finalized", "initialized", "spawn_lines", "waits")

    def __init__(self) -> None:
        self.begun = b""
        self.broken = False
        self.initialized = False
        self.finalized = False
        self.waits = False  # in a barrier
        self.spawn_lines = 0  # of a request of many lines, so far


class Server:
    """Ranks ``first`` .. ``first + tasks - 1`` of ``size``; ``rank`` here counts from 0.

    Invariant: a barrier is entered once all ranks wait, and left once ``leave`` is called.
    """

    def __init__(
        self, name: str, layout: Sequence[int], index: int, facts: dict[str, str] | None = None
    ) -> None:
        """``facts``: more that every rank finds in the key-value space."""
        self.name = name
        self.size = sum(layout)
        self.first = sum(layout[:index])
        self._seats = [_Seat() for _ in range(layout[index])]
        self._space = dict(facts or {})
        mapping = process_mapping(layout)
        if len(mapping) < MAX_VALUE_BYTES:  # else ranks find out by asking each other
            self._space["PMI_process_mapping"] = mapping
        self._puts: dict[str, str] = {}
        self._puts_bytes = 0
        self._do = {
            "init": self._init,
            "get_maxes": self._get_maxes,
            "get_appnum": self._get_appnum,
            "get_universe_size": self._get_universe_size,
            "get_my_kvsname": self._get_my_kvsname,
            "put": self._put,
            "get": self._get,
            "getbyidx": self._get_by_index,
            "barrier_in": self._barrier_in,
            "finalize": self._finalize,
            "abort": self._abort,
        }

    def initialized(self, rank: int) -> bool:
        return self._seats[rank].initialized

    def unfinished(self, rank: int) -> bool:
        """Does it take part in MPI, and has not said that it is done?"""
        seat = self._seats[rank]
        return seat.initialized and not seat.finalized

    def receive(self, rank: int, data: bytes) -> list[Action]:
        """Bytes of a rank, cut anywhere."""
        seat = self._seats[rank]
        *lines, seat.begun = (seat.begun + data).split(b"\n")
        actions: list[Action] = []
        for line in lines:
            actions += self._line(rank, seat, line)
        if len(seat.begun) > MAX_LINE_BYTES:
            actions += self._break(rank, "a line without an end")
        return actions

    def answer(self, rank: int, line: str) -> list[Action]:
        """What the head says to a question."""
        return [_say(rank, line)] if 0 <= rank < len(self._seats) else []

    def leave(self, puts: dict[str, str]) -> list[Action]:
        """All ranks of the job were in the barrier; ``puts`` is what those elsewhere have put."""
        self._space.update(self._puts)
        self._space.update(puts)
        self._puts = {}
        actions: list[Action] = []
        for rank, seat in enumerate(self._seats):
            if seat.waits:
                seat.waits = False
                actions.append(_say(rank, "cmd=barrier_out rc=0"))
        return actions

    # -- lines

    def _line(self, rank: int, seat: _Seat, line: bytes) -> list[Action]:
        if seat.broken:
            return []
        text = line.decode("utf-8", "surrogateescape").strip(" \r")
        if seat.spawn_lines:
            return self._spawn_line(rank, seat, text)
        if not text:
            return []
        if text.startswith("mcmd="):
            seat.spawn_lines = 1
            return []
        words = parse(text)
        command = words.get("cmd", "")
        do = self._do.get(command)
        if do is not None:
            return do(rank, words)
        if command in Names.COMMANDS:
            return [Asked(rank, text)]
        if command == "spawn":
            return self._refuse_spawn(rank)
        if not command:
            return self._break(rank, "no command")
        return [_say(rank, f"cmd={command}_result rc=-1 msg=unknown_command")]

    def _spawn_line(self, rank: int, seat: _Seat, text: str) -> list[Action]:
        seat.spawn_lines += 1
        if text == "endcmd":
            seat.spawn_lines = 0
            return self._refuse_spawn(rank)
        if seat.spawn_lines > MAX_SPAWN_LINES:
            return self._break(rank, "a request without an end")
        return []

    def _refuse_spawn(self, rank: int) -> list[Action]:
        answer = f"cmd=spawn_result rc=-1 msg={NO_SPAWN.replace(' ', '_')}"
        return [_say(rank, answer), Refused(rank, "spawn")]

    def _break(self, rank: int, why: str) -> list[Action]:
        seat = self._seats[rank]
        seat.broken = True
        seat.begun = b""
        return [Broken(rank, why)]

    # -- commands

    def _init(self, rank: int, words: dict[str, str]) -> list[Action]:
        version = words.get("pmi_version", "1")
        if version != "1":  # it falls back to what we have, or says so
            return [_say(rank, "cmd=response_to_init rc=-1 pmi_version=1 pmi_subversion=1")]
        self._seats[rank].initialized = True
        return [_say(rank, "cmd=response_to_init rc=0 pmi_version=1 pmi_subversion=1")]

    def _get_maxes(self, rank: int, words: dict[str, str]) -> list[Action]:
        limits = f"kvsname_max={MAX_NAME_BYTES} keylen_max={MAX_KEY_BYTES}"
        return [_say(rank, f"cmd=maxes rc=0 {limits} vallen_max={MAX_VALUE_BYTES}")]

    def _get_appnum(self, rank: int, words: dict[str, str]) -> list[Action]:
        return [_say(rank, "cmd=appnum rc=0 appnum=0")]

    def _get_universe_size(self, rank: int, words: dict[str, str]) -> list[Action]:
        return [_say(rank, f"cmd=universe_size rc=0 size={self.size}")]

    def _get_my_kvsname(self, rank: int, words: dict[str, str]) -> list[Action]:
        return [_say(rank, f"cmd=my_kvsname rc=0 kvsname={self.name}")]

    def _put(self, rank: int, words: dict[str, str]) -> list[Action]:
        key, value = words.get("key", ""), words.get("value", "")
        grown = self._puts_bytes + len(key) + len(value)
        fits = 0 < len(key) <= MAX_NAME_BYTES and len(value) <= MAX_VALUE_BYTES
        if not fits or grown > MAX_PUTS_BYTES:
            return [_say(rank, "cmd=put_result rc=-1 msg=no_room")]
        self._puts_bytes = grown
        self._puts[key] = value
        return [_say(rank, "cmd=put_result rc=0 msg=success")]

    def _get(self, rank: int, words: dict[str, str]) -> list[Action]:
        key = words.get("key", "")
        value = self._puts.get(key, self._space.get(key))
        if value is None:
            return [_say(rank, "cmd=get_result rc=-1 msg=key_not_found value=unknown")]
        return [_say(rank, f"cmd=get_result rc=0 msg=success value={value}")]

    def _get_by_index(self, rank: int, words: dict[str, str]) -> list[Action]:
        index = words.get("idx", "")
        if index.isascii() and index.isdigit() and int(index[:9]) < len(self._space):
            at = int(index)
            key, value = next(itertools.islice(self._space.items(), at, None))
            return [_say(rank, f"cmd=getbyidx_results rc=0 nextidx={at + 1} key={key} val={value}")]
        return [_say(rank, "cmd=getbyidx_results rc=-2 reason=no_more_keyvals")]

    def _barrier_in(self, rank: int, words: dict[str, str]) -> list[Action]:
        self._seats[rank].waits = True
        if not all(seat.waits for seat in self._seats):
            return []
        return [Entered(dict(self._puts))]

    def _finalize(self, rank: int, words: dict[str, str]) -> list[Action]:
        self._seats[rank].finalized = True
        return [_say(rank, "cmd=finalize_ack rc=0")]

    def _abort(self, rank: int, words: dict[str, str]) -> list[Action]:
        code = words.get("exitcode", "")
        digits = code[1:] if code.startswith("-") else code
        number = int(code) if digits.isascii() and digits.isdigit() and len(digits) < 12 else 1
        return [Aborted(rank, number, words.get("message", ""))]


class Names:
    """The job's services by name, kept by the head."""

    COMMANDS = frozenset({"publish_name", "unpublish_name", "lookup_name"})

    def __init__(self) -> None:
        self._ports: dict[str, str] = {}

    def ask(self, line: str) -> str:
        """The line that answers a rank's."""
        words = parse(line)
        service, port = words.get("service", ""), words.get("port", "")
        command = words.get("cmd", "")
        if command == "publish_name":
            if not service or service in self._ports or len(self._ports) >= MAX_SERVICES:
                return "cmd=publish_result rc=-1 info=failed msg=cannot_be_published"
            self._ports[service] = port
            return "cmd=publish_result rc=0 info=ok"
        known = self._ports.get(service)
        answer = "cmd=lookup_result" if command == "lookup_name" else "cmd=unpublish_result"
        if known is None:
            return f"{answer} rc=-1 info=failed msg=service_not_found"
        if command == "lookup_name":
            return f"{answer} rc=0 info=ok port={known}"
        del self._ports[service]
        return f"{answer} rc=0 info=ok"


def _say(rank: int, text: str) -> Answer:
    return Answer(rank, text.encode("utf-8", "surrogateescape") + b"\n")


def parse(line: str) -> dict[str, str]:
    """A line's words; a value is all up to the next blank, but the last value of a ``put`` is all
    that is left.

    >>> parse("cmd=put kvsname=k key=a value=x y=z")
    {'cmd': 'put', 'kvsname': 'k', 'key': 'a', 'value': 'x y=z'}
    """
    words: dict[str, str] = {}
    rest = line
    while rest:
        name, equals, rest = rest.partition("=")
        name = name.strip(" ")
        if not equals:
            break
        if name == "value" and words.get("cmd") == "put":
            words[name] = rest
            break
        words[name], _, rest = rest.partition(" ")
    return words


def process_mapping(layout: Sequence[int]) -> str:
    """Which ranks share a node, as MPICH reads it: (first node, nodes, ranks on each) in turn.

    >>> process_mapping([4, 4, 2])
    '(vector,(0,2,4),(2,1,2))'
    """
    blocks: list[str] = []
    node = 0
    for tasks, members in itertools.groupby(layout):
        count = len(list(members))
        blocks.append(f"({node},{count},{tasks})")
        node += count
    return f"(vector,{','.join(blocks)})"


def environment(rank: int, size: int, local: int, local_size: int, host: str) -> dict[str, str]:
    """Of a rank, as hydra sets it, without what names the connection."""
    return {
        "PMI_RANK": str(rank),
        "PMI_SIZE": str(size),
        "PMI_HOSTNAME": host,
        "MPI_LOCALRANKID": str(local),
        "MPI_LOCALNRANKS": str(local_size),
        "GFORTRAN_UNBUFFERED_PRECONNECTED": "y",
    }
