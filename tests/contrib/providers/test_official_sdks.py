"""What the vendors' own libraries send for the same message, over a socket of this machine where they can be told to.

Each is used as its documentation shows. Ids that our connectors add for look-ups are left out of the comparison, and so
is what is empty.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from email import message_from_bytes
from typing import Any
from urllib.parse import parse_qsl

import attrs
import mailtrap as mailtrap_sdk
import resend as resend_sdk
import sendgrid as sendgrid_sdk
from mailgun.client import Client as MailgunClient
from sendgrid.helpers import mail as sendgrid_mail

from genie_connect.http.fake import Request
from genie_connect.model.address import Address
from genie_connect.model.attachment import Attachment
from genie_connect.model.message import Message
from genie_connect_contrib.sandbox.server import Answer, Call, HttpServer
from tests.contrib.providers import mailgun, mailtrap, resend, sendgrid
from tests.contrib.providers.harness import SECRET, SHOP, Provider, batch_of
from tests.contrib.providers.messages import CASES

NAMES = (
    "text",
    "html",
    "text and html",
    "name of the recipient",
    "name in another script",
    "two in to",
    "cc and bcc",
    "reply-to",
    "header",
    "tag",
    "metadata",
    "attachment",
    "inline image",
    "inline image and file",
    "emoji and long lines",
    "lines of dots and CRLF",
    "nearly everything",
    "everything",
)
OURS_ALONE = ("genie_message_id", "genie_attempt")


@attrs.frozen(kw_only=True)
class Sdk:
    """A vendor's library: ``send`` has it send a message to a URL, or gives the body that it would post."""

    provider: Provider
    send: Callable[[str, Message], Any]
    read: Callable[[Request], Any] = lambda request: json.loads(request.content)
    headers: tuple[str, ...] = ("authorization", "content-type")


def _files(message: Message) -> list[tuple[Attachment, str]]:
    return [(each, base64.b64encode(each.read()).decode()) for each in message.attachments]


def _resend(url: str, message: Message) -> None:
    resend_sdk.api_url, resend_sdk.api_key = url, SECRET
    given: dict[str, Any] = {
        "from": str(message.from_ or SHOP),
        "to": [str(each) for each in message.to],
        "cc": [str(each) for each in message.cc],
        "bcc": [str(each) for each in message.bcc],
        "reply_to": [str(each) for each in message.reply_to],
        "subject": message.subject,
        "text": message.text,
        "html": message.html,
        "headers": dict(message.headers),
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
            for file, content in _files(message)
        ],
    }
    resend_sdk.Emails.send({name: value for name, value in given.items() if value})  # type: ignore[arg-type]


def _sendgrid(url: str, message: Message) -> None:
    def named(kind: Any, address: Address) -> Any:
        return kind(address.email, address.name or None)

    made = sendgrid_mail.Mail()
    made.from_email = named(sendgrid_mail.From, message.from_ or SHOP)
    for address in message.to:
        made.add_to(named(sendgrid_mail.To, address))
    for address in message.cc:
        made.add_cc(named(sendgrid_mail.Cc, address))
    for address in message.bcc:
        made.add_bcc(named(sendgrid_mail.Bcc, address))
    made.subject = sendgrid_mail.Subject(message.subject)
    if message.text is not None:
        made.add_content(message.text, "text/plain")
    if message.html is not None:
        made.add_content(message.html, "text/html")
    for address in message.reply_to:
        made.reply_to = named(sendgrid_mail.ReplyTo, address)
    for name, value in message.headers.items():
        made.personalizations[0].add_header(sendgrid_mail.Header(name, value))
    for name, value in message.metadata.items():
        made.personalizations[0].add_custom_arg(sendgrid_mail.CustomArg(name, value))
    for tag in message.tags:
        made.add_category(sendgrid_mail.Category(tag))
    # It puts each before the others.
    for file, content in reversed(_files(message)):
        disposition = "inline" if file.content_id else "attachment"
        made.add_attachment(
            sendgrid_mail.Attachment(
                sendgrid_mail.FileContent(content),
                sendgrid_mail.FileName(file.filename),
                sendgrid_mail.FileType(file.content_type),
                sendgrid_mail.Disposition(disposition),
                sendgrid_mail.ContentId(file.content_id) if file.content_id else None,
            )
        )
    sendgrid_sdk.SendGridAPIClient(SECRET, host=url).send(made)


def _mailtrap(_: str, message: Message) -> Any:
    """Its client knows no other host and no plain HTTP; the body is what it would post."""

    def named(address: Address) -> mailtrap_sdk.Address:
        return mailtrap_sdk.Address(email=address.email, name=address.name or None)

    return mailtrap_sdk.Mail(
        sender=named(message.from_ or SHOP),
        to=[named(each) for each in message.to],
        cc=[named(each) for each in message.cc],
        bcc=[named(each) for each in message.bcc],
        reply_to=named(message.reply_to[0]) if message.reply_to else None,
        subject=message.subject,
        text=message.text,
        html=message.html,
        category=message.tags[0] if message.tags else None,
        headers=dict(message.headers),
        custom_variables=dict(message.metadata),
        attachments=[
            mailtrap_sdk.Attachment(
                content=content.encode(),
                filename=file.filename,
                mimetype=file.content_type,
                disposition=mailtrap_sdk.Disposition.INLINE if file.content_id else mailtrap_sdk.Disposition.ATTACHMENT,
                content_id=file.content_id,
            )
            for file, content in _files(message)
        ],
    ).api_data


def _mailgun(url: str, message: Message) -> None:
    data: dict[str, Any] = {
        "from": str(message.from_ or SHOP),
        "to": [str(each) for each in message.to],
        "cc": [str(each) for each in message.cc],
        "bcc": [str(each) for each in message.bcc],
        "subject": message.subject,
        "text": message.text,
        "html": message.html,
        "o:tag": list(message.tags),
        "h:Reply-To": ", ".join(str(each) for each in message.reply_to),
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
    given = {name: value for name, value in data.items() if value}
    with MailgunClient(auth=("api", SECRET), api_url=url) as client:
        client.messages.create(data=given, files=files or None, domain="mg.example.com")


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


SDKS = (
    Sdk(provider=resend.PROVIDER, send=_resend),
    Sdk(provider=sendgrid.PROVIDER, send=_sendgrid),
    Sdk(provider=mailtrap.PROVIDER, send=_mailtrap),
    # Its multipart form has another boundary, and is one only where there are files.
    Sdk(provider=mailgun.PROVIDER, send=_mailgun, read=_form, headers=("authorization",)),
)


def _told(value: Any) -> Any:
    """Without what is empty, and without ids of our own."""
    if isinstance(value, Mapping):
        told = {name: _told(each) for name, each in value.items() if name.removeprefix("v:") not in OURS_ALONE}
        return {name: each for name, each in told.items() if each not in (None, "", [], {})}
    if isinstance(value, list):
        return [_told(each) for each in value if not (isinstance(each, dict) and each.get("name") in OURS_ALONE)]
    return value


async def test_the_vendors_libraries_send_the_same() -> None:
    """The same path, credentials and body for the same message: text, files, names, headers, tags and metadata."""
    had: list[Request] = []

    async def handle(call: Call) -> Answer:
        had.append(Request(method=call.method, url=call.target, headers=call.headers, content=call.body))
        return Answer(status=202, body=b'{"id": "1"}')

    server = HttpServer(handle, host="127.0.0.1", port=0, max_body_bytes=1_000_000)
    await server.start()
    try:
        url = f"http://127.0.0.1:{server.port}"
        for sdk in SDKS:
            for case in (case for case in CASES if case.name in NAMES):
                had.clear()
                body = await asyncio.to_thread(sdk.send, url, case.message)
                requests, outcomes = await sdk.provider.send(await batch_of(case.message))
                assert requests, (sdk.provider.id, case.name, outcomes)
                (ours,) = requests
                assert bool(had) is (body is None), (sdk.provider.id, case.name)
                if had:
                    (theirs,) = had
                    assert (ours.method, ours.url) == (theirs.method, theirs.url), (sdk.provider.id, case.name)
                    for name in sdk.headers:
                        assert ours.headers[name] == theirs.headers[name], (sdk.provider.id, case.name, name)
                    body = sdk.read(theirs)
                assert _told(sdk.read(ours)) == _told(body), (sdk.provider.id, case.name)
    finally:
        await server.stop()
