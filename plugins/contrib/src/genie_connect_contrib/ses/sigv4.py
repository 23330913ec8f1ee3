"""Signatures of AWS, version 4: https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html

A request is brought into one spelling, and its digest is signed with a key that is derived from the secret for one day,
region and service. Nothing but the standard library is needed for it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from urllib.parse import parse_qsl, quote

import attrs

ALGORITHM = "AWS4-HMAC-SHA256"


@attrs.frozen(kw_only=True, repr=False)
class Credentials:
    """An access key; ``token`` belongs to one that is lent for some time."""

    key_id: str
    secret: str
    token: str | None = None


def signed_headers(
    credentials: Credentials,
    *,
    method: str,
    host: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    region: str,
    service: str,
    now: datetime,
) -> dict[str, str]:
    """``headers`` with those that AWS wants beside them. ``target`` is path and query, as they are sent."""
    time = now.strftime("%Y%m%dT%H%M%SZ")
    given = {name.lower(): value for name, value in headers.items()}
    given["x-amz-date"] = time
    if credentials.token:
        given["x-amz-security-token"] = credentials.token
    covered = {name: given[name] for name in given if name.startswith("x-amz-") or name == "content-type"}
    covered["host"] = host
    in_order = sorted(covered)
    names = ";".join(in_order)
    path, _, query = target.partition("?")
    canonical = "\n".join(
        (
            method,
            _path(path),
            _sorted(query) if query else "",
            *[f"{name}:{' '.join(covered[name].split())}" for name in in_order],
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    scope = f"{time[:8]}/{region}/{service}/aws4_request"
    text = "\n".join((ALGORITHM, time, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = _key(credentials.secret, time[:8], region, service)
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"Credential={credentials.key_id}/{scope}"
    return given | {"authorization": f"{ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}"}


@lru_cache(maxsize=64)
def _path(path: str) -> str:
    return quote(path, safe="/-_.~")


def _sorted(query: str) -> str:
    pairs = ((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in parse_qsl(query, True))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


# The same for a whole day. A connection has one key and signs with no other, so a few are enough.
@lru_cache(maxsize=16)
def _key(secret: str, *steps: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for step in (*steps, "aws4_request"):
        key = hmac.digest(key, step.encode(), "sha256")
    return key
