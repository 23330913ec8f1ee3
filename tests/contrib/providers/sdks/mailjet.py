"""Mailjet's library."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mailjet_rest import Client

from genie_connect.model.address import Address
from genie_connect.model.message import Message
from tests.contrib.providers import mailjet
from tests.contrib.providers.harness import SECRET
from tests.contrib.providers.sdks.library import Library, files, given, sender


def _mailbox(address: Address) -> dict[str, str]:
    return given({"Email": address.email, "Name": address.name})


def _switch(on: bool | None) -> str | None:
    return {None: None, True: "enabled", False: "disabled"}[on]


def _fields(message: Message) -> dict[str, Any]:
    def made(inline: bool) -> list[dict[str, str]]:
        return [
            given(
                {
                    "ContentType": file.content_type,
                    "Filename": file.filename,
                    "Base64Content": content,
                    "ContentID": file.content_id,
                }
            )
            for file, content in files(message)
            if bool(file.content_id) is inline
        ]

    template = message.template
    fields: dict[str, Any] = {
        "From": _mailbox(sender(message)),
        "To": [_mailbox(each) for each in message.to],
        "Cc": [_mailbox(each) for each in message.cc],
        "Bcc": [_mailbox(each) for each in message.bcc],
        "ReplyTo": _mailbox(message.reply_to[0]) if message.reply_to else None,
        "Subject": message.subject,
        "TextPart": message.text,
        "HTMLPart": message.html,
        "Headers": dict(message.headers),
        "CustomCampaign": message.tags[0] if message.tags else None,
        "EventPayload": json.dumps(dict(message.metadata)),
        "TemplateID": int(template.id) if template and template.id.isdecimal() else None,
        "TemplateLanguage": True if template else None,
        "Variables": dict(template.data) if template else None,
        "TrackOpens": _switch(message.track_opens),
        "TrackClicks": _switch(message.track_clicks),
        "Attachments": made(False),
        "InlinedAttachments": made(True),
    }
    return given(fields)


def _send_all(client: Client, messages: Sequence[Message]) -> None:
    client.send.create(data={"Messages": [_fields(message) for message in messages]})


def _send(client: Client, message: Message) -> None:
    _send_all(client, [message])


def _ours(body: Any) -> Any:
    """The payload of events is JSON in text, with our Message-ID among it; the CustomID is the attempt's."""
    return {
        "Messages": [
            {**{name: value for name, value in each.items() if name != "CustomID"}, "EventPayload": payload}
            for each in body["Messages"]
            for payload in [json.loads(each["EventPayload"])]
        ]
    }


LIBRARY = Library(
    provider=mailjet.PROVIDER,
    send=_send,
    send_all=_send_all,
    client=lambda url: Client(auth=("public", SECRET), version="v3.1", api_url=url),
    ours=_ours,
)
