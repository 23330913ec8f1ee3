"""MailerSend's library."""

from __future__ import annotations

from typing import Any

from mailersend import MailerSendClient
from mailersend.models import email as sdk

from genie_connect.model.address import Address
from genie_connect.model.message import Message
from tests.contrib.providers import mailersend
from tests.contrib.providers.harness import SECRET
from tests.contrib.providers.sdks.library import Library, files, given, sender


def _contact(address: Address) -> sdk.EmailContact:
    return sdk.EmailContact(email=address.email, name=address.name or None)


def _send(url: str, message: Message) -> None:
    template = message.template
    fields: dict[str, Any] = {
        "from_email": _contact(sender(message)),
        "to": [_contact(each) for each in message.to],
        "cc": [_contact(each) for each in message.cc],
        "bcc": [_contact(each) for each in message.bcc],
        "reply_to": _contact(message.reply_to[0]) if message.reply_to else None,
        "text": message.text,
        "html": message.html,
        "template_id": template.id if template else None,
        "personalization": [
            sdk.EmailPersonalization(email=each.email, data=dict(template.data)) for each in message.recipients
        ]
        if template and template.data
        else None,
        "tags": list(message.tags),
        "send_at": int(message.send_at.timestamp()) if message.send_at else None,
        "headers": [sdk.EmailHeader(name=name, value=value) for name, value in message.headers.items()],
        "settings": sdk.EmailTrackingSettings(track_opens=message.track_opens, track_clicks=message.track_clicks),
        "attachments": [
            sdk.EmailAttachment(
                content=content,
                filename=file.filename,
                disposition="inline" if file.content_id else "attachment",
                id=file.content_id,
            )
            for file, content in files(message)
        ],
    }
    with MailerSendClient(api_key=SECRET, base_url=url) as client:
        client.emails.send(sdk.EmailRequest(subject=message.subject, **given(fields)))


LIBRARY = Library(
    provider=mailersend.PROVIDER,
    send=_send,
    unlike={"international domain": "its models turn the ASCII of a domain back into Unicode"},
)
