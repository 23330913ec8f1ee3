"""A webhook from its bytes to what it changes: verified, read, kept once, and acted on.

The order is chosen for a process that may die anywhere. Suppressions come before the events are kept: who is cut off in
between gets the webhook again, and suppresses again, which changes nothing. Observers come last, for what was new.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from genie_connect.clock import Clock
from genie_connect.contract import WebhookRequest
from genie_connect.delivery.breaker import Permit
from genie_connect.delivery.connection import Connection
from genie_connect.delivery.kept_events import EventKeeper, Match
from genie_connect.delivery.observers import Observers
from genie_connect.delivery.suppression import SuppressionGate
from genie_connect.errors import GenieConnectError, WebhookChallenge, WebhookNeeds, WebhookRejected
from genie_connect.model.event import Event, EventKind
from genie_connect.model.fate import Fate
from genie_connect.model.frozen import EMPTY, FrozenMap
from genie_connect.model.outcome import Outcome, Scope, State
from genie_connect.model.suppression import SuppressionReason
from genie_connect.registry.isolation import log_failure
from genie_connect.webhooks.documents import Documents

_logger = logging.getLogger("genie_connect.webhooks")
BLOCKS_BEFORE_PAUSE: Final = 10
"""So many refusals because of us, with no delivery in between, pause a connection: one server alone does not."""
BLOCKS_WITHIN_S: Final = 900.0
MOST_DOCUMENTS: Final = 2
_HINT: Final = (
    "Servers refuse mail from this connection because of its reputation or set-up: look at the events' texts."
)


@attrs.frozen(kw_only=True)
class WebhookResult:
    """What became of a webhook, and the HTTP ``status`` to answer it with.

    ``accepted`` events were new, ``duplicates`` were known. Of the new ones, ``unmatched`` are about nothing we sent,
    ``unreadable`` could not be read, ``suppressed`` is how many addresses are not written to any more, and ``resolved``
    how many copies in doubt are settled. ``rejected`` says why nothing was read, and ``hint`` what to do about it;
    neither is for the answer. ``answer`` is: JSON that the provider wants to read, where it is not empty; and so are
    ``headers``, header fields that it wants to see.
    """

    status: int = 200
    accepted: int = 0
    duplicates: int = 0
    unmatched: int = 0
    unreadable: int = 0
    suppressed: int = 0
    resolved: int = 0
    rejected: str | None = None
    hint: str = ""
    answer: str = ""
    headers: FrozenMap[str] = attrs.field(default=EMPTY, repr=False)


class Intake:
    """Takes in what is reported to a host's connections. ``keeper`` may become another before the first event."""

    def __init__(
        self,
        connections: Mapping[str, Connection],
        keeper: EventKeeper,
        suppressions: SuppressionGate,
        observers: Observers,
        documents: Documents,
        clock: Clock,
    ) -> None:
        self.keeper = keeper
        self._connections = connections
        self._suppressions = suppressions
        self._observers = observers
        self._documents = documents
        self._clock = clock
        self._blocks: dict[str, list[float]] = {}

    async def webhook(self, name: str, request: WebhookRequest) -> WebhookResult:
        """Take in one request. Raises nothing for what stands in it, nor for a store that cannot be reached."""
        connection = self._connections.get(name)
        if connection is None:
            return WebhookResult(status=404, rejected="there is no such connection", hint="see: connections list")
        if request.method == "OPTIONS" and not connection.asks_permission:
            return WebhookResult(status=405, rejected="its provider asks for no permission")
        try:
            events = await self._read(connection, request)
        except WebhookChallenge as challenge:
            headers = FrozenMap(challenge.headers)
            return WebhookResult(status=challenge.status, answer=challenge.answer, headers=headers)
        except WebhookRejected as refusal:
            _logger.info("connection %s: %s", name, refusal)
            return WebhookResult(status=refusal.status, rejected=refusal.message, hint=refusal.hint)
        try:
            return await self.take(name, events)
        except (GenieConnectError, OSError) as error:
            # Ours, and it may pass. Nothing of it is kept, so the provider has to send it again.
            log_failure(_logger, error, "events of connection %s could not be kept", name)
            return WebhookResult(status=503, rejected="the events could not be kept", hint="look at the store")

    async def take(self, name: str, events: Sequence[Event]) -> WebhookResult:
        """Keep the events of a connection, and do what follows from those that are new.

        Raises ``StoreUnavailable``, and ``OSError`` where the suppressions cannot be written: then nothing is kept.
        """
        fresh = await self.keeper.fresh(name, events)
        matches = await self.keeper.match(name, fresh)
        suppressed = 0
        for event, match in zip(fresh, matches, strict=True):
            suppressed += await self._suppress(name, event, match)
        taken = await self.keeper.append(name, fresh, matches)
        for event in taken.events:
            self._observers.notify("event_received", connection=name, event=event)
        self._look_at_blocks(name, taken.events)
        found = dict(zip([event.id for event in fresh], matches, strict=True))
        return WebhookResult(
            accepted=taken.new,
            duplicates=len(events) - taken.new,
            unmatched=sum(found[event.id] is None and event.kind is not EventKind.INBOUND for event in taken.events),
            unreadable=sum(event.error is not None for event in taken.events),
            suppressed=suppressed,
            resolved=taken.resolved,
        )

    async def look_again(self, name: str, events: Sequence[Event]) -> WebhookResult:
        """Events that are kept, matched nothing, and may do so by now: act on those that do.

        A provider may report on a message before it has answered with the id by which its events name it. Observers
        have heard of them when they came. Raises as ``take`` does.
        """
        matches = await self.keeper.match(name, events)
        found = [(event, match) for event, match in zip(events, matches, strict=True) if match is not None]
        suppressed = sum([await self._suppress(name, event, match) for event, match in found])
        resolved = 0
        if found:
            resolved = await self.keeper.attach(name, [event for event, _ in found], [match for _, match in found])
        unmatched = len(events) - len(found)
        return WebhookResult(duplicates=len(events), unmatched=unmatched, suppressed=suppressed, resolved=resolved)

    async def look_again_on_the_way(self, name: str, events: Sequence[Event]) -> None:
        """As ``look_again``, in the middle of a send, which is not to fail with it."""
        try:
            await self.look_again(name, events)
        except (GenieConnectError, OSError) as error:
            log_failure(_logger, error, "events of connection %s that came early had no effect", name)

    async def take_mail(self, name: str, raw: bytes, envelope_to: str | None) -> WebhookResult:
        """Take in a message of a bounce mailbox, as it came over the wire. Raises as ``take`` does."""
        # Most hosts never read one, and the parser of mail takes a while to be imported.
        from genie_connect.bounces import events_of_mail

        # In a thread: a mail may be large, and the parser is not made for that.
        events = await asyncio.to_thread(events_of_mail, raw, received_at=self._clock.now(), envelope_to=envelope_to)
        return await self.take(name, events)

    async def fate(self, message_id: str, recipient: str | None) -> Fate:
        """What the events tell of a copy."""
        return Fate.of(await self.keeper.told(message_id, recipient))

    async def _read(self, connection: Connection, request: WebhookRequest) -> tuple[Event, ...]:
        for _ in range(MOST_DOCUMENTS):
            try:
                return connection.read_webhook(request)
            except WebhookNeeds as needed:
                if needed.url in request.documents:
                    raise
                document = await self._documents.get(needed.url)
                if document is None:
                    raise
                request = attrs.evolve(request, documents=FrozenMap({**request.documents, needed.url: document}))
        return connection.read_webhook(request)

    async def _suppress(self, name: str, event: Event, match: Match | None) -> bool:
        reason = suppression_for(event)
        if reason is None or match is None or match.address is None:
            return False
        await self._suppressions.add(match.address, reason=reason, source=f"event of {name}")
        return True

    def _look_at_blocks(self, name: str, events: Sequence[Event]) -> None:
        connection = self._connections.get(name)
        if connection is None:
            return
        now = self._clock.monotonic()
        blocks = [at for at in self._blocks.get(name, []) if now - at < BLOCKS_WITHIN_S]
        last: Event | None = None
        for event in events:
            if event.kind is EventKind.DELIVERED:
                blocks = []
            elif event.about_us:
                blocks.append(now)
                last = event
        self._blocks[name] = blocks[-BLOCKS_BEFORE_PAUSE:]
        if last is not None and len(blocks) >= BLOCKS_BEFORE_PAUSE:
            self._blocks[name] = []
            self._degrade(connection, last)

    def _degrade(self, connection: Connection, event: Event) -> None:
        outcome = Outcome(
            recipient="",
            state=State.REJECTED,
            scope=Scope.CONNECTION,
            stage="event",
            reason="policy",
            code=event.code,
            text=event.text,
            hint=_HINT,
        )
        if connection.breaker.record(outcome, Permit()):
            reason = (
                f"{BLOCKS_BEFORE_PAUSE} refusals because of us in a row, the last one: {event.text or event.reason}"
            )
            self._observers.notify("connection_degraded", connection=connection.name, reason=reason, hint=_HINT)


def suppression_for(event: Event) -> SuppressionReason | None:
    """Why an event suppresses its address, or ``None``. What is about us never does."""
    if event.kind is EventKind.COMPLAINED:
        return SuppressionReason.COMPLAINT
    if event.kind is EventKind.UNSUBSCRIBED:
        return SuppressionReason.UNSUBSCRIBE
    return SuppressionReason.HARD_BOUNCE if event.address_is_bad else None
