"""SparkPost (Bird): https://developers.sparkpost.com/api/transmissions/

Up to 1,000 copies in one call, each with values of its own for what is filled in. The answer to a call is one id, the
transmission's, and counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

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
    tokens_of,
    verdicts,
    with_options,
)
from genie_connect.contract import ConnectorInfo, Kind
from genie_connect.errors import Problem, ValidationError
from genie_connect.hookspecs import hookimpl
from genie_connect.http import Response
from genie_connect.model.capability import CapabilityTable, conditional, yes
from genie_connect.model.merge import Texts
from genie_connect.model.message import Purpose
from genie_connect.model.outcome import Outcome
from genie_connect.model.receipt import Attempt
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings
from genie_connect.webhooks.settings import previous_shared_secret, shared_secret
from genie_connect_contrib.shared import email_name, mailboxes
from genie_connect_contrib.sparkpost.lookup import look_up

URLS = {"us": "https://api.sparkpost.com/api/v1", "eu": "https://api.eu.sparkpost.com/api/v1"}
MAX_RECIPIENTS = 1000
MAX_CAMPAIGN_BYTES = 64

# https://support.sparkpost.com/docs/api/api-error-codes; 1902 is believed: one recipient, on SparkPost's own list.
ERRORS = {
    "1603": verdicts.TEMPLATE,
    "1902": verdicts.RECIPIENT_BLOCKED,
    "2101": verdicts.QUOTA,
    "7001": verdicts.SENDER,
}
"""What the codes of its errors mean."""
STATUSES = {420: verdicts.QUOTA}


@settings
class SparkPostSettings(ApiSettings):
    """Settings of a SparkPost connection."""

    api_key: Secret = credential(
        title="API key",
        help="SparkPost > Configuration > API Keys, with Transmissions: Read/Write.",
        example="env:SPARKPOST_API_KEY",
    )
    region: Literal["us", "eu"] = setting(
        title="Region",
        help="Where the account is: a key of one region is wrong in the other.",
        default="us",
        titles={"us": "United States", "eu": "European Union"},
    )
    webhook_secret: Secret | None = shared_secret()
    previous_webhook_secret: Secret | None = previous_shared_secret()


class SparkPost(WebhookConnector[SparkPostSettings]):
    """The connector."""

    info = ConnectorInfo(
        id="sparkpost",
        title="SparkPost",
        kind=Kind.API,
        settings_class=SparkPostSettings,
        docs_url="https://developers.sparkpost.com/api/",
        summary="Mail by SparkPost's API, up to 1,000 copies a call.",
        quality="silver",
    )
    urls = URLS
    errors = ERRORS
    statuses = STATUSES
    needs_subject = True
    needs_body = True
    protected = frozenset({"recipients", "content", "override", "return_path"})
    parser = "genie_connect_contrib.sparkpost.events"
    inbound = True

    def capabilities(self, settings: SparkPostSettings | None) -> CapabilityTable:
        """Believed: 1,000 recipients are well within what a call takes; the rest as the API's description says."""
        return self.table(
            settings,
            yes("send.transactional", max_recipients=MAX_RECIPIENTS, max_message_bytes=20 * MIB),
            yes("send.attachments", "beside a text or HTML body, and not with a template"),
            yes("send.inline_images"),
            yes("send.amp"),
            yes("send.cc_bcc", "beside at least one recipient in To"),
            yes("send.reply_to"),
            yes("send.headers", "not with a template"),
            conditional("send.envelope_sender", "its domain only; SparkPost makes the part before the @"),
            yes("send.batch", max_batch=MAX_RECIPIENTS),
            yes("send.merge", "filled in there, with values made here"),
            yes("send.tags", "one, as the campaign", max_tags=1, max_characters=MAX_CAMPAIGN_BYTES),
            yes("send.metadata", "10 KB in all"),
            yes("send.schedule", max_ahead_s=3 * 86_400),
            yes("send.templates", "by id; the subject is the template's"),
            yes("send.track_opens"),
            yes("send.track_clicks"),
            yes("send.provider_options"),
            conditional("lookup", "where the key has the right Events Search: Read-only"),
        )

    def authorization(self, settings: SparkPostSettings) -> Mapping[str, str]:
        """The key as it is, without a scheme."""
        return {"authorization": settings.api_key.reveal()}

    def account(self, settings: SparkPostSettings) -> Account:
        """The account; a key that may only send may not ask."""
        return Account(path="/account", facts=_status, unproven=_may_not_ask)

    def calls(self, job: Job, settings: SparkPostSettings) -> Iterable[Call]:
        """All copies in one call; each in its own where braces are text, or header fields are not alike."""
        _check(job)
        together = len(job.copies) > 1 and _alike(job)
        for copies in [job.copies] if together else [(copy,) for copy in job.copies]:
            body = with_options(_transmission(job, copies), job.options, self.protected)
            yield json_call("/transmissions", body, copies)

    def results(self, call: Call, response: Response) -> Iterable[Result]:
        """One id and two counts; whom it refused, where it did, it does not say."""
        data = decoded(response)
        provider_id, refused = text_at(data, "results", "id"), text_at(data, "results", "total_rejected_recipients")
        if provider_id is None:
            return []
        if refused in (None, "0"):
            return [Result(provider_id=provider_id)] * len(call.copies)
        text = text_at(data, "results", "rcpt_to_errors", 0, "description") or "some recipients were refused"
        none_taken = text_at(data, "results", "total_accepted_recipients") == "0"
        verdict = verdicts.RECIPIENT if none_taken else verdicts.UNKNOWN
        return [Result(verdict=verdict, text=text, provider_id=provider_id)] * len(call.copies)

    def said(self, response: Response) -> Said:
        """``{"errors": [{"code": "7001", "message": ..., "description": ...}]}``."""
        data = object_in(response)
        texts = (text_at(data, "errors", 0, "message"), text_at(data, "errors", 0, "description"))
        return Said(word=text_at(data, "errors", 0, "code") or "", text=": ".join(filter(None, texts)) or None)

    @hookimpl
    async def connector_lookup(self, state: ApiState[SparkPostSettings], attempt: Attempt) -> Sequence[Outcome]:
        """Whom SparkPost took in an attempt, or refused afterwards, where the key may search events."""
        return await look_up(self, state, attempt)


def _check(job: Job) -> None:
    """Raise ``ValidationError`` for what SparkPost refuses, or would leave out."""
    message, problems = job.message, list[Problem]()
    if message.template is not None:
        given: dict[str, object] = {"subject": message.subject, "attachments": message.attachments}
        given["headers"] = next((copy.headers for copy in job.copies if copy.headers), None)
        cause = "does not go with a template at SparkPost"
        problems += [Problem(name, cause, "leave it out") for name, value in given.items() if value]
    if any(len(tag.encode()) > MAX_CAMPAIGN_BYTES for tag in message.tags):
        problems.append(Problem("tags", f"has more than {MAX_CAMPAIGN_BYTES} bytes", "shorten it"))
    if problems:
        raise ValidationError(problems)


def _spelled(name: str) -> str:
    return f"{{{{{{{name}}}}}}}"  # three braces: not escaped again in HTML


def _alike(job: Job) -> bool:
    """Whether the copies fit into one transmission: no braces that are text, the same header fields, no Cc."""
    tokens = tokens_of(job, _spelled)
    said = "".join(filter(None, (tokens.texts.subject, tokens.texts.text, tokens.texts.html, tokens.texts.amp)))
    for name in tokens.values(job.copies[0]):
        said = said.replace(_spelled(name), "")
    return (
        "{{" not in said and len({(*copy.headers,) for copy in job.copies}) == 1 and not any(c.cc for c in job.copies)
    )


def _transmission(job: Job, copies: Sequence[Copy]) -> dict[str, Any]:
    message, several = job.message, len(copies) > 1
    tokens = tokens_of(job, _spelled) if several else None
    own: list[dict[str, Any]] = [tokens.values(copy) if tokens else {} for copy in copies]
    for values, copy in zip(own, copies, strict=True):
        values |= {f"h{index}": value for index, value in enumerate(copy.headers.values())}
        values |= copy.template_data if message.template else {}
    headers = {name: _spelled(f"h{index}") for index, name in enumerate(copies[0].headers)}
    texts = tokens.texts if tokens else copies[0].texts
    general = {} if several else {"subject": texts.subject}
    body = {
        "options": filled(
            {
                "transactional": message.purpose is not Purpose.MARKETING,
                "open_tracking": message.track_opens,
                "click_tracking": message.track_clicks,
                "start_time": message.send_at.isoformat(timespec="seconds") if message.send_at else None,
                "perform_substitutions": None if several or message.template else False,
            }
        ),
        "campaign_id": message.tags[0] if message.tags else None,
        "metadata": {ATTEMPT: job.attempt_id},
        "return_path": message.envelope_from.email if message.envelope_from else None,
        "substitution_data": {} if message.template else general,
        "recipients": [
            recipient for copy, values in zip(copies, own, strict=True) for recipient in _recipients(copy, values)
        ],
    }
    sender = {"from": email_name(job.sender), "reply_to": ", ".join(mailboxes(message.reply_to))}
    if message.template:
        return filled(body | {"override": filled(sender), "content": {"template_id": str(message.template.id)}})
    subject = texts.subject if several else _spelled("subject")
    if copies[0].cc:
        headers["Cc"] = ", ".join(mailboxes(copies[0].cc))
    return filled(
        body | {"content": filled({**sender, **_content(job, texts), "subject": subject, "headers": headers})}
    )


def _content(job: Job, texts: Texts) -> dict[str, Any]:
    files, images = list[dict[str, str]](), list[dict[str, str]]()
    for file in job.files:
        to = files if file.content_id is None else images
        to.append({"name": file.content_id or file.filename, "type": file.content_type, "data": file.content})
    return {
        "text": texts.text,
        "html": texts.html,
        "amp_html": texts.amp,
        "attachments": files,
        "inline_images": images,
    }


def _recipients(copy: Copy, values: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    # Whoever is in Cc or Bcc gets a message to those in To: https://support.sparkpost.com/docs/faq/cc-bcc-with-rest-api
    alone, to = len(copy.recipients) == 1, ", ".join(mailboxes(copy.to))
    for address in copy.recipients:
        yield filled(
            {
                "address": email_name(address) if alone else {"email": address.email, "header_to": to},
                "metadata": {**copy.metadata, MESSAGE_ID: copy.message_id},
                "substitution_data": dict(values),
            }
        )


def _status(data: Any) -> Mapping[str, Any]:
    results = data["results"]
    if results["status"] != "active":
        raise ValueError("the account is not active")
    return {"company": str(results.get("company_name", ""))}


def _may_not_ask(response: Response) -> bool:
    return response.status == 403


connector = SparkPost()
