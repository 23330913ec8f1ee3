"""A message that somebody sent to us, as a provider's inbound route hands it over."""

from __future__ import annotations

from datetime import datetime

import attrs

from genie_connect.model.address import Address


@attrs.frozen(kw_only=True, repr=False)
class InboundFile:
    """A file that came with a message. Nothing of it is to be trusted: name, type and content are the sender's."""

    filename: str
    content: bytes
    content_type: str = "application/octet-stream"
    content_id: str | None = None

    def __repr__(self) -> str:
        return f"InboundFile({self.filename!r}, {len(self.content)} bytes)"


@attrs.frozen(kw_only=True, repr=False)
class InboundMessage:
    """A message that was received.

    Addresses that are none are left out of ``sender``, ``to`` and ``cc``, and stand in ``headers`` as they came.
    ``envelope_to`` is who it was received for, which the header need not say. ``reply_text`` is the new part of a
    reply, where the provider found it. ``spam_score`` is the provider's own, on its own scale.
    """

    sender: Address | None = None
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    subject: str = ""
    date: datetime | None = None
    message_id: str | None = None
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    text: str | None = None
    html: str | None = None
    reply_text: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    files: tuple[InboundFile, ...] = ()
    envelope_from: str | None = None
    envelope_to: tuple[str, ...] = ()
    spam: bool | None = None
    spam_score: float | None = None

    def __repr__(self) -> str:
        return f"InboundMessage({self.subject!r:.60}, {len(self.files)} files)"

    def header(self, name: str) -> str | None:
        """The first header field of a name, in any case."""
        wanted = name.lower()
        return next((value for field, value in self.headers if field.lower() == wanted), None)
