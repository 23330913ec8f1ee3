"""MailerSend: https://developers.mailersend.com/api/v1/email.html

One request for each copy: the endpoint for many messages answers with the id of a job, which no event knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from genie_connect import CapabilityTable, ConnectorInfo, Kind, Secret, setting, settings
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
    filled,
    items_at,
    json_call,
    object_in,
    text_at,
    verdicts,
)
from genie_connect.http import Response
from genie_connect.model.capability import conditional, yes
from genie_connect.webhooks.settings import previous_secret, signing_secret
from genie_connect.webhooks.signatures import raw_key
from genie_connect_contrib.shared import email_name, to_cc_bcc

URLS = {"": "https://api.mailersend.com/v1"}
_CODE = re.compile(r"#(MS[0-9]{5})")
# MailerSend puts the code of an error at the end of its text: https://developers.mailersend.com/general.html#errors
ERRORS = {
    "MS42207": verdicts.SENDER,
    "MS42225": verdicts.QUOTA,
    "MS42901": verdicts.THROTTLED,
    "MS42903": verdicts.QUOTA,
}


@settings
class MailerSendSettings(ApiSettings):
    """Settings of a MailerSend connection."""

    api_token: Secret = credential(
        title="API token",
        help="MailerSend > Integrations > API tokens, with the right to send.",
        example="env:MAILERSEND_TOKEN",
    )
    custom_headers: bool = setting(title="Own header fields", help="Whether the plan allows them.", default=False)
    webhook_secret: Secret | None = signing_secret(raw_key, help="MailerSend > a domain > Webhooks > Signing secret.")
    previous_webhook_secret: Secret | None = previous_secret(raw_key)
    inbound_secret: Secret | None = signing_secret(
        raw_key, title="Inbound signing secret", help="MailerSend > your domain > Inbound routes > Secret."
    )
    previous_inbound_secret: Secret | None = previous_secret(raw_key, title="Previous inbound signing secret")


class MailerSend(WebhookConnector[MailerSendSettings]):
    """The connector."""

    info = ConnectorInfo(
        id="mailersend",
        title="MailerSend",
        kind=Kind.API,
        settings_class=MailerSendSettings,
        docs_url="https://developers.mailersend.com",
        summary="Mail by MailerSend's API.",
        quality="platinum",
    )
    urls = URLS
    errors = ERRORS
    needs_body = True
    protected = frozenset({"from", "to", "cc", "bcc"})
    bearer = "api_token"
    parser = "genie_connect_contrib.mailersend.events"
    signature = "HMAC"
    inbound = True
    parallel = 2

    def capabilities(self, settings: MailerSendSettings | None) -> CapabilityTable:
        """Believed: 25 MB in all; the rest as the SDK checks it."""
        headers = [conditional("send.headers", "where the plan allows them and custom_headers says so")]
        return self.table(
            settings,
            yes("send.transactional", max_recipients=50, max_message_bytes=25 * MIB),
            yes("send.attachments", "beside a text or HTML body; the type goes by the extension"),
            yes("send.inline_images"),
            yes("send.cc_bcc", "beside at least one recipient in To", max_cc=10, max_bcc=10),
            yes("send.reply_to", "one", max_addresses=1),
            *(headers if settings is None or settings.custom_headers else ()),
            yes("send.batch", "a request for each copy, two at a time", max_batch=20),
            yes("send.merge", "filled in here, for each copy"),
            # With webhooks, the fifth tag is our Message-ID: there is no other field that events give back.
            yes("send.tags", max_tags=4 if settings and settings.webhook_secret else 5),
            yes("send.schedule", max_ahead_s=72 * 3600),
            yes("send.templates", "by id"),
            yes("send.track_opens"),
            yes("send.track_clicks"),
            yes("send.provider_options"),
        )

    def account(self, settings: MailerSendSettings) -> Account:
        """What is left of the quota of requests; a token for sending alone may not ask."""
        return Account(path="/api-quota", facts=_quota, unproven=lambda answer: answer.status == 403, field="api_token")

    def calls(self, job: Job, settings: MailerSendSettings) -> Iterable[Call]:
        """One copy in each."""
        message = job.message
        shared = {
            "from": email_name(job.sender),
            "reply_to": email_name(message.reply_to[0]) if message.reply_to else None,
            "attachments": [_attachment(file) for file in job.files],
            "template_id": message.template.id if message.template else None,
            "send_at": int(message.send_at.timestamp()) if message.send_at else None,
            "settings": filled({"track_opens": message.track_opens, "track_clicks": message.track_clicks}),
        }
        for copy in job.copies:
            named = [f"{MESSAGE_ID}:{copy.message_id}"] if settings.webhook_secret else []
            body = self.body(job, shared | _own(job, copy) | {"tags": [*message.tags, *named]})
            if message.template is None:
                body = {"subject": ""} | body
            yield json_call("/email", body, [copy])

    def results(self, call: Call, response: Response) -> Iterable[Result]:
        """202 with the id in a header field; warnings name recipients on MailerSend's own lists."""
        provider_id = response.headers.get("x-message-id")
        said = object_in(response)
        if provider_id is None and response.body.strip() and not said:
            return []  # another server's page
        stopped: dict[str, Result] = {}
        for warning in items_at(said, "warnings"):
            refused = Result(verdict=verdicts.RECIPIENT_BLOCKED, text=text_at(warning, "warning"))
            named = items_at(warning, "recipients")
            stopped |= {(text_at(each, "email") or "").lower(): refused for each in named}
        return [Result(provider_id=provider_id, each=stopped)]

    def said(self, response: Response) -> Said:
        """``{"message": ..., "errors": {"from.email": ["... #MS42207"]}}``."""
        data = object_in(response)
        errors = data.get("errors")
        details = [text_at(each, 0) for each in errors.values()] if isinstance(errors, dict) else []
        text = next((detail for detail in details if detail), None) or text_at(data, "message")
        code = _CODE.search(text or "") or _CODE.search(text_at(data, "message") or "")
        return Said(word=code[1] if code else "", text=text)


def _own(job: Job, copy: Copy) -> dict[str, Any]:
    texts, data = copy.texts, copy.template_data if job.message.template else {}
    return {
        **to_cc_bcc(copy),
        "subject": texts.subject,
        "text": texts.text,
        "html": texts.html,
        "headers": [{"name": name, "value": value} for name, value in copy.headers.items()],
        "personalization": [{"email": address.email, "data": data} for address in copy.recipients] if data else None,
    }


def _attachment(file: File) -> dict[str, str]:
    attachment = {"content": file.content, "filename": file.filename, "disposition": file.disposition}
    return attachment | {"id": file.content_id} if file.content_id else attachment


def _quota(data: Any) -> Mapping[str, Any]:
    return {"requests_a_day": int(data["quota"]), "remaining": int(data["remaining"])}


connector = MailerSend()
