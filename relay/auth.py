"""The relay's certificate authority: makes keys and certificates, reads them back. Knows no
protocol.

Everything that only uses keys is in the standard library; making them needs `cryptography`, whose
import takes 50 ms and happens only when something is made.
"""

from __future__ import annotations

import datetime
import hashlib
import math
import os
import re
import secrets
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple

from gshell.errors import GshellError, UsageError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

CA_KEY, CA_CERT = "ca.key", "ca.crt"
RELAY_KEY, RELAY_CERT = "relay.key", "relay.crt"
MAC_SECRET = "mac.secret"  # noqa: S105  # a file's name
FILES = (CA_KEY, CA_CERT, RELAY_KEY, RELAY_CERT, MAC_SECRET)

CA_DAYS = 7300  # a relay's life; everybody's pinned trust hangs on it
RELAY_DAYS = 3650  # the pin in invites and tickets: renewing it means enrolling again
ISSUED_DAYS = 365  # a person's or an agent's; `gshell login` again after that
_BACKDATE = datetime.timedelta(hours=1)  # clocks of worker nodes are not always right

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}")


class Issued(NamedTuple):
    """A new identity."""

    serial: str
    """Hex, lower case: the credential's name, in the certificate and everywhere else."""
    cert: str
    key: str

    def __repr__(self) -> str:
        return f"Issued({self.serial}, ***)"


def check_name(name: str, what: str) -> str:
    """
    Raises:
        UsageError: it would not fit into a certificate's URI unharmed.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} cannot be {what}: letters, digits and _.@- are possible, 64 at most"
        )
    return name


def ensure(state: str) -> bool:
    """Make the keys of a new relay in the directory ``state``; returns whether it had to.

    Raises:
        GshellError: some of the files are missing.
    """
    present = [name for name in FILES if os.path.lexists(os.path.join(state, name))]
    if len(present) == len(FILES):
        return False
    if CA_KEY in present:  # it is written last: from then on nothing may be missing
        missing = [name for name in FILES if name not in present]
        raise GshellError(
            f"the state directory {state} lacks {', '.join(missing)}",
            hint="restore it from a backup, or start with a new one: --state DIR",
        )
    from cryptography.hazmat.primitives.asymmetric import ec

    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _ca_certificate(ca_key)
    relay_key = ec.generate_private_key(ec.SECP256R1())
    relay = _leaf(ca, ca_key, relay_key, "gshell:relay", RELAY_DAYS, server=True, client=False)
    _write(state, MAC_SECRET, secrets.token_hex(32).encode() + b"\n")
    _write(state, RELAY_KEY, _key_pem(relay_key))
    _write(state, RELAY_CERT, _cert_pem(relay))
    _write(state, CA_CERT, _cert_pem(ca))
    _write(state, CA_KEY, _key_pem(ca_key))
    return True


def issue(
    state: str, uri: str, agent: bool, days: int = ISSUED_DAYS, until: float | None = None
) -> Issued:
    """A key and a certificate for ``uri``. An agent's serves and dials, a client's only dials.

    ``until``: it is good no longer than this.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    ca_key = serialization.load_pem_private_key(_read(state, CA_KEY), None)
    ca = x509.load_pem_x509_certificate(_read(state, CA_CERT))
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    cert = _leaf(ca, ca_key, key, uri, days, server=agent, client=True, until=until)
    serial = serial_text(f"{cert.serial_number:x}")
    return Issued(serial, _cert_pem(cert).decode(), _key_pem(key).decode())


def serial_text(text: str) -> str:
    """One spelling for a certificate's serial number: the ssl module pads it and uses capitals."""
    return text.lower().lstrip("0")


def server_context(state: str) -> ssl.SSLContext:
    """The door's end of control connections; a client certificate is asked for, not demanded."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(os.path.join(state, RELAY_CERT), os.path.join(state, RELAY_KEY))
        context.load_verify_locations(os.path.join(state, CA_CERT))
    except (OSError, ssl.SSLError) as error:
        raise _unreadable(state, "its keys", error) from None
    context.verify_mode = ssl.CERT_OPTIONAL
    context.num_tickets = 0  # no resumption: who connects shows a certificate each time
    return context


def mac_secret(state: str) -> bytes:
    try:
        return bytes.fromhex(_read(state, MAC_SECRET).decode())
    except ValueError as error:
        raise _unreadable(state, MAC_SECRET, error) from None


def ca_text(state: str) -> str:
    return _read(state, CA_CERT).decode()


def pin(state: str) -> str:
    """How this relay's certificate is written in invites: SHA-256 of its DER form, hex."""
    try:
        der = ssl.PEM_cert_to_DER_cert(_read(state, RELAY_CERT).decode())
    except ValueError as error:
        raise _unreadable(state, RELAY_CERT, error) from None
    return hashlib.sha256(der).hexdigest()


def validity(pem: str) -> tuple[float, float]:
    """From when until when a certificate is good.

    Raises:
        ValueError: that is none.
    """
    from cryptography import x509

    cert = x509.load_pem_x509_certificate(pem.encode())
    return cert.not_valid_before_utc.timestamp(), cert.not_valid_after_utc.timestamp()


def token_hash(token: str) -> str:
    """As invites are stored."""
    return hashlib.sha256(token.encode("utf-8", "backslashreplace")).hexdigest()


def _unreadable(state: str, what: str, error: Exception) -> GshellError:
    return GshellError(
        f"the state directory {state} is damaged: {what}: {error}",
        hint="restore it from a backup, or start with a new one: --state DIR",
    )


def _read(state: str, name: str) -> bytes:
    try:
        with open(os.path.join(state, name), "rb") as file:
            return file.read()
    except OSError as error:
        raise GshellError(
            f"cannot read {os.path.join(state, name)}: {error.strerror}",
            hint=f'give it back to this user: chown -R "$USER" {state}',
        ) from None


def _write(state: str, name: str, data: bytes) -> None:
    """Whole or not at all, 0600."""
    path = os.path.join(state, name)
    fresh = f"{path}.{os.getpid()}"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(fresh, path)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _cert_pem(cert: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return cert.public_bytes(Encoding.PEM)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: Any, days: int, until: float | None = None
) -> Any:
    from cryptography import x509

    now = datetime.datetime.now(datetime.UTC)
    end = now + datetime.timedelta(days=days)
    if until is not None:
        end = min(end, datetime.datetime.fromtimestamp(math.ceil(until), datetime.UTC))
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _name(text: str) -> x509.Name:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text[:64])])


def _usage(**on: bool) -> x509.KeyUsage:
    from cryptography import x509

    names = """digital_signature content_commitment key_encipherment data_encipherment
        key_agreement key_cert_sign crl_sign encipher_only decipher_only"""
    return x509.KeyUsage(**{name: on.get(name, False) for name in names.split()})


def _ca_certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    name = _name(f"gshell relay {secrets.token_hex(4)}")
    cert = (
        _builder(name, name, key.public_key(), CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return cert  # type: ignore[no-any-return]


def _leaf(
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePrivateKey,
    uri: str,
    days: int,
    *,
    server: bool,
    client: bool,
    until: float | None = None,
) -> x509.Certificate:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID as Eku

    purposes = [Eku.SERVER_AUTH] * server + [Eku.CLIENT_AUTH] * client
    authority = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
    cert = (
        _builder(_name(uri), ca.subject, key.public_key(), days, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(names, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority),
            critical=False,
        )
        .sign(ca_key, hashes.SHA256())
    )
    return cert  # type: ignore[no-any-return]
