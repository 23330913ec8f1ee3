"""The values that pass between the core and a connector.

Hook arguments grow by fields of these classes, not by new arguments, so an older plug-in keeps working.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs

from genie_connect.clock import Clock, SystemClock
from genie_connect.model.address import Address
from genie_connect.model.frozen import EMPTY, FrozenMap

API_MAJOR = 1
API_MINOR = 0
ENTRY_POINT_GROUP = f"genie_connect.connectors.v{API_MAJOR}"
"""The entry-point group of connectors; the name of an entry point is the connector's id."""


class Kind(StrEnum):
    """How a connector reaches its provider. The planner prefers an API and falls back to SMTP."""

    API = "api"
    SMTP = "smtp"


class Quality(StrEnum):
    """The quality scale of connectors, the lowest first: what each needs is in the connector contract.

    Hosts know of a connector what its package states. The conformance kit refuses a statement that is not so.
    """

    NONE = "none"
    BRONZE = "bronze"
    SILVER = "silver"
    GOLD = "gold"
    PLATINUM = "platinum"


_is_text = attrs.validators.instance_of(str)


@attrs.frozen(kw_only=True)
class ConnectorInfo:
    """What a connector is.

    ``id`` is the entry point's name. ``settings_class`` is made with ``@settings``. ``api`` is the minor version of
    the contract that the connector needs at least. ``quality`` is what the package states of itself.
    ``asks_permission`` says that its provider asks by OPTIONS before it posts webhooks, as CloudEvents has it, and that
    ``connector_parse_webhook`` reads such a request too. Raises ``TypeError`` or ``ValueError`` for anything else.
    """

    id: str = attrs.field(validator=_is_text)
    title: str = attrs.field(validator=_is_text)
    kind: Kind = attrs.field(converter=Kind)
    settings_class: type[Any]
    docs_url: str = attrs.field(default="", validator=_is_text)
    summary: str = attrs.field(default="", validator=_is_text)
    api: int = attrs.field(default=API_MINOR, validator=attrs.validators.instance_of(int))
    quality: Quality = attrs.field(default=Quality.NONE, converter=Quality)
    asks_permission: bool = attrs.field(default=False, validator=attrs.validators.instance_of(bool))


@attrs.frozen(kw_only=True)
class Runtime:
    """What a connection lives in: its name, its default From, the clock."""

    connection: str
    default_from: Address | None = None
    clock: Clock = attrs.field(factory=SystemClock)


@attrs.frozen(kw_only=True)
class SendContext:
    """One attempt: its id, when it must have ended (on ``clock.monotonic()``), and the key to repeat it under.

    The id is the same when the same attempt is asked about later; ``idempotency_key`` is the same in every attempt of
    one send, and ``None`` where the host gave none and the connector does not need one.
    """

    attempt_id: str
    deadline: float
    idempotency_key: str | None = None
    clock: Clock = attrs.field(factory=SystemClock)

    def remaining_s(self) -> float:
        """Seconds until the deadline; never negative."""
        return max(0.0, self.deadline - self.clock.monotonic())


@attrs.frozen(kw_only=True)
class TestContext:
    """What a connector test may do: ``send_to`` asks for one real message; without it nothing is delivered."""

    __test__ = False  # not a test class, whatever pytest makes of its name

    connection: str
    deadline: float
    default_from: Address | None = None
    send_to: Address | None = None
    clock: Clock = attrs.field(factory=SystemClock)

    def remaining_s(self) -> float:
        """Seconds until the deadline; never negative."""
        return max(0.0, self.deadline - self.clock.monotonic())


def _lower_names(given: Mapping[str, str]) -> FrozenMap[str]:
    return FrozenMap({name.lower(): value for name, value in given.items()})


@attrs.frozen(kw_only=True, repr=False)
class WebhookRequest:
    """A webhook as it arrived: raw body, header fields by lower-case name, and when it was received.

    ``documents`` holds, by URL, what the receiver fetched because a parser raised ``WebhookNeeds`` for it.
    """

    method: str
    path: str
    headers: FrozenMap[str] = attrs.field(default=EMPTY, converter=_lower_names)
    query: FrozenMap[str] = EMPTY
    body: bytes
    received_at: datetime
    documents: FrozenMap[bytes] = EMPTY

    def __repr__(self) -> str:
        return f"WebhookRequest({self.method} {self.path}, {len(self.body)} bytes)"
