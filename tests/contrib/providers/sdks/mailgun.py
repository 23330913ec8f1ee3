"""Mailgun's library."""

from __future__ import annotations

import json
from email import message_from_bytes
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl

from mailgun.client import Client

from genie_connect.http.fake import Request
from genie_connect.model.message import Message
from tests.contrib.providers import mailgun
from tests.contrib.providers.harness import SECRET
from tests.contrib.providers.sdks.library import Library, given, mailboxes, sender


def _send(client: Client, message: Message) -> None:
    template = message.template
    switches = {"o:tracking-opens": message.track_opens, "o:tracking-clicks": message.track_clicks}
    data: dict[str, Any] = {
        "from": str(sender(message)),
        "to": mailboxes(message.to),
        "cc": mailboxes(message.cc),
        "bcc": mailboxes(message.bcc),
        "text": message.text,
        "html": message.html,
        "amp-html": message.amp,
        "template": template.id if template else None,
        "t:variables": json.dumps(dict(template.data), separators=(",", ":")) if template else None,
        "o:tag": list(message.tags),
        "o:deliverytime": format_datetime(message.send_at) if message.send_at else None,
        **{name: "yes" if on else "no" for name, on in switches.items() if on is not None},
        "h:Reply-To": ", ".join(mailboxes(message.reply_to)),
        **{f"h:{name}": value for name, value in message.headers.items()},
        **{f"v:{name}": value for name, value in message.metadata.items()},
    }
    files = [
        # What the HTML shows is found by its file name.
        ("inline", (file.content_id, file.read(), file.content_type))
        if file.content_id
        else ("attachment", (file.filename, file.read(), file.content_type))
        for file in message.attachments
    ]
    client.messages.create(
        data={"subject": message.subject, **given(data)}, files=files or None, domain="mg.example.com"
    )


def _form(request: Request) -> Any:
    """The fields of a form of either kind, lists in their order; addresses one by one."""
    kind = request.headers.get("content-type", "")
    if kind.startswith("application/x-www-form-urlencoded"):
        pairs: list[tuple[str, Any]] = list(parse_qsl(request.content.decode(), keep_blank_values=True))
    else:
        parsed = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + request.content)
        pairs = []
        for part in parsed.walk():
            if part.is_multipart():
                continue
            name = str(part.get_param("name", header="content-disposition"))
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            filename = part.get_filename()
            pairs.append(
                (name, content.decode()) if filename is None else (name, (filename, content, part.get_content_type()))
            )
    fields: dict[str, list[Any]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields


# Its multipart form has another boundary, and is one only where there are files.
LIBRARY = Library(
    provider=mailgun.PROVIDER,
    send=_send,
    client=lambda url: Client(auth=("api", SECRET), api_url=url),
    read=_form,
    headers=("authorization",),
)
