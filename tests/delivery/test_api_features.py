"""What only API connectors carry: checked when it is made, and planned around where a connection lacks it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from genie_connect import Message, NoConnection, ProviderTemplate, State, ValidationError, structure, unstructure
from genie_connect.model.capability import Capability, yes
from tests.support.clock import FakeClock
from tests.support.connector import ScriptedConnector, scripted_host

BASIC = (yes("send.transactional"), yes("send.broadcast"), yes("send.html"), yes("send.tags", max_tags=1))
WHEN = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)


def _message(**more: Any) -> Message:
    return Message(**{"from_": "shop@example.com", "to": ["ada@example.com"], "subject": "s", "text": "t", **more})


async def _reasons(message: Message, capabilities: Iterable[Capability] = BASIC) -> str:
    """Why the one connection is passed over; nothing where it carries the message."""
    api = ScriptedConnector("acme", capabilities=capabilities)
    async with scripted_host(api, clock=FakeClock()) as host:
        try:
            receipt = await host.send(message)
        except NoConnection as error:
            assert api.calls == []
            return "; ".join(reason for passed in error.plan.passed_over for reason in passed.reasons)
        assert receipt.outcomes["ada@example.com"].state is State.ACCEPTED
        return ""


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"amp": "<html amp4email></html>"}, "send.amp"),
        ({"text": None, "template": ProviderTemplate(id="welcome")}, "send.templates"),
        ({"send_at": WHEN}, "send.schedule"),
        ({"track_opens": False}, "send.track_opens"),
        ({"track_clicks": True}, "send.track_clicks"),
        ({"provider_options": {"acme": {"pool": "a"}}}, "provider_options"),
    ],
)
async def test_a_connection_is_passed_over_for_what_it_does_not_declare(more: dict[str, Any], name: str) -> None:
    """And carries it where it does; nothing is dropped in silence, and nothing leaves."""
    assert name in await _reasons(_message(**more))
    declared = name if name.startswith("send.") else f"send.{name}"
    assert await _reasons(_message(**more), (*BASIC, yes(declared))) == ""


async def test_options_of_one_provider_keep_a_message_from_all_others_unless_they_are_named() -> None:
    """An empty object says that the message may go there without any."""
    assert "none for acme" in await _reasons(_message(provider_options={"other": {"a": 1}}))
    assert await _reasons(_message(provider_options={"other": {"a": 1}, "acme": {}})) == ""


@pytest.mark.parametrize(
    ("more", "capability", "limit", "words"),
    [
        ({"tags": ["a", "b"]}, "send.tags", {"max_tags": 1}, "2 tags"),
        ({"tags": ["abc"]}, "send.tags", {"max_characters": 2}, "3 characters in a tag"),
        ({"metadata": {"a": "1", "b": "2"}}, "send.metadata", {"max_entries": 1}, "2 entries of metadata"),
        ({"metadata": {"abc": "1"}}, "send.metadata", {"max_key_characters": 2}, "3 characters in a metadata key"),
        ({"metadata": {"a": "123"}}, "send.metadata", {"max_value_characters": 2}, "3 characters in a metadata value"),
        ({"subject": "abc"}, "send.transactional", {"max_subject_characters": 2}, "3 characters in the subject"),
        ({"text": "\u00fc"}, "send.transactional", {"max_text_bytes": 1}, "2 bytes of text"),
        ({"html": "abc"}, "send.transactional", {"max_html_bytes": 2}, "3 bytes of HTML"),
        ({"cc": ["a@example.com", "b@example.com"]}, "send.cc_bcc", {"max_cc": 1}, "2 recipients in cc"),
        ({"send_at": WHEN}, "send.schedule", {"max_ahead_s": 3600}, "hours ahead"),
    ],
)
async def test_a_limit_of_the_table_is_kept_before_anything_is_sent(
    more: dict[str, Any], capability: str, limit: dict[str, int], words: str
) -> None:
    """One more than the limit is passed over with the numbers; the limit itself is not."""
    base = {entry.name: entry for entry in BASIC} | {"send.tags": yes("send.tags")}
    (name,) = limit
    wide = 10**9 if name == "max_ahead_s" else limit[name] + 1
    assert words in await _reasons(_message(**more), (base | {capability: yes(capability, **limit)}).values())
    assert await _reasons(_message(**more), (base | {capability: yes(capability, **{name: wide})}).values()) == ""


async def test_a_broadcast_is_cut_so_that_no_call_is_bigger_than_the_provider_takes() -> None:
    """By the size of a copy, beside the number of copies."""
    batch = yes("send.batch", max_batch=500, max_batch_bytes=3 * 2100)
    api = ScriptedConnector("acme", capabilities=(*BASIC, batch))
    async with scripted_host(api, clock=FakeClock()) as host:
        message = Message(from_="shop@example.com", subject="s", text="t" * 1000)
        everybody = [f"r{number}@example.com" for number in range(7)]
        assert [outcome.recipient async for outcome in host.send_each(message, everybody)] == everybody
    assert [len(call.recipients) for call in api.calls] == [3, 3, 1]


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"send_at": datetime(2026, 12, 1)}, "send_at"),  # noqa: DTZ001
        ({"track_opens": "yes"}, "track_opens"),
        ({"amp": "<p>"}, "amp"),
        ({"text": "t", "template": ProviderTemplate(id="a")}, "template"),
        ({"text": "t", "template": {"id": "a"}}, "template"),
        ({"text": "t", "provider_options": {"acme": 1}}, "provider_options['acme']"),
        ({"text": "t", "provider_options": {"acme": {"a": {1}}}}, "provider_options['acme']['a']"),
        ({"text": "t", "provider_options": {"acme": {"a": float("nan")}}}, "provider_options['acme']['a']"),
        ({"text": "t", "provider_options": {"acme": {"a": "\ud800"}}}, "provider_options['acme']['a']"),
        (
            {"text": "t", "provider_options": {"acme": {"a": list(range(20_000))}}},
            "provider_options['acme']['a'][9997]",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_when_the_message_is_made(more: dict[str, Any], path: str) -> None:
    """Each problem names its place."""
    with pytest.raises(ValidationError) as raised:
        Message(**more)
    assert path in [problem.path for problem in raised.value.problems]


def test_everything_new_goes_through_json_and_can_be_hashed() -> None:
    """As the ledger keeps messages."""
    message = Message(
        to=["ada@example.com"],
        template=ProviderTemplate(id="welcome", version="2", data={"items": [{"name": "Tea", "n": 1.5}], "x": None}),
        send_at=WHEN + timedelta(hours=1),
        track_opens=True,
        provider_options={"acme": {"deep": {"list": [1, [2, {"a": True}]]}}, "smtp": {}},
    )
    again = structure(Message, unstructure(message))
    assert again == message
    assert hash(again) == hash(message)
