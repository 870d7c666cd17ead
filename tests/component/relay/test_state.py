"""What the relay keeps on disk: the directory, the journal, keys, the log."""

import logging
import os
import ssl
import stat
import threading
import time

import pytest

from gshell.errors import GshellError, UsageError
from gshell.model.ticket import Ticket
from relay import auth, children, desk, log, state, supervise
from relay.journal import Credential, Journal


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


# ---------------------------------------------------------------------------------------- directory


def test_the_directory_is_made_for_its_owner_only(tmp_path):
    folder = tmp_path / "a" / "b"
    state.prepare(str(folder))
    assert mode(folder) == 0o700


def test_a_directory_open_to_others_is_closed(tmp_path):
    tmp_path.chmod(0o755)
    state.prepare(str(tmp_path))
    assert mode(tmp_path) == 0o700


def test_a_file_in_its_place_is_named(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(GshellError, match="not a directory"):
        state.prepare(str(path))
    with pytest.raises(GshellError, match="cannot make the state directory"):
        state.prepare(str(path / "below"))


def test_one_relay_per_directory(tmp_path):
    first = state.lock(str(tmp_path))
    assert state.lock(str(tmp_path)) == -1
    assert state.running(str(tmp_path)) == {}
    state.write_relay(str(tmp_path), {"pid": 1})
    assert state.running(str(tmp_path)) == {"pid": 1}
    assert mode(tmp_path / "relay.json") == 0o600
    os.close(first)
    assert state.running(str(tmp_path)) is None


def test_who_looks_whether_a_relay_runs_keeps_none_from_starting(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "LOOKED_S", 30.0)
    looks = state.lock(str(tmp_path))
    got = []
    starts = threading.Thread(target=lambda: got.append(state.become(str(tmp_path))))
    starts.start()
    os.close(looks)
    starts.join(60.0)
    assert got[0] >= 0
    monkeypatch.setattr(state, "LOOKED_S", 0.05)
    assert state.become(str(tmp_path)) == -1  # that one is no looker
    os.close(got[0])


def test_while_a_relay_starts_the_numbers_of_one_that_was_killed_are_not_its_own(tmp_path):
    """They may be anybody's by now, and `stop` would end that."""
    folder = str(tmp_path / "state")
    state.prepare(folder)
    state.write_relay(folder, {"pid": os.getpid(), "listen": "x"})
    relay = supervise.Relay(children.Plan(folder, (f"unix:{tmp_path}/sock",), ssh=False))
    try:
        assert state.running(folder) == {}
    finally:
        for fd in relay.descriptors():
            os.close(fd)
        for sock in relay.listening:
            sock.detach()


@pytest.mark.parametrize(
    ("environ", "path"),
    [({"GSHELL_HOME": "/g", "HOME": "/h"}, "/g/relay"),
     ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/gshell/relay"),
     ({"HOME": "/h"}, "/h/.local/state/gshell/relay")],
)  # fmt: skip
def test_where_the_directory_is(monkeypatch, environ, path):
    for name in ("GSHELL_HOME", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert state.default() == path


def test_nowhere_to_be(monkeypatch):
    for name in ("GSHELL_HOME", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError) as caught:
        state.default()
    assert "--state" in caught.value.hint


# ------------------------------------------------------------------------------------------ journal


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "journal.sqlite")


def test_what_was_written_is_there_after_a_restart(path):
    journal = Journal(path)
    journal.begin()
    journal.put("job", "1", {"id": 1, "state": "ACTIVE"})
    journal.put("job", "1", {"id": 1, "state": "FAILED"})
    journal.put("job", "2", {"id": 2})
    journal.put("job", "2", None)
    journal.put("meta", "next_id", {"value": 3})
    journal.commit()
    journal.close()
    journal = Journal(path)
    assert journal.records("job") == [{"id": 1, "state": "FAILED"}]
    assert journal.next_id() == 3
    assert mode(path) == 0o600
    journal.close()


def test_a_nonce_is_used_once_until_it_is_forgotten(path):
    journal = Journal(path)
    assert journal.burn("n", 100.0)
    journal.close()
    journal = Journal(path)
    assert not journal.burn("n", 100.0)
    journal.forget_nonces(99.0)
    assert not journal.burn("n", 100.0)
    journal.forget_nonces(101.0)
    assert journal.burn("n", 300.0)
    journal.close()


def test_a_credential_can_be_withdrawn(path):
    journal = Journal(path)
    assert journal.credential("abc") is None
    journal.add_credential(Credential("abc", "client", "alice", ""), 1.0)
    assert journal.credential("abc").user == "alice"
    assert journal.revoke("abc", 2.0)
    assert not journal.revoke("abc", 3.0)
    assert journal.credential("abc") is None
    journal.close()


def test_two_processes_share_it(path):
    one, two = Journal(path), Journal(path)
    one.add_invite("hash", "alice", "any", 1, 100.0, 0.0)
    assert two.use_invite("hash", "client", 50.0) == "alice"
    assert one.use_invite("hash", "client", 50.0) is None
    one.close(), two.close()


@pytest.mark.parametrize(
    "content", [b"this is not a database, " * 100, b"SQLite format 3\0" + b"x" * 5000]
)
def test_a_damaged_journal_is_named_and_something_to_do(path, content):
    with open(path, "wb") as file:
        file.write(content)
    with pytest.raises(GshellError, match=r"journal\.sqlite") as caught:
        Journal(path)
    assert "--state" in caught.value.hint


def test_a_journal_of_another_version_is_named(path):
    journal = Journal(path)
    journal._db.execute("PRAGMA user_version=99")
    journal.close()
    with pytest.raises(GshellError, match="another version"):
        Journal(path)


def test_a_damaged_record_is_named(path):
    journal = Journal(path)
    journal._db.execute("INSERT INTO job VALUES ('1', '{nonsense')")
    with pytest.raises(GshellError, match="cannot be read"):
        journal.records("job")
    journal.close()


# --------------------------------------------------------------------------------------------- keys


def test_keys_are_made_once_and_are_secret(tmp_path):
    assert auth.ensure(str(tmp_path))
    pin = auth.pin(str(tmp_path))
    assert not auth.ensure(str(tmp_path))
    assert auth.pin(str(tmp_path)) == pin
    assert {mode(tmp_path / name) for name in auth.FILES} == {0o600}
    assert len(auth.mac_secret(str(tmp_path))) == 32


def test_a_lost_file_is_named_and_never_made_again(tmp_path):
    auth.ensure(str(tmp_path))
    (tmp_path / auth.MAC_SECRET).unlink()
    with pytest.raises(GshellError, match=r"lacks mac\.secret"):
        auth.ensure(str(tmp_path))


def test_a_start_that_was_broken_off_is_repeated(tmp_path):
    auth.ensure(str(tmp_path))
    (tmp_path / auth.CA_KEY).unlink()  # written last
    assert auth.ensure(str(tmp_path))


@pytest.mark.parametrize("name", [auth.RELAY_CERT, auth.RELAY_KEY, auth.CA_CERT])
def test_damaged_keys_are_named(tmp_path, name):
    auth.ensure(str(tmp_path))
    (tmp_path / name).write_text("nonsense")
    with pytest.raises(GshellError, match="damaged"):
        auth.server_context(str(tmp_path))


def test_certificates_say_what_they_are_for(tmp_path):
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID as Eku

    auth.ensure(str(tmp_path))
    for agent, wanted in ((True, {Eku.SERVER_AUTH, Eku.CLIENT_AUTH}), (False, {Eku.CLIENT_AUTH})):
        issued = auth.issue(str(tmp_path), "gshell:x:y", agent)
        cert = x509.load_pem_x509_certificate(issued.cert.encode())
        usage = cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert set(usage) == wanted
        assert issued.serial == auth.serial_text(f"{cert.serial_number:X}")
        assert cert.not_valid_before_utc.timestamp() < time.time() - 3500


def test_a_strict_verifier_takes_our_certificates(tmp_path):
    auth.ensure(str(tmp_path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=auth.ca_text(str(tmp_path)))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.check_hostname = False
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(theirs, ours)
    server = auth.server_context(str(tmp_path)).wrap_bio(ours, theirs, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
    assert client.version() == "TLSv1.3"


@pytest.mark.parametrize("name", ["", "a:b", "a/b", "ä", "a b", "x" * 65, "-rf", "a\n"])
def test_some_names_cannot_be(name):
    with pytest.raises(UsageError):
        auth.check_name(name, "a user's name")


def test_tickets_are_written_once_and_renewed_when_the_address_changes(tmp_path):
    state.prepare(str(tmp_path))
    auth.ensure(str(tmp_path))
    journal = Journal(str(tmp_path / "j"))

    def write(relays):
        one = desk.Desk(str(tmp_path), journal, relays)
        one.write_ticket("client.ticket", "client", "alice", "", 0.0)
        return (tmp_path / "client.ticket").read_text()

    first = write(["unix:/a"])
    assert write(["unix:/a"]) == first
    assert Ticket.load(write(["unix:/b"]), "x").relays == ["unix:/b"]
    assert mode(tmp_path / "client.ticket") == 0o600
    journal.close()


# ---------------------------------------------------------------------------------------------- log


@pytest.fixture
def logger(tmp_path):
    handler = log.set_up(str(tmp_path / "relay.log"))
    yield logging.getLogger("relay.test")
    logging.getLogger("relay").removeHandler(handler)
    handler.close()


def test_a_line_is_a_line(tmp_path, logger):
    logger.info("first\nsecond")
    logger.warning("third")
    lines = (tmp_path / "relay.log").read_text().splitlines()
    assert [line.startswith("    ") for line in lines] == [False, True, False]
    assert mode(tmp_path / "relay.log") == 0o600


def test_the_log_is_kept_small_by_all_its_writers(tmp_path, logger, monkeypatch):
    monkeypatch.setattr(log, "MAX_BYTES", 500)
    other = log.LogFile(str(tmp_path / "relay.log"))
    for i in range(40):
        logger.info("line %d", i)
        other.emit(logging.makeLogRecord({"msg": f"other {i}"}))
    other.close()
    assert (tmp_path / "relay.log").stat().st_size <= 600
    assert (tmp_path / "relay.log.1").stat().st_size <= 700


def test_a_log_that_was_moved_away_can_be_reopened(tmp_path, logger):
    (tmp_path / "relay.log").rename(tmp_path / "moved")
    logging.getLogger("relay").handlers[0].reopen()
    logger.info("here")
    assert "here" in (tmp_path / "relay.log").read_text()
