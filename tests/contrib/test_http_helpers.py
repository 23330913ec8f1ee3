"""Retry-After, the table of statuses, strict JSON and Standard Webhooks signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac
import pickle
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genie_connect.errors import WebhookRejected
from genie_connect.http import (
    NoAnswer,
    NotSent,
    Response,
    outcomes_of,
    retry_after_s,
    strict_json,
    verdict_of,
    verdict_of_error,
)
from genie_connect.http.standard_webhooks import sign, signing_key, verify
from genie_connect.model.address import Address
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.outcome import Retry, Scope, State

NOW = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)
ADA = Address.parse("ada@example.com")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        (" 0 ", 0.0),
        ("1.5", 1.5),
        ("999999999", 86_400.0),
        ("Mon, 23 Nov 2026 10:01:00 GMT", 60.0),
        ("Monday, 23-Nov-26 10:01:00 GMT", 60.0),
        ("Mon Nov 23 10:01:00 2026", 60.0),
        ("Mon, 23 Nov 2026 09:00:00 GMT", 0.0),
        ("Mon, 23 Nov 2126 09:00:00 GMT", 86_400.0),
        ("-1", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("1e9", None),
        ("Mon, 99 Nov 2026 10:01:00 GMT", None),
        ("9" * 400, None),
    ],
)
def test_retry_after_is_read_from_seconds_and_from_each_form_of_http_date(value: str, seconds: float | None) -> None:
    """Between 0 and a day; what is no Retry-After is none."""
    assert retry_after_s({"retry-after": value}, NOW) == seconds


@given(st.text(max_size=80))
def test_retry_after_never_raises(value: str) -> None:
    """Whatever a server writes there."""
    seconds = retry_after_s({"retry-after": value}, NOW)
    assert seconds is None or 0 <= seconds <= 86_400


@pytest.mark.parametrize(
    ("status", "state", "scope", "retry", "reason"),
    [
        (301, State.DEFERRED, Scope.CONNECTION, Retry.OTHER, "protocol"),
        (303, State.UNKNOWN, Scope.CONNECTION, Retry.NEVER, "in_doubt"),
        (400, State.REJECTED, Scope.MESSAGE, Retry.OTHER, "permanent"),
        (401, State.DEFERRED, Scope.CONNECTION, Retry.OTHER, "auth"),
        (402, State.DEFERRED, Scope.CONNECTION, Retry.OTHER, "policy"),
        (403, State.DEFERRED, Scope.CONNECTION, Retry.OTHER, "auth"),
        (404, State.DEFERRED, Scope.CONNECTION, Retry.OTHER, "protocol"),
        (408, State.DEFERRED, Scope.CONNECTION, Retry.ANY, "temporary"),
        (409, State.UNKNOWN, Scope.CONNECTION, Retry.NEVER, "in_doubt"),
        (413, State.REJECTED, Scope.MESSAGE, Retry.OTHER, "too_large"),
        (422, State.REJECTED, Scope.MESSAGE, Retry.OTHER, "permanent"),
        (429, State.DEFERRED, Scope.CONNECTION, Retry.ANY, "throttled"),
        (500, State.UNKNOWN, Scope.CONNECTION, Retry.NEVER, "in_doubt"),
        (502, State.UNKNOWN, Scope.CONNECTION, Retry.NEVER, "in_doubt"),
        (503, State.UNKNOWN, Scope.CONNECTION, Retry.NEVER, "in_doubt"),
        (504, State.UNKNOWN, Scope.CONNECTION, Retry.NEVER, "in_doubt"),
        (599, State.UNKNOWN, Scope.CONNECTION, Retry.NEVER, "in_doubt"),
    ],
)
def test_each_status_has_its_verdict(status: int, state: State, scope: Scope, retry: Retry, reason: str) -> None:
    """What does not prove that nothing was taken is unknown, and is not tried elsewhere."""
    verdict = verdict_of(Response(status=status))
    assert verdict is not None
    assert (verdict.state, verdict.scope, verdict.retry, verdict.reason) == (state, scope, retry, reason)


def test_a_documented_503_with_retry_after_was_not_accepted() -> None:
    """Only where the provider documents it, and only with the header field."""
    response = Response(status=503, headers=FrozenMap({"retry-after": "7"}))
    assert verdict_of(response).state is State.UNKNOWN  # type: ignore[union-attr]  # a 503 has a verdict
    verdict = verdict_of(response, not_accepted=(503,))
    assert verdict is not None
    (outcome,) = outcomes_of([ADA], response, verdict, now=NOW, text="come back")
    assert (outcome.state, outcome.retry, outcome.retry_after_s) == (State.DEFERRED, Retry.ANY, 7.0)
    assert (outcome.code, outcome.stage, outcome.text) == (503, "final", "come back")


def test_a_provider_overrides_single_rows() -> None:
    """A provider that documents its 409 as "not accepted" says so in its own table."""
    row = verdict_of(Response(status=429))
    assert row is not None
    assert verdict_of(Response(status=409), overrides={409: row}) is row
    assert verdict_of(Response(status=204)) is None


@pytest.mark.parametrize(
    ("error", "state", "stage", "retry", "reason"),
    [
        (NotSent("dns", "m"), State.DEFERRED, "connect", Retry.ANY, "connect"),
        (NotSent("connect", "m"), State.DEFERRED, "connect", Retry.ANY, "connect"),
        (NotSent("time_out", "m"), State.DEFERRED, "connect", Retry.ANY, "connect"),
        (NotSent("pool", "m"), State.DEFERRED, "connect", Retry.ANY, "connect"),
        (NotSent("tls", "m"), State.DEFERRED, "connect", Retry.ANY, "tls"),
        (NotSent("certificate", "m"), State.DEFERRED, "connect", Retry.OTHER, "tls"),
        (NotSent("refused_locally", "m"), State.DEFERRED, "connect", Retry.OTHER, "protocol"),
        (NoAnswer("time_out", "m"), State.UNKNOWN, "request", Retry.NEVER, "in_doubt"),
        (NoAnswer("oversize", "m", status=200), State.UNKNOWN, "request", Retry.NEVER, "in_doubt"),
    ],
)
def test_each_transport_error_has_its_outcome(
    error: NotSent | NoAnswer, state: State, stage: str, retry: Retry, reason: str
) -> None:
    """Not sent is deferred; written without an answer is unknown; a certificate stays wrong however often one asks."""
    (outcome,) = outcomes_of([ADA], error, verdict_of_error(error), now=NOW)
    assert (outcome.state, outcome.stage, outcome.retry, outcome.reason) == (state, stage, retry, reason)
    assert outcome.hint
    assert pickle.loads(pickle.dumps(error)).reason == error.reason


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b"[" * 65 + b"]" * 65,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b"1" * 4_300_000,
        b"1" * 5000,
        b'{"a": 1, "a": 2}',
        b"NaN",
        b"[-Infinity]",
        b"1e999",
        b'"\\ud800"',
        b'{"\\udfff": 1}',
        b'"\xff"',
        b"",
        b"{",
        b"\xef\xbb\xbf{}",
    ],
)
def test_json_that_readers_would_differ_on_is_refused(raw: bytes) -> None:
    """Always with ValueError, never with RecursionError or another."""
    with pytest.raises(ValueError, match=r"\w"):
        strict_json(raw)


def test_json_within_the_limits_is_read() -> None:
    """Depth 64 and a whole surrogate pair are fine."""
    assert strict_json(b'{"a": ["\\ud83d\\ude00", 1.5, null]}') == {"a": ["\U0001f600", 1.5, None]}
    strict_json(b"[" * 64 + b"]" * 64)


@given(st.binary(max_size=60))
def test_strict_json_raises_nothing_but_value_error(raw: bytes) -> None:
    """Any bytes are read or refused."""
    try:
        strict_json(raw)
    except ValueError:
        return


KEY = b"a key of enough bytes, for a test"
BODY = b'{"events": []}'
SIGNED = sign([KEY], webhook_id="msg_1", timestamp_s=int(NOW.timestamp()), body=BODY)


def test_a_published_vector_verifies() -> None:
    """The example of Svix's documentation of its webhook simulator."""
    key = signing_key("whsec_plJ3nmyCDGBKInavdOK15jsl")
    body = b'{"event_type":"ping","data":{"success":true}}'
    headers = sign([key], webhook_id="msg_loFOjxBNrRLzqYUf", timestamp_s=1731705121, body=body)
    assert headers["webhook-signature"] == "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="
    received = datetime.fromtimestamp(1731705121, UTC)
    assert verify(headers, body, keys=[key], received_at=received) == "msg_loFOjxBNrRLzqYUf"


def test_a_signature_is_an_hmac_over_id_time_and_body() -> None:
    """Computed here by hand."""
    content = f"msg_1.{int(NOW.timestamp())}.".encode() + BODY
    expected = base64.b64encode(hmac.new(KEY, content, hashlib.sha256).digest()).decode()
    assert SIGNED["webhook-signature"] == f"v1,{expected}"
    assert verify(SIGNED, BODY, keys=[KEY], received_at=NOW) == "msg_1"


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_a_clock_may_differ_by_five_minutes(seconds: int) -> None:
    """Both ways, the limit included."""
    verify(SIGNED, BODY, keys=[KEY], received_at=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize("seconds", [-301, 301, 10**9])
def test_an_old_or_future_webhook_is_refused(seconds: int) -> None:
    """A recorded webhook is worth nothing later."""
    with pytest.raises(WebhookRejected):
        verify(SIGNED, BODY, keys=[KEY], received_at=NOW + timedelta(seconds=seconds))


def test_every_single_bit_of_the_body_counts() -> None:
    """One bit wrong at each byte is refused."""
    for index in range(len(BODY)):
        changed = bytearray(BODY)
        changed[index] ^= 1
        with pytest.raises(WebhookRejected):
            verify(SIGNED, bytes(changed), keys=[KEY], received_at=NOW)


def test_every_character_of_the_signature_counts() -> None:
    """One bit wrong at each character is refused."""
    signature = SIGNED["webhook-signature"]
    for index in range(len(signature)):
        changed = signature[:index] + chr(ord(signature[index]) ^ 1) + signature[index + 1 :]
        with pytest.raises(WebhookRejected):
            verify(SIGNED | {"webhook-signature": changed}, BODY, keys=[KEY], received_at=NOW)


def test_secrets_rotate_on_both_sides() -> None:
    """Several signatures, several keys: one pair that fits is enough, and no foreign one is."""
    old, new, foreign = b"old key", b"new key", b"foreign"
    both = sign([old, new], webhook_id="m", timestamp_s=int(NOW.timestamp()), body=BODY)
    for keys in ([old], [new], [foreign, new], [new, old]):
        assert verify(both, BODY, keys=keys, received_at=NOW) == "m"
    with pytest.raises(WebhookRejected):
        verify(both, BODY, keys=[foreign], received_at=NOW)


def test_only_so_many_signatures_are_looked_at() -> None:
    """A header of 10,000 signatures costs no more than one of 16, and hides none behind them."""
    many = " ".join(["v1,AAAA"] * 10_000)
    with pytest.raises(WebhookRejected):
        verify(SIGNED | {"webhook-signature": many}, BODY, keys=[KEY], received_at=NOW)
    hidden = " ".join(["v1,AAAA"] * 16 + [SIGNED["webhook-signature"]])
    with pytest.raises(WebhookRejected):
        verify(SIGNED | {"webhook-signature": hidden}, BODY, keys=[KEY], received_at=NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": ""},
        {"webhook-id": "é"},
        {"webhook-id": "a" * 1000},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "1e400"},
        {"webhook-timestamp": "9" * 5000},
        {"webhook-timestamp": "-5"},
        {"webhook-timestamp": "١٢٣"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1"},
        {"webhook-signature": ","},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,é"},
        {"webhook-signature": "v1,\ud800"},
        {"webhook-signature": "v1,not base64!"},
        {"webhook-signature": SIGNED["webhook-signature"].replace("v1", "v2")},
        {"webhook-signature": SIGNED["webhook-signature"].replace("v1", "V1")},
        {"webhook-signature": SIGNED["webhook-signature"] + "="},
    ],
)
def test_a_malformed_signature_is_refused_and_nothing_worse(change: dict[str, str]) -> None:
    """Never an exception that a receiver would answer with a 500."""
    with pytest.raises(WebhookRejected):
        verify(SIGNED | change, BODY, keys=[KEY], received_at=NOW)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_field_is_refused(name: str) -> None:
    """Each of the three is needed."""
    with pytest.raises(WebhookRejected):
        verify({key: value for key, value in SIGNED.items() if key != name}, BODY, keys=[KEY], received_at=NOW)


@given(st.text(max_size=50), st.text(max_size=20), st.text(max_size=100), st.binary(max_size=50))
def test_no_header_makes_verification_raise_anything_else(one: str, two: str, three: str, body: bytes) -> None:
    """Whatever stands in them."""
    headers = {"webhook-id": one, "webhook-timestamp": two, "webhook-signature": three}
    with pytest.raises(WebhookRejected):
        verify(headers, body, keys=[KEY], received_at=NOW)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_abcdeé", "whsec_abcde", "whsec_abcde AAA"])
def test_a_secret_that_is_none_is_refused_without_quoting_it(secret: str) -> None:
    """The error says what a secret looks like, and nothing of this one."""
    with pytest.raises(ValueError, match=r"whsec_ and base64|nothing after") as caught:
        signing_key(secret)
    assert "abcde" not in str(caught.value)
