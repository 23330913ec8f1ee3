"""Amazon SES as the service's own description shows it."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

from genie_connect.http import NoAnswer, NotSent, Response
from genie_connect.http.fake import Request
from genie_connect_contrib.ses import connector
from tests.contrib.providers.harness import SECRET, Expected, Provider, answer, document, emails, said

_ID = "0100018f5a4b3c2d-11111111-2222-3333-4444-555555555555-000000"


def _checked(request: Request) -> None:
    described = document("amazon_ses/trimmed-sesv2-service-2.json")
    operation = "SendBulkEmail" if "BulkEmailEntries" in said(request) else "SendEmail"
    assert request.url == described["operations"][operation]["http"]["requestUri"]
    assert list(_problems(said(request), f"{operation}Request", described["shapes"], "$")) == []
    assert len(said(request).get("Content") or said(request)["DefaultContent"]) == 1
    for entry in said(request).get("BulkEmailEntries", ()):
        assert entry.keys() >= {"Destination", "ReplacementEmailContent"}
    assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert (
        "/eu-central-1/ses/aws4_request, SignedHeaders=content-type;host;x-amz-date, "
        in (request.headers["authorization"])
    )


def _problems(value: Any, name: str, shapes: Any, path: str) -> Iterator[str]:
    """What botocore would say of a value: unknown and missing members, types, lengths, patterns, choices."""
    shape = shapes[name]
    kind = shape["type"]
    if kind == "structure":
        members = shape["members"]
        yield from (f"{path}: unknown {key}" for key in value.keys() - members.keys())
        yield from (f"{path}: lacks {key}" for key in set(shape.get("required", ())) - value.keys())
        for key in value.keys() & members.keys():
            yield from _problems(value[key], members[key]["shape"], shapes, f"{path}.{key}")
        return
    if kind == "list":
        for index, item in enumerate(value):
            yield from _problems(item, shape["member"]["shape"], shapes, f"{path}[{index}]")
    elif kind == "boolean":
        assert isinstance(value, bool), path
        return
    else:
        assert isinstance(value, str), path
        if kind == "blob":
            base64.b64decode(value, validate=True)
        if "enum" in shape and value not in shape["enum"]:
            yield f"{path}: {value!r}"
        if "pattern" in shape and not re.fullmatch(shape["pattern"], value):
            yield f"{path}: {value!r} is not {shape['pattern']}"
    if not shape.get("min", 0) <= len(value) <= shape.get("max", len(value)):
        yield f"{path}: {len(value)}"


def _error(status: int, name: str, message: str) -> Response:
    return answer(status, {"message": message}, x_amzn_errortype=f"{name}:http://internal.amazon.com/coral/")


def _reached(request: Request) -> list[str]:
    if request.method != "POST":
        return []
    destinations = [each.get("Destination", {}) for each in (said(request), *said(request).get("BulkEmailEntries", ()))]
    return [email for destination in destinations for addresses in destination.values() for email in emails(addresses)]


def _accepts(request: Request) -> Response:
    entries = said(request).get("BulkEmailEntries") if request.method == "POST" else None
    if entries is None:
        return answer(200, {"MessageId": _ID})
    results = [{"Status": "SUCCESS", "MessageId": f"{_ID}-{number}"} for number, _ in enumerate(entries)]
    return answer(200, {"BulkEmailEntryResults": results})


PROVIDER = Provider(
    connector=connector,
    settings={"access_key_id": "AKIDEXAMPLE", "secret_access_key": SECRET, "region": "eu-central-1"},
    credentials={},
    accepts=_accepts,
    reached=_reached,
    check=_checked,
    accepted_id=_ID,
    account=answer(
        200,
        {
            "SendingEnabled": True,
            "ProductionAccessEnabled": True,
            "EnforcementStatus": "HEALTHY",
            "SendQuota": {"Max24HourSend": 50000.0, "MaxSendRate": 14.0, "SentLast24Hours": 12.0},
        },
    ),
    answers=(
        Expected(
            name="wrong key",
            answer=_error(403, "UnrecognizedClientException", "The security token included in the request is invalid."),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="wrong secret",
            answer=answer(403, {"__type": "com.amazon.coral.service#InvalidSignatureException", "message": "no match"}),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="unverified",
            answer=_error(400, "MessageRejected", "Email address is not verified: shop@example.com"),
            state="rejected",
            reason="sender_rejected",
            retry="other",
        ),
        Expected(
            name="refused",
            answer=_error(400, "MessageRejected", "Message rejected."),
            state="rejected",
            reason="unsupported",
            retry="other",
        ),
        Expected(
            name="suspended",
            answer=_error(400, "AccountSuspendedException", "Account suspended."),
            state="deferred",
            reason="policy",
            retry="other",
        ),
        Expected(
            name="too fast",
            answer=_error(429, "TooManyRequestsException", "Maximum sending rate exceeded."),
            state="deferred",
            reason="throttled",
            retry="any",
        ),
        Expected(
            name="too fast as 400",
            answer=_error(400, "ThrottlingException", "Rate exceeded"),
            state="deferred",
            reason="throttled",
            retry="any",
        ),
        Expected(
            name="quota",
            answer=_error(400, "ThrottlingException", "Daily message quota exceeded."),
            state="deferred",
            reason="throttled",
            retry="other",
        ),
        Expected(
            name="no such template",
            answer=_error(404, "NotFoundException", "Template welcome does not exist"),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(
            name="server error",
            answer=_error(500, "InternalFailure", "internal"),
            state="unknown",
            reason="in_doubt",
        ),
        Expected(name="not JSON", answer=Response(status=200, body=b"<html>"), state="unknown", reason="in_doubt"),
        Expected(name="silence", answer=NoAnswer("time_out", "no answer"), state="unknown", reason="in_doubt"),
        Expected(
            name="no connection",
            answer=NotSent("connect", "the connection was not made"),
            state="deferred",
            reason="connect",
            retry="any",
        ),
    ),
)
