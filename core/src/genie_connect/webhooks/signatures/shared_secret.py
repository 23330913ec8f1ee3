"""For providers that sign nothing: a secret that only the provider and this endpoint know.

Whoever sees one request has the secret. So it has to travel over TLS only, has to be long, and no log may hold it: put
it in a header field where the provider can send one, and in the path only where it cannot.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable
from typing import Final

from genie_connect.contract import WebhookRequest
from genie_connect.errors import WebhookRejected
from genie_connect.webhooks.signatures.checking import as_bytes, equals_one, required, wrong

MIN_SECRET_CHARACTERS: Final = 16
MIN_PATH_CHARACTERS: Final = 22
"""128 bits in base64: what stands in a path is not to be found by trying."""
AUTHORIZATION: Final = "authorization"


def basic_key(credentials: str) -> bytes:
    """Credentials ``user:password`` as they are compared. Raises ``ValueError`` without quoting them."""
    user, colon, password = credentials.partition(":")
    if not user or not colon or len(password) < MIN_SECRET_CHARACTERS:
        raise ValueError(f"is not user:password with a password of {MIN_SECRET_CHARACTERS} characters or more")
    return as_bytes(credentials)


def header_key(secret: str) -> bytes:
    """The value of a header field that is a secret. Raises ``ValueError`` without quoting it."""
    if len(secret) < MIN_SECRET_CHARACTERS:
        raise ValueError(f"has less than {MIN_SECRET_CHARACTERS} characters")
    return as_bytes(secret)


def path_key(secret: str) -> bytes:
    """A path segment that is a secret. Raises ``ValueError`` without quoting it."""
    if len(secret) < MIN_PATH_CHARACTERS or "/" in secret:
        raise ValueError(f"is not {MIN_PATH_CHARACTERS} characters or more without a slash")
    return as_bytes(secret)


def verify_basic(request: WebhookRequest, keys: Iterable[bytes]) -> None:
    """Check HTTP basic authentication (RFC 7617) against credentials of ``basic_key``. Raises ``WebhookRejected``.

    The receiver answers 401 with ``WWW-Authenticate``, which makes SNS and others send what stands in the URL.
    """
    scheme, _, given = required(request.headers, AUTHORIZATION).partition(" ")
    if scheme.lower() != "basic":
        raise WebhookRejected("it does not sign in with user and password", field=AUTHORIZATION)
    try:
        candidate = binascii.a2b_base64(as_bytes(given.strip()), strict_mode=True)
    except (binascii.Error, ValueError):
        raise WebhookRejected("user and password are not base64", field=AUTHORIZATION) from None
    if not equals_one(candidate, list(keys)):
        raise wrong(AUTHORIZATION)


def verify_header(request: WebhookRequest, keys: Iterable[bytes], *, header: str, scheme: str = "") -> None:
    """Check that a header field holds a secret of ``header_key``, after ``scheme`` (``Bearer``) where there is one.

    Raises ``WebhookRejected``.
    """
    given = required(request.headers, header)
    if scheme:
        name, _, given = given.partition(" ")
        if name.lower() != scheme.lower():
            raise WebhookRejected(f"it does not sign in with {scheme}", field=header)
    if not equals_one(as_bytes(given), list(keys)):
        raise wrong(header)


def verify_path(request: WebhookRequest, keys: Iterable[bytes]) -> None:
    """Check that the last segment of the path is a secret of ``path_key``. Raises ``WebhookRejected``."""
    if not equals_one(as_bytes(request.path.rstrip("/").rpartition("/")[2]), list(keys)):
        raise wrong("path")


def shared_key(secret: str) -> bytes:
    """``user:password`` for basic authentication, or else a secret for a bearer token or the end of the path.

    Raises ``ValueError`` without quoting it.
    """
    return basic_key(secret) if ":" in secret else path_key(secret)


def verify_shared(request: WebhookRequest, keys: Iterable[bytes]) -> None:
    """Check a request of a provider that signs nothing against secrets of ``shared_key``, each in its own way.

    Raises ``WebhookRejected``.
    """
    given = list(keys)
    credentials = [key for key in given if b":" in key]
    tokens = [key for key in given if b":" not in key]
    scheme = request.headers.get(AUTHORIZATION, "").partition(" ")[0].lower()
    if scheme == "bearer":
        verify_header(request, tokens, header=AUTHORIZATION, scheme="Bearer")
    elif tokens and (scheme != "basic" or not credentials):
        verify_path(request, tokens)
    else:
        verify_basic(request, credentials)
