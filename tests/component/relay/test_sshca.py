"""The relay's SSH authority: what it signs, OpenSSH and asyncssh believe."""

import shutil
import subprocess

import pytest

from gshell.errors import GshellError, UsageError
from relay import sshca

NOW = 1_800_000_000.0


@pytest.fixture
def key(tmp_path):
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return (tmp_path / "key.pub").read_text()


def shown(tmp_path, cert):
    (tmp_path / "x-cert.pub").write_text(cert)
    done = subprocess.run(
        ["ssh-keygen", "-L", "-f", str(tmp_path / "x-cert.pub")],
        capture_output=True, text=True, check=True, env={"TZ": "UTC", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    return [line.strip() for line in done.stdout.splitlines()]


def test_a_user_s_certificate_names_user_and_credential_and_ends_with_that(tmp_path, key):
    ca = sshca.Authority(str(tmp_path))
    signed = ca.user(key, "alice", "ab12", NOW, NOW + 60)
    assert signed.until == NOW + 60
    lines = shown(tmp_path, signed.cert)
    assert "Type: ssh-ed25519-cert-v01@openssh.com user certificate" in lines
    at = lines.index("Principals:")
    assert lines[at + 1 : at + 3] == ["alice", "key:ab12"]
    assert "permit-X11-forwarding" not in lines
    assert "permit-agent-forwarding" not in lines
    asked = shown(tmp_path, ca.user(key, "alice", "ab12", NOW, 0.0, agent=True).cert)
    assert "permit-agent-forwarding" in asked
    assert any(line.endswith("to 2027-01-15T08:01:00") for line in lines), lines
    assert ca.user(key, "alice", "ab12", NOW, 0.0).until == NOW + sshca.USER_S


def test_an_agent_s_is_a_host_certificate_for_its_names(tmp_path, key):
    lines = shown(
        tmp_path, sshca.Authority(str(tmp_path)).agent(key, "n1", ["n1", "job1"], NOW).cert
    )
    assert "Type: ssh-ed25519-cert-v01@openssh.com host certificate" in lines
    at = lines.index("Principals:")
    assert lines[at + 1 : at + 3] == ["n1", "job1"]


def test_the_keys_are_made_once_and_closed_to_others(tmp_path):
    first = sshca.Authority(str(tmp_path))
    _, signed = first.relay(["gshell-relay"], NOW)
    again = sshca.Authority(str(tmp_path))
    assert again.public == first.public
    one, two = (shown(tmp_path, s.cert)[2] for s in (signed, again.relay(["x"], NOW)[1]))
    assert one == two  # the same public key
    (tmp_path / "x-cert.pub").unlink()
    for name in (sshca.CA_KEY, sshca.HOST_KEY):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == [sshca.CA_KEY, sshca.HOST_KEY]


@pytest.mark.parametrize(
    "line", [None, 7, "", "ssh-ed25519", "ssh-ed25519 AAAA", "x" * 5000, "é é"]
)
def test_what_is_no_key_is_refused_with_a_reason(tmp_path, line):
    with pytest.raises(UsageError):
        sshca.Authority(str(tmp_path)).user(line, "alice", "ab", NOW, 0.0)


def test_a_damaged_key_is_said_with_what_to_do(tmp_path):
    (tmp_path / sshca.CA_KEY).write_text("no key")
    with pytest.raises(GshellError) as caught:
        sshca.Authority(str(tmp_path))
    assert "ssh-ca.key" in caught.value.message
