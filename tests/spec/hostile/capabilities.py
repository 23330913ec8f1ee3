"""Hostile connectors: what they do wrong in their tables, and in what they carry."""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import attrs

from genie_connect import (
    CapabilityTable,
    hookimpl,
)
from genie_connect.model.capability import conditional, host, yes
from tests.spec.hostile.honest import Honest
from tests.spec.hostile.registry import fails


class Table(Honest):
    """Spoils its table."""

    more: Sequence[Any] = ()
    without: Sequence[str] = ()

    @hookimpl
    def connector_capabilities(self, settings: Any) -> Any:
        """The honest table, spoilt."""
        kept = [entry for entry in self.entries if entry.name not in self.without]
        return CapabilityTable(connector="honest", entries=(*kept, *self.more))


@fails("GC-CAP-001", "GC-CAP-002")
class OthersTable(Honest):
    """Gives the table of another connector."""

    @hookimpl
    def connector_capabilities(self, settings: Any) -> Any:
        """Not its own."""
        return CapabilityTable(connector="another", entries=self.entries)


@fails("GC-CAP-003")
class FickleTable(Honest):
    """Gives another table each time."""

    @hookimpl
    def connector_capabilities(self, settings: Any) -> Any:
        """Never the same."""
        note = str(random.random())
        return CapabilityTable(connector="honest", entries=(*self.entries, yes("x-honest.luck", note)))


@fails("GC-CAP-004")
class AsksTheNet(Honest):
    """Looks a name up to say what it can."""

    @hookimpl
    def connector_capabilities(self, settings: Any) -> Any:
        """With a question to the network."""
        with suppress(OSError):
            socket.getaddrinfo("127.0.0.1", 1)
        return Honest.connector_capabilities(self, settings)


@fails("GC-CAP-005")
class Swelling(Honest):
    """Promises more with settings than without."""

    @hookimpl
    def connector_capabilities(self, settings: Any) -> Any:
        """More, once it knows them."""
        more = () if settings is None else (yes("x-honest.everything"),)
        return CapabilityTable(connector="honest", entries=(*self.entries, *more))


@fails("GC-CAP-006")
class OwnWords(Table):
    """Makes words up."""

    more = (yes("send.by_pigeon"),)


@fails("GC-CAP-008")
class LeavesItToTheHost(Table):
    """Says that the host does what no host does."""

    more = (host("send.schedule"),)


@fails("GC-CAP-009")
class Perhaps(Table):
    """Carries header fields, perhaps."""

    without = ("send.headers",)
    more = (conditional("send.headers", ""),)


@fails("GC-CAP-010")
class Unitless(Table):
    """Has a limit of something."""

    more = (yes("x-honest.size", limit=5),)


@fails("GC-CAP-011")
class BreaksTables(Table):
    """Has a note that breaks the table."""

    more = (yes("x-honest.bar", "one | two"),)


@fails("GC-CAP-012")
class HeadlineMissing(Table):
    """Does not say who checks suppressions."""

    without = ("suppressions",)


@fails("GC-CAP-013")
class DeafToWebhooks(Honest):
    """Declares webhooks and cannot read any."""

    connector_parse_webhook = None


@fails("GC-CAP-015")
class NeverLooksUp(Table):
    """Declares look-ups and has none."""

    more = (yes("lookup"),)


@fails("GC-CAP-016")
class Foregone(Honest):
    """Calls effective what nobody was asked."""

    @hookimpl
    def connector_capabilities(self, settings: Any) -> Any:
        """Effective, it says."""
        return CapabilityTable(connector="honest", entries=self.entries, effective=True)


class Drops(Honest):
    """Leaves something out of what it sends."""

    left_out: tuple[str, ...] = ()

    def content(self, batch: Any) -> dict[str, Any]:
        """All but that."""
        content = super().content(batch)
        for name in self.left_out:
            content.pop(name)
        return content


@fails("GC-CAP-020", "GC-SEND-014")
class DropsHtml(Drops):
    """Declares HTML and sends none."""

    left_out = ("html",)


@fails("GC-CAP-021", "GC-SEND-026", "GC-SEND-027")
class DropsFiles(Honest):
    """Sends the message without its files, though it has looked at them."""

    def content(self, batch: Any) -> dict[str, Any]:
        """All but the files."""
        return {**super().content(batch), "files": []}


@fails("GC-CAP-026")
class DropsReplyTo(Drops):
    """Answers go to nobody."""

    left_out = ("reply_to",)


@fails("GC-CAP-027", "GC-SAFE-014")
class DropsHeaders(Drops):
    """The unsubscribe link is gone."""

    left_out = ("headers",)


@fails("GC-CAP-031", "GC-SAFE-015")
class DropsMetadata(Drops):
    """Events lead nowhere."""

    left_out = ("metadata",)


@fails("GC-CAP-028")
class SecretlyAble(Honest):
    """Carries an envelope sender and does not say so."""

    def content(self, batch: Any) -> dict[str, Any]:
        """With the return path."""
        return {**super().content(batch), "return_path": batch.envelope_from.email}


@fails("GC-CAP-033")
class DropsMerge(Honest):
    """Declares merge fields and sends no values."""

    def content(self, batch: Any) -> dict[str, Any]:
        """The template alone."""
        content = super().content(batch)
        return {**content, "copies": [{**copy, "merge": None} for copy in content["copies"]]}


@fails("GC-CAP-036", "GC-CAP-037")
class Keyless(Honest):
    """Declares idempotency keys and sends none: the host repeats, and the provider delivers twice."""

    async def request(self, state: Any, content: bytes, context: Any) -> Any:
        """Without the key."""
        return await super().request(state, content, attrs.evolve(context, idempotency_key=None))
