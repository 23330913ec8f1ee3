"""Mailtrap: https://docs.mailtrap.io/developers/email-sending

Up to 500 messages in one call, each with an answer of its own, over the stream for transactional or for bulk mail, or
into a sandbox that delivers nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

from genie_connect.api import (
    MESSAGE_ID,
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
    decoded,
    json_call,
    object_in,
    text_at,
    verdicts,
)
from genie_connect.contract import ConnectorInfo, Kind
from genie_connect.errors import Problem
from genie_connect.http import Response
from genie_connect.model.capability import CapabilityTable, conditional, yes
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings
from genie_connect.webhooks.settings import previous_secret, signing_secret
from genie_connect.webhooks.signatures import raw_key
from genie_connect_contrib.shared import email_name, to_cc_bcc

URLS = {
    "transactional": "https://send.api.mailtrap.io",
    "bulk": "https://bulk.api.mailtrap.io",
    "sandbox": "https://sandbox.api.mailtrap.io",
}
MAX_BATCH = 500
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)


@settings
class MailtrapSettings(ApiSettings):
    """Settings of a Mailtrap connection."""

    api_token: Secret = credential(
        title="API token",
        help="Mailtrap > Sending Domains > Integration, or Settings > API Tokens.",
        example="env:MAILTRAP_TOKEN",
    )
    stream: Literal["transactional", "bulk", "sandbox"] = setting(
        title="Stream",
        help="Which of Mailtrap's services sends; the sandbox keeps what it gets and delivers nothing.",
        default="transactional",
        titles={"transactional": "Transactional", "bulk": "Bulk", "sandbox": "Sandbox"},
    )
    sandbox_id: int | None = setting(
        title="Sandbox ID",
        help="The number of the sandbox, as its address in the browser shows it.",
        default=None,
        minimum=1,
        show_if={"stream": "sandbox"},
    )
    webhook_secret: Secret | None = signing_secret(raw_key, help="Mailtrap shows it once, when the webhook is made.")
    previous_webhook_secret: Secret | None = previous_secret(raw_key)

    def rules(self) -> Iterable[Problem]:
        """What the settings cannot be together."""
        yield from super().rules()
        if self.stream == "sandbox" and self.sandbox_id is None:
            yield Problem("sandbox_id", "is missing", "give the number of the sandbox")


class Mailtrap(WebhookConnector[MailtrapSettings]):
    """The connector."""

    info = ConnectorInfo(
        id="mailtrap",
        title="Mailtrap",
        kind=Kind.API,
        settings_class=MailtrapSettings,
        docs_url="https://docs.mailtrap.io",
        summary="Mail by Mailtrap's API: transactional, bulk or into a sandbox.",
        quality="platinum",
    )
    urls = URLS
    needs_subject = True
    needs_body = True
    protected = frozenset({"from", "to", "cc", "bcc", "requests", "base"})
    bearer = "api_token"
    parser = "genie_connect_contrib.mailtrap.events"
    signature = "HMAC"

    def capabilities(self, settings: MailtrapSettings | None) -> CapabilityTable:
        """As the OpenAPI description says; no size of a single message is published."""
        return self.table(
            settings,
            yes("send.transactional", max_recipients=1000, max_message_bytes=50 * MIB),
            yes("send.attachments", "beside a text or HTML body"),
            yes("send.inline_images"),
            yes("send.cc_bcc", "beside at least one recipient in To"),
            yes("send.reply_to", "one", max_addresses=1),
            yes("send.headers"),
            yes("send.batch", max_batch=MAX_BATCH, max_batch_bytes=50 * MIB),
            yes("send.merge", "filled in here, for each copy"),
            conditional("send.tags", "one, and none beside a template", max_tags=1, max_characters=255),
            yes("send.metadata", "as custom variables"),
            yes("send.templates", "by UUID; the subject is the template's"),
            yes("send.provider_options"),
        )

    def url(self, settings: MailtrapSettings) -> str:
        """The host of the stream."""
        return URLS[settings.stream]

    def account(self, settings: MailtrapSettings) -> Account:
        """An empty message, which a good token has refused: what the account is stands on another host."""
        return Account(
            path=_path("send", settings), method="POST", content=b"{}", proven=_is_incomplete, field="api_token"
        )

    def problems(self, job: Job, settings: MailtrapSettings) -> Iterable[Problem]:
        """What does not go with a template, or is none."""
        yield from super().problems(job, settings)
        if job.message.template is not None:
            if job.message.subject or job.message.tags:
                yield Problem("template", "has its own subject and category", "leave subject and tags out")
            if not _UUID.match(job.message.template.id):
                yield Problem("template.id", "is not the UUID of a template at Mailtrap")

    def calls(self, job: Job, settings: MailtrapSettings) -> Iterable[Call]:
        """One copy, or up to 500 in one call."""
        shared = _shared(job)
        bodies = [self.body(job, shared | _own(job, copy)) for copy in job.copies]
        if len(bodies) == 1:
            yield json_call(_path("send", settings), bodies[0], job.copies)
        else:
            yield json_call(_path("batch", settings), {"requests": bodies}, job.copies)

    def results(self, call: Call, response: Response) -> Iterable[Result]:
        """``{"success": true, "message_ids": [...]}``, or such an answer for each copy in ``responses``."""
        data = decoded(response)
        answers = data.get("responses", [data]) if isinstance(data, dict) else []
        return [_result(copy, each) for copy, each in zip(call.copies, answers, strict=False)]

    def said(self, response: Response) -> Said:
        """``{"errors": ["..."]}`` or ``{"error": "..."}``."""
        return Said(text=_text(object_in(response)))


def _path(operation: str, settings: MailtrapSettings) -> str:
    return f"/api/{operation}/{settings.sandbox_id}" if settings.stream == "sandbox" else f"/api/{operation}"


def _shared(job: Job) -> dict[str, Any]:
    message = job.message
    return {
        "from": email_name(job.sender),
        "reply_to": email_name(message.reply_to[0]) if message.reply_to else None,
        "attachments": [_attachment(file) for file in job.files],
        "category": message.tags[0] if message.tags else None,
        "template_uuid": message.template.id if message.template else None,
    }


def _own(job: Job, copy: Copy) -> dict[str, Any]:
    texts = copy.texts
    return {
        **to_cc_bcc(copy),
        "subject": texts.subject,
        "text": texts.text,
        "html": texts.html,
        "headers": copy.headers,
        "custom_variables": {**copy.metadata, MESSAGE_ID: copy.message_id},
        "template_variables": copy.template_data if job.message.template else None,
    }


def _attachment(file: File) -> dict[str, str]:
    attachment = {"content": file.content, "filename": file.filename, "type": file.content_type}
    attachment["disposition"] = file.disposition
    return attachment | {"content_id": file.content_id} if file.content_id else attachment


def _result(copy: Copy, answer: Any) -> Result:
    if not isinstance(answer, dict) or not isinstance(answer.get("success"), bool):
        return Result(verdict=verdicts.UNKNOWN, text="the answer does not say whether it was taken")
    if not answer["success"]:
        return Result(verdict=verdicts.MALFORMED, text=_text(answer))
    ids = answer.get("message_ids")
    found = [str(each) for each in ids] if isinstance(ids, list) else []
    first = Result(provider_id=found[0] if found else None)
    if len(found) != len(copy.recipients):
        return first
    each = {address.key: Result(provider_id=one) for address, one in zip(copy.recipients, found, strict=True)}
    return Result(provider_id=first.provider_id, each=each)


def _text(data: Any) -> str | None:
    return text_at(data, "errors", 0) or text_at(data, "errors") or text_at(data, "error")


def _is_incomplete(response: Response) -> bool:
    return response.status == 400 and _text(object_in(response)) is not None


connector = Mailtrap()
