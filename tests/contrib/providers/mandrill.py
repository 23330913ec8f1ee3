"""Mailchimp Transactional (Mandrill) as its OpenAPI description shows it."""

from __future__ import annotations

from typing import Any

from genie_connect.http import NoAnswer, NotSent, Response
from genie_connect.http.fake import Request
from genie_connect_contrib.mandrill import connector
from tests.contrib.providers.harness import SECRET, Expected, Provider, answer, openapi, said


def _corrected(document: Any) -> None:
    # The key is one part of allOf and closed there, so that no body at all would fit.
    del document["components"]["schemas"]["ApiKey"]["additionalProperties"]


_check = openapi("mandrill/trimmed.strict.json", overlay=_corrected)
_ID = "abc123abc123abc123abc123abc123ab"


def _reached(request: Request) -> list[str]:
    body = said(request) if request.content else {}
    return [each["email"] for each in body.get("message", {}).get("to", [])]


def _items(emails: list[str], status: str, reason: str | None = None) -> Response:
    return answer(200, [{"email": each, "status": status, "reject_reason": reason, "_id": _ID} for each in emails])


def _checked(request: Request) -> None:
    body = said(request)
    assert body["key"] == SECRET
    assert set(body) <= {"key", "message", "send_at", "template_name", "template_content"}
    _check(request.url, body)


def _error(status: int, name: str, message: str) -> Response:
    return answer(status, {"status": "error", "code": -1, "name": name, "message": message})


_BOTH = ["ada@example.com", "bob@example.com"]

PROVIDER = Provider(
    connector=connector,
    settings={"api_key": SECRET},
    credentials={},
    accepts=lambda request: _items(_reached(request), "sent"),
    reached=_reached,
    check=_checked,
    described=_check,
    accepted_id=_ID,
    account=answer(200, {"PING": "PONG!"}),
    answers=(
        Expected(
            name="wrong key",
            answer=_error(401, "Invalid_Key", "Invalid API key"),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="wrong key as it was",
            answer=_error(500, "Invalid_Key", "Invalid API key"),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="invalid",
            answer=_error(400, "ValidationError", "Validation error"),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(
            name="no such template",
            answer=_error(404, "Unknown_Template", "No such template"),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(
            name="not paid",
            answer=_error(402, "PaymentRequired", "pay"),
            state="deferred",
            reason="throttled",
            retry="other",
        ),
        Expected(
            name="throttled",
            answer=_error(429, "Request_Limit_Exceeded", "slow down"),
            state="deferred",
            reason="throttled",
            retry="any",
        ),
        Expected(
            name="on its list",
            answer=_items(_BOTH, "rejected", "hard-bounce"),
            state="rejected",
            reason="recipient_rejected",
        ),
        Expected(
            name="no address",
            answer=_items(_BOTH, "invalid"),
            state="rejected",
            reason="recipient_rejected",
        ),
        Expected(
            name="unsigned",
            answer=_items(_BOTH, "rejected", "unsigned"),
            state="rejected",
            reason="sender_rejected",
            retry="other",
        ),
        Expected(
            name="test limit",
            answer=_items(_BOTH, "rejected", "test-mode-limit"),
            state="deferred",
            reason="throttled",
            retry="other",
        ),
        Expected(
            name="names nobody",
            answer=answer(200, []),
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
