"""Fuzz targets: what ranks of MPI say to their agent, and the agents of one job to each other."""

from __future__ import annotations

import atexit
import json
import socket
from typing import Any

from property.fuzz import Luck, Target
from property.fuzz_nowhere import OWNER
from property.fuzz_values import LUCK, fields

from gshell.agent import claims
from gshell.agent.claims import Claims
from gshell.agent.session import Session
from gshell.agent.spec import StepSpec
from gshell.mpi import pmi
from gshell.net.loop import Loop


def pmi_bytes(data: bytes) -> None:
    """However a rank's bytes are cut, the same is done; and nothing comes after what is broken."""
    cut, data = data[:1], data[1:]
    whole = pmi.Server("kvs_1", [2, 1], 0)
    actions = whole.receive(1, data)
    step = 1 + (cut[0] if cut else 0)
    pieces = pmi.Server("kvs_1", [2, 1], 0)
    again = [a for at in range(0, len(data), step) for a in pieces.receive(1, data[at : at + step])]
    if len(data) < pmi.MAX_LINE_BYTES:
        assert actions == again
    names = pmi.Names()
    for action in actions:
        if isinstance(action, pmi.Answer):
            assert action.data.endswith(b"\n")
            assert action.data.count(b"\n") == 1
        elif isinstance(action, pmi.Asked):
            assert "\n" not in names.ask(action.line)
    if any(isinstance(action, pmi.Broken) for action in actions):
        assert isinstance(actions[-1], pmi.Broken)


class _Peers:
    """The way to the other members, which goes nowhere."""

    def attach(self, on_body: Any) -> None: ...

    def tell(self, index: int, body: dict[str, Any]) -> None:
        json.dumps(body)


class _NoRanks(Session):
    """A session that starts nothing."""

    def start_rank(self, rank: Any, spec: StepSpec, **more: Any) -> None:
        rank.exited, rank.code = True, 126


BODY_NAMES = (
    "t", "host", "tasks", "machine", "cpus", "door", "way", "flavour", "hosts", "key", "error", "puts",
    "rank", "code", "why", "line", "signal", "id", "argv", "fd", "data", "end", "sig", "env", "names",
    "daemons", "doors",
)  # fmt: skip
BODIES = (
    "here", "plan", "in", "out", "gone", "ask", "answer", "abort", "exec-data", "exec-exit", "signal",
    "over", "none",
)  # fmt: skip
_claims = Claims(Loop())
atexit.register(_claims.close)


def mpi_bodies(data: bytes) -> None:
    """What other members may say: refused with an error that the agent expects, or it makes sense;
    a status that comes of it is one."""
    luck = Luck(data)
    session = _NoRanks(OWNER, "1", luck.number(2), 2, "u")  # type: ignore[arg-type]
    session.claims, session.peers = _claims, _Peers()  # type: ignore[assignment]
    flavour = luck.choice(("mpich", "openmpi"))
    first = session.index
    spec = StepSpec.parse({"argv": ["/nowhere"], "tasks": 1, "first": first, "size": 2,
                           "extra_env": {"PATH": "/nowhere"}, "mpi": {"layout": [1, 1], "flavour": flavour}})  # fmt: skip
    session.start(spec)
    assert session.mpi is not None
    while luck.left and session.state == "running":
        body = {**fields(luck, BODY_NAMES), "t": luck.choice(BODIES)}
        if body["t"] == "plan" and luck.number(2):
            body = {"hosts": ["a", "b"], "way": luck.choice(("pmi", "launch")), **body}
        body["argv"] = ["/nowhere"]
        try:
            session.mpi.on_peer(luck.number(2), body)
        except (ValueError, TypeError, KeyError):  # as `Uplink` takes them
            pass
    assert 0 <= session.code < 256
    session.fail(1, "", None)
    assert session.state == "ended"
    assert not _claims._doors


class _Door:
    """An MPI job that takes what makes sense."""

    def claim(self, request: claims.Request) -> None:
        assert request.rank >= 0
        assert request.size >= 0

    def remote(self, host: str, command: str, shell: claims.RemoteShell) -> bool:
        return False


def claim_packets(data: bytes) -> None:
    """What comes to the socket for ranks, with and without the key."""
    luck = Luck(data)
    place = Claims(Loop())
    key = b"k" * 32
    place._doors[key.decode()] = _Door()
    words = [b"rank", b"rsh", key, b"", b"0", b"-1", b"9" * 30, b"/", b"\xff", b"x"]
    try:
        while luck.left:
            packet = b"\0".join(luck.choice(words) for _ in range(luck.number(8)))
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                theirs.send(packet)
                if luck.number(2):
                    theirs.shutdown(socket.SHUT_RD)
                timer = place._loop.later(99, lambda: None)
                place._asking[ours.fileno()] = ours, timer
                place._loop.add(ours.fileno(), 1, lambda mask: None)
                place._asked(ours, 1)
            assert not place._asking
            assert ours.fileno() < 0
    finally:
        place._loop.close()


_PMI = [
    b"\5cmd=init pmi_version=1 pmi_subversion=1\ncmd=get_maxes\ncmd=get_universe_size\ncmd=get_appnum\n",
    b"\7cmd=put kvsname=kvs_1 key=a value=b c=d\ncmd=get kvsname=kvs_1 key=a\ncmd=getbyidx idx=0\n",
    b"\1cmd=barrier_in\ncmd=finalize\ncmd=abort exitcode=3\n",
    b"\2mcmd=spawn\nnprocs=1\nexecname=x\nendcmd\ncmd=publish_name service=a port=b\ncmd=lookup_name service=a\n",
]


TARGETS = [
    Target("pmi", pmi_bytes, _PMI),
    Target("mpi-bodies", mpi_bodies, LUCK),
    Target("claim-packets", claim_packets, LUCK),
]  # fmt: skip
