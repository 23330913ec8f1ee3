"""Mailjet as its documentation and the types of its SDK show it."""

from __future__ import annotations

import json
from typing import Any

from genie_connect.http import NoAnswer, NotSent, Response
from genie_connect.http.fake import Request
from genie_connect_contrib.mailjet import connector
from tests.contrib.providers.harness import SECRET, Expected, Provider, answer, openapi, said

_check = openapi("mailjet/derived-mailjet-v31.openapi.json")


def _items(request: Request) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = said(request)["Messages"] if request.content else []
    return found


def _checked(request: Request) -> None:
    _check("/send", said(request))
    for item in _items(request):
        assert item.get("TextPart") or item.get("HTMLPart") or "TemplateID" in item
        assert json.loads(item["EventPayload"])["genie_message_id"]
        assert sum(len(item.get(name, [])) for name in ("To", "Cc", "Bcc")) <= 50


def _taken(number: int, item: dict[str, Any]) -> dict[str, Any]:
    return {"Status": "success", "CustomID": item["CustomID"]} | {
        name: [
            {"Email": each["Email"], "MessageUUID": "u", "MessageID": 20547681647433000 + 100 * number + index}
            for index, each in enumerate(item.get(name, []))
        ]
        for name in ("To", "Cc", "Bcc")
    }


def _accepts(request: Request) -> Response:
    return answer(200, {"Messages": [_taken(number, item) for number, item in enumerate(_items(request))]})


def _refused(code: str, message: str, about: str) -> dict[str, Any]:
    error = {"ErrorCode": code, "StatusCode": 400, "ErrorMessage": message, "ErrorRelatedTo": [about]}
    return {"Status": "error", "Errors": [error]}


PROVIDER = Provider(
    connector=connector,
    settings={"api_key": "public", "secret_key": SECRET},
    credentials={"authorization": "Basic cHVibGljOmtleS10aGF0LW5vYm9keS1tYXktc2Vl"},
    accepts=_accepts,
    reached=lambda request: [
        each["Email"] for item in _items(request) for name in ("To", "Cc", "Bcc") for each in item.get(name, [])
    ],
    check=_checked,
    described=_check,
    accepted_id="20547681647433000",
    account=answer(200, {"Count": 1, "Data": [{"ID": 1, "Email": "a@example.com"}], "Total": 1}),
    answers=(
        Expected(
            name="wrong key",
            answer=answer(401, {"StatusCode": 401, "ErrorMessage": "API key authentication/authorization failure."}),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="unknown sender",
            answer=answer(400, {"Messages": [_refused("send-0008", "not an authorized sender", "From")]}),
            state="rejected",
            reason="sender_rejected",
            retry="other",
        ),
        Expected(
            name="bad address among several",
            answer=answer(400, {"Messages": [_refused("mj-0013", "is an invalid email address.", "To[0].Email")]}),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(
            name="malformed",
            answer=answer(400, {"ErrorCode": "mj-0002", "StatusCode": 400, "ErrorMessage": "Malformed JSON"}),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(name="throttled", answer=answer(429), state="deferred", reason="throttled", retry="any"),
        Expected(name="server error", answer=answer(500), state="unknown", reason="in_doubt"),
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
