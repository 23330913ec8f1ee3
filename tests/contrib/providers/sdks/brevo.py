"""Brevo's library."""

from __future__ import annotations

import json
from typing import Any

import httpx
from brevo import Brevo
from brevo.transactional_emails import types as sdk

from genie_connect.model.message import Message
from tests.contrib.providers import brevo
from tests.contrib.providers.harness import SECRET
from tests.contrib.providers.sdks.library import Library, files, given, sender


def _send(url: str, message: Message) -> None:
    def named(kind: Any, address: Any) -> Any:
        return kind(email=address.email, **given({"name": address.name}))

    template = message.template
    fields: dict[str, Any] = {
        "sender": named(sdk.SendTransacEmailRequestSender, sender(message)),
        "to": [named(sdk.SendTransacEmailRequestToItem, each) for each in message.to],
        "cc": [named(sdk.SendTransacEmailRequestCcItem, each) for each in message.cc],
        "bcc": [named(sdk.SendTransacEmailRequestBccItem, each) for each in message.bcc],
        "reply_to": named(sdk.SendTransacEmailRequestReplyTo, message.reply_to[0]) if message.reply_to else None,
        "subject": message.subject,
        "html_content": message.html or _written(message.text),
        "text_content": message.text,
        "headers": {**message.headers, **({"X-Mailin-custom": dict(message.metadata)} if message.metadata else {})},
        "tags": list(message.tags),
        "scheduled_at": message.send_at,
        "template_id": int(template.id) if template and template.id.isdecimal() else None,
        "params": dict(template.data) if template else None,
        "attachment": [
            sdk.SendTransacEmailRequestAttachmentItem(name=file.filename, content=content)
            for file, content in files(message)
        ],
    }
    # Certificates take longer to load than all else, and there is no TLS here.
    with httpx.Client(verify=False) as http:
        client = Brevo(api_key=SECRET, base_url=url, httpx_client=http)
        client.transactional_emails.send_transac_email(**given(fields))


def _written(text: str | None) -> str | None:
    """Brevo wants HTML (see its page), so who uses its library writes some too."""
    if not text:
        return None
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#x27;")):
        text = text.replace(character, entity)
    return f'<div style="white-space: pre-wrap">{text}</div>'


def _ours(body: Any) -> Any:
    """Metadata is JSON in a header field, with our Message-ID among it; a time in UTC has two spellings."""
    headers = dict(body.get("headers") or {})
    custom = headers.pop("X-Mailin-custom", "{}")
    metadata = json.loads(custom) if isinstance(custom, str) else custom
    at = (body.get("scheduledAt") or "").replace("+00:00", "Z")
    return {**body, "headers": {**headers, "X-Mailin-custom": metadata}, "scheduledAt": at}


LIBRARY = Library(provider=brevo.PROVIDER, send=_send, ours=_ours, headers=("api-key", "content-type"))
