"""An .eml file as a draft of a message, with a note for everything that a message cannot carry.

Read with the standard library's parser. What is to be sent is made anew (Date, Message-ID, the MIME structure), so a
signature over the original does not survive; nothing is left out in silence.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.errors import MessageError
from email.headerregistry import AddressHeader
from email.message import EmailMessage
from typing import Any

import attrs

from genie_connect.cli.errors import Failed
from genie_connect.errors import ValidationError
from genie_connect.model.attachment import DEFAULT_TYPE, Attachment
from genie_connect.model.headers import OWNED

_ADDRESS_LISTS = {"to": "to", "cc": "cc", "bcc": "bcc", "reply-to": "reply_to"}
_MADE_ANEW = {
    "date": "Date (the time of sending is written)",
    "message-id": "Message-ID (a new one is made)",
}
_SILENT = frozenset(["mime-version", "subject", "from", *_ADDRESS_LISTS])
_TRACE = frozenset(["received", "return-path", "x-received", "delivered-to", "x-original-to", "authentication-results"])
# What the standard library's parser raises, when a field is read, for one that is malformed or hides a line break.
_PARSER_ERRORS = (MessageError, ValueError, IndexError, AttributeError)
_CID = re.compile(r"""\bcid:([^"'\s>)]+)""")


@attrs.frozen(kw_only=True)
class Eml:
    """What was read: the draft, and what it does not carry."""

    draft: dict[str, Any]
    notes: tuple[str, ...]


def read_eml(data: bytes, option: str = "--eml") -> Eml:
    """Read a message as it stands in an .eml file, which ``option`` gave. Raises ``Failed`` where it holds none."""
    parsed = message_from_bytes(data, policy=policy.SMTP)
    if not isinstance(parsed, EmailMessage) or not parsed.keys():
        raise Failed(f"{option}: this is no email message", cause="it has no header fields", hint="give an .eml file")
    return _Reader(parsed).read()


class _Reader:
    def __init__(self, message: EmailMessage) -> None:
        self._message = message
        self._draft: dict[str, Any] = {}
        self._notes: list[str] = []
        self._attachments: list[Attachment] = []
        self._unnamed = 0

    def read(self) -> Eml:
        self._headers()
        self._part(self._message)
        self._inline_only_what_is_shown()
        if self._attachments:
            self._draft["attachments"] = self._attachments
        return Eml(draft=self._draft, notes=tuple(self._notes))

    def _headers(self) -> None:
        self._draft["subject"] = self._value("subject")
        senders = self._addresses("from")
        if senders:
            self._draft["from"] = senders[0]
        if len(senders) > 1:
            self._notes.append(f"not carried: further From addresses ({', '.join(senders[1:])})")
        for header, field in _ADDRESS_LISTS.items():
            found = self._addresses(header)
            if found:
                self._draft[field] = found
        headers: dict[str, str] = {}
        trace: list[str] = []
        for name in self._message:
            lower = name.lower()
            if lower in _SILENT or lower.startswith("content-"):
                continue
            if lower in _MADE_ANEW:
                self._notes.append(f"not carried: {_MADE_ANEW[lower]}")
            elif lower in _TRACE or lower.startswith(("arc-", "resent-", "dkim-")):
                trace.append(name)
            elif lower in OWNED:
                self._notes.append(f"not carried: {name}")
            elif lower in {known.lower() for known in headers}:
                self._notes.append(f"not carried: a second {name}")
            else:
                headers[name] = self._value(name)
        if trace:
            self._notes.append(f"not carried: {', '.join(dict.fromkeys(trace))} (they tell of the original's way)")
        if headers:
            self._draft["headers"] = {name: value for name, value in headers.items() if value.strip()}

    def _value(self, name: str) -> str:
        # The parser keeps what a decoded word brings out; one line of it is made here, the rest the message refuses.
        found = [str(value) for value in self._all(name)[:1]]
        return re.sub(r"[ \t]*\r?\n[ \t]*", " ", "".join(found)).strip()

    def _all(self, name: str) -> list[Any]:
        try:
            return self._message.get_all(name, [])
        except _PARSER_ERRORS as error:
            raise Failed(f"--eml: the header field {name.title()} cannot be read", cause=str(error)) from None

    def _addresses(self, name: str) -> list[str]:
        found: list[str] = []
        for header in self._all(name):
            if not isinstance(header, AddressHeader):
                continue
            groups = [group.display_name for group in header.groups if group.display_name is not None]
            if groups:
                self._notes.append(f"not carried: the group name {', '.join(groups)} in {name.title()}")
            found += [_address(each.display_name, each.addr_spec) for each in header.addresses]
            if not header.groups and str(header).strip():
                found.append(str(header))  # nothing in it can be read as an address: the message is to refuse it
        return found

    def _part(self, part: EmailMessage) -> None:
        kind = part.get_content_type()
        if kind == "multipart/signed":
            self._notes.append("not carried: the signature (multipart/signed); the signed content is sent without it")
            for inner in list(_parts(part))[:1]:
                self._part(inner)
        elif kind == "multipart/encrypted":
            self._notes.append("multipart/encrypted cannot be sent as it is; its parts are attached as files")
            for inner in _parts(part):
                self._attach(inner)
        elif kind == "multipart/alternative":
            self._alternatives(part)
        elif part.is_multipart() and part.get_content_maintype() == "multipart":
            for inner in _parts(part):
                self._part(inner)
        else:
            self._leaf(part)

    def _alternatives(self, part: EmailMessage) -> None:
        for inner in _parts(part):
            kind = inner.get_content_type()
            if kind in ("text/plain", "text/html") or inner.get_content_maintype() == "multipart":
                self._part(inner)
            else:
                self._notes.append(f"the alternative {kind} is sent as an attachment")
                self._attach(inner)

    def _leaf(self, part: EmailMessage) -> None:
        field = {"text/plain": "text", "text/html": "html"}.get(part.get_content_type())
        is_file = part.get_content_disposition() == "attachment" or part.get_filename() is not None
        if field is None or is_file:
            self._attach(part)
        elif field in self._draft:
            self._notes.append(f"a second {part.get_content_type()} body is sent as an attachment")
            self._attach(part)
        else:
            self._draft[field] = self._text(part, field)

    def _text(self, part: EmailMessage, field: str) -> str:
        payload = part.get_payload(decode=True)
        raw = payload if isinstance(payload, bytes) else b""
        charset = part.get_content_charset("utf-8")
        if part.get_param("format") == "flowed":
            self._notes.append("not carried: format=flowed (the lines stay as they are)")
        try:
            text = raw.decode(charset)
        except (LookupError, UnicodeDecodeError):
            text = raw.decode("utf-8", "replace")
            self._notes.append(f"the {field} body is not {charset} as it says; what cannot be read is replaced")
        return text.replace("\r\n", "\n")

    def _attach(self, part: EmailMessage) -> None:
        kind, content = self._content(part)
        filename = part.get_filename() or self._made_up_name(part)
        charset = part.get_content_charset()
        if part.get_content_maintype() == "text" and charset not in (None, "utf-8", "us-ascii"):
            self._notes.append(f"not carried: the charset {charset} of {filename} (its bytes stay as they are)")
        content_id = str(part.get("content-id", "")).strip().strip("<>") or None
        try:
            made = Attachment(filename=filename, content=content, content_type=kind, content_id=content_id)
        except ValidationError as error:
            problems = [
                attrs.evolve(problem, path=f"attachment {filename!r}: {problem.path}") for problem in error.problems
            ]
            raise ValidationError(problems, what="message in the .eml file") from None
        self._attachments.append(made)

    def _content(self, part: EmailMessage) -> tuple[str, bytes]:
        kind = part.get_content_type()
        if part.get_content_maintype() in ("message", "multipart"):
            # RFC 2046 forbids encoding such a part, and a message carries files encoded.
            self._notes.append(f"{part.get_filename() or kind} is sent as {DEFAULT_TYPE}, not {kind}")
            inner = next(_parts(part), None) if kind == "message/rfc822" else None
            return DEFAULT_TYPE, (inner or part).as_bytes(policy=policy.SMTP)
        payload = part.get_payload(decode=True)
        return kind, payload if isinstance(payload, bytes) else b""

    def _made_up_name(self, part: EmailMessage) -> str:
        self._unnamed += 1
        kind = part.get_content_type()
        ending = ".eml" if kind == "message/rfc822" else mimetypes.guess_extension(kind) or ".bin"
        return f"part-{self._unnamed}{ending}"

    def _inline_only_what_is_shown(self) -> None:
        """Files with a Content-ID that the HTML does not show are listed as files, as readers do."""
        shown = set(_CID.findall(self._draft.get("html") or ""))
        self._attachments = [
            attachment
            if attachment.content_id is None or attachment.content_id in shown
            else attrs.evolve(attachment, content_id=None)
            for attachment in self._attachments
        ]


def _parts(part: EmailMessage) -> Iterator[EmailMessage]:
    payload = part.get_payload()
    if isinstance(payload, list):
        yield from (inner for inner in payload if isinstance(inner, EmailMessage))


def _address(name: str, email: str) -> str:
    if not name:
        return email
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}" <{email}>'
