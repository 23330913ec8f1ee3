"""Copies as the transactions that one server takes: checks before it is told anything, envelope, content."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from genie_connect.mime import Composed
from genie_connect.model.address import Address
from genie_connect_smtp.content import Content
from genie_connect_smtp.delivery import SmtpDelivery
from genie_connect_smtp.extensions import Extensions
from genie_connect_smtp.outcomes import TOO_LARGE, UNSUPPORTED
from genie_connect_smtp.transaction import Envelope, Transaction


class Packing:
    """Makes the transactions of one batch for one connection: what the server offers is looked up once."""

    def __init__(self, sender: Address, extensions: Extensions, *, max_recipients: int) -> None:
        self._sender = sender.email
        self._sender_needs_utf8 = sender.needs_smtputf8
        self._takes_utf8 = "smtputf8" in extensions
        self._takes_8bit = "8bitmime" in extensions
        self._takes_size = "size" in extensions
        self._most_bytes = extensions.max_message_bytes
        self._most_recipients = min(max_recipients, extensions.max_recipients or max_recipients)
        self._most_domains = extensions.max_recipient_domains

    def transaction(
        self, delivery: SmtpDelivery, composed: Composed, domains: Collection[str] = ()
    ) -> Transaction | None:
        """The next transaction; ``None`` where all are settled, or no recipient's domain may be added to ``domains``.

        ``domains`` are those that the connection has had. Raises what reading small content raises.
        """
        if not self._takes_utf8:
            self._refuse_international(delivery, composed)
        if self._most_bytes is not None and composed.size_bytes > self._most_bytes:
            text = f"the message has {composed.size_bytes} bytes; the server takes {self._most_bytes}"
            delivery.settle(delivery.waiting, TOO_LARGE, text)
        now = delivery.waiting[: self._most_recipients]
        if self._most_domains is not None:
            now = _within_domains(delivery.waiting, domains, self._most_domains)[: self._most_recipients]
        if not now:
            return None
        content = Content.of_message(composed)
        transaction = Transaction(self.envelope(now, composed), content, delivery)
        delivery.goes_to(now)
        return transaction

    def envelope(self, recipients: Sequence[Address], composed: Composed) -> Envelope:
        """The envelope with the parameters of MAIL that the server offers and the message needs."""
        utf8 = composed.needs_smtputf8 or self._sender_needs_utf8 or bool(_international(recipients))
        return Envelope(
            sender=self._sender,
            recipients=tuple([address.email for address in recipients]),
            size_bytes=composed.size_bytes if self._takes_size else None,
            eight_bit=self._takes_8bit and (composed.needs_8bit or composed.needs_smtputf8),
            smtputf8=utf8,
        )

    def _refuse_international(self, delivery: SmtpDelivery, composed: Composed) -> None:
        everybody = composed.needs_smtputf8 or self._sender_needs_utf8
        refused = delivery.waiting if everybody else _international(delivery.waiting)
        if refused:
            delivery.settle(refused, UNSUPPORTED)


def _within_domains(addresses: Sequence[Address], had: Collection[str], limit: int) -> list[Address]:
    """Those that keep the connection within so many recipient domains (RFC 9422 section 4.3)."""
    domains, fitting = set(had), []
    for address in addresses:
        domain = address.domain.lower()
        if domain in domains or len(domains) < limit:
            domains.add(domain)
            fitting.append(address)
    return fitting


def _international(addresses: Sequence[Address]) -> list[Address]:
    return [address for address in addresses if not address.local.isascii()]
