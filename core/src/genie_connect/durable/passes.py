"""One pass over a claimed unit: everybody who is open is tried once, and what came of it is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Final

import attrs

from genie_connect.delivery.dispatch import SEND_TIMEOUT_S, Dispatcher, Way, single_delivery
from genie_connect.delivery.journal import StepBack
from genie_connect.delivery.planner import Route
from genie_connect.delivery.policy import SendPolicy
from genie_connect.delivery.repetition import send_key
from genie_connect.durable.content import BroadcastContent, message_of, recipient_of
from genie_connect.durable.doubts import Doubts
from genie_connect.durable.journal import UnitJournal
from genie_connect.durable.ledger import Ledger
from genie_connect.durable.repeating import Chance, chance_of
from genie_connect.errors import ConfigurationError, NoConnection
from genie_connect.failpoints import point
from genie_connect.model.address import Address
from genie_connect.model.batch import Delivery, Recipient
from genie_connect.model.message import Message
from genie_connect.model.outcome import Outcome, Retry, State
from genie_connect.store import bitmap
from genie_connect.store.claims import Answer, Claim, HandOver
from genie_connect.store.packing import unpack

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
        turn: asyncio.Semaphore,
        timeout_s: float = SEND_TIMEOUT_S,
    ) -> None:
        """Of a chunk ``micro_batch`` recipients leave at a time, and only while it has one of the ``turn``s."""
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._claim = claim
        self._micro_batch = micro_batch
        self._turn = turn
        self._timeout_s = timeout_s
        self._positions: dict[str, int] = {}
        self._doubts = Doubts(claim.earlier)
        self._had_turn = 0
        self._left = Left()

    async def run_send(self) -> Left:
        """Try a single message."""
        claim = self._claim
        if claim.send is None:
            raise AssertionError("a unit of the kind SEND has its send")
        message, message_id = message_of(claim.send.message), claim.send.message_id
        self._doubts.at_least_once = claim.send.at_least_once
        envelope = [recipient_of(row).address for row in unpack(claim.recipients)]
        self._positions = {envelope[position].key: position for position in bitmap.positions(claim.open)}
        told = [address.email for address in envelope if address.key not in self._positions]
        clearance = await self._dispatcher.clear(envelope, message.purpose, told=told)
        await self._settle(clearance.suppressed)
        waiting = {
            self._positions[each.address.key]: each for each in clearance.cleared if each.address.key in self._positions
        }

        def copy(positions: Iterable[int], shown: Container[str]) -> list[Delivery]:
            recipients = tuple([waiting[position] for position in positions])
            return [single_delivery(message, message_id, recipients, shown=shown)]

        if waiting and self._doubts:
            shown_then = await self._shown_then(envelope) if claim.interrupted else ()
            await self._resolve(message, lambda them: copy(them, shown_then), waiting, only=claim.send.only)
        rest = [position for position in waiting if self._is_untried(position)]
        if rest:
            key = claim.send.key or message_id
            route = self._route_of(message, only=claim.send.only)
            shown_now = {each.address.key for each in clearance.cleared}
            await self._deliver(message, copy(rest, shown_now), route, key=key, broadcast=False)
        return self._left

    async def _shown_then(self, envelope: Sequence[Address]) -> set[str]:
        """The address keys in the header of the copy that left already: it has to be the same to the last byte."""
        record = await self._ledger.sends.record(self._claim.unit)
        known = {} if record is None else record.outcomes
        return {
            address.key
            for position, address in enumerate(envelope)
            if position not in known or known[position].state is not State.SUPPRESSED
        }

    async def run_chunk(self, content: BroadcastContent) -> Left:
        """Try a chunk, some recipients at a time."""
        self._doubts.at_least_once = content.options.at_least_once
        claim, message = self._claim, content.message
        rows = unpack(claim.recipients)
        point("pass.begun")
        people = {position: recipient_of(rows[position]) for position in bitmap.positions(claim.open)}
        self._positions = {recipient.address.key: position for position, recipient in people.items()}
        clearance = await self._dispatcher.clear([each.address for each in people.values()], message.purpose)
        copies = self._copies(content, people)
        deliveries, refused = self._dispatcher.copies(content.check, clearance.cleared, copies)
        await self._settle([*clearance.suppressed, *refused])
        if deliveries and self._doubts:
            by_position = {self._positions[delivery.addresses[0].key]: delivery for delivery in deliveries}
            await self._resolve(
                message,
                lambda them: [by_position[each] for each in them],
                by_position,
                only=content.options.connection,
                content=content,
            )
            deliveries = [each for position, each in by_position.items() if self._is_untried(position)]
        for start in range(0, len(deliveries), self._micro_batch):
            batch = deliveries[start : start + self._micro_batch]
            route = self._route_of(message, content=content, only=content.options.connection)
            if not route.connections and start:
                # Nothing would come of asking for each micro-batch what the first was told.
                self._put_off(deliveries[start:])
                break
            async with self._turn:
                await self._deliver(message, batch, route, key=batch[0].message_id, broadcast=True)
        return self._left

    async def _resolve(
        self,
        message: Message,
        copies: Callable[[Sequence[int]], Sequence[Delivery]],
        able: Container[int],
        *,
        only: str | None,
        content: BroadcastContent | None = None,
    ) -> None:
        """Make hand-overs again whose answer was lost, as they were; who is in doubt and cannot go again is unknown."""
        try:
            route = self._route_of(message, only=only, content=content)
        except Unsendable:
            route = None  # none could ever carry it
        for hand_over in self._claim.interrupted:
            positions = bitmap.positions(hand_over.positions)
            batch = copies(positions) if all(position in able for position in positions) else ()
            recipients = [address.email for delivery in batch for address in delivery.addresses]
            chance = chance_of(hand_over, recipients, route, now=self._ledger.database.now())
            if chance is Chance.OVER or route is None:
                continue
            self._had_turn |= hand_over.positions
            if chance is Chance.LATER:
                self._left.outcomes |= {position: self._doubts.of(position) for position in positions}
            else:
                key = send_key(hand_over.key)
                await self._deliver(message, batch, route, key=key, broadcast=content is not None, repeats=hand_over)
        if not self._doubts.at_least_once:
            over = [position for position in self._doubts if self._is_untried(position)]
            self._had_turn |= bitmap.of(over)
            await self._tell(self._doubts.given_up(over))

    def _is_untried(self, position: int) -> bool:
        """Whether it has not had its turn in this pass."""
        return not self._had_turn >> position & 1

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
        self,
        message: Message,
        deliveries: Sequence[Delivery],
        route: Route,
        *,
        key: str,
        broadcast: bool,
        repeats: HandOver | None = None,
    ) -> None:
        units, workers = self._ledger.units, self._ledger.workers
        journal = UnitJournal(units, self._claim, self._positions, workers, self._doubts, repeats=repeats)
        way = Way(
            timeout_s=self._timeout_s,
            policy=ONE_PASS,
            journal=journal,
            earlier=self._earlier(deliveries, in_doubt=repeats is not None),
            repeats=None if repeats is None else repeats.connection,
        )
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
            if (before := said.get(self._positions[key])) is not outcome
            and before != outcome
            # Of a doubt the journal has told what it knows.
            and outcome.state is not State.UNKNOWN
        ]
        await self._settle(news)
        for address, outcome in outcomes.items():
            position = self._positions[address]
            if position in self._doubts:
                self._left.outcomes[position] = said.get(position, outcome)
            elif outcome.retry is not Retry.NEVER:
                self._left.outcomes[position] = outcome

    def _earlier(self, deliveries: Sequence[Delivery], *, in_doubt: bool) -> dict[str, Outcome]:
        """What was said of them before; of doubts only where all are to be repeated, for others nothing binds them."""
        if not self._claim.earlier:
            return {}
        found: dict[str, Outcome] = {}
        for key in {address.key for delivery in deliveries for address in delivery.addresses}:
            before = self._claim.earlier.get(self._positions[key])
            if before is not None and (in_doubt or before.outcome.state is not State.UNKNOWN):
                found[key] = before.outcome
        return found

    async def _settle(self, outcomes: Iterable[Outcome]) -> None:
        """Keep outcomes that no hand-over brought."""
        await self._tell(
            [
                self._doubts.untried(self._positions[key], outcome)
                for outcome in outcomes
                if (key := Address.parse(outcome.recipient).key) in self._positions
            ]
        )

    async def _tell(self, answers: Sequence[Answer]) -> None:
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
