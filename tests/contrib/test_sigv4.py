"""Signatures of AWS against its own examples."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from genie_connect_contrib.ses.sigv4 import Credentials, signed_headers

KEY = Credentials(key_id="AKIDEXAMPLE", secret="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)


@pytest.mark.parametrize(
    ("host", "target", "headers", "service", "signature"),
    [
        # The example of AWS's documentation of the signing process.
        (
            "iam.amazonaws.com",
            "/?Action=ListUsers&Version=2010-05-08",
            {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
            "iam",
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        ),
        # get-vanilla of AWS's test suite.
        (
            "example.amazonaws.com",
            "/",
            {},
            "service",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
    ],
)
def test_signatures_are_those_of_the_vendors_examples(
    host: str, target: str, headers: dict[str, str], service: str, signature: str
) -> None:
    """For path, query and header fields."""
    signed = signed_headers(
        KEY,
        method="GET",
        host=host,
        target=target,
        headers=headers,
        body=b"",
        region="us-east-1",
        service=service,
        now=NOW,
    )
    assert signed["authorization"].endswith(f"Signature={signature}")
    assert signed["x-amz-date"] == "20150830T123600Z"


def test_another_secret_day_region_or_service_signs_with_another_key() -> None:
    """The derived key is kept for the day, and for nothing else than what it was derived for."""
    other = Credentials(key_id=KEY.key_id, secret="another")
    same: dict[str, Any] = {"method": "GET", "host": "h", "target": "/", "headers": {}, "body": b""}
    asked = [(KEY, "r", "ses", NOW), (other, "r", "ses", NOW), (KEY, "q", "ses", NOW), (KEY, "r", "sns", NOW)]
    asked.append((KEY, "r", "ses", NOW + timedelta(days=1)))
    for _ in range(2):
        signed = [
            signed_headers(key, region=region, service=service, now=now, **same) for key, region, service, now in asked
        ]
        assert len({each["authorization"].rpartition("=")[2] for each in signed}) == len(asked)
    assert signed[0] == signed_headers(KEY, region="r", service="ses", now=NOW, **same)


def test_a_lent_key_sends_its_token_and_signs_it() -> None:
    """The body counts too; the secret shows nowhere."""
    lent = Credentials(key_id="AKIDEXAMPLE", secret="secret", token="token")
    made = [
        signed_headers(
            lent, method="POST", host="h", target="/", headers={}, body=body, region="r", service="ses", now=NOW
        )
        for body in (b"a", b"b")
    ]
    assert made[0]["x-amz-security-token"] == "token"
    assert "SignedHeaders=host;x-amz-date;x-amz-security-token," in made[0]["authorization"]
    assert made[0]["authorization"] != made[1]["authorization"]
    assert "secret" not in repr(lent)
