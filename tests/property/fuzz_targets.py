"""What `fuzz.py` feeds: one target for each parser, with what it may raise and what must hold."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import socket
import tempfile
import time
from typing import Any

from property import fuzz_replay, fuzz_wire
from property.fuzz import Luck, Target

from gshell.agent import claims, gloginwords
from gshell.agent.agent import Agent
from gshell.agent.attachment import Attachment
from gshell.agent.claims import Claims
from gshell.agent.files import Service
from gshell.agent.session import Session
from gshell.agent.slots import Facts
from gshell.agent.spec import StepSpec
from gshell.cli import commands, helppages, values
from gshell.cli import plan as plans
from gshell.client import background, forwardspec, render
from gshell.client.conversation import Dialler
from gshell.client.fileget import Get
from gshell.client.plan import Plan, Surroundings
from gshell.client.run import Runner
from gshell.errors import GshellError, RemoteProtocolError, UsageError
from gshell.jdl import glue, steps
from gshell.jdl import job as jdl
from gshell.jdl.errors import JdlError
from gshell.jdl.matching import names
from gshell.jdl.parse import parse_expression
from gshell.jdl.syntax import write
from gshell.model import vt
from gshell.model.sanitize import sanitize, sanitize_all
from gshell.model.ticket import Ticket
from gshell.mpi import pmi
from gshell.net import address, control, filewire, handshake, mux, relaylink, rendezvous, socks, x11
from gshell.net.loop import Loop
from gshell.net.place import Place, Quota
from gshell.sweep.treeput import Staging
from gshell.wire import frames, peer
from kit import hostile
from kit.broker import BrokerBench
from relay import auth
from relay.broker import events
from relay.broker.verbs import VERBS
from relay.door.sane import shallow

A = "a" * 32
PLAIN = (
    None, True, False, 0, 1, 2, -1, 64, 1 << 40, 10**40, -(10**40), 0.5, float("nan"), float("inf"),
    "", "1", "2", "x", "\ud800", "\0", A, "b" * 32, "n1", "g", "open", "attach", "resume", "rw", "r",
    "busy", "draining", "gone", "ended", "running", "9" * 15, "../../x", "INT", "KILL", "TERM", "3",
    "start", "\x1b[2J", "1b5b3f32356c", "=", "A=b", "/", "sh", "on",
)  # fmt: skip


def value(luck: Luck, names: tuple[str, ...], depth: int = 3) -> Any:
    """A JSON value."""
    kind = luck.number(8)
    if kind == 0 and depth:
        return [value(luck, names, depth - 1) for _ in range(luck.number(4))]
    if kind == 1 and depth:
        return fields(luck, names, depth - 1)
    return luck.choice(PLAIN)


def fields(luck: Luck, names: tuple[str, ...], depth: int = 3) -> dict[str, Any]:
    return {luck.choice(names): value(luck, names, depth) for _ in range(luck.number(10))}


def wire_bytes(data: bytes) -> None:
    if data:
        fuzz_wire.attack(data[1:], bool(data[0] & 1), 1 + (data[0] >> 2), bool(data[0] & 2))


def control_bytes(data: bytes) -> None:
    luck = Luck(data)
    decoder = control.ControlDecoder(1 << 16)
    try:
        for chunk in luck.chunks():
            for message in decoder.feed(chunk):
                if shallow(message):
                    control.encode(message)
                safe = sanitize_all(message)
                assert sanitize_all(safe) == safe
                control.encode(safe)
            assert len(decoder._buffer) <= (1 << 16) + 4
    except RemoteProtocolError:
        pass


def preamble(data: bytes) -> None:
    try:
        parsed = rendezvous.parse(data)
    except RemoteProtocolError:
        parsed = None
    if parsed is not None:
        assert parsed.size <= len(data)
        assert not parsed.genuine(b"k" * 32)
        shallow(parsed.body)
    code, after = rendezvous.parse_refusal(data)
    assert isinstance(code, str)
    assert 0 <= after <= 60


def ticket(data: bytes) -> None:
    try:
        found = Ticket.load(data.decode("utf-8", "replace"), "here")
    except UsageError:
        return
    bytes.fromhex(found.mac_key)
    for shown in (found.user, found.agent_id, *found.relays):
        assert sanitize(shown) == shown
    assert len(found.key) < 12 or found.key not in repr(found)


def job_description(data: bytes) -> None:
    """Neither a description nor an expression; the library that computes is not asked."""
    text = data.decode("utf-8", "replace")
    try:
        found = jdl.read(text, "f")
        for request in steps.requests(found, lambda word: [word]):
            json.dumps(request.message)
    except JdlError as error:
        render.error_text(error).encode()
    try:
        expr = parse_expression(text)
    except JdlError:
        return
    assert parse_expression(write(expr)) == expr
    for name in names(expr):
        glue.fact(name.low, {"ad": {"queues": [{}]}})


def invite(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for read in (relaylink.parse_invite, address.split):
        try:
            read(text)
        except UsageError as error:
            render.error_text(error).encode()


BROKER_NAMES = (
    "id", "job", "index", "att", "size", "tasks", "group", "agent", "warm", "rights", "sig", "spec",
    "n", "ids", "all", "on", "boot", "slots", "tags", "sessions", "state", "atts", "at", "code",
    "signal", "error", "started_at", "ended_at", "message", "attached", "watchers", "op", "share",
    "user", "role", "what", "token", "uses", "seconds", "to", "until", "live", "k", "host", "cpus",
)  # fmt: skip
AGENT_WORDS = (
    "peer",
    "hello",
    "started",
    "ended",
    "refused",
    "unused",
    "watchers",
    "bye",
    "novelty",
)
_broker: list[Any] = []


def broker(data: bytes) -> None:
    """Verbs, reports and joins of one bench, with somebody else's job beside them."""
    if not _broker or _broker[0] >= 200:
        bench = BrokerBench()
        bench.running(A, user="alice")
        _broker[:] = [0, bench, bench.client("mallory"), bench.agent("m1", user="mallory")]
    bench, client, agent = _broker[1:]
    _broker[0] += 1
    luck = Luck(data)
    while luck.left:
        kind = luck.number(4)
        said = fields(luck, BROKER_NAMES)
        if kind == 0:
            word = luck.choice([*sorted(VERBS), "hello", value(luck, BROKER_NAMES)])
            bench.feed(events.Said(client, {**said, "m": word}))
        elif kind == 1:
            bench.feed(events.Said(agent, {**said, "m": luck.choice(AGENT_WORDS)}))
        elif kind == 2:
            ask = events.AskId("door0", next(bench.numbers))
            op = luck.choice(("open", "open", "attach", "resume", None))
            bench.feed(
                events.Asked(ask, "mallory", {"att": luck.choice((A, "b" * 32)), **said, "op": op})
            )
        else:
            bench.after(luck.number(20))
        if agent in bench.closed or client in bench.closed:
            _broker[0] = 1 << 30  # thrown out: another bench next time
            break
    job = bench.job(1)
    assert job["state"] == "ACTIVE", job
    assert job["agents"] == ["n1"], job
    bench.inbox.clear()
    bench.verdicts.clear()


SPEC_NAMES = (
    "argv", "shell", "env", "extra_env", "cwd", "home", "where", "pty", "tasks", "first", "size",
    "name", "umask", "keep", "timeout_s", "announce", "mpi", "layout", "input", "options",
)  # fmt: skip


def spec(data: bytes) -> None:
    luck = Luck(data)
    message = {"argv": ["sh"], **fields(luck, SPEC_NAMES)}
    try:
        found = StepSpec.parse(message)
    except RemoteProtocolError:
        return
    assert 1 <= found.tasks <= 4096
    assert all(isinstance(word, str) for word in found.argv)
    assert found.pty is None or all(0 <= side <= 0xFFFF for side in found.pty)


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
    session = _NoRanks(_owner, "1", luck.number(2), 2, "u")  # type: ignore[arg-type]
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


def terminal(data: bytes) -> None:
    """However output is cut, the same modes; and what is left out stays out."""
    luck = Luck(data)
    pieces = list(luck.chunks())
    whole = b"".join(pieces)
    one, cut = vt.ModeTracker(), vt.ModeTracker()
    one.feed(whole)
    live, at_once = vt.LiveFilter(strict=True), vt.LiveFilter(strict=True)
    shown = b""
    for piece in pieces:
        cut.feed(piece)
        shown += live.feed(piece)
        assert len(live._held) <= vt._HELD_BYTES
    assert (one.prelude(), one.reset(), one.title) == (cut.prelude(), cut.reset(), cut.title)
    assert vt.check_prelude(one.prelude()) == one.prelude()
    end = b"\x1b\\"
    if len(whole) < vt._HELD_BYTES:
        assert shown + live.feed(end) == at_once.feed(whole) + at_once.feed(end)
    past = vt.filter_history(whole + end)
    assert vt.filter_history(past) == past
    assert b"\x1b[6n" not in past
    assert b"\x1b]52;" not in past
    assert 0 <= vt.safe_start(whole) <= len(whole)


def text(data: bytes) -> None:
    said = data.decode("utf-8", "surrogateescape")
    shown = sanitize(said)
    assert sanitize(shown) == shown
    assert shown.splitlines() in ([], [shown])
    shown.encode()
    assert all(char.isprintable() for char in shown)
    width = data[0] if data else 0
    assert len(sanitize(said, width)) <= max(width * 6, 0)


HERE = Surroundings(env={}, cwd="/", umask=0o22, where="m", stdin_tty=True, stdout_tty=False)
VALUES = (values.whole_number, values.parse_duration, values.parse_walltime, values.parse_size,
          values.parse_signal, values.parse_env)  # fmt: skip


def command_line(data: bytes) -> None:
    words = [word.decode("utf-8", "surrogateescape") for word in data.split(b"\0")]
    try:
        parsed = commands.read(words)
        if parsed.command.name in ("run", "sh", "attach", "logs"):
            plans.make(parsed, HERE)
        elif parsed.command.name == "help":
            helppages.help_page(parsed.words)
    except UsageError as error:
        shown = render.error_text(error)
        assert "\x1b" not in shown
        shown.encode()
    for read in VALUES:
        try:
            read(words[0])
        except (ValueError, UsageError):
            pass


class _Behind:
    """As much of a Background as a Front asks for."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.fronts: set[Any] = set()
        self.asked = 0

    def plan_of(self, argv: list[str], here: Surroundings) -> None:
        self.asked += 1

    def gone(self, front: Any) -> None:
        self.fronts.discard(front)


class _Running:
    """As much of a Runner as a Front's lines reach."""

    in_terminal = False

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def front(data: bytes) -> None:
    """What a front process says: the handover, and its lines."""
    luck = Luck(data)
    behind = _Behind()
    ours, theirs = socket.socketpair()
    made = background.Front(behind, ours)  # type: ignore[arg-type]
    behind.fronts.add(made)
    try:
        if luck.number(2):
            made._runner = _Running()  # type: ignore[assignment]
        for chunk in luck.chunks():
            if made not in behind.fronts:
                break
            theirs.send(chunk[:4096])
            made._on_event(1)
        assert len(made._data) <= background.MAX_HANDOVER_BYTES + (1 << 17)
    finally:
        made._deadline.cancel()
        made._close()
        theirs.close()
        behind.loop.close()


@functools.cache
def _tickets() -> tuple[Ticket, Ticket]:
    """A client's and an agent's, of a relay that is nowhere."""
    state = tempfile.mkdtemp(prefix="gsh-fuzz-")
    atexit.register(shutil.rmtree, state, ignore_errors=True)
    auth.ensure(state)
    found = []
    for kind, uri in (("client", "gshell:user:u"), ("agent", "gshell:agent:u:a")):
        made = auth.issue(state, uri, agent=kind == "agent")
        found.append(Ticket(kind, "u", "a" if kind == "agent" else "", [f"unix:{state}/none"],
                            auth.pin(state), auth.ca_text(state), made.cert, made.key, "k", "00" * 32))  # fmt: skip
    return found[0], found[1]


class _Link:
    """A link that takes everything."""

    closed = paused = False
    room = True
    first = None
    unsent = 0
    tls = None

    def __init__(self) -> None:
        self.sent = 0

    def send(self, data: bytes) -> None:
        self.sent += len(data)

    def pause(self, paused: bool) -> None: ...

    def close(self) -> None:
        self.closed = True


RELAY_NAMES = (
    "m", "att", "job", "index", "size", "user", "owner", "rights", "op", "until", "share", "cred",
    "sig", "spec", "on", "code", "message", "park_key", "spares", "now", "atts", "why", "argv",
    "from", "to", "seq", "ok", "body", "attempt",
)  # fmt: skip
TO_AGENT = (
    "expect", "unexpect", "revoke", "start", "signal", "ended-ok", "drain", "error", "welcome", "ping",
    "cancel", "none", "peer", "peer-no",
)  # fmt: skip
_agents: list[Any] = []


def _no_room(agent: Agent, session: Session, spec: StepSpec) -> None:
    assert session.job.isdigit(), "it is part of file names"
    assert 0 <= session.index < session.size
    agent._drop(session)


def agent_of_relay(data: bytes) -> None:
    """An agent whose relay talks nonsense lives on, and starts nothing that it did not understand."""
    if not _agents or _agents[0] >= 100:
        if _agents:
            _agents[1].loop.close()
        made = Agent(Loop(), _tickets()[1], Facts(4, []), "0")
        made.admit = functools.partial(_no_room, made)  # type: ignore[method-assign]
        _agents[:] = [0, made]
    _agents[0] += 1
    agent = _agents[1]
    luck = Luck(data)
    uplink = agent._uplink
    while luck.left:
        message = {
            "job": "1", "index": 0, "size": 1, "user": "u", "att": A, "op": "open", "rights": "rw",
            "spec": {"argv": ["x"]},
            **fields(luck, RELAY_NAMES), "m": luck.choice(TO_AGENT),
        }  # fmt: skip
        try:
            uplink.link_data(_Link(), [control.encode(message)])
        except RemoteProtocolError:
            pass
        for session in agent.steps.by_key.values():
            assert session.job.isdigit()
    agent.hello()
    assert len(agent.entrance._expects) < 5000
    agent.done = None
    uplink.welcomed = False


CLIENT_NAMES = (
    "t", "rows", "cols", "sig", "argv", "env", "pty", "tasks", "size", "first", "name", "timeout_s",
    "since", "steal", "secret", "op", "have", "stopped", "v", "ranks", "beside_rank", "mpi",
)  # fmt: skip
TO_SESSION = ("open", "resize", "redraw", "signal", "cancel", "steal", "ranks", "none")
RANKS = ("all", "none", "0", "0-1", "5-2", "0-99999999999", "-", ",", "1,1,1", "²", " 1 , 0 ", "x")


class _Owner:
    disk = None

    def __init__(self) -> None:
        self.loop = Loop()
        self.admitted = 0

    def admit(self, session: Session, spec: StepSpec) -> None:
        self.admitted += 1

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


_owner = _Owner()


def agent_of_client(data: bytes) -> None:
    """A client's words at the agent: a rule broken ends the link, nothing else happens."""
    luck = Luck(data)
    session = Session(_owner, "1", 0, 1, "u")  # type: ignore[arg-type]
    probe = peer.Peer(client=False)
    attachment = Attachment(session, A, "u", luck.choice(("rw", "r")), probe)
    session.add(attachment)
    link = _Link()
    attachment.since = value(luck, CLIENT_NAMES)
    try:
        ranks = luck.choice((*RANKS, value(luck, CLIENT_NAMES)))
        attachment.wants_ranks({"ranks": ranks, "op": luck.choice(("open", "attach"))})
    except RemoteProtocolError:
        pass
    greeting = frames.encode(frames.Hello({"v": 1, "have": {"0": [0, 0, 1 << 20]}}))
    hello = next(e for e in probe.receive(greeting) if isinstance(e, peer.Greeted))
    attachment.join(link, hello.message, probe)  # type: ignore[arg-type]
    at = 0
    try:
        while luck.left:
            message = {**fields(luck, CLIENT_NAMES), "t": luck.choice(TO_SESSION)}
            line = json.dumps(message).encode() + b"\n"
            attachment.link_data(link, [frames.data_head(0, at, len(line), False) + line])  # type: ignore[arg-type]
            at += len(line)
    except RemoteProtocolError:
        pass
    session.forget()


AGENT_NAMES = (
    "t", "rank", "code", "signal", "core", "final", "error", "stream", "on", "prelude", "text", "job",
    "index", "size", "state", "writer", "pty", "tasks", "name", "start", "live", "v", "have", "0", "3",
    "4", "7", "stopped", "timed_out", "-1", "x",
)  # fmt: skip
TO_CLIENT = ("exit", "starved", "writer", "modes", "notice", "started", "none")


class _Port:
    runner = None

    def raw(self) -> bool:
        return True

    def size(self) -> tuple[int, int]:
        return 24, 80

    def reset(self) -> bytes:
        return b""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


@functools.cache
def _dialler() -> Dialler:
    made = Dialler(Loop(), _tickets()[0])
    made.loop.close()
    return made


_null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


def client_of_agent(data: bytes) -> None:
    """An agent's words at the client: they end the link, nothing else."""
    luck = Luck(data)
    verb = luck.choice(("run", "attach", "logs"))
    plan = Plan(
        verb=verb,
        spec={"argv": ["x"]},
        pty=bool(luck.number(2)),
        job="1",
        quiet=bool(luck.number(2)),
    )
    dialler = _dialler()
    dialler.loop = Loop()
    runner = Runner(dialler, plan, (-1, _null, _null), _Port(), lambda code: None)  # type: ignore[arg-type]
    talk = runner.seats[0].talk
    link = _Link()
    talk._link = link  # type: ignore[assignment]
    talk.peer.link_up({"secret": "", "op": "open"})
    first = luck.choice(("good", "good", "luck"))
    welcome = {"v": 1, "have": {"0": [0, 0, 1 << 20]}, "start": {"3": 0}, "live": {"3": 9}, "pty": True,
               "tasks": 1}  # fmt: skip
    welcome.update(fields(luck, AGENT_NAMES) if first == "luck" else {})
    at = 0
    try:
        talk.link_data(link, [frames.encode(frames.Welcome(welcome))])  # type: ignore[arg-type]
        while luck.left and not talk.over:
            if luck.number(3) == 0:
                shown = luck.choice((b"\x1b[6n", b"text", b"\x1b]52;", b"\x07\x1b"))
                begin = luck.choice((0, 4, 8, 100))
                frame = frames.data_head(3, begin, len(shown), False) + shown
            else:
                message = {**fields(luck, AGENT_NAMES), "t": luck.choice(TO_CLIENT)}
                line = json.dumps(message).encode() + b"\n"
                frame = frames.data_head(0, at, len(line), False) + line
                at += len(line)
            talk.link_data(link, [frame])  # type: ignore[arg-type]
    except RemoteProtocolError:
        pass
    for seat in runner.seats:
        assert all(0 <= rank < max(1, seat.tasks) <= 4096 for rank in seat.exits)
        assert all(0 <= exit_["code"] <= 255 for exit_ in seat.exits.values())
    runner.abandon()
    dialler.loop.close()


FILES_NAMES = (
    "m", "n", "path", "offset", "size", "mode", "mtime", "digest", "key", "recursive", "make",
    "abort", "any", "entries", "code", "message", "have", "whole", "id", "from", "cert", "port", "at",
    "machine", "site", "spot",
)  # fmt: skip
FILES_ASKED = ("stat", "list", "sum", "get", "mkdir", "part", "put", "end", "none", "share",
               "have", "fetch")  # fmt: skip
FILES_SAID = ("entries", "ok", "error", "file", "end", "part", "sum", "stat", "files", "share")


@functools.cache
def _box() -> str:
    folder = tempfile.mkdtemp(prefix="gsh-fuzz-")
    atexit.register(shutil.rmtree, folder, True)
    for name in ("box/r", "here"):
        os.makedirs(f"{folder}/{name}")
    os.symlink("../..", f"{folder}/box/up")
    return folder


def _files_talk(luck: Luck, words: tuple[str, ...]) -> bytes:
    """Frames of the talk about files, and what is none."""
    kind = luck.number(5)
    if kind == 0:
        return b"".join(luck.chunks())[:2000]
    if kind == 1:
        return filewire.data_head(3) + b"abc"
    message = {"n": 1, "path": luck.choice(("r", "../x", "up/x", "new", "/etc/passwd", "*", ".")),
               "key": "k" * 16, "size": luck.choice((0, 3, 6, 1 << 61))}  # fmt: skip
    if luck.number(2):
        row = ["r", luck.choice(("x", "../x", "", "a/b")), luck.choice(("f", "d")), 3, 511, 1]
        message["entries"] = [row]
    message.update(fields(luck, FILES_NAMES) if luck.number(2) else {})
    return filewire.encode({**message, "m": luck.choice(words)})


def _only(folder: str, names: list[str]) -> None:
    assert sorted(os.listdir(folder)) == names, os.listdir(folder)


def files(data: bytes) -> None:
    """A client's words to the service, in a box: nothing is written beside it."""
    luck = Luck(data)
    folder = _box()
    place = Place(f"{folder}/box", True, Quota(1 << 20, 100))
    service = Service(place, _null)
    decoder = filewire.Decoder()
    try:
        while luck.left:
            for item in decoder.feed(_files_talk(luck, FILES_ASKED)):
                service._data(item) if isinstance(item, bytes) else service._request(item)
    except RemoteProtocolError:
        pass
    finally:
        service._forget_looked()
        if service._incoming is not None:
            service._incoming.drop()
        place.close()
    _only(folder, ["box", "here"])


def files_of_agent(data: bytes) -> None:
    """An agent's words to who gets files: nothing is written beside where they are to be."""
    luck = Luck(data)
    folder = _box()
    dialler = _dialler()
    dialler.loop = Loop()
    ends: list[object] = []
    get = Get(dialler, {"agent": "n1"}, ends.append)
    get.fetch([luck.choice(("r", "."))], f"{folder}/here", bool(luck.number(2)))
    if luck.number(8):
        get.on_bytes(filewire.encode({"m": "files", "v": 1}))
    while luck.left and not ends:
        get.on_bytes(_files_talk(luck, FILES_SAID))
    get.close()
    get.left()
    dialler.loop.close()
    _only(folder, ["box", "here"])
    shutil.rmtree(f"{folder}/here")
    os.mkdir(f"{folder}/here")


def tree_of_agent(data: bytes) -> None:
    """An agent's words to who sends files to several: it ends once, whatever it is told."""
    luck = Luck(data)
    dialler = _dialler()
    dialler.loop = Loop()
    ends: list[object] = []
    staging = Staging([_file()], 2)
    nodes = [staging.put(dialler, {"agent": name}, name, "r", ends.append) for name in ("n1", "n2")]
    for node in nodes:
        node.on_bytes(filewire.encode({"m": "files", "v": 1}))
        if luck.number(8):
            said = {"m": "share", "n": 1, "port": 1, "at": ["127.0.0.1"], "machine": "m", "site": "",
                    "spot": luck.choice(("a", "b"))}  # fmt: skip
            node.on_bytes(filewire.encode(said))
            node.on_bytes(filewire.encode({"m": "stat", "n": 2, "kind": luck.choice(("d", "f"))}))
    while luck.left and len(ends) < 2:
        node = nodes[luck.number(2)]
        if not node.talk.over:
            node.on_bytes(_files_talk(luck, FILES_SAID))
        dialler.loop.once(0)
    for node in nodes:
        node.close()
        node.left()
    assert len(ends) <= 2
    assert staging.tree.children(nodes[0]) == staging.tree.children(nodes[1]) == 0
    dialler.loop.close()


@functools.cache
def _file() -> str:
    path = f"{_box()}/box/r/of-a-tree"
    with open(path, "wb") as file:
        file.write(bytes(300_000))
    return path


ANSWER_NAMES = (
    "id", "name", "user", "state", "agents", "hosts", "size", "tasks", "pty", "argv0", "created_at",
    "started_at", "ended_at", "code", "signal", "error", "watchers", "attached", "host", "cpus",
    "memory_bytes", "tags", "slots", "free", "since", "pid", "version", "re", "ok", "message", "hint",
    "m", "ticket", "relay",
)  # fmt: skip


def client_of_relay(data: bytes) -> None:
    """A relay's answers at the client, and what is shown of them."""
    luck = Luck(data)
    lost: list[GshellError] = []
    link = relaylink.RelayLink(Loop.__new__(Loop), _tickets()[0], lost.append)
    answers: list[dict[str, Any]] = []
    link.request({"m": "jobs"}, answers.append)
    items = [fields(luck, ANSWER_NAMES) for _ in range(luck.number(5))]
    said = {"re": 1, "jobs": items, "agents": items, **fields(luck, ANSWER_NAMES)}
    for message in (fields(luck, ANSWER_NAMES), said):
        try:
            link.link_data(_Link(), [control.encode(message)])  # type: ignore[arg-type]
        except RemoteProtocolError:
            return
    for answer in answers:
        shown = render.error_text(relaylink.said_no(answer))
        for table, name in ((render.jobs_table, "jobs"), (render.agents_table, "agents")):
            try:
                found = relaylink.items_of(answer, name)
                shown += table(found, time.time(), luck.choice((None, 1, 20, 80)), False)
            except GshellError:
                pass
        try:
            relaylink.received_ticket(answer, [])
        except UsageError:
            pass
        assert all(char.isprintable() or char == "\n" for char in shown)
        shown.encode()


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


_LUCK = [bytes(range(256)), bytes(64), b"\xff" * 40, bytes(range(200, 0, -7)), b"\1\2\3\4" * 16]
_FRAMES = [b"\2" + fuzz_wire.make_bytes(__import__("random").Random(n)) for n in range(40)]
_HANDOVER = b"1\0/\x00022\x001\x001\x002\0run\0true\0A=b"


def mux_bytes(data: bytes) -> None:
    """Frames of port forwarding, at either end."""
    luck = Luck(data)
    decoder = mux.Decoder()
    try:
        for chunk in luck.chunks():
            decoder.feed(chunk)
            assert len(decoder._hold) <= mux.MAX_JSON + mux.HEAD.size + len(chunk)
    except RemoteProtocolError:
        pass


def first_bytes(data: bytes) -> None:
    """What strangers say first: to a SOCKS server, to a display, to and from an i2glogin."""
    luck = Luck(data)
    kind = luck.number(5)
    chunks = list(luck.chunks())
    key = handshake.key_of(b"k" * 16)
    promised: tuple[type[Exception], ...] = (GshellError,)
    if kind == 0:
        feed: Any = socks.Socks().feed
        promised = (socks.BadSocks,)
    elif kind == 1:
        feed = x11.Substitution(b"c" * 16, b"r" * 16).feed
        promised = (ValueError,)
    elif kind == 2:
        feed = handshake.Host(key, b"c" * 32, b"n" * 32).feed
    elif kind == 3:
        feed = handshake.Caller(key, b"c" * 32, b"i" * 16, b"n" * 32).feed
    else:

        def feed(chunk: bytes) -> None:
            list(x11.entries(chunk))
            x11.cookie_for(chunk, "h", "", 1)

    try:
        for chunk in chunks:
            feed(chunk)
    except promised:
        pass


def forward_words(data: bytes) -> None:
    """Addresses of i2glogin and of -L, -R, -D; DISPLAY."""
    words = data.decode("utf-8", "replace").split("\0")
    for word in words:
        try:
            gloginwords.parse_place(word)
        except UsageError:
            pass
        for kind in "LRD":
            try:
                forwardspec.parse(kind, word)
            except ValueError:
                pass
        x11.parse_display(word)
    try:
        gloginwords.parse(words)
    except UsageError:
        pass


TARGETS = {
    target.name: target
    for target in (
        Target("wire", wire_bytes, _FRAMES),
        Target("control", control_bytes, [
            b"\5" + control.encode({"m": "hello", "v": 1}) + control.encode({"m": "x", "a": [{}]})]),
        Target("preamble", preamble, [
            rendezvous.encode(rendezvous.CLIENT, {"k": "x", "op": "open"}, b"hello", b"k"),
            rendezvous.encode(rendezvous.AGENT, {"a": "x"}, b"", b"k"), rendezvous.refusal("again", 1)]),
        Target("ticket", ticket, [
            Ticket("client", "u", "", ["h:1"], "p", "c", "c", "secret of many letters", "m", "00").dump().encode()]),
        Target("invite", invite, [
            b"gshell://host:1/" + b"a" * 64 + b"#token", b"gshell://[::1]:1/" + b"a" * 64 + b"#t",
            b"unix:/a", b"host:80"]),
        Target("job-description", job_description, [
            b'Executable="x"; Arguments="_PARAM_ $H"; Parameters={1,b}; InputSandbox={"a","b/*"};',
            b'[Type="DAG"; Nodes=[a=[Executable="x"]; b=[Executable="y"]; Dependencies={{a,b}}]]',
            b'other.a > 1 && Member("x", other.b[0].c) || !(-2.5e3 =?= undefined) ? {1,[a=2]} : f(.g)']),
        Target("broker", broker, _LUCK),
        Target("spec", spec, _LUCK),
        Target("pmi", pmi_bytes, _PMI),
        Target("mpi-bodies", mpi_bodies, _LUCK),
        Target("script", fuzz_replay.script, fuzz_replay.SEEDS),
        Target("claim-packets", claim_packets, _LUCK),
        Target("terminal", terminal, [
            b"\2" + text.encode("utf-8", "surrogatepass")[:3000] for text in hostile.strings(200)]),
        Target("text", text, [
            text.encode("utf-8", "surrogatepass")[:3000] for text in hostile.strings(200)]),
        Target("command-line", command_line, [
            b"run\0-t\0-n4\0--env\0A=b\0--timeout\x005m\0--\0ls", b"attach\0-e\0none\x0042",
            b"logs\0-f\0--since\x0010m\0007", b"kill\0-s\0TERM\0001", b"help\0run", b"1-02:03:04",
            b"SIGRTMIN+3", b"64G", b"1h30m", b"--relay\0h:1\0jobs\0-a"]),
        Target("front", front, [
            b"\0\5" + len(_HANDOVER).to_bytes(4, "big") + _HANDOVER,
            b"\1\5W 24 80\nC 1 2\nP\nF 1\nr 00 00\nS INT\n"]),
        Target("agent-of-relay", agent_of_relay, _LUCK),
        Target("agent-of-client", agent_of_client, _LUCK),
        Target("client-of-agent", client_of_agent, _LUCK),
        Target("files", files, _LUCK),
        Target("files-of-agent", files_of_agent, _LUCK),
        Target("tree-of-agent", tree_of_agent, _LUCK),
        Target("client-of-relay", client_of_relay, _LUCK),
        Target("mux", mux_bytes, [
            b"\5" + mux.encode(mux.OPEN, 1, {"host": "h", "port": 1}) + mux.data(1, b"abc") + mux.credit(1, 9)]),
        Target("first-bytes", first_bytes, [
            b"\0\5\x05\x01\0\x05\x01\0\x03\x04node\0\x16", b"\0\5\x04\x01\0\x50\0\0\0\1me\0h\0",
            b"\1\5l\0\x0b\0\0\0\x12\0\x10\0\0\0MIT-MAGIC-COOKIE-1\0\0" + b"c" * 16, b"\2\5" + b"x" * 80,
            b"\3\5" + handshake.MAGIC + b"n" * 32 + b"\1" + b"m" * 32, b"\4\5" + x11.authority(1, b"c" * 16)]),
        Target("forward-words", forward_words, [
            b"24599:158.109.65.149\0[::1]:24599\x008080:db:80\0*:1:[fe80::1]:2\0:10.0", b"-r\0-p\x001:h\0-t\0-c\0sh"]),
    )
}  # fmt: skip
