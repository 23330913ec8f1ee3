"""Signatures by a keyed hash, in the shapes that providers have given them.

==========================  ===========================================================================================
``verify_hmac_hex``         MailerSend (``signature``), Mailtrap (``mailtrap-signature``): the raw body; no timestamp
``verify_timestamped``      Lettermint (``x-lettermint-signature``): ``t=SECONDS,v1=HEX`` over ``SECONDS.body``
``verify_mailgun``          Mailgun: timestamp and token, in the body; **the rest of the body is not covered**
``verify_mandrill``         Mandrill: the public URL and the form fields, HMAC-SHA1 in base64
==========================  ===========================================================================================
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Final

from genie_connect.contract import WebhookRequest
from genie_connect.errors import WebhookRejected
from genie_connect.http.strict_json import MAX_BYTES
from genie_connect.webhooks.bodies import form_fields
from genie_connect.webhooks.signatures.checking import (
    FIVE_MINUTES,
    MAX_SIGNATURES,
    Window,
    as_bytes,
    equals_one,
    required,
    signed_seconds,
    wrong,
)

MAILGUN_WINDOW: Final = Window(past_s=9 * 3600.0)
"""Mailgun tries again for eight hours, and sends the signature of the first time."""
_TOKEN: Final = re.compile(r"[!-~]{1,128}\Z")
MANDRILL_SIGNATURE: Final = "x-mandrill-signature"
LETTERMINT_SIGNATURE: Final = "x-lettermint-signature"


def verify_hmac_hex(request: WebhookRequest, keys: Iterable[bytes], *, header: str) -> None:
    """Check that ``header`` holds the HMAC-SHA256 of the raw body in lower-case hexadecimal digits.

    Nothing says when it was signed: a request that was seen once is right for ever, and only its events' ids tell
    that they are known. Raises ``WebhookRejected``.
    """
    given = as_bytes(required(request.headers, header))
    if not equals_one(given, [_hex(key, request.body) for key in keys]):
        raise wrong(header)


def verify_timestamped(
    request: WebhookRequest,
    keys: Iterable[bytes],
    *,
    header: str = LETTERMINT_SIGNATURE,
    time_header: str = "",
    window: Window = FIVE_MINUTES,
) -> int:
    """Check ``t=SECONDS,v1=HEX[,v1=HEX...]``, over ``SECONDS.body``; when it was signed, in seconds since 1970.

    ``time_header`` is a field that repeats the seconds (``x-lettermint-delivery``). Raises ``WebhookRejected``.
    """
    parts = [part.partition("=") for part in required(request.headers, header).split(",", MAX_SIGNATURES)]
    times = [value for name, _, value in parts if name == "t"]
    if len(times) != 1:
        raise WebhookRejected("it has no time of signing, or several", field=header)
    if time_header and request.headers.get(time_header, "").strip() != times[0]:
        raise WebhookRejected("is not the time that was signed", field=time_header)
    signed_s = signed_seconds(times[0], field=header)
    window.check(signed_s, request.received_at, field=header)
    content = times[0].encode() + b"." + request.body
    expected = [_hex(key, content) for key in keys]
    if not any(equals_one(as_bytes(value), expected) for name, _, value in parts if name == "v1"):
        raise wrong(header)
    return signed_s


def verify_mailgun(
    request: WebhookRequest,
    signed: Mapping[str, object],
    keys: Iterable[bytes],
    *,
    window: Window = MAILGUN_WINDOW,
) -> str:
    """The token of a webhook whose ``timestamp`` and ``token`` are signed; ``signed`` is where these stand.

    That is the object ``signature`` of a JSON body, or the fields of a form. Nothing else of the body is covered:
    whoever has seen one webhook could send another body with its signature. So the token has to be the id of the one
    event of the request. The host keeps an event once by its id, and a second body under a known token changes
    nothing, across processes and restarts. Raises ``WebhookRejected``.
    """
    timestamp, token, signature = (signed.get(name) for name in ("timestamp", "token", "signature"))
    # The timestamp is a string in JSON, as it is in a form.
    if not (isinstance(timestamp, str) and isinstance(token, str) and isinstance(signature, str)):
        raise WebhookRejected("it is not signed", field="signature", hint="timestamp, token and signature are needed")
    window.check(signed_seconds(timestamp, field="timestamp"), request.received_at, field="timestamp")
    if not _TOKEN.match(token):
        raise WebhookRejected("the token is not printable ASCII", field="token")
    content = (timestamp + token).encode()
    if not equals_one(as_bytes(signature), [_hex(key, content) for key in keys]):
        raise wrong("signature")
    return token


def verify_mandrill(
    request: WebhookRequest, keys: Iterable[bytes], *, url: str, max_bytes: int = MAX_BYTES
) -> Mapping[str, str]:
    """The form fields of a webhook that is signed together with ``url``, the public URL as Mandrill was given it.

    Behind a proxy the URL that arrives is another one, so it is a setting and not taken from the request. Raises
    ``WebhookRejected``.
    """
    given = as_bytes(required(request.headers, MANDRILL_SIGNATURE))
    fields = form_fields(request, max_bytes=max_bytes)
    content = as_bytes(url + "".join([name + fields[name] for name in sorted(fields)]))
    # SHA-1 is the provider's choice; as an HMAC it still stands.
    expected = [base64.b64encode(hmac.new(key, content, hashlib.sha1).digest()) for key in keys]
    if not equals_one(given, expected):
        raise wrong(MANDRILL_SIGNATURE)
    return fields


def _hex(key: bytes, content: bytes) -> bytes:
    return binascii.hexlify(hmac.digest(key, content, "sha256"))
