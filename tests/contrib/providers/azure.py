"""Azure Communication Services Email as its API's description shows it."""

from __future__ import annotations

import base64
import re
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry as Schemas
from referencing import Resource
from referencing.jsonschema import DRAFT202012

from genie_connect.http import NoAnswer, NotSent, Response
from genie_connect.http.fake import Request
from genie_connect_contrib.azure import connector
from tests.contrib.providers.harness import SECRET, Expected, Provider, answer, document, openapi, said

_ID = "8a8b6e5e-0a4b-4d1c-9a55-0a1b2c3d4e5f"
_KEY = base64.b64encode(SECRET.encode()).decode()


def _checked(request: Request) -> None:
    described = document("azure_communication/email-2025-09-01.swagger.strict.json")
    schemas = Schemas().with_resource("urn:spec", Resource.from_contents(described, DRAFT202012))
    validator = Draft202012Validator({"$ref": "urn:spec#/definitions/EmailMessage"}, registry=schemas)
    assert [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(said(request))] == []
    assert request.url == "/emails:send?api-version=2025-09-01"
    assert re.fullmatch(r"[0-9a-f-]{36}", request.headers["operation-id"])
    assert re.fullmatch(
        r"HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=[A-Za-z0-9+/]{43}=",
        request.headers["authorization"],
    )


def _reached(request: Request) -> list[str]:
    recipients = said(request)["recipients"] if request.content else {}
    return [each["address"] for addresses in recipients.values() for each in addresses]


def _error(status: int, code: str, message: str, **headers: str) -> Response:
    return answer(status, {"error": {"code": code, "message": message}}, **headers)


def _failed(code: str) -> Any:
    return answer(202, {"id": _ID, "status": "Failed", "error": {"code": code, "message": "no"}})


PROVIDER = Provider(
    connector=connector,
    settings={"resource": "acme.europe", "access_key": _KEY},
    credentials={},
    accepts=lambda _: answer(202, {"id": _ID, "status": "Running"}, retry_after="30"),
    reached=_reached,
    check=_checked,
    described=openapi("azure_communication/email-2025-09-01.swagger.strict.json"),
    accepted_id=_ID,
    account=_error(404, "NotFound", "no such operation"),
    answers=(
        Expected(
            name="wrong key",
            answer=_error(401, "Denied", "Denied by the resource provider."),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="wrong key without a word",
            answer=answer(401),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="domain not linked",
            answer=_error(404, "DomainNotLinked", "not linked"),
            state="rejected",
            reason="sender_rejected",
            retry="other",
        ),
        Expected(
            name="invalid",
            answer=_error(400, "BadRequest", "invalid"),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(
            name="throttled",
            answer=_error(429, "TooManyRequests", "slow down", retry_after="60"),
            state="deferred",
            reason="throttled",
            retry="any",
            retry_after_s=60.0,
        ),
        Expected(
            name="all on its list",
            answer=_failed("EmailDroppedAllRecipientsSuppressed"),
            state="rejected",
            reason="recipient_rejected",
        ),
        Expected(
            name="failed",
            answer=_failed("Whatever"),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(name="server error", answer=answer(500, {"message": "internal"}), state="unknown", reason="in_doubt"),
        Expected(name="not JSON", answer=Response(status=202, body=b"<html>"), state="unknown", reason="in_doubt"),
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
