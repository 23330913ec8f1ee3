"""Header fields that providers give back in their webhooks, so that events find the message that they are about.

Others name our Message-ID in their events, or have an id that the server says in its answer, and need nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final, TypeAlias

import attrs

from genie_connect.model.batch import Batch, Delivery
from genie_connect.model.event import MESSAGE_ID
from genie_connect.model.frozen import FrozenMap

Field: TypeAlias = tuple[str, Callable[[str], str]]


def _variable(message_id: str) -> str:
    return json.dumps({MESSAGE_ID: message_id}, separators=(",", ":"))


def _tag(message_id: str) -> str:
    return f"{MESSAGE_ID}:{message_id}"


# Believed of all: that what came by SMTP stands in an event where it stands after a call of the API.
FIELDS: Final[dict[str, Field]] = {
    # https://dev.mailjet.com/smtp-relay/custom-headers/
    "mailjet": ("X-MJ-EventPayload", _variable),
    # https://docs.mailtrap.io/email-api-smtp/advanced/custom-variables: JSON of at most 1,000 bytes
    "mailtrap": ("X-MT-Custom-Variables", _variable),
    # As MailerSend's plugin for WordPress writes it; several have commas between them.
    "mailersend": ("X-MailerSend-Tags", _tag),
}
"""By the connector that reads the webhooks: the field, and what stands in it for a Message-ID."""


def marking(provider: str | None, batch: Batch) -> Callable[[Delivery], Delivery] | None:
    """What gives each copy the field of its provider; ``None`` where there is none, or the message has it itself."""
    field = FIELDS.get(provider or "")
    if field is None:
        return None
    name, value = field
    if _has(batch.message.headers, name):
        return None

    def marked(copy: Delivery) -> Delivery:
        if _has(copy.headers, name):
            return copy
        return attrs.evolve(copy, headers=FrozenMap({**copy.headers, name: value(copy.message_id)}))

    return marked


def _has(headers: FrozenMap[str], name: str) -> bool:
    return any(each.lower() == name.lower() for each in headers)
