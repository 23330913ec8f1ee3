"""Every signature scheme, with what makes its signatures and, where there is one, its official verifier."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import attrs
import lettermint
import resend
import standardwebhooks
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from mailgun.security import SecurityGuard
from mailtrap.webhooks import verify_signature as mailtrap_verifies
from sendgrid import EventWebhook

from genie_connect.contract import WebhookRequest
from genie_connect.webhooks.signatures import (
    SVIX_HEADERS,
    basic_key,
    ecdsa_key,
    header_key,
    path_key,
    raw_key,
    rsa_key,
    sign,
    signing_key,
    verify_basic,
    verify_header,
    verify_hmac_hex,
    verify_mailgun,
    verify_mandrill,
    verify_path,
    verify_postal,
    verify_sendgrid,
    verify_sns,
    verify_standard,
    verify_timestamped,
)

BODY = b'{"events":[{"type":"bounced","recipient":"ada@example.com"}]}\r\n'
TOPIC = "arn:aws:sns:eu-west-1:123456789012:mail-events"
CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"
HOOK_URL = "https://user:pass@hooks.example.com/mandrill?x=1"
NOW = datetime.now(UTC).replace(microsecond=0)
"""The official verifiers look at the clock themselves."""


@attrs.frozen(kw_only=True)
class Scheme:
    """A scheme: ``make`` signs a body with the key of a number, ``verify`` is ours, ``official`` theirs."""

    name: str
    make: Callable[[bytes, datetime, int], WebhookRequest]
    verify: Callable[[WebhookRequest, list[int]], object]
    official: Callable[[WebhookRequest, int], bool] | None = None
    field: str = ""
    timed: bool = True
    covers_body: bool = True
    refuses: tuple[int, ...] = (401,)


def request(headers: Mapping[str, str], body: bytes, path: str = "/hooks/x", **more: Any) -> WebhookRequest:
    """A request as a receiver makes it."""
    return WebhookRequest(method="POST", path=path, headers=headers, body=body, received_at=NOW, **more)


def text_key(number: int) -> str:
    """A secret of its own for each number."""
    return f"secret-number-{number}-of-enough-length"


def whsec(number: int) -> str:
    """The same as Standard Webhooks writes it."""
    return "whsec_" + base64.b64encode(text_key(number).encode()).decode()


def _standard(body: bytes, at: datetime, number: int) -> WebhookRequest:
    return request(
        sign([signing_key(whsec(number))], webhook_id="msg_1", timestamp_s=int(at.timestamp()), body=body), body
    )


def _raw_standard(body: bytes, at: datetime, number: int) -> WebhookRequest:
    headers = sign([raw_key(text_key(number))], webhook_id="msg_1", timestamp_s=int(at.timestamp()), body=body)
    return request(headers, body)


def _svix(body: bytes, at: datetime, number: int) -> WebhookRequest:
    made = _standard(body, at, number)
    return request({name.replace("webhook", "svix"): value for name, value in made.headers.items()}, body)


def _standard_official(key: str | bytes) -> Callable[[WebhookRequest], bool]:
    def accepts(given: WebhookRequest) -> bool:
        standardwebhooks.Webhook(key).verify(given.body, dict(given.headers), json_parse=False)
        return True

    return accepts


def _resend_official(given: WebhookRequest, number: int) -> bool:
    headers = {name: given.headers.get(f"svix-{name}", "") for name in ("id", "timestamp", "signature")}
    resend.Webhooks.verify(
        {"payload": given.body.decode(), "headers": headers, "webhook_secret": whsec(number)}  # type: ignore[typeddict-item]
    )
    return True


@cache
def ecdsa_private(number: int) -> ec.EllipticCurvePrivateKey:
    """The provider's key."""
    return ec.derive_private_key(1_000_003 + number, ec.SECP256R1())


def ecdsa_public(number: int) -> str:
    """As the provider shows it."""
    return _spki(ecdsa_private(number).public_key())


@cache
def rsa_private(number: int) -> rsa.RSAPrivateKey:
    """The provider's key."""
    return rsa.generate_private_key(65537, 2048)


def rsa_public(number: int) -> str:
    """As the provider shows it."""
    return _spki(rsa_private(number).public_key())


def _spki(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> str:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def _sendgrid(body: bytes, at: datetime, number: int) -> WebhookRequest:
    timestamp = str(int(at.timestamp()))
    signature = ecdsa_private(number).sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return request(
        {
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
        },
        body,
    )


def _sendgrid_official(given: WebhookRequest, number: int) -> bool:
    signature, timestamp = (
        given.headers.get(f"x-twilio-email-event-webhook-{name}", "") for name in ("signature", "timestamp")
    )
    return bool(EventWebhook(ecdsa_public(number)).verify_signature(given.body.decode(), signature, timestamp))


def _hex(number: int, content: bytes) -> str:
    return hmac.new(text_key(number).encode(), content, hashlib.sha256).hexdigest()


def _hmac_hex(body: bytes, at: datetime, number: int) -> WebhookRequest:
    return request({"Mailtrap-Signature": _hex(number, body)}, body)


def _lettermint(body: bytes, at: datetime, number: int) -> WebhookRequest:
    t = str(int(at.timestamp()))
    headers = {
        "X-Lettermint-Signature": f"t={t},v1={_hex(number, t.encode() + b'.' + body)}",
        "X-Lettermint-Delivery": t,
    }
    return request(headers, body)


def _lettermint_official(given: WebhookRequest, number: int) -> bool:
    lettermint.Webhook(text_key(number)).verify(given.body, dict(given.headers))
    return True


def _mailgun(body: bytes, at: datetime, number: int) -> WebhookRequest:
    timestamp, token = str(int(at.timestamp())), "a" * 50
    signature = _hex(number, (timestamp + token).encode())
    return request({}, json.dumps({"timestamp": timestamp, "token": token, "signature": signature}).encode())


def _mailgun_official(given: WebhookRequest, number: int) -> bool:
    signed = json.loads(given.body)
    return SecurityGuard.verify_webhook(text_key(number), signed["token"], signed["timestamp"], signed["signature"])


def _mandrill(body: bytes, at: datetime, number: int) -> WebhookRequest:
    content = HOOK_URL.encode() + b"a" + b"1" + b"mandrill_events" + body
    signature = base64.b64encode(hmac.new(text_key(number).encode(), content, hashlib.sha1).digest()).decode()
    form = "mandrill_events=" + "".join([f"%{byte:02X}" for byte in body]) + "&a=1"
    headers = {"X-Mandrill-Signature": signature, "Content-Type": "application/x-www-form-urlencoded"}
    return request(headers, form.encode())


def _postal(body: bytes, at: datetime, number: int) -> WebhookRequest:
    signature = rsa_private(number).sign(body, padding.PKCS1v15(), hashes.SHA1())
    return request({"X-Postal-Signature": base64.b64encode(signature).decode()}, body)


@cache
def certificate(number: int) -> bytes:
    """The certificate of SNS, self-signed."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
    key = rsa_private(number)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def sns_data(text: str, at: datetime, number: int, *, version: str = "2", **more: str) -> dict[str, str]:
    """A message of SNS, signed."""
    data = {
        "Type": "Notification",
        "MessageId": "11111111-2222-3333-4444-555555555555",
        "TopicArn": TOPIC,
        "Message": text,
        "Timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE_URL,
        **more,
    }
    names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    content = "".join([f"{name}\n{data[name]}\n" for name in names if name in data]).encode()
    algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()
    signature = rsa_private(number).sign(content, padding.PKCS1v15(), algorithm)
    return {**data, "Signature": base64.b64encode(signature).decode()}


def sns_request(data: Mapping[str, str], number: int | None = 1) -> WebhookRequest:
    """The request that SNS makes of it; without a number the certificate has not been fetched yet."""
    documents = {} if number is None else {CERTIFICATE_URL: certificate(number)}
    return request({"x-amz-sns-message-type": data["Type"]}, json.dumps(data).encode(), documents=documents)


def _basic(body: bytes, at: datetime, number: int) -> WebhookRequest:
    credentials = base64.b64encode(f"genie:{text_key(number)}".encode()).decode()
    return request({"Authorization": f"Basic {credentials}"}, body)


SCHEMES = (
    Scheme(
        name="standard",
        make=_standard,
        verify=lambda given, keys: verify_standard(given, [signing_key(whsec(key)) for key in keys]),
        official=lambda given, key: _standard_official(whsec(key))(given),
        field="webhook-signature",
    ),
    Scheme(
        name="ahasend",
        make=_raw_standard,
        verify=lambda given, keys: verify_standard(given, [raw_key(text_key(key)) for key in keys]),
        official=lambda given, key: _standard_official(text_key(key).encode())(given),
        field="webhook-signature",
    ),
    Scheme(
        name="resend",
        make=_svix,
        verify=lambda given, keys: verify_standard(
            given, [signing_key(whsec(key)) for key in keys], names=SVIX_HEADERS
        ),
        official=_resend_official,
        field="svix-signature",
    ),
    Scheme(
        name="sendgrid",
        make=_sendgrid,
        verify=lambda given, keys: verify_sendgrid(given, [ecdsa_key(ecdsa_public(key)) for key in keys]),
        official=_sendgrid_official,
        field="x-twilio-email-event-webhook-signature",
    ),
    Scheme(
        name="mailtrap",
        make=_hmac_hex,
        verify=lambda given, keys: verify_hmac_hex(
            given, [raw_key(text_key(key)) for key in keys], header="mailtrap-signature"
        ),
        official=lambda given, key: mailtrap_verifies(
            given.body, given.headers.get("mailtrap-signature", ""), text_key(key)
        ),
        field="mailtrap-signature",
        timed=False,
    ),
    Scheme(
        name="lettermint",
        make=_lettermint,
        verify=lambda given, keys: verify_timestamped(
            given, [raw_key(text_key(key)) for key in keys], time_header="x-lettermint-delivery"
        ),
        official=_lettermint_official,
        field="x-lettermint-signature",
    ),
    Scheme(
        name="mailgun",
        make=_mailgun,
        verify=lambda given, keys: verify_mailgun(
            given, json.loads(given.body), [raw_key(text_key(key)) for key in keys]
        ),
        official=_mailgun_official,
        covers_body=False,
    ),
    Scheme(
        name="mandrill",
        make=_mandrill,
        verify=lambda given, keys: verify_mandrill(given, [raw_key(text_key(key)) for key in keys], url=HOOK_URL),
        field="x-mandrill-signature",
        timed=False,
        refuses=(400, 401),
    ),
    Scheme(
        name="postal",
        make=_postal,
        verify=lambda given, keys: verify_postal(given, [rsa_key(rsa_public(key)) for key in keys]),
        field="x-postal-signature",
        timed=False,
    ),
    Scheme(
        name="basic",
        make=_basic,
        verify=lambda given, keys: verify_basic(given, [basic_key(f"genie:{text_key(key)}") for key in keys]),
        field="authorization",
        timed=False,
        covers_body=False,
    ),
    Scheme(
        name="bearer",
        make=lambda body, at, key: request({"Authorization": f"Bearer {text_key(key)}"}, body),
        verify=lambda given, keys: verify_header(
            given, [header_key(text_key(key)) for key in keys], header="authorization", scheme="Bearer"
        ),
        field="authorization",
        timed=False,
        covers_body=False,
    ),
    Scheme(
        name="path",
        make=lambda body, at, key: request({}, body, path=f"/hooks/postmark/{text_key(key)}"),
        verify=lambda given, keys: verify_path(given, [path_key(text_key(key)) for key in keys]),
        timed=False,
        covers_body=False,
    ),
)


def sns_scheme(version: str) -> Scheme:
    """SNS in one of its two versions. Other keys mean another certificate at the same place."""

    def make(body: bytes, at: datetime, number: int) -> WebhookRequest:
        return sns_request(sns_data(body.decode(), at, number, version=version))

    return Scheme(
        name=f"sns-{version}",
        make=make,
        verify=lambda given, keys: verify_sns(
            attrs.evolve(given, documents={CERTIFICATE_URL: certificate(keys[0])}), [TOPIC]
        ),
        # 503 where the place of the certificate was changed: that one would have to be fetched first.
        refuses=(400, 401, 503),
    )


ALL = (*SCHEMES, sns_scheme("1"), sns_scheme("2"))
