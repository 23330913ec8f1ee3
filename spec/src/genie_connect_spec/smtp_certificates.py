"""Server certificates, good and bad, for clients that must tell them apart.

Needs the `cryptography` package (extra `tls` of this distribution).
"""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Final

from genie_connect.inbox.certificate import CertificateFiles, KeyPair, issue, make_authority, write_files

_LOCAL: Final = ("127.0.0.1", "::1")


def _good(authority: KeyPair) -> KeyPair:
    return issue(authority, common_name="localhost", names=["localhost"], addresses=_LOCAL)


def _ends_soon(authority: KeyPair) -> KeyPair:
    soon = datetime.now(UTC) + timedelta(days=3, hours=1)
    return issue(authority, common_name="localhost", names=["localhost"], addresses=_LOCAL, ends_at=soon)


def _expired(authority: KeyPair) -> KeyPair:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    return issue(authority, common_name="localhost", names=["localhost"], addresses=_LOCAL, ends_at=yesterday)


def _wrong_host(authority: KeyPair) -> KeyPair:
    return issue(authority, common_name="other.test", names=["other.test"])


def _self_signed(authority: KeyPair) -> KeyPair:
    return issue(None, common_name="localhost", names=["localhost"], addresses=_LOCAL)


def _untrusted_ca(authority: KeyPair) -> KeyPair:
    stranger = make_authority("An authority nobody told the client about")
    return issue(stranger, common_name="localhost", names=["localhost"], addresses=_LOCAL)


def _address_not_named(authority: KeyPair) -> KeyPair:
    return issue(authority, common_name="127.0.0.1", names=["localhost"])


_MAKERS: Mapping[str, Callable[[KeyPair], KeyPair]] = MappingProxyType(
    {
        "good": _good,
        "ends_soon": _ends_soon,
        "expired": _expired,
        "wrong_host": _wrong_host,
        "self_signed": _self_signed,
        "untrusted_ca": _untrusted_ca,
        # Right for "localhost", wrong for a client that connects to 127.0.0.1.
        "address_not_named": _address_not_named,
    }
)

CERTIFICATES: Final = tuple(_MAKERS)
TRUSTED: Final = frozenset({"good", "ends_soon"})
"""Those that a client is to take."""


class CertificateSet:
    """A certificate authority and server certificates below (or beside) it, kept as files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.ca_file = folder / "ca.pem"
        self._folder = folder
        self._authority = make_authority("Genie Connect test authority")
        self.ca_file.write_bytes(self._authority.certificate_pem())

    def client_context(self) -> ssl.SSLContext:
        """Return a client context that trusts this set's authority alone."""
        return ssl.create_default_context(cafile=str(self.ca_file))

    def server_context(self, certificate: str = "good", *, only_old_tls: bool = False) -> ssl.SSLContext:
        """Return a server context with one of CERTIFICATES; `only_old_tls` offers TLS 1.0 and 1.1 and nothing newer.

        Raises ValueError for a certificate that does not exist.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        files = self._files(certificate)
        context.load_cert_chain(files.certificate_file, files.key_file)
        if only_old_tls:
            with warnings.catch_warnings():
                # Old versions are deprecated, which is the point of the test.
                warnings.simplefilter("ignore", DeprecationWarning)
                context.set_ciphers("ALL:@SECLEVEL=0")
                context.minimum_version = ssl.TLSVersion.TLSv1
                context.maximum_version = ssl.TLSVersion.TLSv1_1
        else:
            context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def _files(self, certificate: str) -> CertificateFiles:
        maker = _MAKERS.get(certificate)
        if maker is None:
            raise ValueError(f"certificate: {certificate!r} is unknown; there are {', '.join(CERTIFICATES)}")
        files = CertificateFiles(
            ca_file=self.ca_file,
            certificate_file=self._folder / f"{certificate}.pem",
            key_file=self._folder / f"{certificate}.key",
        )
        if not files.key_file.exists():
            write_files(files, authority=self._authority, leaf=maker(self._authority))
        return files
