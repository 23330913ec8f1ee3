"""Twilio SendGrid: https://www.twilio.com/docs/sendgrid/api-reference/mail-send

Up to 1,000 recipients in one call, each with values of its own for what is filled in. The answer to a call is one id,
and no recipient is refused in it: that comes later, as an event.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlencode

from genie_connect.api import (
    ATTEMPT,
    MESSAGE_ID,
    MIB,
    Account,
    ApiConnector,
    ApiSettings,
    ApiState,
    Call,
    Copy,
    File,
    Job,
    Result,
    Said,
    Tokens,
    credential,
    event_rows,
    filled,
    json_call,
    object_in,
    text_at,
    tokens_of,
    verdicts,
    with_options,
)
from genie_connect.contract import ConnectorInfo, Kind, WebhookRequest
from genie_connect.errors import Problem, ValidationError
from genie_connect.hookspecs import hookimpl
from genie_connect.http import Response
from genie_connect.model.capability import CapabilityTable, conditional, yes
from genie_connect.model.event import Event
from genie_connect.model.outcome import Outcome, State
from genie_connect.model.receipt import Attempt
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings
from genie_connect.webhooks.settings import previous_secret, previous_shared_secret, shared_secret, signing_secret
from genie_connect.webhooks.signatures import ecdsa_key
from genie_connect_contrib.shared import email_name, emails_names

URLS = {"global": "https://api.sendgrid.com", "eu": "https://api.eu.sendgrid.com"}
MAX_RECIPIENTS = 1000
MAX_VALUES_BYTES = 10_000
"""Of what is filled in for one recipient, and of its custom arguments."""

# The field that an error names (its message is text for people): https://docs.sendgrid.com/api-reference/mail-send/errors
ERRORS = {
    "from": verdicts.SENDER,
    "from.email": verdicts.SENDER,
    "template_id": verdicts.TEMPLATE,
    "Maximum credits exceeded": verdicts.QUOTA,  # with the status 401: https://github.com/sendgrid/sendgrid-nodejs/issues/1032
}
"""What the fields mean that its errors name, and the texts of those that name none."""
STATUSES = {413: verdicts.TOO_LARGE}


@settings
class SendGridSettings(ApiSettings):
    """Settings of a SendGrid connection."""

    api_key: Secret = credential(
        title="API key",
        help="SendGrid > Settings > API Keys, with the right Mail Send.",
        example="env:SENDGRID_API_KEY",
    )
    region: Literal["global", "eu"] = setting(
        title="Region",
        help="Where the account's data are: eu for a regional subuser.",
        default="global",
        titles={"global": "Global", "eu": "European Union"},
    )
    check_only: bool = setting(
        title="Check only",
        help="SendGrid checks what it gets and sends nothing (its sandbox mode).",
        group="advanced",
        default=False,
    )
    webhook_public_key: Secret | None = signing_secret(
        ecdsa_key, title="Webhook public key", help="SendGrid > Settings > Mail Settings > Event Webhooks > Security."
    )
    previous_webhook_public_key: Secret | None = previous_secret(ecdsa_key, title="Previous webhook public key")
    inbound_secret: Secret | None = shared_secret(title="Inbound Parse secret", of="unsigned message of Inbound Parse")
    previous_inbound_secret: Secret | None = previous_shared_secret(title="Previous Inbound Parse secret")


class SendGrid(ApiConnector[SendGridSettings]):
    """The connector."""

    info = ConnectorInfo(
        id="sendgrid",
        title="SendGrid",
        kind=Kind.API,
        settings_class=SendGridSettings,
        docs_url="https://www.twilio.com/docs/sendgrid",
        summary="Mail by Twilio SendGrid's API, up to 1,000 recipients a call.",
        quality="platinum",
    )
    urls = URLS
    errors = ERRORS
    statuses = STATUSES
    needs_subject = True
    needs_body = True
    protected = frozenset({"personalizations", "from"})
    bearer = "api_key"

    def capabilities(self, settings: SendGridSettings | None) -> CapabilityTable:
        """Believed: 30 MB in all; the rest as the OpenAPI description and its guide say."""
        return self.table(
            settings,
            yes("send.transactional", max_recipients=MAX_RECIPIENTS, max_message_bytes=30 * MIB),
            yes("send.attachments", "beside a text or HTML body"),
            yes("send.inline_images"),
            yes("send.cc_bcc", "beside at least one recipient in To"),
            yes("send.reply_to"),
            yes("send.headers"),
            yes("send.batch", max_batch=MAX_RECIPIENTS),
            yes("send.merge", "filled in there, with values made here"),
            yes("send.tags", "as categories", max_tags=10, max_characters=255),
            yes("send.metadata", "as custom arguments, 10,000 bytes in all"),
            yes("send.schedule", max_ahead_s=72 * 3600),
            yes("send.templates", "dynamic ones"),
            yes("send.track_opens"),
            yes("send.track_clicks"),
            yes("send.provider_options"),
            *event_rows(settings is None or bool(settings.webhook_public_key), signature="ECDSA", inbound=True),
            conditional("lookup", "where the account has the add-on for its activity feed"),
        )

    def account(self, settings: SendGridSettings) -> Account:
        """What the key may do."""
        return Account(path="/v3/scopes", facts=_scopes)

    def calls(self, job: Job, settings: SendGridSettings) -> Iterable[Call]:
        """All copies in one call."""
        message = job.message
        tokens = tokens_of(job, lambda name: f"-genie.{name}-")
        body = filled(
            {
                "from": email_name(job.sender),
                "reply_to": email_name(message.reply_to[0]) if len(message.reply_to) == 1 else None,
                "reply_to_list": emails_names(message.reply_to) if len(message.reply_to) > 1 else None,
                "subject": tokens.texts.subject,
                "content": _content(tokens),
                "attachments": [_attachment(file) for file in job.files],
                "template_id": message.template.id if message.template else None,
                "categories": list(message.tags),
                "custom_args": {ATTEMPT: job.attempt_id},
                "send_at": int(message.send_at.timestamp()) if message.send_at else None,
                "mail_settings": {"sandbox_mode": {"enable": True}} if settings.check_only else None,
                "tracking_settings": _tracking(job),
            }
        )
        body |= {"personalizations": [filled(_own(job, copy, tokens)) for copy in job.copies]}
        _check(job, body)
        yield json_call("/v3/mail/send", with_options(body, job.options, self.protected), job.copies)

    def results(self, call: Call, response: Response) -> Iterable[Result]:
        """202 with one id for the call, by which events of its copies begin; 200 where it only checked. No body."""
        provider_id = response.headers.get("x-message-id")
        if provider_id is None and response.body.strip():
            return []  # another server's page
        return [Result(provider_id=provider_id)] * len(call.copies)

    def said(self, response: Response) -> Said:
        """``{"errors": [{"message": ..., "field": ...}]}``."""
        data = object_in(response)
        text = text_at(data, "errors", 0, "message")
        return Said(word=text_at(data, "errors", 0, "field") or text or "", text=text)

    @hookimpl
    def connector_parse_webhook(self, settings: SendGridSettings, request: WebhookRequest) -> Sequence[Event]:
        """Signed events, and messages of Inbound Parse."""
        # Here and not above: whoever lists connectors, or only sends, needs no parser of mail.
        from genie_connect_contrib.sendgrid.events import parse_webhook

        keys = (settings.webhook_public_key, settings.previous_webhook_public_key)
        return parse_webhook(keys, (settings.inbound_secret, settings.previous_inbound_secret), request)

    @hookimpl
    async def connector_lookup(self, state: ApiState[SendGridSettings], attempt: Attempt) -> Sequence[Outcome]:
        """Whom SendGrid took in an attempt, where the account may ask its activity feed."""
        query = urlencode({"limit": MAX_RECIPIENTS, "query": f'unique_args["{ATTEMPT}"]="{attempt.id}"'})
        data = await self.found(state, f"/v3/messages?{query}")
        found = data.get("messages") if isinstance(data, dict) else None
        return [
            Outcome(recipient=email, state=State.ACCEPTED, stage="final", provider_id=text_at(each, "msg_id"))
            for each in (found if isinstance(found, list) else ())
            if (email := text_at(each, "to_email"))
        ]


def _content(tokens: Tokens) -> list[dict[str, str]]:
    # It takes no empty part; beside another one it says nothing either.
    parts = {"text/plain": tokens.texts.text, "text/html": tokens.texts.html}
    return [{"type": content_type, "value": text} for content_type, text in parts.items() if text]


def _attachment(file: File) -> dict[str, str]:
    attachment = {"content": file.content, "filename": file.filename, "type": file.content_type}
    if file.content_id is None:
        return attachment | {"disposition": "attachment"}
    return attachment | {"disposition": "inline", "content_id": file.content_id}


def _tracking(job: Job) -> dict[str, Any]:
    opens, clicks = job.message.track_opens, job.message.track_clicks
    return filled(
        {
            "open_tracking": None if opens is None else {"enable": opens},
            "click_tracking": None if clicks is None else {"enable": clicks, "enable_text": clicks},
        }
    )


def _own(job: Job, copy: Copy, tokens: Tokens) -> dict[str, Any]:
    template = job.message.template is not None
    return {
        "to": emails_names(copy.to),
        "cc": emails_names(copy.cc),
        "bcc": emails_names(copy.bcc),
        "headers": copy.headers,
        "substitutions": {f"-genie.{name}-": value for name, value in tokens.values(copy).items()},
        "dynamic_template_data": copy.template_data if template else None,
        "custom_args": {**copy.metadata, MESSAGE_ID: copy.message_id},
    }


def _check(job: Job, body: Mapping[str, Any]) -> None:
    """Raise ``ValidationError`` for what SendGrid refuses."""
    problems: list[Problem] = []
    if any(not file.content for file in job.files):
        problems.append(Problem("attachments", "one is empty, and SendGrid takes no empty file", "leave it out"))
    if "template_id" in body and any("substitutions" in own for own in body["personalizations"]):
        problems.append(
            Problem("subject", "has merge fields, which a dynamic template does not go with", "leave it out")
        )
    for name in ("substitutions", "custom_args"):
        values = [own.get(name, {}) for own in body["personalizations"]]
        if any(sum(len(f"{key}{value}".encode()) for key, value in each.items()) > MAX_VALUES_BYTES for each in values):
            cause = f"has more than {MAX_VALUES_BYTES} bytes for a recipient"
            problems.append(Problem("merge" if name == "substitutions" else "metadata", cause, "shorten it"))
    if problems:
        raise ValidationError(problems)


def _scopes(data: Any) -> Mapping[str, Any]:
    scopes = data["scopes"]
    if "mail.send" not in scopes:
        raise ValueError("the key may not send mail (mail.send)")
    return {"scopes": len(scopes)}


connector = SendGrid()
