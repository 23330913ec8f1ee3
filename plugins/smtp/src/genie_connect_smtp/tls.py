"""TLS as a client: what we accept, what we learned, and what a failure means."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from genie_connect.model.text import clean_reply
from genie_connect_smtp.errors import Fault

# OpenSSL's X509_V_ERR_ numbers (openssl-verification-options(1)).
_BY_VERIFY_CODE: Final[Mapping[int, Fault]] = MappingProxyType(
    {
        9: Fault.CERT_NOT_YET_VALID,
        10: Fault.CERT_EXPIRED,
        18: Fault.CERT_SELF_SIGNED,
        19: Fault.CERT_UNTRUSTED,
        20: Fault.CERT_UNTRUSTED,
        21: Fault.CERT_UNTRUSTED,
        62: Fault.CERT_HOSTNAME,
        64: Fault.CERT_HOSTNAME,
    }
)
# What OpenSSL says when the peer does not speak TLS at all, and when it speaks only versions we refuse.
_BY_REASON: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        "WRONG_VERSION_NUMBER": Fault.WRONG_VERSION,
        "RECORD_LAYER_FAILURE": Fault.WRONG_VERSION,
        "HTTP_REQUEST": Fault.WRONG_VERSION,
        "UNSUPPORTED_PROTOCOL": Fault.TLS_TOO_OLD,
        "TLSV1_ALERT_PROTOCOL_VERSION": Fault.TLS_TOO_OLD,
        "VERSION_TOO_LOW": Fault.TLS_TOO_OLD,
        "DH_KEY_TOO_SMALL": Fault.TLS_TOO_OLD,
    }
)


def client_context(ca_file: str | None) -> ssl.SSLContext:
    """TLS 1.2 or newer, chain and host name checked; ``ca_file`` is trusted instead of the system's authorities.

    Takes tens of milliseconds, so one context serves all connections. Raises ``OSError``.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def fault_of(error: ssl.SSLError) -> Fault:
    """What a failed handshake means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BY_VERIFY_CODE.get(error.verify_code, Fault.CERT_UNTRUSTED)
    return _BY_REASON.get(error.reason or "", Fault.TLS_FAILED)


def detail_of(error: ssl.SSLError) -> str:
    """OpenSSL's words for it, without the addresses of its source files."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return clean_reply(error.verify_message)
    return clean_reply((error.reason or "").replace("_", " ").lower())


def facts_of(tls: ssl.SSLObject) -> dict[str, Any]:
    """Version, cipher, and whose certificate it is until when."""
    certificate: Mapping[str, Any] = tls.getpeercert() or {}
    cipher = tls.cipher()
    facts: dict[str, Any] = {"tls_version": tls.version() or "", "cipher": cipher[0] if cipher else ""}
    if "subject" in certificate:
        facts["certificate_subject"] = _name(certificate["subject"])
        facts["certificate_issuer"] = _name(certificate["issuer"])
        facts["certificate_names"] = ", ".join(
            clean_reply(str(name)) for _, name in certificate.get("subjectAltName", ())
        )
        ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
        facts["certificate_ends"] = ends.date().isoformat()
        facts["certificate_days_left"] = (ends - datetime.now(UTC)).days
    return facts


def _name(pairs: Any) -> str:
    def values() -> Iterator[str]:
        for group in pairs:
            for key, value in group:
                if key in ("commonName", "organizationName"):
                    yield str(value)

    return clean_reply(", ".join(values()))
