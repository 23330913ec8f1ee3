"""Idempotency keys that many use at the same moment."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from genie_connect import IdempotencyConflict, Receipt
from tests.durable.conftest import MakeHost
from tests.support.connector import ScriptedConnector, letter

ADA = "ada@example.com"
SOON_S = 30.0


@pytest.mark.parametrize("durable", [True, False])
async def test_many_at_once_with_one_key_are_one_send(hosted: MakeHost, *, durable: bool) -> None:
    """Whoever is not the first gets the first one's receipt, and no excuse."""
    only = ScriptedConnector()
    async with hosted(only) as host:
        sends = (host.send(letter(ADA), durable=durable, idempotency_key="order-1") for _ in range(64))
        receipts = await asyncio.gather(*sends)
        settled = await asyncio.gather(*(host.settled(each.id or 0, timeout_s=SOON_S) for each in receipts))
        assert {(each.id, each.message_id, each.accepted) for each in settled} == {
            (receipts[0].id, settled[0].message_id, True)
        }
    assert only.handed_over == {ADA: 1}


async def test_two_contents_with_one_key_are_told(hosted: MakeHost) -> None:
    """At the same time too: one is sent, the other is a conflict."""
    only = ScriptedConnector()
    async with hosted(only) as host:
        sends = (host.send(letter(ADA, text=text), idempotency_key="order-1") for text in ("one", "two"))
        ends = await asyncio.gather(*sends, return_exceptions=True)
    assert Counter(type(end) for end in ends) == {Receipt: 1, IdempotencyConflict: 1}
    assert only.handed_over == {ADA: 1}
