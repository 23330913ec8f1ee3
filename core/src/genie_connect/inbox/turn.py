"""The words of a session: its states, its settings, and the turn, one thing a client did with the reply it is due."""

from __future__ import annotations

import enum
from typing import Final

import attrs

from genie_connect.inbox.policy import Received
from genie_connect.inbox.reply import Reply
from genie_connect.inbox.sasl import Credentials
from genie_connect.inbox.syntax import PathArgument

DEFAULT_EXTENSIONS: Final = frozenset({"PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING"})


class State(enum.Enum):
    """Where the conversation stands."""

    REFUSED = "the greeting refused the client: only QUIT is answered"
    FRESH = "no EHLO yet, or none since TLS began"
    IDLE = "no mail transaction"
    ENVELOPE = "MAIL accepted"
    RECIPIENTS = "MAIL and at least one RCPT accepted"
    CHUNKS = "a BDAT chunk accepted, more to come"
    CHUNK = "inside the octets of a BDAT chunk"
    DATA = "inside the text that follows DATA"
    AUTH = "AUTH waits for the client's response"
    TLS = "STARTTLS accepted, handshake to come"
    CLOSED = "the server has said good-bye"


@attrs.frozen(kw_only=True)
class SessionSettings:
    """What the server offers and demands; sizes in bytes.

    `max_recipients` below 100 breaks RFC 5321 section 4.5.3.1.8, which is at times what a test wants.
    `max_body_line_bytes` does not count CR LF (RFC 5321 section 4.5.3.1.6).
    """

    hostname: str = "localhost"
    extensions: frozenset[str] = DEFAULT_EXTENSIONS
    max_message_bytes: int = 25 * 1024 * 1024
    max_recipients: int = 100
    max_command_line_bytes: int = 2048
    max_body_line_bytes: int = 998
    starttls: bool = False
    require_tls: bool = False
    auth_mechanisms: tuple[str, ...] = ()
    require_auth: bool = False
    allow_plaintext_auth: bool = False

    def keywords(self, *, tls: bool) -> list[str]:
        """Return the EHLO keywords to offer, in a stable order."""
        offered = [f"SIZE {self.max_message_bytes}" if name == "SIZE" else name for name in sorted(self.extensions)]
        if self.starttls and not tls:
            offered.append("STARTTLS")
        if self.auth_mechanisms and (tls or self.allow_plaintext_auth):
            offered.append("AUTH " + " ".join(self.auth_mechanisms))
        return offered


@attrs.frozen(kw_only=True)
class Turn:
    """One thing the client did and the reply it is due.

    `stage` is one of banner, ehlo, helo, starttls, auth, mail, rcpt, data, bdat, final, rset, noop, vrfy, help, quit,
    unknown. `index` counts the recipients tried in this transaction, or the steps of one AUTH exchange, from 0.
    `pipelined` says that more bytes were already there when the line was cut.
    """

    stage: str
    reply: Reply
    line: bytes = attrs.field(default=b"", repr=False)  # it may be a response of AUTH
    index: int = 0
    pipelined: bool = False
    path: PathArgument | None = None
    credentials: Credentials | None = None
    message: Received | None = None
