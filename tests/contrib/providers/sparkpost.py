"""SparkPost as the API Blueprint of its transmissions shows it."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from genie_connect.http import NoAnswer, NotSent, Response
from genie_connect.http.fake import Request
from genie_connect_contrib.sparkpost import connector
from tests.contrib.providers.harness import SECRET, Expected, Provider, answer, said

_ID = "11668787484950529"


def _object(required: str = "", **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


_TEXT, _FLAG, _ANY = {"type": "string", "minLength": 1}, {"type": "boolean"}, {"type": "object"}
_WORDS = {"type": "object", "additionalProperties": {"type": "string"}}
_FROM = _object("email", email=_TEXT, name=_TEXT)
_FILES = {
    "type": "array",
    "items": _object("name type data", name={"type": "string", "maxLength": 255}, type=_TEXT, data={"type": "string"}),
}
# Written down by hand: there is no JSON Schema of it. The sections Request Body, Send Inline Content, Send a Template.
_TRANSMISSION = _object(
    "recipients content",
    options=_object(
        start_time={"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$"},
        open_tracking=_FLAG,
        click_tracking=_FLAG,
        transactional=_FLAG,
        perform_substitutions=_FLAG,
    ),
    override=_object(**{"from": _FROM, "reply_to": _TEXT}),
    campaign_id={"type": "string", "maxLength": 64},
    metadata=_WORDS,
    substitution_data=_ANY,
    return_path=_TEXT,
    recipients={
        "type": "array",
        "minItems": 1,
        "items": _object(
            "address",
            address=_object("email", email=_TEXT, name=_TEXT, header_to=_TEXT),
            metadata=_WORDS,
            substitution_data=_ANY,
        ),
    },
    content={
        "oneOf": [
            _object("template_id", template_id=_TEXT),
            _object(
                "from subject",
                **{"from": _FROM},
                subject=_TEXT,
                html=_TEXT,
                text=_TEXT,
                amp_html=_TEXT,
                reply_to=_TEXT,
                headers=_WORDS,
                attachments=_FILES,
                inline_images=_FILES,
            ),
        ]
    },
)
_validator = Draft202012Validator(_TRANSMISSION)


def _checked(request: Request) -> None:
    assert request.url == "/transmissions"
    body = said(request)
    assert [f"{error.json_path}: {error.message[:200]}" for error in _validator.iter_errors(body)] == []
    content = body["content"]
    assert "template_id" in content or "text" in content or "html" in content
    assert {name.lower() for name in content.get("headers", {})}.isdisjoint({"subject", "from", "to", "reply-to"})
    # Whatever is written in double braces has a value.
    known = {**body.get("substitution_data", {}), **body["recipients"][0].get("substitution_data", {})}
    if not body.get("options", {}).get("perform_substitutions", True):
        assert content["subject"] == "{{{subject}}}"
        assert known["subject"]
    for value in content.get("headers", {}).values():
        assert not value.startswith("{{{") or value.strip("{}") in known


def _error(status: int, code: str, message: str) -> Response:
    return answer(status, {"errors": [{"message": message, "code": code, "description": "more"}]})


def _results(accepted: int, rejected: int) -> Response:
    counts = {"total_accepted_recipients": accepted, "total_rejected_recipients": rejected, "id": _ID}
    return answer(200, {"results": counts})


PROVIDER = Provider(
    connector=connector,
    settings={"api_key": SECRET},
    credentials={"authorization": SECRET},
    accepts=lambda request: _results(len(said(request)["recipients"]), 0),
    reached=lambda request: [
        each["address"]["email"] for each in (said(request)["recipients"] if request.content else ())
    ],
    check=_checked,
    accepted_id=_ID,
    account=answer(200, {"results": {"company_name": "Shop", "status": "active"}}),
    answers=(
        Expected(
            name="wrong key",
            answer=answer(401, {"errors": [{"message": "Unauthorized."}]}),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="unverified domain",
            answer=_error(400, "7001", "Invalid domain"),
            state="rejected",
            reason="sender_rejected",
            retry="other",
        ),
        Expected(
            name="no such template",
            answer=_error(422, "1603", "Subresource not found"),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(
            name="on its list",
            answer=_error(400, "1902", "Message generation rejected"),
            state="rejected",
            reason="recipient_rejected",
        ),
        Expected(
            name="limit",
            answer=_error(420, "2101", "Exceed Sending Limit (hourly)"),
            state="deferred",
            reason="throttled",
            retry="other",
        ),
        Expected(
            name="another limit",
            answer=answer(420, {"errors": [{"message": "Exceed Sending Limit (daily)"}]}),
            state="deferred",
            reason="throttled",
            retry="other",
        ),
        Expected(
            name="throttled",
            answer=answer(429, {"errors": [{"message": "Too many requests"}]}),
            state="deferred",
            reason="throttled",
            retry="any",
        ),
        Expected(name="all refused", answer=_results(0, 2), state="rejected", reason="recipient_rejected"),
        Expected(name="some refused", answer=_results(1, 1), state="unknown", reason="in_doubt"),
        Expected(
            name="server error",
            answer=answer(500, {"errors": [{"message": "internal"}]}),
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
