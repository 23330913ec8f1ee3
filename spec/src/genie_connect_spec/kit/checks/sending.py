"""Sending to a provider that works: whole, unchanged, once.

PYTEST_DONT_REWRITE: each assertion says itself what is wrong.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import attrs

from genie_connect.contract import Kind
from genie_connect.model.attachment import Attachment
from genie_connect.model.codec import unstructure
from genie_connect.model.outcome import Outcome, State
from genie_connect_spec.kit import traffic
from genie_connect_spec.kit.behaviour import Behaviour
from genie_connect_spec.kit.check import Force, check, needs
from genie_connect_spec.kit.http_provider import HttpProvider
from genie_connect_spec.kit.letters import SENDER, SUBJECT, TEXT, Copy, batch_of, letter
from genie_connect_spec.kit.rig import CONNECTION, Rig

FIRST: Final = "GC-SEND-001"
SENDS: Final = (FIRST,)
TEXTS: Final = ("GC-SEND-008",)


async def _carries(rig: Rig, message: Any, *needles: str | bytes) -> None:
    left = await rig.deliver(message)
    absent = traffic.missing(left.content, needles)
    assert not absent, f"{absent[0]!r} is not in what left"


@check("GC-SEND-001", after=("GC-CAP-002", "GC-LIFE-001"))
async def a_message_is_accepted(rig: Rig) -> None:
    """One recipient, one outcome: what the provider took is accepted."""
    needs(rig.declares("send.transactional"), "it declares no send.transactional")
    await rig.deliver(letter())


@check("GC-SEND-002", after=SENDS)
async def the_result_is_a_sequence_of_outcomes(rig: Rig) -> None:
    """The host pairs outcomes with recipients by their place."""
    async with rig.opened() as state:
        result = await rig.raw_send(state, await batch_of(letter()))
    assert isinstance(result, list | tuple), f"it returned {type(result).__name__}"
    assert all(type(each) is Outcome for each in result), "it returned what is no Outcome"


@check("GC-SEND-003", after=SENDS)
async def one_outcome_for_each_recipient(rig: Rig) -> None:
    """Three recipients of one copy, three outcomes, in their order."""
    to = [f"reader{number}@example.com" for number in (3, 1, 2)]
    await rig.deliver(letter(*to))


@check("GC-SEND-004", after=SENDS)
async def one_outcome_for_each_copy(rig: Rig) -> None:
    """Copies come in one call, and their outcomes in their order."""
    needs(rig.declares("send.broadcast"), "it declares no send.broadcast")
    await rig.deliver(letter(), [Copy(to=f"reader{number}@example.com") for number in (3, 1, 2)])


@check("GC-SEND-005", after=SENDS)
async def each_recipient_is_reached_once(rig: Rig) -> None:
    """Not twice, not never."""
    to = [f"reader{number}@example.com" for number in range(3)]
    left = await rig.deliver(letter(*to))
    if left.recipients:
        assert sorted(left.recipients) == to, f"the envelopes reach {left.recipients}"
    else:
        absent = traffic.missing(left.content, to)
        assert not absent, f"{absent[0]!r} is not in what left"


@check("GC-SEND-006", after=SENDS)
async def one_message_is_one_hand_over(rig: Rig) -> None:
    """Whatever the provider takes once is delivered once."""
    await rig.deliver(letter())
    count = len(rig.provider.handed_over)
    assert count == 1, f"one message to one recipient was handed over {count} times"


@check("GC-SEND-007", after=SENDS)
async def the_message_is_not_changed(rig: Rig) -> None:
    """The next attempt, on another connection, sends the same message."""
    fields: dict[str, Any] = {"headers": {"X-Kit": "one"}} if rig.declares("send.headers") else {}
    batch = await batch_of(letter(**fields))
    before, again = unstructure(batch), repr(batch)
    async with rig.opened() as state:
        await rig.send(state, batch)
    assert unstructure(batch) == before, "connector_send changed the batch"
    assert repr(batch) == again, "connector_send changed the batch"


@check("GC-SEND-008", after=SENDS)
async def subject_and_text_arrive(rig: Rig) -> None:
    """As they were written."""
    await _carries(rig, letter(), SUBJECT, TEXT)


@check("GC-SEND-009", after=SENDS)
async def the_sender_is_who_it_is(rig: Rig) -> None:
    """A From that is rewritten in silence is somebody else's message."""
    await _carries(rig, letter(), "shop@example.com", "Shop")
    sender = "Other <other@example.com>"
    await _carries(rig, letter(from_=sender), "other@example.com")


@check("GC-SEND-010", after=TEXTS)
async def any_script_arrives(rig: Rig) -> None:
    """Not only ASCII, and not only what fits into 16 bits."""
    subject, text = "Grüße, 你好, שלום 🐘", "Ça marche: Ελλάδα, ไทย, 🏴‍☠️."
    await _carries(rig, letter(subject=subject, text=text), subject, text)


@check("GC-SEND-011", after=TEXTS)
async def dots_and_long_lines_arrive(rig: Rig) -> None:
    """A line with a single dot ends no message, and a long line is not cut."""
    text = "first\n.\n..two dots\nFrom here\n" + "x" * 2000
    left = await rig.deliver(letter(text=text))
    found = any(
        text in layer.decode("utf-8", "replace").replace("\r\n", "\n") for layer in traffic.layers(left.content)
    )
    assert found, "the text did not arrive as it was written"


@check("GC-SEND-012", after=TEXTS)
async def braces_stay_braces(rig: Rig) -> None:
    """The message of a single send is no template, whatever stands in it."""
    text = "Write {{ name }}, {{name}}, %recipient.name%, {% if x %} or -name- where you mean it."
    await _carries(rig, letter(text=text), text)


@check("GC-SEND-013", after=SENDS)
async def names_with_commas_arrive(rig: Rig) -> None:
    """A comma in a name makes no second recipient."""
    left = await rig.deliver(letter('"Lovelace, Ada" <ada@example.com>'))
    assert not left.recipients or left.recipients == ("ada@example.com",), f"the envelope reaches {left.recipients}"
    assert traffic.holds(left.content, "Lovelace, Ada"), "the name did not arrive"


@check("GC-SEND-014", after=SENDS)
async def html_alone_is_a_message(rig: Rig) -> None:
    """There need not be a text."""
    needs(rig.declares("send.html"), "it declares no send.html")
    await _carries(rig, letter(text=None, html="<p>nothing but HTML</p>"), "nothing but HTML")


@check("GC-SEND-015", after=TEXTS)
async def an_empty_subject_is_a_subject(rig: Rig) -> None:
    """People send that. Whose provider refuses it says so before it is asked."""
    refused = await rig.refusal(letter(subject=""))
    if refused:
        return
    bare = rig.provider.handed_over[-1].content
    assert traffic.holds(bare, TEXT), f"{TEXT!r} is not in what left"
    # Where the subject of another message stands, there stands none in this one.
    named = traffic.fields((await rig.deliver(letter())).content)
    places = [name for name, value in named.items() if value == SUBJECT]
    found = [value for name, value in traffic.fields(bare).items() if name in places and value]
    assert not found, f"the message has no subject, and {found[0]!r} left as one"


@check("GC-SEND-016", after=TEXTS)
async def a_megabyte_arrives(rig: Rig) -> None:
    """Nothing is cut, and nothing takes time that grows with the square."""
    most = rig.table.limit("send.transactional", "max_message_bytes") or 1_000_000
    text = "A line of a long letter.\n" * (min(1_000_000, most // 2) // 25) + "the very end"
    left = await rig.deliver(letter(text=text))
    assert traffic.holds(left.content, "the very end"), "the end of a long text is missing"


@check("GC-SEND-017", after=SENDS)
async def blind_copies_alone_are_a_message(rig: Rig) -> None:
    """Nobody need be shown."""
    needs(rig.declares("send.cc_bcc"), "it declares no send.cc_bcc")
    message = letter("ada@example.com", bcc=["bea@example.com"])
    batch = await batch_of(message)
    async with rig.opened() as state:
        outcomes = await rig.send(state, batch)
    assert {each.recipient: each.state for each in outcomes} == {
        "ada@example.com": State.ACCEPTED,
        "bea@example.com": State.ACCEPTED,
    }


@check("GC-SEND-018", force=Force.SHOULD, after=SENDS)
async def events_find_the_send(rig: Rig) -> None:
    """Bounces and events are joined to the send by the Message-ID, or by the id that the provider gave."""
    batch = await batch_of(letter())
    async with rig.opened() as state:
        (outcome,) = await rig.send(state, batch)
    message_id = batch.deliveries[0].message_id.strip("<>")
    assert outcome.provider_id or traffic.holds(rig.provider.handed_over[0].content, message_id), (
        "the Message-ID is not in what left, and the outcome has no provider_id"
    )


@check("GC-SEND-031", after=SENDS)
async def an_id_is_the_providers(rig: Rig) -> None:
    """An id that the provider never gave finds no event, and nobody finds the message by it."""
    async with rig.opened() as state:
        (outcome,) = await rig.send(state, await batch_of(letter()))
    needs(outcome.provider_id, "the outcome has no provider_id")
    needs(not rig.contract.brings_a_provider, "its contract brings a provider of its own")
    provider = rig.provider
    said = b"".join(provider.answers) if isinstance(provider, HttpProvider) else (outcome.text or "").encode()
    given = traffic.holds(said, outcome.provider_id or "")
    assert given, f"the provider_id is {outcome.provider_id!r}, and the provider said no such thing"


@check("GC-SEND-019", after=SENDS)
async def accepted_outcomes_are_final(rig: Rig) -> None:
    """Stage and id say what was taken; a hint would say that something is to be done."""
    outcome = await rig.outcome(Behaviour.NORMAL)
    assert outcome.stage == "final", f"the stage of an accepted outcome is {outcome.stage!r}"
    assert not outcome.suppress, "an accepted recipient is to be suppressed"
    assert outcome.reason is None, f"an accepted outcome has the reason {outcome.reason}"


@check("GC-SEND-020", after=SENDS)
async def the_connection_is_the_hosts_word(rig: Rig) -> None:
    """The host says which connection an outcome comes from; whoever says it too has to say the same."""
    outcome = await rig.outcome(Behaviour.NORMAL)
    assert outcome.connection in (None, CONNECTION), f"the outcome names the connection {outcome.connection!r}"


@check("GC-SEND-021", after=SENDS)
async def twenty_at_once(rig: Rig) -> None:
    """Sends over one connection do not get into each other's way: each has its own outcome, each leaves once."""
    batches = [await batch_of(letter(f"reader{number:02}@example.com")) for number in range(20)]
    async with rig.opened() as state:
        found = await asyncio.gather(*(rig.send(state, batch) for batch in batches))
    assert all(outcome.state is State.ACCEPTED for (outcome,) in found), "not every message was accepted"
    left = rig.provider.handed_over
    assert len(left) == 20, f"20 messages were handed over {len(left)} times"
    for number in range(20):
        name = f"reader{number:02}@example.com"
        times = rig.times_handed_to(name)
        assert times == 1, f"{name} was handed over {times} times"


@check("GC-SEND-022", after=SENDS)
async def one_send_after_another(rig: Rig) -> None:
    """Over one open connection, without a trace of the one before."""
    async with rig.opened() as state:
        await rig.deliver_with(state, letter("first.reader@example.com", subject="The first of two"))
        left = await rig.deliver_with(state, letter("second.reader@example.com", subject="The second of two"))
    assert not traffic.holds(left.content, "The first of two"), "the second message holds the first one's subject"
    assert not traffic.holds(left.content, "first.reader@example.com"), (
        "the second message holds the first one's recipient"
    )


@check("GC-SEND-023", after=SENDS)
async def two_connections_side_by_side(rig: Rig) -> None:
    """Two connections of one connector share nothing."""
    async with rig.opened() as first, rig.opened() as second:
        await asyncio.gather(rig.deliver_with(first, letter()), rig.send(second, await batch_of(letter())))
        await rig.close(first)
        await rig.deliver_with(second, letter())


@check("GC-SEND-024", after=SENDS)
async def the_loop_stays_free(rig: Rig) -> None:
    """While one provider keeps the connector waiting, the host serves others."""
    rig.misbehave(Behaviour.SILENT)
    beats = 0
    async with rig.opened() as state:
        sending = asyncio.ensure_future(rig.raw_send(state, await batch_of(letter()), rig.context(0.6)))
        while not sending.done() and beats < 1000:
            await asyncio.sleep(0.01)
            beats += 1
        await asyncio.gather(sending, return_exceptions=True)
    assert beats >= 10, f"while the connector waited, its loop ran {beats} times in 0.6 s: it blocks"


@check("GC-SEND-025", after=SENDS)
async def a_file_that_is_gone_is_an_outcome(rig: Rig) -> None:
    """Nothing left, and the host is told so instead of meeting an exception."""
    needs(rig.declares("send.attachments"), "it declares no send.attachments")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "kit.txt"
        path.write_bytes(b"soon gone")
        attachment = Attachment.from_path(path)
        path.unlink()
        async with rig.opened() as state:
            (outcome,) = await rig.send(state, await batch_of(letter(attachments=[attachment])))
    assert outcome.state in (State.REJECTED, State.DEFERRED), f"the file is gone, and the outcome is {outcome.state}"
    assert not rig.provider.handed_over, "a message without its file left"
    assert folder not in repr(outcome), "the outcome names a folder of this machine"


@check("GC-SEND-026", after=SENDS)
async def a_file_on_disk_arrives(rig: Rig) -> None:
    """Attachments need not be in memory."""
    needs(rig.declares("send.attachments"), "it declares no send.attachments")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "kit-file.bin"
        path.write_bytes(b"\x00\x01 a file on disk \xff" * 50)
        left = await rig.deliver(letter(attachments=[Attachment.from_path(path)]))
        assert traffic.holds(left.content, path.read_bytes()), "the file did not arrive byte for byte"


@check("GC-SEND-027", after=SENDS)
async def file_names_arrive(rig: Rig) -> None:
    """Also those that need quoting or are not ASCII."""
    needs(rig.declares("send.attachments"), "it declares no send.attachments")
    for name in ("Rechnung März; 2026.pdf", 'the "last" one.pdf'):
        left = await rig.deliver(letter(attachments=[Attachment(filename=name, content=b"%PDF kit")]))
        assert traffic.holds(left.content, name), f"the file name {name!r} is not in what left"


@check("GC-SEND-029", after=SENDS)
async def the_envelope_is_the_hosts(rig: Rig) -> None:
    """Without an envelope sender of its own, bounces go to the From address."""
    needs(rig.kind is Kind.SMTP, "only SMTP shows its envelope")
    left = await rig.deliver(letter(from_=SENDER))
    assert left.envelope_from == "shop@example.com", f"bounces go to {left.envelope_from}"


@check("GC-SEND-030", after=SENDS)
async def whoever_has_an_outcome_is_left_out(rig: Rig) -> None:
    """A second attempt reaches those who are still open, though the header shows everybody."""
    batch = await batch_of(letter("ada@example.com", "ben@example.com"))
    (delivery,) = batch.deliveries
    rest = attrs.evolve(delivery, recipients=delivery.recipients[1:])
    async with rig.opened() as state:
        outcomes = await rig.send(state, attrs.evolve(batch, deliveries=(rest,)))
    assert [each.recipient for each in outcomes] == ["ben@example.com"]
    left = rig.provider.handed_over[0]
    needs(left.recipients, "whom the request reaches is not seen here")
    assert left.recipients == ("ben@example.com",), f"the envelope reaches {left.recipients}"
