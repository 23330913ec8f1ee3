"""Microsoft Graph as its documentation shows it."""

from __future__ import annotations

import base64

from genie_connect.http import NoAnswer, NotSent, Response
from genie_connect.http.fake import Request
from genie_connect_contrib.msgraph import connector
from tests.contrib.providers.harness import SECRET, TOKEN, Expected, Provider, answer, document, emails_in, whole

_PATH = "/users/shop@example.com/sendMail"


def _reached(request: Request) -> list[str]:
    return emails_in(whole(base64.b64decode(request.content, validate=True))) if request.url == _PATH else []


def _check(request: Request) -> None:
    """The path is the description's; of MIME it says in words alone that it is base64."""
    described = document("msgraph/trimmed-sendmail.json")["paths"]["/users/{user-id}/sendMail"]["post"]
    assert "**base64** format in the request body" in described["description"]
    assert (request.url, request.headers["content-type"]) == (_PATH, "text/plain")
    assert len(request.content) <= 4_000_000
    assert emails_in(whole(base64.b64decode(request.content, validate=True)))


def _error(status: int, code: str, message: str, **headers: str) -> Response:
    return answer(status, {"error": {"code": code, "message": message, "innerError": {}}}, **headers)


PROVIDER = Provider(
    connector=connector,
    settings={
        "tenant": "acme.onmicrosoft.com",
        "client_id": "00001111-aaaa-2222-bbbb-3333cccc4444",
        "client_secret": SECRET,
        "mailbox": "shop@example.com",
    },
    credentials={"authorization": f"Bearer {TOKEN}"},
    token_path="/acme.onmicrosoft.com/oauth2/v2.0/token",
    accepts=lambda _: Response(status=202, headers=answer(202, request_id="8e0d").headers),
    reached=_reached,
    check=_check,
    accepted_id="8e0d",
    account=answer(200, {"displayName": "Shop", "mail": "shop@example.com", "userPrincipalName": "shop@example.com"}),
    answers=(
        Expected(
            name="token refused",
            answer=_error(401, "InvalidAuthenticationToken", "Lifetime validation failed"),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="no right to the mailbox",
            answer=_error(403, "ErrorAccessDenied", "Access is denied"),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="no such mailbox",
            answer=_error(404, "ErrorInvalidUser", "The requested user is invalid"),
            state="deferred",
            reason="auth",
            retry="other",
        ),
        Expected(
            name="another From",
            answer=_error(403, "ErrorSendAsDenied", "does not have the right to send mail on behalf of"),
            state="rejected",
            reason="sender_rejected",
            retry="other",
        ),
        Expected(
            name="no recipients",
            answer=_error(400, "ErrorInvalidRecipients", "At least one recipient is not valid"),
            state="rejected",
            reason="permanent",
            retry="other",
        ),
        Expected(
            name="too big",
            answer=Response(status=413),
            state="rejected",
            reason="too_large",
            retry="other",
        ),
        Expected(
            name="throttled",
            answer=_error(429, "ApplicationThrottled", "over its MailboxConcurrency limit", retry_after="10"),
            state="deferred",
            reason="throttled",
            retry="any",
            retry_after_s=10.0,
        ),
        Expected(
            name="sending limit",
            answer=_error(403, "ErrorExceededMessageLimit", "The message submission quota is exceeded"),
            state="deferred",
            reason="throttled",
            retry="other",
        ),
        Expected(
            name="busy",
            answer=_error(503, "ErrorServerBusy", "try again later", retry_after="5"),
            state="unknown",
            reason="in_doubt",
        ),
        Expected(name="200", answer=Response(status=200, body=b"<html>"), state="unknown", reason="in_doubt"),
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
