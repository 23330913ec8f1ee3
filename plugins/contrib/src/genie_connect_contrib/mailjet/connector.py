"""Mailjet (Sinch), version 3.1 of its send API: https://dev.mailjet.com/email/reference/send-emails/

Up to 50 messages in one call, each with an answer of its own and an id for each recipient.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlencode

from genie_connect.api import (
    MESSAGE_ID,
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
    encoded,
    json_call,
    object_in,
    text_at,
    verdicts,
)
from genie_connect.contract import ConnectorInfo, Kind
from genie_connect.errors import Problem
from genie_connect.hookspecs import hookimpl
from genie_connect.http import Response
from genie_connect.model.address import Address
from genie_connect.model.capability import CapabilityTable, yes
from genie_connect.model.outcome import Outcome, State
from genie_connect.model.receipt import Attempt
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings
from genie_connect.webhooks.settings import previous_shared_secret, shared_secret

URLS = {"eu": "https://api.mailjet.com", "us": "https://api.us.mailjet.com"}
MAX_BATCH = 50

# https://dev.mailjet.com/email/guides/send-api-v31/#send-api-errors
ERRORS = {
    "send-0008": verdicts.SENDER,
    "mj-0013": verdicts.MALFORMED,
    "mj-0013: To": verdicts.RECIPIENT,
}


@settings
class MailjetSettings(ApiSettings):
    """Settings of a Mailjet connection."""

    api_key: Secret = credential(
        title="API key",
        help="Mailjet > Account > API Key Management: the public one.",
        example="env:MAILJET_API_KEY",
    )
    secret_key: Secret = credential(
        title="Secret key",
        help="The private one beside it.",
        example="env:MAILJET_SECRET_KEY",
    )
    region: Literal["eu", "us"] = setting(
        title="Region",
        help="Where the account is.",
        default="eu",
        titles={"eu": "European Union", "us": "United States"},
    )
    check_only: bool = setting(
        title="Check only",
        help="Mailjet checks what it gets and sends nothing (its sandbox mode).",
        group="advanced",
        default=False,
    )
    webhook_secret: Secret | None = shared_secret()
    previous_webhook_secret: Secret | None = previous_shared_secret()


class Mailjet(WebhookConnector[MailjetSettings]):
    """The connector."""

    info = ConnectorInfo(
        id="mailjet",
        title="Mailjet",
        kind=Kind.API,
        settings_class=MailjetSettings,
        docs_url="https://dev.mailjet.com",
        summary="Mail by Mailjet's API, with an id for each recipient.",
        quality="platinum",
    )
    urls = URLS
    errors = ERRORS
    itemised = (400,)
    needs_body = True
    protected = frozenset({"From", "Sender", "To", "Cc", "Bcc", "Messages", "Globals"})
    parser = "genie_connect_contrib.mailjet.events"
    inbound = True

    def capabilities(self, settings: MailjetSettings | None) -> CapabilityTable:
        """As its documentation and the types of its SDK say."""
        return self.table(
            settings,
            yes(
                "send.transactional",
                max_recipients=50,
                max_message_bytes=15 * MIB,
                max_subject_characters=255,
            ),
            yes("send.attachments", "beside a text or HTML body"),
            yes("send.inline_images"),
            yes("send.cc_bcc", "beside at least one recipient in To"),
            yes("send.reply_to", "one", max_addresses=1),
            yes("send.headers"),
            yes("send.batch", max_batch=MAX_BATCH),
            yes("send.merge", "filled in here, for each copy"),
            yes("send.tags", "one, as a campaign", max_tags=1),
            yes("send.metadata", "as the payload of events"),
            yes("send.templates", "by number"),
            yes("send.track_opens"),
            yes("send.track_clicks"),
            yes("send.provider_options"),
            yes("lookup", "by the attempt's id as CustomID"),
        )

    def authorization(self, settings: MailjetSettings) -> Mapping[str, str]:
        """Basic, with both keys."""
        pair = f"{settings.api_key.reveal()}:{settings.secret_key.reveal()}".encode()
        return {"authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}

    def account(self, settings: MailjetSettings) -> Account:
        """Whose the keys are."""
        return Account(path="/v3/REST/user", facts=_user, field="secret_key")

    def problems(self, job: Job, settings: MailjetSettings) -> Iterable[Problem]:
        """A template that has no number."""
        yield from super().problems(job, settings)
        if job.message.template is not None and not job.message.template.id.isdecimal():
            yield Problem("template.id", "is not the number of a template at Mailjet")

    def calls(self, job: Job, settings: MailjetSettings) -> Iterable[Call]:
        """All copies in one call."""
        shared = _shared(job)
        messages = [self.body(job, shared | _own(job, copy)) for copy in job.copies]
        body = {"Messages": messages} | ({"SandboxMode": True} if settings.check_only else {})
        yield json_call("/v3.1/send", body, job.copies)

    def results(self, call: Call, response: Response) -> Iterable[Result]:
        """``{"Messages": [{"Status": "success", "To": [{"Email", "MessageID"}]}, ...]}`` in the order of the copies."""
        answers = object_in(response).get("Messages")
        if not isinstance(answers, list):
            return []
        return [self._result(copy, each) for copy, each in zip(call.copies, answers, strict=False)]

    def said(self, response: Response) -> Said:
        """``{"ErrorCode": ..., "ErrorMessage": ...}``."""
        data = object_in(response)
        return Said(word=text_at(data, "ErrorCode") or "", text=text_at(data, "ErrorMessage"))

    @hookimpl
    async def connector_lookup(self, state: ApiState[MailjetSettings], attempt: Attempt) -> Sequence[Outcome]:
        """Whom Mailjet took in an attempt. Nothing found proves nothing."""
        query = urlencode({"CustomID": attempt.id, "ShowContactAlt": "true", "Limit": 1000})
        data = await self.found(state, f"/v3/REST/message?{query}")
        found = data.get("Data") if isinstance(data, dict) else None
        return [
            Outcome(recipient=email, state=State.ACCEPTED, stage="final", provider_id=text_at(each, "ID"))
            for each in (found if isinstance(found, list) else ())
            if (email := text_at(each, "ContactAlt"))
        ]

    def _result(self, copy: Copy, answer: Any) -> Result:
        status = text_at(answer, "Status")
        if status == "success":
            ids = {
                (text_at(each, "Email") or "").lower(): text_at(each, "MessageID")
                for name in ("To", "Cc", "Bcc")
                for each in (answer.get(name) or ())
            }
            each = {address.key: Result(provider_id=ids.get(address.key)) for address in copy.recipients}
            return Result(provider_id=next(iter(ids.values()), None), each=each)
        if status != "error":
            return Result(verdict=verdicts.UNKNOWN, text="the answer has no status for this copy")
        word = text_at(answer, "Errors", 0, "ErrorCode") or ""
        about = text_at(answer, "Errors", 0, "ErrorRelatedTo", 0) or ""
        if word == "mj-0013" and about.startswith("To") and len(copy.recipients) == 1:
            word = "mj-0013: To"
        text = text_at(answer, "Errors", 0, "ErrorMessage")
        return Result(verdict=ERRORS.get(word, verdicts.MALFORMED), text=text)


def _shared(job: Job) -> dict[str, Any]:
    message = job.message
    template = message.template
    return {
        "From": _mailbox(job.sender),
        "ReplyTo": _mailbox(message.reply_to[0]) if message.reply_to else None,
        "TemplateID": int(template.id) if template else None,
        "TemplateLanguage": True if template else None,
        "Attachments": [_attachment(file) for file in job.files if not file.inline],
        "InlinedAttachments": [_attachment(file) for file in job.files if file.inline],
        "CustomCampaign": message.tags[0] if message.tags else None,
        "CustomID": job.attempt_id,
        "TrackOpens": _switch(message.track_opens),
        "TrackClicks": _switch(message.track_clicks),
    }


def _own(job: Job, copy: Copy) -> dict[str, Any]:
    texts = copy.texts
    return {
        "To": [_mailbox(address) for address in copy.to],
        "Cc": [_mailbox(address) for address in copy.cc],
        "Bcc": [_mailbox(address) for address in copy.bcc],
        "Subject": texts.subject,
        "TextPart": texts.text,
        "HTMLPart": texts.html,
        "Headers": copy.headers,
        "EventPayload": encoded({**copy.metadata, MESSAGE_ID: copy.message_id}),
        "Variables": copy.template_data if job.message.template else None,
    }


def _mailbox(address: Address) -> dict[str, str]:
    return {"Email": address.email, "Name": address.name} if address.name else {"Email": address.email}


def _attachment(file: File) -> dict[str, str]:
    attachment = {"Filename": file.filename, "ContentType": file.content_type, "Base64Content": file.content}
    return attachment | {"ContentID": file.content_id} if file.content_id else attachment


def _switch(value: bool | None) -> str | None:
    return None if value is None else "enabled" if value else "disabled"


def _user(data: Any) -> Mapping[str, Any]:
    return {"user": str(data["Data"][0]["Email"])}


connector = Mailjet()
