"""A relay in this process (door and broker on one loop, over a real bus), agents and clients of
its own.
"""

import os
import select
import socket
import time

import pytest

from gshell.model.ticket import Ticket
from gshell.net import address, control, rendezvous
from gshell.net.link import Link
from gshell.net.loop import IN, Loop
from gshell.net.tls import Tls, client_context
from relay import auth, listening, state
from relay.brokerd import BrokerShell
from relay.bus import BrokerBus, DoorBus, FeedIn, FeedOut
from relay.desk import Desk
from relay.door.main import Door
from relay.journal import Journal

WAIT_S = 30.0


class Control:
    """One control connection of a test's: what it got is in ``got``."""

    def __init__(self, relay, ticket=None):
        self.relay, self.got, self.ready, self.error = relay, [], False, None
        self.decoder = control.ControlDecoder(1 << 24)
        tls = Tls(client_context(ticket), server_side=False)
        sock, connected = address.start_connect(relay.address)
        self.link = Link(relay.loop, sock, self, tls)
        self.link.begin(connected, tls.start())
        relay.closers.append(self.link.close)
        self.ids = 0

    def link_ready(self, link):
        self.ready = True

    def link_data(self, link, chunks):
        for chunk in chunks:
            self.got += self.decoder.feed(chunk)

    def link_room(self, link):
        pass

    def link_closed(self, link, error):
        self.error = error

    def say(self, message):
        self.relay.until(lambda: self.ready)
        self.link.send(control.encode(message))

    def get(self, m):
        """The first message ``m`` that has come or will; taken out."""

        def found():
            return next((x for x in self.got if x.get("m") == m), None)

        self.relay.until(found, lambda: f"waited for {m!r}, got {self.got}, {self.error}")
        message = found()
        self.got.remove(message)
        return message

    def ask(self, m, **fields):
        self.ids += 1
        number = self.ids
        self.say({"m": m, "id": number, **fields})
        return self.answer(number)

    def answer(self, number):
        def found():
            return next((x for x in self.got if x.get("re") == number), None)

        self.relay.until(found, lambda: f"waited for answer {number}, got {self.got}, {self.error}")
        message = found()
        self.got.remove(message)
        return message


class Agent:
    """Says hello and parks raw spares; the inner TLS is up to the test."""

    def __init__(self, relay, ticket, boot="b1", spares=0, **hello):
        self.relay, self.ticket = relay, ticket
        self.control = Control(relay, ticket)
        self.control.say({"m": "hello", "role": "agent", "v": 1, "agent_id": ticket.agent_id,
                          "boot": boot, "host": "n1", "slots": 2, "cpus": 2, "pid": 7,
                          "sessions": [], **hello})  # fmt: skip
        self.key = bytes.fromhex(self.control.get("welcome")["park_key"])
        self.spares = [self.park() for _ in range(spares)]
        if spares:
            relay.until(lambda: relay.parked(ticket.agent_id) == spares)

    def preamble(self, key=None, agent_id=None, nonce=None, at=None):
        body = {"a": agent_id or self.ticket.agent_id, "t": time.time() if at is None else at,
                "n": nonce or os.urandom(16).hex()}  # fmt: skip
        return rendezvous.encode(rendezvous.AGENT, body, b"", key or self.key)

    def park(self, **how):
        sock = self.relay.dial()
        sock.send(self.preamble(**how))
        return sock


class Client:
    def __init__(self, relay, ticket):
        self.relay, self.ticket = relay, ticket
        self.control = Control(relay, ticket)
        self.control.say({"m": "hello", "role": "client", "v": 1})
        self.welcome = self.control.get("welcome")

    def preamble(
        self, op="open", att=None, hello=b"HELLO", at=None, nonce=None, key=None, **fields
    ):
        body = {"k": self.welcome["mac_id"], "t": time.time() if at is None else at,
                "n": nonce or os.urandom(16).hex(), "op": op,
                "att": att or os.urandom(16).hex(), **fields}  # fmt: skip
        key = bytes.fromhex(self.welcome["mac_key"]) if key is None else key
        return rendezvous.encode(rendezvous.CLIENT, body, hello, key)

    def come(self, **how):
        sock = self.relay.dial()
        sock.send(self.preamble(**how))
        return sock


class InProcessRelay:
    def __init__(self, folder, listen):
        self.folder, self.loop, self.closers = str(folder), Loop(), []
        state.prepare(self.folder)
        auth.ensure(self.folder)
        self.listening = listening.listen(listen)
        self.address = listening.bound(listen, self.listening)
        self.bus_path = os.path.join(self.folder, "bus")
        self.start_broker()
        self.start_door()

    def start_broker(self):
        self.journal = Journal(os.path.join(self.folder, "journal.sqlite"))
        self.desk = Desk(self.folder, self.journal, [self.address])
        self.broker_bus = BrokerBus(self.bus_path)
        self.feed_out = FeedOut(self.bus_path + ".feed")
        self.broker = BrokerShell(
            self.loop, self.broker_bus, self.journal, self.desk, dict, self.feed_out
        )

    def stop_broker(self):
        self.loop.remove(self.broker_bus.fd)
        self.broker._feed = lambda event: None  # its timers are still in the loop
        self.broker_bus.close()
        self.feed_out.close()
        self.journal.close()
        self.journal.forget_nonces = lambda now: None

    def start_door(self):
        self.door = Door(self.loop, [self.listening], auth.server_context(self.folder),
                         auth.mac_secret(self.folder), DoorBus(self.bus_path, "door0"),
                         feed=FeedIn(self.bus_path + ".feed"))  # fmt: skip
        self.until(lambda: self.door.meeting.connected)

    def close(self):
        for close in self.closers:
            close()
        self.door.close()
        self.stop_broker()
        self.listening.close()
        self.loop.close()

    # ------------------------------------------------------------------------------------ for tests

    def until(self, done, what=lambda: "", timeout_s=WAIT_S):
        assert self.loop.run_until(lambda: bool(done()), timeout_s), what()

    def dial(self):
        family, target = address.split(self.address)
        family = family or socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.connect(target)
        sock.setblocking(False)
        self.closers.append(sock.close)
        return sock

    def read(self, sock, count=1):
        """At least ``count`` bytes, or less at the end."""
        out = b""

        def done():
            nonlocal out
            try:
                data = sock.recv(1 << 16)
            except BlockingIOError:
                return False
            except ConnectionResetError:
                return True
            out += data
            return not data or len(out) >= count

        self.loop.add(sock.fileno(), IN, lambda _: None)  # so that its bytes wake the loop
        try:
            while not done():
                self.until(lambda: _readable(sock), lambda: f"only {out!r}")
        finally:
            self.loop.remove(sock.fileno())
        return out

    def ended(self, sock):
        """Everything up to the end of the connection."""
        return self.read(sock, 1 << 30)

    def silent(self, sock):
        """Nothing is answered."""
        assert self.ended(sock) == b""

    def joined(self, agent=None, att="a" * 32):
        """A joined pair: (client's socket, agent's socket, client, agent)."""
        agent = agent or self.agent(spares=1)
        client = self.client()
        visit = client.come(att=att, agent=agent.ticket.agent_id)
        assert self.read(agent.spares[-1], 5) == b"HELLO"
        agent.spares[-1].send(b"!")
        assert self.read(visit) == b"!"
        return visit, agent.spares[-1], client, agent

    def run_job(self, agent, client, att="a" * 32):
        """Its number; it has started."""
        agent.park()
        self.until(lambda: self.parked("n1"))
        client.come(att=att)
        expect = agent.control.get("expect")
        agent.control.say(
            {"m": "started", "job": expect["job"], "index": 0, "att": att, "tasks": 1}
        )
        return expect["job"]

    def enrol(self, invite, role="client", name=""):
        """The answer, to somebody who is nobody yet."""
        one = Control(self)
        one.say({"m": "enrol", "invite": invite, "role": role, "name": name})
        self.until(lambda: one.error)
        return one.got[0]

    def parked(self, agent_id):
        return len(self.door.meeting.spares.get(agent_id, ()))

    def ticket(self, kind="client", user="alice", agent_id="") -> Ticket:
        return self.desk.ticket(kind, user, agent_id, time.time())

    def agent(self, agent_id="n1", user="alice", **how):
        if not hasattr(self, "_tickets"):
            self._tickets = {}
        ticket = self._tickets.get(agent_id)
        if ticket is None:
            ticket = self._tickets[agent_id] = self.ticket("agent", user, agent_id)
        return Agent(self, ticket, **how)

    def client(self, user="alice"):
        return Client(self, self.ticket("client", user))


def _readable(sock):
    probe = select.poll()
    probe.register(sock, select.POLLIN)
    return bool(probe.poll(0))


@pytest.fixture(autouse=True)
def _umask_as_before():
    """A relay's state is for its user alone: it sets the umask of the process that it is."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(params=["tcp", "unix"])
def relay(request, tmp_path):
    listen = "127.0.0.1:0" if request.param == "tcp" else f"unix:{tmp_path}/door.sock"
    one = InProcessRelay(tmp_path / "state", listen)
    yield one
    one.close()


@pytest.fixture
def make_control(relay):
    return lambda ticket=None: Control(relay, ticket)
