"""Every provider: what each message becomes, by the vendor's own description; and what each answer means."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from genie_connect import Host, Message, Registry, SettingsError, State, Status
from genie_connect.clock import SystemClock
from genie_connect.contract import Runtime, TestContext
from genie_connect.http import FakeHttpClient, NoAnswer, Response
from genie_connect.http.fake import Request
from genie_connect.model.batch import Recipient
from genie_connect.model.features import exceeded, missing, required_by_batch
from genie_connect_contrib.sandbox.server import Answer, Call, HttpServer
from tests.contrib.providers.every import PROVIDERS
from tests.contrib.providers.harness import SECRET, SHOP, TOKEN, Expected, Provider, answer, batch_of
from tests.contrib.providers.messages import CASES, Case, limit_cases

each_provider = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.id)


async def _checked(provider: Provider, case: Case) -> str:
    """Hand a case over: ``sent``, ``lacking`` or ``refused``, everything about it looked at."""
    batch = await batch_of(case.message, case.recipients)
    table = provider.connector.capabilities(provider.made_settings())
    requests, outcomes = await provider.send(batch)
    lacking = missing(required_by_batch(batch), table)
    if outcomes[0].state is not State.ACCEPTED:
        assert requests == []
        assert {(each.state, each.stage, each.reason) for each in outcomes} == {
            (State.REJECTED, "plan", "unsupported")
        }, outcomes[0]
        return "lacking" if lacking else "refused"
    assert not lacking
    expected = Counter(address.email for address in batch.recipients)
    assert Counter(email for request in requests for email in provider.reached(request)) == expected
    for request in requests:
        provider.check(request)
        assert provider.credentials.items() <= request.headers.items()
    assert all(each.state is State.ACCEPTED and each.provider_id for each in outcomes)
    return "sent"


@each_provider
async def test_every_message_becomes_a_request_that_the_vendor_describes(provider: Provider) -> None:
    """Or is refused before any request, for what the table does not declare or the mapping finds it cannot take."""
    ends = {case.name: await _checked(provider, case) for case in CASES}
    sent = [name for name, end in ends.items() if end == "sent"]
    assert len(sent) >= 30, ends
    assert {"text", "text and html", "cc and bcc", "merge", "each their own"} <= set(sent)
    # It has a tag, for which not every provider has a place.
    tagged = provider.connector.capabilities(None)["send.tags"].available
    assert ends["nearly everything"] == ("sent" if tagged else "lacking")
    assert ends["everything"] != "refused"


@each_provider
async def test_limits_are_those_of_the_table_and_no_request_exceeds_the_description(provider: Provider) -> None:
    """One below and at the limit leave; one above is named by the planner."""
    table = provider.connector.capabilities(None)
    for case, allowed in limit_cases(table):
        found = list(exceeded(case.message, table, now=datetime.now(UTC)))
        assert (not found) is allowed, (case.name, found)
        if allowed:
            assert await _checked(provider, case) == "sent", case.name


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        pytest.param(provider, expected, id=f"{provider.id}-{expected.name}".replace(" ", "-"))
        for provider in PROVIDERS
        for expected in provider.answers
    ],
)
async def test_what_an_answer_means_for_everybody(provider: Provider, expected: Expected) -> None:
    """State, reason, where to try again and when; the same for each recipient, and nothing secret in it."""
    message = Message(to=["ada@example.com", "bob@example.com"], subject="s", text="t")
    requests, outcomes = await provider.send(await batch_of(message), lambda _: expected.answer)
    assert len(requests) == 1
    found = {(each.state.value, each.reason, each.retry.value, each.retry_after_s) for each in outcomes}
    assert found == {(expected.state, expected.reason, expected.retry, expected.retry_after_s)}
    assert SECRET not in repr(outcomes)


@each_provider
async def test_an_accepted_message_has_the_providers_id(provider: Provider) -> None:
    """Kept apart from our own."""
    _, outcomes = await provider.send(await batch_of(Message(to=["ada@example.com"], subject="s", text="t")))
    assert [each.provider_id for each in outcomes] == [provider.accepted_id]


@each_provider
async def test_options_of_the_provider_come_last_and_change_no_recipient(provider: Provider) -> None:
    """They are laid over the request; one that names recipients or sender is refused before any request.

    So is every one where the request has no place for any.
    """
    base: dict[str, Any] = {"to": ["ada@example.com"], "subject": "s", "text": "t"}
    given = {"x-genie-option": {"deep": [1, None]}}
    requests, _ = await provider.send(await batch_of(Message(**base, provider_options={provider.id: given})))
    if not provider.connector.capabilities(None)["send.provider_options"].available:
        assert requests == []
        return
    assert b"x-genie-option" in requests[0].content
    for name in provider.connector.protected:
        options = {provider.id: {name.swapcase(): "eve@example.com"}}
        requests, outcomes = await provider.send(await batch_of(Message(**base, provider_options=options)))
        assert requests == []
        assert "provider_options" in (outcomes[0].text or "")


@each_provider
async def test_the_same_copies_under_the_same_key_are_the_same_bytes(provider: Provider) -> None:
    """So a provider that honours the key recognises them; others get no key at all."""
    batch = await batch_of(Message(subject="s", text="t"), [Recipient(address=f"r{n}@example.com") for n in range(3)])
    first, _ = await provider.send(batch)
    second, _ = await provider.send(batch)
    keyed = provider.connector.capabilities(None)["send.idempotency"].available
    if keyed:
        assert [(each.headers, each.content) for each in first] == [(each.headers, each.content) for each in second]
        assert b"key-1" in b"".join(repr(each.headers).encode() + each.content for each in first)
    else:
        assert b"key-1" not in b"".join(repr(each.headers).encode() + each.content for each in first)


@asynccontextmanager
async def _listening(
    provider: Provider, accepts: Callable[[Request], Response]
) -> AsyncIterator[tuple[str, list[Request]]]:
    """A server on this machine that answers like the provider, and the requests that it had beside those for tokens."""
    requests: list[Request] = []

    async def handle(call: Call) -> Answer:
        request = Request(method=call.method, url=call.target, headers=call.headers, content=call.body)
        response = provider.token(request.url)
        if response is None:
            requests.append(request)
            response = accepts(request)
        return Answer(status=response.status, headers=response.headers, body=response.body)

    server = HttpServer(handle, host="127.0.0.1", port=0, max_body_bytes=50_000_000)
    await server.start()
    try:
        yield f"http://127.0.0.1:{server.port}", requests
    finally:
        await server.stop()


@each_provider
@pytest.mark.parametrize("together", [True, False], ids=["one-message", "each-their-own"])
async def test_a_thousand_recipients_are_reached_once_within_the_limits_of_a_call(
    provider: Provider, together: bool
) -> None:
    """Over real sockets, through a host: cut by what one call takes."""
    table = provider.connector.capabilities(None)
    # Where each copy is a request of its own, a hundred show the same.
    count = 1000 if together or (table.limit("send.batch", "max_batch") or 0) > 50 else 100
    everybody = [f"r{number}@example.com" for number in range(count)]
    message = Message(from_=SHOP, to=everybody if together else (), subject="Hello", text="Dear reader")
    registry = Registry(strict=True)
    registry.register(provider.id, provider.connector)
    async with _listening(provider, provider.accepts) as (base_url, requests):
        settings = {**provider.settings, "base_url": base_url}
        connections = {"api": {"connector": provider.id, "settings": settings}}
        async with Host.open({"connections": connections}, registry=registry) as host:
            if together:
                outcomes = list((await host.send(message)).outcomes.values())
            else:
                outcomes = [outcome async for outcome in host.send_each(message, everybody)]
    assert [outcome.recipient for outcome in outcomes if outcome.state is State.ACCEPTED] == everybody
    reached = [provider.reached(request) for request in requests]
    assert Counter(email for request in reached for email in request) == Counter(everybody)
    most = table.limit("send.transactional", "max_recipients") if together else table.limit("send.batch", "max_batch")
    assert max(map(len, reached)) <= (most or 1)


@each_provider
async def test_a_connection_is_tested_without_sending_and_says_what_to_do_about_a_wrong_key(provider: Provider) -> None:
    """Steps up to the account; with an address, one message."""
    account = provider.account or answer(404)

    def accepts(request: Request) -> Response:
        return provider.accepts(request) if request.method == "POST" and provider.reached(request) else account

    async with _listening(provider, accepts) as (base_url, requests):
        settings = provider.made_settings(base_url=base_url)
        deadline = SystemClock().monotonic() + 30
        quiet = TestContext(connection="api", deadline=deadline, default_from=SHOP)
        steps = [step async for step in provider.handle().test(settings, quiet)]
        assert [step.status for step in steps] == [Status.OK] * len(steps)
        assert {step.id for step in steps} >= {"resolve", "connect"}
        assert len(requests) == (1 if provider.account else 0)
        loud = TestContext(connection="api", deadline=deadline, default_from=SHOP, send_to=SHOP)
        steps = [step async for step in provider.handle().test(settings, loud)]
        assert (steps[-1].id, steps[-1].status) == ("message", Status.OK), steps[-1]
    if provider.account is not None:
        async with _listening(provider, lambda _: answer(401, {"message": "no"})) as (base_url, _):
            steps = [step async for step in provider.handle().test(provider.made_settings(base_url=base_url), quiet)]
        assert (steps[-1].id, steps[-1].status) == ("account", Status.FAIL)
        assert steps[-1].diagnosis is not None
        assert steps[-1].diagnosis.field in provider.settings


@each_provider
async def test_the_key_goes_to_the_providers_own_hosts_only(provider: Provider) -> None:
    """Another base URL is taken on this machine, or where two settings say so, over https."""
    of_tokens = [provider.connector.token_url(provider.made_settings())] if provider.token_path else []
    for url in (provider.connector.url(provider.made_settings()), *provider.connector.urls.values(), *of_tokens):
        assert url.startswith("https://")
    for wrong in ("https://evil.example", "http://192.0.2.1"):
        with pytest.raises(SettingsError) as raised:
            provider.made_settings(base_url=wrong)
        assert [problem.path for problem in raised.value.problems] == ["base_url"]
    with pytest.raises(SettingsError):
        provider.made_settings(base_url="http://gateway.example", send_key_to_another_host=True)
    provider.made_settings(base_url="https://gateway.example", send_key_to_another_host=True)
    provider.made_settings(base_url="http://127.0.0.1:8080")


@each_provider
async def test_nothing_secret_is_shown_or_logged(provider: Provider, caplog: pytest.LogCaptureFixture) -> None:
    """Not by settings, state, requests or outcomes, nor in what goes to the log when no answer comes."""
    caplog.set_level(logging.DEBUG)
    client = FakeHttpClient(lambda _: NoAnswer("time_out", "no answer"))
    state = provider.state(client)
    opened = await provider.handle().open(state.settings, Runtime(connection="api"))
    batch = await batch_of(Message(to=["ada@example.com"], subject="s", text="t"))
    _, outcomes = await provider.send(batch, lambda _: NoAnswer("time_out", "no answer"))
    await provider.handle().close(opened)
    said = repr((state, opened, state.settings, outcomes, batch)) + caplog.text
    assert SECRET not in said
    assert TOKEN not in said
