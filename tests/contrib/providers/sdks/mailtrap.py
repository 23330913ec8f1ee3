"""Mailtrap's library."""

from __future__ import annotations

from typing import Any

import mailtrap as sdk

from genie_connect.model.address import Address
from genie_connect.model.message import Message
from tests.contrib.providers import mailtrap
from tests.contrib.providers.sdks.library import Library, files, sender


def _named(address: Address) -> sdk.Address:
    return sdk.Address(email=address.email, name=address.name or None)


def _send(_: str, message: Message) -> Any:
    """Its client knows no other host and no plain HTTP; the body is what it would post."""
    if message.template is not None:
        return sdk.MailFromTemplate(
            sender=_named(sender(message)),
            to=[_named(each) for each in message.to],
            template_uuid=message.template.id,
            template_variables=dict(message.template.data),
        ).api_data
    return sdk.Mail(
        sender=_named(sender(message)),
        to=[_named(each) for each in message.to],
        cc=[_named(each) for each in message.cc],
        bcc=[_named(each) for each in message.bcc],
        reply_to=_named(message.reply_to[0]) if message.reply_to else None,
        subject=message.subject,
        text=message.text,
        html=message.html,
        category=message.tags[0] if message.tags else None,
        headers=dict(message.headers),
        custom_variables=dict(message.metadata),
        attachments=[
            sdk.Attachment(
                content=content.encode(),
                filename=file.filename,
                mimetype=file.content_type,
                disposition=sdk.Disposition.INLINE if file.content_id else sdk.Disposition.ATTACHMENT,
                content_id=file.content_id,
            )
            for file, content in files(message)
        ],
    ).api_data


LIBRARY = Library(provider=mailtrap.PROVIDER, send=_send)
