"""Signatures of the Standard Webhooks specification (https://www.standardwebhooks.com): sign and verify.

The signed content is ``{id}.{timestamp}.{raw body}``, the signature ``v1,`` and base64 of its HMAC-SHA256. The header
may hold several, separated by blanks, while the sender rotates its secret. Svix, and so Resend, calls the header fields
``svix-...``. AhaSend takes the secret as it stands for the key, instead of decoding it: ``raw_key``.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Iterable
from typing import Final

from genie_connect.contract import WebhookRequest
from genie_connect.errors import WebhookRejected
from genie_connect.webhooks.signatures.checking import (
    FIVE_MINUTES,
    MAX_SIGNATURES,
    Window,
    base64_bytes,
    equals_one,
    required,
    signed_seconds,
    wrong,
)

ID, TIMESTAMP, SIGNATURE = HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
SVIX_HEADERS: Final = ("svix-id", "svix-timestamp", "svix-signature")
_ID: Final = re.compile(r"[!-~]{1,256}\Z")


def signing_key(secret: str) -> bytes:
    """The key in a secret, which is written ``whsec_`` and base64. Raises ``ValueError`` without quoting it."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not a signing secret: whsec_ and base64") from None
    if not key:
        raise ValueError("is not a signing secret: there is nothing after whsec_")
    return key


def sign(keys: Iterable[bytes], *, webhook_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The three header fields for a body, one signature for each key."""
    content = _content(webhook_id, str(timestamp_s), body)
    signatures = (f"v1,{base64.b64encode(_digest(key, content)).decode('ascii')}" for key in keys)
    return {ID: webhook_id, TIMESTAMP: str(timestamp_s), SIGNATURE: " ".join(signatures)}


def verify_standard(
    request: WebhookRequest,
    keys: Iterable[bytes],
    *,
    names: tuple[str, str, str] = HEADERS,
    window: Window = FIVE_MINUTES,
) -> str:
    """The id of a webhook, once one of its signatures is right for one of the keys.

    ``names`` are the header fields of id, timestamp and signature. Raises ``WebhookRejected``, and nothing else,
    whatever stands in the headers.
    """
    id_field, timestamp_field, signature_field = names
    webhook_id = required(request.headers, id_field)
    if not _ID.match(webhook_id):
        raise WebhookRejected("the id is not printable ASCII", field=id_field)
    given = required(request.headers, signature_field)
    timestamp = required(request.headers, timestamp_field)
    window.check(signed_seconds(timestamp, field=timestamp_field), request.received_at, field=timestamp_field)
    content = _content(webhook_id, timestamp, request.body)
    expected = [_digest(key, content) for key in keys]
    for signature in given.split(" ", MAX_SIGNATURES)[:MAX_SIGNATURES]:
        version, _, digest = signature.partition(",")
        candidate = base64_bytes(digest)
        if version == "v1" and candidate is not None and equals_one(candidate, expected):
            return webhook_id
    raise wrong(signature_field)


def _content(webhook_id: str, timestamp: str, body: bytes) -> bytes:
    return b".".join((webhook_id.encode(), timestamp.encode(), body))


def _digest(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, content, "sha256")
