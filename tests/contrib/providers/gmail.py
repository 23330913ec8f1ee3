"""Gmail by its discovery document."""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from genie_connect.http import NoAnswer, NotSent, Response
from genie_connect.http.fake import Request
from genie_connect_contrib.gmail import connector
from tests.contrib.providers.harness import SECRET, TOKEN, Expected, Provider, answer, document, emails_in, said, whole

SEND = "/gmail/v1/users/shop@example.com/messages/send"
UPLOAD = f"/upload{SEND}?uploadType=media"


def _message(request: Request) -> bytes:
    return request.content if request.url == UPLOAD else base64.urlsafe_b64decode(said(request)["raw"])


def _reached(request: Request) -> list[str]:
    return emails_in(whole(_message(request))) if request.url in (SEND, UPLOAD) else []


@cache
def _described() -> tuple[Any, Draft202012Validator]:
    """The method, and what checks a body of it: no field that is not there, and those that are of their types."""
    described = document("gmail/trimmed-gmail.v1.discovery.json")
    schemas = {
        name: {**schema, "additionalProperties": False} if schema.get("properties") else schema
        for name, schema in described["schemas"].items()
    }
    body = _with_pointers({"$ref": "Message", "$defs": schemas})
    return described["resources"]["users"]["resources"]["messages"]["methods"]["send"], Draft202012Validator(body)


def _with_pointers(node: Any) -> Any:
    if isinstance(node, list):
        return [_with_pointers(each) for each in node]
    if not isinstance(node, dict):
        return node
    made = {name: _with_pointers(each) for name, each in node.items() if name not in ("annotations", "id", "format")}
    return made | {"$ref": f"#/$defs/{node['$ref']}"} if isinstance(node.get("$ref"), str) else made


def _check(request: Request) -> None:
    method, validator = _described()
    paths = {f"/{method['path']}", method["mediaUpload"]["protocols"]["simple"]["path"]}
    assert request.url.partition("?")[0].replace("shop@example.com", "{userId}") in paths
    if request.url == SEND:
        validator.validate(said(request))
        assert "raw" in said(request)
    else:
        assert request.headers["content-type"] == "message/rfc822"
        assert len(request.content) <= int(method["mediaUpload"]["maxSize"])
    assert emails_in(whole(_message(request)))


def _error(status: int, reason: str, message: str, **headers: str) -> Response:
    errors = [{"domain": "global", "reason": reason, "message": message}]
    return answer(status, {"error": {"code": status, "message": message, "errors": errors}}, **headers)


PROVIDER = Provider(
    connector=connector,
    settings={
        "account": "shop@example.com",
        "send_as": ["other@example.com"],
        "client_id": "1234-abc.apps.googleusercontent.com",
        "client_secret": SECRET,
        "refresh_token": f"1//{SECRET}",
    },
    credentials={"authorization": f"Bearer {TOKEN}"},
    token_path="/token",
    accepts=lambda _: answer(200, {"id": "18c2", "threadId": "18c2", "labelIds": ["SENT"]}),
    reached=_reached,
    check=_check,
    accepted_id="18c2",
    account=answer(200, {"emailAddress": "shop@example.com", "messagesTotal": 7, "threadsTotal": 7, "historyId": "9"}),
    answers=(
        Expected(
            name="token refused",
            answer=_error(401, "authError", "Invalid Credentials"),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="scope too small",
            answer=_error(403, "insufficientPermissions", "Insufficient Permission"),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="not allowed in the domain",
            answer=_error(403, "domainPolicy", "The domain administrators have disabled Gmail apps."),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="mail not enabled",
            answer=_error(400, "failedPrecondition", "Mail service not enabled"),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="malformed",
            answer=_error(400, "invalidArgument", "Invalid To header"),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(
            name="too fast for the user",
            answer=_error(403, "userRateLimitExceeded", "User Rate Limit Exceeded"),
            state="deferred",
            reason="throttled",
            retry="any",
        ),
        Expected(
            name="sending limit",
            answer=_error(
                429,
                "rateLimitExceeded",
                "User-rate limit exceeded. Retry after 2026-11-26T10:00:00.000Z",
                retry_after="9",
            ),
            state="deferred",
            reason="throttled",
            retry="any",
            retry_after_s=9.0,
        ),
        Expected(
            name="sending limit until a date",
            answer=_error(429, "rateLimitExceeded", "User-rate limit exceeded. Retry after 2026-11-26T10:00:00.000Z"),
            state="deferred",
            reason="throttled",
            retry="any",
        ),
        Expected(
            name="quota of the project",
            answer=_error(403, "dailyLimitExceeded", "Daily Limit Exceeded"),
            state="deferred",
            reason="throttled",
            retry="other",
        ),
        Expected(name="too big", answer=Response(status=413), state="rejected", reason="too_large", retry="other"),
        Expected(
            name="server error",
            answer=_error(500, "backendError", "Backend Error"),
            state="unknown",
            reason="in_doubt",
        ),
        Expected(name="no id", answer=answer(200, {}), state="unknown", reason="in_doubt"),
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
