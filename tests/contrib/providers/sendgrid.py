"""SendGrid as its documentation and its OpenAPI description show it."""

from __future__ import annotations

from typing import Any

from genie_connect.http import NoAnswer, NotSent, Response
from genie_connect.http.fake import Request
from genie_connect_contrib.sendgrid import connector
from tests.contrib.providers.harness import SECRET, Expected, Provider, answer, openapi, said

_check = openapi("sendgrid/trimmed-mail.strict.json")
_ID = "14c5d75ce93.dfd.64b469"


def _items(request: Request) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = said(request)["personalizations"]
    return found


def _checked(request: Request) -> None:
    body = said(request)
    for name in ("subject", "content"):
        assert name in body or "template_id" in body
    for item in body["personalizations"]:
        assert len(repr(item.get("substitutions", {}))) < 10_000
        everybody = [each["email"].lower() for name in ("to", "cc", "bcc") for each in item.get(name, [])]
        assert len(everybody) == len(set(everybody)) <= 1000  # the guide: each address once
    _check("/v3/mail/send", body)


def _error(status: int, message: str, field: str | None = None, **headers: str) -> Response:
    return answer(status, {"errors": [{"message": message, "field": field, "help": None}]}, **headers)


PROVIDER = Provider(
    connector=connector,
    settings={"api_key": SECRET},
    credentials={"authorization": f"Bearer {SECRET}"},
    accepts=lambda _: answer(202, x_message_id=_ID),
    reached=lambda request: [
        each["email"] for item in _items(request) for name in ("to", "cc", "bcc") for each in item.get(name, [])
    ],
    check=_checked,
    described=_check,
    accepted_id=_ID,
    account=answer(200, {"scopes": ["mail.send", "user.email.read"]}),
    answers=(
        Expected(
            name="no key",
            answer=_error(401, "The provided authorization grant is invalid, expired, or revoked"),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="no credits",
            answer=_error(401, "Maximum credits exceeded"),
            state="deferred",
            reason="throttled",
            retry="other",
        ),
        Expected(
            name="unverified sender",
            answer=_error(403, "The from address does not match a verified Sender Identity.", "from"),
            state="rejected",
            reason="sender_rejected",
            retry="other",
        ),
        Expected(
            name="forbidden", answer=_error(403, "access forbidden"), state="deferred", reason="auth", retry="other"
        ),
        Expected(
            name="invalid",
            answer=_error(400, "The subject is required.", "subject"),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(
            name="bad template",
            answer=_error(400, "The template_id must be a valid GUID", "template_id"),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(
            name="too large",
            answer=_error(413, "content too large"),
            state="rejected",
            reason="too_large",
            retry="other",
        ),
        Expected(
            name="throttled",
            answer=_error(429, "too many requests", x_ratelimit_reset="1764064800"),
            state="deferred",
            reason="throttled",
            retry="any",
        ),
        Expected(name="server error", answer=_error(500, "internal server error"), state="unknown", reason="in_doubt"),
        Expected(name="unavailable", answer=answer(503), state="unknown", reason="in_doubt"),
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
