"""Handing a batch over: which copy goes when, and when to stop asking a server that does not want us."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from genie_connect.contract import SendContext
from genie_connect.model.batch import Batch
from genie_connect.model.outcome import Outcome, Scope, State
from genie_connect_smtp.composing import BatchComposer
from genie_connect_smtp.connection import Connection
from genie_connect_smtp.delivery import SmtpDelivery
from genie_connect_smtp.errors import ConnectionFault, SmtpError
from genie_connect_smtp.feed import Feed
from genie_connect_smtp.limits import Limits
from genie_connect_smtp.outcomes import BROKEN, HELD_BACK, NOT_TRIED, OutcomeWriter, before_mail, result_of, untried
from genie_connect_smtp.state import SmtpState
from genie_connect_smtp.transaction import Result

_log = logging.getLogger(__name__)

_PASSING_KINDS: Final = frozenset({"connect", "protocol", "temporary"})
LEAST_PATIENCE_S: Final = 5.0
"""For a wait as short as this a connection is kept, however short the time is for which idle ones are."""
_MAX_FAILURES_IN_A_ROW: Final = 2
"""Connections that fail one after another without a message in between: the next would fail as well."""


async def send(state: SmtpState, batch: Batch, context: SendContext) -> Sequence[Outcome]:
    """Outcomes of all recipients of all deliveries, in their order."""
    return await _Sending(state, batch, context).run()


class _Sending:
    """One batch on its way. Workers, each with a connection, share one queue of copies."""

    def __init__(self, state: SmtpState, batch: Batch, context: SendContext) -> None:
        self._state = state
        self._batch = batch
        self._composer = BatchComposer(batch, context.clock.now(), state.settings.webhook_provider)
        self._limits = Limits(state.settings, context)
        self._returned: deque[SmtpDelivery] = deque()
        self._taken = 0
        self._left = len(batch.deliveries)
        self._writer = OutcomeWriter(state.runtime.connection)
        # One place for each recipient, and the first of the copy that is taken next. Nothing else is kept of a copy:
        # the garbage collector looks through whatever stays.
        self._outcomes: list[Outcome | None] = [None] * len(batch.recipients)
        self._place = 0
        self._stopped: Result | None = None
        self._failures = 0
        self._loop = asyncio.get_running_loop()
        self._group: asyncio.TaskGroup | None = None
        # Whether others may be worth having; and whether one of them waits for his turn with no connection.
        self._alone = True
        self._one_rests = False
        self._workers = 1
        self._team: set[asyncio.Task[None]] = set()
        self._feeds: set[Feed] = set()
        self._resting: set[asyncio.Task[None]] = set()

    async def run(self) -> Sequence[Outcome]:
        if self._left == 1:
            await self._work()
        elif self._left:
            async with asyncio.TaskGroup() as group:
                # The first begins alone: a password that is wrong is tried once, not on every connection at once.
                # Connections that are open have been through that.
                self._group = group
                self._employ(group)
                self._hire(group, min(self._state.pool.idle, self.waiting) - 1)
                try:
                    while self._team:
                        await asyncio.wait(self._team)
                finally:
                    # Whatever ends it, nobody is to be hired into a group that is being dissolved.
                    self._group = None
        return [outcome for outcome in self._outcomes if outcome is not None]

    def take(self) -> SmtpDelivery | None:
        """The next copy that is to be tried; those that are not are settled here."""
        while self.waiting:
            delivery = self._next()
            result = self._stopped or (self._untimely() if self._limits.over else None)
            if result is None:
                return delivery
            delivery.settle_rest(result)
            self._conclude(delivery)
        return None

    @property
    def patience_s(self) -> float:
        """The longest wait, in seconds, for which a connection is kept."""
        return min(self._limits.remaining_s, max(LEAST_PATIENCE_S, self._state.settings.idle_timeout_s))

    def put_back(self, delivery: SmtpDelivery) -> None:
        """There is something left to do for this copy."""
        self._returned.append(delivery)

    def ended(self, delivery: SmtpDelivery) -> None:
        """All recipients of this copy have their result."""
        self._note(delivery)
        self._conclude(delivery)
        if self._alone and self._group is not None and not self._failures:
            self._alone = False
            self._hire(self._group, self.waiting)

    @property
    def waiting(self) -> int:
        """How many copies nobody has taken yet."""
        return len(self._returned) + len(self._batch.deliveries) - self._taken

    def _next(self) -> SmtpDelivery:
        if self._returned:
            return self._returned.popleft()
        copy, place = self._batch.deliveries[self._taken], self._place
        self._taken += 1
        self._place += len(copy.recipients)
        return SmtpDelivery(copy, place)

    def _hire(self, group: asyncio.TaskGroup, most: int) -> None:
        for _ in range(min(self._state.settings.max_connections - self._workers, most)):
            self._workers += 1
            self._employ(group)

    def _employ(self, group: asyncio.TaskGroup) -> None:
        worker = group.create_task(self._work(), name="SMTP delivery")
        self._team.add(worker)
        worker.add_done_callback(self._team.discard)

    async def _work(self) -> None:
        try:
            await self._keep_serving()
        finally:
            self._workers -= 1

    async def _keep_serving(self) -> None:
        while self.waiting:
            if self._stopped is not None or self._limits.over:
                self.take()
                return
            wait_s = self._state.turns.expected_wait_s(self._loop.time())
            if wait_s and wait_s >= self.patience_s:
                if await self._rest(wait_s):
                    continue
                return
            try:
                connection = await self._connect()
            except SmtpError as error:
                result, text = result_of(error), error.detail or None if isinstance(error, ConnectionFault) else None
            except TimeoutError:
                result, text = self._untimely(), None
            else:
                await self._serve(connection)
                continue
            if self._workers > 1:
                # A server that takes fewer connections than we would make is no reason to give up.
                return
            if self.waiting:
                self._fail(self._next(), result, text)

    async def _connect(self) -> Connection:
        with self._idle():
            return await self._state.pool.acquire(self._limits)

    async def _rest(self, seconds: float) -> bool:
        """Wait for a turn with no connection; ``False`` if this worker has nothing to wait for."""
        if seconds >= self._limits.remaining_s:
            if self._workers == 1 or self._state.pace.wait_s(self._loop.time()) >= self._limits.remaining_s:
                self._settle_waiting()
            return False
        if self._one_rests:
            # One is enough to see how things are then; others can be found again.
            self._alone = True
            return False
        self._one_rests = True
        try:
            with self._idle():
                await self._state.pool.rest(seconds)
        finally:
            self._one_rests = False
        return True

    @contextlib.contextmanager
    def _idle(self) -> Iterator[None]:
        """Nothing that happens in here matters any more once all copies have their outcome."""
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a worker runs in a task")
        self._resting.add(task)
        try:
            yield
        finally:
            self._resting.discard(task)

    async def _serve(self, connection: Connection) -> None:
        """Send over this connection as long as it lasts."""
        feed = Feed(self, connection, self._state, self._composer)
        self._feeds.add(feed)
        try:
            await connection.serve(feed, self._limits, copies=len(self._batch.deliveries))
        except Exception:  # noqa: BLE001  # logged, and told as an outcome
            # A bug that one copy brings out must not take the outcomes of all others with it. Whether these copies
            # were handed over is not known.
            _log.exception("sending failed in a way that nobody foresaw")
            for delivery in feed.on_their_way:
                self._fail(delivery, before_mail(BROKEN))
        finally:
            self._feeds.discard(feed)
            await feed.close()
            self._state.pool.release(connection)

    def _settle_waiting(self) -> None:
        """The next turn comes after the deadline: nobody waits for that here."""
        while self.waiting:
            delivery = self._next()
            delivery.settle_rest(self._untimely())
            self._conclude(delivery)

    def _untimely(self) -> Result:
        pace, now = self._state.pace, self._loop.time()
        return untried(HELD_BACK if pace.slowed(now) else NOT_TRIED, pace.wait_s(now))

    def _fail(self, delivery: SmtpDelivery, result: Result, text: str | None = None) -> None:
        delivery.text = text or delivery.text
        delivery.settle_rest(result)
        self.ended(delivery)

    def _conclude(self, delivery: SmtpDelivery) -> None:
        write, text = self._writer.outcome, delivery.text
        for place, (email, result) in enumerate(delivery.in_order(), delivery.place):
            self._outcomes[place] = write(email, result, text=text)
        self._left -= 1
        if not self._left:
            for task in self._resting:
                task.cancel()
            for feed in self._feeds:
                feed.dismiss()

    def _note(self, delivery: SmtpDelivery) -> None:
        """Stop the batch where the rest of it would only meet the same."""
        about_us: Result | None = None
        for _, result in delivery.in_order():
            if result.verdict.state is State.ACCEPTED:
                about_us = None
                break
            if result.verdict.scope is Scope.CONNECTION:
                about_us = about_us or result
        if about_us is None:
            self._failures = 0
            return
        if about_us.verdict.kind == "throttled" and self._state.pace.holds(self._loop.time()):
            # The pace says when to go on, and whether that is too late.
            return
        self._failures += 1
        if about_us.verdict.kind not in _PASSING_KINDS or self._failures >= _MAX_FAILURES_IN_A_ROW:
            self._stopped = about_us
