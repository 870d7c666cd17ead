"""SSH connections at the door: recognised, passed on unread, counted until somebody is known."""

import json
import socket

import pytest

from gshell.net.loop import IN
from relay.door import limits, listener
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


def test_who_says_nothing_for_a_second_may_be_an_ssh_that_waits_for_us(tcp, ssh, monkeypatch):
    monkeypatch.setattr(listener, "SSH_SILENT_S", 0.05)
    tcp.dial()
    ssh.get()


def test_tls_and_preambles_are_not_ssh_however_slow(tcp, ssh, monkeypatch):
    monkeypatch.setattr(listener, "SSH_SILENT_S", 0.05)
    monkeypatch.setattr(limits, "DEADLINE_S", 0.3)
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
