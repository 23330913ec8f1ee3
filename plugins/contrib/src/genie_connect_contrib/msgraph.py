"""Microsoft Graph: https://learn.microsoft.com/graph/api/user-sendmail

A whole message for each copy, sent out of a mailbox of Microsoft 365. Graph writes to whoever stands in its To, Cc and
Bcc, answers 202 with nothing, and reports no events.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

import attrs

from genie_connect.api import (
    Account,
    ApiSettings,
    Call,
    Job,
    OAuthConnector,
    Result,
    Said,
    credential,
    object_in,
    text_at,
    verdicts,
)
from genie_connect.contract import ConnectorInfo, Kind
from genie_connect.errors import ValidationError
from genie_connect.http import Response
from genie_connect.model.capability import CapabilityTable, conditional, no, yes
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings
from genie_connect_contrib.shared import KEPT

HOSTS = {
    "global": "https://graph.microsoft.com",
    "us_gov": "https://graph.microsoft.us",
    "us_dod": "https://dod-graph.microsoft.us",
    "china": "https://microsoftgraph.chinacloudapi.cn",
}
"""https://learn.microsoft.com/graph/deployments, as those below."""
LOGINS = {
    "global": "https://login.microsoftonline.com",
    "us_gov": "https://login.microsoftonline.us",
    "us_dod": "https://login.microsoftonline.us",
    "china": "https://login.chinacloudapi.cn",
}
MAX_MESSAGE_BYTES = 3_000_000
"""What 4 MB, believed to be the most that a request may have, hold of base64."""
_MIME = FrozenMap({"content-type": "text/plain", "accept": "application/json"})
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}\Z")
_MAILBOX = re.compile(r"[^\s/?\\]{1,320}\Z")

_NO_MAILBOX = attrs.evolve(verdicts.AUTH, hint="There is no such mailbox, or it has no licence; check the mailbox.")
# The codes of https://learn.microsoft.com/graph/errors and, for what Exchange says (believed),
# https://learn.microsoft.com/exchange/client-developer/web-service-reference/responsecode
ERRORS = {
    "InvalidAuthenticationToken": verdicts.AUTH,
    "Authorization_RequestDenied": verdicts.AUTH,
    "ErrorAccessDenied": verdicts.AUTH,
    "ErrorInvalidUser": _NO_MAILBOX,
    "MailboxNotEnabledForRESTAPI": _NO_MAILBOX,
    "ErrorSendAsDenied": verdicts.SENDER,
    "ErrorInvalidRecipients": verdicts.MALFORMED,
    "ErrorMimeContentInvalid": verdicts.MALFORMED,
    "ErrorMimeContentInvalidBase64String": verdicts.MALFORMED,
    "ErrorMessageSizeExceeded": verdicts.TOO_LARGE,
    "ErrorExceededMessageLimit": verdicts.QUOTA,
    "ErrorQuotaExceeded": verdicts.QUOTA,
    "ErrorMessageSubmissionBlocked": verdicts.SUSPENDED,
    "ErrorAccountSuspend": verdicts.SUSPENDED,
    "ApplicationThrottled": verdicts.THROTTLED,
    "TooManyRequests": verdicts.THROTTLED,
}
"""What the codes of its errors mean."""


def _tenant_problem(value: str) -> str | None:
    return None if _TENANT.match(value) else "is neither the ID of a tenant nor one of its domains"


def _mailbox_problem(value: str) -> str | None:
    return None if _MAILBOX.match(value) else "is neither an address nor an object ID"


@settings
class MsgraphSettings(ApiSettings):
    """Settings of a Microsoft Graph connection."""

    tenant: str = setting(
        title="Tenant",
        help="Entra admin centre > Overview > Tenant ID, or a domain of it.",
        group="auth",
        example="acme.onmicrosoft.com",
        check=_tenant_problem,
    )
    client_id: str = setting(
        title="Application (client) ID",
        help="Entra > App registrations > the app. It needs the application permission Mail.Send, with admin consent.",
        group="auth",
        example="00001111-aaaa-2222-bbbb-3333cccc4444",
    )
    client_secret: Secret = credential(
        title="Client secret",
        help="Entra > App registrations > the app > Certificates & secrets: the value, not its ID.",
        example="env:MSGRAPH_CLIENT_SECRET",
    )
    mailbox: str = setting(
        title="Mailbox",
        help="The mailbox that sends, by its address or object ID. Another From needs the right to send as it.",
        example="shop@acme.example",
        check=_mailbox_problem,
    )
    region: Literal["global", "us_gov", "us_dod", "china"] = setting(
        title="Cloud",
        help="The national cloud in which the tenant is.",
        default="global",
        titles={
            "global": "worldwide",
            "us_gov": "US Government L4",
            "us_dod": "US Government L5 (DoD)",
            "china": "operated by 21Vianet",
        },
    )


class Msgraph(OAuthConnector[MsgraphSettings]):
    """The connector."""

    info = ConnectorInfo(
        id="msgraph",
        title="Microsoft Graph",
        kind=Kind.API,
        settings_class=MsgraphSettings,
        docs_url="https://learn.microsoft.com/graph/api/user-sendmail",
        summary="Mail out of a mailbox of Microsoft 365.",
        quality="silver",
    )
    urls = FrozenMap({region: f"{host}/v1.0" for region, host in HOSTS.items()})
    token_urls = LOGINS
    errors = ERRORS
    protected = frozenset()
    parallel = 4  # https://learn.microsoft.com/graph/throttling-limits: so many at a time for each app and mailbox

    def capabilities(self, settings: MsgraphSettings | None) -> CapabilityTable:
        """Believed: 500 recipients, 4 MB. See the page of the connector for what becomes of header fields."""
        return self.table(
            settings,
            yes("send.transactional", max_recipients=500, max_message_bytes=MAX_MESSAGE_BYTES),
            yes("send.broadcast", "30 messages a minute and 10,000 recipients a day for each mailbox"),
            yes("send.attachments"),
            yes("send.inline_images"),
            no("send.amp", "Exchange keeps a text and an HTML body and no other (believed)"),
            yes("send.cc_bcc", "beside at least one recipient in To"),
            yes("send.reply_to"),
            conditional("send.headers", "Exchange may leave fields out, above all those that are not X-"),
            yes("send.batch", "a request for each copy, four at a time", max_batch=50),
            yes("send.merge", "filled in here, for each copy"),
            *KEPT,
        )

    def token_url(self, settings: MsgraphSettings) -> str:
        """The tenant's own."""
        return f"{LOGINS[settings.region]}/{settings.tenant}/oauth2/v2.0/token"

    def grant(self, settings: MsgraphSettings, now: datetime) -> Mapping[str, str]:
        """Client credentials: https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow"""
        return {
            "grant_type": "client_credentials",
            "client_id": settings.client_id,
            "client_secret": settings.client_secret.reveal(),
            "scope": f"{HOSTS[settings.region]}/.default",
        }

    def account(self, settings: MsgraphSettings) -> Account:
        """The user behind the mailbox, whom only an app with the permission User.Read.All may look at."""
        path = f"{_user(settings)}?$select=displayName,mail,userPrincipalName"
        return Account(path=path, field="client_secret", named="mailbox", facts=_facts, unproven=_may_not_look)

    def calls(self, job: Job, settings: MsgraphSettings) -> Iterable[Call]:
        """One copy in each: its bytes in base64, as ``text/plain``."""
        if job.options:
            raise ValidationError.single("provider_options", "have no place in a MIME message", "leave them out")
        for copy in job.copies:
            content = base64.b64encode(job.mime(copy))
            yield Call(copies=(copy,), path=f"{_user(settings)}/sendMail", content=content, headers=_MIME)

    def results(self, call: Call, response: Response) -> Iterable[Result]:
        """202 and nothing more. The id is that of the request, which Microsoft's support asks for."""
        if response.status != 202:
            return []
        return [Result(provider_id=response.headers.get("request-id"))]

    def said(self, response: Response) -> Said:
        """``{"error": {"code": ..., "message": ...}}``."""
        data = object_in(response)
        return Said(word=text_at(data, "error", "code") or "", text=text_at(data, "error", "message"))


def _user(settings: MsgraphSettings) -> str:
    return f"/users/{quote(settings.mailbox, safe='@')}"


def _facts(data: Any) -> Mapping[str, Any]:
    return {"mailbox": str(data["mail"] or data["userPrincipalName"]), "name": str(data.get("displayName") or "")}


def _may_not_look(response: Response) -> bool:
    # The token is good: whoever may send needs no right to read users.
    return response.status == 403 and text_at(object_in(response), "error", "code") == "Authorization_RequestDenied"


connector = Msgraph()
