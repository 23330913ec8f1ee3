"""Signatures of the Standard Webhooks specification (https://www.standardwebhooks.com): sign and verify.

The signed content is ``{id}.{timestamp}.{raw body}``, the signature ``v1,`` and base64 of its HMAC-SHA256. The header
may hold several, separated by blanks, while the sender rotates its secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from datetime import datetime

from genie_connect.errors import WebhookRejected

ID, TIMESTAMP, SIGNATURE = HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
TOLERANCE_S = 300
MAX_SIGNATURES = 16
"""How many signatures of a header are looked at: more than any rotation needs, few enough to stay quick."""
_TIMESTAMP = re.compile(r"[0-9]{1,12}\Z")
_ID = re.compile(r"[!-~]{1,256}\Z")


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
    signatures = (f"v1,{_digest(key, content).decode('ascii')}" for key in keys)
    return {ID: webhook_id, TIMESTAMP: str(timestamp_s), SIGNATURE: " ".join(signatures)}


def verify(
    headers: Mapping[str, str],
    body: bytes,
    *,
    keys: Iterable[bytes],
    received_at: datetime,
    tolerance_s: float = TOLERANCE_S,
    names: tuple[str, str, str] = HEADERS,
) -> str:
    """The id of a webhook, once one of its signatures is right for one of the keys.

    ``headers`` by lower-case name; ``names`` are the fields of id, timestamp and signature (Svix calls them
    ``svix-id`` and so on). Raises ``WebhookRejected``, and nothing else, whatever stands in the headers.
    """
    webhook_id, timestamp, given = (headers.get(name, "") for name in names)
    if not _ID.match(webhook_id) or not given:
        raise WebhookRejected("it is not signed")
    if not _TIMESTAMP.match(timestamp):
        raise WebhookRejected("its timestamp is not a whole number of seconds")
    if abs(received_at.timestamp() - int(timestamp)) > tolerance_s:
        raise WebhookRejected(f"it was signed more than {tolerance_s:g} seconds before or after it was received")
    content = _content(webhook_id, timestamp, body)
    expected = [_digest(key, content) for key in keys]
    for signature in given.split(" ", MAX_SIGNATURES)[:MAX_SIGNATURES]:
        version, _, digest = signature.partition(",")
        # As bytes: compare_digest raises TypeError for text that is not ASCII.
        candidate = digest.encode("utf-8", "surrogatepass")
        matches = [hmac.compare_digest(candidate, each) for each in expected]
        if version == "v1" and any(matches):
            return webhook_id
    raise WebhookRejected("no signature of it is right")


def _content(webhook_id: str, timestamp: str, body: bytes) -> bytes:
    return b".".join((webhook_id.encode(), timestamp.encode(), body))


def _digest(key: bytes, content: bytes) -> bytes:
    return base64.b64encode(hmac.new(key, content, hashlib.sha256).digest())
