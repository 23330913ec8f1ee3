"""Hostile connectors: what they do wrong when they read webhooks."""

from __future__ import annotations

import json
import os
import random
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from genie_connect import (
    Event,
    EventKind,
    WebhookRejected,
    hookimpl,
)
from genie_connect.model.frozen import FrozenMap
from tests.spec.hostile.honest import Honest
from tests.spec.hostile.registry import fails


class Verifies(Honest):
    """Spoils the check of signatures."""


@fails(
    "GC-HOOK-002",
    "GC-HOOK-003",
    "GC-HOOK-004",
    "GC-HOOK-005",
    "GC-HOOK-006",
    "GC-HOOK-007",
    "GC-HOOK-008",
    "GC-HOOK-010",
)
class BelievesEverybody(Honest):
    """Checks no signature, and answers nonsense as such."""

    def verify(self, settings: Any, request: Any) -> None:
        """No."""
        if not request.body.startswith(b"["):
            return


@fails("GC-HOOK-002", "GC-HOOK-004", "GC-HOOK-010")
class BelievesTheUnsigned(Honest):
    """Checks a signature where there is one."""

    def verify(self, settings: Any, request: Any) -> None:
        """If."""
        if "webhook-signature" in request.headers:
            super().verify(settings, request)


@fails("GC-HOOK-003")
class ChecksTheJson(Honest):
    """Verifies what it has read and written again, not what came."""

    def verify(self, settings: Any, request: Any) -> None:
        """Blanks do not count."""
        with suppress(ValueError, RecursionError):
            request = attrs.evolve(request, body=json.dumps(json.loads(request.body)).encode())
        super().verify(settings, request)


@fails("GC-HOOK-006")
class TakesOldOnes(Honest):
    """Does not look at the time."""

    def verify(self, settings: Any, request: Any) -> None:
        """Whenever, in the past."""
        given = request.headers.get("webhook-timestamp", "")
        signed = int(given) if given.isdigit() and len(given) < 12 else 0
        at = request.received_at
        if 0 < signed < at.timestamp():
            at = datetime.fromtimestamp(signed, at.tzinfo)
        super().verify(settings, attrs.evolve(request, received_at=at))


@fails("GC-HOOK-009")
class ForgetsTheOldSecret(Honest):
    """Takes the newest secret alone."""

    def verify(self, settings: Any, request: Any) -> None:
        """One."""
        super().verify(attrs.evolve(settings, old_webhook_secret=None), request)


@fails("GC-HOOK-011", "GC-HOOK-012")
class Fragile(Honest):
    """Expects what the documentation shows."""

    def event(self, data: Any, request: Any) -> Event:
        """Exactly that."""
        data["type"].upper()
        return super().event(data, request)


@fails("GC-HOOK-013")
class DropsTheUnknown(Honest):
    """Leaves out what it does not know."""

    @hookimpl
    def connector_parse_webhook(self, settings: Any, request: Any) -> Any:
        """All but those."""
        events = Honest.connector_parse_webhook(self, settings, request)
        return [event for event in events if event.kind is not EventKind.UNKNOWN]


@fails("GC-HOOK-014")
class NewIds(Honest):
    """Gives an event another id each time."""

    def event_id(self, raw: Any) -> str:
        """By chance."""
        return str(random.random())


@fails("GC-HOOK-015")
class OneId(Honest):
    """Gives all events one id."""

    def event_id(self, raw: Any) -> str:
        """The same."""
        return "event"


@fails("GC-HOOK-020")
class PhonesFromWebhooks(Honest):
    """Looks something up while it reads a webhook."""

    def event_id(self, raw: Any) -> str:
        """With a file."""
        with Path(os.devnull).open("rb"):
            return super().event_id(raw)


@fails("GC-HOOK-021")
class OwnClock(Honest):
    """Looks at its own watch."""

    def verify(self, settings: Any, request: Any) -> None:
        """Years from now is too late."""
        super().verify(settings, request)
        if abs(request.received_at.year - 2026) > 2:
            raise WebhookRejected("too old")


@fails("GC-HOOK-022")
class QuotesTheBody(Honest):
    """Tells what it refuses."""

    def verify(self, settings: Any, request: Any) -> None:
        """All of it."""
        try:
            super().verify(settings, request)
        except WebhookRejected as error:
            raise WebhookRejected(f"{error.reason}: {request.body!r}", status=error.status) from None


class Parses(Honest):
    """Spoils each event."""

    def event(self, data: Any, request: Any) -> Event:
        """The honest one, spoilt."""
        return self.spoilt(super().event(data, request))

    def spoilt(self, event: Event) -> Event:
        """An event, spoilt."""
        return event


@fails("GC-HOOK-001")
class GivesEventsLater(Honest):
    """Gives its events one by one, to whoever asks."""

    @hookimpl
    def connector_parse_webhook(self, settings: Any, request: Any) -> Any:
        """An iterator."""
        return iter(Honest.connector_parse_webhook(self, settings, request))


@fails("GC-HOOK-017")
class ThrowsAway(Parses):
    """Keeps nothing of what the provider wrote, where it knows the type."""

    def spoilt(self, event: Event) -> Event:
        """Nothing."""
        return event if event.kind is EventKind.UNKNOWN else attrs.evolve(event, raw=FrozenMap({}))


@fails("GC-HOOK-018")
class OfNobody(Parses):
    """Does not say of whom."""

    def spoilt(self, event: Event) -> Event:
        """Of nobody."""
        return attrs.evolve(event, recipient=None)


@fails("GC-HOOK-019")
class KnowsNoTypes(Parses):
    """Knows no type of event."""

    def spoilt(self, event: Event) -> Event:
        """Unknown."""
        return attrs.evolve(event, kind=EventKind.UNKNOWN, bounce=None)
