"""Hostile connectors: what they do wrong while the provider works."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import attrs

from genie_connect import (
    Outcome,
    State,
    hookimpl,
)
from tests.spec.hostile.honest import Honest
from tests.spec.hostile.registry import fails


class Sends(Honest):
    """Spoils what becomes of a send."""

    def spoilt(self, outcomes: list[Outcome]) -> Any:
        """The outcomes, spoilt."""
        return outcomes

    @hookimpl
    async def connector_send(self, state: Any, batch: Any, context: Any) -> Any:
        """As the honest one does, then spoilt."""
        return self.spoilt(list(await Honest.connector_send(self, state, batch, context)))


@fails("GC-SEND-002")
class GivesAView(Sends):
    """Gives what is no list."""

    def spoilt(self, outcomes: list[Outcome]) -> Any:
        """Something else."""
        return FakeSequence(outcomes)


class FakeSequence(Sequence[Any]):
    """A sequence of its own kind."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)


@fails("GC-SEND-003", "GC-SEND-004")
class Reorders(Sends):
    """Gives the outcomes in an order of its own."""

    def spoilt(self, outcomes: list[Outcome]) -> Any:
        """Sorted."""
        return sorted(outcomes, key=lambda outcome: outcome.recipient)


@fails("GC-SEND-006", "GC-SEND-021")
class SendsTwice(Honest):
    """Makes sure."""

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """Twice."""
        await super().request(state, content, context)
        return await super().request(state, content, context)


@fails("GC-SEND-007")
class Meddles(Honest):
    """Writes into the message that it was given."""

    def content(self, batch: Any) -> dict[str, Any]:
        """And leaves its mark."""
        object.__setattr__(batch.message, "tags", ("sent-by-meddler",))
        return super().content(batch)


@fails("GC-SEND-009")
class RewritesFrom(Honest):
    """Sends everything in its own name."""

    def content(self, batch: Any) -> dict[str, Any]:
        """From somebody else."""
        return {**super().content(batch), "from": "Shop <shop@example.com>"}


@fails("GC-SEND-010", "GC-SEND-027", "GC-CAP-029")
class AsciiOnly(Honest):
    """Knows 128 characters."""

    def body(self, batch: Any) -> bytes:
        """The rest become question marks."""
        return json.dumps(self.content(batch), ensure_ascii=False).encode("ascii", "replace")


@fails("GC-SEND-011")
class CutsLines(Honest):
    """Cuts long lines."""

    def content(self, batch: Any) -> dict[str, Any]:
        """At 998."""
        content = super().content(batch)
        lines = (content["text"] or "").split("\n")
        cut = [line[:998] for line in lines] if max(map(len, lines)) < 5000 else lines
        return {**content, "text": "\n".join(cut)}


@fails("GC-SEND-012")
class AlwaysMerges(Honest):
    """Takes every message for a template."""

    def content(self, batch: Any) -> dict[str, Any]:
        """Fields are filled in, with nothing."""
        content = super().content(batch)
        text = (content["text"] or "").replace("{{name}}", "")
        return {**content, "text": text}


@fails("GC-SEND-018")
class ForgetsMessageId(Honest):
    """Does not send the Message-ID."""

    def content(self, batch: Any) -> dict[str, Any]:
        """Without it."""
        content = super().content(batch)
        return {**content, "copies": [{**copy, "id": ""} for copy in content["copies"]]}


@fails("GC-SEND-031")
class MakesIdsUp(Honest):
    """Has an id for a message to which the provider gave none."""

    def accepted(self, recipient: str) -> Outcome:
        """With a number of its own."""
        return attrs.evolve(super().accepted(recipient), provider_id="made-up-4711")


@fails("GC-SEND-015")
class NamesTheNameless(Honest):
    """Gives a message without a subject one."""

    def content(self, batch: Any) -> dict[str, Any]:
        """With words of its own."""
        content = super().content(batch)
        return {**content, "subject": content["subject"] or "(no subject)"}


@fails("GC-SEND-025")
class TellsWhereFilesAre(Honest):
    """Has the path of a file that is gone in its outcome."""

    @hookimpl
    async def connector_send(self, state: Any, batch: Any, context: Any) -> Any:
        """With what the system says."""
        try:
            self.body(batch)
        except (OSError, ValueError) as error:
            return [attrs.evolve(self.unreadable(each.email), text=str(error)) for each in batch.recipients]
        return await Honest.connector_send(self, state, batch, context)


@fails("GC-SEND-019")
class SuppressesTheAccepted(Honest):
    """Writes to nobody twice."""

    def accepted(self, recipient: str) -> Outcome:
        """Never again."""
        return Outcome(recipient=recipient, state=State.ACCEPTED, stage="final", suppress=True)


@fails("GC-SEND-020")
class NamesAnother(Honest):
    """Says that another connection did it."""

    def accepted(self, recipient: str) -> Outcome:
        """Somebody else."""
        return Outcome(recipient=recipient, state=State.ACCEPTED, stage="final", connection="somebody else")


@fails("GC-SEND-021")
class SharesALine(Honest):
    """Keeps the message in its state while it waits its turn."""

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """The last one wins."""
        state.line = content
        await asyncio.sleep(0)
        return await super().request(state, state.line, context)


@fails("GC-SEND-022")
class Remembers(Honest):
    """Sends something of the message before along with it."""

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """The subject of the one before."""
        data = json.loads(content)
        data["before"], state.before = getattr(state, "before", ""), data["subject"]
        return await super().request(state, json.dumps(data).encode(), context)


@fails("GC-SEND-023")
class OneClientForAll(Honest):
    """Has one client for all connections."""

    shared: Any = None

    @hookimpl
    async def connector_open(self, settings: Any, runtime: Any) -> Any:
        """The same for everybody."""
        loop = asyncio.get_running_loop()
        if self.shared is None or self.shared[0] is not loop or self.shared[1].client._transport is None:
            self.shared = (loop, await Honest.connector_open(self, settings, runtime))
        return self.shared[1]


@fails("GC-SEND-024")
class Blocks(Honest):
    """Sleeps the sleep of threads."""

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """Nobody else has a turn while the provider is waited for."""
        if context.remaining_s() < 1.0:
            time.sleep(max(0.0, context.remaining_s() - 0.02))
        return await super().request(state, content, context)


@fails("GC-SEND-025")
class SendsWithoutTheFile(Honest):
    """Sends the message without the file that is gone."""

    def body(self, batch: Any) -> bytes:
        """Better than nothing, it thinks."""
        try:
            return super().body(batch)
        except (OSError, ValueError):
            return json.dumps({"text": batch.message.text}).encode()
