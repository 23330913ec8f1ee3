"""Advisories about text that ends its header field and begins another."""

from __future__ import annotations

import base64
import email
import email.policy
from collections.abc import Callable
from typing import Any

import pytest

from genie_connect import Address, Attachment, Message, Recipient
from genie_connect.errors import UnsafeMessage, ValidationError
from genie_connect.model.frozen import FrozenMap
from tests.mime import wire
from tests.mime.making import composed, wire_of

_EVIL = "Bcc: evil@evil.example"
_IN_BASE64 = base64.b64encode(f"x\n{_EVIL}".encode()).decode()


def _message(**given: Any) -> Message:
    return Message(**({"to": "bob@example.org", "subject": "Subject", "text": "Text\n"} | given))


def _attached(**given: Any) -> Message:
    file = Attachment(**({"filename": "a.bin", "content": b"x", "content_type": "image/png"} | given))
    return _message(html="<p>x</p>", attachments=[file])


_FIELDS: dict[str, Callable[[str], object]] = {
    "subject": lambda text: _message(subject=text),
    "to_name": lambda text: _message(to=[Address(name=text, local="bob", domain="example.org")]),
    "own_header": lambda text: _message(headers={"X-Own": text}),
    "references": lambda text: _message(headers={"References": f"<1@x.example> {text}"}),
    "in_reply_to": lambda text: _message(headers={"In-Reply-To": f"<1@x.example> {text}"}),
    "list_unsubscribe": lambda text: _message(headers={"List-Unsubscribe": f"<https://x.example/u> {text}"}),
    "list_id": lambda text: _message(headers={"List-ID": f"{text} <news.x.example>"}),
    "recipient_header": lambda text: Recipient(address="bob@example.org", headers={"X-Own": text}),
    "content_id": lambda text: _attached(content_id=text),
    "file_name": lambda text: _attached(filename=f"{text}.png"),
    "content_type": lambda text: _attached(content_type=f"image/png; x={text}"),
}


@pytest.mark.parametrize("field", _FIELDS)
@pytest.mark.parametrize(
    "word",
    [
        "=?utf-8?q?x=0ABcc:_evil=40evil.example?=",
        "=?utf-8?q?x=0D=0ABcc:_evil=40evil.example?=",
        "=?utf-8?q?x=0d?=",
        f"=?utf-8?b?{_IN_BASE64}?=",
        "=?iso-8859-1*en?q?x=0ABcc:_evil=40evil.example?=",
    ],
)
def test_cve_2024_6923_an_encoded_word_brings_out_no_line_end(word: str, field: str) -> None:
    """CPython decoded an encoded-word in a header on its way to the wire, and the line end in it was written."""
    with pytest.raises(ValidationError, match=r"encoded-word|Content-ID|content type"):
        _FIELDS[field](word)


@pytest.mark.parametrize("field", _FIELDS)
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\r\n ", "\x85", "\u2028"])
def test_cve_2026_1299_no_field_holds_a_line_end(end: str, field: str) -> None:
    """CPython's ``BytesGenerator`` wrote header values that ``Generator`` refuses; file names went out like that."""
    with pytest.raises(ValidationError, match="control character"):
        _FIELDS[field](f"x{end}{_EVIL}")


@pytest.mark.parametrize("name", ["X-A: b\r\nBcc", "Bcc: evil@evil.example, X", "X-A\n", "X A"])
def test_cve_2026_1299_no_name_of_a_field_holds_another(name: str) -> None:
    """The same for names; and what came past the model would be stopped by the gate behind the composer."""
    with pytest.raises(ValidationError, match="not a header name"):
        _message(headers={name: "value"})
    with pytest.raises(UnsafeMessage):
        composed(_message(), headers=FrozenMap({name: "value"}))


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize(
    "field", ["List-Unsubscribe", "List-Help", "List-Subscribe", "List-Post", "List-Owner", "List-Archive", "List-ID"]
)
def test_ghsa_268h_hp4c_crq3_a_comment_in_a_list_field_ends_no_line(field: str, end: str) -> None:
    """Nodemailer before 8.0.9 wrote the comment of a List- field as prepared text, line ends and all."""
    value = f"<https://x.example/list> (comment{end}{_EVIL})"
    with pytest.raises(ValidationError, match="control character"):
        _message(headers={field: value})
    with pytest.raises(ValidationError, match="control character"):
        Recipient(address="bob@example.org", headers={field: value})
    with pytest.raises(UnsafeMessage):
        composed(_message(), headers=FrozenMap({field: value}))


@pytest.mark.parametrize("field", _FIELDS)
@pytest.mark.parametrize("control", ["\x00", "\x07", "\t", "\x0b", "\x0c", "\x1b", "\x7f", "\x9b"])
def test_nodemailer_9_0_5_no_control_character_in_any_field(control: str, field: str) -> None:
    """Nodemailer let NUL, ESC, DEL and others into header values, message ids, parameters and comments."""
    with pytest.raises(ValidationError, match="control character"):
        _FIELDS[field](f"x{control}y")


@pytest.mark.parametrize("message_id", ["<a\x7fb@c>", "<a\x00@b>", "<a@b>\r\nBcc: e@evil.example", "<a b@c>"])
def test_nodemailer_9_0_5_a_message_id_is_one_token(message_id: str) -> None:
    """The same for the id that the host may choose."""
    with pytest.raises(UnsafeMessage, match="Message-ID"):
        composed(_message(), message_id=message_id)


def test_cpython_144156_encoded_words_stand_apart() -> None:
    """CPython 3.13 glued encoded-words together, which Yahoo refuses and others show as they stand."""
    subject = "Ünïcödé — " * 30 + "end"
    name = "Zoë Böhm, Größenwahn & Söhne " * 5
    data = wire_of(_message(subject=subject, to=[Address(name=name, local="bob", domain="example.org")]))
    assert b"?==?" not in data
    assert wire.decoded(wire.read(data).get("Subject")) == subject
    parsed = email.message_from_bytes(data, policy=email.policy.default)
    assert parsed["Subject"] == subject
    assert [address.addr_spec for address in parsed["To"].addresses] == ["bob@example.org"]
