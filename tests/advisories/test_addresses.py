"""Advisories about addresses that two readers take for different mailboxes, or that take a parser ages."""

from __future__ import annotations

import email
import email.policy
import time

import pytest

from genie_connect import Address, Message
from genie_connect.errors import ValidationError
from genie_connect.model.outcome import State
from genie_connect_spec.fixtures import StartScriptedSmtp
from tests.mime import wire
from tests.mime.making import batch_of, wire_of
from tests.smtp.support import batch, delivery, send_once, settings_for


@pytest.mark.parametrize(
    "text",
    [
        '"evil@evil.example x"@victim.example',
        'Name <"evil@evil.example x"@victim.example>',
        '"evil@evil.example"@victim.example',
        '"evil@evil.example,x"@victim.example',
    ],
)
def test_ghsa_mm7p_fcc7_pg87_a_quoted_local_part_sends_no_mail_elsewhere(text: str) -> None:
    """Nodemailer before 7.0.7 found the address inside the quotes and sent there. A quoted local part is refused."""
    with pytest.raises(ValidationError):
        Address.parse(text)


@pytest.mark.parametrize(
    "text",
    ["(" * 20_000, "<" * 20_000, '"' * 50_000, "\\" * 50_000, "g:" * 20_000, "a@x.example," * 20_000],
    ids=lambda text: text[:12],
)
def test_cve_2025_14874_endless_nesting_is_refused_before_it_is_read(text: str) -> None:
    """Nodemailer's parser called itself for each nested group, and the stack overflowed. Here length comes first."""
    started = time.process_time()
    with pytest.raises(ValidationError, match="characters; the most is"):
        Address.parse(text)
    assert time.process_time() - started < 0.1


@pytest.mark.parametrize("text", ["(" * 990, "<" * 990, '"' * 990, "g:" * 490, "\\" * 990, "<@" * 490 + ">"])
def test_cve_2025_14874_nesting_within_the_limit_is_refused_at_once(text: str) -> None:
    """The same, as deep as an address may be long: no recursion, and no time that grows with the square."""
    started = time.process_time()
    for _ in range(20):
        with pytest.raises(ValidationError):
            Address.parse(text)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    "text",
    [
        "alice@example.org)evil.example",
        "alice@example.org(evil.example)",
        "alice@example.org)bob@evil.example",
        "alice@example.org]bob@evil.example",
        "alice@example.org(<bob@evil.example>",
        'alice@example.org"<bob@evil.example>',
        "alice@example.org;<bob@evil.example>",
        "alice@example.org,<bob@evil.example>",
        "alice@example.org@<bob@evil.example>",
        "<alice@example.org><bob@evil.example>",
    ],
)
def test_cve_2023_27043_special_characters_do_not_choose_between_two_addresses(text: str) -> None:
    """CPython's ``parseaddr`` gave the wrong one of two addresses, past a check of the domain. Such text is refused."""
    with pytest.raises(ValidationError):
        Address.parse(text)
    with pytest.raises(ValidationError):
        Message(to=[text], text="x")


def test_cve_2025_1795_a_comma_in_a_folded_name_divides_no_list() -> None:
    """CPython encoded the comma between two addresses with a name when it folded. Six are six, with their names."""
    people = [
        Address(name=f"Böhm {index}, Zoë {'x' * index}", local=f"r{index}", domain="x.example") for index in range(6)
    ]
    value = wire.read(wire_of(Message(to=people, text="x"))).get("To")
    assert wire.mailboxes(value) == [address.email for address in people]
    assert wire.names(value) == [address.name for address in people]


def test_cpython_121284_a_quoted_comma_stays_quoted() -> None:
    """CPython lost the quotes around a name with a comma while it encoded the rest, so one recipient became two."""
    for name in ("A véry, long name " + "that has to be folded " * 4, "Doe, Jane", 'A "b", c <d@evil.example>'):
        data = wire_of(Message(to=[Address(name=name, local="to", domain="x.example")], text="x"))
        assert wire.mailboxes(wire.read(data).get("To")) == ["to@x.example"]
        assert wire.names(wire.read(data).get("To")) == [name.strip()]
        parsed = email.message_from_bytes(data, policy=email.policy.default)["To"].addresses
        assert [address.addr_spec for address in parsed] == ["to@x.example"]


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("Ada@BÜCHER.example", "ada@XN--BCHER-KVA.Example"),
        ("a\u030ada@example.com", "\u00e5da@EXAMPLE.com"),
        ("o'hara+tag@Example.COM", "O'Hara+Tag@example.com"),
        ("é@straße.example", "e\u0301@xn--strae-oqa.example"),
    ],
)
def test_nodemailer_9_0_5_header_envelope_and_suppression_name_one_mailbox(text: str, other: str) -> None:
    """Nodemailer wrote one spelling into the header and another into the envelope; a check saw only one of them."""
    address = Address.parse(text)
    message = Message(to=address, text="x")
    (envelope,) = batch_of(message).deliveries[0].addresses
    assert wire.mailboxes(wire.read(wire_of(message)).get("To")) == [envelope.email] == [address.email]
    assert address.key == Address.parse(other).key == Address.parse(envelope.email).key
    assert address.email.lower() == Address.parse(other).email.lower()


async def test_cve_2025_7962_letters_never_become_line_ends(scripted_smtp: StartScriptedSmtp) -> None:
    """Jakarta Mail cut UTF-16 down to bytes, which made CR and LF of U+760D and U+760A. Here they stay letters."""
    local = "a\u760d\u760aRCPT"
    server = await scripted_smtp(extensions=["8BITMIME", "SMTPUTF8"])
    (outcome,) = await send_once(settings_for(server), batch(delivery(f"{local}@x.example")))
    assert outcome.state is State.ACCEPTED
    assert f"RCPT TO:<{local}@x.example>\r\n".encode() in server.wire
    assert server.accepted[0].recipients == (f"{local}@x.example",)
    assert server.connections[0].stages().count("rcpt") == 1
    plain = await scripted_smtp(extensions=["8BITMIME"])
    (outcome,) = await send_once(settings_for(plain), batch(delivery(f"{local}@x.example")))
    assert outcome.reason == "unsupported"
    assert b"RCPT" not in plain.wire
