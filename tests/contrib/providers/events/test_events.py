"""Webhooks of every provider: what each payload becomes, whose they have to be, and what a bad one does to others."""

from __future__ import annotations

import base64
import json
import pickle
from datetime import timedelta
from operator import attrgetter
from random import Random
from typing import Any
from urllib.parse import urlencode

import attrs
import pytest

from genie_connect.errors import WebhookChallenge, WebhookNeeds, WebhookRejected
from genie_connect.model.event import Event
from genie_connect.model.fate import Fate
from genie_connect.model.settings import structure_settings
from genie_connect.webhooks.signatures import shared_key, verify_shared
from tests.contrib.providers.events import azure, brevo, mailgun, mailtrap, sendgrid, ses
from tests.contrib.providers.events.hook import MAKERS, Hook, credentials, multipart
from tests.contrib.providers.events.hooks import HOOKS
from tests.webhooks.schemes import NOW, TOPIC, request, sns_data, sns_request, text_key
from tests.webhooks.test_fuzz import STRANGE_JSON, spoilt_bytes

_SPOILT = ("timestamp", "time", "ts_epoch", "ts", "data", "Metadata", "mail", "msys")
each_hook = pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.id)


def _found(event: Event, name: str) -> Any:
    value = attrgetter(name.replace("[0]", ""))(event) if "[0]" not in name else None
    if "[0]" in name:
        before, _, after = name.partition("[0].")
        value = attrgetter(after)(attrgetter(before)(event)[0])
    return value


@each_hook
def test_each_payload_becomes_its_event(hook: Hook) -> None:
    """With every field that the provider gives; the payload itself is kept, but for a message's."""
    for item, expected in hook.samples:
        (event,) = hook.of(item)
        assert event.error is None or "error" in expected, event.error
        assert {name: _found(event, name) for name in expected} == dict(expected), item
        assert event.raw or event.inbound is not None
        assert event.id


@each_hook
def test_ids_are_the_same_each_time_and_none_is_another_events(hook: Hook) -> None:
    """Whatever request brings the event again, the host keeps it once."""
    items = [item for item, _ in hook.samples]
    first, again = [[hook.of(item)[0].id for item in items] for _ in range(2)]
    assert first == again


@each_hook
def test_only_who_has_a_key_is_believed(hook: Hook) -> None:
    """The current one or its predecessor; one that is neither, none at all, and an old signature are refused."""
    body = json.dumps(hook.single(hook.samples[0][0]) if hook.wrapped is None else hook.wrapped([])).encode()
    given = hook.post(body, NOW, 1)
    hook.parse(given, 1)
    hook.parse(given, 2, previous=1)
    refused = [(given, 2), (attrs.evolve(given, headers={}, body=b"{}"), 1)]
    if hook.window_s is not None:
        moved = [NOW + timedelta(seconds=seconds) for seconds in (-hook.window_s - 2, 7200)]
        refused += [(hook.post(body, time, 1), 1) for time in moved]
    for one, key in refused:
        with pytest.raises(WebhookRejected) as caught:
            hook.parse(one, key)
        assert caught.value.status in (400, 401)
    with pytest.raises(WebhookRejected, match=r"no signing secret|no topic"):
        hook.connector.connector_parse_webhook(_without_keys(hook), given)  # type: ignore[attr-defined]


def _without_keys(hook: Hook) -> Any:
    return hook.connector.info.settings_class(**hook.settings)


@each_hook
def test_a_bad_event_loses_no_other(hook: Hook) -> None:
    """It is kept as unknown, with what is wrong; the others of its batch are read."""
    bad: list[Any] = [None, 7, {}, {"event": []}, {**hook.samples[0][0], **dict.fromkeys(_SPOILT, "x")}]
    good = [item for item, _ in hook.samples]
    for each in bad:
        if hook.wrapped is not None:
            events = hook.of(*good, each, *good)
            kinds = [event.kind.value for event in events]
            assert kinds[: len(good)] == kinds[len(good) + 1 :] == [known["kind"] for _, known in hook.samples]
            assert kinds[len(good)] == "unknown"
        elif isinstance(each, dict):
            (event,) = hook.of(each)
            assert event.id
            assert event.kind.value == "unknown"


@each_hook
def test_permutations_and_repetitions_converge(hook: Hook) -> None:
    """The same events in any order, some twice, tell the same of the copy."""
    chance = Random(hook.id)
    events = [event for item, _ in hook.samples for event in hook.of(item)]
    told = Fate.of(events)
    for _ in range(20):
        mixed = [*events, *chance.sample(events, len(events) // 2)]
        chance.shuffle(mixed)
        assert Fate.of(mixed) == told


@each_hook
def test_no_signed_body_raises_anything_but_a_refusal(hook: Hook) -> None:
    """Payloads with something else in a field, and bodies that are spoilt before they are signed."""
    chance = Random(f"fuzz {hook.id}")
    for _ in range(150):
        item = json.loads(json.dumps(dict(chance.choice(hook.samples)[0])))
        place = item
        while chance.random() < 0.6:
            inner = [value for value in place.values() if isinstance(value, dict)]
            if not inner:
                break
            place = chance.choice(inner)
        if place:
            place[chance.choice(sorted(place))] = chance.choice(STRANGE_JSON)
        value = hook.single(item) if hook.wrapped is None else hook.wrapped([item])
        body = json.dumps(value).encode()
        if chance.random() < 0.4:
            body = spoilt_bytes(chance, body)
        try:
            events = hook.parse(hook.post(body, NOW, 1))
        except WebhookRejected:
            continue
        assert all(event.id for event in events)


def test_an_inbound_form_of_sendgrid_is_read() -> None:
    """Unsigned, with the secret of Inbound Parse; a body in another charset, and a file."""
    fields = [
        ("headers", "", "From: Ada <ada@example.com>\nSubject: Hello\nMessage-ID: <9@example.org>\n"),
        ("envelope", "", '{"to": ["shop@example.com"], "from": "ada@example.com"}'),
        ("charsets", "", '{"text": "utf-8"}'),
        ("text", "", "Hi\nthere"),
        ("spam_score", "", "0.5"),
        ("attachment-info", "", '{"attachment1": {"content-id": "c1"}}'),
        ("attachment1", '; filename="../a.png"\r\nContent-Type: image/png', "png"),
    ]
    header = {"Authorization": MAKERS["basic"](b"", NOW, 1).headers["authorization"]}
    settings = structure_settings(
        sendgrid.HOOK.connector.info.settings_class, {"api_key": "k", "inbound_secret": credentials(1)}
    )
    parse = sendgrid.HOOK.connector.connector_parse_webhook  # type: ignore[attr-defined]
    (event,) = parse(settings, multipart(*fields, headers=header))
    message = event.inbound
    assert (event.recipient, message.subject, message.text) == ("shop@example.com", "Hello", "Hi\nthere")
    assert (message.files[0].filename, message.files[0].content, message.files[0].content_id) == (
        "_a.png",
        b"png",
        "c1",
    )
    assert (message.spam_score, message.envelope_from) == (0.5, "ada@example.com")
    (whole,) = parse(settings, multipart(("email", "", "Subject: Whole\r\n\r\nHi"), headers=header))
    assert whole.inbound.subject == "Whole"
    for more in ({}, {"Authorization": "Basic eDp5"}):
        with pytest.raises(WebhookRejected):
            parse(settings, multipart(*fields, headers=more))


def test_a_route_of_mailgun_is_read() -> None:
    """As a form of either kind; header fields of the mail that are called as Mailgun's signature change nothing."""
    signed = mailgun.signature(NOW, 1, "t" * 50)
    fields = [
        ("token", "", "of the mail's own"),
        ("recipient", "", "shop@example.com"),
        ("sender", "", "ada@example.com"),
        ("message-headers", "", '[["Subject", "Hello"], ["From", "Ada <ada@example.com>"]]'),
        ("body-plain", "", "Hi"),
        ("stripped-text", "", "Hi"),
        ("attachment-1", '; filename="a.png"\r\nContent-Type: image/png', "png"),
        *[(name, "", value) for name, value in signed.items()],
    ]
    (event,) = mailgun.HOOK.parse(multipart(*fields))
    assert (event.id, event.recipient, event.inbound and event.inbound.subject) == (
        "t" * 50,
        "shop@example.com",
        "Hello",
    )
    assert event.inbound is not None
    assert event.inbound.files[0].filename == "a.png"
    plain = urlencode([(name, value) for name, _, value in fields])
    given = request({"Content-Type": "application/x-www-form-urlencoded"}, plain.encode())
    (again,) = mailgun.HOOK.parse(given)
    assert again.inbound is not None
    assert attrs.evolve(again.inbound, files=()) == attrs.evolve(event.inbound, files=())
    with pytest.raises(WebhookRejected):
        mailgun.HOOK.parse(multipart(*fields), key=2)


def test_brevos_inbound_messages_are_read() -> None:
    """Several in a request, each by itself."""
    body = json.dumps({"items": [brevo.INBOUND, 7]}).encode()
    message, bad = brevo.HOOK.parse(brevo.HOOK.post(body, NOW, 1))
    assert (message.id, message.recipient, bad.kind.value) == ("8d79aaed", "shop@example.com", "unknown")
    assert message.inbound is not None
    assert (message.inbound.text, message.inbound.spam_score) == ("Hi\nthere", 1.5)
    assert message.inbound.envelope_from == "ada@example.com"


def test_mailtrap_may_write_an_event_on_each_line() -> None:
    """Of which one that is no JSON loses no other."""
    items = [json.dumps(item) for item, _ in mailtrap.HOOK.samples[:2]]
    given = mailtrap.HOOK.post("\n".join([items[0], "{", items[1]]).encode(), NOW, 1)
    lines = attrs.evolve(given, headers={**given.headers, "content-type": "application/jsonlines"})
    assert [event.kind.value for event in mailtrap.HOOK.parse(lines)] == ["delivered", "unknown", "bounced"]


def test_sns_is_confirmed_by_a_person_and_its_certificate_is_asked_for() -> None:
    """The event says which URL confirms; nothing is fetched but the certificate, and that by the receiver."""
    more = {"Type": "SubscriptionConfirmation", "Token": "abc123", "SubscribeURL": "https://evil.example/"}
    data = sns_data("You have chosen to subscribe", NOW, 1, TopicArn=f"{TOPIC}1", **more)
    (event,) = ses.HOOK.parse(sns_request(data))
    assert event.kind.value == "unknown"
    assert (event.url or "").startswith("https://sns.")
    assert "abc123" in (event.url or "")
    (greeting,) = ses.HOOK.parse(sns_request(sns_data("Successfully validated", NOW, 1, TopicArn=f"{TOPIC}1")))
    assert (greeting.kind.value, greeting.text, greeting.error) == ("unknown", "Successfully validated", None)
    with pytest.raises(WebhookNeeds):
        ses.HOOK.parse(sns_request(data, None))


def test_event_grid_is_answered_with_the_code_that_it_sent() -> None:
    """By who knows the secret; nothing is fetched. Beside other events, or without a code, a person confirms it."""
    asked = {**azure.HOOK.samples[-3][0], "data": {"validationCode": "512d38b6-c7b8", "validationUrl": "https://x"}}
    with pytest.raises(WebhookChallenge) as caught:
        azure.HOOK.of(asked)
    assert json.loads(caught.value.answer) == {"validationResponse": "512d38b6-c7b8"}
    assert len(azure.HOOK.of(asked, azure.HOOK.samples[0][0])) == 2
    with pytest.raises(WebhookRejected) as refused:
        azure.HOOK.parse(azure.HOOK.post(azure.HOOK.body(asked), NOW, 1), key=2)
    assert refused.value.status == 401


def test_event_grid_may_post_cloud_events_once_it_has_asked() -> None:
    """By OPTIONS, with the secret, and its name as that of a host; anybody else is told nothing."""
    good = attrs.evolve(azure.HOOK.post(b"", NOW, 1), method="OPTIONS")
    named = attrs.evolve(good, headers={**good.headers, "WebHook-Request-Origin": "eventgrid.azure.net"})
    with pytest.raises(WebhookChallenge) as caught:
        azure.HOOK.parse(named)
    assert caught.value.headers == {"webhook-allowed-origin": "eventgrid.azure.net", "webhook-allowed-rate": "*"}
    assert pickle.loads(pickle.dumps(caught.value)).headers == caught.value.headers
    bad = attrs.evolve(good, headers={**good.headers, "webhook-request-origin": "a\r\nset-cookie: b"})
    for request_, key, status in ((named, 2, 401), (good, 1, 400), (bad, 1, 400)):
        with pytest.raises(WebhookRejected) as refused:
            azure.HOOK.parse(request_, key=key)
        assert refused.value.status == status


def test_a_shared_secret_may_stand_in_url_header_or_path() -> None:
    """Each in its own way: a password is no bearer token, and a token no password."""
    token = text_key(7) * 2
    keys = [shared_key(token), shared_key(credentials(1))]
    basic = MAKERS["basic"](b"", NOW, 1)
    bearer = request({"Authorization": f"Bearer {token}"}, b"")
    for good in (basic, bearer, request({}, b"", path=f"/postmark/{token}")):
        verify_shared(good, keys)
    pretending = base64.b64encode(token.encode()).decode()
    bad = [request({}, b""), request({"Authorization": f"Bearer {credentials(1)}"}, b"")]
    bad += [request({"Authorization": f"Basic {pretending}"}, b""), request({}, b"", path=f"/x/{credentials(1)}")]
    for each in bad:
        with pytest.raises(WebhookRejected) as caught:
            verify_shared(each, keys)
        assert caught.value.status == 401
