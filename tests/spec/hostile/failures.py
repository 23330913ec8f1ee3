"""Hostile connectors: what they do wrong while the provider does not work."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs

from genie_connect import (
    Outcome,
    Retry,
    Scope,
    State,
)
from genie_connect.http import NoAnswer, NotSent, TransportError
from tests.spec.hostile.honest import Honest
from tests.spec.hostile.registry import fails
from tests.spec.hostile.spoiling import Misjudges


@fails("GC-FAIL-001", "GC-FAIL-003", "GC-FAIL-005")
class DefersDoubt(Misjudges):
    """Calls silence "not taken", so that the host sends again."""


@fails("GC-FAIL-007")
class DefersFaults(Misjudges):
    """Takes a 500 for a no."""

    def misjudged(self, outcome: Outcome) -> bool:
        """Answers of 500."""
        return outcome.code == 500


@fails("GC-FAIL-006")
class BelievesAnything(Honest):
    """Takes any 200 for a yes."""

    def outcomes(self, batch: Any, response: Any, context: Any) -> Any:
        """A yes."""
        if response.ok:
            return [self.accepted(address.email) for address in batch.recipients]
        return super().outcomes(batch, response, context)


class Repeats(Honest):
    """Tries again by itself."""

    def again(self, found: Any) -> bool:
        """After what."""
        return isinstance(found, TransportError)

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """A second time, where that seems a good idea."""
        half = attrs.evolve(context, deadline=context.clock.monotonic() + context.remaining_s() / 2)
        try:
            found: Any = await super().request(state, content, half)
        except TransportError as error:
            found = error
        if self.again(found):
            return await super().request(state, content, context)
        if isinstance(found, TransportError):
            raise found
        return found


@fails("GC-FAIL-002")
class RepeatsAfterSilence(Repeats):
    """Knocks twice."""

    def again(self, found: Any) -> bool:
        """After silence."""
        return isinstance(found, TransportError) and found.reason == "time_out" and found.code == "http_no_answer"


@fails("GC-FAIL-004")
class RepeatsAfterABreak(Repeats):
    """Does as many HTTP clients do."""

    def again(self, found: Any) -> bool:
        """After a connection broke."""
        return isinstance(found, TransportError) and found.reason in ("closed", "protocol")


@fails("GC-FAIL-008")
class RepeatsAfter500(Repeats):
    """Does as many client libraries do."""

    def again(self, found: Any) -> bool:
        """After a 500."""
        return getattr(found, "status", 0) == 500


@fails("GC-FAIL-009", "GC-FAIL-010", "GC-FAIL-021")
class GivesUpForGood(Misjudges):
    """Calls a provider that is away a no."""

    state = State.REJECTED
    facts = {"reason": "connect", "hint": "Pity."}

    def misjudged(self, outcome: Outcome) -> bool:
        """Not connected."""
        return outcome.stage == "connect"


@fails("GC-FAIL-011", "GC-FAIL-012", "GC-FAIL-013")
class RejectsWhenThrottled(Misjudges):
    """Takes a limit for a no."""

    state = State.REJECTED
    facts = {"reason": "policy", "scope": Scope.CONNECTION, "hint": "Pity."}

    def misjudged(self, outcome: Outcome) -> bool:
        """Too many."""
        return outcome.code == 429


@fails("GC-FAIL-013")
class ComesBackAtOnce(Misjudges):
    """Does not pass on how long to wait."""

    facts = {"reason": "throttled", "scope": Scope.CONNECTION, "retry": Retry.ANY, "hint": "Now."}

    def misjudged(self, outcome: Outcome) -> bool:
        """Too many."""
        return outcome.code == 429


@fails("GC-FAIL-014", "GC-FAIL-015", "GC-FAIL-019")
class RejectsWithoutAKey(Misjudges):
    """Says no to the recipient because the key is wrong."""

    state = State.REJECTED
    facts = {"reason": "permanent", "hint": "Pity."}

    def misjudged(self, outcome: Outcome) -> bool:
        """Unauthorized."""
        return outcome.code == 401


@fails("GC-FAIL-016")
class SuppressesAll(Misjudges):
    """Suppresses whoever was written to with a wrong key."""

    facts = {"reason": "auth", "scope": Scope.CONNECTION, "retry": Retry.OTHER, "hint": "Key.", "suppress": True}

    def misjudged(self, outcome: Outcome) -> bool:
        """Unauthorized."""
        return outcome.code == 401


@fails("GC-FAIL-017", "GC-FAIL-027")
class OwnReasons(Misjudges):
    """Has words of its own."""

    state = State.UNKNOWN
    facts = {"reason": "dunno", "scope": Scope.CONNECTION, "hint": "Ask."}


@fails("GC-FAIL-018")
class NoHint(Misjudges):
    """Says what, and not what to do."""

    facts = {"reason": "auth", "scope": Scope.CONNECTION, "retry": Retry.OTHER}

    def misjudged(self, outcome: Outcome) -> bool:
        """Unauthorized."""
        return outcome.code == 401


@fails("GC-FAIL-001", "GC-FAIL-020")
class IgnoresDeadlines(Honest):
    """Takes its time."""

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """Longer than there is, where there is little."""
        if 0.1 < context.remaining_s() < 0.5:
            await asyncio.sleep(60)
        return await super().request(state, content, context)


@fails("GC-FAIL-021")
class RaisesWhenLate(Honest):
    """Raises when there is no time left."""

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """An exception for the host."""
        if context.remaining_s() <= 0:
            raise RuntimeError("no time")
        return await super().request(state, content, context)


@fails("GC-FAIL-022")
class SwallowsCancellation(Honest):
    """Does not let itself be stopped."""

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """Cancelled? An outcome."""
        try:
            return await super().request(state, content, context)
        except asyncio.CancelledError:
            raise NoAnswer("closed", "cancelled") from None


@fails("GC-FAIL-023")
class SpoiltByCancellation(Honest):
    """Keeps its lock when it is cancelled."""

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """A lock that nobody gives back."""
        if getattr(state, "busy", False):
            raise NotSent("pool", "busy for ever")
        try:
            return await super().request(state, content, context)
        except asyncio.CancelledError:
            state.busy = True
            raise


@fails("GC-FAIL-026")
class OneAtATime(Honest):
    """Has one message under way, and all others wait for it."""

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """Behind one another."""
        if not hasattr(state, "lock"):
            state.lock = asyncio.Lock()
        async with state.lock:
            return await super().request(state, content, context)
