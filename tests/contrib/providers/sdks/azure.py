"""Azure's library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from azure.communication.email import EmailClient
from azure.core.credentials import AzureKeyCredential

from genie_connect.model.address import Address
from genie_connect.model.message import Message
from tests.contrib.providers import azure
from tests.contrib.providers.sdks.library import Library, files, given, sender


@contextmanager
def _client(url: str) -> Iterator[EmailClient]:
    key = AzureKeyCredential(azure.PROVIDER.settings["access_key"])
    with EmailClient(url, key, retry_total=0) as client:
        yield client


def _addresses(addresses: Iterable[Address]) -> list[dict[str, str]]:
    return [given({"address": each.email, "displayName": each.name}) for each in addresses]


def _send(client: EmailClient, message: Message) -> None:
    switches = (message.track_opens, message.track_clicks)
    tracked = None if switches == (None, None) else True in switches
    request: dict[str, Any] = {
        "senderAddress": sender(message).email,
        "content": {"subject": message.subject, "plainText": message.text, "html": message.html},
        "recipients": {
            "to": _addresses(message.to),
            "cc": _addresses(message.cc),
            "bcc": _addresses(message.bcc),
        },
        "replyTo": _addresses(message.reply_to),
        "headers": dict(message.headers),
        "userEngagementTrackingDisabled": None if tracked is None else not tracked,
        "attachments": [
            {
                "name": file.filename,
                "contentType": file.content_type,
                "contentInBase64": content,
                **({"contentId": file.content_id} if file.content_id else {}),
            }
            for file, content in files(message)
        ],
    }
    client.begin_send(given(request), polling=False)


# Its signature is of the time; what it is made of is compared by itself.
LIBRARY = Library(provider=azure.PROVIDER, send=_send, client=_client, headers=("content-type",))
