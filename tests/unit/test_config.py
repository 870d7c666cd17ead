"""Where things are, by environment variable."""

import os
import pathlib

import pytest

from gshell import config
from gshell.errors import GshellError, UsageError


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("XDG_", "GSHELL_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/home/me")


def test_one_variable_puts_everything_below_one_directory(monkeypatch):
    monkeypatch.setenv("GSHELL_HOME", "/all/of/it")
    found = {config.runtime_dir(), config.state_dir(), config.config_dir(), config.cache_dir()}
    assert {os.path.dirname(path) for path in found} == {"/all/of/it"}
    assert len(found) == 4


def test_a_relative_one_is_meant_from_here(monkeypatch):
    monkeypatch.setenv("GSHELL_HOME", "sub")
    monkeypatch.chdir("/tmp")
    assert config.state_dir() == "/tmp/sub/state"
    assert config.absolute_environment()["GSHELL_HOME"] == "/tmp/sub"


def test_else_the_xdg_directories_count(monkeypatch):
    assert config.state_dir() == "/home/me/.local/state/gshell"
    monkeypatch.setenv("XDG_STATE_HOME", "/xdg/state")
    assert config.state_dir() == "/xdg/state/gshell"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")  # which the specification says to ignore
    assert config.state_dir() == "/home/me/.local/state/gshell"


def test_somebody_elses_runtime_directory_is_not_taken(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert config.runtime_dir() == f"{tmp_path}/gshell"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent/1000")
    assert config.runtime_dir() == "/home/me/.gshell/run"


def test_without_home_the_password_file_is_asked(monkeypatch):
    monkeypatch.delenv("HOME")
    assert config.home().startswith("/")


def test_each_relay_has_its_own_background_process(monkeypatch):
    private = config.background_socket()
    monkeypatch.setenv("GSHELL_RELAY", "login1:4433")
    assert config.background_socket() != private
    assert "/" not in os.path.basename(config.background_socket())


@pytest.mark.parametrize(
    ("value", "allowed"), [("", True), ("1", True), ("0", False), ("no", False), ("off", False)]
)
def test_the_background_process_can_be_refused(monkeypatch, value, allowed):
    monkeypatch.setenv("GSHELL_BACKGROUND", value)
    assert config.background_allowed() is allowed


def test_a_private_directory_is_made_and_closed(tmp_path: pathlib.Path):
    path = tmp_path / "a" / "b"
    assert config.private_dir(str(path)) == str(path)
    path.chmod(0o755)
    config.private_dir(str(path))
    assert path.stat().st_mode & 0o777 == 0o700


def test_one_that_cannot_be_says_what_to_set(tmp_path: pathlib.Path):
    (tmp_path / "file").touch()
    with pytest.raises(GshellError) as caught:
        config.private_dir(str(tmp_path / "file" / "below"))
    assert "GSHELL_HOME" in (caught.value.hint or "")


def test_private_files_are_whole_or_not_there(tmp_path: pathlib.Path):
    path = tmp_path / "secret"
    config.write_private(str(path), "one")
    config.write_private(str(path), "two")
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["secret"]


def test_a_named_relay_needs_a_ticket(monkeypatch, tmp_path: pathlib.Path):
    monkeypatch.setenv("GSHELL_HOME", str(tmp_path))
    assert config.find_ticket() is None
    monkeypatch.setenv("GSHELL_RELAY", "login1:4433")
    with pytest.raises(UsageError, match="login1:4433"):
        config.find_ticket()


@pytest.fixture
def ticket(monkeypatch, tmp_path):
    from gshell.model.ticket import Ticket

    monkeypatch.setenv("GSHELL_HOME", str(tmp_path))
    (tmp_path / "config").mkdir()
    (tmp_path / "run").mkdir()
    one = Ticket("client", "me", "", ["a:1", "b:1"], "p", "c", "c", "k", "m", "00")
    (tmp_path / "config" / "client.ticket").write_text(one.dump())
    return one


def test_a_relay_can_be_named_by_several_addresses(monkeypatch, ticket):
    assert config.find_ticket().relays == ["a:1", "b:1"]
    monkeypatch.setenv("GSHELL_RELAY", "x:1,unix:/y")
    assert config.find_ticket().relays == ["x:1", "unix:/y"]


def test_the_address_that_worked_last_comes_first(ticket):
    config.remember_relay("b:1")
    assert config.find_ticket().relays == ["b:1", "a:1"]
    config.remember_relay("elsewhere:1")
    assert config.find_ticket().relays == ["a:1", "b:1"]


def test_what_worked_last_is_a_hint_only(ticket, tmp_path):
    (tmp_path / "run" / "relay.last").write_bytes(b"\xff\xfe")
    assert config.find_ticket().relays == ["a:1", "b:1"]
    (tmp_path / "run" / "relay.last").unlink()
    (tmp_path / "run").rmdir()
    config.remember_relay("b:1")
