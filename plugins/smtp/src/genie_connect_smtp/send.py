"""Handing a batch over: which copy goes when, and when to stop asking a server that does not want us."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Final

from genie_connect.contract import SendContext
from genie_connect.model.batch import Batch
from genie_connect.model.outcome import Outcome, Scope, State
from genie_connect_smtp.composing import BatchComposer
from genie_connect_smtp.delivery import CannotConnect, SmtpDelivery
from genie_connect_smtp.limits import Limits
from genie_connect_smtp.outcomes import BROKEN, NOT_TRIED, before_mail, outcome_of
from genie_connect_smtp.state import SmtpState
from genie_connect_smtp.transaction import Result

_log = logging.getLogger(__name__)

_PASSING_KINDS: Final = frozenset({"connect", "protocol", "temporary"})
_MAX_FAILURES_IN_A_ROW: Final = 2
"""Connections that fail one after another without a message in between: the next would fail as well."""


async def send(state: SmtpState, batch: Batch, context: SendContext) -> Sequence[Outcome]:
    """Outcomes of all recipients of all deliveries, in their order."""
    return await _Sending(state, batch, context).run()


class _Sending:
    """One batch on its way."""

    def __init__(self, state: SmtpState, batch: Batch, context: SendContext) -> None:
        self._state = state
        self._batch = batch
        self._composer = BatchComposer(batch, context.clock.now())
        self._limits = Limits(state.settings, context)
        self._waiting = deque(range(len(batch.deliveries)))
        self._outcomes: list[Sequence[Outcome]] = [()] * len(batch.deliveries)
        self._stopped: Result | None = None
        self._failures = 0

    async def run(self) -> Sequence[Outcome]:
        if self._waiting:
            # The first goes alone: a password that is wrong is tried once, not on every connection at once.
            await self._next(alone=True)
        workers = min(self._state.settings.max_connections, len(self._waiting))
        if workers > 1:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(self._work(), name="SMTP delivery")
        while self._waiting:
            await self._next(alone=True)
        return [outcome for outcomes in self._outcomes for outcome in outcomes]

    async def _work(self) -> None:
        while self._waiting and self._stopped is None:
            if not await self._next(alone=False):
                return

    async def _next(self, *, alone: bool) -> bool:
        """Take one delivery; ``False`` if there is no connection for it and others may take it."""
        index = self._waiting.popleft()
        delivery = SmtpDelivery(self._state, self._batch, self._batch.deliveries[index], self._limits, self._composer)
        try:
            result = self._stopped or (before_mail(NOT_TRIED) if self._limits.over else None)
            if result is None:
                await delivery.run()
                self._note(delivery)
            else:
                delivery.settle_rest(result)
        except CannotConnect as failure:
            if not alone:
                # A server that takes fewer connections than we would make is no reason to give up.
                self._waiting.appendleft(index)
                return False
            delivery.settle_rest(failure.result)
            self._note(delivery)
        except Exception:  # noqa: BLE001  # logged, and told as an outcome
            # A bug that one copy brings out must not take the outcomes of all others with it. Whether this copy was
            # handed over is not known.
            _log.exception("sending failed in a way that nobody foresaw")
            delivery.settle_rest(before_mail(BROKEN))
        connection = self._state.runtime.connection
        self._outcomes[index] = [
            outcome_of(email, connection, result, text=delivery.text) for email, result in delivery.in_order()
        ]
        return True

    def _note(self, delivery: SmtpDelivery) -> None:
        """Stop the batch where the rest of it would only meet the same."""
        results = [result for _, result in delivery.in_order()]
        about_us = [result for result in results if result.verdict.scope is Scope.CONNECTION]
        if not about_us or any(result.verdict.state is State.ACCEPTED for result in results):
            self._failures = 0
            return
        self._failures += 1
        if about_us[0].verdict.kind not in _PASSING_KINDS or self._failures >= _MAX_FAILURES_IN_A_ROW:
            self._stopped = about_us[0]
