"""Postmark as its documentation shows it."""

from __future__ import annotations

from genie_connect.http import NoAnswer, NotSent, Response
from genie_connect.http.fake import Request
from genie_connect_contrib.postmark import connector
from tests.contrib.providers.harness import SECRET, Expected, Provider, answer, emails, openapi, said

_check = openapi("postmark/derived-postmark-sdk.openapi.json")


def _items(request: Request) -> list[dict[str, object]]:
    body = said(request)
    return body.get("Messages", [body]) if isinstance(body, dict) else body


def _ok(item: dict[str, object], number: int) -> dict[str, object]:
    return {
        "To": item["To"],
        "SubmittedAt": "2026-11-25T10:00:00.0000000Z",
        "MessageID": f"b7bc2f4a-e38e-4336-af7d-{number:012d}",
        "ErrorCode": 0,
        "Message": "OK",
    }


def _accepts(request: Request) -> Response:
    answers = [_ok(item, number) for number, item in enumerate(_items(request))]
    return answer(200, answers[0] if request.url in ("/email", "/email/withTemplate") else answers)


def _checked(request: Request) -> None:
    body = said(request)
    if "emplate" not in request.url:
        _check(request.url, body)
        return
    # The description has no templates: what is left of such a message without them has to fit a plain one.
    for item in _items(request):
        assert ("TemplateId" in item) != ("TemplateAlias" in item)
        assert isinstance(item["TemplateModel"], dict)
        assert not {"Subject", "TextBody", "HtmlBody"} & set(item)
        _check("/email", {name: value for name, value in item.items() if not name.startswith("Template")})


def _error(status: int, code: int, message: str, **headers: str) -> Response:
    return answer(status, {"ErrorCode": code, "Message": message}, **headers)


PROVIDER = Provider(
    connector=connector,
    settings={"server_token": SECRET, "broadcast_stream": "news"},
    credentials={"x-postmark-server-token": SECRET},
    accepts=_accepts,
    reached=lambda request: [
        email for item in _items(request) for name in ("To", "Cc", "Bcc") for email in emails(item.get(name))
    ],
    check=_checked,
    described=_check,
    accepted_id="b7bc2f4a-e38e-4336-af7d-000000000000",
    account=answer(200, {"ID": 1, "Name": "Shop", "DeliveryType": "Live"}),
    answers=(
        Expected(
            name="no token",
            answer=_error(401, 10, "No Account or Server API tokens were supplied in the HTTP headers."),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="invalid",
            answer=_error(422, 300, "Invalid 'From' value."),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(
            name="no signature",
            answer=_error(422, 400, "The 'From' address you supplied is not a Sender Signature on your account."),
            state="rejected",
            reason="sender_rejected",
            retry="other",
        ),
        Expected(
            name="out of credit",
            answer=_error(422, 405, "Not allowed to send."),
            state="deferred",
            reason="throttled",
            retry="other",
        ),
        Expected(
            name="inactive",
            answer=_error(422, 406, "You tried to send to recipients that have all been marked as inactive."),
            state="rejected",
            reason="recipient_rejected",
        ),
        Expected(
            name="pending",
            answer=_error(422, 412, "Your account is pending approval."),
            state="deferred",
            reason="policy",
            retry="other",
        ),
        Expected(
            name="throttled",
            answer=_error(429, 429, "Rate limit exceeded."),
            state="deferred",
            reason="throttled",
            retry="any",
        ),
        Expected(
            name="maintenance",
            answer=_error(503, 100, "Maintenance"),
            state="deferred",
            reason="temporary",
            retry="any",
        ),
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
