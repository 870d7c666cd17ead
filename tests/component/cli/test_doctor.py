"""The doctor: each usual fault is made, found, and comes with what to type."""

import json
import os
import socket
import subprocess
import time

import pytest

from gshell import __version__, config
from gshell.cli import checks, doctor
from gshell.client import adopted
from gshell.errors import AuthError
from gshell.model.ticket import Ticket
from relay import auth
from relay import doctor as relay_doctor
from relay.journal import Journal


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith("GSHELL_"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("GSHELL_HOME", str(folder))
    for kind in ("run", "state", "config"):
        (folder / kind).mkdir(mode=0o700)
    return folder


def only(found, level="bad"):
    """The text of the one finding of that level; it has a fix."""
    there = [finding for finding in found if finding.level == level]
    assert len(there) == 1, found
    assert there[0].fix
    return there[0].text


def enrolled(home, days=365, relays=("127.0.0.1:1",)):
    state = home / "relay"
    state.mkdir(mode=0o700, exist_ok=True)
    auth.ensure(str(state))
    issued = auth.issue(str(state), "gshell:user:u", agent=False, days=days)
    ticket = Ticket("client", "u", "", list(relays), auth.pin(str(state)),
                    auth.ca_text(str(state)), issued.cert, issued.key, issued.serial, "00" * 32)  # fmt: skip
    path = config.client_ticket_path()
    config.write_private(path, ticket.dump())
    return ticket


# ------------------------------------------------------------------------------------- this machine


def test_a_sound_installation_has_nothing_to_complain_of(home):
    found = [*checks.environment(), *checks.directories(), *checks.ticket()]
    assert {finding.level for finding in found} == {"ok"}


def test_missing_packages(monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "zmq" else real(name, *a)
    )
    assert "zmq" in only(checks.python())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GSHELL_RELAY", "nonsense"),
        ("GSHELL_IDLE", "soon"),
        ("GSHELL_BACKGROUND", "maybe"),
        ("GSHELL_LOG", "loud"),
        ("GSHELL_LOG_FORMAT", "xml"),
    ],
)
def test_a_variable_that_makes_no_sense(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert f"{name}={value}" in only(checks.environment())


def test_a_variable_nobody_reads_is_worth_a_word(monkeypatch):
    monkeypatch.setenv("GSHELL_RELAYS", "x:1")
    assert "GSHELL_RELAYS" in only(checks.environment(), "note")


def test_a_runtime_directory_that_cannot_be_written(monkeypatch):
    monkeypatch.delenv("GSHELL_HOME")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/proc/1/nothing")
    assert "/proc/1/nothing" in only(checks.environment(), "note")


def test_a_home_of_another_user(home, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    found = [f for f in checks.directories() if "GSHELL_HOME" in f.text]
    assert "uid 12345" in only(found)


def test_a_directory_others_may_look_into(home):
    (home / "state").chmod(0o755)
    assert "state" in only(checks.directories())


def test_a_directory_that_cannot_be_written(home, monkeypatch):
    real = os.access  # root may write anywhere
    blocked = str(home / "state")
    monkeypatch.setattr(os, "access", lambda path, mode: path != blocked and real(path, mode))
    assert "cannot be written" in only(checks.directories())


def test_a_full_disk(monkeypatch):
    full = os.statvfs_result((4096, 4096, 1000, 10, 10, 100, 50, 50, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    assert "0 MiB are free" in only(checks.directories())


def test_what_is_wrong_in_the_settings_and_a_file_that_nobody_reads(home):
    (home / "config" / "config.toml").write_text("colour = 'blue'\n")
    (home / "config" / "gshell.ini").write_text("")
    found = [f for f in checks.directories() if f.level == "note"]
    assert "config.toml:1: colour means nothing" in found[0].text
    assert found[0].fix == "did you mean 'color'?"
    assert "gshell.ini is not read" in found[1].text


def test_no_mpi(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert "mpirun" in only(checks.mpi(), "note")


# ------------------------------------------------------------------------------------------- ticket


def test_a_ticket_that_others_can_read(home):
    enrolled(home)
    os.chmod(config.client_ticket_path(), 0o644)
    assert "others can read the ticket" in only(checks.ticket())


@pytest.mark.parametrize(("days", "text"), [(-1, "expired on"), (0, "expired on")])
def test_an_expired_certificate(home, monkeypatch, days, text):
    enrolled(home, days=1)
    real = time.time()
    monkeypatch.setattr(checks.time, "time", lambda: real + (2 - days) * 86400)
    assert text in only(checks.ticket())


def test_a_certificate_that_expires_soon(home):
    enrolled(home, days=5)
    assert "expires on" in only(checks.ticket(), "note")


def test_a_certificate_from_the_future(home, monkeypatch):
    enrolled(home)
    monkeypatch.setattr(checks.time, "time", lambda: 1e9)
    assert "not valid yet" in only(checks.ticket())


# ---------------------------------------------------------------------------------------- processes


def test_a_background_process_that_was_killed(home):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(config.background_socket())
    listener.close()
    (home / "run" / "bg.sock.pid").write_text("999999999\n")
    assert "was killed" in only(checks.background(), "note")


def test_a_background_process_that_hangs(home):
    process = subprocess.Popen(["sleep", "60"])
    try:
        (home / "run" / "bg.sock.pid").write_text(f"{process.pid}\n")
        from gshell.cli import verbs

        real, verbs._is_ours = verbs._is_ours, lambda pid: pid == process.pid
        try:
            assert f"pid {process.pid}" in only(checks.background())
        finally:
            verbs._is_ours = real
    finally:
        process.kill()
        process.wait()


def test_a_private_relay_that_is_dead(home, monkeypatch):
    private = home / "state" / "private"
    private.mkdir(mode=0o700)
    ticket = enrolled(home)
    os.unlink(config.client_ticket_path())
    config.write_private(str(private / "client.ticket"), ticket.dump())
    monkeypatch.setattr(checks.launch, "answers", lambda path: path.endswith("bg.sock"))
    monkeypatch.setattr(adopted, "find", lambda name: None)
    found = checks.private()
    assert [f.level for f in found] == ["bad", "bad"]
    assert "relay is dead" in found[0].text


# -------------------------------------------------------------------------------------------- relay


def test_a_relay_that_is_not_there(home):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    enrolled(home, relays=(f"127.0.0.1:{port}",))
    assert "nobody listens" in only(checks.relay())
    assert checks.agents() == []


def test_a_relay_behind_a_firewall(home, monkeypatch):
    monkeypatch.setattr(checks, "CONNECT_S", 0.1)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        others = []
        for _ in range(4):  # its queue is full: the kernel drops what comes
            other = socket.socket()
            other.setblocking(False)
            other.connect_ex(full.getsockname())
            others.append(other)
        found = checks.reachable(f"127.0.0.1:{full.getsockname()[1]}")
        for other in others:
            other.close()
    assert "firewall" in only([found])


def test_a_relay_whose_name_is_wrong(monkeypatch):
    def no(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no)
    assert "there is no host relay.invalid" in only([checks.reachable("relay.invalid:1")])


def test_a_relay_that_takes_connections_and_says_nothing(home, monkeypatch):
    monkeypatch.setattr(checks, "ANSWER_WITHIN_S", 0.2)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(8)
        enrolled(home, relays=(f"127.0.0.1:{mute.getsockname()[1]}",))
        code = doctor.report([("relay", checks.relay)], True)
    assert code == 1


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("the relay's certificate is not the one we know", "another key"),
        ("the relay: these credentials were withdrawn", "withdrawn your credentials"),
        ("something else", "something else"),
    ],
)
def test_a_relay_that_refuses_us_or_that_we_refuse(message, text):
    assert text in only([checks.refused(AuthError(message))])


@pytest.mark.parametrize(("off", "level"), [(0, None), (59, None), (61, "note"), (-121, "bad")])
def test_clocks_that_differ(off, level):
    found = checks.clock(1e9 + off, 1e9)
    assert [f.level for f in found] == ([level] if level else [])


def test_a_relay_with_few_descriptors():
    assert "512 sessions" in only(checks.descriptors(7, 1024), "note")
    assert "new connections" in only(checks.descriptors(990, 1024))
    assert checks.descriptors(7, 65536) == checks.descriptors(None, None) == []


# ------------------------------------------------------------------------------------------- agents


def agent(state="waiting", free=1, version=__version__):
    return {"id": "n1", "state": state, "free": free, "version": version}


@pytest.mark.parametrize(
    ("listed", "level", "text"),
    [
        ([], "bad", "no agent is registered"),
        ([agent("away"), agent("away")], "bad", "all 2 agents are away"),
        ([agent("away"), agent("draining")], "bad", "drain"),
        ([agent("busy", 0)], "note", "no agent has a free slot"),
        ([agent(version="0.0.1")], "note", "0.0.1"),
    ],
)
def test_agents_that_are_of_no_use(listed, level, text):
    assert text in only(checks.judged(listed), level)


# ------------------------------------------------------------------------------------------- report


def test_json_names_the_check_and_says_by_its_status_whether_all_is_well(capsys):
    checks_ = [("one", lambda: [checks.Finding("ok", "fine")]), ("two", lambda: 1 / 0)]
    assert doctor.report(checks_[:1], True) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == {"schema": 1, "findings": [{"check": "one", "level": "ok", "text": "fine",
                                                 "fix": ""}]}  # fmt: skip


def test_a_check_that_fails_stops_no_other(capsys):
    def broken():
        raise PermissionError(13, "Permission denied")

    found = [("one", broken), ("two", lambda: [checks.Finding("ok", "fine")])]
    assert doctor.report(found, False) == 1
    assert "fine" in capsys.readouterr().out


# --------------------------------------------------------------------------------- the relay's host


@pytest.fixture
def state(tmp_path):
    folder = tmp_path / "relay"
    folder.mkdir(mode=0o700)
    auth.ensure(str(folder))
    Journal(str(folder / "journal.sqlite")).close()
    return folder


def looked(state, facts=None, said=None, now=None):
    found = relay_doctor.examine(
        str(state), facts, lambda: said or {}, time.time() if now is None else now
    )
    return [finding for _, finding in found]


def bad(found):
    return [finding for finding in found if finding.level == "bad"]


def test_a_sound_relay_has_nothing_bad(state):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        where = f"127.0.0.1:{sock.getsockname()[1]}"
        facts = {"listen": where, "relays": [where], "broker_pid": os.getpid()}
        said = {"agents": 1, "jobs": 2, "fds": 9, "fds_limit": 1 << 20}
        assert bad(looked(state, facts, said)) == []


def test_no_relay_at_all(tmp_path):
    assert "no relay has ever run" in only(looked(tmp_path / "nothing"))


def test_keys_that_others_can_read(state):
    (state / "ca.key").chmod(0o640)
    assert "ca.key" in only(looked(state))


def test_a_directory_that_is_open(state):
    state.chmod(0o755)
    assert "others may look" in only(looked(state))


def test_certificates_that_are_over(state):
    found = bad(looked(state, now=time.time() + 11 * 365 * 86400))
    assert "the relay's own certificate expired" in only(found)
    found = bad(looked(state, now=1e9))
    assert len(found) == 2


def test_a_certificate_that_is_missing(state):
    (state / "relay.crt").unlink()
    assert "relay.crt cannot be read" in only(looked(state))


def test_a_secret_that_is_missing(state):
    (state / "mac.secret").unlink()
    assert "mac.secret" in only(looked(state))


def test_a_journal_that_is_damaged(state):
    path = state / "journal.sqlite"
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)
    assert "journal" in only(looked(state))
    path.write_bytes(b"no database at all" * 100)
    assert "cannot be read" in only(looked(state))


def test_a_full_disk_at_the_relay(state, monkeypatch):
    full = os.statvfs_result((4096, 4096, 1000, 10, 10, 100, 50, 50, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    assert "0 MiB are free" in only(looked(state))


def test_processes_that_are_dead_and_a_port_nobody_serves(state):
    facts = {"listen": "127.0.0.1:1", "relays": ["127.0.0.1:1"], "door_pid": 999999999}
    texts = " / ".join(f.text for f in bad(looked(state, facts)))
    assert "door (pid 999999999) is dead" in texts
    assert "broker does not answer" in texts
    assert "nobody can connect to 127.0.0.1:1" in texts
