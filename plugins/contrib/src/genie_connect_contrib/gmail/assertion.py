"""How a service account asks for a token in the name of a mailbox (RFC 7523).

https://developers.google.com/identity/protocols/oauth2/service-account
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from genie_connect.errors import SecretUnavailable
from genie_connect.model.secret import Secret

AUDIENCE = "https://oauth2.googleapis.com/token"
"""Google's own, whatever the file of the key names."""
SCOPE = "https://www.googleapis.com/auth/gmail.send"
LASTS_S = 3600


def assertion_of(key: Secret, account: str, now: datetime) -> str:
    """A JWT by which the service account of this key, a JSON file of Google's, speaks for ``account``.

    Raises ``SecretUnavailable`` where it is none.
    """
    try:
        data = json.loads(key.reveal())
        issuer, key_id = str(data["client_email"]), str(data["private_key_id"])
        private_key = load_pem_private_key(data["private_key"].encode(), password=None)
        if not isinstance(private_key, RSAPrivateKey):
            raise TypeError
    except (ValueError, TypeError, KeyError, AttributeError):
        fix = "Give the whole JSON file that Google made for the key."
        reference = key.reference or "service_account_key"
        raise SecretUnavailable(reference, "it is no key of a service account", hint=fix) from None
    at = int(now.timestamp())
    claims = {"iss": issuer, "sub": account, "scope": SCOPE, "aud": AUDIENCE, "iat": at, "exp": at + LASTS_S}
    said = f"{_segment({'alg': 'RS256', 'typ': 'JWT', 'kid': key_id})}.{_segment(claims)}"
    return f"{said}.{_text(private_key.sign(said.encode(), PKCS1v15(), SHA256()))}"


def _segment(data: Mapping[str, Any]) -> str:
    return _text(json.dumps(data, separators=(",", ":")).encode())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
