"""What the server received, and the decisions a host may take over."""

from __future__ import annotations

from datetime import datetime

import attrs

from genie_connect.inbox.reply import Reply


@attrs.frozen(kw_only=True)
class Received:
    """One message the server took: the envelope, and the content byte for byte after dot-unstuffing."""

    envelope_from: str
    recipients: tuple[str, ...]
    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")
    smtputf8: bool
    body: str
    auth_user: str | None
    tls: bool
    received_at: datetime


class Policy:
    """Decisions of the server; a subclass overrides what it wants to refuse.

    Each method returns None for "ok" or the `Reply` to give instead. A reply of 4xx or 5xx refuses, 421 also ends the
    connection, and a 2xx reply accepts with another text. An exception is logged and answered with 451 4.3.0.
    """

    def on_connect(self, peer: str) -> Reply | None:
        """Decide on a client by its network address before the greeting is sent."""
        return None

    def on_auth(self, username: str, password: str) -> Reply | None:
        """Decide on credentials that the server's own list, where there is one, already accepted."""
        return None

    def on_mail(self, envelope_from: str, auth_user: str | None) -> Reply | None:
        """Decide on a sender; the null reverse-path is the empty string."""
        return None

    def on_rcpt(self, recipient: str, envelope_from: str) -> Reply | None:
        """Decide on one recipient."""
        return None

    def on_message(self, message: Received) -> Reply | None:
        """Decide on a complete message; None answers 250 and the message counts as accepted."""
        return None
