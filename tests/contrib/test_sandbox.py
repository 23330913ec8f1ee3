"""The sandbox connector against its provider: what is carried, and the outcome of everything that can go wrong."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest

import genie_connect_contrib.sandbox as sandbox
from genie_connect.clock import SystemClock
from genie_connect.contract import Runtime, SendContext, TestContext
from genie_connect.delivery.suppression import SuppressionGate
from genie_connect.errors import SecretUnavailable, SettingsError
from genie_connect.hookspecs import ConnectorSpec
from genie_connect.http import FakeHttpClient, Response, open_client
from genie_connect.model.address import Address
from genie_connect.model.attachment import Attachment
from genie_connect.model.batch import Batch, Delivery, Recipient
from genie_connect.model.diagnosis import Status, Step
from genie_connect.model.features import missing, required_by_batch
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.message import FEATURES, Message, Purpose
from genie_connect.model.outcome import Outcome, Retry, Scope, State
from genie_connect.model.plain_data import thawed
from genie_connect.model.provider_template import ProviderTemplate
from genie_connect.model.receipt import Attempt
from genie_connect.model.settings import structure_settings
from genie_connect_contrib.sandbox.behaviour import Behaviour, Refusal, Reply
from genie_connect_contrib.sandbox.connector import Connection
from genie_connect_contrib.sandbox.provider import SandboxProvider

KEY = "key-that-nobody-may-see"
SHOP = Address.parse("Shop <shop@example.com>")
ADA, BOB, CY = (Address.parse(f"{name}@example.com") for name in ("ada", "bob", "cy"))


@pytest.fixture
async def provider() -> AsyncIterator[SandboxProvider]:
    """A provider on a free port."""
    async with SandboxProvider(api_key=KEY) as running:
        yield running


def _settings(provider: SandboxProvider, **more: object) -> sandbox.SandboxSettings:
    given = {"base_url": provider.base_url, "api_key": KEY, "timeout_s": 5.0, **more}
    return structure_settings(sandbox.SandboxSettings, given, connector="sandbox")


@asynccontextmanager
async def _open(provider: SandboxProvider, **more: object) -> AsyncIterator[Connection]:
    state = await sandbox.connector_open(_settings(provider, **more), Runtime(connection="test"))
    try:
        yield state
    finally:
        await sandbox.connector_close(state)


async def _batch(message: Message, recipients: Sequence[Recipient] = ()) -> Batch:
    """One copy to everybody in the message, or one to each recipient of a broadcast."""
    gate = SuppressionGate()
    if not recipients:
        cleared = (await gate.clear(message.recipients, Purpose.TRANSACTIONAL)).cleared
        delivery = Delivery(message_id="<1@example.com>", recipients=cleared, to=message.to, cc=message.cc)
        return Batch(message=message, sender=SHOP, deliveries=(delivery,))
    deliveries = [
        Delivery(
            message_id=f"<{number}@example.com>",
            recipients=(await gate.clear([recipient.address], Purpose.TRANSACTIONAL)).cleared,
            to=(recipient.address,),
            merge=recipient.merge,
            headers=recipient.headers,
            metadata=recipient.metadata,
        )
        for number, recipient in enumerate(recipients)
    ]
    return Batch(message=message, sender=SHOP, deliveries=tuple(deliveries))


def _context(*, key: str | None = None, attempt: str = "attempt-1", timeout_s: float = 5.0) -> SendContext:
    deadline = SystemClock().monotonic() + timeout_s
    return SendContext(attempt_id=attempt, deadline=deadline, idempotency_key=key)


async def _send(provider: SandboxProvider, *to: Address, timeout_s: float = 5.0) -> list[Outcome]:
    batch = await _batch(Message(to=to or (ADA,), subject="Hello", text="Hi"))
    async with _open(provider) as state:
        return list(await sandbox.connector_send(state, batch, _context(timeout_s=timeout_s)))


# What is carried


async def test_every_part_of_a_message_arrives(provider: SandboxProvider, tmp_path: Path) -> None:
    """Addresses, bodies, files, inline images, headers, tags, metadata: kept as they were given."""
    path = tmp_path / "terms.pdf"
    path.write_bytes(b"%PDF\x00\xff")
    message = Message(
        to=["Ada <ada@example.com>"],
        cc=[BOB],
        bcc=[CY],
        reply_to=["help@example.com"],
        envelope_from="bounce@example.com",
        subject="Grüße \U0001f600",
        text="Hi {{ name }}\n.\n",
        html='<p>Hi <img src="cid:logo"></p>',
        attachments=[
            Attachment(filename="logo.png", content=b"\x89PNG", content_id="logo"),
            Attachment.from_path(path),
        ],
        headers={"X-Campaign": "spring"},
        tags=["receipt", "eu"],
        metadata={"order": "7"},
    )
    batch = await _batch(message)
    async with _open(provider) as state:
        outcomes = await sandbox.connector_send(state, batch, _context())
    assert [(outcome.recipient, outcome.state) for outcome in outcomes] == [
        (address.email, State.ACCEPTED) for address in (ADA, BOB, CY)
    ]
    (kept,) = provider.messages
    assert {outcome.provider_id for outcome in outcomes} == {kept.id}
    assert (kept.from_.name, kept.from_.email, kept.envelope_from) == ("Shop", SHOP.email, "bounce@example.com")
    assert [(box.name, box.email) for box in kept.to] == [("Ada", ADA.email)]
    assert [box.email for box in kept.cc] == [BOB.email]
    assert kept.bcc == (CY.email,)
    assert [box.email for box in kept.reply_to] == ["help@example.com"]
    assert (kept.subject, kept.text, kept.html) == (message.subject, message.text, message.html)
    assert [(file.filename, file.content_type, file.content, file.content_id) for file in kept.attachments] == [
        ("logo.png", "image/png", b"\x89PNG", "logo"),
        ("terms.pdf", "application/pdf", b"%PDF\x00\xff", None),
    ]
    assert kept.headers == {"X-Campaign": "spring"}
    assert kept.tags == ("receipt", "eu")
    assert kept.metadata == {"order": "7"}
    assert (kept.message_id, kept.attempt) == ("<1@example.com>", "attempt-1")


async def test_each_copy_of_a_broadcast_has_what_is_its_own(provider: SandboxProvider) -> None:
    """Merge data is filled in, escaped in HTML; headers and metadata of the copy join those of the message."""
    message = Message(
        subject="For {{name | you}}",
        text="{{ name | you }}/{{ gone | nothing }}{{{{",
        html="<b>{{ name | R&D }}</b>",
        headers={"X-A": "{{ name | 1 }}"},
    )
    recipients = [
        Recipient(address=ADA, merge={"name": "A<b>"}, headers={"X-B": "2"}, metadata={"n": "1"}),
        Recipient(address=BOB),
    ]
    batch = await _batch(message, recipients)
    async with _open(provider) as state:
        outcomes = await sandbox.connector_send(state, batch, _context())
    assert [outcome.state for outcome in outcomes] == [State.ACCEPTED, State.ACCEPTED]
    first, second = provider.messages
    assert (first.subject, first.text, first.html) == ("For A<b>", "A<b>/nothing{{", "<b>A&lt;b&gt;</b>")
    assert (first.headers, first.metadata) == ({"X-A": "A<b>", "X-B": "2"}, {"n": "1"})
    assert (first.recipients, first.bcc) == ((ADA.email,), ())
    assert (second.subject, second.recipients, second.headers) == ("For you", (BOB.email,), {"X-A": "1"})
    assert (second.text, second.html) == ("you/nothing{{", "<b>R&amp;D</b>")
    assert provider.requests == 1


async def test_what_only_an_api_carries_arrives(provider: SandboxProvider) -> None:
    """AMP, tracking switches, a time, options of the provider's own; and a template with each copy's data over it."""
    when = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
    said = Message(
        to=[ADA],
        text="Hi",
        amp="<p>{{ name }}</p>",
        send_at=when,
        track_opens=False,
        track_clicks=True,
        provider_options={"sandbox": {"pool": ["a", 1]}},
    )
    template = Message(template=ProviderTemplate(id=7, data={"name": "?", "items": [{"n": 1}]}))
    async with _open(provider) as state:
        await sandbox.connector_send(state, await _batch(said), _context())
        named = await _batch(template, [Recipient(address=ADA, merge={"name": "Ada"})])
        await sandbox.connector_send(state, named, _context())
    first, second = provider.messages
    assert (first.amp, first.send_at) == ("<p>{{ name }}</p>", when)
    assert (first.track_opens, first.track_clicks) == (False, True)
    assert thawed(first.options) == {"pool": ["a", 1]}
    assert second.template == ProviderTemplate(id="7", data={"name": "Ada", "items": [{"n": 1}]})


async def test_a_field_without_a_value_is_refused_before_anything_is_kept(provider: SandboxProvider) -> None:
    """The provider keeps none of the copies where one of them has a field and no value for it."""
    batch = await _batch(
        Message(text="Hello {{ name }}"), [Recipient(address=ADA, merge={"name": "Ada"}), Recipient(address=BOB)]
    )
    async with _open(provider) as state:
        outcomes = await sandbox.connector_send(state, batch, _context())
    assert [outcome.state for outcome in outcomes] == [State.REJECTED, State.REJECTED]
    assert "merge['name']" in (outcomes[0].text or "")
    assert provider.messages == []


async def test_the_table_declares_what_is_carried(provider: SandboxProvider) -> None:
    """Every feature a message can have is in the table, and webhooks only with a secret to check them."""
    table = sandbox.connector_capabilities(None)
    assert not missing([*FEATURES, "send.international_addresses", "send.merge", "send.idempotency"], table)
    assert table.limit("send.batch", "max_batch") == 500
    assert table.limit("send.transactional", "max_message_bytes") == 10_000_000
    without = sandbox.connector_capabilities(_settings(provider))
    assert not without["events.webhook"].available
    with_secret = sandbox.connector_capabilities(_settings(provider, webhook_secret=provider.webhook_secret))
    assert with_secret == table
    international = Message(to=["jürgen@example.com"], subject="s", text="t")
    assert not missing(required_by_batch(await _batch(international)), table)


def test_every_hook_is_there_with_the_arguments_of_the_contract() -> None:
    """A mistyped hook would never be called."""
    for name in (name for name in vars(ConnectorSpec) if name.startswith("connector_")):
        hook = getattr(sandbox, name)
        expected = list(inspect.signature(getattr(ConnectorSpec, name)).parameters)[1:]
        assert list(inspect.signature(hook).parameters) == expected
        assert hook.genie_connect_impl
    assert sandbox.connector_info().id == "sandbox"


# The outcome table


async def test_nothing_is_handed_over_to_a_provider_that_is_down(provider: SandboxProvider) -> None:
    """Refused connections are deferred, here or elsewhere; the same open connection works once it is up again."""
    batch = await _batch(Message(to=[ADA], subject="s", text="t"))
    async with _open(provider) as state:
        (before,) = await sandbox.connector_send(state, batch, _context())
        await provider.go_down()
        (down,) = await sandbox.connector_send(state, batch, _context())
        await provider.come_up()
        (after,) = await sandbox.connector_send(state, batch, _context())
    assert [outcome.state for outcome in (before, down, after)] == [State.ACCEPTED, State.DEFERRED, State.ACCEPTED]
    assert (down.stage, down.reason, down.retry, down.scope) == ("connect", "connect", Retry.ANY, Scope.CONNECTION)
    assert len(provider.messages) == 2


async def test_a_wrong_key_is_about_the_connection(provider: SandboxProvider) -> None:
    """Another connection may take it, this one not before somebody has repaired the key."""
    batch = await _batch(Message(to=[ADA, BOB], subject="s", text="t"))
    async with _open(provider, api_key="wrong") as state:
        outcomes = await sandbox.connector_send(state, batch, _context())
    for outcome in outcomes:
        assert (outcome.state, outcome.code, outcome.reason) == (State.DEFERRED, 401, "auth")
        assert (outcome.scope, outcome.retry) == (Scope.CONNECTION, Retry.OTHER)
    assert not provider.messages


@pytest.mark.parametrize(
    ("behaviour", "state", "retry", "reason", "after_s"),
    [
        (Behaviour(status=429, retry_after_s=30), State.DEFERRED, Retry.ANY, "throttled", 30.0),
        (Behaviour(status=429), State.DEFERRED, Retry.ANY, "throttled", None),
        (Behaviour(status=503, retry_after_s=5), State.DEFERRED, Retry.ANY, "temporary", 5.0),
        (Behaviour(status=503), State.UNKNOWN, Retry.NEVER, "in_doubt", None),
        (Behaviour(status=500), State.UNKNOWN, Retry.NEVER, "in_doubt", None),
        (Behaviour(status=500, retry_after_s=5), State.UNKNOWN, Retry.NEVER, "in_doubt", None),
        (Behaviour(status=502, accept=True), State.UNKNOWN, Retry.NEVER, "in_doubt", None),
        (Behaviour(status=402), State.DEFERRED, Retry.OTHER, "policy", None),
        (Behaviour(status=403), State.DEFERRED, Retry.OTHER, "auth", None),
        (Behaviour(status=404), State.DEFERRED, Retry.OTHER, "protocol", None),
        (Behaviour(status=307), State.DEFERRED, Retry.OTHER, "protocol", None),
        (Behaviour(status=400), State.REJECTED, Retry.OTHER, "permanent", None),
        (Behaviour(status=413), State.REJECTED, Retry.OTHER, "too_large", None),
        (Behaviour(reply=Reply.CLOSED), State.UNKNOWN, Retry.NEVER, "in_doubt", None),
        (Behaviour(reply=Reply.CLOSED, accept=False), State.UNKNOWN, Retry.NEVER, "in_doubt", None),
    ],
)
async def test_each_misbehaviour_has_the_outcome_of_the_table(
    provider: SandboxProvider, behaviour: Behaviour, state: State, retry: Retry, reason: str, after_s: float | None
) -> None:
    """For every recipient of the request; nothing is kept unless the behaviour says so."""
    provider.behave(behaviour)
    outcomes = await _send(provider, ADA, BOB)
    for outcome in outcomes:
        assert (outcome.state, outcome.retry, outcome.reason) == (state, retry, reason)
        assert (outcome.retry_after_s, outcome.code) == (after_s, behaviour.status)
    assert len(provider.messages) == (1 if behaviour.accepts else 0)


async def test_accepted_and_never_answered_is_unknown(provider: SandboxProvider) -> None:
    """The deadline ends the wait; the message is there, and nobody may send it again unasked."""
    provider.behave(Behaviour(reply=Reply.HELD))
    (outcome,) = await _send(provider, timeout_s=0.3)
    assert (outcome.state, outcome.stage, outcome.retry) == (State.UNKNOWN, "request", Retry.NEVER)
    assert len(provider.messages) == 1


async def test_a_late_answer_within_the_deadline_counts(provider: SandboxProvider) -> None:
    """An answer that is held until the message has been seen to arrive is an answer."""
    provider.behave(Behaviour(reply=Reply.HELD))
    sending = asyncio.create_task(_send(provider))
    await provider.wait_for(1, timeout_s=5.0)
    assert not sending.done()
    provider.release()
    (outcome,) = await sending
    assert outcome.state is State.ACCEPTED


async def test_an_answer_may_be_delayed(provider: SandboxProvider) -> None:
    """A delay shorter than the deadline changes nothing, a longer one makes it unknown."""
    provider.behave(Behaviour(delay_s=0.01, times=1))
    assert [outcome.state for outcome in await _send(provider)] == [State.ACCEPTED]
    provider.behave(Behaviour(delay_s=60.0))
    assert [outcome.state for outcome in await _send(provider, timeout_s=0.2)] == [State.UNKNOWN]


async def test_a_flaky_provider_recovers_after_its_count(provider: SandboxProvider) -> None:
    """Two refusals, then normal."""
    provider.behave(Behaviour(status=429, times=2))
    states = [(await _send(provider))[0].state for _ in range(3)]
    assert states == [State.DEFERRED, State.DEFERRED, State.ACCEPTED]


async def test_refused_recipients_do_not_stop_the_others(provider: SandboxProvider) -> None:
    """Hard is final and suppresses, soft may be tried again, blocked is about the sender and goes another way."""
    dee = Address.parse("dee@example.com")
    provider.refuse("Ada@example.com")
    provider.refuse(BOB.email, Refusal.SOFT)
    provider.refuse(CY.email, "blocked")
    hard, soft, blocked, good = await _send(provider, ADA, BOB, CY, dee)
    assert (hard.state, hard.code, hard.enhanced) == (State.REJECTED, 550, "5.1.1")
    assert (hard.scope, hard.retry, hard.suppress) == (Scope.RECIPIENT, Retry.NEVER, True)
    assert (soft.state, soft.retry, soft.suppress) == (State.DEFERRED, Retry.ANY, False)
    assert (blocked.state, blocked.scope, blocked.retry) == (State.REJECTED, Scope.CONNECTION, Retry.OTHER)
    assert not blocked.suppress
    assert good.state is State.ACCEPTED
    assert provider.messages[0].recipients == (dee.email,)


async def test_a_refused_sender_goes_to_another_connection(provider: SandboxProvider) -> None:
    """The From is not rewritten; a connection that may use it is asked."""
    provider.refuse(SHOP.email)
    (outcome,) = await _send(provider)
    assert (outcome.state, outcome.reason, outcome.code) == (State.REJECTED, "sender_rejected", 422)
    assert (outcome.scope, outcome.retry) == (Scope.MESSAGE, Retry.OTHER)


async def test_the_provider_s_limits_are_kept(provider: SandboxProvider) -> None:
    """Too many recipients and too big a message are refused whole."""
    async with SandboxProvider(api_key=KEY, max_recipients=2, max_message_bytes=1000) as small:
        many = await _send(small, ADA, BOB, CY)
        batch = await _batch(Message(to=[ADA], subject="s", text="x" * 1001))
        async with _open(small) as state:
            (big,) = await sandbox.connector_send(state, batch, _context())
    assert {(outcome.state, outcome.code) for outcome in many} == {(State.REJECTED, 422)}
    assert (big.state, big.code, big.reason) == (State.REJECTED, 413, "too_large")
    assert not small.messages


async def test_an_attachment_that_is_gone_is_refused_before_anything_is_sent(
    provider: SandboxProvider, tmp_path: Path
) -> None:
    """Deleted and changed files: an outcome, not an exception, and no request."""
    path = tmp_path / "a.txt"
    path.write_text("one")
    message = Message(to=[ADA], subject="s", text="t", attachments=[Attachment.from_path(path)])
    batch = await _batch(message)
    async with _open(provider) as state:
        path.write_text("another")
        (changed,) = await sandbox.connector_send(state, batch, _context())
        path.unlink()
        (gone,) = await sandbox.connector_send(state, batch, _context())
    for outcome in (changed, gone):
        assert (outcome.state, outcome.retry, outcome.scope) == (State.REJECTED, Retry.NEVER, Scope.MESSAGE)
        assert str(tmp_path) not in (outcome.text or "")
    assert provider.requests == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"results": null}',
        b'{"results": [null, 1, []]}',
        b'{"results": [{"message_id": [], "recipient": {}, "status": "accepted"}]}',
        b'{"results": [{"message_id": "<1@example.com>", "recipient": "ada@example.com", "status": ["accepted"]}]}',
        b'{"results": [{"message_id": "<1@example.com>", "recipient": "ada@example.com", "status": "queued?"}]}',
        b"[" * 100_000,
    ],
)
async def test_a_200_that_says_nothing_of_a_recipient_is_unknown(body: bytes) -> None:
    """The provider took the request; whether it took the message nobody knows."""
    state = Connection(
        client=FakeHttpClient(lambda request: Response(status=200, body=body)), authorization=FrozenMap({})
    )
    batch = await _batch(Message(to=[ADA], subject="s", text="t"))
    (outcome,) = await sandbox.connector_send(state, batch, _context())
    assert outcome.state is State.UNKNOWN


@pytest.mark.parametrize(
    "refusal", [{}, {"kind": "new"}, {"kind": []}, {"kind": "hard", "code": "x", "enhanced": [], "text": None}]
)
async def test_a_refusal_of_an_unknown_kind_is_a_refusal(refusal: dict[str, object]) -> None:
    """Whatever else the result holds."""
    result = {"message_id": "<1@example.com>", "recipient": "ada@example.com", "status": "refused", **refusal}
    body = json.dumps({"results": [result]}).encode()
    state = Connection(
        client=FakeHttpClient(lambda request: Response(status=200, body=body)), authorization=FrozenMap({})
    )
    batch = await _batch(Message(to=[ADA], subject="s", text="t"))
    (outcome,) = await sandbox.connector_send(state, batch, _context())
    assert (outcome.state, outcome.final) == (State.REJECTED, True)


# Idempotency and look-up


async def test_the_same_key_and_bytes_are_kept_once(provider: SandboxProvider) -> None:
    """A lost answer, repeated under its key: the first answer comes again, and no second copy."""
    batch = await _batch(Message(to=[ADA], subject="s", text="t"))
    async with _open(provider) as state:
        provider.behave(Behaviour(reply=Reply.CLOSED, times=1))
        (lost,) = await sandbox.connector_send(state, batch, _context(key="k", attempt="a1"))
        (found,) = await sandbox.connector_send(state, batch, _context(key="k", attempt="a2"))
        first, second = [await sandbox.connector_lookup(state, _attempt(each)) for each in ("a1", "a2")]
    assert (lost.state, found.state) == (State.UNKNOWN, State.ACCEPTED)
    assert len(provider.messages) == 1
    assert [outcome.provider_id for outcome in (*first, *second)] == [found.provider_id] * 2


async def test_the_same_key_with_other_bytes_is_unknown(provider: SandboxProvider) -> None:
    """Whether the first use of the key was this message nobody can say from here."""
    one, two = [await _batch(Message(to=[ADA], subject=subject, text="t")) for subject in ("one", "two")]
    async with _open(provider) as state:
        (first,) = await sandbox.connector_send(state, one, _context(key="k"))
        (second,) = await sandbox.connector_send(state, two, _context(key="k"))
    assert (first.state, second.state, second.code) == (State.ACCEPTED, State.UNKNOWN, 409)
    assert len(provider.messages) == 1


async def test_a_refused_request_does_not_use_up_its_key(provider: SandboxProvider) -> None:
    """429 kept nothing, so the repetition is the first request that counts."""
    batch = await _batch(Message(to=[ADA], subject="s", text="t"))
    async with _open(provider) as state:
        provider.behave(Behaviour(status=429, times=1))
        (first,) = await sandbox.connector_send(state, batch, _context(key="k"))
        (second,) = await sandbox.connector_send(state, batch, _context(key="k"))
    assert (first.state, second.state) == (State.DEFERRED, State.ACCEPTED)


def _attempt(attempt_id: str) -> Attempt:
    return Attempt(id=attempt_id, connection="test", stage="request", outcome="unknown")


async def test_an_unknown_outcome_can_be_looked_up(provider: SandboxProvider) -> None:
    """The provider knows what became of each recipient of the attempt."""
    provider.refuse(BOB.email)
    provider.behave(Behaviour(reply=Reply.CLOSED))
    batch = await _batch(Message(to=[ADA, BOB], subject="s", text="t"))
    async with _open(provider) as state:
        outcomes = await sandbox.connector_send(state, batch, _context(attempt="lost"))
        found = await sandbox.connector_lookup(state, _attempt("lost"))
    assert {outcome.state for outcome in outcomes} == {State.UNKNOWN}
    assert {outcome.recipient: outcome.state for outcome in found} == {
        ADA.email: State.ACCEPTED,
        BOB.email: State.REJECTED,
    }


async def test_a_look_up_that_finds_nothing_proves_nothing(provider: SandboxProvider) -> None:
    """Neither an id nobody knows nor a provider that is down says that the message was not taken."""
    async with _open(provider) as state:
        assert await sandbox.connector_lookup(state, _attempt("never")) == ()
        await provider.go_down()
        assert await sandbox.connector_lookup(state, _attempt("never")) == ()


# The connector test


async def _steps(settings: sandbox.SandboxSettings, **more: object) -> list[Step]:
    deadline = SystemClock().monotonic() + 5.0
    context = attrs.evolve(TestContext(connection="test", deadline=deadline), **more)
    return [step async for step in sandbox.connector_test(settings, context)]


def _check_failed(steps: list[Step], ids: list[str], field: str | None) -> None:
    assert [step.id for step in steps] == ids
    assert [step.status for step in steps] == [Status.OK] * (len(ids) - 1) + [Status.FAIL]
    diagnosis = steps[-1].diagnosis
    assert diagnosis is not None
    assert diagnosis.title
    assert diagnosis.cause
    assert diagnosis.fixes
    assert diagnosis.field == field
    assert KEY not in repr(steps)


async def test_a_good_connection_passes_every_step_and_delivers_nothing(provider: SandboxProvider) -> None:
    """Resolve, connect, account, each with facts and a time."""
    steps = await _steps(_settings(provider))
    assert [step.id for step in steps] == ["resolve", "connect", "account"]
    assert all(step.status is Status.OK and step.facts and step.ms >= 0 for step in steps)
    assert steps[2].facts["max_recipients"] == 500
    assert not provider.messages


async def test_a_test_message_is_sent_where_one_is_asked_for(provider: SandboxProvider) -> None:
    """To that address alone, from the default From."""
    steps = await _steps(_settings(provider), default_from=SHOP, send_to=ADA)
    assert [step.id for step in steps] == ["resolve", "connect", "account", "message"]
    (kept,) = provider.messages
    assert steps[3].facts["provider_id"] == kept.id
    assert (kept.recipients, kept.from_.email) == ((ADA.email,), SHOP.email)


async def test_a_failed_step_says_why_and_is_the_last(provider: SandboxProvider) -> None:
    """Each with a cause, a fix and the setting that it is about."""
    good = ["resolve", "connect"]
    _check_failed(await _steps(_settings(provider, base_url="http://nobody.invalid")), ["resolve"], "base_url")
    _check_failed(await _steps(_settings(provider, api_key="wrong")), [*good, "account"], "api_key")
    _check_failed(await _steps(_settings(provider, api_key="env:NOT_SET_ANYWHERE")), [*good, "account"], "api_key")
    prefixed = _settings(provider, base_url=provider.base_url + "/elsewhere")
    _check_failed(await _steps(prefixed), [*good, "account"], "base_url")
    https = _settings(provider, base_url=provider.base_url.replace("http:", "https:"))
    _check_failed(await _steps(https), [*good, "tls"], "base_url")
    message = [*good, "account", "message"]
    _check_failed(await _steps(_settings(provider), send_to=ADA), message, "default_from")
    provider.refuse(ADA.email)
    _check_failed(await _steps(_settings(provider), default_from=SHOP, send_to=ADA), message, None)
    provider.behave(Behaviour(status=500, everywhere=True))
    _check_failed(await _steps(_settings(provider)), [*good, "account"], "base_url")
    provider.behave(Behaviour(reply=Reply.CLOSED, everywhere=True))
    _check_failed(await _steps(_settings(provider)), [*good, "account"], "base_url")
    await provider.go_down()
    _check_failed(await _steps(_settings(provider)), ["resolve", "connect"], "base_url")


# Settings and secrets


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "ftp://x"},
        {"base_url": "http://u:p@x"},
        {"api_key": ""},
        {"webhook_secret": "not base64!"},
        {"previous_webhook_secret": "whsec_AAAA"},
        {"timeout_s": 0},
        {"timeout": 5},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    """With the name of the field and without the secret."""
    with pytest.raises(SettingsError) as caught:
        structure_settings(sandbox.SandboxSettings, {"api_key": KEY, **wrong}, connector="sandbox")
    assert next(iter(wrong)) in str(caught.value)
    assert KEY not in str(caught.value)
    assert "not base64!" not in str(caught.value)


async def test_secrets_are_in_no_repr_log_or_outcome(
    provider: SandboxProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """With every logger at DEBUG, through success, refusal, time-out and outage."""
    caplog.set_level(logging.DEBUG)
    settings = _settings(provider, webhook_secret=provider.webhook_secret)
    shown = [repr(settings), str(settings)]
    async with _open(provider) as state:
        shown.append(repr(state))
        batch = await _batch(Message(to=[ADA], subject="s", text="t"))
        for behaviour in (Behaviour(), Behaviour(status=401), Behaviour(reply=Reply.CLOSED)):
            provider.behave(behaviour)
            shown += map(repr, await sandbox.connector_send(state, batch, _context()))
        await provider.go_down()
        shown += map(repr, await sandbox.connector_send(state, batch, _context()))
    everything = "\n".join([*shown, caplog.text])
    assert KEY not in everything
    assert provider.webhook_secret.removeprefix("whsec_") not in everything


async def test_a_key_that_cannot_be_read_stops_the_opening(provider: SandboxProvider) -> None:
    """Before anything is sent; the reference is named, no value is."""
    with pytest.raises(SecretUnavailable, match="env:NOT_SET_ANYWHERE"):
        async with _open(provider, api_key="env:NOT_SET_ANYWHERE"):
            raise AssertionError("it opened")


async def test_connections_live_side_by_side_and_close_twice(provider: SandboxProvider) -> None:
    """Closing one leaves the other alone; closing again does nothing."""
    batch = await _batch(Message(to=[ADA], subject="s", text="t"))
    async with _open(provider) as one, _open(provider) as two:
        await sandbox.connector_close(one)
        await sandbox.connector_close(one)
        (closed,) = await sandbox.connector_send(one, batch, _context())
        (open_,) = await sandbox.connector_send(two, batch, _context())
    assert (closed.state, open_.state) == (State.DEFERRED, State.ACCEPTED)


async def test_many_batches_at_once_all_arrive(provider: SandboxProvider) -> None:
    """More requests than the pool has connections."""
    batch = await _batch(Message(to=[ADA], subject="s", text="t"))
    async with _open(provider) as state:
        results = await asyncio.gather(*(sandbox.connector_send(state, batch, _context()) for _ in range(60)))
    assert {outcome.state for outcomes in results for outcome in outcomes} == {State.ACCEPTED}
    assert len(provider.messages) == 60


# The provider by HTTP


async def _call(
    provider: SandboxProvider, method: str, path: str, data: object = None, **headers: str
) -> tuple[int, dict[str, object]]:
    client = await open_client(provider.base_url)
    content = data if isinstance(data, bytes) else b"" if data is None else json.dumps(data).encode()
    try:
        response = await client.request(
            method, path, headers={"authorization": f"Bearer {KEY}", **headers}, content=content
        )
    finally:
        await client.close()
    return response.status, json.loads(response.body) if response.body else {}


async def test_what_was_kept_can_be_read(provider: SandboxProvider) -> None:
    """All, one by its id, and the results by Message-ID."""
    await _send(provider, ADA)
    (kept,) = provider.messages
    status, listed = await _call(provider, "GET", "/v1/messages")
    assert status == 200
    assert listed["messages"] == [(await _call(provider, "GET", f"/v1/messages/{kept.id}"))[1]]
    status, found = await _call(provider, "GET", "/v1/lookup?message_id=%3C1%40example.com%3E")
    assert status == 200
    assert json.dumps(found).count(kept.id) == 1
    for path in ("/v1/messages/none", "/v1/lookup?message_id=none", "/v1/lookup", "/", "/v1/messages/"):
        assert (await _call(provider, "GET", path))[0] == 404


async def test_behaviour_is_set_by_http_too(provider: SandboxProvider) -> None:
    """The same fields as in Python; nonsense is refused by field; an empty object is normal."""
    assert (await _call(provider, "POST", "/v1/behaviour", {"status": 429, "times": 1}))[0] == 200
    assert [outcome.state for outcome in await _send(provider)] == [State.DEFERRED]
    assert (await _call(provider, "POST", "/v1/behaviour", {"refuse": {ADA.email: "hard"}}))[0] == 200
    assert [outcome.state for outcome in await _send(provider)] == [State.REJECTED]
    for wrong in ({"status": 200}, {"statue": 500}, {"reply": "no"}, {"refuse": {"a": "b"}}, {"times": 0}, [], "x"):
        assert (await _call(provider, "POST", "/v1/behaviour", wrong))[0] == 422, wrong
    assert (await _call(provider, "POST", "/v1/behaviour", {}))[0] == 200
    assert [outcome.state for outcome in await _send(provider)] == [State.ACCEPTED]


async def test_the_provider_comes_up_by_itself_after_the_time_given(provider: SandboxProvider) -> None:
    """``down_s`` takes it down for that long, after it has answered."""
    assert (await _call(provider, "POST", "/v1/behaviour", {"down_s": 0.0}))[0] == 200
    assert provider._coming_up is not None
    await provider._coming_up
    assert [outcome.state for outcome in await _send(provider)] == [State.ACCEPTED]
    assert (await _call(provider, "POST", "/v1/behaviour", {"down_s": 60.0}))[0] == 200
    assert [outcome.state for outcome in await _send(provider)] == [State.DEFERRED]


async def test_nothing_is_left_behind() -> None:
    """Answers still held, a provider still down: when both sides have closed, no task is left."""
    before = asyncio.all_tasks()
    async with SandboxProvider(api_key=KEY) as provider:
        provider.behave(Behaviour(reply=Reply.HELD))
        await _send(provider, timeout_s=0.1)
        held = asyncio.create_task(_send(provider))
        await provider.wait_for(2, timeout_s=5.0)
        await _call(provider, "POST", "/v1/behaviour", {"down_s": 60.0})
    assert [outcome.state for outcome in await held] == [State.UNKNOWN]
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"{", 400),
        (b"[" * 100_000, 400),
        ({}, 422),
        ({"from": {"email": "a@b.c"}, "envelope_from": "a@b.c", "copies": [], "extra": 1}, 422),
        ({"from": {"email": "a@b.c"}, "envelope_from": "a@b.c", "copies": []}, 422),
        ({"from": "a@b.c", "envelope_from": "a@b.c", "copies": [{"message_id": "m", "recipients": "x"}]}, 422),
    ],
)
async def test_a_malformed_submission_is_refused(provider: SandboxProvider, data: object, status: int) -> None:
    """With a 4xx that says where, and nothing is kept."""
    answered, body = await _call(provider, "POST", "/v1/messages", data)
    assert answered == status
    assert "error" in body
    assert not provider.messages


async def test_compressed_and_oversized_requests_are_refused(provider: SandboxProvider) -> None:
    """What a body unpacks to is not bounded by what was read."""
    assert (await _call(provider, "POST", "/v1/messages", b"x", **{"content-encoding": "gzip"}))[0] == 415
    reader, writer = await asyncio.open_connection("127.0.0.1", int(provider.base_url.rpartition(":")[2]))
    writer.write(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 30000000\r\n\r\n")
    chunk = b"x" * 1_000_000
    try:
        for _ in range(21):
            writer.write(chunk)
            await writer.drain()
    except ConnectionError:
        pass
    head = await reader.read(12)
    writer.transport.abort()
    assert head in (b"HTTP/1.1 413", b"")


@pytest.mark.parametrize("raw", [b"\x00\x01\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET /\r\n\r\n", b"A" * 20_000])
async def test_what_is_not_http_is_answered_with_400_and_closed(provider: SandboxProvider, raw: bytes) -> None:
    """The connection ends, and the provider goes on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(provider.base_url.rpartition(":")[2]))
    writer.write(raw)
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 4")
    assert [outcome.state for outcome in await _send(provider)] == [State.ACCEPTED]
