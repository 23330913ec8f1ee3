"""Cloudflare Email Sending as the types of its SDK show it."""

from __future__ import annotations

from genie_connect.http import NoAnswer, NotSent, Response
from genie_connect.http.fake import Request
from genie_connect_contrib.cloudflare import connector
from tests.contrib.providers.harness import SECRET, Expected, Provider, answer, openapi, said

ACCOUNT = "023e105f4ecef8ad9ca31a8372d0c353"
_check = openapi("cloudflare/derived-email-sending.openapi.json")


def _reached(request: Request) -> list[str]:
    body = said(request) if request.content else {}
    return [each["address"] for name in ("to", "cc", "bcc") for each in body.get(name, [])]


def _result(**lists: list[str]) -> Response:
    named = {"delivered": [], "queued": [], "permanent_bounces": [], "suppressed_recipients": [], **lists}
    return answer(200, {"success": True, "errors": [], "messages": [], "result": {**named, "message_id": "7f"}})


def _error(status: int, code: int, message: str, **headers: str) -> Response:
    return answer(status, {"success": False, "errors": [{"code": code, "message": message}]}, **headers)


_BOTH = ["ada@example.com", "bob@example.com"]

PROVIDER = Provider(
    connector=connector,
    settings={"api_token": SECRET, "account_id": ACCOUNT},
    credentials={"authorization": f"Bearer {SECRET}"},
    accepts=lambda request: _result(queued=_reached(request)[:1], delivered=_reached(request)[1:]),
    reached=_reached,
    check=lambda request: _check(request.url.replace(ACCOUNT, "{account_id}"), said(request)),
    described=_check,
    accepted_id="7f",
    account=answer(200, {"success": True, "result": {"id": "1", "status": "active"}}),
    answers=(
        Expected(
            name="wrong token",
            answer=_error(401, 10000, "Authentication error"),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="invalid",
            answer=_error(400, 10001, "invalid from"),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(
            name="too big",
            answer=_error(413, 10002, "too large"),
            state="rejected",
            reason="too_large",
            retry="other",
        ),
        Expected(
            name="throttled",
            answer=_error(429, 971, "slow down", retry_after="3"),
            state="deferred",
            reason="throttled",
            retry="any",
            retry_after_s=3.0,
        ),
        Expected(
            name="bounced",
            answer=_result(permanent_bounces=_BOTH),
            state="rejected",
            reason="recipient_rejected",
        ),
        Expected(
            name="on its list",
            answer=_result(suppressed_recipients=_BOTH),
            state="rejected",
            reason="recipient_rejected",
        ),
        Expected(
            name="names nobody",
            answer=_result(),
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
