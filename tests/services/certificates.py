"""Certificates for a test's servers and clients, made on the fly and worth a day, as PEM files."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.services.ports import HOST


@dataclass(slots=True)
class Authority:
    """A certificate authority of its own, whose files lie in `folder`."""

    folder: Path
    name: str = "Test CA"
    _key: ec.EllipticCurvePrivateKey = field(init=False)
    _certificate: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        about = x509.BasicConstraints(ca=True, path_length=0)
        self._certificate = self._build(self.name, self._key).add_extension(about, critical=True).sign(self._key, _HASH)
        self.file.write_bytes(_pem(self._certificate))

    @property
    def file(self) -> Path:
        """The authority's certificate: what others are to trust."""
        return self.folder / "ca.pem"

    def issue(self, name: str) -> Path:
        """A certificate for the loopback address behind its key, in one file: what Kafka takes for a key store."""
        key = ec.generate_private_key(ec.SECP256R1())
        own = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST)), x509.DNSName("localhost")])
        certificate = self._build(name, key).add_extension(own, critical=False).sign(self._key, _HASH)
        path = self.folder / f"{name}.pem"
        path.write_bytes(_secret(key) + _pem(certificate) + _pem(self._certificate))
        path.chmod(0o600)
        return path

    def _build(self, name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(_named(name))
            .issuer_name(_named(self.name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
        )


_HASH = hashes.SHA256()


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _secret(key: ec.EllipticCurvePrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
