"""What one connection is fed with: copies become transactions when there is room, and outcomes at their end."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from genie_connect.errors import GenieConnectError
from genie_connect.mime import Composed
from genie_connect.model.outcome import State
from genie_connect_smtp.classify import classify_reply
from genie_connect_smtp.composing import BatchComposer
from genie_connect_smtp.connection import Connection
from genie_connect_smtp.delivery import SmtpDelivery
from genie_connect_smtp.outcomes import BROKEN, UNREADABLE, before_mail, why_unreadable
from genie_connect_smtp.pace_signals import Signal, reading_of
from genie_connect_smtp.packing import Packing
from genie_connect_smtp.stages import Stage
from genie_connect_smtp.state import SmtpState
from genie_connect_smtp.transaction import Result, Transaction

_log = logging.getLogger(__name__)

_MOST_ASIDE: Final = 16
"""Copies that are composed or signed in threads for one connection at once."""


class Queue(Protocol):
    """Where copies come from, and who hears what became of them."""

    @property
    def waiting(self) -> int:
        """How many copies there are to take."""
        ...

    @property
    def patience_s(self) -> float:
        """The longest wait, in seconds, for which a connection is kept."""
        ...

    def take(self) -> SmtpDelivery | None:
        """The next copy to be tried."""
        ...

    def put_back(self, delivery: SmtpDelivery) -> None:
        """There is something left to do for this copy."""
        ...

    def ended(self, delivery: SmtpDelivery) -> None:
        """All recipients of this copy have their result."""
        ...


class Feed:
    """The supply of one connection.

    ``on_their_way`` are the copies that this connection has. ``held`` says that its next turn comes too late to keep
    the server waiting until then, so that it takes nothing more.
    """

    def __init__(self, queue: Queue, connection: Connection, state: SmtpState, composer: BatchComposer) -> None:
        self.held = False
        self.on_their_way: set[SmtpDelivery] = set()
        self._queue = queue
        self._connection = connection
        self._session = connection.session
        self._state = state
        self._composer = composer
        # RFC 6376 section 5.3: a relay that has to encode 8-bit text anew would break the signature.
        self._eight_bit = "8bitmime" in connection.extensions and state.signing is None
        self._packing = Packing(
            composer.envelope_from, connection.extensions, max_recipients=state.settings.max_recipients
        )
        self._ready: deque[SmtpDelivery] = deque()
        self._aside: dict[asyncio.Task[None], SmtpDelivery] = {}
        self._loop = asyncio.get_running_loop()
        self._pace = state.pace
        # How many messages the server has had on this connection, of those whose end is known here.
        self._served = connection.session.served
        self._left_at: dict[Transaction, float] = {}
        self._turns = state.turns
        self._waits = False

    @property
    def pending(self) -> bool:
        """Whether a copy is being composed aside, or waits for its turn."""
        return bool(self._aside or self._ready or self._waits)

    def next(self) -> Transaction | None:
        """The next transaction that this connection can take, if it may leave now."""
        if self._waits or self.held:
            return None
        now = self._loop.time()
        if self._pace.limited:
            self._keep_to_what_was_learned(now)
        if self._session.full or len(self._aside) >= _MOST_ASIDE or not (self._ready or self._queue.waiting):
            return None
        wait_s = self._pace.admit(now)
        if wait_s > 0:
            self._wait(now)
            return None
        transaction = self._next()
        if transaction is None:
            self._pace.message_lost(now)
        else:
            self._left_at[transaction] = now
        return transaction

    def _keep_to_what_was_learned(self, now: float) -> None:
        """No more messages on this connection than the server takes, and none where it takes fewer connections."""
        announced = self._connection.extensions.max_transactions
        most = self._pace.messages_per_connection(now)
        if self._state.pool.surplus(now):
            most = 0
        self._session.max_transactions = most if announced is None else min(most, announced)

    def _wait(self, now: float) -> None:
        if self._turns.expected_wait_s(now) < self._queue.patience_s:
            self._waits = True
            self._turns.join(self._my_turn, now)
        else:
            self.held = True

    def _my_turn(self) -> None:
        self._waits = False
        self._connection.pump()

    def _next(self) -> Transaction | None:
        while not self._session.full and len(self._aside) < _MOST_ASIDE:
            delivery = self._ready.popleft() if self._ready else self._queue.take()
            if delivery is None:
                return None
            transaction = self._transaction(delivery)
            if transaction is not None:
                return transaction
        return None

    def ended(self, transaction: Transaction) -> None:
        """A transaction has ended."""
        delivery: SmtpDelivery = transaction.owner
        self.on_their_way.discard(delivery)
        delivery.absorb(transaction, again=self._tell_pace(transaction))
        if delivery.waiting:
            self._queue.put_back(delivery)
        else:
            self._queue.ended(delivery)

    def _tell_pace(self, transaction: Transaction) -> Sequence[int]:
        """Pass the server's answer on; the recipients who were too much for now, and so have another turn."""
        now, left_at = self._loop.time(), self._left_at.pop(transaction)
        if transaction.returned:
            self._tell_of_farewell(transaction, now, left_at)
            return ()
        served = self._served
        self._served += 1
        results = transaction.settled()
        if any(result.verdict.state is State.ACCEPTED for result in results):
            self._pace.message_accepted(now, left_at, served + 1)
            return ()
        again = [index for index, result in enumerate(transaction.results) if result is not None and _too_much(result)]
        if not results:
            self._pace.message_lost(left_at)
            return ()
        # Recipients are refused for their own sake; what was said last is about the message.
        telling = transaction.results[again[-1]] if again else None
        telling = telling or max(results, key=lambda result: result.stage is Stage.FINAL)
        signal = self._pace.message_answered(
            now, left_at, stage=telling.stage, verdict=telling.verdict, reply=telling.reply, served=served
        )
        # A server that ends connections before it has had a message on them has another trouble.
        in_vain = not served and signal in (Signal.ENDED, Signal.SESSION)
        return () if in_vain or not self._pace.adaptive else again

    def _tell_of_farewell(self, transaction: Transaction, now: float, left_at: float) -> None:
        """The transaction goes elsewhere; why the server left this connection may be about the pace all the same."""
        if transaction.farewell is None:
            self._pace.message_lost(left_at)
            return
        stage, reply = transaction.farewell
        verdict = classify_reply(stage, reply)
        self._pace.message_answered(now, left_at, stage=stage, verdict=verdict, reply=reply, served=self._served)

    def dismiss(self) -> None:
        """Nothing will come any more."""
        if self._waits:
            self._stop_waiting()
            self._loop.call_soon(self._connection.pump)

    def _stop_waiting(self) -> None:
        if self._waits:
            self._waits = False
            self._turns.leave(self._my_turn)

    async def close(self) -> None:
        """Give back what was composed and not sent."""
        self._stop_waiting()
        aside = list(self._aside)
        for task in aside:
            task.cancel()
        if aside:
            await asyncio.gather(*aside, return_exceptions=True)
        for delivery in self._ready:
            self._queue.put_back(delivery)
        self._ready.clear()

    def _transaction(self, delivery: SmtpDelivery) -> Transaction | None:
        try:
            composed = delivery.composed.get(self._eight_bit) or self._compose_now(delivery)
            if composed is None:
                self._compose_aside(delivery)
                return None
            transaction = self._packing.transaction(delivery, composed, self._session.domains)
        except (GenieConnectError, ValueError, OSError) as error:
            self._unreadable(delivery, error)
            return None
        except Exception:  # noqa: BLE001  # logged, and told as an outcome
            _log.exception("a copy could not be put together, for a reason that nobody foresaw")
            delivery.settle_rest(before_mail(BROKEN))
            self._queue.ended(delivery)
            return None
        if transaction is not None:
            self.on_their_way.add(delivery)
        elif delivery.waiting:
            # Only the connection is in the way: it has had as many recipient domains as the server takes.
            self._session.retire()
            self._queue.put_back(delivery)
        else:
            self._queue.ended(delivery)
        return transaction

    def _compose_now(self, delivery: SmtpDelivery) -> Composed | None:
        """The copy, or ``None`` where putting it together would hold the event loop up."""
        composed = self._composer.compose_now(delivery.copy, eight_bit=self._eight_bit)
        if composed is not None and self._state.signing is not None:
            composed = self._state.signing.sign_now(composed, now=self._composer.date)
        return composed

    def _compose_aside(self, delivery: SmtpDelivery) -> None:
        task = asyncio.get_running_loop().create_task(self._compose(delivery), name="SMTP composing")
        self._aside[task] = delivery
        task.add_done_callback(self._composed)

    async def _compose(self, delivery: SmtpDelivery) -> None:
        composed = await self._composer.compose(delivery.copy, eight_bit=self._eight_bit)
        if self._state.signing is not None:
            composed = await self._state.signing.sign(composed, now=self._composer.date)
        delivery.composed = {**delivery.composed, self._eight_bit: composed}

    def _composed(self, task: asyncio.Task[None]) -> None:
        delivery = self._aside.pop(task)
        error = None if task.cancelled() else task.exception()
        if error is None:
            if task.cancelled():
                self._queue.put_back(delivery)
            else:
                self._ready.append(delivery)
        elif isinstance(error, GenieConnectError | OSError):
            self._unreadable(delivery, error)
        else:
            _log.error("a copy could not be put together, for a reason that nobody foresaw", exc_info=error)
            delivery.settle_rest(before_mail(BROKEN))
            self._queue.ended(delivery)
        self._connection.pump()

    def _unreadable(self, delivery: SmtpDelivery, error: Exception) -> None:
        delivery.settle(delivery.waiting, UNREADABLE, why_unreadable(error))
        self._queue.ended(delivery)


def _too_much(result: Result) -> bool:
    """Whether the server has not taken it only because it was one too many for now."""
    if result.verdict.state is not State.DEFERRED:
        return False
    return reading_of(result.stage, result.verdict, result.reply).signal not in (Signal.NONE, Signal.UNCLEAR)
