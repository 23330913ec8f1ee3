"""Azure Communication Services Email: https://learn.microsoft.com/rest/api/communication/email/email/send

One request for each copy, signed with the resource's access key. The answer names an operation, which goes on there.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import uuid
from collections.abc import Iterable, Mapping
from email.utils import format_datetime
from typing import Any

from genie_connect.api import (
    MIB,
    Account,
    ApiSettings,
    ApiState,
    Call,
    Copy,
    File,
    Job,
    Result,
    Said,
    WebhookConnector,
    credential,
    decoded,
    filled,
    json_call,
    object_in,
    text_at,
    verdicts,
)
from genie_connect.contract import ConnectorInfo, Kind, SendContext
from genie_connect.errors import SecretUnavailable, ValidationError
from genie_connect.http import Response
from genie_connect.http.target import Origin
from genie_connect.model.address import Address
from genie_connect.model.capability import CapabilityTable, conditional, yes
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings
from genie_connect.webhooks.settings import previous_shared_secret, shared_secret

VERSION = "api-version=2025-09-01"
_RESOURCE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}(\.[a-z0-9-]{2,20})?\Z", re.IGNORECASE)
_OPERATIONS = uuid.UUID("5f0d3bb2-6d0c-4c07-9c8a-7f0f3a1f4d6e")

# https://learn.microsoft.com/azure/communication-services/concepts/email/email-error-codes (believed)
ERRORS = {
    "Unauthorized": verdicts.AUTH,
    "Denied": verdicts.AUTH,
    "DomainNotLinked": verdicts.SENDER,
    "InvalidSenderUserName": verdicts.SENDER,
    "EmailDroppedAllRecipientsSuppressed": verdicts.RECIPIENT_BLOCKED,
    "TooManyRequests": verdicts.THROTTLED,
}
"""What the codes of its errors mean."""


def _resource_problem(value: str) -> str | None:
    return None if _RESOURCE.match(value) else "is not the name of a resource, as acme or acme.europe"


@settings
class AzureSettings(ApiSettings):
    """Settings of an Azure Communication Services connection."""

    resource: str = setting(
        title="Resource",
        help="What stands before .communication.azure.com in the endpoint, with the geography where there is one.",
        group="auth",
        example="acme.europe",
        check=_resource_problem,
    )
    access_key: Secret = credential(
        title="Access key",
        help="Azure portal > the Communication Services resource > Keys. Either of the two, in base64.",
        example="env:AZURE_COMMUNICATION_KEY",
    )
    webhook_secret: Secret | None = shared_secret()
    previous_webhook_secret: Secret | None = previous_shared_secret()


class Azure(WebhookConnector[AzureSettings]):
    """The connector."""

    info = ConnectorInfo(
        id="azure",
        title="Azure Communication Services",
        kind=Kind.API,
        settings_class=AzureSettings,
        docs_url="https://learn.microsoft.com/azure/communication-services/concepts/email/email-overview",
        summary="Mail by Azure Communication Services.",
        asks_permission=True,
    )
    errors = ERRORS
    needs_body = True
    protected = frozenset({"senderAddress", "recipients"})
    parser = "genie_connect_contrib.azure.events"

    def capabilities(self, settings: AzureSettings | None) -> CapabilityTable:
        """As the API's description says. Believed: 50 recipients."""
        return self.table(
            settings,
            yes("send.transactional", max_recipients=50, max_message_bytes=10 * MIB),
            yes("send.attachments", "beside a text or HTML body; some file types are refused"),
            yes("send.inline_images"),
            yes("send.cc_bcc", "beside at least one recipient in To"),
            yes("send.reply_to"),
            yes("send.headers"),
            yes("send.batch", "a request for each copy, four at a time", max_batch=50),
            yes("send.merge", "filled in here, for each copy"),
            conditional("send.track_opens", "on or off together with clicks, where the domain tracks"),
            conditional("send.track_clicks", "on or off together with opens, where the domain tracks"),
            yes("send.provider_options"),
        )

    def url(self, settings: AzureSettings) -> str:
        """The endpoint of the resource."""
        return f"https://{settings.resource}.communication.azure.com"

    def authorization(self, settings: AzureSettings) -> Mapping[str, str]:
        """Nothing that stays the same: each request is signed."""
        _key(settings)
        return {}

    def signed(self, call: Call, state: ApiState[AzureSettings], context: SendContext) -> Mapping[str, str]:
        """HMAC-SHA256: https://learn.microsoft.com/azure/communication-services/tutorials/hmac-header-tutorial"""
        origin = Origin.of(state.settings.base_url or self.url(state.settings))
        host = origin.url.partition("://")[2].partition("/")[0]
        date = format_datetime(context.clock.now(), usegmt=True)
        digest = base64.b64encode(hashlib.sha256(call.content).digest()).decode("ascii")
        said = f"{call.method}\n{origin.prefix}{call.path}\n{date};{host};{digest}"
        signature = hmac.digest(_key(state.settings), said.encode(), "sha256")
        names, value = "x-ms-date;host;x-ms-content-sha256", base64.b64encode(signature).decode("ascii")
        return {
            **call.headers,
            "x-ms-date": date,
            "x-ms-content-sha256": digest,
            "authorization": f"HMAC-SHA256 SignedHeaders={names}&Signature={value}",
        }

    def account(self, settings: AzureSettings) -> Account:
        """An operation that there is not, which only a good key is told."""
        path = f"/emails/operations/{uuid.UUID(int=0)}?{VERSION}"
        return Account(path=path, field="access_key", proven=_not_there)

    def calls(self, job: Job, settings: AzureSettings) -> Iterable[Call]:
        """One copy in each. The operation has an id of ours, the same for the same copy of a send."""
        message = job.message
        if None not in (message.track_opens, message.track_clicks) and message.track_opens != message.track_clicks:
            raise ValidationError.single("track_clicks", "is not as track_opens, and Azure has one switch", "say one")
        tracked = message.track_opens if message.track_clicks is None else message.track_clicks
        shared = {
            "senderAddress": job.sender.email,
            "replyTo": _addresses(message.reply_to),
            "attachments": [_attachment(file) for file in job.files],
            "userEngagementTrackingDisabled": None if tracked is None else not tracked,
        }
        for copy in job.copies:
            operation = str(uuid.uuid5(_OPERATIONS, f"{job.attempt_id} {copy.message_id}"))
            body = self.body(job, shared | _own(copy))
            yield json_call(f"/emails:send?{VERSION}", body, [copy], {"operation-id": operation})

    def results(self, call: Call, response: Response) -> Iterable[Result]:
        """``{"id": ..., "status": "Running"}``; it may have failed already."""
        data = decoded(response)
        provider_id, status = text_at(data, "id"), text_at(data, "status")
        if provider_id is None:
            return []
        if status not in ("Failed", "Canceled"):
            return [Result(provider_id=provider_id)]
        verdict = self.errors.get(text_at(data, "error", "code") or "", verdicts.MALFORMED)
        return [Result(verdict=verdict, provider_id=provider_id, text=text_at(data, "error", "message") or status)]

    def said(self, response: Response) -> Said:
        """``{"error": {"code": ..., "message": ...}}``."""
        data = object_in(response)
        return Said(word=text_at(data, "error", "code") or "", text=text_at(data, "error", "message"))


def _key(settings: AzureSettings) -> bytes:
    try:
        return base64.b64decode(settings.access_key.reveal(), validate=True)
    except (binascii.Error, ValueError):
        fix = "Copy the key alone, not the connection string."
        raise SecretUnavailable(settings.access_key.reference or "access_key", "it is not base64", hint=fix) from None


def _own(copy: Copy) -> dict[str, Any]:
    texts = copy.texts
    to = {"to": copy.to, "cc": copy.cc, "bcc": copy.bcc}
    return {
        "content": {"subject": texts.subject} | filled({"plainText": texts.text, "html": texts.html}),
        "recipients": filled({name: _addresses(addresses) for name, addresses in to.items()}),
        "headers": copy.headers,
    }


def _addresses(addresses: Iterable[Address]) -> list[dict[str, str]]:
    return [filled({"address": address.email, "displayName": address.name}) for address in addresses]


def _attachment(file: File) -> dict[str, str]:
    attachment = {"name": file.filename, "contentType": file.content_type, "contentInBase64": file.content}
    return attachment | {"contentId": file.content_id} if file.content_id else attachment


def _not_there(response: Response) -> bool:
    return response.status == 404 and bool(text_at(object_in(response), "error", "code"))


connector = Azure()
