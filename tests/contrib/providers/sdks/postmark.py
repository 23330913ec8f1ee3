"""Postmark's library."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from postmark import ServerClient

from genie_connect.model.message import Message
from tests.contrib.providers import postmark
from tests.contrib.providers.harness import SECRET
from tests.contrib.providers.sdks.library import Library, files, given, mailboxes, sender

_LINKS = {None: None, True: "HtmlAndText", False: "None"}


def _fields(message: Message) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "sender": str(sender(message)),
        "to": ", ".join(mailboxes(message.to)),
        "cc": ", ".join(mailboxes(message.cc)),
        "bcc": ", ".join(mailboxes(message.bcc)),
        "reply_to": ", ".join(mailboxes(message.reply_to)),
        "text_body": message.text,
        "html_body": message.html,
        "headers": [{"name": name, "value": value} for name, value in message.headers.items()],
        "tag": message.tags[0] if message.tags else None,
        "metadata": dict(message.metadata),
        "track_opens": message.track_opens,
        "track_links": _LINKS[message.track_clicks],
        "message_stream": postmark.PROVIDER.settings["broadcast_stream"] if message.purpose == "marketing" else None,
        "attachments": [
            {
                "name": file.filename,
                "content": content,
                "content_type": file.content_type,
                "content_id": f"cid:{file.content_id}" if file.content_id else None,
            }
            for file, content in files(message)
        ],
    }
    template = message.template
    if template is None:
        return {"subject": message.subject, **given(fields)}
    named = {"template_id": int(template.id)} if template.id.isdecimal() else {"template_alias": template.id}
    return {**named, "template_model": dict(template.data), **given(fields)}


def _send(url: str, message: Message) -> None:
    async def sent() -> None:
        async with ServerClient(SECRET, retries=0, base_url=url) as client:
            outbound = client.outbound
            await (outbound.send if message.template is None else outbound.send_with_template)(_fields(message))

    asyncio.run(sent())


def _send_all(url: str, messages: Sequence[Message]) -> None:
    async def sent() -> None:
        async with ServerClient(SECRET, retries=0, base_url=url) as client:
            await client.outbound.send_batch([_fields(message) for message in messages])

    asyncio.run(sent())


_OK = {"To": "", "SubmittedAt": "2026-11-25T10:00:00Z", "MessageID": "1", "ErrorCode": 0, "Message": "OK"}

LIBRARY = Library(
    provider=postmark.PROVIDER,
    send=_send,
    send_all=_send_all,
    answer=_OK,
    answer_to_all=[_OK],
    headers=("x-postmark-server-token", "content-type"),
)
