"""A certificate for one listener, or for those who pass something on to each other; known to nobody
else. Alone knows `cryptography`."""

from __future__ import annotations

import datetime
import hashlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAYS = 30


def make(name: str = "i2glogin") -> tuple[str, str, bytes]:
    """(certificate, key) as PEM, and the hash that both ends bind their proofs to."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + DAYS * day)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding
    secret = key.private_bytes(
        encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    digest = hashlib.sha256(certificate.public_bytes(encoding.DER)).digest()
    return certificate.public_bytes(encoding.PEM).decode(), secret.decode(), digest
