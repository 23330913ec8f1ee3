"""SparkPost's events."""

from __future__ import annotations

from typing import Any

from genie_connect_contrib.sparkpost import connector
from tests.contrib.providers.events.hook import ADA, MAKERS, MESSAGE_ID, Hook, credentials, pair
from tests.contrib.providers.harness import SECRET

_NAMES = {"open": "track", "click": "track", "initial_open": "track", "link_unsubscribe": "unsubscribe"}
_NAMES |= {"generation_rejection": "gen", "list_unsubscribe": "unsubscribe"}


def _event(kind: str, **more: Any) -> dict[str, Any]:
    about = {
        "type": kind,
        "event_id": f"92356927693813856-{kind}",
        "timestamp": "1764064800",
        "rcpt_to": ADA,
        "message_id": "000443ee14578172be22",
        "transmission_id": "65832150921904138",
        "campaign_id": "receipt",
        "rcpt_meta": {"order": "7", "genie_attempt": "a1", "genie_message_id": MESSAGE_ID},
        **more,
    }
    return {"msys": {f"{_NAMES.get(kind, 'message')}_event": about}}


def _bounce(number: int, said: str, **more: Any) -> dict[str, Any]:
    return _event("bounce", bounce_class=str(number), raw_reason=said, event_id=f"b{number}", **more)


_KNOWN = {
    "recipient": ADA,
    "message_id": MESSAGE_ID,
    "provider_id": "65832150921904138",
    "tags": ("receipt",),
    "metadata": {"order": "7"},
    "attempt_id": "a1",
}
_RELAYED = {"msg_from": ADA, "rcpt_to": "shop@example.com", "friendly_from": ADA, "webhook_id": "4", "protocol": "smtp"}
_INBOUND = {"kind": "inbound", "recipient": "shop@example.com", "inbound.subject": "Hello", "inbound.text": "Hi"}

HOOK = Hook(
    connector=connector,
    settings={"api_key": SECRET},
    keyed=pair("webhook_secret", credentials),
    post=MAKERS["basic"],
    wrapped=lambda items: items,
    kind_field="msys.message_event.type",
    samples=(
        (_event("injection"), {**_KNOWN, "kind": "queued"}),
        (_event("delivery"), {**_KNOWN, "kind": "delivered"}),
        (
            _event("delay", error_code="451", raw_reason="451 4.7.1 Greylisted"),
            {**_KNOWN, "kind": "deferred", "reason": "greylisted", "code": 451},
        ),
        (
            _bounce(10, "550 5.1.1 user unknown", error_code="550"),
            {**_KNOWN, "kind": "bounced", "bounce": "hard", "reason": "recipient_rejected", "code": 550},
        ),
        (_bounce(22, "552 5.2.2 full"), {**_KNOWN, "kind": "bounced", "bounce": "soft", "reason": "mailbox_full"}),
        (
            _bounce(51, "554 5.7.1 blocked using zen.spamhaus.org"),
            {**_KNOWN, "kind": "bounced", "bounce": "blocked", "reason": "policy"},
        ),
        (_bounce(1, "it did not work"), {**_KNOWN, "kind": "bounced", "bounce": "undetermined"}),
        (_bounce(26, "smart send"), {**_KNOWN, "kind": "rejected", "bounce": None, "reason": "suppressed"}),
        (_bounce(60, "Out of office"), {**_KNOWN, "kind": "autoresponded", "bounce": None}),
        (
            _event("out_of_band", bounce_class="30", reason="550 5.1.1 no such user"),
            {**_KNOWN, "kind": "bounced", "bounce": "hard"},
        ),
        (
            _event("generation_rejection", reason="recipient address suppressed due to customer policy"),
            {**_KNOWN, "kind": "rejected"},
        ),
        (_event("spam_complaint", fbtype="abuse"), {**_KNOWN, "kind": "complained"}),
        (
            _event("initial_open", user_agent="x", user_agent_parsed={"is_proxy": True}),
            {**_KNOWN, "kind": "opened", "user_agent": "x", "machine": True},
        ),
        (
            _event("click", target_link_url="https://e.com/"),
            {**_KNOWN, "kind": "clicked", "url": "https://e.com/", "machine": False},
        ),
        (_event("list_unsubscribe"), {**_KNOWN, "kind": "unsubscribed"}),
        (
            {
                "msys": {
                    "relay_message": {
                        **_RELAYED,
                        "content": {
                            "email_rfc822": "From: ada@example.com\r\nSubject: Hello\r\n\r\nHi",
                            "email_rfc822_is_base64": False,
                        },
                    }
                }
            },
            _INBOUND,
        ),
        (
            {
                "msys": {
                    "relay_message": {
                        **_RELAYED,
                        "content": {
                            "email_rfc822": "RnJvbTogYWRhQGV4YW1wbGUuY29tDQpTdWJqZWN0OiBIZWxsbw0KDQpIaQ==",
                            "email_rfc822_is_base64": True,
                        },
                    }
                }
            },
            _INBOUND,
        ),
        (
            {
                "msys": {
                    "relay_message": {
                        **_RELAYED,
                        "content": {
                            "headers": [{"From": ADA}, {"Subject": "Hello"}],
                            "text": "Hi",
                            "html": "<p>Hi</p>",
                        },
                    }
                }
            },
            {**_INBOUND, "inbound.html": "<p>Hi</p>"},
        ),
    ),
)
