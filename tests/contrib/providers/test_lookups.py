"""Look-ups by what stands in a provider's own records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import pytest

from genie_connect import Message
from genie_connect.http import FakeHttpClient, NoAnswer, Response
from genie_connect.http.fake import Request
from genie_connect.model.batch import Recipient
from genie_connect.model.receipt import Attempt, DoubtfulCopy
from tests.contrib.providers import brevo, mailgun, resend, sparkpost
from tests.contrib.providers.harness import Provider, answer, batch_of, emails

STARTED = datetime(2026, 11, 25, 23, 59, 30, tzinfo=UTC)
ADA, BEN, CY = [f"{name}@example.com" for name in ("ada", "ben", "cy")]
IDS = {ADA: "<0@example.com>", BEN: "<1@example.com>", CY: "<2@example.com>"}
ATTEMPT = Attempt(
    id="a1b2c3d4e5f60718",
    connection="api",
    stage="request",
    outcome="unknown",
    recipients=3,
    started=STARTED,
    in_doubt=tuple(DoubtfulCopy(message_id=copy, recipient=email) for email, copy in IDS.items()),
)
Page = tuple[str, Mapping[str, Any], Any]
"""What a request has to ask for, path and query, and the answer to it."""


def _mailgun(event: str, email: str, copy: str, **more: Any) -> dict[str, Any]:
    headers = {"message-id": "20261125.1@mg.example.com"}
    variables = {"user-variables": {"genie_message_id": copy}, "message": {"headers": headers}}
    return {"event": event, "recipient": email, **variables, **more}


def _sparkpost(kind: str, email: str, copy: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "rcpt_to": email, "rcpt_meta": {"genie_message_id": copy}, "transmission_id": "7", **more}


def _resend(number: int, email: str, created_at: str) -> dict[str, Any]:
    return {"id": f"r{number}", "to": [f"Somebody <{email}>"], "cc": None, "created_at": created_at, "subject": "s"}


def _resend_whole(number: int, email: str, word: str) -> dict[str, Any]:
    return {**_resend(number, email, ""), "tags": [{"name": "genie_message_id", "value": word}]}


def _brevo(event: str, email: str, tag: str, **more: Any) -> dict[str, Any]:
    return {"event": event, "email": email, "tag": tag, "messageId": "<2026.1@smtp-relay.example>", **more}


@attrs.frozen(kw_only=True)
class Case:
    """A provider, its record of an attempt to three in pages, and what comes of it: ada's id, and why ben was refused.

    In every record somebody else has ben's message, and a message to cy is another one: cy stays in doubt.
    """

    provider: Provider
    pages: tuple[Page, ...]
    found: Mapping[str, tuple[str, str | None, str | None]]
    settings: Mapping[str, Any] = attrs.field(factory=dict)


CASES = [
    Case(
        provider=mailgun.PROVIDER,
        pages=(
            (
                "/v3/mg.example.com/events",
                {"begin": "1795651050", "end": "1795652970", "event": "accepted OR rejected", "limit": "300"},
                {
                    "items": [
                        _mailgun("accepted", ADA, IDS[ADA]),
                        _mailgun("accepted", CY, "<9@example.com>"),
                        _mailgun("accepted", "eve@example.com", IDS[BEN]),
                        "nonsense",
                    ],
                    "paging": {"next": "https://api.mailgun.net/v3/mg.example.com/events/WzJd"},
                },
            ),
            (
                "/v3/mg.example.com/events/WzJd",
                {},
                {
                    "items": [_mailgun("rejected", BEN, "1@example.com", reject={"reason": "suppressed"})],
                    "paging": {"next": "https://evil.example/else"},
                },
            ),
        ),
        found={
            ADA: ("accepted", "20261125.1@mg.example.com", None),
            BEN: ("rejected", "20261125.1@mg.example.com", "suppressed"),
        },
    ),
    Case(
        provider=sparkpost.PROVIDER,
        pages=(
            (
                "/events/message",
                {"from": "2026-11-25T23:57:30Z", "recipients": f"{ADA},{BEN},{CY}", "per_page": "10000"},
                {
                    "results": [
                        _sparkpost("delivery", "ADA@example.com", IDS[ADA]),
                        _sparkpost("policy_rejection", ADA, IDS[ADA], reason="late"),
                        _sparkpost("injection", CY, "<9@example.com>"),
                        _sparkpost("injection", "eve@example.com", IDS[BEN]),
                    ],
                    "links": {"next": "/api/v1/events/message?cursor=WzJd%3D&per_page=10000"},
                },
            ),
            (
                "/events/message",
                {"cursor": "WzJd=", "recipients": f"{ADA},{BEN},{CY}"},
                {"results": [_sparkpost("generation_failure", BEN, IDS[BEN], reason="no such value")], "links": {}},
            ),
        ),
        found={ADA: ("accepted", "7", None), BEN: ("rejected", "7", "no such value")},
    ),
    Case(
        provider=resend.PROVIDER,
        pages=(
            (
                "/emails",
                {"limit": "100"},
                {
                    "data": [
                        _resend(5, ADA, "2026-11-26 00:45:00.1+00"),
                        _resend(4, CY, "2026-11-26 00:00:10.1+00"),
                        _resend(3, "eve@example.com", "2026-11-26 00:00:09.1+00"),
                    ],
                    "has_more": True,
                },
            ),
            ("/emails/r4", {}, _resend_whole(4, CY, "PDlAZXhhbXBsZS5jb20-")),
            (
                "/emails",
                {"limit": "100", "after": "r3"},
                {
                    "data": [
                        _resend(2, ADA, "2026-11-25 23:59:31.1+00"),
                        _resend(1, CY, "2026-11-25 22:00:00.1+00"),
                    ],
                    "has_more": True,
                },
            ),
            ("/emails/r2", {}, _resend_whole(2, ADA, "PDBAZXhhbXBsZS5jb20-")),
        ),
        found={ADA: ("accepted", "r2", None)},
    ),
    Case(
        provider=brevo.PROVIDER,
        settings={"tag_attempts": True},
        pages=(
            (
                "/smtp/statistics/events",
                {
                    "tags": '["genie-attempt-a1b2c3d4e5f60718"]',
                    "startDate": "2026-11-24",
                    "endDate": "2026-11-27",
                    "limit": "2500",
                    "offset": "0",
                },
                {
                    "events": [
                        _brevo("requests", ADA, '["x","genie-attempt-a1b2c3d4e5f60718"]'),
                        _brevo("blocked", BEN, "genie-attempt-a1b2c3d4e5f60718", reason="blacklisted"),
                        _brevo("delivered", CY, "genie-attempt-0000000000000000"),
                        _brevo("delivered", "eve@example.com", "genie-attempt-a1b2c3d4e5f60718"),
                    ]
                },
            ),
        ),
        found={
            ADA: ("accepted", "<2026.1@smtp-relay.example>", None),
            BEN: ("rejected", "<2026.1@smtp-relay.example>", "blacklisted"),
        },
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.provider.id))
async def test_copies_in_doubt_are_found_in_the_providers_record(case: Case) -> None:
    """Page by page, each by what only that copy has; whom the record does not name stays in doubt."""
    provider = case.provider
    pages = iter(case.pages)

    def answered(request: Request) -> Response:
        path, query, body = next(pages)
        asked = urlsplit(request.url)
        assert (request.method, asked.path) == ("GET", path)
        assert {name: [value] for name, value in query.items()}.items() <= parse_qs(asked.query).items()
        assert provider.credentials.items() <= request.headers.items()
        return answer(200, body)

    found = await provider.handle().lookup(provider.state(FakeHttpClient(answered), **case.settings), ATTEMPT)
    assert {each.recipient: (each.state.value, each.provider_id, each.text) for each in found} == case.found
    assert next(pages, None) is None
    assert provider.handle().capabilities(provider.made_settings(**case.settings))["lookup"].available


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.provider.id))
async def test_a_record_that_cannot_be_read_proves_nothing(case: Case) -> None:
    """Nor does one that never ends, or an attempt that nobody knows the time of."""
    provider = case.provider
    names = {"items": ["x", {}], "results": [{}, 1], "data": [{"id": "a"}, {"created_at": STARTED.isoformat()}]}
    odd = names | {"events": [None, {}], "has_more": True}
    odd |= {"paging": {"next": "https://x/events/a"}, "links": {"next": "?cursor=a"}}
    for nothing in (
        answer(403),
        answer(200, []),
        answer(200, odd),
        Response(status=200, body=b"<"),
        NoAnswer("time_out", "no answer"),
    ):
        client = FakeHttpClient(lambda _, nothing=nothing: nothing)
        state = provider.state(client, **case.settings)
        assert await provider.handle().lookup(state, ATTEMPT) == ()
        assert 1 <= len(client.requests) <= 20
        assert await provider.handle().lookup(state, attrs.evolve(ATTEMPT, started=None)) == ()


@pytest.mark.parametrize("provider", [case.provider for case in CASES], ids=lambda provider: str(provider.id))
async def test_what_a_record_is_searched_for_has_left(provider: Provider) -> None:
    """With one copy and with two; Brevo's several share the attempt, and a tag where that is asked for."""
    told = {
        "mailgun": ["<0@example.com>", "<1@example.com>"],
        "sparkpost": ["<0@example.com>", "<1@example.com>"],
        "resend": ["PDBAZXhhbXBsZS5jb20-", "PDFAZXhhbXBsZS5jb20-"],
        "brevo": ["genie_attempt", "a1b2c3d4e5f60718"],
    }[provider.id]
    two = await batch_of(Message(subject="s", text="t"), [Recipient(address=email) for email in (ADA, BEN)])
    requests, _ = await provider.send(two)
    assert all(word in b"".join(request.content for request in requests).decode() for word in told)
    (request,), _ = await provider.send(await batch_of(Message(to=[ADA], subject="s", text="t")))
    assert told[-1] in request.content.decode() or "<1@example.com>" in request.content.decode()
    if provider is brevo.PROVIDER:
        (request,), _ = await provider.send(two, tag_attempts=True)
        assert json.loads(request.content)["tags"] == ["genie-attempt-a1b2c3d4e5f60718"]


async def test_many_in_doubt_are_asked_after_in_requests_that_are_not_too_long() -> None:
    """SparkPost takes 4,096 characters in an address line; Resend is asked no more than it answers in a minute."""
    many = tuple(DoubtfulCopy(message_id=f"<{n}@example.com>", recipient=f"reader-{n}@example.com") for n in range(400))
    attempt = attrs.evolve(ATTEMPT, in_doubt=many)
    client = FakeHttpClient(lambda _: answer(200, {"results": []}))
    assert await sparkpost.PROVIDER.handle().lookup(sparkpost.PROVIDER.state(client), attempt) == ()
    asked = [parse_qs(urlsplit(request.url).query)["recipients"][0] for request in client.requests]
    assert emails(",".join(asked)) == [copy.recipient for copy in many]
    assert max(len(request.url) for request in client.requests) < 3500
    listed = [_resend(n, f"reader-{n}@example.com", "2026-11-26 00:00:10+00") for n in range(100)]
    client = FakeHttpClient(lambda _: answer(200, {"data": listed, "has_more": True}))
    assert await resend.PROVIDER.handle().lookup(resend.PROVIDER.state(client), attempt) == ()
    assert len(client.requests) == 61
