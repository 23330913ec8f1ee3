"""Whether a hand-over may be made once more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from genie_connect.delivery.connection import Connection
from genie_connect.delivery.planner import Route
from genie_connect.delivery.repetition import batch_key
from genie_connect.durable.repeating import Chance, chance_of
from genie_connect.model.capability import yes
from genie_connect.model.plan import Plan
from genie_connect.store.claims import HandOver
from tests.support.connector import EVERYTHING, ScriptedConnector, scripted_host

NOW = 1_000_000.0
THEM = ("ada@example.com", "ben@example.com")
GONE = HandOver(
    attempt_id="1", connection="api", key=batch_key("key", THEM), positions=3, started=NOW - 60, repeat_until=NOW + 60
)


def route(connections: Sequence[Connection], paused: Sequence[Connection] = ()) -> Route:
    """A route over these."""
    return Route(plan=Plan(), connections=tuple(connections), paused=tuple(paused))


async def connections_of(*connectors: ScriptedConnector) -> tuple[Connection, ...]:
    """A connection for each."""
    async with scripted_host(*connectors) as host:
        return host.connections()


async def test_to_the_same_connection_in_time_it_may() -> None:
    """The provider knows the key, and answers as it did or would have done."""
    api, other = await connections_of(
        ScriptedConnector("api", capabilities=[*EVERYTHING, yes("send.idempotency")]), ScriptedConnector("other")
    )
    assert chance_of(GONE, THEM, route([other, api]), now=NOW) is Chance.NOW
    assert chance_of(GONE, THEM, route([other], paused=[api]), now=NOW) is Chance.LATER
    assert chance_of(GONE, THEM, route([other]), now=NOW) is Chance.OVER
    assert chance_of(GONE, THEM, None, now=NOW) is Chance.OVER


@pytest.mark.parametrize(
    "change, recipients, now",
    [
        ({}, THEM, NOW + 60),
        ({"repeat_until": None}, THEM, NOW),
        ({}, THEM[:1], NOW),
        ({}, THEM[::-1], NOW),
        ({"key": batch_key("another", THEM[:1])}, THEM, NOW),
    ],
    ids=["too late", "no key", "not all", "in another order", "another batch"],
)
async def test_what_would_be_a_second_copy_is_over(
    change: dict[str, Any], recipients: Sequence[str], now: float
) -> None:
    """Whatever the provider would not take for the same request."""
    (api,) = await connections_of(ScriptedConnector("api", capabilities=[*EVERYTHING, yes("send.idempotency")]))
    assert chance_of(attrs.evolve(GONE, **change), recipients, route([api]), now=now) is Chance.OVER


async def test_a_connection_that_honours_keys_no_more_is_over() -> None:
    """Its connector may be another one by now."""
    (api,) = await connections_of(ScriptedConnector("api"))
    assert chance_of(GONE, THEM, route([api]), now=NOW) is Chance.OVER
