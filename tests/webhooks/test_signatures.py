"""Signature schemes: who is believed, and that nothing but a refusal comes of anything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from genie_connect.contract import WebhookRequest
from genie_connect.errors import WebhookRejected
from genie_connect.model.secret import Secret
from genie_connect.webhooks.signatures import (
    basic_key,
    ecdsa_key,
    header_key,
    path_key,
    raw_key,
    rsa_key,
    signing_key,
    signing_keys,
    verify_mailgun,
    verify_sendgrid,
    verify_standard,
)
from tests.webhooks.schemes import ALL, BODY, NOW, SCHEMES, Scheme, ecdsa_public, rsa_public, text_key

LONG = timedelta(hours=26)
by_name = pytest.mark.parametrize("scheme", ALL, ids=lambda scheme: scheme.name)
timed = pytest.mark.parametrize("scheme", [each for each in ALL if each.timed], ids=lambda scheme: scheme.name)
signed_in_header = pytest.mark.parametrize(
    "scheme", [each for each in ALL if each.field], ids=lambda scheme: scheme.name
)


def _other_spellings(signature: str) -> list[str]:
    """The last character of base64 may hold bits that count for nothing."""
    content = signature.rstrip("=")
    return [content[:-1] + chr(ord(content[-1]) ^ 1) + signature[len(content) :]]


OFFICIALLY_RIGHT: dict[str, Callable[[str], list[str]]] = {
    "standard": _other_spellings,
    "ahasend": _other_spellings,
    "sendgrid": _other_spellings,
    # It does not look at the version of a signature.
    "resend": lambda signature: [chr(ord("v") ^ 1) + signature[1:], "v0" + signature[2:]],
}
"""What official verifiers take besides the signature, and we do not."""


def accepts(scheme: Scheme, request: WebhookRequest, *keys: int) -> bool:
    """Whether it is believed; any exception but a refusal fails the test."""
    try:
        scheme.verify(request, list(keys))
    except WebhookRejected as refusal:
        if refusal.status not in scheme.refuses:
            raise
        return False
    return True


def official(scheme: Scheme, request: WebhookRequest, key: int) -> bool:
    """Whether the provider's own verifier believes it. They raise all kinds of exceptions to say no."""
    assert scheme.official is not None
    try:
        return scheme.official(request, key)
    except Exception:
        return False


def agreed(scheme: Scheme, request: WebhookRequest, *keys: int) -> bool:
    """What we say, and so does the provider's own verifier, where there is one."""
    ours = accepts(scheme, request, *keys)
    if scheme.official is not None:
        assert official(scheme, request, keys[0]) == ours
    return ours


def with_header(request: WebhookRequest, name: str, value: str) -> WebhookRequest:
    """The same request with another value in one header field."""
    return attrs.evolve(request, headers={**request.headers, name: value})


def one_bit_wrong(text: str) -> Iterator[str]:
    """Each character changed by one bit."""
    for index, character in enumerate(text):
        yield text[:index] + chr(ord(character) ^ 1) + text[index + 1 :]


def made(scheme: Scheme, key: int) -> WebhookRequest:
    """A request that was signed and came this moment: the providers' own verifiers look at the real clock."""
    now = datetime.now(UTC).replace(microsecond=0)
    return attrs.evolve(scheme.make(BODY, now, key), received_at=now)


@by_name
def test_a_request_that_is_signed_is_believed(scheme: Scheme) -> None:
    """By us and by the provider's own verifier."""
    assert agreed(scheme, made(scheme, 1), 1)


@by_name
def test_a_request_signed_with_another_key_is_not(scheme: Scheme) -> None:
    """Somebody else's signature is none."""
    assert not agreed(scheme, made(scheme, 2), 1)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_two_keys_count_while_they_rotate(scheme: Scheme) -> None:
    """The old one and the new one, and no third."""
    assert accepts(scheme, made(scheme, 1), 1, 2)
    assert accepts(scheme, made(scheme, 2), 1, 2)
    assert not accepts(scheme, made(scheme, 3), 1, 2)
    assert not accepts(scheme, made(scheme, 3))


@pytest.mark.parametrize("scheme", [each for each in ALL if each.covers_body], ids=lambda scheme: scheme.name)
def test_one_bit_wrong_at_any_byte_of_the_body_is_refused(scheme: Scheme) -> None:
    """Wherever the signature covers the body, each byte of it counts."""
    request = made(scheme, 1)
    for index in range(len(request.body)):
        changed = bytearray(request.body)
        changed[index] ^= 1
        assert not agreed(scheme, attrs.evolve(request, body=bytes(changed)), 1), index


@signed_in_header
def test_one_bit_wrong_at_any_character_of_the_signature_is_refused(scheme: Scheme) -> None:
    """A signature has one spelling."""
    request = made(scheme, 1)
    for wrong in one_bit_wrong(request.headers[scheme.field]):
        changed = with_header(request, scheme.field, wrong)
        assert not accepts(scheme, changed, 1), wrong
        if scheme.official is not None and official(scheme, changed, 1):
            assert wrong in OFFICIALLY_RIGHT.get(scheme.name, lambda _: ())(request.headers[scheme.field])


@timed
def test_an_old_or_future_request_is_refused(scheme: Scheme) -> None:
    """Past what a provider's retries may take, and more than five minutes ahead."""
    for wrong in (scheme.make(BODY, NOW - LONG, 1), scheme.make(BODY, NOW + LONG, 1)):
        assert not accepts(scheme, wrong, 1)
        # SendGrid's own verifier takes a request of any age.
        assert scheme.official is None or official(scheme, wrong, 1) == (scheme.name == "sendgrid")
    assert not accepts(scheme, scheme.make(BODY, NOW + timedelta(seconds=301), 1), 1)
    assert accepts(scheme, scheme.make(BODY, NOW - timedelta(seconds=299), 1), 1)
    assert accepts(scheme, scheme.make(BODY, NOW + timedelta(seconds=299), 1), 1)


MALFORMED: tuple[Callable[[str], str], ...] = (
    lambda value: "",
    lambda value: " ",
    lambda value: ",",
    lambda value: "v1",
    lambda value: "v1,",
    lambda value: "t=,v1=",
    lambda value: "t=١٢٣,v1=00",
    lambda value: "é" * 20,
    lambda value: "\ud800",
    lambda value: "\x00",
    lambda value: value + "=",
    lambda value: value + "A",
    lambda value: value[:-1],
    lambda value: value[1:],
    lambda value: value.swapcase(),
    lambda value: value + "," + value,
    lambda value: "Basic",
    lambda value: "Basic " + "%" * 30,
    lambda value: "Bearer",
    lambda value: "9" * 5000,
    lambda value: "v1,AAAA " * 10_000,
)


@signed_in_header
@pytest.mark.parametrize("spoil", MALFORMED, ids=range(len(MALFORMED)))
def test_a_malformed_signature_is_refused_and_nothing_worse(scheme: Scheme, spoil: Callable[[str], str]) -> None:
    """In more than ten ways, each of which one of the official verifiers answers with an exception of its own."""
    request = made(scheme, 1)
    spoilt = with_header(request, scheme.field, spoil(request.headers[scheme.field]))
    assert not accepts(scheme, spoilt, 1)
    if scheme.official is not None and scheme.name not in OFFICIALLY_RIGHT:
        # The others decode base64 with characters in it that are none, or skip the version.
        assert not official(scheme, spoilt, 1)


@signed_in_header
def test_an_unsigned_request_is_refused(scheme: Scheme) -> None:
    """Without the header field it is nobody's."""
    assert not agreed(scheme, attrs.evolve(made(scheme, 1), headers={}), 1)


@timed
@pytest.mark.parametrize("time", ["", "nan", "1e400", "9" * 5000, "-5", "١٢٣", "1.5", "0x10", "\ud800"])
def test_a_time_that_is_none_is_refused(scheme: Scheme, time: str) -> None:
    """Whatever stands for the seconds since 1970."""
    request = scheme.make(BODY, NOW, 1)
    seconds = str(int(NOW.timestamp()))
    spoilt = {name: value.replace(seconds, time) for name, value in request.headers.items()}
    if spoilt != dict(request.headers):
        assert not accepts(scheme, attrs.evolve(request, headers=spoilt), 1)


def test_the_published_vector_of_standard_webhooks_verifies() -> None:
    """The example of Svix's documentation of its webhook simulator."""
    headers = {
        "webhook-id": "msg_loFOjxBNrRLzqYUf",
        "webhook-timestamp": "1731705121",
        "webhook-signature": "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
    }
    body = b'{"event_type":"ping","data":{"success":true}}'
    received_at = NOW.fromtimestamp(1731705121, NOW.tzinfo)
    request = WebhookRequest(method="POST", path="/", headers=headers, body=body, received_at=received_at)
    assert verify_standard(request, [signing_key("whsec_plJ3nmyCDGBKInavdOK15jsl")]) == "msg_loFOjxBNrRLzqYUf"


def test_the_published_vector_of_sendgrid_verifies() -> None:
    """The example of its helper libraries' tests; the line break at the end is part of what is signed."""
    key = (
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpV"
        "KS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="
    )
    signature = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="
    body = (
        b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
        b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
        b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
        b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
    )
    headers = {
        "x-twilio-email-event-webhook-signature": signature,
        "x-twilio-email-event-webhook-timestamp": "1600112502",
    }
    received_at = NOW.fromtimestamp(1600112502, NOW.tzinfo)
    request = WebhookRequest(method="POST", path="/", headers=headers, body=body, received_at=received_at)
    assert verify_sendgrid(request, [ecdsa_key(key)]) == 1600112502
    with pytest.raises(WebhookRejected):
        verify_sendgrid(attrs.evolve(request, body=body.rstrip()), [ecdsa_key(key)])


def test_the_token_of_mailgun_is_the_id_of_its_event() -> None:
    """The body is not covered: whoever repeats a signature with another body has the same id, which is known."""
    signed = {"timestamp": str(int(NOW.timestamp())), "token": "t" * 50}
    keys = [raw_key("key")]
    with pytest.raises(WebhookRejected):
        verify_mailgun(SCHEMES[0].make(BODY, NOW, 1), {**signed, "signature": 7}, keys)
    with pytest.raises(WebhookRejected):
        verify_mailgun(SCHEMES[0].make(BODY, NOW, 1), {**signed, "timestamp": 1.5, "signature": "0"}, keys)


@pytest.mark.parametrize(
    ("read", "bad"),
    [
        (signing_key, "whsec_"),
        (signing_key, "whsec_abcdeé"),
        (signing_key, "whsec_abcde AAA"),
        (raw_key, ""),
        (ecdsa_key, "abcde"),
        (ecdsa_key, rsa_public(1)),
        (rsa_key, ecdsa_public(1)),
        (rsa_key, "abcde\ud800"),
        (basic_key, "abcde:short"),
        (basic_key, ":abcdeabcdeabcdeabcde"),
        (header_key, "abcde"),
        (path_key, "abcde/abcdeabcdeabcdeabcdeabcde"),
    ],
)
def test_a_secret_that_is_none_is_refused_without_quoting_it(read: Callable[[str], object], bad: str) -> None:
    """The error says what a secret looks like, and nothing of this one."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        read(bad)
    assert "abcde" not in str(caught.value)


def test_a_key_of_sendgrid_may_be_pem() -> None:
    """Between the lines that say what it is, and broken into lines."""
    text = ecdsa_public(1)
    pem = f"-----BEGIN PUBLIC KEY-----\n{text[:64]}\r\n{text[64:]}\n-----END PUBLIC KEY-----\n"
    assert ecdsa_key(pem).public_numbers() == ecdsa_key(text).public_numbers()


def test_without_a_usable_secret_nobody_is_believed() -> None:
    """None configured: 401. One that cannot be read is our fault, and the provider is to come back."""
    with pytest.raises(WebhookRejected) as missing:
        signing_keys([None, None], raw_key)
    with pytest.raises(WebhookRejected) as unreadable:
        signing_keys([Secret("env:NOT_SET_ANYWHERE")], raw_key)
    with pytest.raises(WebhookRejected) as broken:
        signing_keys([Secret("no key")], ecdsa_key)
    assert (missing.value.status, unreadable.value.status, broken.value.status) == (401, 503, 503)
    assert signing_keys([Secret(text_key(1)), None], raw_key) == [text_key(1).encode()]
