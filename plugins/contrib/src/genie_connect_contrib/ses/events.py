"""Events of Amazon SES, and mail that it receives, by way of SNS.

https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
https://docs.aws.amazon.com/ses/latest/dg/receiving-email-notifications-contents.html

Published events have an ``eventType``, notifications of an identity a ``notificationType``; they are alike otherwise.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import attrs

from genie_connect.contract import WebhookRequest
from genie_connect.errors import WebhookRejected
from genie_connect.model.event import MESSAGE_ID, BounceClass, Event, EventKind, Reason
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.text import clean_reply
from genie_connect.webhooks.bodies import json_text
from genie_connect.webhooks.events import UNKNOWN, Fields, Means, events_of
from genie_connect.webhooks.inbound import arrived, header_pairs, inbound_message, parse_mime
from genie_connect.webhooks.signatures import SnsMessage, SnsType, confirmation_url, verify_sns
from genie_connect_contrib.shared import message_id_of, tags_and_metadata

KINDS: Final = {
    "Send": Means(EventKind.SENT),
    "Reject": Means(EventKind.REJECTED, reason=Reason.CONTENT_REJECTED),  # a virus: the only reason there is
    "Bounce": Means(EventKind.BOUNCED),
    "Complaint": Means(EventKind.COMPLAINED),
    "Delivery": Means(EventKind.DELIVERED),
    "DeliveryDelay": Means(EventKind.DEFERRED),
    "Open": Means(EventKind.OPENED),
    "Click": Means(EventKind.CLICKED),
    "Rendering Failure": Means(EventKind.REJECTED, reason=Reason.INTERNAL),
    "Subscription": Means(EventKind.UNSUBSCRIBED),
}
# https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html#bounce-types
BOUNCES: Final = {"Permanent": BounceClass.HARD, "Transient": BounceClass.SOFT}
REASONS: Final = {
    "NoEmail": Reason.RECIPIENT_REJECTED,
    "Suppressed": Reason.SUPPRESSED,
    "OnAccountSuppressionList": Reason.SUPPRESSED,
    "MailboxFull": Reason.MAILBOX_FULL,
    "MessageTooLarge": Reason.TOO_LARGE,
    "ContentRejected": Reason.CONTENT_REJECTED,
    "AttachmentRejected": Reason.CONTENT_REJECTED,
}
DELAYS: Final = {
    "MailboxFull": Reason.MAILBOX_FULL,
    "SpamDetected": Reason.CONTENT_REJECTED,
    "IPFailure": Reason.POLICY,
    "RecipientServerError": Reason.TEMPORARY,
    "TransientCommunicationFailure": Reason.CONNECT,
}
_OBJECTS: Final = {"Rendering Failure": "failure", "DeliveryDelay": "deliveryDelay"}
_NAMED: Final = {
    "Bounce": "bouncedRecipients",
    "Complaint": "complainedRecipients",
    "DeliveryDelay": "delayedRecipients",
}


def parse_webhook(topics: Collection[str], request: WebhookRequest) -> tuple[Event, ...]:
    """The events in a message of one of these topics.

    A topic that asks to be confirmed gives an event of kind ``unknown`` whose ``url`` confirms it, for a person to
    open. Raises ``WebhookRejected``, and ``WebhookNeeds`` for the certificate of SNS.
    """
    if not topics:
        raise WebhookRejected("this connection has no topic", hint="add the topic's ARN to webhook_topics")
    message = verify_sns(request, topics)
    if message.type is not SnsType.NOTIFICATION:
        return (_asked(message),)

    def read(item: Fields) -> Event | Iterator[Event]:
        if item.word("notificationType") == "Received":
            return _arrived(item, message)
        return _events(item, message)

    try:
        data = json_text(message.text.encode(), field="Message")
    except WebhookRejected:
        # SES greets in plain text when a topic is set up.
        return (_told(message, clean_reply(message.text)),)
    return events_of(data, read, request)


def _asked(message: SnsMessage) -> Event:
    if message.token is None:
        return _told(message, f"{message.topic} was unsubscribed")
    try:
        url = confirmation_url(message.topic, message.token)
    except ValueError:
        url = None
    return attrs.evolve(_told(message, f"{message.topic} asks to be confirmed"), url=url)


def _told(message: SnsMessage, text: str) -> Event:
    raw = FrozenMap({"Type": message.type.value, "TopicArn": message.topic})
    return Event(id=f"sns-{message.id}", kind=EventKind.UNKNOWN, time=message.time, text=text, raw=raw)


def _events(item: Fields, message: SnsMessage) -> Iterator[Event]:
    word = item.word("eventType") or item.word("notificationType")
    about, mail = item.within(_OBJECTS.get(word, word.lower() or "none")), item.within("mail")
    message_id, tags, metadata = _own(mail)
    means = KINDS.get(word, UNKNOWN)
    if word == "Subscription" and not about.within("newTopicPreferences").flag("unsubscribeAll"):
        means = UNKNOWN
    sub = about.word("bounceSubType")
    if means.kind is EventKind.BOUNCED and REASONS.get(sub) is Reason.SUPPRESSED:
        means = attrs.evolve(means, kind=EventKind.REJECTED)
    when = about if about.get("timestamp") is not None else mail
    people = list(_people(word, about, mail))
    for recipient, reply in people:
        yield item.event(
            means,
            id=f"sns-{message.id}" + (f"/{recipient}" if len(people) > 1 else ""),
            time=when.iso("timestamp"),
            recipient=recipient,
            message_id=message_id,
            provider_id=mail.text("messageId"),
            bounce=BOUNCES.get(about.word("bounceType")) if word == "Bounce" else None,
            reason=REASONS.get(sub) or DELAYS.get(about.word("delayType")),
            text=about.text("errorMessage") or about.text("reason") or about.text("complaintFeedbackType"),
            reply=reply or about.text("smtpResponse"),
            url=about.text("link"),
            user_agent=about.text("userAgent"),
            tags=tags,
            metadata=metadata,
        )


def _people(word: str, about: Fields, mail: Fields) -> Iterator[tuple[str | None, str | None]]:
    if word in _NAMED:
        for each in about.each(_NAMED[word]):
            yield each.address("emailAddress"), each.text("diagnosticCode")
        return
    # Opens and clicks name nobody: of several recipients nobody knows whom it was.
    to = about.texts("recipients") or mail.texts("destination")
    known = word in ("Delivery", "Send", "Reject", "Rendering Failure") or len(to) == 1
    if not known or not to:
        yield None, None
        return
    for recipient in to:
        yield Fields({"to": recipient}).address("to"), None


def _own(mail: Fields) -> tuple[str | None, tuple[str, ...], FrozenMap[str]]:
    given = mail.within("tags").data
    ours = {
        name: str(values[0])
        for name, values in given.items()
        if not name.startswith("ses:") and isinstance(values, list) and values
    }
    message_id = message_id_of(ours.pop(MESSAGE_ID, ""))
    return message_id, *tags_and_metadata(ours)


def _arrived(item: Fields, message: SnsMessage) -> Event:
    """What a receipt rule published; where it stored the message in S3, its header fields alone."""
    mail, receipt = item.within("mail"), item.within("receipt")
    verdict = receipt.within("spamVerdict").word("status")
    more: Mapping[str, Any] = {
        "envelope_from": mail.text("source"),
        "envelope_to": receipt.texts("recipients"),
        "spam": {"PASS": False, "FAIL": True}.get(verdict),
    }
    content = item.body("content")
    if content is None:
        found = inbound_message(header_pairs(mail.get("headers")), **more)
    else:
        encoded = receipt.within("action").word("encoding").upper() == "BASE64"
        raw = base64.b64decode(content) if encoded else content.encode("utf-8", "surrogateescape")
        found = parse_mime(raw, **more)
    provider_id = mail.text("messageId")
    return arrived(found, id=provider_id or f"sns-{message.id}", time=mail.iso("timestamp"), provider_id=provider_id)
