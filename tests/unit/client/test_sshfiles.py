"""The files that `ssh-config` writes for ssh."""

import shutil
import subprocess

import pytest

from gshell.client import sshfiles
from gshell.errors import GshellError


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GSHELL_HOME", f"{tmp_path}/g")
    return tmp_path


@pytest.mark.parametrize(
    "text",
    ["", "Host x\n  Port 1\n", "Host x\n  Port 1", "\n\n# mine\nHost *\n", "Include other\n",
     "Host a\r\n  Port 2\r\n", "# \udcff\n"],
)  # fmt: skip
def test_our_line_goes_in_once_and_out_without_a_trace(text):
    once = sshfiles.with_include(text, "/g/config")
    assert sshfiles.with_include(once, "/g/config") == once
    assert once.splitlines()[1] == 'Include "/g/config"'
    assert once.endswith(text)
    assert sshfiles.without_include(once) == text
    assert sshfiles.without_include(text) == text


def test_another_path_takes_the_former_one_s_place():
    once = sshfiles.with_include("Host x\n", "/old")
    assert sshfiles.with_include(once, "/new").count("Include") == 1


def test_the_user_s_file_keeps_its_mode_its_link_and_its_bytes(home):
    (home / ".ssh").mkdir()
    real = home / "dotfiles"
    real.write_bytes(b"Host x\xff\r\n")
    real.chmod(0o640)
    (home / ".ssh" / "config").symlink_to(real)
    assert sshfiles.change_users_config("/g/config", on=True)
    assert not sshfiles.change_users_config("/g/config", on=True)
    assert (home / ".ssh" / "config").is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert sshfiles.change_users_config("/g/config", on=False)
    assert real.read_bytes() == b"Host x\xff\r\n"


def test_a_home_without_a_configuration_gets_one_of_its_own(home):
    assert sshfiles.change_users_config("/g/config", on=True)
    assert (home / ".ssh").stat().st_mode & 0o777 == 0o700
    assert (home / ".ssh" / "config").stat().st_mode & 0o777 == 0o600


def test_a_configuration_that_cannot_be_changed_is_an_error_with_a_way_out(home):
    (home / ".ssh").write_text("a file")
    with pytest.raises(GshellError) as caught:
        sshfiles.change_users_config("/g/config", on=True)
    assert "--print" in str(caught.value.hint)


@pytest.mark.skipif(shutil.which("ssh") is None, reason="OpenSSH's client is not installed")
def test_ssh_reads_it_as_it_is_meant_also_with_odd_paths(home):
    where = home / "a 100% odd place"
    where.mkdir()
    (where / "id_gshell-cert.pub").write_text("fresh")
    key = str(where / "id_gshell.pub")
    text = sshfiles.configuration(str(where), key, ("hub.example", 4433), False)
    config = home / "config"
    config.write_text(text + "Host other\n  Port 5\n")

    def asked(host):
        done = subprocess.run(
            ["ssh", "-F", str(config), "-G", host], capture_output=True, text=True, check=True
        )
        return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)

    for host in ("job42", "job1.3", "n014.gshell"):
        said = asked(host)
        assert said["stricthostkeychecking"] in ("true", "yes")
        assert said["proxyusefdpass"] == "yes"
        assert "proxy --fdpass %h %p" in said["proxycommand"]
    relay = asked("gshell-relay")
    assert (relay["hostname"], relay["port"]) == ("hub.example", "4433")
    assert "proxycommand" not in relay
    for host in ("jobserver", "example.com"):
        assert "proxycommand" not in asked(host)
    assert asked("other")["port"] == "5"
