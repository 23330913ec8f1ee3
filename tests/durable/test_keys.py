"""Idempotency keys that many use at the same moment."""

from __future__ import annotations

import asyncio
import zlib
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from genie_connect import Attachment, IdempotencyConflict, Message, ProviderTemplate, Purpose, Receipt
from genie_connect.durable.content import digest, message_bytes
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


async def test_a_machine_that_compresses_otherwise_has_the_same_content(
    hosted: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key is for what is sent, and not for the bytes that zlib made of it."""
    only, message = ScriptedConnector(), letter(ADA, text="There is news. " * 100)
    async with hosted(only) as host:
        first = await host.send(message, idempotency_key="order-1")
        compress = zlib.compress
        monkeypatch.setattr(zlib, "compress", lambda data, level: compress(data, 9))
        again = await host.send(message, idempotency_key="order-1")
        assert again.id == first.id
        with pytest.raises(IdempotencyConflict):
            await host.send(letter(ADA, text="Other news."), idempotency_key="order-1")
    assert only.handed_over == {ADA: 1}


WHOLE: Final[dict[str, Any]] = {
    "from_": "Shop <shop@example.com>",
    "to": [ADA],
    "subject": "Your order",
    "text": "It is on its way.",
    "attachments": [Attachment(filename="bill.txt", content=b"17 euros")],
    "headers": {"X-Order": "17", "X-Shop": "north"},
    "metadata": {"order": "17", "shop": "north"},
    "provider_options": {"acme": {"pool": "a", "dedicated": True}},
    "send_at": datetime(2030, 1, 1, 12, tzinfo=UTC),
    "tags": ["orders"],
}


CHANGES: Final[list[dict[str, Any]]] = [
    {"to": [ADA, "ben@example.com"]},
    {"to": [f"Ada <{ADA}>"]},
    {"cc": ["ben@example.com"]},
    {"bcc": ["ben@example.com"]},
    {"reply_to": ["ben@example.com"]},
    {"from_": "Other <shop@example.com>"},
    {"envelope_from": "bounces@example.com"},
    {"subject": "Your bill"},
    {"text": "It is here."},
    {"html": "<p>It is on its way.</p>"},
    {"amp": "<!doctype html>"},
    {"attachments": [Attachment(filename="bill.txt", content=b"18 euros")]},
    {"attachments": [Attachment(filename="bill", content=b"17 euros", content_type="text/plain")]},
    {"attachments": [Attachment(filename="bill.txt", content=b"17 euros", content_type="text/csv")]},
    {"attachments": []},
    {"headers": {"X-Order": "18", "X-Shop": "north"}},
    {"headers": {"X-Order": "17"}},
    {"metadata": {"order": "18", "shop": "north"}},
    {"provider_options": {"acme": {"pool": "b", "dedicated": True}}},
    {"send_at": datetime(2030, 1, 1, 13, tzinfo=UTC)},
    {"tags": ["bills"]},
    {"purpose": Purpose.MARKETING},
    {"template": ProviderTemplate(id="order", data={"order": "17"}), "text": None},
    {"track_opens": True},
    {"track_clicks": False},
]


@pytest.mark.parametrize("changed", CHANGES, ids=" ".join)
def test_whatever_is_said_in_a_message_is_its_content(changed: dict[str, Any]) -> None:
    """A key that comes again with anything of it changed is another send's."""
    assert _digest(**changed) != _digest()


def test_every_field_of_a_message_is_tried() -> None:
    """One that is added later has to be, too."""
    assert {name for changed in CHANGES for name in changed} == {field.name for field in attrs.fields(Message)}


def test_a_message_that_is_made_anew_is_the_same_content(tmp_path: Path) -> None:
    """From other objects, with names in another order, another zone, and a file in the place of its bytes."""
    file = tmp_path / "bill.txt"
    file.write_bytes(b"17 euros")
    assert _digest() == _digest(
        attachments=[Attachment.from_path(file)],
        headers={"X-Shop": "north", "X-Order": "17"},
        metadata={"shop": "north", "order": "17"},
        provider_options={"acme": {"dedicated": True, "pool": "a"}},
        send_at=datetime(2030, 1, 1, 14, tzinfo=timezone(timedelta(hours=2))),
    )


def _digest(**changed: Any) -> bytes:
    return digest(message_bytes(Message(**WHOLE | changed)))
