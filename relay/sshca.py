"""The relay's SSH certificate authority: who is whom, in terms that stock ssh believes
(gshell/net/SSH.md). Beside the CA of TLS, in the state directory; decides nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from gshell.errors import GshellError, UsageError
from gshell.model.sshname import RELAY

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

CA_KEY, HOST_KEY, HOST_CERT = "ssh-ca.key", "ssh-host.key", "ssh-host.cert"
USER_S = 16 * 3600.0  # a working day: it is renewed by itself
AGENT_S = 24 * 3600.0
RELAY_S = 30 * 86400.0
BACKDATE_S = 3600.0  # clocks of worker nodes are not always right
KEY_BYTES = 4096
MOST_NAMES = 1024
KEY = "key:"  # of a user certificate's second principal: the credential that it hangs on
# What a user's certificate permits; forwarding of X11 is not among it.
PERMITS = (b"permit-port-forwarding", b"permit-pty", b"permit-user-rc")
AGENT = b"permit-agent-forwarding"  # only who asked for it


class Signed(NamedTuple):
    cert: str
    """One line, as ``ssh-keygen`` writes it."""
    until: float


class Authority:
    """The CA of a state directory, made when it is first wanted."""

    def __init__(self, state: str) -> None:
        self._state = state
        self._key = _private(state, CA_KEY)
        self.public = _line(self._key.public_key())

    def user(
        self, line: object, user: str, serial: str, now: float, until: float, agent: bool = False
    ) -> Signed:
        """For a user's public key; good as long as the credential ``serial`` is, ``until`` then.
        ``agent``: programs at the other end may use their ssh-agent.

        Raises:
            UsageError: no key that a certificate can be for.
        """
        end = now + USER_S
        if until:
            end = min(end, until)
        names = [user, KEY + serial]
        permits = (AGENT, *PERMITS) if agent else PERMITS
        return self._sign(_public(line), names, f"gshell user {user}", now, end, permits)

    def agent(self, line: object, agent_id: str, names: list[str], now: float) -> Signed:
        """For the host key of an agent's server, of ed25519.

        Raises:
            UsageError: no such key.
        """
        return self._sign(_public(line), names, f"gshell agent {agent_id}", now, now + AGENT_S)

    def relay(self, names: list[str], now: float) -> tuple[bytes, Signed]:
        """The relay's own host key (OpenSSH's form) and a new certificate for it."""
        key = _private(self._state, HOST_KEY)
        signed = self._sign(key.public_key(), names, "gshell relay", now, now + RELAY_S)
        return _pem(key), signed

    def _sign(
        self, key: object, names: list[str], key_id: str, now: float, end: float,
        permits: tuple[bytes, ...] = (),
    ) -> Signed:  # fmt: skip
        """A user's if it permits something, else a host's."""
        from cryptography.hazmat.primitives.serialization import ssh

        kind = ssh.SSHCertificateType.USER if permits else ssh.SSHCertificateType.HOST
        builder = (
            ssh.SSHCertificateBuilder()
            .public_key(key)  # type: ignore[arg-type]
            .serial(int.from_bytes(os.urandom(7), "big"))
            .type(kind)
            .key_id(key_id.encode())
            .valid_principals([name.encode() for name in names[:MOST_NAMES]])
            .valid_after(int(now - BACKDATE_S))
            .valid_before(int(end))
        )
        for permit in permits:
            builder = builder.add_extension(permit, b"")
        return Signed(builder.sign(self._key).public_bytes().decode(), end)


def _public(line: object) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    if not isinstance(line, str) or len(line) > KEY_BYTES or "-cert-" in line:
        raise UsageError("that is no SSH public key")
    try:
        return load_ssh_public_key(line.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(
            "that is no SSH public key which can be certified",
            hint="ssh-keygen -t ed25519    (keys in hardware, sk-..., are not possible)",
        ) from None


def _private(state: str, name: str) -> Ed25519PrivateKey:
    """The key in this file, made if there is none; two processes that do so get the same."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    path = os.path.join(state, name)
    try:
        if not os.path.exists(path):
            fresh = f"{path}.{os.getpid()}"
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:
                file.write(_pem(Ed25519PrivateKey.generate()))
                file.flush()
                os.fsync(fd)
            try:
                os.link(fresh, path)  # whoever is first
            except FileExistsError:
                pass
            os.unlink(fresh)
        with open(path, "rb") as file:
            key = load_ssh_private_key(file.read(), None)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise GshellError(
            f"the state directory {state} is damaged: {name}: {why}",
            hint=f"restore it from a backup, or remove {path}: all SSH certificates end with it",
        ) from None
    assert isinstance(key, Ed25519PrivateKey), name
    return key


def _pem(key: Ed25519PrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def _line(key: object) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    raw = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)  # type: ignore[attr-defined]
    return str(raw.decode())


def relay_names(relays: list[str]) -> list[str]:
    """What a relay with these addresses is certified as.

    >>> relay_names(["hub.example:4433", "unix:/run/x", "[::1]:4433"])
    ['gshell-relay', 'hub.example', '::1']
    """
    tcp = [one for one in relays if not one.startswith("unix:")]
    hosts = [one.rpartition(":")[0].strip("[]").lower() for one in tcp]
    return list(dict.fromkeys([RELAY, *filter(None, hosts)]))
