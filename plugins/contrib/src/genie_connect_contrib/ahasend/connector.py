"""AhaSend, version 2 of its API: https://ahasend.com/docs/api-reference

Up to 100 copies in one call, each a message to one recipient. It honours idempotency keys for 24 hours, so a hand-over
without an answer is repeated under the same key, with the same bytes, and is not sent twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
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
    decoded,
    filled,
    json_call,
    object_in,
    text_at,
    tokens_of,
    verdicts,
)
from genie_connect.contract import ConnectorInfo, Kind
from genie_connect.http import Response
from genie_connect.model.capability import CapabilityTable, yes
from genie_connect.model.merge import Texts
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings
from genie_connect.webhooks.settings import previous_secret, signing_secret
from genie_connect.webhooks.signatures import raw_key
from genie_connect_contrib.shared import email_name, to_cc_bcc

URLS = {"": "https://api.ahasend.com"}
MAX_BATCH = 100
MAX_KEY_CHARACTERS = 255
# A request under a key that is in use, or was used for other bytes: the first one may have been taken.
STATUSES = {409: verdicts.UNKNOWN, 422: verdicts.UNKNOWN}
_TEMPLATING = re.compile(r"\{[{%#]")
"""What AhaSend's Jinja would read, where it fills in values."""
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\Z", re.IGNORECASE)


def _account_problem(value: str) -> str | None:
    return None if _UUID.match(value) else "is not a UUID"


@settings
class AhaSendSettings(ApiSettings):
    """Settings of an AhaSend connection."""

    api_key: Secret = credential(
        title="API key",
        help="AhaSend > Credentials, for version 2 of the API, with the right messages:send.",
        example="env:AHASEND_API_KEY",
    )
    account_id: str = setting(
        title="Account ID",
        help="AhaSend > Account settings; it is part of every URL.",
        group="auth",
        example="c0ffee00-0000-4000-8000-000000000000",
        check=_account_problem,
    )
    check_only: bool = setting(
        title="Check only",
        help="AhaSend takes messages into its sandbox and delivers none.",
        group="advanced",
        default=False,
    )
    webhook_secret: Secret | None = signing_secret(raw_key, help="AhaSend > Webhooks > your webhook > Secret.")
    previous_webhook_secret: Secret | None = previous_secret(raw_key)
    inbound_secret: Secret | None = signing_secret(
        raw_key, title="Inbound signing secret", help="AhaSend > Routes > your route > Secret."
    )
    previous_inbound_secret: Secret | None = previous_secret(raw_key, title="Previous inbound signing secret")


class AhaSend(WebhookConnector[AhaSendSettings]):
    """The connector."""

    info = ConnectorInfo(
        id="ahasend",
        title="AhaSend",
        kind=Kind.API,
        settings_class=AhaSendSettings,
        docs_url="https://ahasend.com/docs",
        summary="Mail by AhaSend's API, with idempotency keys.",
        quality="platinum",
    )
    urls = URLS
    statuses = STATUSES
    needs_subject = True
    needs_body = True
    protected = frozenset({"from", "recipients", "to", "cc", "bcc"})
    bearer = "api_key"
    parser = "genie_connect_contrib.ahasend.events"
    signature = "Standard Webhooks"
    inbound = True

    def capabilities(self, settings: AhaSendSettings | None) -> CapabilityTable:
        """As the OpenAPI description says. Believed: 25 MB in all."""
        return self.table(
            settings,
            yes("send.transactional", max_recipients=50, max_message_bytes=25 * MIB),
            yes("send.attachments", "beside a text or HTML body"),
            yes("send.inline_images"),
            yes("send.amp"),
            yes("send.cc_bcc", "beside at least one recipient in To"),
            yes("send.reply_to", "one", max_addresses=1),
            yes("send.headers"),
            yes("send.batch", max_batch=MAX_BATCH),
            yes("send.merge", "filled in here, for each copy"),
            yes("send.idempotency", "for 24 hours"),
            yes("send.tags"),
            yes("send.schedule", max_ahead_s=7 * 86_400),
            yes("send.track_opens"),
            yes("send.track_clicks"),
            yes("send.provider_options"),
        )

    def account(self, settings: AhaSendSettings) -> Account:
        """Whether the key is one; of the account it says nothing."""
        return Account(path="/v2/ping", facts=_pong)

    def calls(self, job: Job, settings: AhaSendSettings) -> Iterable[Call]:
        """Copies that are the same for each recipient in one call; others as conversations, one by one."""
        path = f"/v2/accounts/{settings.account_id}/messages"
        shared = _shared(job, settings)
        if len(job.copies) > 1 and _alike(job):
            body = shared | _texts(job.copies[0].texts) | {"headers": job.copies[0].headers}
            body |= {"recipients": [email_name(address) for copy in job.copies for address in copy.to]}
            yield self._call(path, body, job, job.copies)
            return
        for copy in job.copies:
            body = shared | _texts(copy.texts) | to_cc_bcc(copy) | {"headers": copy.headers}
            yield self._call(f"{path}/conversation", body, job, (copy,))

    def results(self, call: Call, response: Response) -> Iterable[Result]:
        """``{"data": [{"id", "recipient": {"email"}, "status", "error"}]}``: an answer for each recipient."""
        found = object_in(response).get("data")
        each: dict[str, Result] = {}
        for answer in found if isinstance(found, list) else ():
            each[(text_at(answer, "recipient", "email") or "").lower()] = _result(answer)
        silent = Result(verdict=verdicts.UNKNOWN, text="the answer does not name the recipient")
        return [_of_copy(copy, each, silent) for copy in call.copies]

    def said(self, response: Response) -> Said:
        """``{"message": ...}``; it has no codes, and its texts are not to be read by programs."""
        return Said(text=text_at(decoded(response), "message"))

    def _call(self, path: str, body: Mapping[str, Any], job: Job, copies: Sequence[Copy]) -> Call:
        key = job.key(*copies, longest=MAX_KEY_CHARACTERS)
        headers = {} if key is None else {"idempotency-key": key}
        return json_call(path, self.body(job, body), copies, headers)


def _alike(job: Job) -> bool:
    """Whether every copy is the same message to one recipient, with nothing in it that AhaSend would fill in."""
    message = job.message
    said = "".join(filter(None, (message.subject, message.text, message.html, message.amp)))
    if job.merging and tokens_of(job, str).values(job.copies[0]):
        return False
    alone = all(len(copy.recipients) == len(copy.to) == 1 and not copy.own_headers for copy in job.copies)
    return alone and not _TEMPLATING.search(said)


def _shared(job: Job, settings: AhaSendSettings) -> dict[str, Any]:
    message = job.message
    return {
        "from": email_name(job.sender),
        "reply_to": email_name(message.reply_to[0]) if message.reply_to else None,
        "attachments": [_attachment(file) for file in job.files],
        "tags": list(message.tags),
        "sandbox": settings.check_only or None,
        "tracking": filled({"open": message.track_opens, "click": message.track_clicks}),
        "schedule": {"first_attempt": message.send_at.isoformat()} if message.send_at else None,
    }


def _texts(texts: Texts) -> dict[str, Any]:
    return {
        "subject": texts.subject,
        "text_content": texts.text,
        "html_content": texts.html,
        "amp_content": texts.amp,
    }


def _attachment(file: File) -> dict[str, Any]:
    attachment = {"base64": True, "data": file.content, "content_type": file.content_type, "file_name": file.filename}
    attachment["content_disposition"] = file.disposition
    return attachment | {"content_id": f"<{file.content_id}>"} if file.content_id else attachment


def _result(answer: Any) -> Result:
    status, provider_id = text_at(answer, "status"), text_at(answer, "id")
    if status in ("queued", "scheduled") and provider_id:
        return Result(provider_id=provider_id.strip("<>"))
    if status == "error":
        return Result(verdict=verdicts.MALFORMED, text=text_at(answer, "error"))
    return Result(verdict=verdicts.UNKNOWN, text="the answer has no id")


def _of_copy(copy: Copy, each: Mapping[str, Result], silent: Result) -> Result:
    named = {address.key: each.get(address.key, each.get(address.email.lower(), silent)) for address in copy.recipients}
    first = next(iter(named.values()), silent)
    return Result(verdict=first.verdict, provider_id=first.provider_id, text=first.text, each=named)


def _pong(data: Any) -> Mapping[str, Any]:
    return {"ping": data["message"]}


connector = AhaSend()
