"""What the suite needs of a provider's webhooks: settings, a way to post, payloads and what these become."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import attrs

from genie_connect.api import ApiConnector
from genie_connect.contract import WebhookRequest
from genie_connect.model.event import Event
from genie_connect.model.settings import structure_settings
from tests.webhooks.schemes import ALL, NOW, request, text_key

MAKERS = {scheme.name: scheme.make for scheme in ALL}
ADA = "ada@example.com"
MESSAGE_ID = "<1@example.com>"


@attrs.frozen(kw_only=True, eq=False)
class Hook:
    """A provider as the suite sees its webhooks.

    ``samples`` are pairs: an object as the vendor documents it, and fields of the event that it is. ``keyed`` are the
    settings with a current key and, where there is one, a previous one. ``wrapped`` puts several objects into a body,
    where the provider does that. ``window_s`` is how old a signature may be.
    """

    connector: ApiConnector[Any]
    settings: Mapping[str, Any]
    keyed: Callable[[int, int | None], Mapping[str, Any]]
    post: Callable[[bytes, datetime, int], WebhookRequest]
    samples: tuple[tuple[Mapping[str, Any], Mapping[str, Any]], ...]
    wrapped: Callable[[list[Any]], Any] | None = None
    single: Callable[[Any], Any] = lambda item: item
    window_s: float | None = None

    @property
    def id(self) -> str:
        """The connector's id."""
        return self.connector.info.id

    def parse(self, given: WebhookRequest, key: int = 1, previous: int | None = None) -> list[Event]:
        """What the connector makes of a request."""
        settings = structure_settings(
            self.connector.info.settings_class, {**self.settings, **self.keyed(key, previous)}, connector=self.id
        )
        found: list[Event] = list(self.connector.connector_parse_webhook(settings, given))  # type: ignore[attr-defined]
        return found

    def of(self, *items: Any) -> list[Event]:
        """The events of these objects, in one request."""
        value = self.single(items[0]) if self.wrapped is None else self.wrapped(list(items))
        return self.parse(self.post(json.dumps(value).encode(), NOW, 1))


def pair(current: str, key: Callable[[int], str]) -> Callable[[int, int | None], Mapping[str, Any]]:
    """The settings ``current`` and ``previous_...``."""

    def keyed(number: int, previous: int | None) -> Mapping[str, Any]:
        more = {} if previous is None else {f"previous_{current}": key(previous)}
        return {current: key(number), **more}

    return keyed


def credentials(number: int) -> str:
    """A shared secret: user and password."""
    return f"genie:{text_key(number)}"


def multipart(*fields: tuple[str, str, str], headers: Mapping[str, str] | None = None) -> WebhookRequest:
    """A form with fields as name, parameters of their own, and content."""
    parts = [
        f'--xYz\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n{text}\r\n' for name, more, text in fields
    ]
    body = "".join([*parts, "--xYz--\r\n"]).encode()
    return request({"Content-Type": "multipart/form-data; boundary=xYz", **(headers or {})}, body)
