"""Mailtrap as its documentation and its OpenAPI description show it."""

from __future__ import annotations

from typing import Any

from genie_connect.http import NoAnswer, NotSent, Response
from genie_connect.http.fake import Request
from genie_connect_contrib.mailtrap import connector
from tests.contrib.providers.harness import SECRET, Expected, Provider, answer, openapi, said


def _any_of(described: Any) -> None:
    # Its kinds of message are not closed, so that one with text and HTML is of three kinds: "one of" cannot be meant.
    schema = described["paths"]["/api/send"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    while "$ref" in schema:
        schema = described["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    schema["anyOf"] = schema.pop("oneOf")


_check = openapi("mailtrap/trimmed-send.strict.json", overlay=_any_of)
_KNOWN = {
    *("from", "to", "cc", "bcc", "reply_to", "subject", "text", "html", "attachments", "headers", "category"),
    *("custom_variables", "template_uuid", "template_variables"),
}


def _items(request: Request) -> list[dict[str, Any]]:
    body = said(request)
    found: list[dict[str, Any]] = body.get("requests", [body])
    return found


def _checked(request: Request) -> None:
    for item in _items(request):
        assert set(item) <= _KNOWN  # the description cannot be closed: its parts are put together
        _check("/api/send", item)
    if request.url == "/api/batch":
        _check("/api/batch", said(request))


def _ids(number: int, item: dict[str, Any]) -> list[str]:
    count = sum(len(item.get(name, [])) for name in ("to", "cc", "bcc"))
    return [f"0c7fd939-02cf-11ed-88c2-{number:06d}{index:06d}" for index in range(count)]


def _accepts(request: Request) -> Response:
    answers = [{"success": True, "message_ids": _ids(number, item)} for number, item in enumerate(_items(request))]
    return answer(200, answers[0] if request.url == "/api/send" else {"success": True, "responses": answers})


PROVIDER = Provider(
    connector=connector,
    settings={"api_token": SECRET},
    credentials={"authorization": f"Bearer {SECRET}"},
    accepts=_accepts,
    reached=lambda request: [
        each["email"] for item in _items(request) for name in ("to", "cc", "bcc") for each in item.get(name, [])
    ],
    check=_checked,
    described=_check,
    accepted_id="0c7fd939-02cf-11ed-88c2-000000000000",
    account=answer(400, {"success": False, "errors": ["'from' is required", "'subject' is required"]}),
    answers=(
        Expected(
            name="wrong token",
            answer=answer(401, {"success": False, "errors": ["Unauthorized"]}),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="forbidden",
            answer=answer(403, {"errors": "Access forbidden"}),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="invalid",
            answer=answer(400, {"success": False, "errors": ["'to' address is invalid"]}),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(
            name="not taken",
            answer=answer(200, {"success": False, "errors": ["no"]}),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(name="throttled", answer=answer(429), state="deferred", reason="throttled", retry="any"),
        Expected(
            name="server error",
            answer=answer(500, {"success": False, "errors": ["Internal Server Error"]}),
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
