"""What relay and network learn of a session, and what a thief gets from them: nothing."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault.lab import dial, two_legs, warm

from gshell.model.ticket import Ticket
from gshell.net import control, relaylink, rendezvous
from gshell.net.tls import Tls, _load_chain, client_context
from kit.cuts import Connection
from kit.faultproxy import UP, FaultProxy
from kit.procs import Env, below, until

# Eight letters are short enough to be met whole in any buffer and too long to be met by chance.
WORD, SHOWN, VALUE, TYPED, ERROR = (
    name + "kwzqjxvy" for name in ("argv", "shown", "envi", "typed", "error")
)
CANARIES = (WORD, SHOWN, VALUE, TYPED, ERROR)

PROGRAM = "read typed; printf '{shown}'; printf '{error}' >&2; read again"
"""Prints canaries that are not in its own text, and waits twice for a line."""


def octal(text: str) -> str:
    return "".join(f"\\{ord(char):03o}" for char in text)


def forms(canary: str) -> Iterator[bytes]:
    """How it could look to somebody who does not decrypt."""
    data = canary.encode()
    yield data
    yield data.hex().encode()
    yield data[::-1]
    for shift in range(3):  # whole groups of three bytes of it, however they fall
        whole = data[shift : shift + (len(data) - shift) // 3 * 3]
        yield base64.b64encode(whole)


def found_in(data: bytes) -> list[str]:
    return [canary for canary in CANARIES for form in forms(canary) if form in data]


def memory_of(pid: int) -> bytes:
    """Everything that a process could write down."""
    pieces = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            if rights.startswith("rw") and "[v" not in line:
                start, end = (int(word, 16) for word in span.split("-"))
                with contextlib.suppress(OSError):
                    memory.seek(start)
                    pieces.append(memory.read(end - start))
    return b"".join(pieces)


@pytest.mark.parametrize("background", [False, True], ids=["direct", "background"])
def test_no_plaintext_of_a_session_reaches_the_relay_or_the_way_to_it(background: bool) -> None:
    with two_legs(record=True) as lab:
        env = lab.env
        (agent,) = env.agents()
        if background:
            warm(env)
        program = PROGRAM.format(shown=octal(SHOWN), error=octal(ERROR))
        client = env.popen(
            "run",
            "--env",
            f"SECRET={VALUE}",
            "--",
            "sh",
            "-c",
            program,
            WORD,
            background=background,
        )
        client.stdin.write(TYPED.encode() + b"\n")
        client.stdin.flush()
        assert client.stdout.read(len(SHOWN)) == SHOWN.encode()
        assert client.stderr.read(len(ERROR)) == ERROR.encode()

        with_canaries = [line for line in processes() if any(canary in line for canary in CANARIES)]
        assert len(with_canaries) == 2, with_canaries
        (typed,) = (
            line for line in with_canaries if " run --env " in line
        )  # by the user's own hand
        (program,) = (line for line in with_canaries if line != typed)
        assert program.startswith("sh -c read typed;")
        assert VALUE not in program

        facts = env.relay_facts()
        for name in ("door_pid", "broker_pid", "pid"):
            if os.geteuid() == 0:
                memory = memory_of(facts[name])
                assert name == "pid" or agent["id"].encode() in memory  # we do see what it knows
                assert not found_in(memory), f"in the memory of {name}"
        client.stdin.close()
        assert client.wait(20) == 1  # the second read came to the end of stdin
        client.stdout.close()
        client.stderr.close()

        lab.jobs()
        for leg in lab.legs:
            data = [c for c in leg.connections if c.kind == "data"]
            assert sum(len(c.recorded[UP]) for c in data) > 1000
            for connection in leg.connections:
                for direction, recorded in connection.recorded.items():
                    assert not found_in(recorded), (leg.leg, connection.number, direction)
        files = [path for path in below(env.state) if path.is_file()]
        assert any("journal" in path.name for path in files)
        for path in [*files, *env.root.glob("*.log")]:
            assert not found_in(path.read_bytes()), path


def processes() -> list[str]:
    """Command lines of all there are, as ps shows them; and environments of our servers."""
    ps = subprocess.run(["ps", "-eww", "-o", "args="], capture_output=True, text=True, check=True)
    lines = ps.stdout.splitlines()
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (path / "cmdline").read_bytes()
            if b"agent" in line or b"relay" in line or b"\0bg\0" in line:
                lines.append((path / "environ").read_bytes().decode(errors="replace"))
    return lines


# --------------------------------------------------------------------------------- stolen preambles


def ticket_of(env: Env) -> Ticket:
    return Ticket.load((env.home / "config" / "client.ticket").read_text(), "the client's")


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    sock = socket.create_connection((host, int(port)), 20)
    sock.settimeout(20)
    return sock


SSH_NAME = b"SSH-2.0-gshell-relay\r\n"


def all_of(sock: socket.socket) -> bytes:
    """Everything until it is closed."""
    pieces = []
    while True:
        try:
            data = sock.recv(1 << 16)
        except ConnectionError:
            break
        if not data:
            break
        pieces.append(data)
    sock.close()
    return b"".join(pieces)


def genuine(ticket: Ticket, **more: object) -> bytes:
    """A preamble that the door takes, with an inner hello of our own."""
    body = {"k": ticket.mac_id, "t": time.time(), "n": os.urandom(16).hex(), "op": "open",
            "att": os.urandom(16).hex(), "tasks": 1, "index": 0, "size": 1, **more}  # fmt: skip
    hello = Tls(client_context(ticket), server_side=False).start()
    return rendezvous.encode(rendezvous.CLIENT, body, hello, bytes.fromhex(ticket.mac_key))


def is_tls(data: bytes) -> bool:
    return data[:1] == b"\x16"


def test_a_stolen_preamble_that_comes_later_joins_nothing() -> None:
    with two_legs(record=True) as lab:
        assert lab.env.gshell("run", "--", "true", background=False).returncode == 0
        stolen = [bytes(c.recorded[UP]) for c in lab.clients.connections if c.kind == "data"]
        assert stolen
        for flight in stolen:
            preamble = rendezvous.parse(flight)
            assert preamble is not None
            for sent in (flight, flight[: preamble.size]):
                sock = connect(lab.env.address)
                sock.sendall(sent)
                assert all_of(sock) == rendezvous.refusal("used")
        assert len(lab.jobs()) == 1


def test_a_stolen_preamble_that_comes_first_gets_a_handshake_that_it_cannot_finish() -> None:
    env = Env()
    answers: list[bytes] = []
    thieves: list[socket.socket] = []

    def steal(connection: Connection, direction: str, data: bytes) -> None:
        """Bring the client's first flight to the door before the client does."""
        if direction == UP and data.startswith(rendezvous.MAGIC) and not thieves:
            thief = connect(env.address)
            thieves.append(thief)
            thief.sendall(data)
            answers.append(thief.recv(1 << 16))

    try:
        invite = env.start_relay()
        env.start_agent("agent", invite)
        with FaultProxy(env.address, "client-door", tap=steal) as proxy:
            dial(env, proxy.address)
            done = env.gshell("run", "--", "sh", "-c", "echo once; exit 3", background=False)
            assert (done.returncode, done.stdout) == (3, b"once\n"), done.stderr
        assert is_tls(answers[0])  # the agent's end of a handshake: its certificate is encrypted
        thieves[0].sendall(b"\x17\x03\x03\x00\x20" + os.urandom(32))
        more = all_of(thieves[0])
        assert len(more) < 8000
        assert b"gshell" not in answers[0] + more
        dial(env, env.address)
        assert [job["code"] for job in env.jobs()] == [3]
    finally:
        for thief in thieves:
            thief.close()
        env.close()


def test_an_altered_preamble_is_answered_with_silence() -> None:
    env = Env()
    try:
        env.start_agent("agent", env.start_relay())
        ticket = ticket_of(env)
        good = genuine(ticket)
        sock = connect(env.address)
        sock.sendall(good)
        assert is_tls(sock.recv(100)), "as it should be when nothing is altered"
        sock.close()
        for at in [*range(13), *range(13, len(good), 17), len(good) - 1]:
            one = bytearray(genuine(ticket))
            one[min(at, len(one) - 1)] ^= 0x20
            sock = connect(env.address)
            sock.sendall(one)
            sock.shutdown(socket.SHUT_WR)
            assert all_of(sock) == b"", f"byte {at} altered"
        other = genuine(ticket._replace(mac_key=os.urandom(32).hex()))
        sock = connect(env.address)
        sock.sendall(other)
        assert all_of(sock) == b""
        sock = connect(env.address)
        sock.sendall(genuine(ticket, t=time.time() - 1000))
        assert all_of(sock) == rendezvous.refusal("time")
    finally:
        env.close()


def test_a_parked_connection_serves_no_other_agent() -> None:
    env = Env()
    try:
        invite = env.start_relay()
        env.start_agent("good", invite)
        (good,) = env.agents()
        with FakeAgent(env, invite) as fake:
            mine = fake.park(fake.ticket.agent_id)
            other = fake.park(good["id"])
            assert all_of(other) == b"", "parked under another agent's name"
            until(lambda: len(env.agents()) == 2, "the second agent")
            for _ in range(5):
                done = env.gshell("run", "--agent", good["id"], "--", "true", background=False)
                assert done.returncode == 0, done.stderr
            mine.setblocking(False)
            with pytest.raises(BlockingIOError):  # not a byte, and open
                mine.recv(1)
            mine.close()
            # And the other way: its own name, but the first agent's clients.
            assert [job["agents"] for job in env.jobs()] == [[good["id"]]] * 5
    finally:
        env.close()


class FakeAgent:
    """An enrolled agent that says hello and parks what it is told to."""

    def __init__(self, env: Env, invite: str) -> None:
        empty, token = relaylink.parse_invite(invite)
        self.address = env.address
        self.ticket = relaylink.enrol(empty, token, "agent", "")
        context = context_of(None)
        context.load_verify_locations(cadata=self.ticket.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        _load_chain(context, self.ticket.cert, self.ticket.key)
        self.sock = context.wrap_socket(connect(env.address))
        self.say({"m": "hello", "role": "agent", "v": 1, "agent_id": self.ticket.agent_id,
                  "boot": "b", "host": "fake", "cpus": 1, "memory_bytes": 1, "tags": [], "slots": 1,
                  "pid": 1, "version": "0", "sessions": []})  # fmt: skip
        self.key = bytes.fromhex(self.hear()["park_key"])

    def say(self, message: dict) -> None:
        self.sock.sendall(control.encode(message))

    def hear(self) -> dict:
        decoder = control.ControlDecoder(1 << 20)
        while True:
            for message in decoder.feed(self.sock.recv(1 << 16)):
                return message

    def park(self, agent_id: str) -> socket.socket:
        body = {"a": agent_id, "t": time.time(), "n": os.urandom(16).hex()}
        sock = connect(self.address)
        sock.sendall(rendezvous.encode(rendezvous.AGENT, body, b"", self.key))
        return sock

    def __enter__(self) -> FakeAgent:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


# ---------------------------------------------------------------------------------------- strangers


def context_of(cert: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if cert is not None:
        context.load_cert_chain(cert)
    return context


def over_tls(address: str, context: ssl.SSLContext, sent: bytes) -> bytes:
    """What the relay says within TLS to who sends this."""
    heard = b""
    with connect(address) as plain:
        try:
            with context.wrap_socket(plain) as sock:
                if sent:
                    sock.sendall(sent)
                while data := sock.recv(4096):
                    heard += data
        except OSError:  # SSLError too: refused
            pass
    return heard


def test_without_credentials_there_is_nothing_but_a_closed_connection(tmp_path: Path) -> None:
    env = Env()
    try:
        env.start_agent("agent", env.start_relay())
        address = env.address
        garbage = [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100, os.urandom(20_000),
                   b"GSHELL/2" + b"x" * 100, b"GSHELL/1C" + b"\xff" * 20_000,
                   b"GSHELL/1A\0\x02\0\0{}" + b"\0" * 32, b"\x16nonsense" * 300]  # fmt: skip
        waiting = {}
        for sent in (b"", b"G", b"GSHELL/1C\x01\0\0\0", b"\x16", b"\x16\x03\x01\x40\0"):
            waiting[sent] = connect(address)
            waiting[sent].sendall(sent)
        half = context_of(None).wrap_socket(connect(address))  # TLS, no certificate, not a word
        began = time.monotonic()
        for sent in garbage:
            sock = connect(address)
            with contextlib.suppress(OSError):  # it may have been closed before all was said
                sock.sendall(sent)
                sock.shutdown(socket.SHUT_WR)
            answer = all_of(sock)
            assert len(answer) <= 7, (sent[:20], answer)
            assert answer[:1] in (b"", b"\x15"), "at most a TLS alert"
        hello = control.encode({"m": "hello", "role": "client", "v": 1})
        jobs = control.encode({"m": "jobs", "id": 1, "all": True})
        nobody = context_of(None)
        assert over_tls(address, nobody, hello) == b""
        assert over_tls(address, nobody, jobs) == b""
        assert over_tls(address, nobody, hello + jobs) == b""
        assert over_tls(address, nobody, (1 << 20).to_bytes(4, "big") + b"x" * 5000) == b"", (
            "too long"
        )
        wrong = control.encode({"m": "enrol", "invite": "x", "role": "client", "name": ""})
        assert b'"error"' in over_tls(address, nobody, wrong)
        other_ca = tmp_path / "other.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", other_ca, "-out", tmp_path / "cert.pem", "-subj", "/CN=x",
             "-addext", "subjectAltName=URI:gshell:user:tester"],
            check=True, capture_output=True,
        )  # fmt: skip
        with open(other_ca, "a") as file:
            file.write((tmp_path / "cert.pem").read_text())
        assert over_tls(address, context_of(other_ca), hello + jobs) == b""
        for sent, sock in waiting.items():
            answer = all_of(sock)
            # Who says nothing may be an ssh that waits for its server's name.
            assert len(answer) <= 7 or (not sent and answer == SSH_NAME), sent
        with contextlib.suppress(OSError):
            assert half.recv(10) == b""
        half.close()
        assert 5 < time.monotonic() - began < 40, "the deadline for strangers"
        assert env.gshell("run", "--", "true", background=False).returncode == 0
    finally:
        env.close()


def test_a_clear_no_on_the_way_ends_nothing() -> None:
    """Who sits between can write the door's refusals, too: only control TLS is believed."""
    env = Env()
    lies = [b"GSHELL/1 NO none 0.000\n", b"GSHELL/1 NO denied 0.000\n", b"GSHELL/1 NO full 9.000\n"]
    try:
        env.start_agent("agent", env.start_relay())
        with Liar(env.address, lies) as liar:
            dial(env, liar.address)
            done = env.gshell("run", "--", "sh", "-c", "echo yes; exit 4", background=False)
            assert (done.returncode, done.stdout) == (4, b"yes\n"), done.stderr
            assert not lies
            dial(env, env.address)
    finally:
        env.close()


class Liar(FaultProxy):
    """Answers data connections itself while it has lies to tell."""

    def __init__(self, target: str, lies: list[bytes]) -> None:
        super().__init__(target, "liar")
        self.lies = lies

    def _read(self, pair, side) -> None:  # type: ignore[no-untyped-def]
        first = side.sock.recv(1, socket.MSG_PEEK) if side.name == UP and self.lies else b""
        if first == b"G":
            side.sock.recv(1 << 16)
            side.sock.send(self.lies.pop(0))
            self._close(pair, "fin", "fin")
        else:
            super()._read(pair, side)
