"""A copy of a message as Amazon SES takes it: in fields, or whole where the fields have no place for something."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from genie_connect.api import Copy, File, Job, encoded, filled
from genie_connect.errors import ValidationError
from genie_connect.mime.encoded_word import encoded_words
from genie_connect.model.address import Address
from genie_connect_contrib.ses.settings import SesSettings
from genie_connect_contrib.shared import message_id_word, tag_words

MAX_HEADER_CHARACTERS: Final = 995
MAX_HEADERS: Final = 15
"""So many header fields of one's own have a place beside the bodies; a whole message has any number."""


def shared(job: Job, settings: SesSettings) -> dict[str, Any]:
    """What a request says of all its copies. Raises ``ValidationError`` for what SES has no place for."""
    message = job.message
    if message.template is not None and message.subject:
        raise ValidationError.single("subject", "is the template's at Amazon SES", "leave it out")
    tracking = {"OpenTrackingEnabled": message.track_opens, "ClickTrackingEnabled": message.track_clicks}
    switched = {name: "ENABLED" if on else "DISABLED" for name, on in tracking.items() if on is not None}
    return {
        "FromEmailAddress": _mailbox(job.sender),
        "FeedbackForwardingEmailAddress": message.envelope_from.email if message.envelope_from else None,
        "ConfigurationSetName": settings.configuration_set,
        "ConfigurationOverrides": {"Tracking": switched} if switched else None,
    }


def own(job: Job, copy: Copy, attachments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a request says of its only copy."""
    content, reply_to = _content(job, copy, attachments), _mailboxes(job.message.reply_to)
    return {
        "Destination": _destination(copy),
        "Content": content,
        # A whole message has its own.
        "ReplyToAddresses": [] if "Raw" in content else reply_to,
        "EmailTags": _tags(job, copy),
    }


def bulk(job: Job, copies: Iterable[Copy], attachments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a request says of many copies of a template."""
    return {
        "ReplyToAddresses": _mailboxes(job.message.reply_to),
        "DefaultContent": {"Template": filled({**_template(job), "TemplateData": "{}", "Attachments": attachments})},
        "BulkEmailEntries": [_entry(job, copy) for copy in copies],
    }


def _entry(job: Job, copy: Copy) -> dict[str, Any]:
    data = {"ReplacementTemplateData": encoded(copy.template_data)}
    return filled(
        {
            "Destination": _destination(copy),
            "ReplacementTags": _tags(job, copy),
            "ReplacementEmailContent": {"ReplacementTemplate": data},
            "ReplacementHeaders": _headers(copy),
        }
    )


def _content(job: Job, copy: Copy, attachments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    message = job.message
    if message.template is not None:
        more = filled({"Headers": _headers(copy), "Attachments": attachments})
        return {"Template": {**_template(job), "TemplateData": encoded(copy.template_data), **more}}
    if message.amp is not None or (message.text is None and message.html is None) or len(copy.headers) > MAX_HEADERS:
        return {"Raw": {"Data": base64.b64encode(job.mime(copy, with_bcc=False)).decode("ascii")}}
    texts = copy.texts
    bodies = {"Text": texts.text, "Html": texts.html}
    body = {name: _utf8(text) for name, text in bodies.items() if text is not None}
    more = filled({"Headers": _headers(copy), "Attachments": attachments})
    return {"Simple": {"Subject": _utf8(texts.subject), "Body": body, **more}}


def _template(job: Job) -> dict[str, Any]:
    template = job.message.template
    if template is None:
        raise AssertionError("only a message with a template is asked for it")
    return {"TemplateArn" if template.id.startswith("arn:") else "TemplateName": template.id}


def _destination(copy: Copy) -> dict[str, Any]:
    to = {"ToAddresses": copy.to, "CcAddresses": copy.cc, "BccAddresses": copy.bcc}
    return filled({name: _mailboxes(addresses) for name, addresses in to.items()})


def _tags(job: Job, copy: Copy) -> list[dict[str, str]]:
    words = {**tag_words("Amazon SES", job.message.tags, copy.metadata), **message_id_word(copy.message_id)}
    return [{"Name": name, "Value": value} for name, value in words.items()]


def _utf8(text: str) -> dict[str, str]:
    return {"Data": text, "Charset": "UTF-8"}


def _headers(copy: Copy) -> list[dict[str, str]]:
    made = {name: _ascii(value) for name, value in copy.headers.items()}
    if len(made) > MAX_HEADERS:
        cause = f"has {len(made)} fields with those of the copy, and SES adds {MAX_HEADERS} to a template"
        raise ValidationError.single("headers", cause, "leave some out")
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


def attachment_of(file: File) -> dict[str, Any]:
    """A file beside bodies or a template."""
    attachment = {
        "FileName": file.filename,
        "ContentType": file.content_type,
        "RawContent": file.content,
        "ContentTransferEncoding": "BASE64",
        "ContentDisposition": file.disposition.upper(),
    }
    return attachment | {"ContentId": file.content_id} if file.content_id else attachment
