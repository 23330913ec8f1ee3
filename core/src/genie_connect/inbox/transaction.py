"""One mail transaction: its envelope, the content that arrives in chunks, and what makes content unacceptable."""

from __future__ import annotations

from datetime import datetime

import attrs

from genie_connect.inbox.framing import Content
from genie_connect.inbox.policy import Received
from genie_connect.inbox.reply import Reply
from genie_connect.inbox.syntax import PathArgument
from genie_connect.inbox.turn import SessionSettings


@attrs.frozen(kw_only=True)
class Chunk:
    """A BDAT chunk being received: the octets still to come, and the refusal it will get, if any."""

    line: bytes
    remaining: int
    last: bool
    refusal: Reply | None


class Transaction:
    """What MAIL opened; a fresh one stands for "no transaction"."""

    def __init__(self) -> None:
        self.envelope_from = ""
        self.recipients: list[str] = []
        self.recipients_tried = 0
        self.body = "7BIT"
        self.smtputf8 = False
        self._content = bytearray()
        self.truncated = False

    def begin(self, path: PathArgument) -> None:
        """Take the sender and the parameters of an accepted MAIL."""
        self.envelope_from = path.address
        self.body = (path.parameters.get("BODY") or "7BIT").upper()
        self.smtputf8 = "SMTPUTF8" in path.parameters

    def add_octets(self, octets: bytes, max_bytes: int) -> None:
        """Add octets of a chunk; beyond `max_bytes` nothing is kept."""
        if self.truncated or len(self._content) + len(octets) > max_bytes:
            self.truncated = True
            self._content.clear()
        else:
            self._content += octets

    def content(self) -> Content:
        """Return what the chunks so far add up to."""
        return Content(data=bytes(self._content), truncated=self.truncated)

    def received(self, content: Content, *, auth_user: str | None, tls: bool, received_at: datetime) -> Received:
        """Return the finished message."""
        return Received(
            envelope_from=self.envelope_from,
            recipients=tuple(self.recipients),
            data=content.data,
            smtputf8=self.smtputf8,
            body=self.body,
            auth_user=auth_user,
            tls=tls,
            received_at=received_at,
        )

    def check(self, content: Content, settings: SessionSettings) -> Reply | None:
        """Return the refusal that the content deserves, or None."""
        data = content.data
        if content.truncated or len(data) > settings.max_message_bytes:
            return too_large(settings)
        if not data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r"):
            # RFC 5321 section 2.3.8; a lone CR or LF is how one message is smuggled inside another.
            return Reply(554, "5.6.0", "CR or LF on its own in the message, lines end with CR LF")
        if max(map(len, data.split(b"\r\n"))) > settings.max_body_line_bytes:
            return Reply(554, "5.6.0", f"a line is longer than {settings.max_body_line_bytes} octets")
        if self.body != "8BITMIME" and not data.isascii():
            # RFC 6531 section 3.6 asks for 8BITMIME with SMTPUTF8 too.
            return Reply(554, "5.6.1", "8-bit content needs BODY=8BITMIME in MAIL")
        return None


def too_large(settings: SessionSettings) -> Reply:
    """Return the refusal of a message over the limit (RFC 1870 section 6)."""
    return Reply(552, "5.3.4", f"the message is larger than {settings.max_message_bytes} bytes")
