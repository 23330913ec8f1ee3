"""Postal, a mail server that its operator hosts: https://docs.postalserver.io/developer/api

One request for each copy, with an id for each recipient. Its base URL is the operator's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from genie_connect.api import (
    MIB,
    Account,
    ApiSettings,
    Call,
    Copy,
    File,
    Job,
    Result,
    Said,
    WebhookConnector,
    credential,
    json_call,
    object_in,
    text_at,
    verdicts,
)
from genie_connect.contract import ConnectorInfo, Kind
from genie_connect.http import Response
from genie_connect.http.target import Origin, url_problem
from genie_connect.model.capability import CapabilityTable, no, yes
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings
from genie_connect.webhooks.settings import previous_secret, signing_secret
from genie_connect.webhooks.signatures import rsa_key
from genie_connect_contrib.shared import mailboxes

# https://apiv1.postalserver.io/controllers/send/message; the first three are those of the server itself.
ERRORS = {
    "AccessDenied": verdicts.AUTH,
    "InvalidServerAPIKey": verdicts.AUTH,
    "ServerSuspended": verdicts.SUSPENDED,
    "UnauthenticatedFromAddress": verdicts.SENDER,
    "FromAddressMissing": verdicts.SENDER,
    "NoRecipients": verdicts.MALFORMED,
    "NoContent": verdicts.MALFORMED,
    "TooManyToAddresses": verdicts.MALFORMED,
    "TooManyCCAddresses": verdicts.MALFORMED,
    "TooManyBCCAddresses": verdicts.MALFORMED,
    "AttachmentMissingName": verdicts.MALFORMED,
    "AttachmentMissingData": verdicts.MALFORMED,
    "ValidationError": verdicts.MALFORMED,
}
"""What its codes mean. They come with the status 200."""


def _server_problem(value: str) -> str | None:
    problem = url_problem(value)
    if problem is None and Origin.of(value).scheme != "https":
        problem = "is not https, so the key and the mail would travel in the clear"
    return problem


@settings
class PostalSettings(ApiSettings):
    """Settings of a Postal connection."""

    server: str = setting(
        title="Server",
        help="The address of your Postal.",
        example="https://postal.example.com",
        check=_server_problem,
    )
    api_key: Secret = credential(
        title="API key",
        help="Postal > the mail server > Credentials, of the type API.",
        example="env:POSTAL_API_KEY",
    )
    webhook_public_key: Secret | None = signing_secret(
        rsa_key,
        title="Webhook public key",
        help="The key that your Postal signs with: what stands after p= in its default DKIM record.",
    )
    previous_webhook_public_key: Secret | None = previous_secret(rsa_key, title="Previous webhook public key")


class Postal(WebhookConnector[PostalSettings]):
    """The connector."""

    info = ConnectorInfo(
        id="postal",
        title="Postal",
        kind=Kind.API,
        settings_class=PostalSettings,
        docs_url="https://docs.postalserver.io/developer/api",
        summary="Mail by the API of a Postal of your own.",
        quality="silver",
    )
    errors = ERRORS
    needs_body = True
    protected = frozenset({"from", "sender", "to", "cc", "bcc"})
    parser = "genie_connect_contrib.postal.events"
    signature = "RSA"
    inbound = True

    def capabilities(self, settings: PostalSettings | None) -> CapabilityTable:
        """As the server's source has it: 50 addresses in each field. Believed: 14 MB, which its operator may change."""
        return self.table(
            settings,
            yes("send.transactional", max_recipients=50, max_message_bytes=14 * MIB),
            yes("send.attachments", "beside a text or HTML body"),
            no("send.inline_images", "its attachments have no Content-ID"),
            yes("send.cc_bcc", "beside at least one recipient in To"),
            yes("send.reply_to"),
            yes("send.headers"),
            yes("send.batch", "a request for each copy, four at a time", max_batch=50),
            yes("send.merge", "filled in here, for each copy"),
            yes("send.tags", "one", max_tags=1),
            yes("send.provider_options"),
        )

    def url(self, settings: PostalSettings) -> str:
        """The operator's."""
        return settings.server

    def authorization(self, settings: PostalSettings) -> Mapping[str, str]:
        """The key of the mail server."""
        return {"x-server-api-key": settings.api_key.reveal()}

    def account(self, settings: PostalSettings) -> Account:
        """A message that there is not, which only a good key is told."""
        return Account(path="/api/v1/messages/message", method="POST", content=b'{"id":0}', facts=_known)

    def calls(self, job: Job, settings: PostalSettings) -> Iterable[Call]:
        """One copy in each."""
        message = job.message
        shared = {
            "from": str(job.sender),
            "reply_to": ", ".join(mailboxes(message.reply_to)),
            "tag": message.tags[0] if message.tags else None,
            "attachments": [_attachment(file) for file in job.files],
        }
        for copy in job.copies:
            body = self.body(job, shared | _own(copy))
            yield json_call("/api/v1/send/message", body, [copy])

    def results(self, call: Call, response: Response) -> Iterable[Result]:
        """``{"status": "success", "data": {"messages": {EMAIL: {"id": 7, "token": ...}}}}``, or an error."""
        said, data = object_in(response), object_in(response).get("data")
        word = text_at(data, "code") or ""
        if text_at(said, "status") in ("error", "parameter-error"):
            verdict = self.errors.get(word, verdicts.MALFORMED)
            return [Result(verdict=verdict, text=text_at(data, "message") or word or None)] * len(call.copies)
        messages = data.get("messages") if isinstance(data, dict) else None
        found = {str(email).lower(): each for email, each in (messages if isinstance(messages, dict) else {}).items()}
        return [_result(copy, found) for copy in call.copies]

    def said(self, response: Response) -> Said:
        """The same, with another status."""
        data = object_in(response).get("data")
        return Said(word=text_at(data, "code") or "", text=text_at(data, "message"))


def _result(copy: Copy, found: Mapping[str, Any]) -> Result:
    each = {
        address.key: Result(provider_id=text_at(found[address.email.lower()], "id"))
        for address in copy.recipients
        if address.email.lower() in found
    }
    return Result(verdict=verdicts.UNKNOWN, text="the answer does not name the recipient", each=each)


def _own(copy: Copy) -> dict[str, Any]:
    texts = copy.texts
    return {
        "to": mailboxes(copy.to),
        "cc": mailboxes(copy.cc),
        "bcc": mailboxes(copy.bcc),
        "subject": texts.subject,
        "plain_body": texts.text,
        "html_body": texts.html,
        "headers": copy.headers,
    }


def _attachment(file: File) -> dict[str, str]:
    return {"name": file.filename, "content_type": file.content_type, "data": file.content}


def _known(data: Any) -> Mapping[str, Any]:
    if data["status"] != "success" and data["data"].get("code") != "MessageNotFound":
        raise ValueError(f"it says {data['data'].get('code')}")
    return {}


connector = Postal()
