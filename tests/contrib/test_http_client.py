"""The HTTP client against real sockets: what it sends, and what it knows when no answer comes."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from functools import partial
from pathlib import Path

import pytest
import trustme

from genie_connect.http import (
    FakeHttpClient,
    HttpClient,
    Library,
    Limits,
    NoAnswer,
    NotSent,
    Response,
    TransportError,
    open_client,
)
from tests.contrib.sockets import answering, request_of, reset, serving

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Id: 7\r\n\r\nhi"
SECRET = "key-that-nobody-may-see"


@pytest.fixture(params=list(Library), autouse=True)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Every client is made with each library in turn."""
    chosen: Library = request.param
    monkeypatch.setitem(globals(), "open_client", partial(open_client, library=chosen))
    return chosen


async def _ask(port: int, limits: Limits | None = None, **arguments: object) -> Response:
    client = await open_client(f"http://127.0.0.1:{port}/api", limits=limits)
    try:
        return await client.request(
            "POST", "/send", headers={"authorization": f"Bearer {SECRET}"}, content=b"{}", **arguments
        )
    finally:
        await client.close()


async def _failure(port: int, limits: Limits | None = None) -> TransportError:
    with pytest.raises(TransportError) as caught:
        await _ask(port, limits)
    error = caught.value
    chain = [error.__cause__, error.__context__, *error.args]
    assert SECRET not in repr(chain)
    return error


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def test_a_response_has_status_headers_and_body() -> None:
    """Whatever the server says comes back whole, names in lower case."""
    async with serving(answering(OK)) as port:
        response = await _ask(port)
    assert (response.status, response.headers["x-id"], response.body) == (200, "7", b"hi")


async def test_the_request_asks_for_no_compression_and_names_no_library() -> None:
    """The wire shows our own few header fields, the path below the base URL, and the body."""
    seen: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request_of(reader))
        writer.write(OK)

    async with serving(script) as port:
        await _ask(port)
    head, _, body = seen[0].lower().partition(b"\r\n\r\n")
    assert head.startswith(b"post /api/send http/1.1\r\n")
    names = {line.partition(b":")[0] for line in head.split(b"\r\n")[1:]}
    assert names == {b"host", b"accept-encoding", b"user-agent", b"authorization", b"content-length"}
    assert b"accept-encoding: identity" in head
    assert body == b"{}"


async def test_a_connection_is_kept_for_the_next_request() -> None:
    """Two requests of one client use one connection."""
    connections = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await request_of(reader)
            writer.write(OK)
            await writer.drain()

    async with serving(script) as port:
        client = await open_client(f"http://127.0.0.1:{port}")
        await client.request("GET", "/one")
        await client.request("GET", "/two")
        await client.close()
    assert connections == 1


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    """Another host never sees the request, whatever the first one says."""
    followed = asyncio.Event()

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        followed.set()

    async with serving(other) as elsewhere:
        redirect = f"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:{elsewhere}/\r\nContent-Length: 0\r\n\r\n"
        async with serving(answering(redirect.encode())) as port:
            response = await _ask(port)
    assert response.status == 307
    assert not followed.is_set()


async def test_a_refused_connection_sent_nothing() -> None:
    """Nobody listens: nothing was handed over."""
    error = await _failure(_free_port())
    assert isinstance(error, NotSent)
    assert error.reason == "connect"


async def test_a_name_that_does_not_resolve_sent_nothing() -> None:
    """RFC 6761 keeps .invalid free of addresses."""
    client = await open_client("http://nobody.invalid")
    with pytest.raises(NotSent) as caught:
        await client.request("GET", "/")
    await client.close()
    assert caught.value.reason == "dns"


async def test_silence_during_the_tls_handshake_sent_nothing() -> None:
    """A server that takes the connection and never begins TLS has seen no byte of the request."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(script) as port:
        client = await open_client(f"https://127.0.0.1:{port}", limits=Limits(connect_s=0.1))
        with pytest.raises(NotSent) as caught:
            await client.request("POST", "/", content=b"{}")
        await client.close()
    assert caught.value.reason == "time_out"


async def test_the_limit_on_the_whole_exchange_before_writing_sent_nothing() -> None:
    """The total runs out during the handshake: that nothing was written is known, whatever clock rang."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(script) as port:
        client = await open_client(f"https://127.0.0.1:{port}")
        with pytest.raises(NotSent) as caught:
            await client.request("POST", "/", content=b"{}", timeout_s=0.1)
        await client.close()
    assert caught.value.reason == "time_out"


async def test_a_deadline_that_has_passed_sends_nothing() -> None:
    """Nothing is connected to when there is no time left."""
    async with serving(answering(OK)) as port:
        with pytest.raises(NotSent):
            await _ask(port, timeout_s=0.0)


@pytest.fixture
def authority() -> trustme.CA:
    """A certificate authority nobody else trusts."""
    return trustme.CA()


def _server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def _ask_over_tls(port: int, ca_file: Path | None) -> Response:
    client = await open_client(f"https://127.0.0.1:{port}", ca_file=ca_file)
    try:
        return await client.request("POST", "/", headers={"authorization": SECRET}, content=b"{}")
    finally:
        await client.close()


async def test_a_private_authority_is_trusted_where_its_file_is_given(authority: trustme.CA, tmp_path: Path) -> None:
    """TLS works with a CA file of one's own."""
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    async with serving(answering(OK), ssl_context=_server_context(authority, "127.0.0.1")) as port:
        assert (await _ask_over_tls(port, ca_file)).status == 200


async def test_nothing_but_http_1_1_is_offered(authority: trustme.CA, tmp_path: Path) -> None:
    """A server that speaks HTTP/2 as well is told in the handshake that it is not spoken here."""
    chosen: list[str | None] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chosen.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await answering(OK)(reader, writer)

    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = _server_context(authority, "127.0.0.1")
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with serving(script, ssl_context=context) as port:
        assert (await _ask_over_tls(port, ca_file)).ok
    assert chosen == ["http/1.1"]


@pytest.mark.parametrize(("name", "trusted"), [("127.0.0.1", False), ("other.example", True)])
async def test_a_certificate_that_is_not_trusted_gets_no_request(
    authority: trustme.CA, tmp_path: Path, name: str, trusted: bool
) -> None:
    """Unknown authority or another name: no byte of the request leaves, and the error says why."""
    seen: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read())

    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    async with serving(script, ssl_context=_server_context(authority, name)) as port:
        with pytest.raises(NotSent) as caught:
            await _ask_over_tls(port, ca_file if trusted else None)
    assert caught.value.reason == "certificate"
    assert not any(seen)


async def test_a_server_without_tls_gets_no_request(authority: trustme.CA) -> None:
    """Https to a plain HTTP server fails in the handshake."""
    async with serving(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        client = await open_client(f"https://127.0.0.1:{port}", limits=Limits(connect_s=0.5))
        with pytest.raises(NotSent):
            await client.request("POST", "/", content=b"{}")
        await client.close()


async def _reset_before_reading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def _reset_after_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    reset(writer)


async def _close_after_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _half_a_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")
    await writer.drain()


async def _half_a_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()


async def _dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    await reader.read()


@pytest.mark.parametrize(
    ("script", "reason", "status"),
    [
        (_reset_before_reading, {"closed", "protocol"}, None),
        (_reset_after_request, {"closed", "protocol"}, None),
        (_close_after_request, {"closed", "protocol"}, None),
        (_silent, {"time_out"}, None),
        (_half_a_head, {"closed", "protocol"}, None),
        (_half_a_body, {"closed", "protocol"}, 200),
        (_dripping, {"time_out"}, 200),
        (answering(b"SSH-2.0-server\r\n\r\n"), {"protocol"}, None),
        (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000), {"oversize"}, 200),
        (answering(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi"), {"protocol"}, 200),
    ],
)
async def test_a_written_request_without_a_whole_answer_may_have_been_carried_out(
    script: object, reason: set[str], status: int | None
) -> None:
    """Whatever goes wrong once the first byte is on its way is ``NoAnswer``."""
    limits = Limits(read_s=0.2, total_s=0.4, max_response_bytes=1000)
    async with serving(script) as port:  # type: ignore[arg-type]  # one list of scripts, seen as objects
        error = await _failure(port, limits)
    assert isinstance(error, NoAnswer)
    assert error.reason in reason
    assert error.status == status


async def test_waiting_for_a_free_connection_in_vain_sent_nothing() -> None:
    """The pool is full: the second request never left."""
    arrived = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        arrived.set()
        await reader.read()

    limits = Limits(max_connections=1, connect_s=0.1, read_s=5.0)
    async with serving(script) as port:
        client = await open_client(f"http://127.0.0.1:{port}", limits=limits)
        first = asyncio.create_task(client.request("GET", "/first"))
        await arrived.wait()
        with pytest.raises(NotSent) as caught:
            await client.request("GET", "/second")
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await client.close()
    assert caught.value.reason == "pool"


@pytest.mark.parametrize(
    "url",
    [
        "http://elsewhere.example/send",
        "https://127.0.0.1:1/send",
        "http://127.0.0.1:2/send",
        "http://127.0.0.1:1@elsewhere.example/send",
        "http://user@127.0.0.1:1/send",
        "//elsewhere.example/send",
        "/\\elsewhere.example",
        "/../admin",
        "/%2e%2e/admin",
        "/a b",
        "/a\r\nX: y",
        "/a#b",
        "send",
        "",
        "file:///etc/passwd",
    ],
)
async def test_a_url_of_another_origin_is_refused(url: str) -> None:
    """The client is bound to its origin, and a URL that only looks like it is not it."""
    client = await open_client("http://127.0.0.1:1")
    with pytest.raises(NotSent) as caught:
        await client.request("GET", url)
    await client.close()
    assert caught.value.reason == "refused_locally"


async def test_a_method_that_is_none_is_refused() -> None:
    """It would end the request line."""
    client = await open_client("http://127.0.0.1:1")
    with pytest.raises(NotSent) as caught:
        await client.request("GET / HTTP/1.1\r\nX: y\r\n", "/")
    await client.close()
    assert caught.value.reason == "refused_locally"


@pytest.mark.parametrize(
    "headers", [{"authorization": f"{SECRET}\r\nX: y"}, {"x-é": "v"}, {"x y": "v"}, {"x": f"{SECRET}é"}, {"x": "a\x00"}]
)
async def test_a_header_that_would_end_the_line_is_refused_without_quoting_it(headers: dict[str, str]) -> None:
    """An API key read from a broken file neither injects a header nor shows up in the error."""
    client = await open_client("http://127.0.0.1:1")
    with pytest.raises(NotSent) as caught:
        await client.request("GET", "/", headers=headers)
    await client.close()
    assert caught.value.reason == "refused_locally"
    assert SECRET not in f"{caught.value} {caught.value.__context__!r} {caught.value.__cause__!r}"


async def test_nothing_secret_is_logged_at_any_level(caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at DEBUG neither header, body nor path of the request shows up."""
    caplog.set_level(logging.DEBUG)
    async with serving(answering(OK)) as port:
        await _ask(port)
    # aiohttp logs nothing of a request that goes well: that what is logged would be seen is shown by a line of our own.
    logging.getLogger("a.probe").debug("seen")
    assert "seen" in caplog.text
    assert SECRET not in caplog.text
    assert "/send" not in caplog.text


async def test_a_closed_client_sends_nothing() -> None:
    """Closing twice is fine; asking afterwards is not."""
    client = await open_client("http://127.0.0.1:1")
    await client.close()
    await client.close()
    with pytest.raises(NotSent):
        await client.request("GET", "/")


async def _keeping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await request_of(reader)
        writer.write(OK)
        await writer.drain()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_kept_connection_that_ends_with_the_request_is_no_reason_to_send_it_again(method: str) -> None:
    """A request that may have been carried out is repeated by whoever knows what it was, not by a library."""
    seen: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(OK)
        seen.append(await request_of(reader))

    async with serving(script) as port:
        client = await open_client(f"http://127.0.0.1:{port}")
        await client.request("GET", "/first")
        with pytest.raises(NoAnswer):
            await client.request(method, "/second")
        await client.close()
    assert len(seen) == 1


async def test_a_deadline_that_has_passed_sends_nothing_on_a_kept_connection_either() -> None:
    """Nothing has to be waited for, and nothing is written nevertheless."""
    seen = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        while True:
            await request_of(reader)
            seen += 1
            writer.write(OK)
            await writer.drain()

    async with serving(script) as port:
        client = await open_client(f"http://127.0.0.1:{port}")
        await client.request("GET", "/first")
        with pytest.raises(NotSent) as caught:
            await client.request("GET", "/second", timeout_s=0.0)
        await client.request("GET", "/third")
        await client.close()
    assert caught.value.reason == "time_out"
    assert seen == 2


async def test_a_connection_whose_answer_was_not_read_to_its_end_serves_no_other_request() -> None:
    """What is left of one answer is never taken for the next."""
    answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000, OK]

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_of(reader)
            writer.write(answers.pop(0))
            await writer.drain()

    async with serving(script) as port:
        client = await open_client(
            f"http://127.0.0.1:{port}", limits=Limits(max_response_bytes=1000, max_connections=1)
        )
        with pytest.raises(NoAnswer):
            await client.request("GET", "/first")
        assert (await client.request("GET", "/second")).body == b"hi"
        await client.close()


async def test_a_caller_that_gives_up_leaves_the_client_usable() -> None:
    """The only connection is given back however a request ends."""
    arrived = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if arrived.is_set():
            return await _keeping(reader, writer)
        await request_of(reader)
        arrived.set()
        await reader.read()
        return None

    async with serving(script) as port:
        client = await open_client(f"http://127.0.0.1:{port}", limits=Limits(max_connections=1))
        first = asyncio.create_task(client.request("GET", "/first"))
        await arrived.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert (await client.request("GET", "/second")).ok
        await client.close()


async def test_a_client_that_is_closed_meanwhile_leaves_a_written_request_in_doubt() -> None:
    """The request is with the server; that nobody waits for the answer any more does not call it back."""
    arrived = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        arrived.set()
        await reader.read()

    async with serving(script) as port:
        client = await open_client(f"http://127.0.0.1:{port}")
        asked = asyncio.create_task(client.request("GET", "/"))
        await arrived.wait()
        await client.close()
        with pytest.raises(NoAnswer):
            await asked


async def test_header_fields_are_read_the_same_with_every_library() -> None:
    """Several of one name are one list, and what is not UTF-8 is read as what it was before there was any."""
    head = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-B: caf\xe9\r\nx-a: 2\r\nX-C: \xc3\xa9\r\nContent-Length: 0\r\n\r\n"
    async with serving(answering(head)) as port:
        response = await _ask(port)
    assert dict(response.headers) == {"x-a": "1, 2", "x-b": "caf\xe9", "x-c": "\xe9", "content-length": "0"}


async def test_a_cookie_is_not_given_back() -> None:
    """A connection keeps nothing that a server wants it to remember."""
    seen: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append((await request_of(reader)).lower())
            writer.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()

    async with serving(script) as port:
        client = await open_client(f"http://127.0.0.1:{port}")
        await client.request("GET", "/one")
        await client.request("GET", "/two")
        await client.close()
    assert len(seen) == 2
    assert b"cookie" not in seen[1]


async def test_the_proxy_of_the_environment_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests go to the base URL's host itself."""
    seen: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(1))

    async with serving(proxy) as elsewhere, serving(answering(OK)) as port:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{elsewhere}")
        assert (await _ask(port)).ok
    assert seen == []


async def test_the_fake_client_keeps_requests_and_gives_answers() -> None:
    """The public test double is an ``HttpClient`` that a connector cannot tell from the real one."""
    answers: list[Response | TransportError] = [Response(status=202), NoAnswer("time_out", "no answer came in time")]
    fake = FakeHttpClient(lambda request: answers.pop(0))
    client: HttpClient = fake
    await client.open()
    assert fake.is_open
    assert (await client.request("POST", "/v1", headers={"X-A": "1"}, content=b"b", timeout_s=3.0)).ok
    with pytest.raises(NoAnswer):
        await client.request("GET", "/v2")
    await client.close()
    assert not fake.is_open
    assert [(request.method, request.url) for request in fake.requests] == [("POST", "/v1"), ("GET", "/v2")]
    assert fake.requests[0].headers == {"x-a": "1"}
