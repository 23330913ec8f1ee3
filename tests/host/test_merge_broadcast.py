"""Merge fields through a host and over SMTP, to an inbox that keeps what it gets."""

from __future__ import annotations

import email
import email.policy
from collections.abc import AsyncIterator
from email.message import EmailMessage
from typing import Any

import pytest

from genie_connect import Host, Message, NoConnection, Outcome, Recipient, ValidationError, hookimpl
from genie_connect.inbox import InboxServer
from genie_connect.model.capability import no, yes
from genie_connect.model.outcome import Scope, State
from tests.support.connector import EVERYTHING, ScriptedConnector, scripted_host


@pytest.fixture
async def inbox() -> AsyncIterator[InboxServer]:
    """A server on a free port."""
    async with InboxServer() as server:
        yield server


def smtp_host(inbox: InboxServer) -> Host:
    """A host with one SMTP connection, to the inbox."""
    settings = {"host": inbox.host, "port": inbox.port, "security": "none"}
    return Host.open(
        {"connections": {"smtp": {"connector": "smtp", "default_from": "shop@example.com", "settings": settings}}}
    )


async def broadcast(host: Host, message: Message, *recipients: Recipient | str) -> dict[str, Outcome]:
    """The outcomes by recipient."""
    return {outcome.recipient: outcome async for outcome in host.send_each(message, recipients)}


def received(inbox: InboxServer) -> dict[str, EmailMessage]:
    """What the inbox got, by recipient."""
    found: dict[str, EmailMessage] = {}
    for message in inbox.messages:
        parsed = email.message_from_bytes(message.data, policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        (recipient,) = message.recipients
        found[recipient] = parsed
    return found


def body(message: EmailMessage, kind: str) -> str:
    """One of its bodies."""
    part = message.get_body([kind])
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


async def test_each_gets_a_letter_of_their_own(inbox: InboxServer) -> None:
    """Values, defaults, headers and the link to unsubscribe: each recipient's, in each place, and nobody else's."""
    letter = Message(
        subject="{{ name }}, your 100 % offer",
        text="Dear {{ name }},\nyou live in {{ city | a town }}.\n",
        html="<p>Dear {{ name }},</p>\n",
        headers={"List-Unsubscribe": "<https://example.com/u/{{ token }}>", "X-City": "{{ city | none }}"},
    )
    recipients = [
        Recipient(address="ada@example.com", merge={"name": "Ada & <co>", "token": "a1"}),
        Recipient(
            address="zoe@example.com",
            merge={"name": "Zoë", "city": "Köln", "token": "z1"},
            headers={"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
        ),
    ]
    async with smtp_host(inbox) as host:
        outcomes = await broadcast(host, letter, *recipients)
    assert {outcome.state for outcome in outcomes.values()} == {State.ACCEPTED}
    mails = received(inbox)
    ada, zoe = mails["ada@example.com"], mails["zoe@example.com"]
    assert (ada["Subject"], zoe["Subject"]) == ("Ada & <co>, your 100 % offer", "Zoë, your 100 % offer")
    assert body(ada, "plain") == "Dear Ada & <co>,\nyou live in a town.\n"
    assert body(zoe, "plain") == "Dear Zoë,\nyou live in Köln.\n"
    assert body(ada, "html") == "<p>Dear Ada &amp; &lt;co&gt;,</p>\n"
    assert (ada["List-Unsubscribe"], zoe["List-Unsubscribe"]) == (
        "<https://example.com/u/a1>",
        "<https://example.com/u/z1>",
    )
    assert (ada["X-City"], zoe["X-City"]) == ("none", "Köln")
    assert (ada["List-Unsubscribe-Post"], zoe["List-Unsubscribe-Post"]) == (None, "List-Unsubscribe=One-Click")
    assert ada["Message-ID"] != zoe["Message-ID"]


async def test_who_lacks_a_value_gets_nothing_and_the_others_do(inbox: InboxServer) -> None:
    """The outcome names the field, observers are told, and no byte leaves for that recipient."""
    told: list[Outcome] = []

    class Told:
        @hookimpl
        def message_rejected(self, connection: str, outcome: Outcome) -> None:
            told.append(outcome)

    letter = Message(subject="Hello {{ name }}", text="Your number: {{ number }}")
    async with smtp_host(inbox) as host:
        host.observers.add(Told())
        outcomes = await broadcast(
            host,
            letter,
            Recipient(address="ada@example.com", merge={"name": "Ada", "number": 1}),
            Recipient(address="bob@example.com", merge={"name": "Bob"}),
            "cy@example.com",
        )
    assert {recipient: outcome.state for recipient, outcome in outcomes.items()} == {
        "ada@example.com": State.ACCEPTED,
        "bob@example.com": State.REJECTED,
        "cy@example.com": State.REJECTED,
    }
    bob, cy = outcomes["bob@example.com"], outcomes["cy@example.com"]
    assert (bob.reason, bob.stage, bob.scope, bob.final, bob.suppress) == (
        "merge_data",
        "plan",
        Scope.RECIPIENT,
        True,
        False,
    )
    assert "merge['number']" in (bob.hint or "")
    assert "name" not in (bob.hint or "").replace("{{ number", "")
    assert "merge['name']" in (cy.hint or "")
    assert told == [bob, cy]
    assert list(received(inbox)) == ["ada@example.com"]


async def test_value_that_does_not_fit_a_header_is_refused_for_its_recipient(inbox: InboxServer) -> None:
    """A value that would end its URI sends nothing to that recipient."""
    letter = Message(text="x", headers={"List-Unsubscribe": "<https://example.com/{{ token }}>"})
    async with smtp_host(inbox) as host:
        outcomes = await broadcast(
            host,
            letter,
            Recipient(address="ada@example.com", merge={"token": "x>, <https://evil.example/"}),
            Recipient(address="bob@example.com", merge={"token": "b-1"}),
        )
    assert outcomes["ada@example.com"].reason == "merge_data"
    assert outcomes["bob@example.com"].state is State.ACCEPTED
    assert list(received(inbox)) == ["bob@example.com"]


async def test_malformed_field_stops_the_broadcast_before_it_begins(inbox: InboxServer) -> None:
    """The error says where; no recipient is even read."""
    read: list[str] = []

    def recipients() -> Any:
        read.append("first")
        yield "ada@example.com"

    async with smtp_host(inbox) as host:
        with pytest.raises(ValidationError, match="html: line 2, column 4"):
            async for _ in host.send_each(Message(html="<p>\n   {{#each}}</p>"), recipients()):
                pass
    assert read == []
    assert inbox.messages == []


async def test_single_message_may_speak_of_braces(inbox: InboxServer) -> None:
    """A transactional message is no template, whatever it says."""
    message = Message(to="ada@example.com", subject="{{ name }}", text="Write {{ name | default }} or {{{{ or {{#if\n")
    async with smtp_host(inbox) as host:
        receipt = await host.send(message)
    assert receipt.accepted
    mail = received(inbox)["ada@example.com"]
    assert (mail["Subject"], body(mail, "plain")) == (message.subject, message.text)


async def test_defaults_alone_need_no_data(inbox: InboxServer) -> None:
    """A broadcast with nothing but defaults, and escaped braces, is a template for plain addresses too."""
    async with smtp_host(inbox) as host:
        await broadcast(host, Message(text="Dear {{ name | reader }}, write {{{{ x }}\n"), "ada@example.com")
    assert body(received(inbox)["ada@example.com"], "plain") == "Dear reader, write {{ x }}\n"


async def test_connection_that_fills_nothing_in_is_passed_over() -> None:
    """A template needs ``send.merge``; merge data beside a message without fields needs nothing."""
    plain = ScriptedConnector("plain", capabilities=[entry for entry in EVERYTHING if entry.name != "send.merge"])
    ada = Recipient(address="ada@example.com", merge={"name": "Ada"})
    async with scripted_host(plain) as host:
        with pytest.raises(NoConnection, match=r"send\.merge"):
            await broadcast(host, Message(from_="shop@example.com", text="Dear {{ name }}"), ada)
        assert not host.plan(Message(from_="shop@example.com", text="{{ name }}"), broadcast=True).order
        outcomes = await broadcast(host, Message(from_="shop@example.com", text="Dear you"), ada)
    assert outcomes["ada@example.com"].state is State.ACCEPTED
    (call,) = plain.calls
    assert [delivery.merge for delivery in call.batch.deliveries] == [None]


async def test_one_click_needs_an_https_uri() -> None:
    """Message and recipient are looked at together: either may bring either field."""
    connector = ScriptedConnector("all", capabilities=[*EVERYTHING, yes("send.schedule"), no("send.templates")])
    post = {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    letter = Message(from_="shop@example.com", text="x", headers=post)
    async with scripted_host(connector) as host:
        outcomes = await broadcast(
            host,
            letter,
            Recipient(address="ada@example.com", headers={"list-unsubscribe": "<https://example.com/u/1>"}),
            Recipient(address="bob@example.com", headers={"List-Unsubscribe": "<mailto:u@example.com>"}),
            "cy@example.com",
        )
        with pytest.raises(ValidationError, match="https"):
            await host.send(Message(from_="shop@example.com", to="ada@example.com", text="x", headers=post))
    assert outcomes["ada@example.com"].state is State.ACCEPTED
    assert [outcomes[f"{name}@example.com"].reason for name in ("bob", "cy")] == ["headers", "headers"]
    assert [call.recipients for call in connector.calls] == [("ada@example.com",)]
