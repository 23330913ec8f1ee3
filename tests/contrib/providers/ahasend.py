"""AhaSend as its OpenAPI description shows it."""

from __future__ import annotations

import re
from typing import Any

from genie_connect.http import NoAnswer, NotSent, Response
from genie_connect.http.fake import Request
from genie_connect_contrib.ahasend import connector
from tests.contrib.providers.harness import SECRET, Expected, Provider, answer, openapi, said

ACCOUNT = "0b8f2f6e-0a4b-4d1c-9a55-0a1b2c3d4e5f"
_check = openapi("ahasend/trimmed.strict.json")
_ID = "5f3c1c2e-9d7f-4a3c-8a4d-000000000000@ahasend.example"


def _reached(request: Request) -> list[str]:
    body = said(request) if request.content else {}
    return [each["email"] for name in ("recipients", "to", "cc", "bcc") for each in body.get(name, [])]


def _item(email: str, status: str = "queued", error: str | None = None) -> dict[str, Any]:
    message_id = f"<{_ID}>" if error is None else None
    return {"object": "message", "id": message_id, "recipient": {"email": email}, "status": status, "error": error}


def _checked(request: Request) -> None:
    body = said(request)
    assert body.get("text_content") or body.get("html_content")
    assert {name.lower() for name in body.get("headers", {})}.isdisjoint({"reply-to", "cc"})
    assert not re.search(r"\{[{%#]", body["subject"]) or "to" in body
    path = request.url.replace(ACCOUNT, "{account_id}")
    assert path.startswith("/v2/accounts/{account_id}/messages")
    _check(path, body)


PROVIDER = Provider(
    connector=connector,
    settings={"api_key": SECRET, "account_id": ACCOUNT},
    credentials={"authorization": f"Bearer {SECRET}"},
    accepts=lambda request: answer(202, {"object": "list", "data": [_item(email) for email in _reached(request)]}),
    reached=_reached,
    check=_checked,
    described=_check,
    accepted_id=_ID,
    account=answer(200, {"message": "pong"}),
    answers=(
        Expected(
            name="wrong key",
            answer=answer(401, {"message": "invalid API key"}),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="not for this domain",
            answer=answer(403, {"message": "insufficient permissions for the required scope"}),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="invalid",
            answer=answer(400, {"message": "invalid subject"}),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(
            name="refused one by one",
            answer=answer(
                202,
                {"object": "list", "data": [_item(f"{n}@example.com", "error", "bad") for n in ("ada", "bob")]},
            ),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(
            name="key in use",
            answer=answer(409, {"message": "already in progress"}, retry_after="2", idempotent_replayed="false"),
            state="unknown",
            reason="in_doubt",
        ),
        Expected(
            name="other body under the key",
            answer=answer(422, {"message": "idempotency key was already used with a different request payload"}),
            state="unknown",
            reason="in_doubt",
        ),
        Expected(
            name="throttled",
            answer=answer(429, {"message": "slow down"}, retry_after="1"),
            state="deferred",
            reason="throttled",
            retry="any",
            retry_after_s=1.0,
        ),
        Expected(name="server error", answer=answer(500, {"message": "internal"}), state="unknown", reason="in_doubt"),
        Expected(
            name="names nobody",
            answer=answer(202, {"object": "list", "data": []}),
            state="unknown",
            reason="in_doubt",
        ),
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
