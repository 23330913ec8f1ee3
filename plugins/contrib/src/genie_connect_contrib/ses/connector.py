"""Amazon SES, version 2 of its API: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html

One request for each copy, signed. The quota counts recipients, and a throttled message is not kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from genie_connect.api import (
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
    credential,
    decoded,
    encoded,
    event_rows,
    filled,
    json_call,
    object_in,
    text_at,
    verdicts,
)
from genie_connect.contract import ConnectorInfo, Kind, SendContext, WebhookRequest
from genie_connect.errors import Problem, ValidationError
from genie_connect.hookspecs import hookimpl
from genie_connect.http import Response
from genie_connect.http.target import Origin
from genie_connect.mime.encoded_word import encoded_words
from genie_connect.model.address import Address
from genie_connect.model.capability import CapabilityTable, conditional, yes
from genie_connect.model.event import Event
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings
from genie_connect.webhooks.signatures import topic_arn
from genie_connect_contrib.ses.sigv4 import Credentials, signed_headers
from genie_connect_contrib.shared import message_id_word, tag_words

SERVICE = "ses"
MAX_HEADER_CHARACTERS = 995
_REGION = re.compile(r"[a-z]{2,3}(-[a-z]+){1,2}-[0-9]{1,2}\Z")

# The errors of SendEmail, and those of every AWS service:
# https://docs.aws.amazon.com/ses/latest/APIReference-V2/CommonErrors.html
ERRORS = {
    "MessageRejected": verdicts.NOT_ALLOWED,
    "MessageRejected: not verified": verdicts.SENDER,
    "MailFromDomainNotVerifiedException": verdicts.SENDER,
    "AccountSuspendedException": verdicts.SUSPENDED,
    "SendingPausedException": verdicts.SUSPENDED,
    "BadRequestException": verdicts.MALFORMED,
    "NotFoundException": verdicts.TEMPLATE,
    "LimitExceededException": verdicts.QUOTA,
    "TooManyRequestsException": verdicts.THROTTLED,
    "ThrottlingException": verdicts.THROTTLED,
    "ThrottlingException: quota": verdicts.QUOTA,
    "AccessDeniedException": verdicts.AUTH,
    "ExpiredTokenException": verdicts.AUTH,
    "IncompleteSignature": verdicts.AUTH,
    "InvalidClientTokenId": verdicts.AUTH,
    "InvalidSignatureException": verdicts.AUTH,
    "OptInRequired": verdicts.AUTH,
    "RequestExpired": verdicts.AUTH,
    "SignatureDoesNotMatch": verdicts.AUTH,
    "UnrecognizedClientException": verdicts.AUTH,
}


def _region_problem(value: str) -> str | None:
    return None if _REGION.match(value) else "is not a region, as eu-central-1"


def _topics_problem(value: Sequence[str]) -> str | None:
    try:
        for each in value:
            topic_arn(each)
    except ValueError as error:
        return f"holds one that {error}"
    return None


@settings
class SesSettings(ApiSettings):
    """Settings of an Amazon SES connection."""

    access_key_id: str = setting(
        title="Access key ID",
        help="Of an IAM user or role that may ses:SendEmail, and for the connection test ses:GetAccount.",
        group="auth",
        example="AKIAIOSFODNN7EXAMPLE",
    )
    secret_access_key: Secret = credential(
        title="Secret access key",
        help="Shown once, when the access key is made.",
        example="env:AWS_SECRET_ACCESS_KEY",
    )
    session_token: Secret | None = setting(
        title="Session token",
        help="Only for keys that are lent for some time.",
        group="auth",
        secret=True,
        default=None,
        example="env:AWS_SESSION_TOKEN",
    )
    region: str = setting(
        title="Region",
        help="The region in which the identity is verified.",
        example="eu-central-1",
        check=_region_problem,
    )
    configuration_set: str | None = setting(
        title="Configuration set",
        help="Decides where events go; without it the identity's default.",
        default=None,
    )
    webhook_topics: tuple[str, ...] = setting(
        title="Webhook topics",
        help="ARNs of the SNS topics whose messages are taken. Without one no webhook is.",
        group="webhooks",
        default=(),
        check=_topics_problem,
        example=("arn:aws:sns:eu-central-1:123456789012:mail",),
    )


class Ses(ApiConnector[SesSettings]):
    """The connector."""

    info = ConnectorInfo(
        id="ses",
        title="Amazon SES",
        kind=Kind.API,
        settings_class=SesSettings,
        docs_url="https://docs.aws.amazon.com/ses/",
        summary="Mail by the API of Amazon SES, version 2.",
        quality="platinum",
    )
    errors = ERRORS
    protected = frozenset(
        {"Destination", "FromEmailAddress", "FromEmailAddressIdentityArn", "FeedbackForwardingEmailAddress"}
    )
    needs_to = False

    def capabilities(self, settings: SesSettings | None) -> CapabilityTable:
        """As the service's description and https://docs.aws.amazon.com/ses/latest/dg/quotas.html say."""
        return self.table(
            settings,
            yes("send.transactional", max_recipients=50, max_message_bytes=40 * MIB),
            yes("send.attachments", "beside a text or HTML body; some file types are refused"),
            yes("send.inline_images"),
            yes("send.cc_bcc"),
            yes("send.reply_to"),
            yes("send.headers", max_fields=15),
            conditional("send.envelope_sender", "bounces are forwarded there; the return path stays that of SES"),
            yes("send.batch", "a request for each copy, four at a time", max_batch=50),
            yes("send.merge", "filled in here, for each copy"),
            conditional("send.tags", "letters, digits, _ and - only; shown in events", max_characters=256),
            conditional("send.metadata", "letters, digits, _ and - only; shown in events", max_value_characters=256),
            yes("send.templates", "by name or ARN; the subject is the template's"),
            yes("send.track_opens"),
            yes("send.track_clicks"),
            yes("send.provider_options"),
            *event_rows(settings is None or bool(settings.webhook_topics), signature="SNS", inbound=True),
        )

    def url(self, settings: SesSettings) -> str:
        """The endpoint of the region."""
        china = ".cn" if settings.region.startswith("cn-") else ""
        return f"https://email.{settings.region}.amazonaws.com{china}"

    def authorization(self, settings: SesSettings) -> Mapping[str, str]:
        """Nothing that stays the same: each request is signed."""
        _credentials(settings)
        return {}

    def signed(self, call: Call, state: ApiState[SesSettings], context: SendContext) -> Mapping[str, str]:
        """Signature version 4 over the whole request."""
        settings = state.settings
        return signed_headers(
            _credentials(settings),
            method=call.method,
            host=_host(settings.base_url or self.url(settings)),
            target=call.path,
            headers=call.headers,
            body=call.content,
            region=settings.region,
            service=SERVICE,
            now=context.clock.now(),
        )

    def account(self, settings: SesSettings) -> Account:
        """Whether the account may send, and how much."""
        return Account(
            path="/v2/email/account",
            facts=_quota,
            field="secret_access_key",
            unproven=_may_not_ask,
        )

    def calls(self, job: Job, settings: SesSettings) -> Iterable[Call]:
        """One copy in each."""
        shared = _shared(job, settings)
        attachments = [_attachment(file) for file in job.files]
        for copy in job.copies:
            body = shared | _own(job, copy, attachments)
            yield json_call("/v2/email/outbound-emails", self.body(job, body), [copy])

    def results(self, call: Call, response: Response) -> Iterable[Result]:
        """``{"MessageId": ...}``."""
        provider_id = text_at(decoded(response), "MessageId")
        return [Result(provider_id=provider_id)] if provider_id else []

    def said(self, response: Response) -> Said:
        """The name of the error stands in a header field, or as ``__type`` in the body, with a prefix or a suffix."""
        data = object_in(response)
        name = response.headers.get("x-amzn-errortype") or text_at(data, "__type") or text_at(data, "code") or ""
        word = name.partition(":")[0].rpartition("#")[2]
        text = text_at(data, "message") or text_at(data, "Message")
        for said, more in (("not verified", "not verified"), ("quota", "quota")):
            if said in (text or "").lower() and f"{word}: {more}" in ERRORS:
                word = f"{word}: {more}"
        return Said(word=word, text=text)

    @hookimpl
    def connector_parse_webhook(self, settings: SesSettings, request: WebhookRequest) -> Sequence[Event]:
        """Messages of SNS: events, and received mail."""
        # Here and not above: whoever lists connectors, or only sends, needs no parser of mail.
        from genie_connect_contrib.ses.events import parse_webhook

        return parse_webhook(settings.webhook_topics, request)


def _credentials(settings: SesSettings) -> Credentials:
    return Credentials(
        key_id=settings.access_key_id,
        secret=settings.secret_access_key.reveal(),
        token=settings.session_token.reveal() if settings.session_token else None,
    )


@lru_cache(maxsize=64)
def _host(url: str) -> str:
    return Origin.of(url).url.partition("://")[2].partition("/")[0]


def _shared(job: Job, settings: SesSettings) -> dict[str, Any]:
    message = job.message
    problems: list[Problem] = []
    if message.template is not None and message.subject:
        problems.append(Problem("subject", "is the template's at Amazon SES", "leave it out"))
    if message.template is None and message.text is None and message.html is None:
        problems.append(Problem("text", "is missing, and SES takes no message of files alone", "give a text"))
    if problems:
        raise ValidationError(problems)
    tracking = {"OpenTrackingEnabled": message.track_opens, "ClickTrackingEnabled": message.track_clicks}
    switched = {name: "ENABLED" if on else "DISABLED" for name, on in tracking.items() if on is not None}
    return {
        "FromEmailAddress": _mailbox(job.sender),
        "ReplyToAddresses": _mailboxes(message.reply_to),
        "FeedbackForwardingEmailAddress": message.envelope_from.email if message.envelope_from else None,
        "ConfigurationSetName": settings.configuration_set,
        "ConfigurationOverrides": {"Tracking": switched} if switched else None,
    }


def _own(job: Job, copy: Copy, attachments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    to = {"ToAddresses": copy.to, "CcAddresses": copy.cc, "BccAddresses": copy.bcc}
    return {
        "Destination": filled({name: _mailboxes(addresses) for name, addresses in to.items()}),
        "Content": _content(job, copy, filled({"Headers": _headers(copy), "Attachments": attachments})),
        "EmailTags": [
            {"Name": name, "Value": value}
            for name, value in {
                **tag_words("Amazon SES", job.message.tags, copy.metadata),
                **message_id_word(copy.message_id),
            }.items()
        ],
    }


def _content(job: Job, copy: Copy, more: Mapping[str, Any]) -> dict[str, Any]:
    template, texts = job.message.template, copy.texts
    if template is not None:
        by = "TemplateArn" if template.id.startswith("arn:") else "TemplateName"
        return {"Template": {by: template.id, "TemplateData": encoded(copy.template_data), **more}}
    bodies = {"Text": texts.text, "Html": texts.html}
    body = {name: _utf8(text) for name, text in bodies.items() if text is not None}
    return {"Simple": {"Subject": _utf8(texts.subject), "Body": body, **more}}


def _utf8(text: str) -> dict[str, str]:
    return {"Data": text, "Charset": "UTF-8"}


def _headers(copy: Copy) -> list[dict[str, str]]:
    made = {name: _ascii(value) for name, value in copy.headers.items()}
    for name, value in made.items():
        if len(value) > MAX_HEADER_CHARACTERS:
            cause = f"has {len(value)} characters as it is written; SES takes {MAX_HEADER_CHARACTERS}"
            raise ValidationError.single(f"headers[{name!r}]", cause, "shorten it")
    return [{"Name": name, "Value": value} for name, value in made.items()]


def _ascii(text: str) -> str:
    return text if text.isascii() else " ".join(encoded_words(text, 75))


def _mailbox(address: Address) -> str:
    if address.name.isascii():
        return str(address)
    return f"{_ascii(address.name)} <{address.email}>"


def _mailboxes(addresses: Iterable[Address]) -> list[str]:
    return [_mailbox(address) for address in addresses]


def _attachment(file: File) -> dict[str, Any]:
    attachment = {
        "FileName": file.filename,
        "ContentType": file.content_type,
        "RawContent": file.content,
        "ContentTransferEncoding": "BASE64",
        "ContentDisposition": file.disposition.upper(),
    }
    return attachment | {"ContentId": file.content_id} if file.content_id else attachment


def _quota(data: Any) -> Mapping[str, Any]:
    if not data["SendingEnabled"]:
        raise ValueError("sending is switched off for this account and region")
    quota = data["SendQuota"]
    return {
        "production_access": bool(data["ProductionAccessEnabled"]),
        "status": str(data.get("EnforcementStatus", "")),
        "max_24_hours": quota["Max24HourSend"],
        "max_per_second": quota["MaxSendRate"],
        "sent_24_hours": quota["SentLast24Hours"],
    }


def _may_not_ask(response: Response) -> bool:
    # Signed well, and without the right ses:GetAccount.
    return response.status == 403 and "is not authorized to perform: ses:GetAccount" in response.body.decode("latin-1")


connector = Ses()
