"""Amazon SNS: messages signed with a key whose certificate has to be fetched.

What an attacker could try, and what stops it:

- a certificate from elsewhere: its URL is compared with a pattern that is spelled out, in the region of the topic,
  before anybody asks for it, and the receiver follows no redirect;
- a topic of the attacker's own, which AWS signs as well as ours: only the topics that are listed are believed, and that
  is looked at first;
- the URL that a confirmation asks to open: it is never fetched. ``confirmation_url`` makes one of topic and token, for
  the host to open when a person has said so.

SignatureVersion 1 is SHA-1, 2 is SHA-256 (https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import attrs

from genie_connect.contract import WebhookRequest
from genie_connect.errors import WebhookNeeds, WebhookRejected
from genie_connect.webhooks.bodies import json_body
from genie_connect.webhooks.signatures.checking import Window, base64_bytes, wrong
from genie_connect.webhooks.signatures.public_keys import rsa_verifies

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

SNS_WINDOW: Final = Window(past_s=2 * 3600.0)
"""A delivery policy may try again for an hour at most, under the signature of the first time."""
_TOPIC: Final = re.compile(r"arn:aws(?:-cn|-us-gov)?:sns:([a-z0-9-]{3,30}):[0-9]{12}:[A-Za-z0-9_-]{1,256}(?:\.fifo)?\Z")
_CERTIFICATE: Final = re.compile(
    r"https://sns\.([a-z0-9-]{3,30})\.amazonaws\.com(?:\.cn)?/SimpleNotificationService-[0-9a-f]{1,64}\.pem\Z"
)
_TOKEN: Final = re.compile(r"[A-Za-z0-9]{1,1024}\Z")
_HASHES: Final = {"1": "SHA1", "2": "SHA256"}


class SnsType(StrEnum):
    """What a message of SNS is."""

    NOTIFICATION = "Notification"
    CONFIRM = "SubscriptionConfirmation"
    UNSUBSCRIBED = "UnsubscribeConfirmation"


_SIGNED: Final[Mapping[SnsType, tuple[str, ...]]] = {
    SnsType.NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    SnsType.CONFIRM: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    SnsType.UNSUBSCRIBED: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


@attrs.frozen(kw_only=True)
class SnsMessage:
    """A message whose signature is right. ``token`` is there where it asks for a confirmation."""

    type: SnsType
    id: str
    topic: str
    text: str
    time: datetime
    token: str | None = None


def verify_sns(request: WebhookRequest, topics: Collection[str], *, window: Window = SNS_WINDOW) -> SnsMessage:
    """The message in a request from SNS, once its signature is right. ``topics`` are the ARNs that are believed.

    Raises ``WebhookNeeds`` while the certificate has not been fetched, and ``WebhookRejected`` for anything else.
    """
    data = json_body(request)
    if not isinstance(data, dict):
        raise WebhookRejected("the body is no object", status=400, field="body")
    type_, topic = _type(data), _text(data, "TopicArn")
    if topic not in topics:
        raise WebhookRejected("the topic is not one of this connection", field="TopicArn", hint="add it to its topics")
    algorithm = _HASHES.get(_text(data, "SignatureVersion"))
    if algorithm is None:
        raise WebhookRejected("neither version 1 nor 2", status=400, field="SignatureVersion")
    signature = base64_bytes(_text(data, "Signature")) if data.get("Signature") is not None else None
    if signature is None:
        raise WebhookRejected("is not there, or not base64", field="Signature")
    content = _content(data, type_)
    time = _time(_text(data, "Timestamp"))
    window.check(time.timestamp(), request.received_at, field="Timestamp")
    key = _key(request, _text(data, "SigningCertURL"), topic)
    if not rsa_verifies(key, signature, content, _hash(algorithm)):
        raise wrong("Signature")
    return SnsMessage(
        type=type_,
        id=_text(data, "MessageId"),
        topic=topic,
        text=_text(data, "Message"),
        time=time,
        token=_text(data, "Token") if type_ is SnsType.CONFIRM else None,
    )


def confirmation_url(topic: str, token: str) -> str:
    """The URL that confirms a subscription when it is fetched, made of a topic and a token that were verified.

    Raises ``ValueError`` for what is neither.
    """
    found = _TOPIC.match(topic)
    if found is None or not _TOKEN.match(token):
        raise ValueError("is not a topic and a token of SNS")
    domain = "amazonaws.com.cn" if topic.startswith("arn:aws-cn:") else "amazonaws.com"
    query = {"Action": "ConfirmSubscription", "TopicArn": topic, "Token": token, "Version": "2010-03-31"}
    return f"https://sns.{found[1]}.{domain}/?{urlencode(query)}"


def topic_arn(value: str) -> str:
    """``value`` if it is the ARN of a topic. Raises ``ValueError``."""
    if not _TOPIC.match(value):
        raise ValueError("is not a topic: arn:aws:sns:REGION:ACCOUNT:NAME")
    return value


def _type(data: Mapping[str, Any]) -> SnsType:
    try:
        return SnsType(_text(data, "Type"))
    except ValueError:
        raise WebhookRejected("is none that SNS sends", status=400, field="Type") from None


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise WebhookRejected("is not there, or no text", status=400, field=name)
    # Names and values are signed one line each. Only the message, which comes first, may hold lines of its own:
    # anywhere else they could be read as other fields.
    if name != "Message" and "\n" in value:
        raise WebhookRejected("holds a line break", status=400, field=name)
    return value


def _content(data: Mapping[str, Any], type_: SnsType) -> bytes:
    names = [name for name in _SIGNED[type_] if name != "Subject" or data.get("Subject") is not None]
    return "".join([f"{name}\n{_text(data, name)}\n" for name in names]).encode()


def _time(value: str) -> datetime:
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise WebhookRejected("is no time", status=400, field="Timestamp") from None
    if time.tzinfo is None:
        raise WebhookRejected("has no time zone", status=400, field="Timestamp")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise WebhookRejected("is no time", status=400, field="Timestamp") from None


def _key(request: WebhookRequest, url: str, topic: str) -> RSAPublicKey:
    found, ours = _CERTIFICATE.match(url), _TOPIC.match(topic)
    if found is None or ours is None or found[1] != ours[1]:
        raise WebhookRejected("is not where SNS keeps the certificates of the topic's region", field="SigningCertURL")
    pem = request.documents.get(url)
    if pem is None:
        raise WebhookNeeds(url, "the certificate of SNS")
    try:
        return _certified(pem)
    except ValueError:
        raise WebhookRejected("what is there is no certificate with an RSA key", field="SigningCertURL") from None


@lru_cache(maxsize=16)
def _certified(pem: bytes) -> RSAPublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.x509 import load_pem_x509_certificate

    try:
        key = load_pem_x509_certificate(pem).public_key()
    except UnsupportedAlgorithm:
        raise ValueError("is of no known algorithm") from None
    if not isinstance(key, RSAPublicKey):
        raise ValueError("has no RSA key")  # noqa: TRY004  # the document is wrong, not its type
    return key


def _hash(name: str) -> Any:
    from cryptography.hazmat.primitives import hashes

    return getattr(hashes, name)()
