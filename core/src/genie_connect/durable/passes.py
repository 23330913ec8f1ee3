"""One pass over a claimed unit: everybody who is open is tried once, and what came of it is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs

from genie_connect.delivery.attempts import SendPolicy
from genie_connect.delivery.dispatch import SEND_TIMEOUT_S, Dispatcher, Way, single_delivery
from genie_connect.delivery.journal import StepBack
from genie_connect.delivery.planner import Route
from genie_connect.durable.content import BroadcastContent, message_of, recipient_of
from genie_connect.durable.journal import UnitJournal, answer_of
from genie_connect.durable.ledger import Ledger
from genie_connect.errors import ConfigurationError, NoConnection
from genie_connect.failpoints import point
from genie_connect.model.address import Address
from genie_connect.model.batch import Delivery, Recipient
from genie_connect.model.message import Message
from genie_connect.model.outcome import Outcome, Retry, State
from genie_connect.store import bitmap
from genie_connect.store.claims import Claim
from genie_connect.store.packing import unpack

MICRO_BATCH: Final = 400
"""How many recipients leave between two commits of the ledger: so many are in doubt at most when a worker dies."""
ONE_PASS: Final = SendPolicy(attempts_per_connection=1, longest_wait_s=0.0)
"""Another connection is tried at once; waiting is the ledger's business, which holds nobody up."""


class Unsendable(Exception):
    """No connection could ever carry it: for a person to look at. The text says why."""


@attrs.define(kw_only=True, eq=False)
class Left:
    """What a pass leaves: those to be tried again, by position, and whether any of them was tried at all."""

    outcomes: dict[int, Outcome] = attrs.field(factory=dict)
    tried: bool = False


class Pass:
    """Tries a unit. ``run`` raises ``StepBack`` when it is no longer ours, and ``Unsendable``."""

    def __init__(
        self,
        ledger: Ledger,
        dispatcher: Dispatcher,
        claim: Claim,
        *,
        micro_batch: int,
        timeout_s: float = SEND_TIMEOUT_S,
    ) -> None:
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._claim = claim
        self._micro_batch = micro_batch
        self._timeout_s = timeout_s
        self._positions: dict[str, int] = {}
        self._left = Left()

    async def run_send(self) -> Left:
        """Try a single message."""
        claim = self._claim
        if claim.send is None:
            raise AssertionError("a unit of the kind SEND has its send")
        message = message_of(claim.send.message)
        envelope = [recipient_of(row).address for row in unpack(claim.recipients)]
        self._positions = {envelope[position].key: position for position in bitmap.positions(claim.open)}
        clearance = await self._dispatcher.clear(envelope, message.purpose)
        await self._settle(clearance.suppressed)
        delivery = single_delivery(message, claim.send.message_id, clearance.cleared)
        waiting = tuple(each for each in clearance.cleared if each.address.key in self._positions)
        if waiting:
            key = claim.send.key or claim.send.message_id
            route = self._route_of(message, only=claim.send.only)
            deliveries = [attrs.evolve(delivery, recipients=waiting)]
            await self._deliver(message, deliveries, route, key=key, broadcast=False)
        return self._left

    async def run_chunk(self, content: BroadcastContent) -> Left:
        """Try a chunk, some recipients at a time."""
        claim, message = self._claim, content.message
        rows = unpack(claim.recipients)
        point("pass.begun")
        people = {position: recipient_of(rows[position]) for position in bitmap.positions(claim.open)}
        self._positions = {recipient.address.key: position for position, recipient in people.items()}
        clearance = await self._dispatcher.clear([each.address for each in people.values()], message.purpose)
        copies = self._copies(content, people)
        deliveries, refused = self._dispatcher.copies(content.check, clearance.cleared, copies)
        await self._settle([*clearance.suppressed, *refused])
        for start in range(0, len(deliveries), self._micro_batch):
            batch = deliveries[start : start + self._micro_batch]
            route = self._route_of(message, content=content, only=content.options.connection)
            if not route.connections and start:
                # Nothing would come of asking for each micro-batch what the first was told.
                self._put_off(deliveries[start:])
                break
            await self._deliver(message, batch, route, key=batch[0].message_id, broadcast=True)
        return self._left

    def _copies(self, content: BroadcastContent, people: Mapping[int, Recipient]) -> dict[str, tuple[Recipient, str]]:
        unit, ids = self._claim.unit, content.ids
        return {each.address.key: (each, ids.of(unit, position)) for position, each in people.items()}

    def _route_of(self, message: Message, *, only: str | None, content: BroadcastContent | None = None) -> Route:
        try:
            if content is None:
                route = self._dispatcher.route(message, only=only)
            else:
                route = self._dispatcher.route(message, broadcast=True, merge=content.check.template.active, only=only)
            self._dispatcher.sender(message, route)
        except (NoConnection, ConfigurationError) as error:
            raise Unsendable(error.message) from error
        return route

    async def _deliver(
        self, message: Message, deliveries: Sequence[Delivery], route: Route, *, key: str, broadcast: bool
    ) -> None:
        journal = UnitJournal(self._ledger.units, self._claim, self._positions, self._ledger.workers)
        way = Way(timeout_s=self._timeout_s, policy=ONE_PASS, journal=journal, earlier=self._earlier(deliveries))
        point("pass.deliver.before")
        outcomes, attempts = await self._dispatcher.deliver(
            message, deliveries, route, way, key=key, broadcast=broadcast
        )
        point("pass.deliver.after")
        self._left.tried = self._left.tried or bool(attempts)
        # What the ledger has from the hand-overs need not be told again.
        said = journal.said
        news = [
            outcome
            for key, outcome in outcomes.items()
            if (before := said.get(self._positions[key])) is not outcome and before != outcome
        ]
        await self._settle(news)
        for address, outcome in outcomes.items():
            if outcome.retry is not Retry.NEVER:
                self._left.outcomes[self._positions[address]] = outcome

    def _earlier(self, deliveries: Sequence[Delivery]) -> dict[str, Outcome]:
        if not self._claim.earlier:
            return {}
        keys = {address.key for delivery in deliveries for address in delivery.addresses}
        return {
            key: self._claim.earlier[self._positions[key]].outcome
            for key in keys
            if self._positions[key] in self._claim.earlier
        }

    async def _settle(self, outcomes: Iterable[Outcome]) -> None:
        """Keep outcomes that no hand-over brought."""
        answers = [
            answer_of(self._positions[key], outcome)
            for outcome in outcomes
            if (key := Address.parse(outcome.recipient).key) in self._positions
        ]
        if answers:
            point("pass.settle.before")
            if not await self._ledger.units.settle(self._claim, answers):
                raise StepBack("the unit is no longer held by this worker", hand_back=True)
            point("pass.settle.after")

    def _put_off(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            for address in delivery.addresses:
                position = self._positions[address.key]
                self._left.outcomes[position] = Outcome(
                    recipient=address.email, state=State.DEFERRED, stage="plan", reason="paused", retry=Retry.ANY
                )
