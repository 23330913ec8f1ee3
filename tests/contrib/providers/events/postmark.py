"""Postmark's events."""

from __future__ import annotations

from genie_connect_contrib.postmark import connector
from tests.contrib.providers.events.hook import ADA, MAKERS, Hook, credentials, pair
from tests.contrib.providers.harness import SECRET

_ID = "b7bc2f4a-e38e-4336-af7d-000000000000"
_BASE = {"MessageID": _ID, "Tag": "receipt", "Metadata": {"genie_attempt": "a1", "order": "7"}, "ServerID": 23}
_KNOWN = {
    "recipient": ADA,
    "provider_id": _ID,
    "tags": ("receipt",),
    "attempt_id": "a1",
    "metadata": {"order": "7"},
}
_BOUNCE = {**_BASE, "RecordType": "Bounce", "ID": 42, "Email": ADA, "BouncedAt": "2026-11-25T10:00:00Z"}
_CHANGE = {
    **_BASE,
    "RecordType": "SubscriptionChange",
    "ChangedAt": "2026-11-25T10:00:00Z",
    "Recipient": ADA,
    "SuppressSending": True,
}
_INBOUND = {
    "FromName": "Ada",
    "From": ADA,
    "FromFull": {"Email": ADA, "Name": "Ada", "MailboxHash": ""},
    "To": "Shop <shop@example.com>",
    "OriginalRecipient": "shop@example.com",
    "Subject": "Hello",
    "MessageID": "22c74902",
    "Date": "Wed, 25 Nov 2026 10:00:00 +0000",
    "TextBody": "Hi\nthere",
    "HtmlBody": "<p>Hi</p>",
    "StrippedTextReply": "Hi",
    "Headers": [{"Name": "X-Spam-Status", "Value": "No"}, {"Name": "Message-ID", "Value": "<9@example.org>"}],
    "Attachments": [{"Name": "../a.png", "Content": "AAAA", "ContentType": "image/png", "ContentID": "cid1"}],
}

HOOK = Hook(
    connector=connector,
    settings={"server_token": SECRET},
    keyed=pair("webhook_secret", credentials),
    post=MAKERS["basic"],
    kind_field="RecordType",
    samples=(
        (
            {
                **_BASE,
                "RecordType": "Delivery",
                "Recipient": ADA,
                "DeliveredAt": "2026-11-25T10:00:00Z",
                "Details": "OK",
            },
            {**_KNOWN, "kind": "delivered", "text": "OK"},
        ),
        (
            {**_BOUNCE, "Type": "HardBounce", "Description": "The server was unable to deliver", "Details": "550 No"},
            {**_KNOWN, "kind": "bounced", "bounce": "hard", "reason": None, "id": "Bounce-42", "code": 550},
        ),
        (
            {**_BOUNCE, "Type": "HardBounce", "Details": "smtp;550 5.7.1 rejected by policy, see zen.spamhaus.org"},
            {**_KNOWN, "kind": "bounced", "bounce": "blocked"},
        ),
        ({**_BOUNCE, "Type": "SoftBounce"}, {**_KNOWN, "kind": "bounced", "bounce": "soft"}),
        ({**_BOUNCE, "Type": "Transient"}, {**_KNOWN, "kind": "deferred", "reason": "temporary"}),
        ({**_BOUNCE, "Type": "AutoResponder"}, {**_KNOWN, "kind": "autoresponded", "bounce": None}),
        ({**_BOUNCE, "Type": "Blocked"}, {**_KNOWN, "kind": "bounced", "bounce": "blocked", "reason": "policy"}),
        ({**_BOUNCE, "Type": "SpamNotification"}, {**_KNOWN, "kind": "bounced", "bounce": "blocked"}),
        ({**_BOUNCE, "Type": "BadEmailAddress"}, {**_KNOWN, "kind": "rejected", "reason": "recipient_rejected"}),
        ({**_BOUNCE, "RecordType": "SpamComplaint", "Type": "SpamComplaint"}, {**_KNOWN, "kind": "complained"}),
        (
            {**_BASE, "RecordType": "Open", "Recipient": ADA, "ReceivedAt": "2026-11-25T10:00:00Z", "UserAgent": "x"},
            {**_KNOWN, "kind": "opened", "user_agent": "x"},
        ),
        (
            {
                **_BASE,
                "RecordType": "Click",
                "Recipient": ADA,
                "ReceivedAt": "2026-11-25T10:00:00Z",
                "OriginalLink": "https://example.com/a",
            },
            {**_KNOWN, "kind": "clicked", "url": "https://example.com/a"},
        ),
        ({**_CHANGE, "SuppressionReason": "ManualSuppression"}, {**_KNOWN, "kind": "unsubscribed"}),
        ({**_CHANGE, "SuppressionReason": "HardBounce"}, {**_KNOWN, "kind": "rejected", "reason": "suppressed"}),
        ({**_CHANGE, "SuppressSending": False}, {**_KNOWN, "kind": "subscribed"}),
        (
            _INBOUND,
            {
                "kind": "inbound",
                "id": "Inbound-22c74902",
                "recipient": "shop@example.com",
                "inbound.text": "Hi\nthere",
                "inbound.reply_text": "Hi",
                "inbound.message_id": "<9@example.org>",
                "inbound.subject": "Hello",
                "inbound.spam": False,
                "inbound.files[0].filename": "_a.png",
                "inbound.files[0].content": b"\0\0\0",
            },
        ),
        (
            {"RecordType": "Inbound", "MessageID": "1", "RawEmail": "From: ada@example.com\nSubject: Raw\n\nHi"},
            {"kind": "inbound", "inbound.subject": "Raw", "inbound.text": "Hi"},
        ),
    ),
)
