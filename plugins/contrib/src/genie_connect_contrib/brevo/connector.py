"""Brevo (once Sendinblue): https://developers.brevo.com/reference/sendtransacemail

Several copies go in one call as versions of a message. It wants HTML, so a message of text alone is given an HTML form.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from genie_connect.api import (
    ATTEMPT,
    MESSAGE_ID,
    MIB,
    Account,
    ApiSettings,
    ApiState,
    Call,
    Copy,
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
from genie_connect.contract import ConnectorInfo, Kind
from genie_connect.errors import Problem, ValidationError
from genie_connect.hookspecs import hookimpl
from genie_connect.http import Response
from genie_connect.model.address import Address
from genie_connect.model.capability import Capability, CapabilityTable, conditional, no, yes
from genie_connect.model.outcome import Outcome
from genie_connect.model.receipt import Attempt
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings
from genie_connect.webhooks.settings import previous_shared_secret, shared_secret
from genie_connect_contrib.brevo.lookup import look_up, tag_of
from genie_connect_contrib.shared import email_name, to_cc_bcc

URLS = {"": "https://api.brevo.com/v3"}
MAX_NAME_CHARACTERS = 70
METADATA_HEADER = "X-Mailin-custom"

# https://developers.brevo.com/docs/how-it-works#error-codes
ERRORS = {
    "unauthorized": verdicts.AUTH,
    "permission_denied": verdicts.AUTH,
    "reseller_permission_denied": verdicts.AUTH,
    "account_under_validation": verdicts.SUSPENDED,
    "not_enough_credits": verdicts.QUOTA,
    "document_not_found": verdicts.TEMPLATE,
    "invalid_parameter": verdicts.MALFORMED,
    "invalid_parameter: sender": verdicts.SENDER,
    "missing_parameter": verdicts.MALFORMED,
    "out_of_range": verdicts.MALFORMED,
    "not_acceptable": verdicts.MALFORMED,
    "bad_request": verdicts.MALFORMED,
    "unprocessable_entity": verdicts.MALFORMED,
}


@settings
class BrevoSettings(ApiSettings):
    """Settings of a Brevo connection."""

    api_key: Secret = credential(
        title="API key",
        help="Brevo > SMTP & API > API Keys: the one for the API, not the one for SMTP.",
        example="env:BREVO_API_KEY",
    )
    check_only: bool = setting(
        title="Check only",
        help="Brevo checks what it gets and sends nothing (its sandbox mode).",
        group="advanced",
        default=False,
    )
    tag_attempts: bool = setting(
        title="Tag each hand-over",
        help="So that Brevo can be asked after one without an answer. Its statistics then show a tag for each.",
        group="advanced",
        default=False,
    )
    webhook_secret: Secret | None = shared_secret()
    previous_webhook_secret: Secret | None = previous_shared_secret()


class Brevo(WebhookConnector[BrevoSettings]):
    """The connector."""

    info = ConnectorInfo(
        id="brevo",
        title="Brevo",
        kind=Kind.API,
        settings_class=BrevoSettings,
        docs_url="https://developers.brevo.com",
        summary="Mail by Brevo's API, several versions of a message in one call.",
        quality="platinum",
    )
    urls = URLS
    errors = ERRORS
    needs_subject = True
    needs_body = True
    protected = frozenset({"sender", "to", "cc", "bcc", "messageVersions"})
    parser = "genie_connect_contrib.brevo.events"
    inbound = True

    def capabilities(self, settings: BrevoSettings | None) -> CapabilityTable:
        """Believed: 20 MB in all, 72 hours ahead; the rest as the description and the SDK say."""
        return self.table(
            settings,
            yes("send.transactional", max_recipients=99, max_message_bytes=20 * MIB),
            conditional("send.attachments", "beside a body; only file types that are on its list"),
            no("send.inline_images", "Brevo has none"),
            yes("send.cc_bcc", "beside at least one recipient in To"),
            yes("send.reply_to", "one", max_addresses=1),
            yes("send.headers"),
            yes("send.batch", max_batch=1000, max_batch_bytes=20 * MIB),
            yes("send.merge", "filled in here, for each copy"),
            yes("send.tags"),
            conditional("send.metadata", f"in the header field {METADATA_HEADER}, which recipients can see"),
            yes("send.schedule", max_ahead_s=72 * 3600),
            yes("send.templates", "by number"),
            yes("send.provider_options"),
            _lookup(settings),
        )

    def authorization(self, settings: BrevoSettings) -> Mapping[str, str]:
        """The API key."""
        return {"api-key": settings.api_key.reveal()}

    def account(self, settings: BrevoSettings) -> Account:
        """Whose the key is."""
        return Account(path="/account", facts=_account)

    def calls(self, job: Job, settings: BrevoSettings) -> Iterable[Call]:
        """Several copies as versions in one call, if they differ in nothing but what a version may have."""
        groups: dict[str, list[Copy]] = {}
        for copy in job.copies:
            groups.setdefault(repr((copy.headers, copy.metadata)), []).append(copy)
        for copies in groups.values():
            # Versions share their header fields, so there is no Message-ID for each of several.
            known = {MESSAGE_ID: copies[0].message_id} if len(copies) == 1 else {ATTEMPT: job.attempt_id}
            body = _shared(job, copies[0], {**copies[0].metadata, **known}, settings)
            if len(copies) == 1:
                body |= _own(job, copies[0])
            else:
                body |= {name: value for name, value in _own(job, copies[0]).items() if name in _CONTENT}
                body["messageVersions"] = [filled(_own(job, copy)) for copy in copies]
            yield json_call("/smtp/email", self.body(job, body), copies)

    def results(self, call: Call, response: Response) -> Iterable[Result]:
        """``{"messageId": ...}``, or ``messageIds`` in the order of the versions."""
        data = decoded(response)
        ids = data.get("messageIds") if isinstance(data, dict) else None
        if not isinstance(ids, list):
            ids = [text_at(data, "messageId")]
        return [Result(provider_id=each) for each in ids if isinstance(each, str)]

    def said(self, response: Response) -> Said:
        """``{"code": "invalid_parameter", "message": "..."}``."""
        data = object_in(response)
        word, text = text_at(data, "code") or "", text_at(data, "message")
        if word == "invalid_parameter" and "sender" in (text or "").lower():
            word = "invalid_parameter: sender"
        return Said(word=word, text=text)

    @hookimpl
    async def connector_lookup(self, state: ApiState[BrevoSettings], attempt: Attempt) -> Sequence[Outcome]:
        """Whom Brevo took in an attempt, or refused afterwards, where attempts are tagged."""
        return await look_up(self, state, attempt)


def _lookup(settings: BrevoSettings | None) -> Capability:
    note = "where attempts are tagged (tag_attempts)"
    return conditional("lookup", note) if settings is None or settings.tag_attempts else no("lookup", note)


_CONTENT = ("subject", "htmlContent", "textContent")


def _shared(job: Job, first: Copy, metadata: Mapping[str, str], settings: BrevoSettings) -> dict[str, Any]:
    message = job.message
    headers = first.headers
    if metadata:
        headers[METADATA_HEADER] = json.dumps(metadata)  # ASCII, as a header field has to be
    if settings.check_only:
        headers["X-Sib-Sandbox"] = "drop"
    _check(job, headers)
    return {
        "sender": email_name(job.sender),
        "replyTo": email_name(message.reply_to[0]) if message.reply_to else None,
        "headers": headers,
        "attachment": [{"name": file.filename, "content": file.content} for file in job.files],
        "tags": [*message.tags, *([tag_of(job.attempt_id)] if settings.tag_attempts else [])],
        "scheduledAt": message.send_at.isoformat() if message.send_at else None,
        "templateId": int(message.template.id) if message.template else None,
    }


def _own(job: Job, copy: Copy) -> dict[str, Any]:
    texts = copy.texts
    written = texts.html
    if not written and texts.text:
        written = f'<div style="white-space: pre-wrap">{html.escape(texts.text)}</div>'
    return {
        **to_cc_bcc(copy),
        "subject": texts.subject,
        "htmlContent": written,
        "textContent": texts.text,
        "params": copy.template_data if job.message.template else None,
    }


def _check(job: Job, headers: Mapping[str, str]) -> None:
    """Raise ``ValidationError`` for what Brevo refuses."""
    message = job.message
    problems: list[Problem] = []
    if message.template is not None and not message.template.id.isdecimal():
        problems.append(Problem("template.id", "is not the number of a template at Brevo"))
    if any(not value.isascii() for value in headers.values()):
        problems.append(Problem("headers", "holds characters beyond ASCII, which Brevo does not take"))
    if any(len(address.name) > MAX_NAME_CHARACTERS for address in _named(job)):
        problems.append(Problem("name", f"one has more than {MAX_NAME_CHARACTERS} characters", "shorten it"))
    if problems:
        raise ValidationError(problems)


def _named(job: Job) -> Sequence[Address]:
    return (job.sender, *job.message.reply_to, *(address for copy in job.copies for address in copy.recipients))


def _account(data: Any) -> Mapping[str, Any]:
    plans = [str(plan["type"]) for plan in data["plan"]]
    return {"company": str(data["companyName"]), "plans": plans}


connector = Brevo()
