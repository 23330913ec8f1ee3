"""Resend: https://resend.com/docs/api-reference

Up to 100 messages in one call. It honours idempotency keys for 24 hours, so a hand-over without an answer is repeated
under the same key, with the same bytes, and is not sent twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    WebhookConnector,
    credential,
    decoded,
    json_call,
    object_in,
    text_at,
    verdicts,
)
from genie_connect.contract import ConnectorInfo, Kind
from genie_connect.errors import Problem, ValidationError
from genie_connect.hookspecs import hookimpl
from genie_connect.http import Response
from genie_connect.model.capability import CapabilityTable, conditional, yes
from genie_connect.model.outcome import Outcome
from genie_connect.model.receipt import Attempt
from genie_connect.model.secret import Secret
from genie_connect.model.settings import settings
from genie_connect.webhooks.settings import previous_secret, signing_secret
from genie_connect.webhooks.signatures import signing_key
from genie_connect_contrib.resend.lookup import look_up
from genie_connect_contrib.shared import mailboxes, message_id_word, tag_words

URLS = {"": "https://api.resend.com"}
MAX_BATCH = 100
MAX_KEY_CHARACTERS = 256
_DAY_S = 86_400
_VARIABLE = (str, int, float)

# https://resend.com/docs/api-reference/errors
ERRORS = {
    "missing_api_key": verdicts.AUTH,
    "invalid_api_key": verdicts.AUTH,
    "restricted_api_key": verdicts.AUTH,
    "suspended_api_key": verdicts.SUSPENDED,
    "invalid_from_address": verdicts.SENDER,
    "invalid_attachment": verdicts.MALFORMED,
    "invalid_access": verdicts.AUTH,
    "invalid_parameter": verdicts.MALFORMED,
    "invalid_region": verdicts.MALFORMED,
    "missing_required_field": verdicts.MALFORMED,
    "invalid_idempotency_key": verdicts.MALFORMED,
    "concurrent_idempotent_requests": verdicts.UNKNOWN,
    "invalid_idempotent_request": verdicts.UNKNOWN,
    "rate_limit_exceeded": verdicts.THROTTLED,
    "daily_quota_exceeded": verdicts.QUOTA,
    "monthly_quota_exceeded": verdicts.QUOTA,
    "security_error": verdicts.NOT_ALLOWED,
    "403 validation_error": verdicts.SENDER,  # the domain is not verified, or only testing is allowed
}
"""What its names of errors mean. The first request under a key may have been taken, whatever a later one is told."""


@settings
class ResendSettings(ApiSettings):
    """Settings of a Resend connection."""

    api_key: Secret = credential(
        title="API key",
        help="Resend > API Keys. One that may only send is enough.",
        example="env:RESEND_API_KEY",
    )
    webhook_secret: Secret | None = signing_secret(signing_key, help="Resend > Webhooks > your endpoint.")
    previous_webhook_secret: Secret | None = previous_secret(signing_key)


class Resend(WebhookConnector[ResendSettings]):
    """The connector."""

    info = ConnectorInfo(
        id="resend",
        title="Resend",
        kind=Kind.API,
        settings_class=ResendSettings,
        docs_url="https://resend.com/docs",
        summary="Mail by Resend's API, with idempotency keys.",
        quality="platinum",
    )
    urls = URLS
    errors = ERRORS
    protected = frozenset({"from", "to", "cc", "bcc"})
    bearer = "api_key"
    parser = "genie_connect_contrib.resend.events"
    signature = "Standard Webhooks"
    inbound = True

    def capabilities(self, settings: ResendSettings | None) -> CapabilityTable:
        """Believed: 40 MB after base64, 30 days ahead; the rest as the OpenAPI description says."""
        return self.table(
            settings,
            yes("send.transactional", max_recipients=50, max_message_bytes=40 * MIB),
            conditional("send.attachments", "the extension of the file name has to fit the content type"),
            yes("send.inline_images"),
            yes("send.cc_bcc", "beside at least one recipient in To"),
            yes("send.reply_to"),
            yes("send.headers"),
            yes("send.batch", "without files and without a time", max_batch=MAX_BATCH),
            yes("send.merge", "filled in here, for each copy"),
            yes("send.idempotency", "for 24 hours"),
            conditional("send.tags", "letters, digits, _ and - only", max_characters=256),
            conditional("send.metadata", "letters, digits, _ and - only", max_value_characters=256),
            yes("send.schedule", max_ahead_s=30 * _DAY_S),
            yes("send.templates", "by id; values are text or numbers"),
            yes("send.provider_options"),
            conditional("lookup", "where the key has full access; among the latest 2,000 messages"),
        )

    def account(self, settings: ResendSettings) -> Account:
        """The domains that may be sent from; a key for sending alone may not list them."""
        return Account(path="/domains", facts=_domains, unproven=_for_sending)

    def calls(self, job: Job, settings: ResendSettings) -> Iterable[Call]:
        """Several copies in one call, unless they have files or a time, which the batch endpoint does not take."""
        shared = _shared(job)
        bodies = [self.body(job, shared | _own(copy, job)) for copy in job.copies]
        if job.message.template is None:
            bodies = [{"subject": ""} | body for body in bodies]
        alone = len(bodies) == 1 or bool(job.files) or job.message.send_at is not None
        for copies, body in zip(job.copies, bodies, strict=True) if alone else [(job.copies, bodies)]:
            group = (copies,) if isinstance(copies, Copy) else copies
            yield json_call("/emails" if alone else "/emails/batch", body, group, _key(job, group))

    def results(self, call: Call, response: Response) -> Iterable[Result]:
        """``{"id": ...}``, or ``{"data": [{"id": ...}, ...]}`` in the order of the copies."""
        data = decoded(response)
        answers = data.get("data") if isinstance(data, dict) and "data" in data else [data]
        ids = [text_at(answer, "id") for answer in answers] if isinstance(answers, list) else []
        return [Result(provider_id=each) if each else Result(verdict=verdicts.UNKNOWN, text="no id") for each in ids]

    @hookimpl
    async def connector_lookup(self, state: ApiState[ResendSettings], attempt: Attempt) -> Sequence[Outcome]:
        """Whom Resend took in an attempt, where the key may list messages."""
        return await look_up(self, state, attempt)


def _key(job: Job, copies: tuple[Copy, ...]) -> Mapping[str, str]:
    # The same copies under the same key are the same bytes: nothing of the attempt stands in the body.
    key = job.key(*copies, longest=MAX_KEY_CHARACTERS)
    return {} if key is None else {"idempotency-key": key}


def _shared(job: Job) -> dict[str, Any]:
    message = job.message
    return {
        "from": str(job.sender),
        "reply_to": mailboxes(message.reply_to),
        "attachments": [_attachment(file) for file in job.files],
        "scheduled_at": message.send_at.isoformat() if message.send_at else None,
    }


def _own(copy: Copy, job: Job) -> dict[str, Any]:
    texts, template = copy.texts, job.message.template
    return {
        "to": mailboxes(copy.to),
        "cc": mailboxes(copy.cc),
        "bcc": mailboxes(copy.bcc),
        "subject": texts.subject,
        "text": texts.text,
        "html": texts.html,
        "template": {"id": template.id, "variables": _variables(copy)} if template else None,
        "headers": copy.headers,
        "tags": [
            {"name": name, "value": value}
            for name, value in {
                **tag_words("Resend", job.message.tags, copy.metadata),
                **message_id_word(copy.message_id),
            }.items()
        ],
    }


def _variables(copy: Copy) -> Mapping[str, Any]:
    data = copy.template_data
    wrong = [name for name, value in data.items() if isinstance(value, bool) or not isinstance(value, _VARIABLE)]
    if wrong:
        cause = "has to be text or a number at Resend"
        raise ValidationError([Problem(f"template.data[{name!r}]", cause) for name in wrong])
    return data


def _attachment(file: File) -> dict[str, str]:
    attachment = {"filename": file.filename, "content": file.content, "content_type": file.content_type}
    return attachment | {"content_id": file.content_id} if file.content_id else attachment


def _domains(data: Any) -> Mapping[str, Any]:
    return {"domains": [domain["name"] for domain in data["data"]]}


def _for_sending(response: Response) -> bool:
    return text_at(object_in(response), "name") == "restricted_api_key"


connector = Resend()
