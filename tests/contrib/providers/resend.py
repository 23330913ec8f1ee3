"""Resend as its documentation and its OpenAPI description show it."""

from __future__ import annotations

from typing import Any

from genie_connect.http import NoAnswer, NotSent, Response
from genie_connect.http.fake import Request
from genie_connect_contrib.resend import connector
from tests.contrib.providers.harness import SECRET, Expected, Provider, answer, emails, openapi, said

_check = openapi("resend/trimmed.strict.json")


def _items(request: Request) -> list[dict[str, Any]]:
    body = said(request)
    return body if isinstance(body, list) else [body]


def _accepts(request: Request) -> Response:
    ids = [{"id": f"49a3999c-0ce1-4ea6-ab68-{number:012d}"} for number, _ in enumerate(_items(request))]
    return answer(200, ids[0] if request.url == "/emails" else {"data": ids})


def _checked(request: Request) -> None:
    body = said(request)
    if request.url == "/emails" and "template" in body:
        body = {"subject": "the template's own", **body}
    elif request.url == "/emails/batch":
        body = [{"subject": "the template's own", **item} if "template" in item else item for item in body]
        # The guide to the endpoint: neither files nor a time.
        assert not any({"attachments", "scheduled_at"} & set(item) for item in body)
        assert len(body) <= 100
    _check(request.url, body)


def _error(status: int, name: str, message: str, **headers: str) -> Response:
    return answer(status, {"statusCode": status, "name": name, "message": message}, **headers)


PROVIDER = Provider(
    connector=connector,
    settings={"api_key": SECRET},
    credentials={"authorization": f"Bearer {SECRET}"},
    accepts=_accepts,
    reached=lambda request: [
        email for item in _items(request) for name in ("to", "cc", "bcc") for email in emails(item.get(name))
    ],
    check=_checked,
    described=_check,
    accepted_id="49a3999c-0ce1-4ea6-ab68-000000000000",
    account=answer(200, {"object": "list", "data": [{"id": "1", "name": "example.com", "status": "verified"}]}),
    answers=(
        Expected(
            name="no key",
            answer=_error(401, "missing_api_key", "Missing API key in the authorization header."),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="wrong key",
            answer=_error(403, "invalid_api_key", "API key is invalid."),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="unverified domain",
            answer=_error(403, "validation_error", "The example.com domain is not verified."),
            state="rejected",
            reason="sender_rejected",
            retry="other",
        ),
        Expected(
            name="invalid",
            answer=_error(422, "validation_error", "The `to` field is not valid."),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(
            name="throttled",
            answer=_error(429, "rate_limit_exceeded", "Too many requests.", retry_after="1"),
            state="deferred",
            reason="throttled",
            retry="any",
            retry_after_s=1.0,
        ),
        Expected(
            name="daily quota",
            answer=_error(429, "daily_quota_exceeded", "You have reached your daily email sending quota."),
            state="deferred",
            reason="throttled",
            retry="other",
        ),
        Expected(
            name="key in use",
            answer=_error(409, "concurrent_idempotent_requests", "Another request is in progress."),
            state="unknown",
            reason="in_doubt",
        ),
        Expected(
            name="other body under the key",
            answer=_error(409, "invalid_idempotent_request", "The key was used with another payload."),
            state="unknown",
            reason="in_doubt",
        ),
        Expected(
            name="server error",
            answer=_error(500, "internal_server_error", "An unexpected error occurred."),
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
