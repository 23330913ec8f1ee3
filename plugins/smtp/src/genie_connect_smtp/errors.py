"""What can go wrong between us and the server.

::

    SmtpError
    ├── ServerRefused      the server answered, and the answer was no
    └── ConnectionFault    the connection can no longer be used, or never came about

Neither leaves the package: sending turns them into outcomes, the connector test into a diagnosis. They hold no
credential and no recipient.
"""

from __future__ import annotations

from enum import StrEnum

from genie_connect_smtp.replies import Reply
from genie_connect_smtp.stages import Stage


class Fault(StrEnum):
    """What the client itself noticed, by a name that rules and hints are found under."""

    DNS_FAILURE = "dns_failure"
    DNS_TIMEOUT = "dns_timeout"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    CONNECT_TIMEOUT = "connect_timeout"
    SILENT = "banner_timeout_no_bytes"
    TIMEOUT = "timeout"
    DISCONNECT = "disconnect"
    MALFORMED_REPLY = "malformed_reply"
    EXTRA_REPLY = "extra_reply"
    WRONG_VERSION = "ssl_wrong_version"
    TLS_TOO_OLD = "tls_too_old"
    TLS_FAILED = "tls_failed"
    TLS_INTERRUPTED = "tls_interrupted"
    CERT_EXPIRED = "cert_expired"
    CERT_NOT_YET_VALID = "cert_not_yet_valid"
    CERT_HOSTNAME = "cert_hostname"
    CERT_SELF_SIGNED = "cert_self_signed"
    CERT_UNTRUSTED = "cert_untrusted"
    STARTTLS_MISSING = "starttls_missing"
    PLAINTEXT_AFTER_STARTTLS = "plaintext_after_starttls"
    AUTH_NOT_OFFERED = "auth_not_offered"
    AUTH_NO_COMMON_MECHANISM = "auth_no_common_mechanism"
    PASSWORD_UNAVAILABLE = "password_unavailable"  # noqa: S105  # the name of a fault


class SmtpError(Exception):
    """Base of both; ``stage`` is how far things had come."""

    def __init__(self, stage: Stage, message: str) -> None:
        super().__init__(message)
        self.stage = stage


class ServerRefused(SmtpError):
    """The server answered with something else than what goes on; the connection itself may be fine."""

    def __init__(self, stage: Stage, reply: Reply) -> None:
        super().__init__(stage, f"{stage}: {reply.code} {reply.text}".rstrip())
        self.reply = reply


class ConnectionFault(SmtpError):
    """The connection is of no use; ``detail`` is evidence, and never text of a peer that may be no mail server."""

    def __init__(self, stage: Stage, fault: Fault, detail: str = "") -> None:
        super().__init__(stage, f"{stage}: {fault}: {detail}" if detail else f"{stage}: {fault}")
        self.fault = fault
        self.detail = detail
