"""One copy of the message to its recipients: as many transactions as it takes, each recipient in one of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from genie_connect.mime import Composed
from genie_connect.model.address import Address
from genie_connect.model.batch import Delivery
from genie_connect_smtp.classify import Verdict
from genie_connect_smtp.outcomes import before_mail, told_when
from genie_connect_smtp.transaction import Result, Transaction


class SmtpDelivery:
    """What is left to do for one copy, and what is known. ``text`` explains a result that no reply explains.

    ``place`` is that of its first outcome among those of the batch. ``composed`` holds the copy as bytes, for
    servers with and without 8BITMIME.
    """

    # How all of them begin, and most of them stay.
    text: str | None = None
    composed: Mapping[bool, Composed] = MappingProxyType({})
    _put_off: Mapping[str, Result] = MappingProxyType({})

    def __init__(self, delivery: Delivery, place: int = 0) -> None:
        self.place = place
        self.copy = delivery
        # The same mailbox twice would be two copies, and a server may answer differently the second time.
        addresses = delivery.addresses
        self.waiting = list({address.email: address for address in addresses}.values() if addresses[1:] else addresses)
        self._now: Sequence[Address] = ()
        self._results: dict[str, Result] = {}

    def in_order(self) -> list[tuple[str, Result]]:
        """Each envelope recipient with its result."""
        results = self._results
        return [(address.email, results[address.email]) for address in self.copy.addresses]

    def settle_rest(self, result: Result) -> None:
        """Give this result to everybody who has none.

        Who was put off keeps what the server said then; only when to come again is known better now.
        """
        self.waiting = []
        for address in self.copy.addresses:
            said = self._put_off.get(address.email)
            self._results.setdefault(address.email, result if said is None else told_when(said, result))

    def goes_to(self, addresses: Sequence[Address]) -> None:
        """These are the recipients of the transaction whose end is absorbed next."""
        self._now = addresses

    def absorb(self, transaction: Transaction, *, again: Collection[int] = ()) -> None:
        """Take note of how a transaction ended; those it had no room for wait for the next.

        Likewise those ``again``, by index: the server took nothing for them, and may in a moment.
        """
        if transaction.returned:
            return
        self.text = transaction.text or self.text
        for index in again:
            said, transaction.results[index] = transaction.results[index], None
            if said is not None:
                self._put_off = {**self._put_off, self._now[index].email: said}
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
