"""Documents that a parser asks for: fetched within bounds, kept, and never from anywhere else."""

from __future__ import annotations

import asyncio
import json

import pytest

from genie_connect import Event, EventKind, WebhookRequest, hookimpl
from genie_connect.webhooks.documents import MOST_A_MINUTE, Documents, fetch_document
from genie_connect.webhooks.events import Fields, Means, events_of
from genie_connect.webhooks.signatures import verify_sns
from tests.support.clock import FakeClock
from tests.support.connector import ScriptedConnector, scripted_host
from tests.webhooks.schemes import CERTIFICATE_URL, NOW, TOPIC, certificate, sns_data, sns_request


class Web:
    """Remembers what was fetched, and gives what it has."""

    def __init__(self, **content: bytes) -> None:
        self.content = content
        self.asked: list[str] = []

    async def fetch(self, url: str) -> bytes | None:
        """A document."""
        self.asked.append(url)
        await asyncio.sleep(0)
        return self.content.get(url)


async def test_a_document_is_fetched_once() -> None:
    """Though twenty ask for it at one moment."""
    web = Web(a=b"1")
    documents = Documents(web.fetch, clock=FakeClock())
    assert await asyncio.gather(*[documents.get("a") for _ in range(20)]) == [b"1"] * 20
    assert web.asked == ["a"]


async def test_one_that_the_host_has_is_not_fetched() -> None:
    """A machine that reaches nobody can be given the certificate."""
    web = Web()
    documents = Documents(web.fetch, clock=FakeClock())
    documents.put("a", b"1")
    assert await documents.get("a") == b"1"
    assert web.asked == []


async def test_only_so_many_are_fetched_in_a_minute() -> None:
    """Whoever makes up addresses that the pattern lets through costs no more than these."""
    clock, web = FakeClock(), Web()
    documents = Documents(web.fetch, clock=clock)
    for index in range(50):
        assert await documents.get(f"a{index}") is None
    assert len(web.asked) == MOST_A_MINUTE
    clock.move(61)
    await documents.get("b")
    assert web.asked[-1] == "b"


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/a.pem",
        "https://user@127.0.0.1/a.pem",
        "https://127.0.0.1:1/a.pem",
        "file:///etc/passwd",
        "https:///a.pem",
        "",
    ],
)
async def test_only_https_at_its_usual_port_is_fetched(url: str) -> None:
    """Without a look-up or a connection for anything else."""
    assert await fetch_document(url) is None


class Sns(ScriptedConnector):
    """A connector whose webhooks come through SNS."""

    @hookimpl
    def connector_parse_webhook(self, settings: object, request: WebhookRequest) -> tuple[Event, ...]:
        """The events in the message."""
        message = verify_sns(request, [TOPIC])

        def read(item: Fields) -> Event:
            return item.event(Means(EventKind.DELIVERED), id=message.id, time=message.time)

        return events_of(json.loads(message.text), read, request)


async def test_a_host_fetches_the_certificate_and_asks_again() -> None:
    """The first webhook brings it, the second finds it; without it the provider is to come back."""
    web = Web()
    request = sns_request(sns_data("{}", NOW, 1), number=None)
    async with scripted_host(Sns("sns")) as host:
        host.documents.fetch = web.fetch
        result = await host.webhook("sns", request)
        assert (result.status, result.accepted) == (503, 0)
        web.content[CERTIFICATE_URL] = certificate(1)
        assert (await host.webhook("sns", request)).accepted == 1
        again = sns_request(sns_data("{}", NOW, 1, MessageId="2"), number=None)
        assert (await host.webhook("sns", again)).accepted == 1
        assert web.asked == [CERTIFICATE_URL] * 2
        forged = sns_request(sns_data("{}", NOW, 2, MessageId="3"), number=None)
        assert (await host.webhook("sns", forged)).status == 401
