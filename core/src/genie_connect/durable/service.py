"""Durable work of one host: its ledger, its engine, and the sends that outlive the call that made them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from types import MappingProxyType, TracebackType
from typing import Final, Self

from genie_connect.clock import Clock
from genie_connect.config import EngineSection, StoreSection
from genie_connect.delivery.dispatch import Dispatcher
from genie_connect.durable.chores import Chores, look_at_early_events, share_health
from genie_connect.durable.content import PlanText, digest, message_bytes, message_of, recipient_of
from genie_connect.durable.early_events import EarlyEvents, LookAgain
from genie_connect.durable.ledger import Ledger
from genie_connect.durable.options import SendOptions
from genie_connect.durable.plain import PlainJournal
from genie_connect.durable.schedule import Schedule
from genie_connect.durable.worker import Worker, WorkerOptions
from genie_connect.engine.contract import Place
from genie_connect.engine.open import open_engine
from genie_connect.errors import ValidationError
from genie_connect.failpoints import point
from genie_connect.model.address import Address
from genie_connect.model.codec import structure
from genie_connect.model.message import Message
from genie_connect.model.outcome import Outcome, Outcomes
from genie_connect.model.plan import Plan
from genie_connect.model.receipt import Receipt
from genie_connect.store.accepting import NewSend
from genie_connect.store.claims import Claim
from genie_connect.store.packing import pack_addresses, unpack
from genie_connect.store.schema import UnitState
from genie_connect.store.sends import SendRecord

AT_ONCE: Final = 64
"""So many durable sends go on in the process that accepted them; those beyond wait in the ledger."""
FIRST_LOOK_S: Final = 0.05
LONGEST_LOOK_S: Final = 2.0
"""How often a send is looked at that another process may be working on."""


class Durable:
    """The durable side of a host. To be entered with ``async with``.

    ``look_again`` is for events that came before the answers that tell whom they are about.
    """

    def __init__(
        self,
        store: StoreSection,
        engine: EngineSection,
        dispatcher: Dispatcher,
        clock: Clock,
        look_again: LookAgain,
    ) -> None:
        self.options = engine
        self.ledger = Ledger(store.url, tenant=store.tenant, clock=clock, lease_s=engine.lease_s)
        self.early_events = EarlyEvents(self.ledger, look_again)
        self.worker: Worker | None = None
        self._engine_url = engine.url
        self._dispatcher = dispatcher
        self._plans = PlanText()
        self._stack = AsyncExitStack()
        self._under_way: set[asyncio.Task[None]] = set()
        self._ended: dict[int, asyncio.Event] = {}

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.ledger)
        return self

    async def begin(self) -> None:
        """Now that there are connections: look after them, and work, if wanted. Raises as ``make_worker`` does."""
        chores = (
            share_health(self.ledger, self._dispatcher.connections),
            look_at_early_events(self.early_events),
        )
        await self._stack.enter_async_context(Chores(chores))
        if self.options.work:
            await self._stack.enter_async_context(self.make_worker().working())
        self._stack.push_async_callback(self._end_sends)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def make_worker(self) -> Worker:
        """A worker of this host, with an engine of its own. Raises ``ConfigurationError``, ``EngineUnavailable``."""
        database, options = self.ledger.database, self.options
        place = Place(
            store=database.title,
            tenant=database.tenant,
            store_url=database.url.render_as_string(hide_password=False),
        )
        self.worker = Worker(
            self.ledger,
            open_engine(self._engine_url, place),
            self._dispatcher,
            ended=self._has_ended,
            options=WorkerOptions(
                concurrency=options.concurrency,
                micro_batch=options.micro_batch,
                grace_s=options.grace_s,
                schedule=Schedule(first_s=options.first_retry_s, give_up_after_s=options.give_up_after_s),
            ),
        )
        return self.worker

    async def accept(
        self,
        message: Message,
        message_id: str,
        plan: Plan,
        options: SendOptions,
        suppressed: Mapping[int, Outcome] = MappingProxyType({}),
    ) -> Receipt:
        """Take a send in; it is on disk on return. Raises ``IdempotencyConflict``.

        ``suppressed`` are those who are not written to as things are, by their place among the recipients.
        """
        send = self._new_send(message, message_id, plan, options, suppressed)
        ours = self.worker is not None and self.ledger.workers.fresh and len(self._under_way) < AT_ONCE
        point("accept.before")
        accepted = await self.ledger.sends.accept(send, owner=self.ledger.workers.id if ours else None)
        point("accept.after")
        if accepted.repeated:
            receipt = await self.receipt(accepted.unit)
            if receipt is not None:
                return receipt
        if accepted.claim is not None:
            self._carry_out(accepted.claim)
            point("accept.begun")
        elif self.worker is not None:
            self.worker.nudge()
        return Receipt(
            message_id=message_id,
            outcomes=Outcomes({outcome.recipient: outcome for outcome in suppressed.values()}),
            attempts=(),
            plan=plan,
            tags=message.tags,
            metadata=message.metadata,
            id=accepted.unit,
            pending=send.due,
        )

    def plain(
        self, message: Message, message_id: str, plan: Plan, options: SendOptions, recipients: Sequence[Address]
    ) -> PlainJournal:
        """The journal of a send whose caller waits for it."""
        positions = {address.key: position for position, address in enumerate(recipients)}
        return PlainJournal(self.ledger, lambda: self._new_send(message, message_id, plan, options), positions)

    async def repeated(self, message: Message, key: str) -> Receipt | None:
        """The receipt of the send that this key stands for. Raises ``IdempotencyConflict`` for another content."""
        unit = await self.ledger.sends.earlier(key, digest(message_bytes(message)))
        return None if unit is None else await self.receipt(unit)

    async def receipt(self, unit: int) -> Receipt | None:
        """What is known of a send now; ``None`` where there is none, or it was purged."""
        record = await self.ledger.sends.record(unit)
        return None if record is None else _receipt(record)

    async def settled(self, unit: int, timeout_s: float) -> Receipt:
        """The receipt once nothing more is to come. Raises ``TimeoutError``, and ``ValidationError`` for no send."""
        look_s = FIRST_LOOK_S
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    # Before looking, so that nothing that ends meanwhile is missed.
                    ended = self._ended.setdefault(unit, asyncio.Event())
                    receipt = await self.receipt(unit)
                    if receipt is None:
                        raise ValidationError.single("id", f"there is no send {unit}", "give the id of a receipt")
                    if not receipt.pending:
                        return receipt
                    # Here it may end at any time; of another process nothing tells us.
                    with suppress(TimeoutError):
                        await asyncio.wait_for(ended.wait(), look_s)
                    look_s = min(LONGEST_LOOK_S, look_s * 2)
        finally:
            # Others who wait for the same one look again by themselves.
            self._ended.pop(unit, None)

    def _has_ended(self, unit: int) -> None:
        waited_for = self._ended.pop(unit, None)
        if waited_for is not None:
            waited_for.set()

    def _new_send(
        self,
        message: Message,
        message_id: str,
        plan: Plan,
        options: SendOptions,
        suppressed: Mapping[int, Outcome] = MappingProxyType({}),
    ) -> NewSend:
        content, people = message_bytes(message), message.recipients
        return NewSend(
            message_id=message_id,
            recipients=pack_addresses([address.email for address in people]),
            size=len(people),
            message=content,
            key=options.key,
            digest=b"" if options.key is None else digest(content),
            not_before=options.not_before,
            expires=options.expires,
            priority=options.priority,
            only=options.connection,
            at_least_once=options.at_least_once,
            suppressed=suppressed,
            plan=self._plans.of(plan),
        )

    def _carry_out(self, claim: Claim) -> None:
        if self.worker is None:
            raise AssertionError("only a host that works owns sends from the beginning")
        task = asyncio.get_running_loop().create_task(self.worker.take(claim), name="durable send")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _end_sends(self) -> None:
        if not self._under_way:
            return
        _, late = await asyncio.wait(self._under_way, timeout=self.options.grace_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


def _receipt(record: SendRecord) -> Receipt:
    message = message_of(record.message)
    people = [recipient_of(row).address for row in unpack(record.recipients)]
    known: Mapping[str, Outcome] = {people[position].email: outcome for position, outcome in record.outcomes.items()}
    return Receipt(
        message_id=record.message_id,
        outcomes=Outcomes(known),
        attempts=record.attempts,
        plan=structure(Plan, json.loads(record.plan)) if record.plan else Plan(),
        tags=message.tags,
        metadata=message.metadata,
        id=record.unit,
        pending=record.state is not UnitState.DONE,
    )
