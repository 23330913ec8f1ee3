"""Mailchimp Transactional (Mandrill): https://mailchimp.com/developer/transactional/api/messages/

One request for each copy, with an answer for each recipient. The key stands in the body of every request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any
from urllib.parse import urlsplit

from genie_connect.api import (
    ATTEMPT,
    MESSAGE_ID,
    MIB,
    Account,
    ApiConnector,
    ApiSettings,
    Call,
    Copy,
    Job,
    Result,
    credential,
    decoded,
    encoded,
    event_rows,
    filled,
    json_call,
    text_at,
    verdicts,
    with_options,
)
from genie_connect.contract import ConnectorInfo, Kind, WebhookRequest
from genie_connect.errors import ValidationError
from genie_connect.hookspecs import hookimpl
from genie_connect.http import Response
from genie_connect.model.address import Address
from genie_connect.model.capability import CapabilityTable, conditional, yes
from genie_connect.model.event import Event
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings
from genie_connect.webhooks.settings import previous_secret, signing_secret
from genie_connect.webhooks.signatures import raw_key
from genie_connect_contrib.shared import mailboxes

URLS = {"": "https://mandrillapp.com/api/1.4"}

# Names of errors: https://mailchimp.com/developer/transactional/api/messages/send-new-message/, and ours for what the
# answer for one recipient says: its reject_reason, or its queued_reason.
ERRORS = {
    "Invalid_Key": verdicts.AUTH,
    "PaymentRequired": verdicts.QUOTA,
    "Request_Limit_Exceeded": verdicts.THROTTLED,
    "ValidationError": verdicts.MALFORMED,
    "Unknown_Template": verdicts.TEMPLATE,
    "Unknown_Subaccount": verdicts.NOT_ALLOWED,
    "hard-bounce": verdicts.RECIPIENT_BLOCKED,
    "soft-bounce": verdicts.RECIPIENT_BLOCKED,
    "spam": verdicts.RECIPIENT_BLOCKED,
    "unsub": verdicts.RECIPIENT_BLOCKED,
    "custom": verdicts.RECIPIENT_BLOCKED,
    "invalid": verdicts.RECIPIENT,
    "invalid-sender": verdicts.SENDER,
    "unsigned": verdicts.SENDER,
    "test-mode-limit": verdicts.QUOTA,
    "rule": verdicts.NOT_ALLOWED,
}
"""What its errors and its reasons for a recipient mean."""


def _url_problem(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        parts = urlsplit(value)
    except ValueError:
        return "is no URL"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "is no URL: https://..."
    if "@" in parts.netloc:
        return "holds a password, which is shown here; Mandrill signs, so its webhook needs none"
    return None


@settings
class MandrillSettings(ApiSettings):
    """Settings of a Mandrill connection."""

    api_key: Secret = credential(
        title="API key",
        help="Mandrill > Settings > SMTP & API Info. A test key takes messages and delivers none.",
        example="env:MANDRILL_API_KEY",
    )
    subaccount: str | None = setting(
        title="Subaccount",
        help="Which subaccount sends; without it the account itself.",
        default=None,
    )
    webhook_key: Secret | None = signing_secret(
        raw_key, title="Webhook key", help="Mandrill > Settings > Webhooks > your webhook > Key."
    )
    previous_webhook_key: Secret | None = previous_secret(raw_key, title="Previous webhook key")
    inbound_key: Secret | None = signing_secret(
        raw_key, title="Inbound webhook key", help="Mandrill > Inbound > your domain > the key of your route."
    )
    previous_inbound_key: Secret | None = previous_secret(raw_key, title="Previous inbound webhook key")
    webhook_url: str | None = setting(
        title="Webhook URL",
        help="The URL exactly as Mandrill was given it, which it signs. Without it no webhook is taken.",
        group="webhooks",
        default=None,
        check=_url_problem,
        example="https://mail.example.com/hooks/mandrill",
    )


class Mandrill(ApiConnector[MandrillSettings]):
    """The connector."""

    info = ConnectorInfo(
        id="mandrill",
        title="Mandrill",
        kind=Kind.API,
        settings_class=MandrillSettings,
        docs_url="https://mailchimp.com/developer/transactional/",
        summary="Mail by the API of Mailchimp Transactional (Mandrill).",
        quality="silver",
    )
    urls = URLS
    errors = ERRORS
    # Objects of the request, since options merge: message.from_email and message.bcc_address are in one of them.
    protected = frozenset({"key", "message"})

    def capabilities(self, settings: MandrillSettings | None) -> CapabilityTable:
        """Believed: 25 MB, 1,000 recipients, tags of 50 characters, 365 days; the rest as the description says."""
        return self.table(
            settings,
            yes(
                "send.transactional",
                max_recipients=1000,
                max_message_bytes=25 * MIB,
            ),
            yes("send.attachments"),
            yes("send.inline_images", "named by their Content-ID"),
            yes("send.cc_bcc", "beside at least one recipient in To"),
            yes("send.reply_to"),
            yes("send.headers"),
            yes("send.batch", "a request for each copy, four at a time", max_batch=50),
            yes("send.merge", "filled in here, for each copy"),
            conditional("send.tags", "none that begins with an underscore", max_characters=50),
            yes("send.metadata"),
            conditional("send.schedule", "where the account is paid for", max_ahead_s=365 * 86_400),
            yes("send.templates", "by name"),
            yes("send.track_opens"),
            yes("send.track_clicks"),
            yes("send.provider_options", "beside the message itself: ip_pool, async"),
            *event_rows(
                settings is None or bool((settings.webhook_key or settings.inbound_key) and settings.webhook_url),
                signature="HMAC",
                inbound=True,
            ),
        )

    def authorization(self, settings: MandrillSettings) -> Mapping[str, str]:
        """Nothing in the header: the key stands in the body. It is read here, so that a missing one is found early."""
        settings.api_key.reveal()
        return {}

    def account(self, settings: MandrillSettings) -> Account:
        """Whether the key is one."""
        return Account(
            path="/users/ping2",
            method="POST",
            content=encoded({"key": settings.api_key.reveal()}).encode(),
            facts=_pong,
        )

    def calls(self, job: Job, settings: MandrillSettings) -> Iterable[Call]:
        """One copy in each."""
        message = job.message
        if any(tag.startswith("_") for tag in message.tags):
            raise ValidationError.single(
                "tags", "begins with an underscore, which Mandrill keeps to itself", "rename it"
            )
        files = [
            (
                file.inline,
                {"type": file.content_type, "name": file.content_id or file.filename, "content": file.content},
            )
            for file in job.files
        ]
        shared = {
            "from_email": job.sender.email,
            "from_name": job.sender.name,
            "subaccount": settings.subaccount,
            "tags": list(message.tags),
            "track_opens": message.track_opens,
            "track_clicks": message.track_clicks,
            "attachments": [file for inline, file in files if not inline],
            "images": [file for inline, file in files if inline],
        }
        more = {"send_at": f"{message.send_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"} if message.send_at else {}
        for copy in job.copies:
            body = {"message": filled(shared | _own(job, copy)), **more}
            path = "/messages/send"
            if message.template:
                body |= {"template_name": str(message.template.id), "template_content": []}
                path = "/messages/send-template"
            body = with_options(body, job.options, self.protected) | {"key": settings.api_key.reveal()}
            yield json_call(path, body, [copy])

    def results(self, call: Call, response: Response) -> Iterable[Result]:
        """``[{"email", "status", "_id", "reject_reason"}]``, one for each recipient."""
        data = decoded(response)
        found = {(text_at(each, "email") or "").lower(): each for each in (data if isinstance(data, list) else ())}
        silent = Result(verdict=verdicts.UNKNOWN, text="the answer does not name the recipient")
        (copy,) = call.copies
        each = {a.key: self._result(found[a.email.lower()]) for a in copy.recipients if a.email.lower() in found}
        return [Result(verdict=silent.verdict, text=silent.text, each=each)]

    def _result(self, answer: Any) -> Result:
        status, provider_id = text_at(answer, "status"), text_at(answer, "_id")
        if status in ("sent", "queued", "scheduled"):
            return Result(provider_id=provider_id)
        reason = text_at(answer, "reject_reason") or status or ""
        verdict = self.errors.get(reason, verdicts.NOT_ALLOWED if status == "rejected" else verdicts.UNKNOWN)
        return Result(verdict=verdict, text=reason or None, provider_id=provider_id)

    @hookimpl
    def connector_parse_webhook(self, settings: MandrillSettings, request: WebhookRequest) -> Sequence[Event]:
        """Events, and inbound messages."""
        # Here and not above: whoever lists connectors, or only sends, needs no parser of mail.
        from genie_connect_contrib.mandrill.events import parse_webhook

        return parse_webhook(_keys(settings), settings.webhook_url, request)


def _keys(settings: MandrillSettings) -> Sequence[Secret | None]:
    # One endpoint has both, and either may post only what Mandrill signed with it.
    current = (settings.webhook_key, settings.inbound_key)
    return (*current, settings.previous_webhook_key, settings.previous_inbound_key)


def _own(job: Job, copy: Copy) -> dict[str, Any]:
    texts, reply_to = copy.texts, ", ".join(mailboxes(job.message.reply_to))
    variables = [{"name": name, "content": _text(name, value)} for name, value in copy.template_data.items()]
    return {
        "to": [
            _recipient(address, kind)
            for kind, addresses in (("to", copy.to), ("cc", copy.cc), ("bcc", copy.bcc))
            for address in addresses
        ],
        "preserve_recipients": True,
        "subject": texts.subject,
        "text": texts.text,
        "html": texts.html,
        "headers": copy.headers | ({"Reply-To": reply_to} if reply_to else {}),
        # Without variables nothing is filled in: *|x|* stays as it stands.
        "merge": bool(job.message.template),
        "global_merge_vars": variables if job.message.template else None,
        "metadata": {**copy.metadata, MESSAGE_ID: copy.message_id, ATTEMPT: job.attempt_id},
    }


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValidationError.single(
            f"template.data[{name!r}]", "has to be text or a number at Mandrill", "write it so"
        )
    return str(value)


def _recipient(address: Address, kind: str) -> dict[str, str]:
    return filled({"email": address.email, "name": address.name, "type": kind})


def _pong(data: Any) -> Mapping[str, Any]:
    return {"ping": data["PING"]}


connector = Mandrill()
