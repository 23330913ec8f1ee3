"""The ASGI application: what reaches the host, and what is answered without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import attrs
import pytest

from genie_connect import Event, EventKind, Host, WebhookChallenge, WebhookReceiver, WebhookRequest, hookimpl
from genie_connect.webhooks.bodies import json_body
from genie_connect.webhooks.events import Fields, Means, events_of
from genie_connect.webhooks.signatures import basic_key, verify_basic
from tests.support.connector import ScriptedConnector, scripted_host

BASIC = ("authorization", "Basic Z2VuaWU6c2VjcmV0LXNlY3JldC1zZWNyZXQ=")
BODY = b'[{"id": "1"}]'


class Acme(ScriptedConnector):
    """A connector whose provider signs in with user and password."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.requests: list[WebhookRequest] = []

    @hookimpl
    def connector_parse_webhook(self, settings: object, request: WebhookRequest) -> tuple[Event, ...]:
        """Remember it, and read its events."""
        self.requests.append(request)
        verify_basic(request, [basic_key("genie:secret-secret-secret")])
        if request.method == "OPTIONS":
            raise WebhookChallenge(headers={"webhook-allowed-origin": request.headers["webhook-request-origin"]})
        if request.body == b'{"challenge": 7}':
            raise WebhookChallenge('{"response": 7}')

        def read(item: Fields) -> Event:
            return item.event(Means(EventKind.DELIVERED), time=request.received_at, id=item.text("id"))

        return events_of(json_body(request), read, request)


@attrs.frozen
class Answer:
    """What the application answered."""

    status: int
    headers: dict[str, str]
    body: bytes


async def ask(
    app: WebhookReceiver,
    *pieces: bytes,
    method: str = "POST",
    path: str = "/acme",
    headers: Iterable[tuple[str, str]] = (BASIC,),
    ends: bool = True,
    **scope: Any,
) -> Answer:
    """One request, its body in pieces; one that does not end just stays open."""
    coming = [
        {"type": "http.request", "body": piece, "more_body": not ends or index < len(pieces) - 1}
        for index, piece in enumerate(pieces)
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if coming:
            return coming.pop(0)
        await asyncio.Event().wait()
        raise AssertionError("never")

    async def send(message: Any) -> None:
        sent.append(dict(message))

    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    await app({"type": "http", "method": method, "path": path, "headers": raw, **scope}, receive, send)
    start, body = sent
    return Answer(
        start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, body.get("body", b"")
    )


@pytest.fixture
def acme() -> Acme:
    """The connector."""
    return Acme("acme")


@pytest.fixture
async def host(acme: Acme) -> AsyncIterator[Host]:
    """A host with it."""
    async with scripted_host(acme) as host:
        yield host


async def test_a_request_reaches_its_connection(host: Host, acme: Acme) -> None:
    """With path, query, header fields by lower-case name, and the body in one piece."""
    answer = await ask(
        WebhookReceiver(host),
        BODY[:5],
        BODY[5:],
        path="/acme/secret",
        headers=[("Authorization", BASIC[1]), ("X-One", "1"), ("x-one", "2")],
        query_string=b"a=1&b=%20",
    )
    assert (answer.status, answer.body) == (200, b"ok\n")
    (request,) = acme.requests
    assert (request.path, request.body, dict(request.query)) == ("/acme/secret", BODY, {"a": "1", "b": " "})
    assert request.headers["x-one"] == "1, 2"
    assert request.received_at.tzinfo is not None


@pytest.mark.parametrize(
    ("path", "root"), [("/hooks/acme", "/hooks"), ("/acme", "/hooks"), ("/acme", ""), ("/hooks/acme/x", "/hooks/")]
)
async def test_it_can_be_mounted(host: Host, acme: Acme, path: str, root: str) -> None:
    """Servers differ on whether the path repeats where it is mounted."""
    assert (await ask(WebhookReceiver(host), BODY, path=path, root_path=root)).status == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "TRACE"])
async def test_other_methods_are_refused(host: Host, acme: Acme, method: str) -> None:
    """405, and nothing is read."""
    answer = await ask(WebhookReceiver(host), BODY, method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "POST, HEAD")
    assert acme.requests == []


ASKS = ("WebHook-Request-Origin", "events.example.com")


async def test_a_provider_may_ask_for_permission_to_post(acme: Acme) -> None:
    """By OPTIONS, as CloudEvents has it, of a connection whose connector knows of it; it is told what that one says."""
    acme.info = attrs.evolve(acme.info, asks_permission=True)
    async with scripted_host(acme) as host:
        app = WebhookReceiver(host)
        answer = await ask(app, b"", method="OPTIONS", headers=[BASIC, ASKS])
        assert (answer.status, answer.headers["webhook-allowed-origin"]) == (200, ASKS[1])
        assert (await ask(app, b"", method="OPTIONS", headers=[ASKS])).status == 401
        assert (await ask(app, b"", method="OPTIONS", headers=[BASIC])).status == 405
        assert [request.method for request in acme.requests] == ["OPTIONS"] * 2


@pytest.mark.parametrize("origin", ["evil.example.com\r\nset-cookie: a=b", "évil.example.com", "a\x00b"])
async def test_what_is_answered_stays_one_field(acme: Acme, origin: str) -> None:
    """A connector that gives back what the request holds must not be made to write other fields with it."""
    acme.info = attrs.evolve(acme.info, asks_permission=True)
    async with scripted_host(acme) as host:
        asked = [BASIC, ("webhook-request-origin", origin)]
        answer = await ask(WebhookReceiver(host), b"", method="OPTIONS", headers=asked)
    assert answer.status == 400
    assert "webhook-allowed-origin" not in answer.headers
    with pytest.raises(ValueError, match="header field"):
        WebhookChallenge(headers={"a: b\r\nc": "d"})


async def test_a_provider_that_asks_nothing_gets_no_permission(host: Host, acme: Acme) -> None:
    """405, and the connector does not see it."""
    answer = await ask(WebhookReceiver(host), b"", method="OPTIONS", headers=[BASIC, ASKS])
    assert (answer.status, answer.headers["allow"]) == (405, "POST, HEAD")
    assert (await ask(WebhookReceiver(host), b"", method="OPTIONS", headers=[ASKS], path="/nobody")).status == 404
    assert acme.requests == []


async def test_a_look_whether_there_is_anybody_is_answered(host: Host, acme: Acme) -> None:
    """HEAD: 200 without a body, for any path and without a secret."""
    answer = await ask(WebhookReceiver(host), method="HEAD", path="/anything", headers=[])
    assert (answer.status, answer.body) == (200, b"")


async def test_an_unsigned_request_is_asked_to_sign_in(host: Host) -> None:
    """Some providers send user and password only then. Why it was refused is not told."""
    answer = await ask(WebhookReceiver(host), BODY, headers=[])
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert b"authorization" not in answer.body


async def test_a_provider_that_asks_for_an_answer_reads_it(host: Host) -> None:
    """As JSON, and from nobody whose request is not verified."""
    answer = await ask(WebhookReceiver(host), b'{"challenge": 7}')
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "application/json", b'{"response": 7}')
    assert (await ask(WebhookReceiver(host), b'{"challenge": 7}', headers=())).status == 401


async def test_an_unknown_connection_is_not_found(host: Host) -> None:
    """And so is a path that names none."""
    for path in ("/", "", "/nobody", "/%00", "//acme//x"):
        answer = await ask(WebhookReceiver(host), BODY, path=path)
        assert answer.status == (200 if path == "//acme//x" else 404)


async def test_a_body_that_is_too_large_is_cut_off(host: Host, acme: Acme) -> None:
    """By what it announces, and by what comes: 413, and the host is not asked."""
    app = WebhookReceiver(host, max_body_bytes=100)
    assert (await ask(app, b"", headers=[BASIC, ("content-length", "101")])).status == 413
    assert (await ask(app, *[b"x" * 30] * 1_000, ends=False)).status == 413
    assert (await ask(app, b"x", headers=[BASIC, ("content-length", "nonsense")])).status == 400
    assert len(acme.requests) == 1


async def test_a_body_that_does_not_come_is_given_up(host: Host, acme: Acme) -> None:
    """408, soon."""
    assert (await ask(WebhookReceiver(host, read_timeout_s=0.01), b"[", ends=False)).status == 408
    assert acme.requests == []


async def test_only_so_many_are_read_at_a_time(host: Host) -> None:
    """503 for the rest, which the provider sends again; later there is room."""
    app = WebhookReceiver(host, max_at_once=1, read_timeout_s=60)
    slow = asyncio.ensure_future(ask(app, b"[", ends=False))
    await asyncio.sleep(0)
    answer = await ask(app, BODY)
    assert (answer.status, answer.headers["retry-after"]) == (503, "30")
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    assert (await ask(app, BODY)).status == 200


async def test_a_closed_host_is_no_exception(acme: Acme) -> None:
    """A defect of the host's owner: 503 and a log line, since the provider may come when it is open."""
    async with scripted_host(acme) as host:
        app = WebhookReceiver(host)
    assert (await ask(app, BODY)).status in (200, 503)


async def test_a_server_may_start_and_stop_it(host: Host) -> None:
    """The lifespan messages of ASGI are acknowledged; other kinds of connection are not taken."""
    coming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    said: list[str] = []

    async def receive() -> dict[str, Any]:
        return coming.pop(0)

    async def send(message: Any) -> None:
        said.append(message["type"])

    await WebhookReceiver(host)({"type": "lifespan"}, receive, send)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    with pytest.raises(ValueError, match="websocket"):
        await WebhookReceiver(host)({"type": "websocket"}, receive, send)
