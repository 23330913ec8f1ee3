"""Brevo as its documentation and its description show it."""

from __future__ import annotations

from typing import Any

from genie_connect.http import NoAnswer, NotSent, Response
from genie_connect.http.fake import Request
from genie_connect_contrib.brevo import connector
from tests.contrib.providers.harness import SECRET, Expected, Provider, answer, openapi, said


def _as_version_3(described: Any) -> None:
    # A description of OpenAPI 2 has the body among the parameters; its maps of free names say so by an example only.
    operation = described["paths"]["/smtp/email"]["post"]
    (body,) = (each for each in operation["parameters"] if each["in"] == "body")
    operation["requestBody"] = {"content": {"application/json": {"schema": body["schema"]}}}
    for name in ("headers", "params"):
        described["definitions"]["sendSmtpEmail"]["properties"][name].pop("additionalProperties", None)


_check = openapi("brevo/trimmed.strict.json", overlay=_as_version_3)


def _items(request: Request) -> list[dict[str, Any]]:
    body = said(request) if request.content else {}
    return body.get("messageVersions", [body])


def _checked(request: Request) -> None:
    body = said(request)
    _check("/smtp/email", body)
    assert body.get("templateId") or (body["htmlContent"] and body["subject"])
    assert all(len(item[name]) <= 99 for item in _items(request) for name in ("to", "cc", "bcc") if name in item)
    assert sum(len(item["to"]) for item in _items(request)) <= 2000
    assert all(value.isascii() for value in body.get("headers", {}).values())


def _accepts(request: Request) -> Response:
    ids = [f"<20261125.{number:012d}@smtp-relay.example>" for number, _ in enumerate(_items(request))]
    return answer(201, {"messageIds": ids} if "messageVersions" in said(request) else {"messageId": ids[0]})


def _error(status: int, code: str, message: str, **headers: str) -> Response:
    return answer(status, {"code": code, "message": message}, **headers)


PROVIDER = Provider(
    connector=connector,
    settings={"api_key": SECRET},
    credentials={"api-key": SECRET},
    accepts=_accepts,
    reached=lambda request: [
        each["email"] for item in _items(request) for name in ("to", "cc", "bcc") for each in item.get(name, [])
    ],
    check=_checked,
    described=_check,
    accepted_id="<20261125.000000000000@smtp-relay.example>",
    account=answer(200, {"email": "a@example.com", "companyName": "Shop", "plan": [{"type": "free", "credits": 300}]}),
    answers=(
        Expected(
            name="wrong key",
            answer=_error(401, "unauthorized", "Key not found"),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="no credits",
            answer=_error(402, "not_enough_credits", "You have insufficient credits"),
            state="deferred",
            reason="throttled",
            retry="other",
        ),
        Expected(
            name="under validation",
            answer=_error(403, "account_under_validation", "Your account is under validation"),
            state="deferred",
            reason="policy",
            retry="other",
        ),
        Expected(
            name="unknown sender",
            answer=_error(400, "invalid_parameter", "Sender is invalid / not valid"),
            state="rejected",
            reason="sender_rejected",
            retry="other",
        ),
        Expected(
            name="invalid",
            answer=_error(400, "invalid_parameter", "email is not valid in to"),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(
            name="no such template",
            answer=_error(404, "document_not_found", "Template not found"),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(name="throttled", answer=answer(429), state="deferred", reason="throttled", retry="any"),
        Expected(name="server error", answer=answer(502), state="unknown", reason="in_doubt"),
        Expected(name="not JSON", answer=Response(status=201, body=b"<html>"), state="unknown", reason="in_doubt"),
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
