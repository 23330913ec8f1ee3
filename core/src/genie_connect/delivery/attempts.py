"""The attempt loop: try, look at what came back, and decide for each recipient what may still be tried.

The rules are the outcome table of the architecture. A recipient that was accepted, or whose hand-over had no answer,
is never tried again (RFC 1047: it would be a second copy), unless the provider promises to recognise the repetition
by its idempotency key, or the host chose ``at_least_once``.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Final

import attrs

from genie_connect.clock import Clock
from genie_connect.contract import SendContext
from genie_connect.delivery.breaker import BreakerState, Permit
from genie_connect.delivery.connection import Connection
from genie_connect.delivery.journal import Journal, Leaving, StepBack
from genie_connect.delivery.limiter import OverLimit
from genie_connect.delivery.never_left import not_opened, over_limit, unchecked, untried, unwritten
from genie_connect.delivery.observers import Observers
from genie_connect.delivery.pending import Pending
from genie_connect.delivery.planner import Route, chunk_size
from genie_connect.delivery.policy import SendPolicy
from genie_connect.delivery.repetition import batch_key, key_kept_s
from genie_connect.delivery.suppression import SuppressionGate
from genie_connect.delivery.verdict import about_connection, attempt_record, named
from genie_connect.model.batch import Batch, Cleared, Delivery
from genie_connect.model.features import estimated_size_bytes, missing, required_by_delivery
from genie_connect.model.message import Message
from genie_connect.model.outcome import Outcome, Retry, Scope, State
from genie_connect.model.receipt import Attempt
from genie_connect.model.suppression import SuppressionReason
from genie_connect.registry.handle import refused
from genie_connect.registry.isolation import log_failure

logger = logging.getLogger("genie_connect.delivery")


_EVENTS: Final = {
    State.ACCEPTED: "message_accepted",
    State.REJECTED: "message_rejected",
    State.UNKNOWN: "message_unknown",
    State.DEFERRED: "message_deferred",
}
"""Which hook of the observers hears of a final outcome."""


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
        journal: Journal | None = None,
        earlier: Mapping[str, Outcome] = MappingProxyType({}),
        repeats: str | None = None,
    ) -> None:
        """``earlier`` holds what came of recipients, by address key, the last time that they were put off.

        With ``repeats`` all of them went to that connection before, as one batch, and their answer was lost.
        """
        self._message = message
        # A connector sees whom to reach in the deliveries alone: the message still names who was suppressed.
        self._said = attrs.evolve(message, to=(), cc=(), bcc=()) if message.recipients else message
        self._deliveries = deliveries
        self._size_bytes = estimated_size_bytes(message)
        self._route = route
        self._gate = gate
        self._observers = observers
        self._clock = clock
        self._deadline = deadline
        self._policy = policy
        self._key = idempotency_key
        self._broadcast = broadcast
        self._journal = journal
        self._left: set[str] = set()
        # In their order, and quick to leave.
        self._pending = dict.fromkeys(
            [Pending(index, cleared) for index, delivery in enumerate(deliveries) for cleared in delivery.recipients]
        )
        if earlier:
            for pending in self._pending:
                if before := earlier.get(pending.cleared.address.key):
                    pending.goes_on_from(before)
        if repeats is not None:
            batch = tuple(self._pending)
            for pending in batch:
                pending.repeats(batch, repeats)
        self.outcomes: dict[str, Outcome] = {}
        self.attempts: list[Attempt] = []

    async def run(self) -> None:
        """Try until every recipient has an outcome. ``outcomes`` (by address key) and ``attempts`` hold the result."""
        while self._pending and self._clock.monotonic() < self._deadline:
            chosen = self._next()
            if chosen is not None:
                await self._attempt(*chosen)
            elif not await self._wait():
                break
        for pending in tuple(self._pending):
            self._settle(pending, pending.outcome or untried(self._route.connections, pending.email))

    def _next(self) -> tuple[Connection, list[Pending], Permit] | None:
        """The first connection, in the order of the plan, that may take somebody now."""
        now = self._clock.monotonic()
        for connection in self._route.connections:
            group = self._group(connection, now)
            permit = connection.breaker.admit() if group else None
            if permit is not None:
                return connection, group, permit
        return None

    def _group(self, connection: Connection, now: float) -> list[Pending]:
        """Who goes to this connection together: as many as it takes, or a batch that has to be repeated."""
        name, most_tries = connection.name, self._policy.attempts_per_connection
        size = chunk_size(connection, self._size_bytes, broadcast=self._broadcast)
        group: list[Pending] = []
        for pending in self._pending:
            if not pending.eligible(name, most_tries) or pending.ready_at.get(name, 0.0) > now:
                continue
            if pending.repeat and not group:
                return list(pending.repeat)
            if not pending.repeat:
                group.append(pending)
            if len(group) == size:
                break
        return group

    async def _wait(self) -> bool:
        """Wait until somebody may be tried again; ``False`` if that is not worth it."""
        now = self._clock.monotonic()
        waits = [
            max(pending.ready_at.get(connection.name, 0.0) - now, connection.breaker.pause_s)
            for pending in self._pending
            for connection in self._route.connections
            if pending.eligible(connection.name, self._policy.attempts_per_connection)
        ]
        wait = min(waits, default=None)
        if wait is None or wait > self._policy.longest_wait_s or now + wait >= self._deadline:
            return False
        await self._clock.sleep(max(wait, 0.01))
        return True

    async def _attempt(self, connection: Connection, group: list[Pending], permit: Permit) -> None:
        attempt_id = secrets.token_hex(8)
        started_at, started = self._clock.now(), self._clock.monotonic()
        try:
            group, outcomes = await self._hand_over(connection, group, permit, attempt_id)
        except BaseException:
            connection.breaker.release(permit)
            raise
        if not group:
            connection.breaker.release(permit)
            return
        outcomes = named(outcomes, connection.name)
        ms = round((self._clock.monotonic() - started) * 1000)
        ids = (self._deliveries[pending.delivery].message_id for pending in group)
        record = attempt_record(attempt_id, connection, outcomes, ms, started_at, ids)
        self.attempts.append(record)
        await self._write_down(record, outcomes)
        verdict = about_connection(outcomes)
        if verdict.scope is not Scope.CONNECTION:
            connection.proven()
        if connection.breaker.record(verdict, permit):
            self._announce(connection, verdict)
        self._take_in(connection, group, outcomes)
        await self._feed_suppressions(outcomes)

    async def _hand_over(
        self, connection: Connection, group: list[Pending], permit: Permit, attempt_id: str
    ) -> tuple[list[Pending], tuple[Outcome, ...]]:
        """Who was tried, and their outcomes; nobody where it turned out that nobody may leave now."""
        try:
            state = await connection.state(max(0.0, self._deadline - self._clock.monotonic()))
        except Exception as error:  # noqa: BLE001  # a stranger's code; the batch has not left
            return group, not_opened((pending.email for pending in group), error)
        try:
            async with connection.limiter.room(len(group), self._deadline), connection.first_of_all():
                # Opening and waiting for room take time. What was true before may no longer be.
                if not connection.breaker.stands(permit):
                    return [], ()
                group = await self._leaving(connection, group)
                if not group:
                    return [], ()
                batch = self._batch(connection, group)
                context = SendContext(
                    attempt_id=attempt_id,
                    deadline=self._deadline,
                    idempotency_key=batch_key(self._key, [address.email for address in batch.recipients]),
                    clock=self._clock,
                )
                if refusal := await self._held(connection, batch, context):
                    return group, tuple(refusal(pending.email) for pending in group)
                return group, await connection.handle.send(state, batch, context, connection.capabilities)
        except OverLimit as over:
            return group, over_limit((pending.email for pending in group), over.wait_s)

    async def _held(
        self, connection: Connection, batch: Batch, context: SendContext
    ) -> Callable[[str], Outcome] | None:
        """Write down that the batch is about to leave. Where that cannot be, it does not leave."""
        if self._journal is None:
            return None
        leaving = Leaving(
            attempt_id=context.attempt_id,
            connection=connection.name,
            idempotency_key=context.idempotency_key or "",
            key_kept_s=key_kept_s(connection.capabilities),
            started=self._clock.now(),
            batch=batch,
        )
        try:
            await self._journal.leaving(leaving)
            self._left.add(leaving.attempt_id)
        except StepBack as reason:
            if reason.hand_back:
                raise
            return partial(unwritten, cause=reason.message, hint=reason.hint)
        except Exception as error:  # noqa: BLE001  # a journal of the host's own
            log_failure(logger, error, "the journal cannot be written; nobody is sent to")
            return partial(unwritten, cause=type(error).__name__, hint="")
        return None

    async def _write_down(self, attempt: Attempt, outcomes: Sequence[Outcome]) -> None:
        # Those who turned out not to be tried at all are not in the journal.
        if self._journal is None or attempt.id not in self._left:
            return
        try:
            await self._journal.answered(attempt, outcomes)
        except Exception as error:  # noqa: BLE001  # a journal of the host's own
            # The outcomes are what they are. The journal keeps the hand-over without an answer, which is a doubt.
            log_failure(logger, error, "what came of an attempt could not be written down")

    async def _leaving(self, connection: Connection, group: list[Pending]) -> list[Pending]:
        """Who of the group may leave, now that the bytes are about to."""
        if group[0].repeat:
            # In part it would be another batch, which the provider would not recognise.
            return group if len(await self._still_cleared(group)) == len(group) else self._given_up(group)
        group = await self._still_cleared(group)
        able = [pending for pending in group if self._able(connection, pending)]
        size = chunk_size(connection, self._size_bytes, broadcast=self._broadcast)
        return able if size is None else able[:size]

    def _able(self, connection: Connection, pending: Pending) -> bool:
        """Whether the connection takes this copy; one that it does not must not cost the others theirs."""
        lacking = missing(required_by_delivery(self._deliveries[pending.delivery]), connection.capabilities)
        if not lacking:
            return True
        why = f"{connection.handle.info.title} does not support {', '.join(lacking)}"
        (outcome,) = refused([pending.email], why)
        pending.outcome = pending.outcome or attrs.evolve(outcome, connection=connection.name)
        pending.bar(connection.name)
        return False

    async def _still_cleared(self, group: list[Pending]) -> list[Pending]:
        """Ask the gate once more: somebody may just have unsubscribed. Where it cannot be asked, nobody leaves."""
        try:
            suppressed = await self._gate.recheck([pending.cleared.address for pending in group], self._message.purpose)
        except Exception as error:  # noqa: BLE001  # a store of the host's own
            log_failure(logger, error, "the suppressions cannot be read; nobody is sent to")
            for pending in group:
                self._settle(pending, unchecked(pending.email))
            return []
        if not suppressed:
            return group
        stopped = {outcome.recipient: outcome for outcome in suppressed}
        for pending in group:
            if pending.email in stopped:
                self._settle(pending, stopped[pending.email])
        return [pending for pending in group if pending.email not in stopped]

    def _given_up(self, group: list[Pending]) -> list[Pending]:
        for pending in group:
            if pending in self._pending and pending.outcome is not None:
                self._settle(pending, pending.outcome)
        return []

    def _batch(self, connection: Connection, group: list[Pending]) -> Batch:
        sender = connection.sender(self._message)
        if sender is None:
            raise AssertionError("the planner passes over a connection without a From")
        return Batch(message=self._said, sender=sender, deliveries=self._regrouped(group))

    def _regrouped(self, group: list[Pending]) -> tuple[Delivery, ...]:
        """The copies of this attempt: each with those of its recipients who are still to be reached."""
        by_delivery: dict[int, list[Cleared]] = {}
        for pending in group:
            by_delivery.setdefault(pending.delivery, []).append(pending.cleared)
        return tuple([_to(self._deliveries[index], tuple(cleared)) for index, cleared in by_delivery.items()])

    def _take_in(self, connection: Connection, group: list[Pending], outcomes: Sequence[Outcome]) -> None:
        repeatable = self._repeatable(connection, group, outcomes)
        for pending, outcome in zip(group, outcomes, strict=True):
            if not self._goes_on(connection, pending, outcome, tuple(group) if repeatable else ()):
                self._settle(pending, outcome)

    def _goes_on(
        self, connection: Connection, pending: Pending, outcome: Outcome, repeatable: tuple[Pending, ...]
    ) -> bool:
        """Note what came of an attempt; ``False`` where nothing more is to be tried."""
        if outcome.state is State.UNKNOWN:
            pending.doubt = outcome
        if pending.doubt is None and outcome.retry is Retry.NEVER:
            return False  # as for nearly everybody
        pending.outcome = outcome
        pending.repeat = ()
        if not self._had_no_turn(outcome):
            pending.tried(connection.name)
        if pending.doubt is None or pending.final(outcome) is not pending.doubt:
            return self._may_go_on(connection, pending, outcome)
        return self._may_repeat(connection, pending, outcome, repeatable)

    def _had_no_turn(self, outcome: Outcome) -> bool:
        """Whether this was no try: the connector keeps to a pace, and says when it would be this one's turn."""
        deferred = outcome.state is State.DEFERRED and outcome.stage == "plan"
        return deferred and (outcome.retry_after_s or 0.0) >= self._policy.first_backoff_s

    def _may_go_on(self, connection: Connection, pending: Pending, outcome: Outcome) -> bool:
        """Note where this recipient may go next, or say that its outcome is final."""
        if outcome.retry is Retry.NEVER:
            return False
        if outcome.retry is Retry.OTHER:
            pending.bar(connection.name)
            pending.bound_to = None
        elif outcome.retry is Retry.SAME:
            pending.bound_to = connection.name
        self._back_off(connection, pending, outcome)
        return True

    def _repeatable(self, connection: Connection, group: list[Pending], outcomes: Sequence[Outcome]) -> bool:
        """Whether the provider may have this batch already, recognises it by its key, and may be asked once more."""
        if key_kept_s(connection.capabilities) is None:
            return False
        return all(
            outcome.state is State.UNKNOWN or (pending.doubt and outcome.retry in (Retry.SAME, Retry.ANY))
            for pending, outcome in zip(group, outcomes, strict=True)
        )

    def _may_repeat(
        self, connection: Connection, pending: Pending, outcome: Outcome, batch: tuple[Pending, ...]
    ) -> bool:
        """Note where somebody whose hand-over had no answer may go next, or say that nobody knows more."""
        self._back_off(connection, pending, outcome)
        pending.bound_to = connection.name
        if batch and pending.eligible(connection.name, self._policy.attempts_per_connection):
            pending.repeat = batch
            return True
        if not self._policy.at_least_once:
            return False
        pending.bound_to = None
        return outcome is pending.doubt or self._may_go_on(connection, pending, outcome)

    def _back_off(self, connection: Connection, pending: Pending, outcome: Outcome | None) -> None:
        backoff = self._policy.first_backoff_s * 2 ** (pending.tries.get(connection.name, 1) - 1)
        wait = backoff if outcome is None or outcome.retry_after_s is None else outcome.retry_after_s
        pending.not_before(connection.name, self._clock.monotonic() + wait)

    def _settle(self, pending: Pending, outcome: Outcome) -> None:
        outcome = pending.final(outcome)
        del self._pending[pending]
        self.outcomes[pending.cleared.address.key] = outcome
        if outcome.state is State.SUPPRESSED:
            self._observers.notify("recipient_suppressed", outcome=outcome)
        else:
            self._observers.notify(_EVENTS[outcome.state], connection=outcome.connection or "", outcome=outcome)

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
            # A refusal that is about us says nothing of the mailbox.
            if not (outcome.suppress and outcome.state is State.REJECTED and outcome.scope is Scope.RECIPIENT):
                continue
            try:
                await self._gate.add(
                    outcome.recipient,
                    reason=SuppressionReason.HARD_BOUNCE,
                    source=f"{outcome.connection}: {outcome.code or ''} {outcome.enhanced or ''}".strip(),
                )
            except Exception as error:  # noqa: BLE001  # a store of the host's own
                # The message has left. Its outcomes must come back, whatever happens to the list.
                log_failure(logger, error, "a hard bounce could not be added to the suppressions")


def _to(delivery: Delivery, recipients: tuple[Cleared, ...]) -> Delivery:
    return delivery if recipients == delivery.recipients else attrs.evolve(delivery, recipients=recipients)
