"""Gmail: https://developers.google.com/workspace/gmail/api/reference/rest/v1/users.messages/send

A whole message for each copy, sent out of an account of Gmail or Google Workspace. Gmail writes to whoever stands in
its To, Cc and Bcc, answers with its id, and reports no events.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import attrs

from genie_connect.api import (
    Account,
    ApiSettings,
    Call,
    Copy,
    Job,
    OAuthConnector,
    Result,
    Said,
    decoded,
    json_call,
    object_in,
    text_at,
    verdicts,
    with_options,
)
from genie_connect.contract import ConnectorInfo, Kind
from genie_connect.errors import Problem, ValidationError
from genie_connect.http import Response
from genie_connect.model.address import Address
from genie_connect.model.capability import CapabilityTable, yes
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings
from genie_connect_contrib.shared import KEPT

TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105  # where tokens are had
MAX_MESSAGE_BYTES = 36_700_160
"""What an upload may have, by the API's description."""
MAX_JSON_BYTES = 3_500_000
"""What goes as JSON: it is believed that 5 MB may, and base64 makes four bytes of three."""
_MIME = FrozenMap({"content-type": "message/rfc822", "accept": "application/json"})

_NO_MAIL = attrs.evolve(
    verdicts.AUTH, hint="Gmail is not on for the account, or the service account may not speak for it; check both."
)
# https://developers.google.com/workspace/gmail/api/guides/handle-errors
ERRORS = {
    "authError": verdicts.AUTH,
    "insufficientPermissions": verdicts.AUTH,
    "domainPolicy": verdicts.AUTH,
    "accessNotConfigured": verdicts.AUTH,  # believed, as the next but two
    "rateLimitExceeded": verdicts.THROTTLED,
    "userRateLimitExceeded": verdicts.THROTTLED,
    "failedPrecondition": _NO_MAIL,
    "dailyLimitExceeded": verdicts.QUOTA,
    "badRequest": verdicts.MALFORMED,
    "invalidArgument": verdicts.MALFORMED,
}
"""What the reasons of its errors mean."""


def _account_problem(value: str) -> str | None:
    try:
        return None if Address.parse(value).email == value else "is not an address alone"
    except ValidationError as error:
        return error.problems[0].message


def _aliases_problem(value: Iterable[str]) -> str | None:
    wrong = [each for each in value if _account_problem(each)]
    return f"holds {wrong[0]!r}, which is not an address alone" if wrong else None


@settings
class GmailSettings(ApiSettings):
    """Settings of a Gmail connection."""

    account: str = setting(
        title="Account",
        help="The address of the account that sends.",
        example="shop@acme.example",
        check=_account_problem,
    )
    send_as: tuple[str, ...] = setting(
        title="Send mail as",
        help="Other addresses that the account may send as (Gmail > Settings > Accounts). No other From is sent.",
        default=(),
        check=_aliases_problem,
        example=("orders@acme.example",),
    )
    service_account_key: Secret | None = setting(
        title="Service account key",
        help="The JSON file of the key. Its account needs domain-wide delegation for the scope gmail.send.",
        group="auth",
        secret=True,
        default=None,
        max_length=10_000,
        example="file:/etc/genie-connect/gmail-key.json",
    )
    client_id: str | None = setting(
        title="Client ID",
        help="Without a service account: Google Cloud console > APIs & Services > Credentials.",
        group="auth",
        default=None,
        example="1234-abc.apps.googleusercontent.com",
    )
    client_secret: Secret | None = setting(
        title="Client secret",
        help="The client's.",
        group="auth",
        secret=True,
        default=None,
        example="env:GMAIL_CLIENT_SECRET",
    )
    refresh_token: Secret | None = setting(
        title="Refresh token",
        help="What the account's owner gave the client for the scope gmail.send.",
        group="auth",
        secret=True,
        default=None,
        example="env:GMAIL_REFRESH_TOKEN",
    )

    def rules(self) -> Iterable[Problem]:
        """One way to a token, and whole."""
        yield from super().rules()
        client = {name: getattr(self, name) for name in ("client_id", "client_secret", "refresh_token")}
        missing = [name for name, value in client.items() if value is None]
        if self.service_account_key is None:
            fix = "give service_account_key, or client_id, client_secret and refresh_token"
            yield from (Problem(name, "is missing", fix) for name in missing)
        elif len(missing) < len(client):
            yield Problem("service_account_key", "stands beside a client, and one of them does", "leave one out")


class Gmail(OAuthConnector[GmailSettings]):
    """The connector."""

    info = ConnectorInfo(
        id="gmail",
        title="Gmail",
        kind=Kind.API,
        settings_class=GmailSettings,
        docs_url="https://developers.google.com/workspace/gmail/api/guides/sending",
        summary="Mail out of an account of Gmail or Google Workspace.",
        quality="gold",
    )
    urls = FrozenMap({"": "https://gmail.googleapis.com"})
    token_urls = FrozenMap({"": TOKEN_URL})
    errors = ERRORS
    protected = frozenset({"raw", "payload"})
    needs_to = False

    def capabilities(self, settings: GmailSettings | None) -> CapabilityTable:
        """As the API's description says. Believed: 500 recipients."""
        return self.table(
            settings,
            yes("send.transactional", max_recipients=500, max_message_bytes=MAX_MESSAGE_BYTES),
            yes("send.broadcast", "500 recipients a day for an account of Gmail, 2,000 for Workspace"),
            yes("send.attachments"),
            yes("send.inline_images"),
            yes("send.amp"),
            yes("send.cc_bcc"),
            yes("send.reply_to"),
            yes("send.headers"),
            yes("send.batch", "a request for each copy, four at a time", max_batch=50),
            yes("send.merge", "filled in here, for each copy"),
            yes("send.provider_options", "threadId and what else stands beside the message"),
            *KEPT,
        )

    def grant(self, settings: GmailSettings, now: datetime) -> Mapping[str, str]:
        """A signed assertion, or the refresh token: https://developers.google.com/identity/protocols/oauth2"""
        if settings.service_account_key is not None:
            # Here and not above: whoever lists connectors, or has a refresh token, needs no cryptography.
            from genie_connect_contrib.gmail.assertion import assertion_of

            assertion = assertion_of(settings.service_account_key, settings.account, now)
            return {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        secrets = {"client_secret": settings.client_secret, "refresh_token": settings.refresh_token}
        revealed = {name: secret.reveal() for name, secret in secrets.items() if secret is not None}
        return {"grant_type": "refresh_token", "client_id": settings.client_id or "", **revealed}

    def account(self, settings: GmailSettings) -> Account:
        """The profile, which a token for sending alone may not read."""
        field = "refresh_token" if settings.service_account_key is None else "service_account_key"
        path = f"/gmail/v1/users/{quote(settings.account, safe='@')}/profile"
        return Account(path=path, field=field, named="account", facts=_profile, unproven=_may_not_read)

    def calls(self, job: Job, settings: GmailSettings) -> Iterable[Call]:
        """One copy in each: in base64 as a field of JSON, or as it is where that would be too much."""
        allowed = {address.lower() for address in (settings.account, *settings.send_as)}
        if job.sender.email.lower() not in allowed:
            # Gmail would put the account's own address there, and say nothing.
            cause = f"is {job.sender.email}, as which the account may not send"
            raise ValidationError.single("from_", cause, "add it to send_as once Gmail lets the account send as it")
        for copy in job.copies:
            yield self._call(job, copy, settings)

    def _call(self, job: Job, copy: Copy, settings: GmailSettings) -> Call:
        path = f"/gmail/v1/users/{quote(settings.account, safe='@')}/messages/send"
        content = job.mime(copy)
        if len(content) > MAX_JSON_BYTES and not job.options:
            return Call(copies=(copy,), path=f"/upload{path}?uploadType=media", content=content, headers=_MIME)
        body = {"raw": base64.urlsafe_b64encode(content).decode("ascii")}
        return json_call(path, with_options(body, job.options, self.protected), [copy])

    def results(self, call: Call, response: Response) -> Iterable[Result]:
        """``{"id": ..., "threadId": ..., "labelIds": [...]}``."""
        provider_id = text_at(decoded(response), "id")
        return [Result(provider_id=provider_id)] if provider_id else []

    def said(self, response: Response) -> Said:
        """``{"error": {"code": 403, "message": ..., "errors": [{"reason": ...}]}}``."""
        data = object_in(response)
        word = text_at(data, "error", "errors", 0, "reason") or text_at(data, "error", "status")
        return Said(word=word or "", text=text_at(data, "error", "message"))


def _profile(data: Any) -> Mapping[str, Any]:
    return {"account": str(data["emailAddress"])}


def _may_not_read(response: Response) -> bool:
    # The token is good, and for sending alone.
    reason = text_at(object_in(response), "error", "errors", 0, "reason")
    return response.status == 403 and reason == "insufficientPermissions"


connector = Gmail()
