"""The same twelve messages through four real servers: the right outcome for everybody, and every byte as composed."""

import email
import email.policy
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from genie_connect import Address, Attachment, Batch, Delivery, Message, Outcome, Registry, Runtime, SendContext, State
from genie_connect.clock import SystemClock
from genie_connect.delivery.suppression import SuppressionGate
from genie_connect.mime import compose
from genie_connect.model.batch import new_message_id
from tests.integration.servers import RealServer

pytestmark = pytest.mark.long

SENDER = "Shop <shop@sender.test>"
SENT_AT = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


class StoppedCalendar(SystemClock):
    """The machine's clock with a date that stands still, so that the Date field is known."""

    def now(self) -> datetime:
        """Always the same."""
        return SENT_AT


Expected = tuple[State, frozenset[str | None]]
"""A state, and the reasons that fit: servers word the same refusal in different ways."""


@attrs.frozen(kw_only=True)
class Case:
    """A message, and what is to become of each recipient."""

    name: str
    expected: Mapping[str, Expected]
    sender: str = SENDER
    text: str = "Hello"
    attachments: tuple[Attachment, ...] = ()


def _expect(state: State, *reasons: str | None) -> Expected:
    return state, frozenset(reasons)


ACCEPTED = _expect(State.ACCEPTED, None)
REFUSED = _expect(State.REJECTED, "recipient_rejected")
TEMPORARY = _expect(State.DEFERRED, "temporary", "greylisted")
CASES = [
    Case(name="good", expected={"ada@example.com": ACCEPTED}),
    Case(
        name="refused sender",
        sender="badsender@sender.test",
        expected={"ada@example.com": _expect(State.REJECTED, "sender_rejected", "policy")},
    ),
    Case(name="refused recipient", expected={"refused@example.com": REFUSED}),
    Case(name="temporary", expected={"temporary@example.com": TEMPORARY}),
    Case(
        name="mixed recipients",
        expected={
            "refused@example.com": REFUSED,
            "ada@example.com": ACCEPTED,
            "temporary@example.com": TEMPORARY,
            "bob@example.com": ACCEPTED,
        },
    ),
    Case(
        name="oversize",
        attachments=(Attachment(filename="big.bin", content=b"\x00\xff" * 5_000_000),),
        expected={"ada@example.com": _expect(State.REJECTED, "too_large")},
    ),
    Case(name="non-ASCII address", expected={"jörg@example.com": ACCEPTED}),
    Case(name="8-bit", text="Grüße aus Köln, 你好\r\n" * 5, expected={"ada@example.com": ACCEPTED}),
    Case(name="998-character line", text=f"before\r\n{'x' * 998}\r\nafter", expected={"ada@example.com": ACCEPTED}),
    Case(name="dots", text=".\r\n..\r\n. a\r\nend\r\n.", expected={"ada@example.com": ACCEPTED}),
    Case(name="20 recipients", expected={f"user{number}@example.com": ACCEPTED for number in range(20)}),
    Case(
        name="5 MB attachment",
        attachments=(Attachment(filename="räport.pdf", content=bytes(range(256)) * 20_480),),
        expected={"ada@example.com": ACCEPTED},
    ),
]


@attrs.frozen
class Sending:
    """A connection to one real server, used for the whole sequence."""

    server: RealServer
    handle: Any
    state: Any

    async def send(self, case: Case) -> tuple[Batch, Mapping[str, Outcome]]:
        """Hand the case over; what was handed over, and each recipient's outcome."""
        batch = await batch_of(case)
        context = SendContext(attempt_id=case.name, deadline=SystemClock().monotonic() + 60, clock=StoppedCalendar())
        outcomes = await self.handle.send(self.state, batch, context, self.handle.capabilities())
        return batch, {outcome.recipient: outcome for outcome in outcomes}


async def batch_of(case: Case) -> Batch:
    """The case as a connector gets it."""
    message = Message(
        from_=case.sender,
        to=list(case.expected),
        subject=f"Grüße: {case.name}",
        text=case.text,
        html="<p>Hello</p>" if case.attachments else None,
        attachments=case.attachments,
    )
    sender = Address.parse(case.sender)
    clearance = await SuppressionGate().clear(message.recipients, message.purpose)
    delivery = Delivery(message_id=new_message_id(sender), recipients=clearance.cleared, to=message.to)
    return Batch(message=message, sender=sender, deliveries=(delivery,))


@pytest.fixture(params=["off", "envelope", "next", "chunking"])
def pipelining(request: pytest.FixtureRequest) -> str:
    """How far commands run ahead of their replies, each in turn."""
    return str(request.param)


@pytest.fixture
async def sending(real_server: RealServer, pipelining: str) -> AsyncIterator[Sending]:
    """The SMTP connector as it is installed, connected to each real server."""
    handle = Registry.discover(allow=["smtp"], strict=True)["smtp"]
    fields = {"host": real_server.host, "port": real_server.port, "security": "none", "pipelining": pipelining}
    settings = handle.settings(fields)
    state = await handle.open(settings, Runtime(connection=real_server.name))
    yield Sending(real_server, handle, state)
    await handle.close(state)


def expected_of(case: Case, server: RealServer) -> Mapping[str, Expected]:
    """What this server makes of the case: one without SMTPUTF8 cannot take a non-ASCII address."""
    if case.name == "non-ASCII address" and "SMTPUTF8" not in server.supports:
        return dict.fromkeys(case.expected, _expect(State.REJECTED, "unsupported"))
    return case.expected


async def test_the_sequence_has_the_right_outcomes_and_arrives_byte_exact(sending: Sending) -> None:
    """Twelve messages in a row: nobody's outcome is somebody else's, and what is accepted arrives as composed."""
    for case in CASES:
        batch, outcomes = await sending.send(case)
        expected = expected_of(case, sending.server)
        assert outcomes.keys() == expected.keys()
        for recipient, (state, reasons) in expected.items():
            outcome = outcomes[recipient]
            assert outcome.state is state, (case.name, outcome)
            assert outcome.reason in reasons, (case.name, outcome)
        accepted = [recipient for recipient, (state, _) in expected.items() if state is State.ACCEPTED]
        await arrives_exactly(sending.server, batch, accepted)


async def arrives_exactly(server: RealServer, batch: Batch, recipients: list[str]) -> None:
    """Everybody accepted has it, byte for byte, from the right sender; nobody else has it."""
    (delivery,) = batch.deliveries
    marker = delivery.message_id.encode()
    arrived = await server.arrived(recipients, marker) if recipients else {}
    composed = compose(batch, delivery, date=SENT_AT, eight_bit=True).as_bytes()
    for recipient in recipients:
        assert arrived[recipient].content == composed
        assert arrived[recipient].mail_from == batch.envelope_from.email
    reached = [name for one in server.deliveries(marker) for name in one.rcpt_to]
    assert sorted(reached) == sorted(recipients)
    if recipients:
        # The composer is ours too: the standard library must find in the bytes what was asked for.
        parsed = email.message_from_bytes(arrived[recipients[0]].content, policy=email.policy.default)
        body = parsed.get_body(("plain",))
        assert body is not None
        assert body.get_content().replace("\r\n", "\n").rstrip("\n") == (batch.message.text or "").replace(
            "\r\n", "\n"
        ).rstrip("\n")
        assert [part.get_content() for part in parsed.iter_attachments()] == [
            attachment.content for attachment in batch.message.attachments
        ]
        assert parsed["subject"] == batch.message.subject


async def test_many_copies_share_connections_and_each_arrives_once(sending: Sending) -> None:
    """A broadcast of sixty copies over three connections: each recipient gets one, its own."""
    message = Message(from_=SENDER, subject="News", text="Hello")
    sender = Address.parse(SENDER)
    recipients = [Address.parse(f"copy{number}@example.com") for number in range(60)]
    clearance = await SuppressionGate().clear(recipients, message.purpose)
    deliveries = tuple(
        Delivery(message_id=new_message_id(sender), recipients=(cleared,), to=(cleared.address,))
        for cleared in clearance.cleared
    )
    batch = Batch(message=message, sender=sender, deliveries=deliveries)
    context = SendContext(attempt_id="many", deadline=SystemClock().monotonic() + 60)
    outcomes = await sending.handle.send(sending.state, batch, context, sending.handle.capabilities())
    assert {outcome.state for outcome in outcomes} == {State.ACCEPTED}
    for delivery in deliveries:
        recipient = delivery.addresses[0].email
        await sending.server.arrived([recipient], delivery.message_id.encode())
        (one,) = sending.server.deliveries(delivery.message_id.encode())
        assert one.rcpt_to == (recipient,)


_STATES = {"copy": State.ACCEPTED, "refused": State.REJECTED, "temporary": State.DEFERRED}


_NAMES = ("copy", "refused", "copy", "copy", "temporary", "refused", "copy") * 6
MIXTURE = {
    f"{name}{number if name == 'copy' else ''}@d{number}.example.com": _STATES[name]
    for number, name in enumerate(_NAMES)
}


async def broadcast_of(recipients: list[str], *, sender: str = SENDER) -> Batch:
    """One copy for each recipient."""
    message = Message(from_=sender, subject="News", text=".dot\r\nHello")
    address = Address.parse(sender)
    clearance = await SuppressionGate().clear([Address.parse(email) for email in recipients], message.purpose)
    deliveries = tuple(
        Delivery(message_id=new_message_id(address), recipients=(cleared,), to=(cleared.address,))
        for cleared in clearance.cleared
    )
    return Batch(message=message, sender=address, deliveries=deliveries)


async def test_refusals_in_the_stream_stay_where_they_belong(sending: Sending) -> None:
    """Forty-two copies, a third of them refused: each accepted copy arrives once, and at its own recipient."""
    batch = await broadcast_of(list(MIXTURE))
    context = SendContext(attempt_id="mixed", deadline=SystemClock().monotonic() + 60, clock=StoppedCalendar())
    outcomes = await sending.handle.send(sending.state, batch, context, sending.handle.capabilities())
    assert {outcome.recipient: outcome.state for outcome in outcomes} == MIXTURE
    for delivery in batch.deliveries:
        recipient = delivery.addresses[0].email
        marker = delivery.message_id.encode()
        if MIXTURE[recipient] is State.ACCEPTED:
            await sending.server.arrived([recipient], marker)
        assert [one.rcpt_to for one in sending.server.deliveries(marker)] == (
            [(recipient,)] if MIXTURE[recipient] is State.ACCEPTED else []
        )
