"""One copy of the message to its recipients: as many transactions as it takes, each recipient in one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from genie_connect.errors import GenieConnectError
from genie_connect.mime import Composed
from genie_connect.model.address import Address
from genie_connect.model.batch import Batch, Delivery
from genie_connect_smtp.classify import Verdict
from genie_connect_smtp.composing import BatchComposer
from genie_connect_smtp.connection import Connection, Content
from genie_connect_smtp.errors import ConnectionFault, SmtpError
from genie_connect_smtp.extensions import Extensions
from genie_connect_smtp.limits import Limits
from genie_connect_smtp.outcomes import NOT_TRIED, TOO_LARGE, UNREADABLE, UNSUPPORTED, before_mail, result_of
from genie_connect_smtp.pool import Lease
from genie_connect_smtp.state import SmtpState
from genie_connect_smtp.stuffing import UnsendableContent
from genie_connect_smtp.transaction import Envelope, Result, Transaction


class CannotConnect(Exception):
    """There is no connection; holds what that means for everybody who waits for one."""

    def __init__(self, result: Result) -> None:
        super().__init__(result.verdict.kind)
        self.result = result


class _Stale(Exception):
    """The server had left a connection that was kept open; nothing was handed over on it."""


class SmtpDelivery:
    """The work on one copy. ``text`` explains a result that no reply explains."""

    def __init__(
        self, state: SmtpState, batch: Batch, delivery: Delivery, limits: Limits, composer: BatchComposer
    ) -> None:
        self.text: str | None = None
        self._state = state
        self._batch = batch
        self._delivery = delivery
        self._limits = limits
        self._composer = composer
        self._results: dict[str, Result] = {}
        self._composed: dict[bool, Composed] = {}

    async def run(self) -> None:
        """Send. Raises ``CannotConnect`` while nobody has a result yet."""
        # The same mailbox twice would be two copies, and a server may answer differently the second time.
        waiting = list({address.email: address for address in self._delivery.addresses}.values())
        while waiting:
            try:
                waiting = await self._one_transaction(waiting)
            except CannotConnect as failure:
                if not self._results:
                    raise
                self.settle_rest(failure.result)
                return

    def in_order(self) -> Iterator[tuple[str, Result]]:
        """Each envelope recipient with its result."""
        for address in self._delivery.addresses:
            yield address.email, self._results[address.email]

    def settle_rest(self, result: Result) -> None:
        """Give this result to everybody who has none."""
        for address in self._delivery.addresses:
            self._results.setdefault(address.email, result)

    async def _one_transaction(self, waiting: list[Address]) -> list[Address]:
        """Send to as many of those waiting as one transaction takes; returns the others."""
        try:
            return await self._with_connection(waiting, fresh=False)
        except _Stale:
            return await self._with_connection(waiting, fresh=True)

    async def _with_connection(self, waiting: list[Address], *, fresh: bool) -> list[Address]:
        try:
            lease = await self._state.pool.acquire(self._limits, fresh=fresh)
        except SmtpError as error:
            self.text = error.detail or None if isinstance(error, ConnectionFault) else None
            raise CannotConnect(result_of(error)) from None
        except TimeoutError:
            raise CannotConnect(before_mail(NOT_TRIED)) from None
        try:
            return await self._on(lease, waiting)
        finally:
            self._state.pool.release(lease)

    async def _on(self, lease: Lease, waiting: list[Address]) -> list[Address]:
        extensions = lease.connection.extensions
        try:
            # RFC 6376 section 5.3: a relay that has to encode 8-bit text anew would break the signature.
            composed = await self._compose(eight_bit="8bitmime" in extensions and self._state.signing is None)
        except (GenieConnectError, OSError) as error:
            return self._settle(waiting, UNREADABLE, str(error))
        waiting = self._refuse_international(waiting, composed, extensions)
        size_limit = extensions.max_message_bytes
        if size_limit is not None and composed.size_bytes > size_limit:
            text = f"the message has {composed.size_bytes} bytes; the server takes {size_limit}"
            return self._settle(waiting, TOO_LARGE, text)
        if not waiting:
            return []
        most = min(self._state.settings.max_recipients, extensions.max_recipients or len(waiting))
        now, later = waiting[:most], waiting[most:]
        transaction = Transaction(envelope_of(self._batch.envelope_from, now, composed, extensions))
        await self._run(lease.connection, transaction, composed)
        if lease.reused and _was_stale(transaction):
            lease.connection.abort()
            raise _Stale
        for address, result in zip(now, transaction.results, strict=True):
            if result is not None:
                self._results[address.email] = result
        return [*(now[index] for index in transaction.overflow), *later]

    async def _run(self, connection: Connection, transaction: Transaction, composed: Composed) -> None:
        content = Content(chunks=composed.chunks(), size_bytes=composed.size_bytes)
        try:
            await connection.run(transaction, content, self._limits)
        except (GenieConnectError, UnsendableContent, OSError) as error:
            # A file that is gone or was changed: the connection is dropped before the end mark.
            self.text = str(error)
            transaction.abandoned(UNREADABLE)

    async def _compose(self, *, eight_bit: bool) -> Composed:
        if eight_bit not in self._composed:
            composed = await self._composer.compose(self._delivery, eight_bit=eight_bit)
            if self._state.signing is not None:
                composed = await self._state.signing.sign(composed, now=self._composer.date)
            self._composed[eight_bit] = composed
        return self._composed[eight_bit]

    def _refuse_international(
        self, waiting: list[Address], composed: Composed, extensions: Extensions
    ) -> list[Address]:
        if "smtputf8" in extensions:
            return waiting
        if composed.needs_smtputf8 or self._batch.envelope_from.needs_smtputf8:
            return self._settle(waiting, UNSUPPORTED)
        self._settle([address for address in waiting if address.needs_smtputf8], UNSUPPORTED)
        return [address for address in waiting if not address.needs_smtputf8]

    def _settle(self, addresses: Iterable[Address], verdict: Verdict, text: str | None = None) -> list[Address]:
        self.text = text or self.text
        for address in addresses:
            self._results[address.email] = before_mail(verdict)
        return []


def envelope_of(sender: Address, recipients: Sequence[Address], composed: Composed, extensions: Extensions) -> Envelope:
    """The envelope with the parameters of MAIL that the server offers and the message needs."""
    return Envelope(
        sender=sender.email,
        recipients=tuple(address.email for address in recipients),
        size_bytes=composed.size_bytes if "size" in extensions else None,
        eight_bit=(composed.needs_8bit or composed.needs_smtputf8) and "8bitmime" in extensions,
        smtputf8=composed.needs_smtputf8 or any(address.needs_smtputf8 for address in (sender, *recipients)),
    )


def _was_stale(transaction: Transaction) -> bool:
    """Whether the very first answer, the one to MAIL, was that nobody is there any more."""
    if not transaction.replies:
        return any(_broke(result) for result in transaction.results)
    first = transaction.replies[0]
    return first.code in (221, 421) or (first.code == 451 and first.enhanced == "4.4.2")


def _broke(result: Result | None) -> bool:
    # A server that is silent is not gone: waiting for it once more would double the time.
    return result is not None and result.verdict.rule_id in _GONE


_GONE: Final = frozenset({"fault-disconnect", "fault-extra_reply"})
