"""Mailgun (Sinch): https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages

Up to 1,000 recipients in one call, each with values of its own. A form, with the files as they are.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from email.utils import format_datetime
from typing import Any, Literal

from genie_connect.api import (
    MESSAGE_ID,
    MIB,
    Account,
    ApiSettings,
    ApiState,
    Call,
    Copy,
    FilePart,
    Job,
    Result,
    Said,
    WebhookConnector,
    credential,
    decoded,
    encoded,
    filled,
    multipart_call,
    object_in,
    text_at,
    tokens_of,
    verdicts,
    with_options,
)
from genie_connect.contract import ConnectorInfo, Kind
from genie_connect.errors import ValidationError
from genie_connect.hookspecs import hookimpl
from genie_connect.http import Response
from genie_connect.model.capability import CapabilityTable, conditional, yes
from genie_connect.model.outcome import Outcome
from genie_connect.model.plain_data import thawed
from genie_connect.model.receipt import Attempt
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings
from genie_connect.webhooks.settings import previous_secret, signing_secret
from genie_connect.webhooks.signatures import raw_key
from genie_connect_contrib.mailgun.lookup import look_up
from genie_connect_contrib.shared import mailboxes

URLS = {"us": "https://api.mailgun.net", "eu": "https://api.eu.mailgun.net"}
MAX_RECIPIENTS = 1000
MAX_OPTIONS_BYTES = 16 * 1024
"""Of all fields that begin with o:, h: or v: (the description's examples of errors)."""
_DOMAIN = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+\Z")
_SAID = {
    "from": re.compile(r"'?from'? parameter is not a valid address", re.IGNORECASE),
    "not allowed": re.compile(r"not allowed to send(?!.*limit exceeded)|sandbox subdomains", re.IGNORECASE),
    "disabled": re.compile(r"(?:account|domain)\b.*\b(?:disabled|suspended)", re.IGNORECASE),
    "template": re.compile(r"template\b.*\bnot found", re.IGNORECASE),
}
"""Mailgun has no codes, only text for people: how it is told apart."""
ERRORS = {
    "disabled": verdicts.SUSPENDED,
    "from": verdicts.SENDER,
    "not allowed": verdicts.SENDER,
    "template": verdicts.TEMPLATE,
}


def _domain_problem(value: str) -> str | None:
    return None if _DOMAIN.match(value) else "is not a domain, as mg.example.com"


@settings
class MailgunSettings(ApiSettings):
    """Settings of a Mailgun connection."""

    api_key: Secret = credential(
        title="API key",
        help="Mailgun > API keys, or the sending key of the domain.",
        example="env:MAILGUN_API_KEY",
    )
    domain: str = setting(
        title="Domain",
        help="The domain at Mailgun that sends, as Mailgun > Sending > Domains shows it.",
        example="mg.example.com",
        check=_domain_problem,
    )
    region: Literal["us", "eu"] = setting(
        title="Region",
        help="Where the domain was made; a key is of one region.",
        default="us",
        titles={"us": "United States", "eu": "European Union"},
    )
    check_only: bool = setting(
        title="Check only",
        help="Mailgun takes what it gets and delivers nothing (its test mode).",
        group="advanced",
        default=False,
    )
    webhook_secret: Secret | None = signing_secret(raw_key, help="Mailgun > API Security > HTTP webhook signing key.")
    previous_webhook_secret: Secret | None = previous_secret(raw_key)


class Mailgun(WebhookConnector[MailgunSettings]):
    """The connector."""

    info = ConnectorInfo(
        id="mailgun",
        title="Mailgun",
        kind=Kind.API,
        settings_class=MailgunSettings,
        docs_url="https://documentation.mailgun.com",
        summary="Mail by Mailgun's API, up to 1,000 recipients a call.",
        quality="platinum",
    )
    urls = URLS
    errors = ERRORS
    protected = frozenset({"from", "to", "cc", "bcc", "h:from", "h:to", "h:cc", "h:bcc", "recipient-variables"})
    parser = "genie_connect_contrib.mailgun.events"
    signature = "HMAC"
    inbound = True
    event_note = "signed, but for the body"

    def capabilities(self, settings: MailgunSettings | None) -> CapabilityTable:
        """Believed: 25 MB in all, three tags; the rest as the OpenAPI description says."""
        return self.table(
            settings,
            yes("send.transactional", max_recipients=MAX_RECIPIENTS, max_message_bytes=25 * MIB),
            yes("send.attachments", "beside a body"),
            yes("send.inline_images", "named by their Content-ID"),
            yes("send.amp"),
            yes("send.cc_bcc", "beside at least one recipient in To"),
            yes("send.reply_to"),
            yes("send.headers"),
            yes("send.batch", max_batch=MAX_RECIPIENTS),
            yes("send.merge", "filled in there, with values made here"),
            yes("send.tags", max_tags=3, max_characters=128),
            conditional("send.metadata", "as variables, which a header field shows to recipients"),
            conditional("send.schedule", "three days, or seven by plan", max_ahead_s=7 * 86_400),
            yes("send.templates"),
            yes("send.track_opens"),
            yes("send.track_clicks"),
            yes("send.provider_options"),
            conditional("lookup", "where the key may read the domain's events"),
        )

    def authorization(self, settings: MailgunSettings) -> Mapping[str, str]:
        """Basic, with the user api."""
        pair = base64.b64encode(f"api:{settings.api_key.reveal()}".encode()).decode("ascii")
        return {"authorization": f"Basic {pair}"}

    def account(self, settings: MailgunSettings) -> Account:
        """An empty message, which a good key has refused: a key for sending alone may ask nothing else."""
        return Account(
            path=f"/v3/{settings.domain}/messages",
            method="POST",
            content=b"o:testmode=yes",
            content_type="application/x-www-form-urlencoded",
            proven=_lacks_a_sender,
        )

    def calls(self, job: Job, settings: MailgunSettings) -> Iterable[Call]:
        """All copies in one call; each in its own where the text itself says %recipient."""
        said = "".join(filter(None, (job.message.subject, job.message.text, job.message.html, job.message.amp)))
        groups = [(copy,) for copy in job.copies] if "%recipient" in said else [job.copies]
        files = [
            FilePart(
                name="inline" if each.inline else "attachment",
                filename=each.content_id or each.filename,
                content_type=each.content_type,
                content=each.read(),
            )
            for each in job.message.attachments
        ]
        for copies in groups:
            form = with_options(_form(job, copies, settings), job.options, self.protected)
            fields = [(name, _text(value)) for name, given in form.items() for value in _several(given)]
            if sum(len(f"{name}{value}".encode()) for name, value in fields if name[1:2] == ":") > MAX_OPTIONS_BYTES:
                cause = f"have more than {MAX_OPTIONS_BYTES} bytes together"
                raise ValidationError.single("headers, metadata and options", cause, "shorten them")
            yield multipart_call(f"/v3/{settings.domain}/messages", fields, files, copies)

    def results(self, call: Call, response: Response) -> Iterable[Result]:
        """One id for the call, which events show without angle brackets."""
        provider_id = (text_at(decoded(response), "id") or "").strip("<>")
        if not provider_id:
            return []
        return [Result(provider_id=provider_id)] * len(call.copies)

    def said(self, response: Response) -> Said:
        """``{"message": ...}``, or plain text."""
        text = text_at(object_in(response), "message") or response.body[:500].decode("utf-8", "replace")
        return Said(word=next((word for word, pattern in _SAID.items() if pattern.search(text)), ""), text=text or None)

    @hookimpl
    async def connector_lookup(self, state: ApiState[MailgunSettings], attempt: Attempt) -> Sequence[Outcome]:
        """Whom Mailgun took in an attempt, or refused afterwards, where the key may read events."""
        return await look_up(self, state, attempt)


def _form(job: Job, copies: Sequence[Copy], settings: MailgunSettings) -> dict[str, Any]:
    message, first = job.message, copies[0]
    several = len(copies) > 1
    tokens = tokens_of(job, lambda name: f"%recipient.{name}%") if several else None
    texts = tokens.texts if tokens else first.texts
    form = filled(
        {
            "from": str(job.sender),
            "to": [mailbox for copy in copies for mailbox in mailboxes(copy.to)],
            "cc": mailboxes(first.cc),
            "bcc": mailboxes(first.bcc),
            "text": texts.text,
            "html": texts.html,
            "amp-html": texts.amp,
            "template": message.template.id if message.template else None,
            "t:version": message.template.version if message.template else None,
            "h:Reply-To": ", ".join(mailboxes(message.reply_to)),
            "o:tag": list(message.tags),
            "o:deliverytime": format_datetime(message.send_at) if message.send_at else None,
            "o:tracking-opens": _switch(message.track_opens),
            "o:tracking-clicks": _switch(message.track_clicks),
            "o:testmode": "yes" if settings.check_only else None,
        }
    )
    if not {"text", "html", "amp-html", "template"} & set(form):
        raise ValidationError.single("text", "is empty, and Mailgun takes no message without a body", "give a text")
    variables: dict[str, dict[str, str]] = {}
    if tokens:
        variables = {copy.to[0].email: tokens.values(copy) for copy in copies}
    headers = _alike([copy.headers for copy in copies], "h", copies, variables)
    known = [{**copy.metadata, MESSAGE_ID: copy.message_id} for copy in copies]
    metadata = _alike(known, "v", copies, variables)
    form |= {"subject": texts.subject}
    form |= {f"h:{name}": value for name, value in headers.items()}
    form |= {f"v:{name}": value for name, value in metadata.items()}
    if message.template:
        data = thawed(message.template.data)
        own = _alike([dict(copy.merge or {}) for copy in copies], "t", copies, variables, data)
        form |= {"t:variables": encoded({**data, **own})}
    return form | {"recipient-variables": encoded(variables)} if several else form


def _alike(
    each: Sequence[Mapping[str, str]],
    stem: str,
    copies: Sequence[Copy],
    variables: Mapping[str, dict[str, str]],
    otherwise: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """What every copy has; where copies differ, a token in the value's place, and the values in ``variables``."""
    made: dict[str, str] = {}
    for index, name in enumerate(dict.fromkeys(name for values in each for name in values)):
        found = [values.get(name, str((otherwise or {}).get(name, ""))) for values in each]
        if len(set(found)) == 1:
            made[name] = found[0]
            continue
        made[name] = f"%recipient.{stem}{index}%"
        for copy, value in zip(copies, found, strict=True):
            variables[copy.to[0].email][f"{stem}{index}"] = value
    return made


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else encoded(value)


def _switch(value: bool | None) -> str | None:
    return None if value is None else "yes" if value else "no"


def _lacks_a_sender(response: Response) -> bool:
    return response.status == 400 and "from" in (text_at(object_in(response), "message") or "").lower()


connector = Mailgun()
