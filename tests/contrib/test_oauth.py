"""Access tokens: fetched once, renewed in time, and never the reason for a second message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

import pytest

from genie_connect import Message
from genie_connect.api import ApiSettings, Call, Job, OAuthConnector, OAuthState, Result, TokenSource, json_call
from genie_connect.contract import ConnectorInfo, Kind
from genie_connect.http import FakeHttpClient, NoAnswer, NotSent, Response, TransportError
from genie_connect.http.fake import Request
from genie_connect.model.capability import CapabilityTable, yes
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.outcome import Outcome
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings
from tests.contrib.providers.harness import batch_of, context
from tests.support.clock import FakeClock

SECRET = "secret-that-nobody-may-see"
FORM = {"grant_type": "client_credentials", "client_id": "pigeon", "client_secret": SECRET}


@settings
class OwlSettings(ApiSettings):
    """One secret."""

    client_secret: Secret = setting(title="Client secret", secret=True)


class Owl(OAuthConnector[OwlSettings]):
    """One request for each copy, under a token."""

    info = ConnectorInfo(id="owl", title="Owl", kind=Kind.API, settings_class=OwlSettings)
    urls = FrozenMap({"": "https://api.owl.example"})
    token_urls = FrozenMap({"": "https://login.owl.example/oauth2/token"})
    protected = frozenset({"to"})

    def capabilities(self, settings: OwlSettings | None) -> CapabilityTable:
        """Whatever the tests need."""
        return CapabilityTable(connector="owl", entries=(yes("send.transactional"), yes("send.broadcast")))

    def grant(self, settings: OwlSettings, now: datetime) -> Mapping[str, str]:
        """The secret."""
        return {**FORM, "client_secret": settings.client_secret.reveal()}

    def calls(self, job: Job, settings: OwlSettings) -> Iterable[Call]:
        """To whom."""
        for copy in job.copies:
            yield json_call("/send", {"to": [address.email for address in copy.to]}, [copy])

    def results(self, call: Call, response: Response) -> Iterable[Result]:
        """Taken."""
        return [Result(provider_id="1")]


class Tokens:
    """A token endpoint: every answer another token, or what ``said`` says."""

    def __init__(self, **more: Any) -> None:
        self.more = {"token_type": "Bearer", "expires_in": 3600, **more}
        self.said: Response | TransportError | None = None
        self.client = FakeHttpClient(self.answer)

    def answer(self, _: Request) -> Response | TransportError:
        """The next one."""
        data = {"access_token": f"token-{len(self.client.requests)}", **self.more}
        return self.said or Response(status=200, body=json.dumps(data).encode())

    def source(self, clock: FakeClock) -> TokenSource:
        """A source of them."""
        return TokenSource(self.client, "/token", lambda: FORM, clock)


def _refusal(status: int, error: str, description: str = "") -> Response:
    return Response(status=status, body=json.dumps({"error": error, "error_description": description}).encode())


async def test_a_token_is_fetched_once_for_all_who_wait_and_renewed_before_it_ends() -> None:
    """Whoever asks shortly before the end has the old one at once, and it is the new one that the next has."""
    clock, endpoint = FakeClock(), Tokens()
    source = endpoint.source(clock)
    assert set(await asyncio.gather(*(source.bearer(9) for _ in range(50)))) == {"token-1"}
    (request,) = endpoint.client.requests
    assert (request.method, request.url) == ("POST", "/token")
    assert parse_qs(request.content.decode()) == {name: [value] for name, value in FORM.items()}
    clock.move(3600 - 301)
    assert await source.bearer(9) == "token-1"
    clock.move(2)
    assert await source.bearer(9) == "token-1"
    for _ in range(3):
        await asyncio.sleep(0)
    assert await source.bearer(9) == "token-2"
    # The endpoint is away for a while: that is of no account before the token ends.
    endpoint.said = NotSent("connect", "nobody there")
    clock.move(3500)
    asked = len(endpoint.client.requests)
    for _ in range(10):
        assert await source.bearer(9) == "token-2"
        await asyncio.sleep(0)
    # And nobody calls at its door with every message.
    assert len(endpoint.client.requests) == asked + 1
    clock.move(101)
    with pytest.raises(NotSent) as raised:
        await source.bearer(9)
    assert (raised.value.reason, str(raised.value)) == ("connect", "the token endpoint: nobody there")
    await source.close()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (_refusal(401, "invalid_client", f"the secret {SECRET} is wrong"), "auth"),
        (_refusal(400, "invalid_grant"), "auth"),
        (Response(status=302), "auth"),
        (_refusal(429, "slow_down"), "busy"),
        (Response(status=503), "busy"),
        (Response(status=200, body=b"<html>"), "protocol"),
        (Response(status=200, body=b'{"access_token": "a\\r\\nb", "token_type": "bearer"}'), "protocol"),
        (Response(status=200, body=b'{"access_token": "a", "token_type": "mac"}'), "protocol"),
        (NoAnswer("time_out", "no answer came"), "time_out"),
        (NotSent("certificate", "not trusted"), "certificate"),
    ],
)
async def test_without_a_token_nothing_is_sent(answer: Response | TransportError, reason: str) -> None:
    """Whatever the endpoint does, no message has left; and no secret is in what is said of it."""
    endpoint = Tokens()
    endpoint.said = answer
    with pytest.raises(NotSent) as raised:
        await endpoint.source(FakeClock()).bearer(9)
    assert raised.value.reason == reason
    assert SECRET not in f"{raised.value!r} {raised.value} {raised.value.__cause__} {endpoint.source(FakeClock())!r}"


async def test_who_waits_for_a_token_waits_no_longer_than_there_is_time_and_close_ends_the_wait() -> None:
    """The deadline of one is not that of another; a cancelled one takes the token from nobody."""
    asked = asyncio.Event()

    class Silent(FakeHttpClient):
        async def request(self, *_: Any, **__: Any) -> Response:
            asked.set()
            return await asyncio.get_running_loop().create_future()

    source = TokenSource(Silent(lambda _: Response(status=500)), "/token", lambda: FORM, FakeClock())
    patient, leaving = asyncio.ensure_future(source.bearer(9)), asyncio.ensure_future(source.bearer(9))
    await asked.wait()
    with pytest.raises(NotSent, match="in time"):
        await source.bearer(0)
    leaving.cancel()
    await asyncio.wait({leaving})
    assert leaving.cancelled()
    assert not patient.done()
    await source.close()
    with pytest.raises(NotSent, match="closed"):
        await patient


def _state(endpoint: Tokens, answer: Callable[[Request], Response | TransportError]) -> OAuthState[Any]:
    made = OwlSettings(client_secret=SECRET)
    tokens = Owl().tokens(made, endpoint.client, FakeClock())
    return OAuthState(settings=made, client=FakeHttpClient(answer), authorization={}, tokens=tokens)


async def _sent(state: OAuthState[Any]) -> Outcome:
    batch = await batch_of(Message(to=["ada@example.com"], subject="s", text="t"))
    (outcome,) = await Owl().connector_send(state, batch, context())
    return outcome


async def test_a_token_that_the_provider_takes_no_longer_is_renewed_once() -> None:
    """A 401 says that nothing was done. One that is refused from the start is not asked for again and again."""
    endpoint, good = Tokens(), "Bearer token-1"
    state = _state(endpoint, lambda request: Response(status=202 if request.headers["authorization"] == good else 401))
    client: Any = state.client
    assert (await _sent(state)).state.value == "accepted"
    good = "Bearer token-2"
    assert (await _sent(state)).state.value == "accepted"
    assert [request.headers["authorization"][-1] for request in client.requests] == ["1", "1", "2"]
    good = "none"
    outcome = await _sent(state)
    assert (outcome.state.value, outcome.reason, len(client.requests)) == ("deferred", "auth", 5)
    outcome = await _sent(state)
    assert (outcome.reason, len(client.requests), len(endpoint.client.requests)) == ("auth", 6, 3)
    good = "Bearer token-4"
    assert (await _sent(state)).state.value == "accepted"


async def test_many_requests_whose_token_is_refused_ask_for_one_new_one_together() -> None:
    """Whoever finds that somebody has renewed it already takes that one."""
    endpoint, good = Tokens(), "Bearer token-1"
    state = _state(endpoint, lambda request: Response(status=202 if request.headers["authorization"] == good else 401))
    assert (await _sent(state)).state.value == "accepted"
    good = "Bearer token-2"
    outcomes = await asyncio.gather(*(_sent(state) for _ in range(20)))
    assert {each.state.value for each in outcomes} == {"accepted"}
    assert len(endpoint.client.requests) == 2


@pytest.mark.parametrize(
    ("answer", "reason", "retry"),
    [
        (_refusal(401, "invalid_client"), "auth", "other"),
        (Response(status=503), "temporary", "any"),
        (NoAnswer("time_out", "no answer came"), "connect", "any"),
    ],
)
async def test_a_message_without_a_token_is_deferred(
    answer: Response | TransportError, reason: str, retry: str
) -> None:
    """And no request is made for it."""
    endpoint = Tokens()
    endpoint.said = answer
    state = _state(endpoint, lambda _: Response(status=202))
    outcome = await _sent(state)
    assert (outcome.state.value, outcome.stage, outcome.reason, outcome.retry.value) == (
        "deferred",
        "connect",
        reason,
        retry,
    )
    assert state.client.requests == []  # type: ignore[attr-defined]  # it is a fake one


@pytest.mark.parametrize(("status", "said", "waits_s"), [(429, "42", 42.0), (503, "x", None), (400, "42", None)])
async def test_a_token_endpoint_says_how_long_to_wait(status: int, said: str, waits_s: float | None) -> None:
    """And so long the message waits, where it is for being busy and not for credentials that are refused."""
    endpoint = Tokens()
    endpoint.said = Response(status=status, headers={"retry-after": said})
    outcome = await _sent(_state(endpoint, lambda _: Response(status=202)))
    assert (outcome.state.value, outcome.retry_after_s) == ("deferred", waits_s)
