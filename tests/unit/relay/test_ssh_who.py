"""Who may what at the stock-SSH door: the first hop, and the broker behind it."""

import pytest

from kit.broker import BrokerBench

asyncssh = pytest.importorskip("asyncssh")

from relay.ssh.server import Admission, Server, who_of  # noqa: E402

A, C = "a" * 32, "c" * 32


@pytest.fixture(scope="module")
def ca():
    return asyncssh.generate_private_key("ssh-ed25519").convert_to_public()


@pytest.mark.parametrize(
    "principals", [[], ["alice"], ["key:1"], ["alice", "bob", "key:1"], ["alice", "key:1", "key:2"]]
)
def test_a_certificate_that_names_not_one_user_and_one_credential_is_nobody_s(principals, ca):
    assert who_of(principals) is None
    assert Admission(ca).validate(ca, "h", "127.0.0.1", principals, ca=True) is None


def test_only_certificates_of_the_relay_s_own_authority_count(ca):
    one = Admission(ca)
    other = asyncssh.generate_private_key("ssh-ed25519").convert_to_public()
    names = ["alice", "key:ab"]
    assert one.validate(other, "h", "127.0.0.1", names, ca=True) is None
    assert one.validate(ca, "h", "127.0.0.1", None, ca=False) is None  # the key itself is no user
    assert one.validate(ca, "h", "127.0.0.1", names, ca=True) is not None
    assert (one.who.user, one.who.serial) == ("alice", "ab")
    one.validate(other, "h", "127.0.0.1", names, ca=True)
    assert one.who is None  # the last one shown is who it is


@pytest.mark.parametrize(
    ("host", "port"),
    [("127.0.0.1", 80), ("job1", 80), ("job1", 0), ("::1", 22), ("gshell-relay", 22), ("", 22),
     ("a b", 22), ("../x", 22)],
)  # fmt: skip
def test_the_first_hop_leads_to_port_22_of_virtual_hosts_only(ca, host, port):
    server = Server(ca, None, lambda: None)
    with pytest.raises(asyncssh.ChannelOpenError) as caught:
        server.connection_requested(host, port, "", 0)
    assert caught.value.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED


def test_the_first_hop_runs_nothing_and_listens_nowhere(ca):
    server = Server(ca, None, lambda: None)
    with pytest.raises(asyncssh.ChannelOpenError):
        server.session_requested()
    assert not server.server_requested("", 0)
    assert not server.unix_server_requested("/x")
    assert not server.unix_connection_requested("/x")


@pytest.fixture
def bench():
    return BrokerBench()


def test_an_owner_s_connection_is_announced_to_the_agent_and_takes_no_slot(bench):
    agent, _ = bench.running(A)
    free = bench.agents()["n1"]["free"]
    ask = bench.ask(C, service="ssh", beside="1", cred="k1")
    assert bench.verdict(ask) == ("pair", "n1")
    expect = bench.got(agent, "expect")[-1]
    assert (expect["service"], expect["beside"], expect["user"]) == ("ssh", "1", "alice")
    assert bench.agents()["n1"]["free"] == free


def test_an_agent_s_key_is_certified_for_what_runs_there_and_nothing_else(bench):
    agent, _ = bench.running(A)
    other = bench.agent("n2")
    bench.say(agent, "ssh-host", key="ssh-ed25519 AAAA", names=["job2", "evil"])
    user, message = bench.desk[-1]
    assert user == "alice"
    assert message["names"] == ["n1", "n1.gshell", "job1", "job1.gshell", "job1.0", "job1.0.gshell"]
    bench.say(other, "ssh-host", key="ssh-ed25519 AAAA")
    assert bench.desk[-1][1]["names"] == ["n2", "n2.gshell"]
