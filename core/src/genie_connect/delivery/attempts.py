"""The attempt loop: try, look at what came back, and decide for each recipient what may still be tried.

The rules are the outcome table of the architecture. A recipient that was accepted, or whose hand-over had no answer,
is never tried again (RFC 1047: it would be a second copy), unless the provider promises to recognise the repetition
by its idempotency key, or the host chose ``at_least_once``.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime

import attrs

from genie_connect.clock import Clock
from genie_connect.contract import SendContext
from genie_connect.delivery.breaker import BreakerState
from genie_connect.delivery.connection import Connection
from genie_connect.delivery.limiter import OverLimit
from genie_connect.delivery.observers import Observers
from genie_connect.delivery.planner import Route, chunk_size
from genie_connect.delivery.suppression import SuppressionGate
from genie_connect.errors import GenieConnectError
from genie_connect.model.batch import Batch, Cleared, Delivery
from genie_connect.model.capability import Level
from genie_connect.model.message import Message
from genie_connect.model.outcome import Outcome, Retry, Scope, State
from genie_connect.model.receipt import Attempt
from genie_connect.model.suppression import SuppressionReason


@attrs.frozen(kw_only=True)
class SendPolicy:
    """How hard to try within one call. Times in seconds.

    ``at_least_once`` sends again where an answer was lost, and so, now and then, twice.
    """

    attempts_per_connection: int = 3
    longest_wait_s: float = 30.0
    first_backoff_s: float = 1.0
    at_least_once: bool = False


@attrs.define
class _Pending:
    """A recipient without a final outcome: what is known so far, and where it may go next."""

    delivery: int
    cleared: Cleared
    outcome: Outcome | None = None
    barred: set[str] = attrs.field(factory=set)
    bound_to: str | None = None
    ready_at: dict[str, float] = attrs.field(factory=dict)
    tries: dict[str, int] = attrs.field(factory=dict)

    def eligible(self, connection: str, policy: SendPolicy) -> bool:
        if self.bound_to not in (None, connection) or connection in self.barred:
            return False
        return self.tries.get(connection, 0) < policy.attempts_per_connection


class AttemptLoop:
    """Hands copies of one message over, through the connections of a route, until there is nothing left to try."""

    def __init__(
        self,
        message: Message,
        deliveries: Sequence[Delivery],
        route: Route,
        *,
        gate: SuppressionGate,
        observers: Observers,
        clock: Clock,
        deadline: float,
        policy: SendPolicy,
        idempotency_key: str,
        broadcast: bool = False,
    ) -> None:
        self._message = message
        self._deliveries = deliveries
        self._route = route
        self._gate = gate
        self._observers = observers
        self._clock = clock
        self._deadline = deadline
        self._policy = policy
        self._key = idempotency_key
        self._broadcast = broadcast
        self._pending = [
            _Pending(index, cleared) for index, delivery in enumerate(deliveries) for cleared in delivery.recipients
        ]
        self.outcomes: dict[str, Outcome] = {}
        self.attempts: list[Attempt] = []

    async def run(self) -> None:
        """Try until every recipient has an outcome. ``outcomes`` (by address key) and ``attempts`` hold the result."""
        while self._pending:
            chosen = self._next() if self._clock.monotonic() < self._deadline else None
            if chosen is None:
                if not await self._wait():
                    break
                continue
            connection, group = chosen
            await self._attempt(connection, group)
        for pending in self._pending:
            self._settle(pending, pending.outcome or untried(self._route.connections, pending.cleared))
        self._pending = []

    def _next(self) -> tuple[Connection, list[_Pending]] | None:
        """The first connection, in the order of the plan, that may take somebody now."""
        now = self._clock.monotonic()
        for connection in self._route.connections:
            group = [
                pending
                for pending in self._pending
                if pending.eligible(connection.name, self._policy) and pending.ready_at.get(connection.name, 0) <= now
            ]
            if group and connection.breaker.admit():
                return connection, group[: chunk_size(connection, broadcast=self._broadcast)]
        return None

    async def _wait(self) -> bool:
        """Wait until somebody may be tried again; ``False`` if that is not worth it."""
        now = self._clock.monotonic()
        waits = [
            max(pending.ready_at.get(connection.name, 0.0) - now, connection.breaker.pause_s)
            for pending in self._pending
            for connection in self._route.connections
            if pending.eligible(connection.name, self._policy)
        ]
        wait = min(waits, default=None)
        if wait is None or wait > self._policy.longest_wait_s or now + wait >= self._deadline:
            return False
        await self._clock.sleep(max(wait, 0.01))
        return True

    async def _attempt(self, connection: Connection, group: list[_Pending]) -> None:
        group = await self._recheck(group)
        if not group:
            connection.breaker.release()
            return
        sender = connection.sender(self._message)
        if sender is None:
            raise AssertionError("the planner passes over a connection without a From")
        batch = Batch(message=self._message, sender=sender, deliveries=self._regrouped(group))
        started_at, started = self._clock.now(), self._clock.monotonic()
        context = SendContext(
            attempt_id=secrets.token_hex(8),
            deadline=self._deadline,
            idempotency_key=self._batch_key(batch),
            clock=self._clock,
        )
        try:
            outcomes = await self._hand_over(connection, batch, context)
        except BaseException:
            connection.breaker.release()
            raise
        outcomes = tuple(attrs.evolve(outcome, connection=connection.name) for outcome in outcomes)
        ms = round((self._clock.monotonic() - started) * 1000)
        self.attempts.append(_attempt_record(context.attempt_id, connection, outcomes, ms, started_at))
        self._take_in(connection, group, outcomes)
        await self._feed_suppressions(outcomes)

    async def _hand_over(self, connection: Connection, batch: Batch, context: SendContext) -> tuple[Outcome, ...]:
        try:
            state = await connection.state()
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a stranger's code; the batch has not left
            return _not_opened(batch, error)
        try:
            async with connection.limiter.room(len(batch.recipients), self._deadline):
                return await connection.handle.send(state, batch, context, connection.capabilities)
        except OverLimit as over:
            return _over_limit(batch, over.wait_s)

    async def _recheck(self, group: list[_Pending]) -> list[_Pending]:
        """Ask the gate once more as the bytes are about to leave: somebody may just have unsubscribed."""
        clearance = await self._gate.clear((pending.cleared.address for pending in group), self._message.purpose)
        if not clearance.suppressed:
            return group
        stopped = {outcome.recipient: outcome for outcome in clearance.suppressed}
        kept: list[_Pending] = []
        for pending in group:
            outcome = stopped.get(pending.cleared.address.email)
            if outcome is None:
                kept.append(pending)
            else:
                self._pending.remove(pending)
                self._settle(pending, outcome)
        return kept

    def _regrouped(self, group: list[_Pending]) -> tuple[Delivery, ...]:
        """The copies of this attempt: each with those of its recipients who are still to be reached."""
        by_delivery: dict[int, list[Cleared]] = {}
        for pending in group:
            by_delivery.setdefault(pending.delivery, []).append(pending.cleared)
        return tuple(
            attrs.evolve(self._deliveries[index], recipients=tuple(cleared)) for index, cleared in by_delivery.items()
        )

    def _batch_key(self, batch: Batch) -> str:
        # The same recipients give the same bytes and the same key; others must not, or the provider would answer
        # with the first ones' result.
        recipients = "\n".join(address.email for address in batch.recipients)
        return f"{self._key}-{hashlib.sha256(recipients.encode()).hexdigest()[:16]}"

    def _take_in(self, connection: Connection, group: list[_Pending], outcomes: Sequence[Outcome]) -> None:
        by_email = {outcome.recipient: outcome for outcome in outcomes}
        verdict = _about_connection(outcomes)
        if connection.breaker.record(verdict):
            self._announce(connection, verdict)
        for pending in group:
            outcome = by_email[pending.cleared.address.email]
            pending.outcome = outcome
            pending.tries[connection.name] = pending.tries.get(connection.name, 0) + 1
            if not self._may_go_on(connection, pending, outcome):
                self._pending.remove(pending)
                self._settle(pending, outcome)

    def _may_go_on(self, connection: Connection, pending: _Pending, outcome: Outcome) -> bool:
        """Note where this recipient may go next, or say that its outcome is final."""
        if outcome.state is State.UNKNOWN:
            return self._may_repeat_unknown(connection, pending)
        if outcome.retry is Retry.NEVER:
            return False
        if outcome.retry is Retry.OTHER:
            pending.barred.add(connection.name)
        elif outcome.retry is Retry.SAME:
            pending.bound_to = connection.name
        self._back_off(connection, pending, outcome)
        return True

    def _may_repeat_unknown(self, connection: Connection, pending: _Pending) -> bool:
        if self._policy.at_least_once:
            self._back_off(connection, pending, None)
            return True
        if connection.capabilities["send.idempotency"].level is not Level.YES:
            return False
        # The provider may have it already, and recognises the repetition; another one would not.
        pending.bound_to = connection.name
        self._back_off(connection, pending, None)
        return pending.eligible(connection.name, self._policy)

    def _back_off(self, connection: Connection, pending: _Pending, outcome: Outcome | None) -> None:
        backoff = self._policy.first_backoff_s * 2 ** (pending.tries[connection.name] - 1)
        wait = backoff if outcome is None or outcome.retry_after_s is None else outcome.retry_after_s
        pending.ready_at[connection.name] = self._clock.monotonic() + wait

    def _settle(self, pending: _Pending, outcome: Outcome) -> None:
        self.outcomes[pending.cleared.address.key] = outcome
        connection = outcome.connection or ""
        if outcome.state is State.ACCEPTED:
            self._observers.notify("message_accepted", connection=connection, outcome=outcome)
        elif outcome.state is State.REJECTED:
            self._observers.notify("message_rejected", connection=connection, outcome=outcome)
        elif outcome.state is State.UNKNOWN:
            self._observers.notify("message_unknown", connection=connection, outcome=outcome)
        elif outcome.state is State.DEFERRED:
            self._observers.notify("message_deferred", connection=connection, outcome=outcome)
        else:
            self._observers.notify("recipient_suppressed", outcome=outcome)

    def _announce(self, connection: Connection, verdict: Outcome) -> None:
        if connection.breaker.state is BreakerState.CLOSED:
            self._observers.notify("connection_recovered", connection=connection.name)
            return
        reason = verdict.text or verdict.reason or "failed"
        self._observers.notify(
            "connection_degraded", connection=connection.name, reason=reason, hint=verdict.hint or ""
        )

    async def _feed_suppressions(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.suppress and outcome.state is State.REJECTED:
                await self._gate.add(
                    outcome.recipient,
                    reason=SuppressionReason.HARD_BOUNCE,
                    source=f"{outcome.connection}: {outcome.code or ''} {outcome.enhanced or ''}".strip(),
                )


def untried(paused: Iterable[Connection], cleared: Cleared) -> Outcome:
    """The outcome of a recipient whose every connection is paused: nothing was handed over, try again later."""
    soonest = min(paused, key=lambda connection: connection.breaker.pause_s)
    return Outcome(
        recipient=cleared.address.email,
        state=State.DEFERRED,
        connection=soonest.name,
        stage="plan",
        reason="paused",
        text=soonest.breaker.reason or None,
        hint=soonest.breaker.hint or None,
        scope=Scope.CONNECTION,
        retry=Retry.ANY,
        retry_after_s=soonest.breaker.pause_s,
    )


def _attempt_record(
    attempt_id: str, connection: Connection, outcomes: Sequence[Outcome], ms: int, started: datetime
) -> Attempt:
    states = {outcome.state.value for outcome in outcomes}
    telling = next((outcome for outcome in outcomes if outcome.state is not State.ACCEPTED), outcomes[0])
    stages = {outcome.stage for outcome in outcomes}
    return Attempt(
        id=attempt_id,
        connection=connection.name,
        stage="final" if "final" in stages else telling.stage,
        outcome=states.pop() if len(states) == 1 else "partial",
        reason=telling.reason,
        text=telling.text if telling.state is not State.ACCEPTED else None,
        hint=telling.hint,
        recipients=len(outcomes),
        ms=ms,
        started=started,
    )


def _about_connection(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome that says most about the connection: a success proves that it works, whatever else went wrong."""
    for outcome in outcomes:
        if outcome.state is State.ACCEPTED:
            return outcome
    return next((outcome for outcome in outcomes if outcome.scope is Scope.CONNECTION), outcomes[0])


def _not_opened(batch: Batch, error: BaseException) -> tuple[Outcome, ...]:
    # The text of a foreign exception may hold a secret; its type does not.
    text = str(error) if isinstance(error, GenieConnectError) else type(error).__name__
    return _nothing_sent(
        batch,
        reason="open_failed",
        text=text,
        hint="The connector could not be opened: check its settings.",
        retry=Retry.OTHER,
        retry_after_s=None,
    )


def _over_limit(batch: Batch, wait_s: float) -> tuple[Outcome, ...]:
    return _nothing_sent(
        batch,
        reason="own_limit",
        text=None,
        hint="The connection's own rate limit leaves no room before the deadline.",
        retry=Retry.ANY,
        retry_after_s=wait_s,
        scope=Scope.MESSAGE,
    )


def _nothing_sent(
    batch: Batch,
    *,
    reason: str,
    text: str | None,
    hint: str,
    retry: Retry,
    retry_after_s: float | None,
    scope: Scope = Scope.CONNECTION,
) -> tuple[Outcome, ...]:
    outcome = Outcome(
        recipient="",
        state=State.DEFERRED,
        stage="open",
        reason=reason,
        text=text,
        hint=hint,
        scope=scope,
        retry=retry,
        retry_after_s=retry_after_s,
    )
    return tuple(attrs.evolve(outcome, recipient=address.email) for address in batch.recipients)
