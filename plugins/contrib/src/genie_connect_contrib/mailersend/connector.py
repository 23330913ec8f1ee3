"""MailerSend: https://developers.mailersend.com/api/v1/email.html

One request for each copy: the endpoint for many messages answers with the id of a job, which no event knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from genie_connect.api import (
    MESSAGE_ID,
    Account,
    ApiConnector,
    ApiSettings,
    Call,
    Copy,
    File,
    Job,
    Result,
    Said,
    filled,
    json_call,
    object_in,
    text_at,
    verdicts,
    with_options,
)
from genie_connect.contract import ConnectorInfo, Kind, WebhookRequest
from genie_connect.errors import Problem, ValidationError
from genie_connect.hookspecs import hookimpl
from genie_connect.http import Response
from genie_connect.model.capability import CapabilityTable, conditional, yes
from genie_connect.model.event import Event
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings
from genie_connect.webhooks.settings import previous_secret, signing_secret
from genie_connect.webhooks.signatures import raw_key
from genie_connect_contrib.shared import MIB, NO_SMTPUTF8, SUPPRESSIONS, email_name, emails_names, events

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

    api_token: Secret = setting(
        title="API token",
        help="MailerSend > Integrations > API tokens, with the right to send.",
        group="auth",
        secret=True,
        example="env:MAILERSEND_TOKEN",
    )
    custom_headers: bool = setting(
        title="Own header fields",
        help="Whether the account's plan allows them.",
        default=False,
    )
    webhook_secret: Secret | None = signing_secret(
        raw_key, help="MailerSend > your domain > Webhooks > Signing secret."
    )
    previous_webhook_secret: Secret | None = previous_secret(raw_key)
    inbound_secret: Secret | None = signing_secret(
        raw_key, title="Inbound signing secret", help="MailerSend > your domain > Inbound routes > Secret."
    )
    previous_inbound_secret: Secret | None = previous_secret(raw_key, title="Previous inbound signing secret")


class MailerSend(ApiConnector[MailerSendSettings]):
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
    protected = frozenset({"from", "to", "cc", "bcc"})
    parallel = 2

    def capabilities(self, settings: MailerSendSettings | None) -> CapabilityTable:
        """Believed: 25 MB in all; the rest as the SDK checks it."""
        headers = [conditional("send.headers", "where the plan allows them and custom_headers says so")]
        return CapabilityTable(
            connector="mailersend",
            entries=(
                yes(
                    "send.transactional",
                    max_recipients=50,
                    max_message_bytes=25 * MIB,
                ),
                yes("send.broadcast"),
                yes("send.attachments", "beside a text or HTML body; the type goes by the extension"),
                yes("send.inline_images"),
                yes("send.html"),
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
                NO_SMTPUTF8,
                *events(settings is None or bool(settings.webhook_secret), signature="HMAC", inbound=True),
                SUPPRESSIONS,
                yes("test.connection"),
                yes("test.message"),
            ),
        )

    def authorization(self, settings: MailerSendSettings) -> Mapping[str, str]:
        """The token as a bearer token."""
        return {"authorization": f"Bearer {settings.api_token.reveal()}"}

    def account(self, settings: MailerSendSettings) -> Account:
        """What is left of the quota of requests; a token for sending alone may not ask."""
        return Account(path="/api-quota", facts=_quota, unproven=_may_not_ask, field="api_token")

    def calls(self, job: Job, settings: MailerSendSettings) -> Iterable[Call]:
        """One copy in each."""
        shared = _shared(job)
        for copy in job.copies:
            named = [f"{MESSAGE_ID}:{copy.message_id}"] if settings.webhook_secret else []
            body = filled(shared | _own(job, copy) | {"tags": [*job.message.tags, *named]})
            if job.message.template is None:
                body = {"subject": ""} | body
            yield json_call("/email", with_options(body, job.options, self.protected), [copy])

    def results(self, call: Call, response: Response) -> Iterable[Result]:
        """202 with the id in a header field; warnings name recipients on MailerSend's own lists."""
        provider_id = response.headers.get("x-message-id")
        said = object_in(response)
        if provider_id is None and response.body.strip() and not said:
            return []  # another server's page
        warnings = said.get("warnings")
        stopped: dict[str, Result] = {}
        for warning in warnings if isinstance(warnings, list) else ():
            named = warning.get("recipients") if isinstance(warning, dict) else None
            for each in named if isinstance(named, list) else ():
                refused = Result(verdict=verdicts.RECIPIENT_BLOCKED, text=text_at(warning, "warning"))
                stopped[(text_at(each, "email") or "").lower()] = refused
        return [Result(provider_id=provider_id, each=stopped)]

    def said(self, response: Response) -> Said:
        """``{"message": ..., "errors": {"from.email": ["... #MS42207"]}}``."""
        data = object_in(response)
        errors = data.get("errors")
        details = [text_at(each, 0) for each in errors.values()] if isinstance(errors, dict) else []
        text = next((detail for detail in details if detail), None) or text_at(data, "message")
        code = _CODE.search(text or "") or _CODE.search(text_at(data, "message") or "")
        return Said(word=code[1] if code else "", text=text)

    @hookimpl
    def connector_parse_webhook(self, settings: MailerSendSettings, request: WebhookRequest) -> Sequence[Event]:
        """Events and inbound messages."""
        # Here and not above: whoever lists connectors, or only sends, needs no parser of mail.
        from genie_connect_contrib.mailersend.events import parse_webhook

        return parse_webhook(_secrets(settings), request)


def _secrets(settings: MailerSendSettings) -> Sequence[Secret | None]:
    # One endpoint has both, and either may post only what MailerSend signed with it.
    current = (settings.webhook_secret, settings.inbound_secret)
    return (*current, settings.previous_webhook_secret, settings.previous_inbound_secret)


def _shared(job: Job) -> dict[str, Any]:
    message = job.message
    if message.template is None and not message.text and not message.html:
        cause = "is empty, and MailerSend takes no message without a body"
        raise ValidationError([Problem("text", cause, "give a text")])
    tracking = {"track_opens": message.track_opens, "track_clicks": message.track_clicks}
    return {
        "from": email_name(job.sender),
        "reply_to": email_name(message.reply_to[0]) if message.reply_to else None,
        "attachments": [_attachment(file) for file in job.files],
        "template_id": message.template.id if message.template else None,
        "send_at": int(message.send_at.timestamp()) if message.send_at else None,
        "settings": {name: on for name, on in tracking.items() if on is not None},
    }


def _own(job: Job, copy: Copy) -> dict[str, Any]:
    texts, data = copy.texts, copy.template_data if job.message.template else {}
    return {
        "to": emails_names(copy.to),
        "cc": emails_names(copy.cc),
        "bcc": emails_names(copy.bcc),
        "subject": texts.subject,
        "text": texts.text,
        "html": texts.html,
        "headers": [{"name": name, "value": value} for name, value in copy.headers.items()],
        "personalization": [{"email": address.email, "data": data} for address in copy.recipients] if data else None,
    }


def _attachment(file: File) -> dict[str, str]:
    attachment = {"content": file.content, "filename": file.filename}
    if file.content_id is None:
        return attachment | {"disposition": "attachment"}
    return attachment | {"disposition": "inline", "id": file.content_id}


def _quota(data: Any) -> Mapping[str, Any]:
    return {"requests_a_day": int(data["quota"]), "remaining": int(data["remaining"])}


def _may_not_ask(response: Response) -> bool:
    return response.status == 403


connector = MailerSend()
