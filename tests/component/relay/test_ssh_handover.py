"""SSH connections at the door: recognised, passed on unread, counted until somebody is known."""

import json
import socket

import pytest

from gshell.net.loop import IN
from gshell.net.relaylink import RelayLink
from kit.faultproxy import UP, FaultProxy
from relay.door import limits, listener, sshdoor
from relay.door.sshdoor import KNOWN


class SshProcess:
    """Stands in for `relay.ssh`: takes what the door passes on."""

    def __init__(self, relay, path):
        self.relay = relay
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.bind(path)
        self.sock.listen()
        self.sock.setblocking(False)
        self.came = []
        relay.loop.add(self.sock.fileno(), IN, lambda _: self._accept())
        relay.door._ssh = path
        relay.door.listener.to_ssh = relay.door._to_ssh

    def _accept(self):
        line, _ = self.sock.accept()
        line.settimeout(5)
        data, fds, _, _ = socket.recv_fds(line, 4096, 4)
        self.came.append((line, socket.socket(fileno=fds[0]), json.loads(data)))

    def get(self):
        self.relay.until(lambda: self.came)
        line, sock, said = self.came.pop()
        line.setblocking(False)
        self.relay.closers += [line.close, sock.close]
        return line, sock, said

    def close(self):
        self.relay.loop.remove(self.sock.fileno())
        self.sock.close()


@pytest.fixture
def tcp(relay):
    if relay.address.startswith("unix:"):
        pytest.skip("stock ssh comes over TCP")
    return relay


@pytest.fixture
def ssh(tcp, tmp_path):
    one = SshProcess(tcp, f"{tmp_path}/ssh")
    yield one
    one.close()


def test_it_is_passed_on_with_nothing_read_of_it(tcp, ssh):
    sock = tcp.dial()
    sock.send(b"SSH-2.0-OpenSSH_9.2\r\n")
    _, passed, said = ssh.get()
    assert passed.recv(100) == b"SSH-2.0-OpenSSH_9.2\r\n"
    assert said["from"].startswith("127.0.0.1")
    passed.send(b"SSH-2.0-x\r\n")
    assert tcp.read(sock) == b"SSH-2.0-x\r\n"


def test_who_says_nothing_for_a_while_may_be_an_ssh_that_waits_for_us(tcp, ssh, monkeypatch):
    monkeypatch.setattr(listener, "SSH_SILENT_S", 0.05)
    tcp.dial()
    ssh.get()


class Hasty(FaultProxy):
    """Takes whoever comes first for an ssh that waits."""

    said = False

    def _read(self, pair, side):
        if self.said or side.name != UP:
            super()._read(pair, side)
            return
        self.said = True
        side.sock.recv(1 << 16)
        side.sock.send(b"SSH-2.0-gshell-relay\r\n")
        self._close(pair, "fin", "fin")


def test_a_client_that_was_too_slow_to_speak_comes_again(tcp):
    errors, answers = [], []
    with Hasty(tcp.address, "client-door") as proxy:
        link = RelayLink(tcp.loop, tcp.ticket()._replace(relays=[proxy.address]), errors.append)
        link.open()
        link.request({"m": "whoami"}, answers.append)
        assert tcp.loop.run_until(lambda: answers or errors, 30)
        assert proxy.said
        assert answers[0]["ok"], errors
        link.close()


def test_tls_and_preambles_are_not_ssh_however_slow(tcp, ssh, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(listener, "SSH_SILENT_S", 0.05)
        patch.setattr(limits, "DEADLINE_S", 0.3)
        for first in (b"\x16", b"G"):
            sock = tcp.dial()
            sock.send(first)
            assert tcp.ended(sock) == b""
    assert ssh.came == []
    assert tcp.client().welcome["user"] == "alice"


def test_nobody_known_within_the_deadline_costs_the_address_and_ends_it(tcp, ssh, monkeypatch):
    monkeypatch.setattr(limits, "DEADLINE_S", 0.05)
    tcp.dial().send(b"SSH-2.0-x\r\n")
    line, _, _ = ssh.get()
    assert tcp.read(line) == b""  # the door has closed it: so will the other process
    assert tcp.door.listener.strangers == {}
    owes = tcp.door.listener.limits._sources["127.0.0.1"].owes_until
    assert owes > tcp.loop.clock() + limits.TOO_SLOW / 2


@pytest.mark.parametrize("known", [True, False])
def test_a_login_makes_it_known_and_its_failure_is_blamed(tcp, ssh, known):
    tcp.dial().send(b"SSH-2.0-x\r\n")
    line, passed, _ = ssh.get()
    assert len(tcp.door.listener.strangers) == 1
    if known:
        line.send(KNOWN)
    else:
        line.close()
        passed.close()
    tcp.until(lambda: not tcp.door.listener.strangers)
    source = tcp.door.listener.limits._sources["127.0.0.1"]
    assert (source.known_until > tcp.loop.clock()) == known
    assert (source.owes_until > tcp.loop.clock()) == (not known)


def test_without_that_process_the_user_is_told_and_gshell_goes_on(tcp, ssh):
    tcp.door._ssh = "/nowhere/ssh"
    sock = tcp.dial()
    sock.send(b"SSH-2.0-x\r\n")
    assert b"SSH door is closed" in tcp.ended(sock)
    assert tcp.client().welcome["user"] == "alice"


def test_who_comes_before_the_ssh_process_is_there_waits_for_it(tcp, tmp_path):
    path = f"{tmp_path}/later"
    tcp.door._ssh = path
    tcp.door.listener.to_ssh = tcp.door._to_ssh
    sock = tcp.dial()
    sock.send(b"SSH-2.0-x\r\n")
    early = tcp.door.listener.strangers
    tcp.until(lambda: any(type(one).__name__ == "_Early" for one in early.values()))
    one = SshProcess(tcp, path)
    _, passed, _ = one.get()
    assert passed.recv(100) == b"SSH-2.0-x\r\n"
    one.close()


def test_who_waits_for_an_ssh_process_in_vain_is_told(tcp, tmp_path, monkeypatch):
    monkeypatch.setattr(sshdoor, "WAIT_S", 0.05)
    tcp.door._ssh = f"{tmp_path}/never"
    tcp.door.listener.to_ssh = tcp.door._to_ssh
    sock = tcp.dial()
    sock.send(b"SSH-2.0-x\r\n")
    assert b"SSH door is closed" in tcp.read(sock)
