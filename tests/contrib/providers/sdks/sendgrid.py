"""SendGrid's library."""

from __future__ import annotations

from typing import Any

import sendgrid as sdk
from sendgrid.helpers import mail

from genie_connect.model.address import Address
from genie_connect.model.message import Message
from tests.contrib.providers import sendgrid
from tests.contrib.providers.harness import SECRET
from tests.contrib.providers.sdks.library import Library, files, sender


def _named(kind: Any, address: Address) -> Any:
    return kind(address.email, address.name or None)


def _send(url: str, message: Message) -> None:
    made = mail.Mail()
    made.from_email = _named(mail.From, sender(message))
    for address in message.to:
        made.add_to(_named(mail.To, address))
    for address in message.cc:
        made.add_cc(_named(mail.Cc, address))
    for address in message.bcc:
        made.add_bcc(_named(mail.Bcc, address))
    made.subject = mail.Subject(message.subject)
    if message.text is not None:
        made.add_content(message.text, "text/plain")
    if message.html is not None:
        made.add_content(message.html, "text/html")
    if len(message.reply_to) == 1:
        made.reply_to = _named(mail.ReplyTo, message.reply_to[0])
    elif message.reply_to:
        made.reply_to_list = [_named(mail.ReplyTo, address) for address in message.reply_to]
    personal = made.personalizations[0]
    for name, value in message.headers.items():
        personal.add_header(mail.Header(name, value))
    for name, value in message.metadata.items():
        personal.add_custom_arg(mail.CustomArg(name, value))
    # It puts each before the others, and so it does with files.
    for tag in reversed(message.tags):
        made.add_category(mail.Category(tag))
    if message.send_at is not None:
        made.send_at = mail.SendAt(int(message.send_at.timestamp()))
    if message.template is not None:
        made.template_id = mail.TemplateId(message.template.id)
        personal.dynamic_template_data = dict(message.template.data)
    if (message.track_opens, message.track_clicks) != (None, None):
        made.tracking_settings = mail.TrackingSettings(
            click_tracking=None
            if message.track_clicks is None
            else mail.ClickTracking(message.track_clicks, message.track_clicks),
            open_tracking=None if message.track_opens is None else mail.OpenTracking(message.track_opens),
        )
    for file, content in reversed(files(message)):
        disposition = "inline" if file.content_id else "attachment"
        made.add_attachment(
            mail.Attachment(
                mail.FileContent(content),
                mail.FileName(file.filename),
                mail.FileType(file.content_type),
                mail.Disposition(disposition),
                mail.ContentId(file.content_id) if file.content_id else None,
            )
        )
    sdk.SendGridAPIClient(SECRET, host=url).send(made)


LIBRARY = Library(provider=sendgrid.PROVIDER, send=_send)
