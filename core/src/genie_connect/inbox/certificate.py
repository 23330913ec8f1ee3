"""Certificates for servers on this machine: a small certificate authority and one certificate below it.

Needs the `cryptography` package (extra `cli`); it is imported only when a certificate is made.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

LOCAL_NAMES = ("localhost",)
LOCAL_ADDRESSES = ("127.0.0.1", "::1")


@attrs.frozen(kw_only=True)
class KeyPair:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey = attrs.field(repr=False)

    def certificate_pem(self) -> bytes:
        """Return the certificate in PEM form."""
        from cryptography.hazmat.primitives.serialization import Encoding

        return self.certificate.public_bytes(Encoding.PEM)

    def key_pem(self) -> bytes:
        """Return the private key in PEM form, not encrypted."""
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@attrs.frozen(kw_only=True)
class CertificateFiles:
    """Files a server and its clients need: `ca_file` is what clients are told to trust."""

    ca_file: Path
    certificate_file: Path
    key_file: Path

    def server_context(self) -> ssl.SSLContext:
        """Return the server's side: TLS 1.2 or newer with this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate_file, self.key_file)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return a client's side that trusts this authority alone and checks the host name."""
        return ssl.create_default_context(cafile=str(self.ca_file))


def local_certificate(folder: Path) -> CertificateFiles:
    """Return a certificate for localhost and 127.0.0.1 kept in `folder`, made first if missing or about to expire.

    Raises ModuleNotFoundError without the `cryptography` package, OSError if the folder cannot be written.
    """
    files = CertificateFiles(
        ca_file=folder / "ca.pem", certificate_file=folder / "certificate.pem", key_file=folder / "key.pem"
    )
    if not _usable(files):
        folder.mkdir(parents=True, exist_ok=True)
        authority = make_authority("Genie Connect local authority")
        leaf = issue(authority, common_name="localhost", names=LOCAL_NAMES, addresses=LOCAL_ADDRESSES)
        write_files(files, authority=authority, leaf=leaf)
    return files


def write_files(files: CertificateFiles, *, authority: KeyPair, leaf: KeyPair) -> None:
    """Write both certificates and the leaf's key; the key file is readable by its owner alone."""
    files.ca_file.write_bytes(authority.certificate_pem())
    files.certificate_file.write_bytes(leaf.certificate_pem())
    files.key_file.unlink(missing_ok=True)
    # The mode is set when the file is created: a later chmod would leave a moment in which others can read it.
    descriptor = os.open(files.key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as key_file:
        key_file.write(leaf.key_pem())


def make_authority(common_name: str) -> KeyPair:
    """Make a certificate authority that may sign server certificates."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(common_name)
    builder = (
        _builder(name, name, key, days=825, ends_at=None)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _signed(builder, subject_key=key, signing_key=key)


def issue(
    authority: KeyPair | None,
    *,
    common_name: str,
    names: Sequence[str] = (),
    addresses: Sequence[str] = (),
    days: int = 397,
    ends_at: datetime | None = None,
) -> KeyPair:
    """Make a server certificate; without an authority it signs itself.

    `names` and `addresses` become the subject alternative names. `ends_at` overrides the end of validity and may lie in
    the past, for tests of expiry.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(common_name)
    issuer, signing_key = (authority.certificate.subject, authority.key) if authority else (subject, key)
    builder = (
        _builder(subject, issuer, key, days=days, ends_at=ends_at)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        # Python 3.13 verifies strictly and refuses a chain without it (RFC 5280 section 4.2.1.1).
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False)
    )
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return _signed(builder, subject_key=key, signing_key=signing_key)


def _usable(files: CertificateFiles) -> bool:
    from cryptography import x509

    if not all(path.is_file() for path in (files.ca_file, files.certificate_file, files.key_file)):
        return False
    soon = datetime.now(UTC) + timedelta(days=1)
    ends = [
        x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
        for path in (files.ca_file, files.certificate_file)
    ]
    return min(ends) > soon


def _name(common_name: str) -> x509.Name:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, *, days: int, ends_at: datetime | None
) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.now(UTC)
    end = ends_at or now + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # An hour of grace for clocks that disagree.
        .not_valid_before(min(now, end) - timedelta(hours=1))
        .not_valid_after(end)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(
    builder: x509.CertificateBuilder, *, subject_key: EllipticCurvePrivateKey, signing_key: EllipticCurvePrivateKey
) -> KeyPair:
    from cryptography.hazmat.primitives import hashes

    return KeyPair(certificate=builder.sign(signing_key, hashes.SHA256()), key=subject_key)
