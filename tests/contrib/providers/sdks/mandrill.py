"""Mailchimp Transactional's library (Mandrill)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import Any

import mailchimp_transactional as sdk

from genie_connect.model.message import Message
from tests.contrib.providers import mandrill
from tests.contrib.providers.harness import SECRET
from tests.contrib.providers.sdks.library import Library, files, given, mailboxes, sender


@contextmanager
def _client(url: str) -> Iterator[sdk.Client]:
    client = sdk.Client(SECRET)
    client.api_client.host = url
    # It would name the format of the answer in the path, which is JSON where none is named.
    client.api_client.default_output_format = None
    yield client


def _send(client: sdk.Client, message: Message) -> None:
    def made(inline: bool) -> list[dict[str, str]]:
        return [
            # What the HTML shows is found by its name.
            {"type": file.content_type, "name": file.content_id or file.filename, "content": content}
            for file, content in files(message)
            if bool(file.content_id) is inline
        ]

    template = message.template
    reply_to = ", ".join(mailboxes(message.reply_to))
    named = {"to": message.to, "cc": message.cc, "bcc": message.bcc}
    fields: dict[str, Any] = {
        "from_email": sender(message).email,
        "from_name": sender(message).name,
        "to": [
            given({"email": each.email, "name": each.name, "type": kind})
            for kind, addresses in named.items()
            for each in addresses
        ],
        "preserve_recipients": True,
        "subject": message.subject,
        "text": message.text,
        "html": message.html,
        "headers": {**message.headers, **({"Reply-To": reply_to} if reply_to else {})},
        "tags": list(message.tags),
        "metadata": dict(message.metadata),
        "track_opens": message.track_opens,
        "track_clicks": message.track_clicks,
        "attachments": made(False),
        "images": made(True),
        "global_merge_vars": [{"name": name, "content": str(value)} for name, value in template.data.items()]
        if template
        else None,
    }
    body: dict[str, Any] = {"message": given(fields)}
    if message.send_at is not None:
        body["send_at"] = f"{message.send_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    if template is None:
        client.messages.send(body)
    else:
        client.messages.send_template({**body, "template_name": template.id, "template_content": []})


def _ours(body: Any) -> Any:
    """Whether fields are filled in is said as it would be where nothing is said."""
    return {**body, "message": {name: value for name, value in body["message"].items() if name != "merge"}}


# The key stands in the body.
LIBRARY = Library(provider=mandrill.PROVIDER, send=_send, client=_client, ours=_ours, headers=("content-type",))
