"""Signatures by a private key that only the provider has: SendGrid (ECDSA P-256) and Postal (RSA).

Both sign the raw body, SendGrid with its timestamp before it. Needs the extra ``webhooks`` (cryptography), which is
imported with the first signature: a connector that is only listed does not pay for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from genie_connect.contract import WebhookRequest
from genie_connect.errors import WebhookRejected
from genie_connect.webhooks.signatures.checking import (
    Window,
    base64_bytes,
    required,
    signed_seconds,
    wrong,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

SENDGRID_SIGNATURE: Final = "x-twilio-email-event-webhook-signature"
SENDGRID_TIMESTAMP: Final = "x-twilio-email-event-webhook-timestamp"
SENDGRID_WINDOW: Final = Window(past_s=25 * 3600.0)
"""SendGrid tries again for 24 hours, and does not say whether it signs anew."""
POSTAL_SIGNATURE: Final = "x-postal-signature"
MIN_RSA_BITS: Final = 1024  # what Postal makes


def verify_sendgrid(
    request: WebhookRequest, keys: Iterable[EllipticCurvePublicKey], *, window: Window = SENDGRID_WINDOW
) -> int:
    """Check ECDSA with SHA-256 over the timestamp and the raw body; when it was signed, in seconds since 1970.

    Raises ``WebhookRejected``.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    signature = _signature(request, SENDGRID_SIGNATURE)
    timestamp = required(request.headers, SENDGRID_TIMESTAMP)
    signed_s = signed_seconds(timestamp, field=SENDGRID_TIMESTAMP)
    window.check(signed_s, request.received_at, field=SENDGRID_TIMESTAMP)
    content = timestamp.encode() + request.body
    for key in keys:
        try:
            key.verify(signature, content, ECDSA(SHA256()))
        except InvalidSignature:
            continue
        return signed_s
    raise wrong(SENDGRID_SIGNATURE)


def verify_postal(request: WebhookRequest, keys: Iterable[RSAPublicKey]) -> None:
    """Check RSA PKCS #1 v1.5 with SHA-1 over the raw body. Raises ``WebhookRejected``."""
    from cryptography.hazmat.primitives.hashes import SHA1

    signature = _signature(request, POSTAL_SIGNATURE)
    # SHA-1 is the provider's choice: whoever could make two bodies of one hash would have to be the provider.
    if not any(rsa_verifies(key, signature, request.body, SHA1()) for key in keys):  # noqa: S303
        raise wrong(POSTAL_SIGNATURE)


def rsa_verifies(key: RSAPublicKey, signature: bytes, content: bytes, algorithm: Any) -> bool:
    """Whether it is the key's signature (PKCS #1 v1.5) of the content."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    try:
        key.verify(signature, content, PKCS1v15(), algorithm)
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=64)
def ecdsa_key(text: str) -> EllipticCurvePublicKey:
    """A P-256 key as SendGrid shows it: base64 of its DER form, or PEM. Raises ``ValueError``."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

    key = _public_key(text)
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("is not a public key of the curve P-256")  # noqa: TRY004  # it is the text that is wrong
    return key


@lru_cache(maxsize=64)
def rsa_key(text: str) -> RSAPublicKey:
    """An RSA key: base64 of its DER form, or PEM. Raises ``ValueError``."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    key = _public_key(text)
    if not isinstance(key, RSAPublicKey) or key.key_size < MIN_RSA_BITS:
        raise ValueError(f"is not an RSA public key of {MIN_RSA_BITS} bits or more")
    return key


def _public_key(text: str) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    lines = text.strip().splitlines()
    der = base64_bytes("".join([line.strip() for line in lines if not line.startswith("-----")]))
    if der is None:
        raise ValueError("is not a public key: base64 or PEM")
    try:
        return load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("is not a public key: base64 or PEM") from None


def _signature(request: WebhookRequest, header: str) -> bytes:
    signature = base64_bytes(required(request.headers, header))
    if signature is None:
        raise WebhookRejected("the signature is not base64", field=header)
    return signature
