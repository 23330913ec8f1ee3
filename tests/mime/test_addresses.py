"""Envelope, header and suppression list mean the same mailbox."""

from __future__ import annotations

import unicodedata

from hypothesis import example, given, settings
from hypothesis import strategies as st

from genie_connect.errors import ValidationError
from genie_connect.model.address import Address
from genie_connect.model.message import Message
from tests.mime import wire
from tests.mime.injection_cases import HOSTILE_ADDRESSES, PLAIN_ADDRESSES
from tests.mime.making import batch_of, wire_of

_PIECES = st.sampled_from(
    [
        *'aZ0.@<>()[]:;,"\\ \t-_+%!=?',
        "é",
        "文",
        "\u0301",
        "\u200b",
        "\uff20",
        "\u3002",
        "xn--",
        "example",
        "=?utf-8?q?",
        "?=",
    ]
)
_HOSTILE = st.lists(_PIECES, max_size=14).map("".join)
_LIKELY = st.builds(
    "{}@{}".format, _HOSTILE, st.sampled_from(["example.com", "BÜCHER.example", "xn--bcher-kva.example"])
)
_ANY = st.one_of(_LIKELY, _HOSTILE, st.text(max_size=40), st.emails(), st.sampled_from(HOSTILE_ADDRESSES))


@settings(deadline=None, max_examples=1000)
@given(text=_ANY)
@example(text=PLAIN_ADDRESSES[0])
@example(text="İ@example.com")
@example(text="A\u030a@example.com")
@example(text="STRASSE@straße.example")
def test_envelope_header_and_suppression_key_agree(text: str) -> None:
    """Whatever is accepted as an address is one mailbox, the same everywhere, and refused otherwise."""
    try:
        address = Address.parse(text)
    except ValidationError:
        return
    message = Message(to=address, text="x")
    (envelope,) = batch_of(message).deliveries[0].addresses
    (header,) = wire.mailboxes(wire.read(wire_of(message)).get("To"))
    assert envelope.email == header == address.email
    assert Address.parse(header) == Address(local=address.local, domain=address.domain)
    assert Address.parse(header).key == address.key
    assert address.key.lower() == address.key
    assert Address.parse(address.email.upper()).key == address.key or not address.local.isascii()
    assert unicodedata.is_normalized("NFC", address.local)
    assert address.domain.isascii()
    assert len(address.email.encode()) <= 254
    assert not set(address.email) & set(' <>()[]:;,"\\\t\r\n')
    assert address.email.count("@") == 1


@settings(deadline=None)
@given(text=_ANY)
def test_text_form_is_read_back(text: str) -> None:
    """The text of an address is an address, the same one."""
    try:
        address = Address.parse(text)
    except ValidationError:
        return
    assert Address.parse(str(address)) == address


@settings(deadline=None)
@given(name=st.text(max_size=60))
@example(name='a "b" c')
@example(name="back\\slash")
@example(name='"')
@example(name="Doe, Jane")
def test_name_is_read_back_from_the_text_form(name: str) -> None:
    """Names with quotes, commas and backslashes survive being written as text."""
    try:
        address = Address(name=name, local="a", domain="example.com")
    except ValidationError:
        return
    assert Address.parse(str(address)) == address


@settings(deadline=None)
@given(texts=st.lists(_ANY, max_size=5))
def test_list_has_as_many_mailboxes_as_were_given(texts: list[str]) -> None:
    """No text becomes two recipients, and none is lost: all are taken or the list is refused."""
    refused = []
    try:
        message = Message(to=texts, text="x")
    except ValidationError as error:
        refused = [problem.path for problem in error.problems]
    if refused:
        assert all(path.startswith(tuple(f"to[{index}]" for index in range(len(texts)))) for path in refused)
        return
    assert len(message.to) == len(texts)
    assert len(wire.mailboxes(wire.read(wire_of(message)).get("To"))) == len(texts)
