"""Amazon SES, version 2 of its API: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html

One request for each copy, or for many of a template, signed. The quota counts recipients, and a throttled message is
not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from genie_connect.api import (
    MIB,
    Account,
    ApiConnector,
    ApiState,
    Call,
    Copy,
    Job,
    Result,
    Said,
    decoded,
    event_rows,
    json_call,
    object_in,
    text_at,
    verdicts,
)
from genie_connect.contract import ConnectorInfo, Kind, SendContext, WebhookRequest
from genie_connect.hookspecs import hookimpl
from genie_connect.http import Response
from genie_connect.http.target import Origin
from genie_connect.model.capability import CapabilityTable, conditional, yes
from genie_connect.model.event import Event
from genie_connect_contrib.ses.content import attachment_of, bulk, own, shared
from genie_connect_contrib.ses.errors import ERRORS, OF_ENTRIES
from genie_connect_contrib.ses.settings import SesSettings
from genie_connect_contrib.ses.sigv4 import Credentials, signed_headers

SERVICE: Final = "ses"
MAX_BATCH: Final = 50
"""Recipients of one request, whoever has how many copies of it."""


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
            yes("send.attachments", "some file types are refused"),
            yes("send.amp"),
            yes("send.inline_images"),
            yes("send.cc_bcc"),
            yes("send.reply_to"),
            yes("send.headers"),
            conditional("send.envelope_sender", "bounces are forwarded there; the return path stays that of SES"),
            yes(
                "send.batch",
                "a template in one request, others in one for each copy, four at a time",
                max_batch=MAX_BATCH,
            ),
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
        """One copy in each; of a template as many as reach ``MAX_BATCH`` recipients."""
        said, attachments = shared(job, settings), [attachment_of(file) for file in job.files]
        if job.message.template is None or len(job.copies) == 1:
            for copy in job.copies:
                yield json_call("/v2/email/outbound-emails", self.body(job, said | own(job, copy, attachments)), [copy])
            return
        for copies in _groups(job.copies):
            body = said | bulk(job, copies, attachments)
            yield json_call("/v2/email/outbound-bulk-emails", self.body(job, body), copies)

    def results(self, call: Call, response: Response) -> Iterable[Result]:
        """``{"MessageId": ...}``, or ``{"BulkEmailEntryResults": [...]}`` in the order of the copies."""
        data = decoded(response)
        entries = data.get("BulkEmailEntryResults") if isinstance(data, dict) else None
        if isinstance(entries, list):
            return [_result(entry) for entry in entries]
        provider_id = text_at(data, "MessageId")
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


def _groups(copies: Sequence[Copy]) -> Iterator[list[Copy]]:
    """As many copies together as one request may reach recipients."""
    group: list[Copy] = []
    reached = 0
    for copy in copies:
        if group and reached + len(copy.recipients) > MAX_BATCH:
            yield group
            group, reached = [], 0
        group.append(copy)
        reached += len(copy.recipients)
    yield group


def _result(entry: Any) -> Result:
    word, text = text_at(entry, "Status"), text_at(entry, "Error")
    provider_id = text_at(entry, "MessageId")
    if word == "SUCCESS" and provider_id:
        return Result(provider_id=provider_id)
    if word in (None, "SUCCESS"):
        return Result(verdict=verdicts.UNKNOWN, text="the answer says not what became of it")
    return Result(verdict=OF_ENTRIES.get(word, verdicts.MALFORMED), text=text)


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
