"""Postal as its documentation shows it."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from genie_connect.http import NoAnswer, NotSent, Response
from genie_connect.http.fake import Request
from genie_connect_contrib.postal import connector
from tests.contrib.providers.harness import SECRET, Expected, Provider, answer, emails, said

_TEXT = {"type": "string", "minLength": 1}
_SEVERAL = {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 50}
_FILE = {
    "type": "object",
    "properties": {"name": _TEXT, "content_type": _TEXT, "data": {"type": "string"}},
    "required": ["name", "content_type", "data"],
    "additionalProperties": False,
}
# Written down by hand from the parameters of send/message: it has no machine-readable description.
_validator = Draft202012Validator(
    {
        "type": "object",
        "properties": {
            **dict.fromkeys(("from", "reply_to", "subject", "tag", "plain_body", "html_body"), _TEXT),
            **dict.fromkeys(("to", "cc", "bcc"), _SEVERAL),
            "headers": {"type": "object", "additionalProperties": {"type": "string"}},
            "attachments": {"type": "array", "items": _FILE},
        },
        "required": ["from", "to"],
        "anyOf": [{"required": ["plain_body"]}, {"required": ["html_body"]}],
        "additionalProperties": False,
    }
)


def _checked(request: Request) -> None:
    assert request.url == "/api/v1/send/message"
    assert [f"{error.json_path}: {error.message[:200]}" for error in _validator.iter_errors(said(request))] == []


def _reached(request: Request) -> list[str]:
    body = said(request) if request.content else {}
    return [email for name in ("to", "cc", "bcc") for email in emails(body.get(name))]


def _answer(status: str, data: Any) -> Response:
    return answer(200, {"status": status, "time": 0.02, "flags": {}, "data": data})


def _error(code: str) -> Response:
    return _answer("error", {"code": code, "message": code})


PROVIDER = Provider(
    connector=connector,
    settings={"server": "https://postal.example.com", "api_key": SECRET},
    credentials={"x-server-api-key": SECRET},
    accepts=lambda request: _answer(
        "success", {"message_id": "m@rp", "messages": {each: {"id": 7, "token": "t"} for each in _reached(request)}}
    ),
    reached=_reached,
    check=_checked,
    accepted_id="7",
    account=_error("MessageNotFound"),
    answers=(
        Expected(
            name="wrong key",
            answer=_error("InvalidServerAPIKey"),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="suspended",
            answer=_error("ServerSuspended"),
            state="deferred",
            reason="policy",
            retry="other",
        ),
        Expected(
            name="foreign From",
            answer=_error("UnauthenticatedFromAddress"),
            state="rejected",
            reason="sender_rejected",
            retry="other",
        ),
        Expected(
            name="no body",
            answer=_answer("parameter-error", {"message": "invalid"}),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(
            name="names nobody",
            answer=_answer("success", {"messages": {}}),
            state="unknown",
            reason="in_doubt",
        ),
        Expected(name="server error", answer=answer(500, {"message": "internal"}), state="unknown", reason="in_doubt"),
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
