"""Signatures as the verifiers see them that vendors publish for Node.js: MailerSend's, and Amazon's for SNS."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import attrs
import pytest

from genie_connect.contract import WebhookRequest
from genie_connect.webhooks.signatures import raw_key, verify_hmac_hex
from tests.integration.servers.verifiers import Verifiers
from tests.webhooks.schemes import (
    BODY,
    Scheme,
    certificate,
    sns_data,
    sns_request,
    sns_scheme,
    text_key,
)
from tests.webhooks.schemes import request as webhook
from tests.webhooks.test_signatures import MALFORMED, accepts, made, one_bit_wrong, with_header

pytestmark = pytest.mark.skipif(Verifiers.why_not() is not None, reason=Verifiers.why_not() or "")

FIELD = "signature"


def _signed(body: bytes, at: datetime, number: int) -> WebhookRequest:
    return webhook({FIELD: hmac.new(text_key(number).encode(), body, "sha256").hexdigest()}, body)


MAILERSEND = Scheme(
    name="mailersend",
    make=_signed,
    verify=lambda given, keys: verify_hmac_hex(given, [raw_key(text_key(key)) for key in keys], header=FIELD),
    field=FIELD,
    timed=False,
)
SNS = tuple(sns_scheme(version) for version in ("1", "2"))
by_version = pytest.mark.parametrize("scheme", SNS, ids=lambda scheme: scheme.name)


@pytest.fixture(scope="module")
def theirs() -> Iterator[Verifiers]:
    """The verifiers, in a process that all tests here ask."""
    with Verifiers() as verifiers:
        yield verifiers


def _mailersend(theirs: Verifiers, request: WebhookRequest, number: int) -> bool:
    """What both say."""
    ours = accepts(MAILERSEND, request, number)
    assert theirs.mailersend(request.body, request.headers.get(FIELD, ""), text_key(number)) is ours
    return ours


def test_mailersends_sdk_believes_whom_we_believe(theirs: Verifiers) -> None:
    """The key, and no other one."""
    request = made(MAILERSEND, 1)
    assert _mailersend(theirs, request, 1)
    assert not _mailersend(theirs, request, 2)
    assert not _mailersend(theirs, attrs.evolve(request, headers={}), 1)


def test_mailersends_sdk_refuses_each_wrong_bit_that_we_refuse(theirs: Verifiers) -> None:
    """Of the body and of the signature."""
    request = made(MAILERSEND, 1)
    for index in range(len(BODY)):
        changed = bytearray(BODY)
        changed[index] ^= 1
        assert not _mailersend(theirs, attrs.evolve(request, body=bytes(changed)), 1), index
    for wrong in one_bit_wrong(request.headers[FIELD]):
        assert not _mailersend(theirs, with_header(request, FIELD, wrong), 1), wrong


@pytest.mark.parametrize("spoil", MALFORMED, ids=range(len(MALFORMED)))
def test_mailersends_sdk_refuses_what_is_no_signature(theirs: Verifiers, spoil: Callable[[str], str]) -> None:
    """In the ways in which all schemes are tried."""
    request = made(MAILERSEND, 1)
    assert not _mailersend(theirs, with_header(request, FIELD, spoil(request.headers[FIELD])), 1)


def _differences(request: WebhookRequest, changed: WebhookRequest) -> set[str]:
    """The names of the fields that are not the same."""
    before, after = json.loads(request.body), json.loads(changed.body)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


@by_version
def test_amazons_validator_believes_whom_we_believe(theirs: Verifiers, scheme: Scheme) -> None:
    """A notification, one with a subject, a confirmation; with the certificate of the key, and no other one."""
    now = datetime.now(UTC).replace(microsecond=0)
    version = scheme.name.removeprefix("sns-")
    confirming = {"Type": "SubscriptionConfirmation", "Token": "0123abcd", "SubscribeURL": "https://sns.example/?a=b"}
    for more in ({}, {"Subject": "Amazon SES"}, confirming):
        request = attrs.evolve(sns_request(sns_data("{}", now, 1, version=version, **more)), received_at=now)
        assert accepts(scheme, request, 1)
        assert theirs.sns(request.body, certificate(1))
        assert not accepts(scheme, request, 2)
        assert not theirs.sns(request.body, certificate(2))


@by_version
def test_amazons_validator_refuses_each_wrong_bit_that_we_refuse(theirs: Verifiers, scheme: Scheme) -> None:
    """Of all that SNS posts. It reads base64 with less care, and lets the certificate lie anywhere on its host."""
    request = made(scheme, 1)
    believed = []
    for index in range(len(request.body)):
        body = bytearray(request.body)
        body[index] ^= 1
        changed = attrs.evolve(request, body=bytes(body))
        assert not accepts(scheme, changed, 1), index
        if theirs.sns(changed.body, certificate(1)):
            believed.append(_differences(request, changed))
    assert {"SigningCertURL"} in believed
    # Of RSA, another spelling of the same bytes is all that may be believed.
    assert all(differing in ({"SigningCertURL"}, {"Signature"}) for differing in believed)
