"""Amazon's library."""

from __future__ import annotations

import json
from collections.abc import Iterable
from email.header import Header
from typing import Any

import boto3
from botocore.config import Config

from genie_connect.model.address import Address
from genie_connect.model.message import Message
from tests.contrib.providers import ses
from tests.contrib.providers.harness import SECRET
from tests.contrib.providers.sdks.library import Library, given, sender


def _ascii(text: str) -> str:
    return text if text.isascii() else Header(text, "utf-8").encode()


def _mailboxes(addresses: Iterable[Address]) -> list[str]:
    """As its documentation wants them: names in MIME encoded-words (RFC 2047)."""
    return [str(each) if each.name.isascii() else f"{_ascii(each.name)} <{each.email}>" for each in addresses]


def client_of(url: str) -> Any:
    """A client of SES for a URL on this machine, which asks nobody for credentials and repeats nothing."""
    return boto3.client(
        "sesv2",
        region_name="eu-central-1",
        endpoint_url=url,
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key=SECRET,
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )


def _utf8(text: str) -> dict[str, str]:
    return {"Data": text, "Charset": "UTF-8"}


def request_of(message: Message) -> dict[str, Any]:
    """The arguments of ``send_email``."""
    more = given(
        {
            "Headers": [{"Name": name, "Value": _ascii(value)} for name, value in message.headers.items()],
            "Attachments": [
                given(
                    {
                        "FileName": file.filename,
                        "ContentType": file.content_type,
                        "RawContent": file.read(),
                        "ContentTransferEncoding": "BASE64",
                        "ContentDisposition": "INLINE" if file.content_id else "ATTACHMENT",
                        "ContentId": file.content_id,
                    }
                )
                for file in message.attachments
            ],
        }
    )
    if message.template is not None:
        data = json.dumps(dict(message.template.data), separators=(",", ":"))
        content: dict[str, Any] = {"Template": {"TemplateName": message.template.id, "TemplateData": data, **more}}
    else:
        bodies = {"Text": message.text, "Html": message.html}
        body = {name: _utf8(text) for name, text in bodies.items() if text is not None}
        content = {"Simple": {"Subject": _utf8(message.subject), "Body": body, **more}}
    tracking = {"OpenTrackingEnabled": message.track_opens, "ClickTrackingEnabled": message.track_clicks}
    switched = {name: "ENABLED" if on else "DISABLED" for name, on in tracking.items() if on is not None}
    to = {"ToAddresses": message.to, "CcAddresses": message.cc, "BccAddresses": message.bcc}
    tags = {**dict.fromkeys(message.tags, "1"), **message.metadata}
    return given(
        {
            "FromEmailAddress": _mailboxes([sender(message)])[0],
            "Destination": given({name: _mailboxes(addresses) for name, addresses in to.items()}),
            "ReplyToAddresses": _mailboxes(message.reply_to),
            "FeedbackForwardingEmailAddress": message.envelope_from.email if message.envelope_from else None,
            "Content": content,
            "EmailTags": [{"Name": name, "Value": value} for name, value in tags.items()],
            "ConfigurationOverrides": {"Tracking": switched} if switched else None,
        }
    )


def _send(url: str, message: Message) -> None:
    client_of(url).send_email(**request_of(message))


_WHOLE = "it takes a whole message as it is, and makes none"
LIBRARY = Library(provider=ses.PROVIDER, send=_send, headers=(), unlike={"attachment alone": _WHOLE, "amp": _WHOLE})
