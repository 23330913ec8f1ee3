"""A connector whose provider posts webhooks too.

::

    class Acme(WebhookConnector[AcmeSettings]):
        parser = "acme_connect.events"
        signature = "HMAC"

Its settings of the group ``webhooks`` are secrets, as ``genie_connect.webhooks.settings`` makes them, and all that its
parser needs. One whose parser needs more has the hook itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

from genie_connect.api.connector import ApiConnector, S
from genie_connect.api.rows import event_rows
from genie_connect.contract import WebhookRequest
from genie_connect.hookspecs import hookimpl
from genie_connect.model.capability import Capability
from genie_connect.model.event import Event
from genie_connect.model.secret import Secret
from genie_connect.model.settings import WEBHOOKS, in_group


class WebhookConnector(ApiConnector[S]):
    """A connector for an HTTP API with webhooks, as the module says."""

    parser: ClassVar[str]
    """The module with ``parse_webhook(secrets, request)``: who lists connectors, or only sends, does not load it."""
    signature: ClassVar[str] = ""
    """The scheme of a provider that signs; one that does not shares a secret with us."""
    inbound: ClassVar[bool] = False
    """Whether mail that came in is posted too."""
    event_note: ClassVar[str] = ""
    """What is to be said of its webhooks beside that."""

    def event_rows(self, settings: S | None) -> tuple[Capability, ...]:
        """The rows for webhooks, where there is a secret to check them with."""
        configured = settings is None or any(webhook_secrets(settings))
        return event_rows(configured, signature=self.signature, inbound=self.inbound, note=self.event_note)

    @hookimpl
    def connector_parse_webhook(self, settings: S, request: WebhookRequest) -> Sequence[Event]:
        """What the parser reads. Raises ``WebhookRejected``."""
        events: Sequence[Event] = import_module(self.parser).parse_webhook(webhook_secrets(settings), request)
        return events


def webhook_secrets(settings: object) -> tuple[Secret | None, ...]:
    """The secrets among the settings for webhooks: current ones first, then those that still count.

    Each may sign whatever comes: a provider with one for events and one for inbound mail posts both to one endpoint.
    """
    cls: Any = type(settings)
    return tuple([getattr(settings, name) for name in _names(cls)])


@cache
def _names(cls: type[Any]) -> list[str]:
    return sorted(in_group(cls, WEBHOOKS), key=lambda name: name.startswith("previous_"))
