"""What the suite needs of a provider's webhooks: settings, a way to post, payloads and what these become."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
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
    where the provider does that. ``window_s`` is how old a signature may be. ``kind_field`` is where the type of an
    event stands, and ``id_field`` where its id does, if it has one of its own. ``unsigned`` takes the signature out of
    what was posted, and ``altered`` changes what it covers, where it stands in no header field or covers no body.
    """

    connector: ApiConnector[Any]
    settings: Mapping[str, Any]
    keyed: Callable[[int, int | None], Mapping[str, Any]]
    post: Callable[[bytes, datetime, int], WebhookRequest]
    samples: tuple[tuple[Mapping[str, Any], Mapping[str, Any]], ...]
    wrapped: Callable[[list[Any]], Any] | None = None
    single: Callable[[Any], Any] = lambda item: item
    window_s: float | None = None
    kind_field: str = "event"
    id_field: str = ""
    unsigned: Callable[[WebhookRequest], WebhookRequest] | None = None
    altered: Callable[[WebhookRequest], Sequence[WebhookRequest]] | None = None

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

    def body(self, *items: Any) -> bytes:
        """These objects in one body."""
        value = self.single(items[0]) if self.wrapped is None else self.wrapped(list(items))
        return json.dumps(value).encode()

    def of(self, *items: Any) -> list[Event]:
        """The events of these objects, in one request."""
        return self.parse(self.post(self.body(*items), NOW, 1))

    def told_apart(self, count: int) -> list[Mapping[str, Any]]:
        """As many samples of events, each with an id of its own where events have one."""
        items = [item for item, known in self.samples if known["kind"] != "inbound"][:count]
        return [{**item, self.id_field: f"e{number}"} if self.id_field else item for number, item in enumerate(items)]

    def unheard(self) -> Mapping[str, Any]:
        """A sample whose type nobody has heard of."""
        item = json.loads(json.dumps(self.samples[0][0]))
        *way, last = self.kind_field.split(".")
        place = item
        for step in way:
            place = place[step]
        place[last] = "teleported"
        return dict(item)


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
