"""Webhooks of the sandbox: verified first, then each event by itself."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genie_connect_contrib.sandbox as sandbox
from genie_connect.contract import WebhookRequest
from genie_connect.errors import WebhookRejected
from genie_connect.model.event import BounceClass, Event, EventKind, Reason
from genie_connect.model.settings import structure_settings
from genie_connect.webhooks.signatures import sign, signing_key
from genie_connect_contrib.sandbox.provider import SandboxProvider
from tests.contrib.sockets import request_of, serving

NOW = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)
SECRET = "whsec_" + "QUJD" * 8
OLD_SECRET = "whsec_" + "REVG" * 8
GOOD: dict[str, Any] = {
    "id": "evt_1",
    "type": "bounced",
    "time": "2026-11-23T09:59:00+02:00",
    "recipient": "Ada@Example.com",
    "message_id": "<1@example.com>",
    "provider_id": "sandbox-000001",
    "bounce": "hard",
    "reason": "no_mailbox",
    "code": 550,
    "enhanced": "5.1.1",
    "text": "no such mailbox\r\nX: y",
    "tags": ["receipt"],
    "metadata": {"order": "7"},
}


def _settings(**more: object) -> sandbox.SandboxSettings:
    return structure_settings(sandbox.SandboxSettings, {"api_key": "k", **more}, connector="sandbox")


def _request(body: bytes, headers: dict[str, str] | None = None, received_at: datetime = NOW) -> WebhookRequest:
    signed = headers
    if signed is None:
        keys = [signing_key(SECRET)]
        signed = sign(keys, webhook_id="msg_1", timestamp_s=int(received_at.timestamp()), body=body)
    return WebhookRequest(method="POST", path="/", headers=signed, body=body, received_at=received_at)


def _parse(events: object, **settings: object) -> list[Event]:
    request = _request(json.dumps({"events": events}).encode())
    return list(sandbox.connector_parse_webhook(_settings(webhook_secret=SECRET, **settings), request))


def test_an_event_is_normalised_with_all_its_fields() -> None:
    """Time in UTC, address in one spelling, text cleaned, the raw payload kept."""
    (event,) = _parse([GOOD])
    assert (event.id, event.kind, event.bounce) == ("evt_1", EventKind.BOUNCED, BounceClass.HARD)
    assert event.time == datetime(2026, 11, 23, 7, 59, tzinfo=UTC)
    assert event.time.tzinfo is UTC
    assert (event.recipient, event.message_id) == ("Ada@example.com", "<1@example.com>")
    assert (event.provider_id, event.reason, event.code, event.enhanced) == (
        "sandbox-000001",
        Reason.RECIPIENT_REJECTED,
        550,
        "5.1.1",
    )
    assert event.text == "no such mailbox  X: y"
    assert (event.tags, event.metadata) == (("receipt",), {"order": "7"})
    assert event.raw == GOOD


@pytest.mark.parametrize("kind", ["delivered", "deferred", "complained", "opened", "clicked", "unsubscribed"])
def test_each_type_has_its_kind(kind: str) -> None:
    """And only a bounce has a bounce class."""
    (event,) = _parse([{"type": kind, "time": NOW.isoformat(), "url": "https://example.com", "machine": True}])
    assert (event.kind.value, event.bounce, event.url, event.machine) == (kind, None, "https://example.com", True)


def test_an_id_is_never_empty_and_is_the_same_for_the_same_event() -> None:
    """A digest where the provider gives none, whatever the batch it comes in."""
    event = {key: value for key, value in GOOD.items() if key != "id"}
    (alone,) = _parse([event])
    _, again = _parse([GOOD, event])
    (other,) = _parse([{**event, "recipient": "bob@example.com"}])
    (blank,) = _parse([{**event, "id": "  "}])
    assert alone.id == again.id != other.id
    assert alone.id.startswith("sha256:")
    assert blank.id.startswith("sha256:")


@pytest.mark.parametrize(
    "bad",
    [
        None,
        1,
        "text",
        [],
        {},
        {**GOOD, "type": []},
        {**GOOD, "type": "brand_new"},
        {**GOOD, "time": "yesterday"},
        {**GOOD, "time": "2026-11-23T10:00:00"},
        {**GOOD, "time": 1e308},
        {**GOOD, "time": "9999-12-31T23:59:59-23:59"},
        {**GOOD, "recipient": "not an address"},
        {**GOOD, "recipient": "a@b\r\nX: y"},
        {**GOOD, "code": "five"},
        {**GOOD, "tags": 7},
        {**GOOD, "metadata": {"a": []}},
        {**GOOD, "id": {"a": 1}},
    ],
)
def test_a_bad_event_is_kept_as_unknown_and_loses_no_other(bad: object) -> None:
    """500 events, one of them bad: 499 are read, and that one is there with its payload."""
    events = _parse([GOOD] * 250 + [bad] + [GOOD] * 249)
    kinds = [event.kind for event in events]
    assert kinds.count(EventKind.BOUNCED) == 499
    assert kinds[250] is EventKind.UNKNOWN
    assert events[250].id
    assert events[250].error or (isinstance(bad, dict) and bad.get("type") == "brand_new")
    assert events[250].raw == (bad if isinstance(bad, dict) else {"value": bad})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"null",
        b'{"events": {}}',
        b'{"events": [NaN]}',
        b'{"events": [], "events": []}',
        b'{"events": ["\\ud800"]}',
        b"[" * 100_000,
        b"1" * 5000,
    ],
)
def test_a_signed_body_that_is_none_is_a_bad_request(body: bytes) -> None:
    """Refused with 400, and nothing worse."""
    with pytest.raises(WebhookRejected) as caught:
        sandbox.connector_parse_webhook(_settings(webhook_secret=SECRET), _request(body))
    assert caught.value.status == 400


def test_a_signed_body_that_is_too_big_says_so() -> None:
    """413, as a receiver says it that does not even read it."""
    body = b'{"events": [' + b"1," * 600_000 + b"1]}"
    with pytest.raises(WebhookRejected) as caught:
        sandbox.connector_parse_webhook(_settings(webhook_secret=SECRET), _request(body))
    assert caught.value.status == 413


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=60), max_size=4), st.binary(max_size=60))
def test_an_unsigned_request_is_refused_whatever_it_holds(headers: dict[str, str], body: bytes) -> None:
    """Always with WebhookRejected and 401."""
    with pytest.raises(WebhookRejected) as caught:
        sandbox.connector_parse_webhook(_settings(webhook_secret=SECRET), _request(body, headers))
    assert caught.value.status == 401


@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "url", "x"]), inner, max_size=6)
            ),
            max_leaves=15,
        ),
        max_size=5,
    )
)
def test_no_signed_event_raises(events: list[object]) -> None:
    """Each comes out as one event with an id."""
    parsed = _parse(events)
    assert len(parsed) == len(events)
    assert all(event.id for event in parsed)


def test_both_secrets_count_while_they_rotate() -> None:
    """Signed with the old one: taken as long as it is configured as the previous one."""
    body = json.dumps({"events": [GOOD]}).encode()
    headers = sign([signing_key(OLD_SECRET)], webhook_id="m", timestamp_s=int(NOW.timestamp()), body=body)
    request = _request(body, headers)
    rotating = _settings(webhook_secret=SECRET, previous_webhook_secret=OLD_SECRET)
    assert len(sandbox.connector_parse_webhook(rotating, request)) == 1
    with pytest.raises(WebhookRejected):
        sandbox.connector_parse_webhook(_settings(webhook_secret=SECRET), request)


def test_the_time_of_receipt_is_the_only_clock() -> None:
    """Old and future webhooks are refused by ``received_at``, whatever the machine's clock says."""
    request = _request(b'{"events": []}')
    for seconds in (-301, 301):
        late = WebhookRequest(
            method="POST",
            path="/",
            headers=request.headers,
            body=request.body,
            received_at=NOW + timedelta(seconds=seconds),
        )
        with pytest.raises(WebhookRejected):
            sandbox.connector_parse_webhook(_settings(webhook_secret=SECRET), late)


def test_without_a_usable_secret_nothing_is_taken() -> None:
    """Unsigned webhooks are never believed; a secret that cannot be read is our fault, and asks for a repetition."""
    request = _request(b'{"events": []}')
    with pytest.raises(WebhookRejected) as missing:
        sandbox.connector_parse_webhook(_settings(), request)
    with pytest.raises(WebhookRejected) as unreadable:
        sandbox.connector_parse_webhook(_settings(webhook_secret="env:NOT_SET_ANYWHERE"), request)
    assert (missing.value.status, unreadable.value.status) == (401, 503)


async def test_the_provider_posts_what_the_connector_reads() -> None:
    """Over a real socket, signed with the provider's secret."""
    received: asyncio.Queue[bytes] = asyncio.Queue()

    async def hook(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.put_nowait(await request_of(reader))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    types = ["delivered", "bounced", "complained", "opened", "clicked"]
    async with SandboxProvider(api_key="k") as provider, serving(hook) as port:
        events = [{"type": kind, "recipient": "ada@example.com"} for kind in types]
        response = await provider.post_webhook(f"http://127.0.0.1:{port}/hooks/sandbox", events)
        head, _, body = (await received.get()).partition(b"\r\n\r\n")
        settings = _settings(webhook_secret=provider.webhook_secret)
    assert response.status == 204
    lines = [line.partition(": ") for line in head.decode().split("\r\n")]
    assert lines[0][0] == "POST /hooks/sandbox HTTP/1.1"
    headers = {name: value for name, _, value in lines[1:]}
    request = _request(body, headers, received_at=datetime.now(UTC))
    assert [event.kind.value for event in sandbox.connector_parse_webhook(settings, request)] == types


async def test_the_provider_posts_to_this_machine_only() -> None:
    """It must not be a way to reach others."""
    async with SandboxProvider(api_key="k") as provider:
        for url in ("http://example.com/", "http://169.254.169.254/", "file:///etc/passwd", "http://a@127.0.0.1/"):
            with pytest.raises(ValueError, match=r"webhook_hosts|http|user name"):
                await provider.post_webhook(url, [])
