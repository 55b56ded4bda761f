"""Certificates for tests: a CA of one's own, and what it signs, as PEM files."""

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest

pytest.importorskip("cryptography")  # the extra rsa

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

LONG_AGO = timedelta(days=-30)
YEAR = timedelta(days=365)
LOCAL = ("127.0.0.1", "localhost")
_CA_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


class Authority:
    """A CA whose files are in a folder; `file` is its certificate.

    With `strict`, its certificates have every extension that RFC 5280 requires, and so pass VERIFY_X509_STRICT; without
    it, they have no key identifiers, as those of many private CAs.
    """

    def __init__(self, folder: Path, name: str = "a CA of tests", *, strict: bool = True) -> None:
        self._folder = folder
        self._key = new_key()
        self._name = _named(name)
        self._strict = strict
        self.file = folder / f"{name.replace(' ', '-')}.pem"
        certificate = self._builder(self._name, self._key, YEAR).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        if strict:
            certificate = certificate.add_extension(_CA_USAGE, critical=True)
        self.file.write_bytes(certificate.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def issue(
        self, name: str, hosts: Sequence[str] = LOCAL, *, valid_for: timedelta = YEAR, passphrase: bytes = b""
    ) -> tuple[Path, Path]:
        """Write NAME.crt and NAME.key, in one move each, and return their paths."""
        key = new_key()
        certificate = self._builder(_named(name), key, valid_for)
        if hosts:
            names = x509.SubjectAlternativeName([_alternative(host) for host in hosts])
            certificate = certificate.add_extension(names, critical=False)
        encryption: KeySerializationEncryption = NoEncryption()
        if passphrase:
            encryption = BestAvailableEncryption(passphrase)
        return (
            _moved(
                self._folder / f"{name}.crt", certificate.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)
            ),
            _moved(self._folder / f"{name}.key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)),
        )

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, valid_for: timedelta
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + 2 * LONG_AGO)
            .not_valid_after(now + valid_for)
        )
        if not self._strict:
            return builder
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        return builder.add_extension(own, critical=False).add_extension(issuer, critical=False)

    def trust(self) -> ssl.SSLContext:
        """Return the context of a caller that trusts this CA."""
        return ssl.create_default_context(cafile=self.file)

    def guard(self, cert: Path, key: Path, *, clients: bool = False) -> ssl.SSLContext:
        """Return the context of a server, which with `clients` asks for a certificate of this CA."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.file if clients else None)
        context.load_cert_chain(cert, key)
        context.verify_mode = ssl.CERT_REQUIRED if clients else ssl.CERT_NONE
        return context


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _moved(file: Path, data: bytes) -> Path:
    draft = file.with_suffix(".new")
    draft.write_bytes(data)
    return draft.rename(file)
