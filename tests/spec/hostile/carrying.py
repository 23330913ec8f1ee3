"""Hostile connectors: what they leave out of what leaves, or put into it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from genie_connect import CapabilityTable, Outcome, Retry, Scope, State, hookimpl
from genie_connect.http import TransportError
from genie_connect.model.capability import yes
from tests.spec.hostile.capabilities import Table
from tests.spec.hostile.honest import Honest
from tests.spec.hostile.registry import fails


class Carries(Honest):
    """Spoils each copy of what it writes."""

    def content(self, batch: Any) -> dict[str, Any]:
        """The honest content, spoilt."""
        content = super().content(batch)
        return {**content, "copies": [self.spoilt(copy, index) for index, copy in enumerate(content["copies"])]}

    def spoilt(self, copy: dict[str, Any], index: int) -> dict[str, Any]:
        """A copy, spoilt."""
        return copy


class Whole(Honest):
    """Spoils what is the same for all copies."""

    def content(self, batch: Any) -> dict[str, Any]:
        """The honest content, spoilt."""
        return self.spoilt(super().content(batch))

    def spoilt(self, content: dict[str, Any]) -> dict[str, Any]:
        """The content, spoilt."""
        return content


@fails("GC-CAP-007")
class CarriesNothing(Table):
    """Declares no kind of send."""

    without = ("send.transactional", "send.broadcast")


@fails("GC-CAP-022")
class ForgetsImages(Table):
    """Declares inline images, and has no place for their ids."""

    more = (yes("send.inline_images"),)


@fails("GC-CAP-030")
class ForgetsTags(Table):
    """Declares tags, and has no place for them."""

    without = ("send.tags",)
    more = (yes("send.tags"),)


@fails("GC-CAP-040", "GC-CAP-041", "GC-CAP-042", "GC-CAP-043", "GC-CAP-044", "GC-CAP-045")
class PromisesMore(Table):
    """Declares what it has no place for."""

    more = tuple(
        map(
            yes,
            (
                "send.provider_options",
                "send.schedule",
                "send.track_opens",
                "send.track_clicks",
                "send.templates",
                "send.amp",
            ),
        )
    )


@fails("GC-CAP-023", "GC-CAP-024", "GC-SEND-005")
class FirstOnly(Carries):
    """Writes to the first recipient of a copy, whoever else there is."""

    def spoilt(self, copy: dict[str, Any], index: int) -> dict[str, Any]:
        """One."""
        return {**copy, **{name: copy[name][:1] for name in ("recipients", "names", "shown")}}


@fails("GC-CAP-032")
class FirstCopyOnly(Honest):
    """Writes the first copy, whatever else there is."""

    def content(self, batch: Any) -> dict[str, Any]:
        """One."""
        content = super().content(batch)
        return {**content, "copies": content["copies"][:1]}


@fails("GC-CAP-038")
class TenCopies(Honest):
    """Writes ten copies of the twenty that it declares."""

    def content(self, batch: Any) -> dict[str, Any]:
        """Ten."""
        content = super().content(batch)
        return {**content, "copies": content["copies"][:10]}


@fails("GC-CAP-034")
class SharedHeaders(Carries):
    """Has header fields for all copies, and none for one."""

    def spoilt(self, copy: dict[str, Any], index: int) -> dict[str, Any]:
        """None."""
        return {**copy, "headers": {}}


@fails("GC-CAP-035")
class SharedMetadata(Carries):
    """Has metadata for all copies, and none for one."""

    def spoilt(self, copy: dict[str, Any], index: int) -> dict[str, Any]:
        """None."""
        return {**copy, "metadata": {}}


@fails("GC-CAP-039")
class BorrowedTable(Honest):
    """Has an effective table of another connector in its state."""

    @hookimpl
    async def connector_open(self, settings: Any, runtime: Any) -> Any:
        """With a table."""
        state = await Honest.connector_open(self, settings, runtime)
        state.capabilities = CapabilityTable(connector="another", entries=self.entries, effective=True)
        return state


@fails("GC-SEND-001")
class AlwaysLater(Honest):
    """Is never sure that anything was taken."""

    def accepted(self, recipient: str) -> Outcome:
        """Not yet."""
        facts: Mapping[str, Any] = {"reason": "temporary", "scope": Scope.MESSAGE, "retry": Retry.ANY}
        return Outcome(recipient=recipient, state=State.DEFERRED, stage="final", **facts)


@fails("GC-SEND-008")
class ShortensText(Whole):
    """Sends the beginning of a text."""

    def spoilt(self, content: dict[str, Any]) -> dict[str, Any]:
        """Twelve letters."""
        return {**content, "text": content["text"] and content["text"][:12]}


@fails("GC-SEND-013")
class SplitsAtCommas(Carries):
    """Takes a comma in a name for the end of an address."""

    def spoilt(self, copy: dict[str, Any], index: int) -> dict[str, Any]:
        """The part before."""
        return {**copy, "names": [name.partition(",")[0] for name in copy["names"]]}


@fails("GC-SEND-015")
class WantsASubject(Honest):
    """Raises where there is no subject."""

    def content(self, batch: Any) -> dict[str, Any]:
        """With one."""
        if not batch.message.subject:
            raise KeyError("subject")
        return super().content(batch)


@fails("GC-SEND-016")
class CutsLongTexts(Whole):
    """Sends a hundred thousand signs at most."""

    def spoilt(self, content: dict[str, Any]) -> dict[str, Any]:
        """So many."""
        return {**content, "text": content["text"] and content["text"][:100_000]}


@fails("GC-SEND-017")
class DoubtsBlindCopies(Honest):
    """Has no outcome for whom it does not show."""

    def outcomes(self, batch: Any, response: Any, context: Any) -> Any:
        """Those of the header."""
        shown = {address.email for each in batch.deliveries for address in (*each.to, *each.cc)}
        return [each for each in super().outcomes(batch, response, context) if each.recipient in shown]


@fails("GC-SEND-030")
class ReachesTheHeader(Honest):
    """Goes by the header, and not by who is still open."""

    @hookimpl
    async def connector_send(self, state: Any, batch: Any, context: Any) -> Any:
        """An outcome for everybody in To."""
        outcomes = await Honest.connector_send(self, state, batch, context)
        known = {each.recipient for each in outcomes}
        others = [a.email for each in batch.deliveries for a in each.to if a.email not in known]
        return [*(self.accepted(email) for email in others), *outcomes]


class Remembers(Honest):
    """Knows of its state what became of the sends before."""

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """And goes by it."""
        try:
            response = await super().request(state, content, context)
        except TransportError:
            state.calls = -1
            raise
        return response


@fails("GC-FAIL-024")
class OnceBroken(Remembers):
    """Stays broken once it was."""

    @hookimpl
    async def connector_send(self, state: Any, batch: Any, context: Any) -> Any:
        """After a failure, no more."""
        if state.calls < 0:
            facts: Mapping[str, Any] = {
                "reason": "connect",
                "scope": Scope.CONNECTION,
                "retry": Retry.ANY,
                "hint": "Later.",
            }
            return [
                Outcome(recipient=address.email, state=State.DEFERRED, stage="connect", **facts)
                for address in batch.recipients
            ]
        return await Honest.connector_send(self, state, batch, context)


@fails("GC-FAIL-025")
class TwiceToBeSure(Honest):
    """Sends a second time where the connection was used before."""

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """To be sure, and again where the end of the connection and the second one cross."""
        answer = await super().request(state, content, context)
        for _ in range(3 if state.calls > 1 else 0):
            with suppress(TransportError):
                return await super().request(state, content, context)
        return answer


@fails("GC-SAFE-003")
class QuotesTheKey(Honest):
    """Puts the key into an error."""

    def outcomes(self, batch: Any, response: Any, context: Any) -> Any:
        """So that somebody can look it up."""
        if response.status == 401:
            raise PermissionError(f"refused: {batch.message.subject}") from ValueError(self._key)
        return super().outcomes(batch, response, context)

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """Remember it."""
        self._key = state.key
        return await super().request(state, content, context)


@fails("GC-LIFE-001")
class NeverOpens(Honest):
    """Cannot be opened."""

    @hookimpl
    async def connector_open(self, settings: Any, runtime: Any) -> Any:
        """No."""
        raise RuntimeError("not today")


@fails("GC-LIFE-005")
class WillNotCloseBroken(Remembers):
    """Cannot be closed after a failure."""

    @hookimpl
    async def connector_close(self, state: Any) -> None:
        """Not like this."""
        await Honest.connector_close(self, state)
        if state.calls < 0:
            raise RuntimeError("the connection is broken")


@fails("GC-LIFE-011")
class FailsUnseen(Honest):
    """Has a task that fails, which nobody awaits."""

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """Beside the request."""
        asyncio.ensure_future(self.count())  # noqa: RUF006  # nobody keeps it, which is the point
        return await super().request(state, content, context)

    async def count(self) -> None:
        """Fail."""
        raise ValueError("counted wrongly")


@fails("GC-LIFE-015")
class SendsForEver(Honest):
    """Goes on for ever when its connection is closed."""

    @hookimpl
    async def connector_send(self, state: Any, batch: Any, context: Any) -> Any:
        """Without an end."""
        try:
            return await Honest.connector_send(self, state, batch, context)
        finally:
            if getattr(state, "closed", False):
                await asyncio.Event().wait()

    @hookimpl
    async def connector_close(self, state: Any) -> None:
        """And remembers."""
        state.closed = True
        await Honest.connector_close(self, state)
