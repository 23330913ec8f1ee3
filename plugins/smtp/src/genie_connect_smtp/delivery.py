"""One copy of the message to its recipients: as many transactions as it takes, each recipient in one of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from genie_connect.mime import Composed
from genie_connect.model.address import Address
from genie_connect.model.batch import Batch, Delivery
from genie_connect_smtp.classify import Verdict
from genie_connect_smtp.content import Content
from genie_connect_smtp.extensions import Extensions
from genie_connect_smtp.outcomes import TOO_LARGE, UNSUPPORTED, before_mail
from genie_connect_smtp.transaction import Envelope, Result, Transaction


class SmtpDelivery:
    """What is left to do for one copy, and what is known. ``text`` explains a result that no reply explains.

    ``moved`` says that a stale connection has been left behind already. ``composed`` holds the copy as bytes, for
    servers with and without 8BITMIME.
    """

    def __init__(self, batch: Batch, delivery: Delivery, index: int = 0) -> None:
        self.index = index
        self.copy = delivery
        self.text: str | None = None
        self.moved = False
        self.composed: dict[bool, Composed] = {}
        # The same mailbox twice would be two copies, and a server may answer differently the second time.
        addresses = delivery.addresses
        self.waiting = list({address.email: address for address in addresses}.values() if addresses[1:] else addresses)
        self._batch = batch
        self._now: list[Address] = []
        self._results: dict[str, Result] = {}

    def in_order(self) -> Iterator[tuple[str, Result]]:
        """Each envelope recipient with its result."""
        results = self._results
        for address in self.copy.addresses:
            yield address.email, results[address.email]

    def settle_rest(self, result: Result) -> None:
        """Give this result to everybody who has none."""
        self.waiting = []
        for address in self.copy.addresses:
            self._results.setdefault(address.email, result)

    def transaction(
        self, composed: Composed, extensions: Extensions, *, max_recipients: int, domains: Collection[str] = ()
    ) -> Transaction | None:
        """The next transaction; ``None`` where all are settled, or no recipient's domain may be added to ``domains``.

        ``domains`` are those that the connection has had. Raises what reading small content raises.
        """
        if "smtputf8" not in extensions:
            self._refuse_international(composed)
        size_limit = extensions.max_message_bytes
        if size_limit is not None and composed.size_bytes > size_limit:
            text = f"the message has {composed.size_bytes} bytes; the server takes {size_limit}"
            self.settle(self.waiting, TOO_LARGE, text)
        most = min(max_recipients, extensions.max_recipients or max_recipients)
        self._now = _within_domains(self.waiting, domains, extensions.max_recipient_domains)[:most]
        if not self._now:
            return None
        content = Content.of(composed.chunks(), composed.size_bytes)
        envelope = envelope_of(self._batch.envelope_from, self._now, composed, extensions)
        transaction = Transaction(envelope, content, self)
        transaction.moved = self.moved
        return transaction

    def absorb(self, transaction: Transaction) -> None:
        """Take note of how a transaction ended; those it had no room for wait for the next."""
        if transaction.returned:
            self.moved = transaction.moved
            return
        self.text = transaction.text or self.text
        for address, result in zip(self._now, transaction.results, strict=True):
            if result is not None:
                self._results[address.email] = result
        results = self._results
        self.waiting = [address for address in self.waiting if address.email not in results]

    def settle(self, addresses: Iterable[Address], verdict: Verdict, text: str | None = None) -> None:
        """Give these the result of a check that was made before the server was told anything."""
        self.text = text or self.text
        for address in addresses:
            self._results[address.email] = before_mail(verdict)
        self.waiting = [address for address in self.waiting if address.email not in self._results]

    def _refuse_international(self, composed: Composed) -> None:
        if composed.needs_smtputf8 or self._batch.envelope_from.needs_smtputf8:
            self.settle(self.waiting, UNSUPPORTED)
        elif any(address.needs_smtputf8 for address in self.waiting):
            self.settle([address for address in self.waiting if address.needs_smtputf8], UNSUPPORTED)


def envelope_of(sender: Address, recipients: Sequence[Address], composed: Composed, extensions: Extensions) -> Envelope:
    """The envelope with the parameters of MAIL that the server offers and the message needs."""
    return Envelope(
        sender=sender.email,
        recipients=tuple([address.email for address in recipients]),
        size_bytes=composed.size_bytes if "size" in extensions else None,
        eight_bit=(composed.needs_8bit or composed.needs_smtputf8) and "8bitmime" in extensions,
        smtputf8=composed.needs_smtputf8 or any(address.needs_smtputf8 for address in (sender, *recipients)),
    )


def _within_domains(addresses: list[Address], had: Collection[str], limit: int | None) -> list[Address]:
    """Those that keep the connection within so many recipient domains (RFC 9422 section 4.3)."""
    if limit is None:
        return addresses
    domains, fitting = set(had), []
    for address in addresses:
        domain = address.domain.lower()
        if domain in domains or len(domains) < limit:
            domains.add(domain)
            fitting.append(address)
    return fitting
