"""Cloudflare's library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from cloudflare import Cloudflare

from genie_connect.model.address import Address
from genie_connect.model.message import Message
from tests.contrib.providers import cloudflare
from tests.contrib.providers.harness import SECRET
from tests.contrib.providers.sdks.library import Library, files, given, sender


@contextmanager
def _client(url: str) -> Iterator[Cloudflare]:
    # Certificates take longer to load than all else, and there is no TLS here.
    with (
        httpx.Client(verify=False) as http,
        Cloudflare(api_token=SECRET, base_url=url, max_retries=0, http_client=http) as client,
    ):
        yield client


def _address(address: Address) -> dict[str, str]:
    return given({"address": address.email, "name": address.name})


def _send(client: Cloudflare, message: Message) -> None:
    fields: dict[str, Any] = {
        "to": [_address(each) for each in message.to],
        "cc": [_address(each) for each in message.cc],
        "bcc": [_address(each) for each in message.bcc],
        "reply_to": _address(message.reply_to[0]) if message.reply_to else None,
        "text": message.text,
        "html": message.html,
        "headers": dict(message.headers),
        "attachments": [
            {
                "content": content,
                "filename": file.filename,
                "type": file.content_type,
                **({"disposition": "inline", "content_id": file.content_id} if file.content_id else _ATTACHED),
            }
            for file, content in files(message)
        ],
    }
    client.email_sending.send(
        account_id=cloudflare.ACCOUNT, from_=_address(sender(message)), subject=message.subject, **given(fields)
    )


_ATTACHED = {"disposition": "attachment"}

LIBRARY = Library(
    provider=cloudflare.PROVIDER,
    send=_send,
    client=_client,
    # It takes neither tags nor metadata, no templates, and no time to send at.
    least=28,
    answer={"success": True, "errors": [], "messages": [], "result": {"message_id": "1"}},
)
