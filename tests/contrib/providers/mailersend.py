"""MailerSend as its documentation and the models of its SDK show it."""

from __future__ import annotations

from genie_connect.http import NoAnswer, NotSent, Response
from genie_connect.http.fake import Request
from genie_connect_contrib.mailersend import connector
from tests.contrib.providers.harness import SECRET, Expected, Provider, answer, openapi, said

_check = openapi("mailersend/derived-mailersend-sdk.openapi.json")
_ID = "5e42957d51f1d94a1070a733"


def _checked(request: Request) -> None:
    body = said(request)
    if "template_id" in body:
        body = {"subject": "the template's own", **body}  # its models want one, where a template has its own
    else:
        assert body.get("text") or body.get("html")
    _check("/email", body)


def _error(status: int, message: str, field: str | None = None, **headers: str) -> Response:
    body = {"message": "The given data was invalid.", "errors": {field: [message]}} if field else {"message": message}
    return answer(status, body, **headers)


PROVIDER = Provider(
    connector=connector,
    settings={"api_token": SECRET, "custom_headers": True},
    credentials={"authorization": f"Bearer {SECRET}"},
    accepts=lambda _: answer(202, x_message_id=_ID),
    reached=lambda request: [
        each["email"]
        for name in ("to", "cc", "bcc")
        for each in (said(request) if request.content else {}).get(name, [])
    ],
    check=_checked,
    described=_check,
    accepted_id=_ID,
    account=answer(200, {"quota": 500000, "remaining": 499986, "reset": "2026-11-26T00:00:00Z"}),
    answers=(
        Expected(
            name="wrong token",
            answer=_error(401, "Unauthenticated."),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="unverified domain",
            answer=_error(422, "The from.email domain must be verified in your account. #MS42207", "from.email"),
            state="rejected",
            reason="sender_rejected",
            retry="other",
        ),
        Expected(
            name="invalid",
            answer=_error(422, "The to.0.email must be a valid email address.", "to.0.email"),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(
            name="throttled",
            answer=_error(429, "Too many requests. #MS42901", retry_after="59"),
            state="deferred",
            reason="throttled",
            retry="any",
            retry_after_s=59.0,
        ),
        Expected(
            name="daily quota",
            answer=_error(429, "Daily quota exceeded. #MS42903", retry_after="3600"),
            state="deferred",
            reason="throttled",
            retry="other",
            retry_after_s=3600.0,
        ),
        Expected(name="server error", answer=answer(500), state="unknown", reason="in_doubt"),
        Expected(
            name="all on its lists",
            answer=answer(
                202,
                {
                    "message": "There are some warnings for your request.",
                    "warnings": [
                        {
                            "type": "ALL_SUPPRESSED",
                            "warning": "All of the recipients have been suppressed.",
                            "recipients": [{"email": "ada@example.com"}, {"email": "bob@example.com"}],
                        }
                    ],
                },
            ),
            state="rejected",
            reason="recipient_rejected",
        ),
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
