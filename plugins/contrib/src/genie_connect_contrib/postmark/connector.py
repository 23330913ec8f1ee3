"""Postmark (ActiveCampaign): https://postmarkapp.com/developer

Up to 500 messages in one call, each with an answer of its own. No idempotency keys; a hand-over without an answer is
looked up by the attempt's id, which is put into the metadata.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from genie_connect.api import (
    ATTEMPT,
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
    json_call,
    object_in,
    text_at,
    verdicts,
)
from genie_connect.contract import ConnectorInfo, Kind
from genie_connect.errors import ValidationError
from genie_connect.hookspecs import hookimpl
from genie_connect.http import Response
from genie_connect.model.capability import CapabilityTable, conditional, yes
from genie_connect.model.message import Purpose
from genie_connect.model.outcome import Outcome, State
from genie_connect.model.receipt import Attempt
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings
from genie_connect.webhooks.settings import previous_shared_secret, shared_secret
from genie_connect_contrib.shared import mailboxes

URLS = {"": "https://api.postmarkapp.com"}
MAX_BATCH = 500
# https://postmarkapp.com/developer/api/overview#error-codes
ERRORS = {
    "10": verdicts.AUTH,
    "100": verdicts.TEMPORARY,
    "300": verdicts.MALFORMED,
    "400": verdicts.SENDER,
    "401": verdicts.SENDER,
    "405": verdicts.QUOTA,
    "406": verdicts.RECIPIENT_BLOCKED,
    "411": verdicts.NOT_ALLOWED,
    "412": verdicts.SUSPENDED,
    "413": verdicts.SUSPENDED,
    "429": verdicts.THROTTLED,
    "1101": verdicts.TEMPLATE,
}
"""What the codes of its errors mean."""
_INACTIVE = re.compile(r"inactive addresses: (.+?)\.?(?: Inactive|$)")


@settings
class PostmarkSettings(ApiSettings):
    """Settings of a Postmark connection."""

    server_token: Secret = credential(
        title="Server API token",
        help="Postmark > your server > API Tokens.",
        example="env:POSTMARK_TOKEN",
    )
    message_stream: str | None = setting(
        title="Message stream",
        help="For transactional messages; without it Postmark takes the stream called outbound.",
        default=None,
        example="outbound",
    )
    broadcast_stream: str | None = setting(
        title="Broadcast stream",
        help="For messages whose purpose is marketing, which Postmark wants in a stream of their own.",
        default=None,
        example="broadcast",
    )
    webhook_secret: Secret | None = shared_secret()
    previous_webhook_secret: Secret | None = previous_shared_secret()


class Postmark(WebhookConnector[PostmarkSettings]):
    """The connector."""

    info = ConnectorInfo(
        id="postmark",
        title="Postmark",
        kind=Kind.API,
        settings_class=PostmarkSettings,
        docs_url="https://postmarkapp.com/developer",
        summary="Transactional and broadcast mail by Postmark's API.",
        quality="platinum",
    )
    urls = URLS
    protected = frozenset({"From", "To", "Cc", "Bcc", "Messages"})
    parser = "genie_connect_contrib.postmark.events"
    inbound = True
    errors = ERRORS

    def capabilities(self, settings: PostmarkSettings | None) -> CapabilityTable:
        """Limits: https://postmarkapp.com/developer/user-guide/send-email-with-api, encoded size."""
        return self.table(
            settings,
            yes("send.transactional", max_recipients=50, max_message_bytes=10 * MIB, max_text_bytes=5 * MIB),
            yes("send.attachments", "beside a text or HTML body; some file types are refused"),
            yes("send.inline_images"),
            yes("send.cc_bcc", "beside at least one recipient in To"),
            yes("send.reply_to"),
            yes("send.headers"),
            yes("send.batch", max_batch=MAX_BATCH, max_batch_bytes=50 * MIB),
            yes("send.merge", "filled in here, for each copy"),
            yes("send.tags", "one", max_tags=1),
            # Believed: ten entries, of which the attempt's id is one, names of 20 and values of 80 characters.
            yes("send.metadata", max_entries=9, max_key_characters=20, max_value_characters=80),
            yes("send.templates", "by id or alias; the subject is the template's"),
            conditional("send.track_opens", "a server that tracks all opens cannot be told not to"),
            yes("send.track_clicks"),
            yes("send.provider_options"),
            yes("lookup", "by the attempt's id in the metadata"),
        )

    def authorization(self, settings: PostmarkSettings) -> Mapping[str, str]:
        """The server's token."""
        return {"x-postmark-server-token": settings.server_token.reveal()}

    def account(self, settings: PostmarkSettings) -> Account:
        """The server that the token is for."""
        return Account(path="/server", field="server_token", facts=_server)

    def calls(self, job: Job, settings: PostmarkSettings) -> Iterable[Call]:
        """One copy, or up to 500 in one call."""
        shared = _shared(job, settings)
        template = job.message.template is not None
        bodies = [self.body(job, shared | _own(job, copy)) for copy in job.copies]
        if template:
            bodies = [{"TemplateModel": {}} | body for body in bodies]
        if len(bodies) == 1:
            yield json_call("/email/withTemplate" if template else "/email", bodies[0], job.copies)
        elif template:
            yield json_call("/email/batchWithTemplates", {"Messages": bodies}, job.copies)
        else:
            yield json_call("/email/batch", bodies, job.copies)

    def results(self, call: Call, response: Response) -> Iterable[Result]:
        """One answer, or a list of them in the order of the copies."""
        data = decoded(response)
        answers = data if isinstance(data, list) else [data]
        return [self._result(copy, answer) for copy, answer in zip(call.copies, answers, strict=False)]

    def said(self, response: Response) -> Said:
        """``{"ErrorCode": 406, "Message": "..."}``."""
        data = object_in(response)
        return Said(word=text_at(data, "ErrorCode") or "", text=text_at(data, "Message"))

    @hookimpl
    async def connector_lookup(self, state: ApiState[PostmarkSettings], attempt: Attempt) -> Sequence[Outcome]:
        """Whom Postmark took in an attempt. Nothing found proves nothing: its search lags behind."""
        query = urlencode({"count": MAX_BATCH, "offset": 0, f"metadata_{ATTEMPT}": attempt.id})
        data = await self.found(state, f"/messages/outbound?{query}")
        found = data.get("Messages") if isinstance(data, dict) else None
        return [outcome for message in found for outcome in _taken(message)] if isinstance(found, list) else ()

    def _result(self, copy: Copy, answer: Any) -> Result:
        word, text = text_at(answer, "ErrorCode"), text_at(answer, "Message")
        if word is None:
            return Result(verdict=verdicts.UNKNOWN, text="the answer has no ErrorCode")
        if word != "0":
            return Result(verdict=self.errors.get(word, verdicts.MALFORMED), text=text)
        refused = Result(verdict=verdicts.RECIPIENT_BLOCKED, text=text)
        inactive = _INACTIVE.search(text or "")
        named = {email.strip().lower() for email in inactive[1].split(",")} if inactive else frozenset[str]()
        each = {address.key: refused for address in copy.recipients if address.key in named}
        return Result(provider_id=text_at(answer, "MessageID"), each=each)


def _shared(job: Job, settings: PostmarkSettings) -> dict[str, Any]:
    message = job.message
    stream = settings.broadcast_stream if message.purpose is Purpose.MARKETING else settings.message_stream
    if message.template is not None and message.subject:
        raise ValidationError.single("subject", "is the template's at Postmark", "leave it out")
    if message.template is None and message.text is None and message.html is None:
        raise ValidationError.single("text", "is missing, and Postmark takes no message of files alone", "give a text")
    template_id = message.template.id if message.template else ""
    return {
        "From": str(job.sender),
        "ReplyTo": ", ".join(mailboxes(message.reply_to)),
        "Tag": message.tags[0] if message.tags else None,
        "TemplateId": int(template_id) if template_id.isdecimal() else None,
        "TemplateAlias": None if template_id.isdecimal() else template_id,
        "TrackOpens": message.track_opens,
        "TrackLinks": {None: None, True: "HtmlAndText", False: "None"}[message.track_clicks],
        "Attachments": [_attachment(file) for file in job.files],
        "MessageStream": stream or settings.message_stream,
    }


def _own(job: Job, copy: Copy) -> dict[str, Any]:
    texts = copy.texts
    return {
        "To": ", ".join(mailboxes(copy.to)),
        "Cc": ", ".join(mailboxes(copy.cc)),
        "Bcc": ", ".join(mailboxes(copy.bcc)),
        "Subject": texts.subject,
        "TextBody": texts.text,
        "HtmlBody": texts.html,
        "TemplateModel": copy.template_data if job.message.template else None,
        "Headers": [{"Name": name, "Value": value} for name, value in copy.headers.items()],
        "Metadata": {**copy.metadata, ATTEMPT: job.attempt_id},
    }


def _attachment(file: File) -> dict[str, str]:
    attachment = {"Name": file.filename, "Content": file.content, "ContentType": file.content_type}
    return attachment | {"ContentID": f"cid:{file.content_id}"} if file.inline else attachment


def _server(data: Any) -> Mapping[str, Any]:
    return {"server": data["Name"], "delivery": data.get("DeliveryType", "")}


def _taken(message: Any) -> Iterable[Outcome]:
    recipients = message.get("Recipients") if isinstance(message, dict) else None
    for email in recipients if isinstance(recipients, list) else ():
        provider_id = text_at(message, "MessageID")
        yield Outcome(recipient=str(email), state=State.ACCEPTED, stage="final", provider_id=provider_id)


connector = Postmark()
