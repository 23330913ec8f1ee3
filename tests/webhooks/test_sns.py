"""Amazon SNS: whose certificate, whose topic, and what is never fetched."""

from __future__ import annotations

import json

import attrs
import pytest

from genie_connect.errors import WebhookNeeds, WebhookRejected
from genie_connect.webhooks.signatures import SnsType, confirmation_url, topic_arn, verify_sns
from tests.webhooks.schemes import CERTIFICATE_URL, NOW, TOPIC, certificate, ecdsa_private, sns_data, sns_request


def test_a_notification_is_read() -> None:
    """Its message, its id and its time; a subject is signed too where there is one."""
    for more in ({}, {"Subject": "Amazon SES"}):
        message = verify_sns(sns_request(sns_data('{"a":\n1}', NOW, 1, **more)), [TOPIC])
        assert (message.type, message.topic, message.text) == (SnsType.NOTIFICATION, TOPIC, '{"a":\n1}')
        assert (message.time, message.token) == (NOW, None)


def test_a_confirmation_waits_for_a_person() -> None:
    """Its token comes out; the URL is made here, and that of the message is not looked at."""
    data = sns_data(
        "confirm", NOW, 1, Type="SubscriptionConfirmation", Token="0123abcd", SubscribeURL="https://evil.example/"
    )
    message = verify_sns(sns_request(data), [TOPIC])
    assert message.type is SnsType.CONFIRM
    url = confirmation_url(message.topic, message.token or "")
    assert url.startswith("https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn%3Aaws")
    assert "evil" not in url


@pytest.mark.parametrize(("topic", "token"), [("arn:aws:sns:evil/x:1:y", "a"), (TOPIC, "a&b"), (TOPIC, "")])
def test_a_confirmation_is_made_of_nothing_else(topic: str, token: str) -> None:
    """A region that is none would be another host."""
    with pytest.raises(ValueError, match="topic and a token"):
        confirmation_url(topic, token)


def test_the_certificate_is_asked_for() -> None:
    """A parser does no I/O: the receiver has to bring it."""
    request = sns_request(sns_data("hello", NOW, 1), number=None)
    with pytest.raises(WebhookNeeds) as caught:
        verify_sns(request, [TOPIC])
    assert (caught.value.url, caught.value.status) == (CERTIFICATE_URL, 503)


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-01.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.example/SimpleNotificationService-01.pem",
        "https://evil.example/https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem",
        "https://sns.s3.amazonaws.com/SimpleNotificationService-01.pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-01.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-01.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem?x#y",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem\n",
        "https://sns.eu-west-1.amazonaws.com/a/../SimpleNotificationService-01.pem",
        "https://SNS.eu-west-1.amazonaws.com/SimpleNotificationService-01.pem",
        "file:///SimpleNotificationService-01.pem",
        "",
    ],
)
def test_a_certificate_from_elsewhere_is_not_even_asked_for(url: str) -> None:
    """Refused, rather than fetched: the address comes from whoever wrote the request."""
    request = sns_request(sns_data("hello", NOW, 1) | {"SigningCertURL": url})
    with pytest.raises(WebhookRejected) as caught:
        verify_sns(attrs.evolve(request, documents={url: certificate(1)}), [TOPIC])
    assert not isinstance(caught.value, WebhookNeeds)


def test_another_topic_is_not_believed() -> None:
    """AWS signs the attacker's topic as well as ours; nothing is fetched for it."""
    other = "arn:aws:sns:eu-west-1:999999999999:mail-events"
    request = sns_request(sns_data("hello", NOW, 1, TopicArn=other), number=None)
    with pytest.raises(WebhookRejected, match="topic") as caught:
        verify_sns(request, [TOPIC])
    assert not isinstance(caught.value, WebhookNeeds)


@pytest.mark.parametrize(
    "change",
    [
        {"Type": "Other"},
        {"Type": None},
        {"SignatureVersion": "3"},
        {"Signature": "%"},
        {"Signature": 7},
        {"Timestamp": "yesterday"},
        {"Timestamp": "2026-11-25T10:00:00"},
        {"Timestamp": "9999-12-31T23:59:59-23:59"},
        {"MessageId": "a\nTimestamp\n2026"},
        {"Message": None},
        {"Subject": 7},
        {"Subject": "Message\nId"},
        {"TopicArn": [TOPIC]},
        {"Type": "SubscriptionConfirmation"},
    ],
)
def test_a_malformed_message_is_refused(change: dict[str, object]) -> None:
    """And nothing worse."""
    body = json.dumps(sns_data("hello", NOW, 1) | change).encode()
    with pytest.raises(WebhookRejected):
        verify_sns(attrs.evolve(sns_request(sns_data("hello", NOW, 1)), body=body), [TOPIC])


@pytest.mark.parametrize(
    "pem", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_certificate_is_refused(pem: bytes) -> None:
    """Whatever the other side answered."""
    request = attrs.evolve(sns_request(sns_data("hello", NOW, 1)), documents={CERTIFICATE_URL: pem})
    with pytest.raises(WebhookRejected, match="certificate"):
        verify_sns(request, [TOPIC])


def test_topics_are_checked_when_they_are_set() -> None:
    """A setting that is no topic says so."""
    assert topic_arn(TOPIC) == TOPIC
    assert ecdsa_private(1)
    with pytest.raises(ValueError, match="arn:aws:sns"):
        topic_arn("mail-events")
