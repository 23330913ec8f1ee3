"""Attacks on the way to TLS, and certificates that must not be trusted, as named cases for parametrised tests.

Whatever the case, a client that requires TLS sends no byte of its credentials and no MAIL.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

import attrs

from genie_connect_spec.smtp_certificates import CERTIFICATES, TRUSTED, CertificateSet
from genie_connect_spec.smtp_script import (
    Answer,
    Close,
    Delay,
    Garbage,
    Hang,
    Reset,
    Rule,
    Say,
    ehlo_reply,
    on,
)
from genie_connect_spec.smtp_server import ScriptedSmtpServer, Security

_OFFERS_AUTH: Final = ehlo_reply("PIPELINING", "STARTTLS", "AUTH PLAIN LOGIN")
_STRIPPED: Final = ehlo_reply("PIPELINING", "AUTH PLAIN LOGIN")
_INJECTED: Final = b"250-injected\r\n250 AUTH PLAIN\r\n"

# Where the client must stop: the last thing it may say.
StopsAt = Literal["ehlo", "starttls", "tls", "ehlo_tls"]


@attrs.frozen(kw_only=True)
class TlsCase:
    """One case; `last_stage` is the last command the client may send, "tls" the handshake itself.

    `diagnosis` is the kind of error a person should read about: "tls", "auth_not_offered" or "protocol".
    """

    id: str
    script: tuple[Rule, ...] = ()
    security: Security = "starttls"
    certificate: str = "good"
    only_old_tls: bool = False
    last_stage: StopsAt
    diagnosis: Literal["tls", "auth_not_offered", "protocol"] = "tls"

    def __str__(self) -> str:
        return self.id

    def server(self, certificates: CertificateSet | None = None) -> ScriptedSmtpServer:
        """Return a server, not yet started, that plays the case."""
        return ScriptedSmtpServer(
            self.script,
            security=self.security,
            certificate=self.certificate,
            only_old_tls=self.only_old_tls,
            certificates=certificates,
        )


_REFUSALS: Mapping[str, bytes] = MappingProxyType(
    {
        "454": b"454 4.7.0 TLS not available\r\n",
        "502": b"502 5.5.1 command not implemented\r\n",
        "250": b"250 2.0.0 ok\r\n",
        "354": b"354 go ahead\r\n",
    }
)

_SCRIPTED: Final = (
    TlsCase(id="starttls_stripped", script=(on("ehlo", Say(_STRIPPED)),), last_stage="ehlo"),
    TlsCase(
        id="ehlo_hidden",
        script=(on("ehlo", Say(b"502 5.5.1 command not implemented\r\n")),),
        last_stage="ehlo",
    ),
    *(
        TlsCase(id=f"starttls_answered_{name}", script=(on("starttls", Say(reply)),), last_stage="starttls")
        for name, reply in _REFUSALS.items()
    ),
    TlsCase(
        id="plaintext_in_the_segment_of_the_220",
        script=(on("starttls", Answer(after=_INJECTED)),),
        last_stage="starttls",
    ),
    TlsCase(
        id="plaintext_after_the_220",
        script=(on("tls", Delay(0.05, Say(_INJECTED))),),
        last_stage="tls",
    ),
    TlsCase(id="closed_in_handshake", script=(on("tls", Close()),), last_stage="tls"),
    TlsCase(id="reset_in_handshake", script=(on("tls", Reset()),), last_stage="tls"),
    TlsCase(id="hang_in_handshake", script=(on("tls", Hang()),), last_stage="tls"),
    TlsCase(id="garbage_in_handshake", script=(on("tls", Garbage()),), last_stage="tls"),
    TlsCase(
        id="auth_offered_only_before_tls",
        script=(on("ehlo", Say(_OFFERS_AUTH)), on("ehlo_tls", Say(ehlo_reply("PIPELINING")))),
        last_stage="ehlo_tls",
        diagnosis="auth_not_offered",
    ),
    TlsCase(
        id="reply_before_its_command_inside_tls",
        script=(on("ehlo_tls", Answer(after=b"250 2.0.0 ok\r\n")),),
        last_stage="ehlo_tls",
        diagnosis="protocol",
    ),
)


def tls_cases() -> tuple[TlsCase, ...]:
    """Return the attacks on STARTTLS, then every bad certificate and old TLS, both with STARTTLS and from the start.

    The client is to connect to 127.0.0.1 by address and to trust the server's `ca_file`.
    """
    securities: tuple[Security, ...] = ("starttls", "tls")
    certificates = tuple(
        TlsCase(
            id=f"certificate_{certificate}_{security}", security=security, certificate=certificate, last_stage="tls"
        )
        for security in securities
        for certificate in CERTIFICATES
        if certificate not in TRUSTED
    )
    old = tuple(
        TlsCase(id=f"only_old_tls_{security}", security=security, only_old_tls=True, last_stage="tls")
        for security in securities
    )
    return (*_SCRIPTED, *certificates, *old)
