"""Cloudflare Email Sending: https://developers.cloudflare.com/email-service/

One request for each copy. The answer says of each recipient what became of the hand-over, and no events follow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from genie_connect.api import (
    MIB,
    Account,
    ApiConnector,
    ApiSettings,
    Call,
    Copy,
    File,
    Job,
    Result,
    Said,
    credential,
    filled,
    json_call,
    object_in,
    text_at,
    verdicts,
    with_options,
)
from genie_connect.contract import ConnectorInfo, Kind
from genie_connect.errors import ValidationError
from genie_connect.http import Response
from genie_connect.model.address import Address
from genie_connect.model.capability import CapabilityTable, yes
from genie_connect.model.secret import Secret
from genie_connect.model.settings import setting, settings

URLS = {"": "https://api.cloudflare.com/client/v4"}
MAX_HEADER_BYTES = 16_384
_ACCOUNT = re.compile(r"[0-9a-f]{32}\Z")
# What an answer says of a recipient, and what that means.
_LISTS = {
    "delivered": None,
    "queued": None,
    "permanent_bounces": verdicts.RECIPIENT,
    "suppressed_recipients": verdicts.RECIPIENT_BLOCKED,
}


def _account_problem(value: str) -> str | None:
    return None if _ACCOUNT.match(value) else "is not an account ID: 32 hexadecimal digits"


@settings
class CloudflareSettings(ApiSettings):
    """Settings of a Cloudflare connection."""

    api_token: Secret = credential(
        title="API token",
        help="Cloudflare > My Profile > API Tokens, with the right to send email.",
        example="env:CLOUDFLARE_API_TOKEN",
    )
    account_id: str = setting(
        title="Account ID",
        help="Cloudflare > the account > Account ID; it is part of every URL.",
        group="auth",
        example="023e105f4ecef8ad9ca31a8372d0c353",
        check=_account_problem,
    )


class Cloudflare(ApiConnector[CloudflareSettings]):
    """The connector."""

    info = ConnectorInfo(
        id="cloudflare",
        title="Cloudflare",
        kind=Kind.API,
        settings_class=CloudflareSettings,
        docs_url="https://developers.cloudflare.com/email-service/",
        summary="Mail by Cloudflare Email Sending.",
        quality="gold",
    )
    urls = URLS
    protected = frozenset({"from", "to", "cc", "bcc"})
    bearer = "api_token"

    def capabilities(self, settings: CloudflareSettings | None) -> CapabilityTable:
        """Limits: https://developers.cloudflare.com/email-service/platform/limits/"""
        return self.table(
            settings,
            yes("send.transactional", max_recipients=50, max_message_bytes=5 * MIB),
            yes("send.attachments"),
            yes("send.inline_images"),
            yes("send.cc_bcc", "beside at least one recipient in To"),
            yes("send.reply_to", "one", max_addresses=1),
            yes("send.headers", "16 KB in all"),
            yes("send.batch", "a request for each copy, four at a time", max_batch=50),
            yes("send.merge", "filled in here, for each copy"),
            yes("send.provider_options"),
        )

    def account(self, settings: CloudflareSettings) -> Account:
        """Whether the token is active; what it may do it does not say. Believed: the path."""
        return Account(path="/user/tokens/verify", field="api_token", facts=_token)

    def calls(self, job: Job, settings: CloudflareSettings) -> Iterable[Call]:
        """One copy in each."""
        shared = {
            "from": _address(job.sender),
            "reply_to": _address(job.message.reply_to[0]) if job.message.reply_to else None,
            "attachments": [_attachment(file) for file in job.files],
        }
        for copy in job.copies:
            body = {"subject": ""} | filled(shared | _own(copy))
            if sum(len(f"{name}: {value}\r\n".encode()) for name, value in copy.headers.items()) > MAX_HEADER_BYTES:
                raise ValidationError.single("headers", f"have more than {MAX_HEADER_BYTES} bytes", "shorten them")
            path = f"/accounts/{settings.account_id}/email/sending/send"
            yield json_call(path, with_options(body, job.options, self.protected), [copy])

    def results(self, call: Call, response: Response) -> Iterable[Result]:
        """``{"success", "result": {"delivered": [...], "queued": [...], "permanent_bounces": [...], ...}}``."""
        result = object_in(response).get("result")
        if not isinstance(result, dict):
            return []
        provider_id = text_at(result, "message_id")
        each: dict[str, Result] = {}
        for name, verdict in _LISTS.items():
            emails = result.get(name)
            text = None if verdict is None else f"the answer has it among {name}"
            found = Result(verdict=verdict, provider_id=provider_id, text=text)
            each |= {str(email).lower(): found for email in (emails if isinstance(emails, list) else ())}
        silent = "the answer does not name the recipient"
        return [
            Result(
                verdict=verdicts.UNKNOWN,
                text=silent,
                each={a.key: each[a.email.lower()] for a in copy.recipients if a.email.lower() in each},
            )
            for copy in call.copies
        ]

    def said(self, response: Response) -> Said:
        """``{"success": false, "errors": [{"code": ..., "message": ...}]}``."""
        data = object_in(response)
        return Said(word=text_at(data, "errors", 0, "code") or "", text=text_at(data, "errors", 0, "message"))


def _own(copy: Copy) -> dict[str, Any]:
    texts = copy.texts
    return {
        "to": [_address(address) for address in copy.to],
        "cc": [_address(address) for address in copy.cc],
        "bcc": [_address(address) for address in copy.bcc],
        "subject": texts.subject,
        "text": texts.text,
        "html": texts.html,
        "headers": copy.headers,
    }


def _address(address: Address) -> dict[str, str]:
    return {"address": address.email, "name": address.name} if address.name else {"address": address.email}


def _attachment(file: File) -> dict[str, str]:
    attachment = {"content": file.content, "filename": file.filename, "type": file.content_type}
    if file.content_id is None:
        return attachment | {"disposition": "attachment"}
    return attachment | {"disposition": "inline", "content_id": file.content_id}


def _token(data: Any) -> Mapping[str, Any]:
    status = data["result"]["status"]
    if status != "active":
        raise ValueError(f"the token is {status}")
    return {"token": status}


connector = Cloudflare()
