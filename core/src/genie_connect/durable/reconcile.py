"""Asking providers what became of copies in doubt."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from genie_connect.durable.ledger import Ledger
from genie_connect.errors import GenieConnectError, NothingUnknown
from genie_connect.model.outcome import Outcome, State
from genie_connect.model.receipt import Attempt, DoubtfulCopy
from genie_connect.registry.isolation import log_failure
from genie_connect.store.unknown import Resolution, ResolvedBy, UnknownCopy

_logger = logging.getLogger("genie_connect.reconcile")
COPIES_AT_ONCE: Final = 500


class LooksUp(Protocol):
    """Who can ask a provider."""

    async def lookup(self, attempt: Attempt) -> tuple[Outcome, ...]:
        """What the provider knows of an attempt."""
        ...


async def reconcile(ledger: Ledger, host: LooksUp) -> int:
    """Resolve what can be resolved; how many copies that were. A provider that knows nothing proves nothing."""
    resolved = await ledger.events.reconcile()
    after = (0, -1)
    while copies := await ledger.unknown.listed(after=after, limit=COPIES_AT_ONCE):
        after = (copies[-1].unit, copies[-1].position)
        resolved += await _ask(ledger, host, copies)
    return resolved


async def _ask(ledger: Ledger, host: LooksUp, copies: Iterable[UnknownCopy]) -> int:
    resolved = 0
    by_attempt: dict[str, list[UnknownCopy]] = {}
    for copy in copies:
        if copy.attempt_id is not None and copy.connection is not None:
            by_attempt.setdefault(copy.attempt_id, []).append(copy)
    for group in by_attempt.values():
        try:
            found = await host.lookup(_attempt(group))
        except (GenieConnectError, TimeoutError) as error:
            log_failure(_logger, error, "connection %s could not be asked", group[0].connection)
            continue
        resolved += await _take_in(ledger, group, found)
    return resolved


async def _take_in(ledger: Ledger, group: Iterable[UnknownCopy], found: Iterable[Outcome]) -> int:
    known = {outcome.recipient: outcome for outcome in found}
    resolved = 0
    for copy in group:
        outcome = known.get(copy.recipient)
        if outcome is None or outcome.state not in (State.ACCEPTED, State.REJECTED):
            continue
        resolution = Resolution.ACCEPTED if outcome.state is State.ACCEPTED else Resolution.REJECTED
        # Somebody may have been quicker.
        with contextlib.suppress(NothingUnknown):
            await ledger.unknown.resolve(copy.unit, copy.position, resolution, ResolvedBy.LOOKUP, note=outcome.text)
            resolved += 1
    return resolved


def _attempt(copies: Sequence[UnknownCopy]) -> Attempt:
    first = copies[0]
    return Attempt(
        id=first.attempt_id or "",
        connection=first.connection or "",
        stage="final",
        outcome="unknown",
        recipients=first.recipients or 1,
        started=None if first.started is None else datetime.fromtimestamp(first.started, UTC),
        in_doubt=tuple([DoubtfulCopy(message_id=each.message_id, recipient=each.recipient) for each in copies]),
    )
