"""Resend's library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import resend as sdk

from genie_connect.model.message import Message
from tests.contrib.providers import resend
from tests.contrib.providers.harness import SECRET
from tests.contrib.providers.sdks.library import Library, files, given, mailboxes, sender


def _fields(message: Message) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "from": str(sender(message)),
        "to": mailboxes(message.to),
        "cc": mailboxes(message.cc),
        "bcc": mailboxes(message.bcc),
        "reply_to": mailboxes(message.reply_to),
        "subject": message.subject,
        "text": message.text,
        "html": message.html,
        "headers": dict(message.headers),
        "scheduled_at": message.send_at.isoformat() if message.send_at else None,
        "template": {"id": message.template.id, "variables": dict(message.template.data)} if message.template else None,
        "tags": [
            {"name": name, "value": value}
            for name, value in {**dict.fromkeys(message.tags, "1"), **message.metadata}.items()
        ],
        "attachments": [
            {
                "filename": file.filename,
                "content": content,
                "content_type": file.content_type,
                **({"content_id": file.content_id} if file.content_id else {}),
            }
            for file, content in files(message)
        ],
    }
    return given(fields)


def _send(url: str, message: Message) -> None:
    sdk.api_url, sdk.api_key = url, SECRET
    sdk.Emails.send(_fields(message))  # type: ignore[arg-type]


def _send_all(url: str, messages: Sequence[Message]) -> None:
    sdk.api_url, sdk.api_key = url, SECRET
    sdk.Batch.send([_fields(message) for message in messages])  # type: ignore[misc]


LIBRARY = Library(provider=resend.PROVIDER, send=_send, send_all=_send_all, answer_to_all={"data": [{"id": "1"}]})
