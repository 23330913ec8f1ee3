"""Honesty: what is declared changes what leaves, and what is not declared is refused before anything leaves.

PYTEST_DONT_REWRITE: each assertion says itself what is wrong.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

import attrs

from genie_connect.contract import Kind
from genie_connect.model.attachment import Attachment
from genie_connect.model.capability import Level
from genie_connect.model.features import missing, required_by_batch
from genie_connect.model.outcome import State
from genie_connect.model.provider_template import ProviderTemplate
from genie_connect_spec.kit import traffic
from genie_connect_spec.kit.check import check, needs
from genie_connect_spec.kit.letters import Copy, batch_of, letter
from genie_connect_spec.kit.provider import HandedOver
from genie_connect_spec.kit.rig import Rig
from genie_connect_spec.kit.running import within

SENDS: Final = ("GC-SEND-001",)
COPIES: Final = ("GC-CAP-032",)
FILE: Final = bytes(range(256)) * 3 + b"the end of the file"
BOLD: Final = "bold nine hundred and two"
HIDDEN: Final = "hidden@example.com"
"""A blind copy. No name of hexadecimal digits: a Message-ID of the same domain may end with it."""


@attrs.frozen(kw_only=True)
class Feature:
    """A capability, a message that needs it, and what has to be in what leaves."""

    name: str
    fields: dict[str, Any] = attrs.field(factory=dict)
    copies: tuple[Copy, ...] = ()
    needles: tuple[str | bytes, ...] = ()
    to: tuple[str, ...] = ()


def _needled(feature: Feature, left: HandedOver) -> list[str | bytes]:
    """The needles that are neither in what left nor in its envelope."""
    envelope = (*left.recipients, left.envelope_from or "")
    return [each for each in traffic.missing(left.content, feature.needles) if each not in envelope]


async def _is_honest(rig: Rig, feature: Feature) -> None:
    message = letter(*feature.to, **feature.fields)
    batch = await batch_of(message, feature.copies)
    others = [name for name in missing(required_by_batch(batch), rig.table) if name != feature.name]
    needs(not others, f"it declares no {', '.join(others)}, which this needs as well")
    needs(rig.table[feature.name].level is not Level.HOST, f"the host does {feature.name} in its place")
    if rig.declares(feature.name):
        left = await rig.deliver(message, feature.copies)
        absent = _needled(feature, left)
        assert not absent, f"{feature.name} is declared, and {absent[0]!r:.80} is not in what left"
        return
    await _is_refused(rig, feature, batch)


async def _is_refused(rig: Rig, feature: Feature, batch: Any) -> None:
    handle = rig.handle()
    async with rig.opened() as state:
        table = handle.effective(state) or rig.table
        outcomes = await within(5.0, handle.send(state, batch, rig.context(), table), "a refusal")
        assert all(each.state is State.REJECTED and each.reason == "unsupported" for each in outcomes), (
            f"{feature.name} is not declared, and the outcome is {outcomes[0]}"
        )
        assert not rig.provider.handed_over, f"{feature.name} is not declared, and a message left"
        if feature.name in rig.table:
            return
        # Not even listed. If it is carried after all, hosts go without it for nothing.
        with suppress(Exception):
            await rig.raw_send(state, batch, rig.context(2.0))
    carried = [left for left in rig.provider.handed_over if not _needled(feature, left)]
    assert not carried, f"{feature.name} is carried and not declared: declare it, or say no({feature.name!r})"


@check("GC-CAP-020", after=SENDS)
async def html(rig: Rig) -> None:
    """An HTML body that is dropped leaves a message that nobody meant."""
    await _is_honest(rig, Feature(name="send.html", fields={"html": f"<p>{BOLD}</p>"}, needles=(BOLD,)))


@check("GC-CAP-021", after=SENDS)
async def attachments(rig: Rig) -> None:
    """A file arrives byte for byte, under its name."""
    files = [Attachment(filename="kit-report.pdf", content=FILE)]
    await _is_honest(
        rig, Feature(name="send.attachments", fields={"attachments": files}, needles=(FILE, "kit-report.pdf"))
    )


@check("GC-CAP-022", after=SENDS)
async def inline_images(rig: Rig) -> None:
    """An image arrives under the id by which the HTML shows it."""
    image = Attachment(filename="kit-logo.png", content=FILE, content_id="kit-logo-id")
    fields = {"html": '<p><img src="cid:kit-logo-id"></p>', "attachments": [image]}
    await _is_honest(rig, Feature(name="send.inline_images", fields=fields, needles=(FILE, "kit-logo-id")))


@check("GC-CAP-023", after=SENDS)
async def cc(rig: Rig) -> None:
    """Whoever has a copy is shown and reached."""
    fields = {"cc": ["Cleo <cleo@example.com>"]}
    await _is_honest(rig, Feature(name="send.cc_bcc", fields=fields, needles=("cleo@example.com",)))


@check("GC-CAP-024", after=SENDS)
async def bcc(rig: Rig) -> None:
    """Whoever has a blind copy is reached."""
    fields = {"bcc": [HIDDEN]}
    await _is_honest(rig, Feature(name="send.cc_bcc", fields=fields, needles=(HIDDEN,)))


@check("GC-CAP-025", after=SENDS)
async def bcc_is_hidden(rig: Rig) -> None:
    """A blind copy that stands in a header is none."""
    needs(rig.declares("send.cc_bcc"), "it declares no send.cc_bcc")
    needs(rig.kind is Kind.SMTP, "what the provider makes of it is not seen here")
    left = await rig.deliver(letter(bcc=[HIDDEN]))
    assert HIDDEN in left.recipients, "the blind copy is not in the envelope"
    assert not traffic.holds(left.content, HIDDEN), "the blind copy is named in the message"


@check("GC-CAP-026", after=SENDS)
async def reply_to(rig: Rig) -> None:
    """Answers go where the sender wants them."""
    fields = {"reply_to": ["Help <help@example.com>"]}
    await _is_honest(rig, Feature(name="send.reply_to", fields=fields, needles=("help@example.com",)))


@check("GC-CAP-027", after=SENDS)
async def own_headers(rig: Rig) -> None:
    """A header field that is lost may have been the unsubscribe link."""
    fields = {"headers": {"X-Kit-Order": "header nine", "List-Unsubscribe": "<https://example.com/kit-leave>"}}
    needles = ("X-Kit-Order", "header nine", "https://example.com/kit-leave")
    feature = Feature(name="send.headers", fields=fields, needles=needles)
    await _is_honest(rig, feature)


@check("GC-CAP-028", after=SENDS)
async def envelope_sender(rig: Rig) -> None:
    """Bounces go where the host reads them."""
    fields = {"envelope_from": "bounces+9@example.com"}
    await _is_honest(rig, Feature(name="send.envelope_sender", fields=fields, needles=("bounces+9@example.com",)))


@check("GC-CAP-029", after=SENDS)
async def international_addresses(rig: Rig) -> None:
    """An address that is transliterated is another address."""
    to = ("jörg@example.com",)
    await _is_honest(rig, Feature(name="send.international_addresses", to=to, needles=to))


@check("GC-CAP-030", after=SENDS)
async def tags(rig: Rig) -> None:
    """Tags come back with events, and reports are made of them."""
    await _is_honest(rig, Feature(name="send.tags", fields={"tags": ["kit-tag-nine"]}, needles=("kit-tag-nine",)))


@check("GC-CAP-031", after=SENDS)
async def metadata(rig: Rig) -> None:
    """Metadata comes back with events: name and value both."""
    fields = {"metadata": {"kit_order": "meta-nine"}}
    await _is_honest(rig, Feature(name="send.metadata", fields=fields, needles=("kit_order", "meta-nine")))


def _two(**fields: Any) -> tuple[Copy, Copy]:
    second = {name: value[1] for name, value in fields.items()}
    first = {name: value[0] for name, value in fields.items()}
    return Copy(to="ada@example.com", **first), Copy(to="ben@example.com", **second)


@check("GC-CAP-032", after=SENDS)
async def broadcasts(rig: Rig) -> None:
    """Every copy leaves, for its own recipient."""
    feature = Feature(name="send.broadcast", copies=_two(), needles=("ada@example.com", "ben@example.com"))
    await _is_honest(rig, feature)


@check("GC-CAP-033", after=COPIES)
async def merge_fields(rig: Rig) -> None:
    """Each recipient's own values are there."""
    needs(rig.declares("send.broadcast"), "it declares no send.broadcast")
    copies = _two(merge=({"name": "Ada Nine"}, {"name": "Ben Ten"}))
    feature = Feature(
        name="send.merge", fields={"text": "Dear {{ name }}."}, copies=copies, needles=("Ada Nine", "Ben Ten")
    )
    await _is_honest(rig, feature)


@check("GC-CAP-034", after=COPIES)
async def headers_of_one_copy(rig: Rig) -> None:
    """The unsubscribe link of each recipient is that recipient's."""
    needs(rig.declares("send.headers") and rig.declares("send.broadcast"), "it declares no such broadcast")
    copies = _two(headers=({"X-Kit-Copy": "first of two"}, {"X-Kit-Copy": "second of two"}))
    left = await rig.deliver(letter(), copies)
    absent = traffic.missing(left.content, ("first of two", "second of two"))
    assert not absent, f"the header field {absent[0]!r} of one copy is not in what left"


@check("GC-CAP-035", after=COPIES)
async def metadata_of_one_copy(rig: Rig) -> None:
    """What is known of a recipient comes back with that recipient's events."""
    needs(rig.declares("send.metadata") and rig.declares("send.broadcast"), "it declares no such broadcast")
    # One word each: there are providers that take no other values, and say so.
    copies = _two(metadata=({"kit_copy": "first-of-two"}, {"kit_copy": "second-of-two"}))
    left = await rig.deliver(letter(), copies)
    absent = traffic.missing(left.content, ("first-of-two", "second-of-two"))
    assert not absent, f"the metadata {absent[0]!r} of one copy is not in what left"


@check("GC-CAP-036", after=SENDS)
async def idempotency_keys(rig: Rig) -> None:
    """Whoever declares keys makes the host repeat what is in doubt: without the key, that is a second copy."""
    left = await rig.deliver(letter(), key="kit-key-nine-hundred")
    carried = traffic.holds(left.content, "kit-key-nine-hundred")
    if rig.declares("send.idempotency"):
        assert carried, "send.idempotency is declared, and the key is not in what left"
    else:
        named = "send.idempotency" in rig.table
        assert named or not carried, "the idempotency key leaves, and send.idempotency is not declared"


@check("GC-CAP-037", after=SENDS)
async def the_same_key_each_time(rig: Rig) -> None:
    """A key that is changed on the way protects nobody."""
    needs(rig.declares("send.idempotency"), "it declares no send.idempotency")
    async with rig.opened() as state:
        for _ in range(2):
            left = await rig.deliver_with(state, letter(), key="kit-key-once-more")
            assert traffic.holds(left.content, "kit-key-once-more"), "the second attempt has another key"


@check("GC-CAP-038", after=COPIES)
async def the_largest_batch(rig: Rig) -> None:
    """A limit that is declared is one that works."""
    needs(rig.declares("send.batch"), "it declares no send.batch")
    most = min(rig.table.limit("send.batch", "max_batch") or 50, 500)
    copies = [Copy(to=f"reader{number}@example.com") for number in range(most)]
    left = await rig.deliver(letter(), copies)
    last = f"reader{most - 1}@example.com"
    assert last in left.recipients or traffic.holds(left.content, last), f"copy {most} of {most} did not leave"


@check("GC-CAP-039", after=("GC-TEST-001",))
async def effective_table_is_its_own(rig: Rig) -> None:
    """What a server has announced is said of this connector, and called effective."""
    tables = [step.capabilities for step in await rig.steps() if step.capabilities is not None]
    for table in tables:
        assert table.effective, "the table of a server that was asked is not called effective"
    async with rig.opened() as state:
        of_state = getattr(state, "capabilities", None)
    tables += [of_state] if of_state is not None else []
    needs(tables, "it gives no effective table")
    for table in tables:
        assert table.connector == rig.info.id, "the effective table names another connector"


@check("GC-CAP-040", after=SENDS)
async def provider_options(rig: Rig) -> None:
    """Whoever uses what one provider alone has relies on its getting there."""
    fields = {"provider_options": {rig.info.id: {"kit_option": "option nine hundred"}}}
    await _is_honest(rig, Feature(name="send.provider_options", fields=fields, needles=("option nine hundred",)))


async def _makes_a_difference(rig: Rig, name: str, fields: dict[str, Any], otherwise: dict[str, Any]) -> None:
    """What leaves for two messages that differ in nothing else; how a provider writes it is its own affair."""
    needs(rig.table[name].level is not Level.HOST, f"the host does {name} in its place")
    batch = await batch_of(letter(**fields))
    if not rig.declares(name):
        await _is_refused(rig, Feature(name=name, needles=(b"\0 nothing holds this",)), batch)
        return
    other = attrs.evolve(batch, message=attrs.evolve(batch.message, **{**dict.fromkeys(fields), **otherwise}))
    bodies = []
    async with rig.opened() as state:
        for each in (batch, other):
            rig.attempts = 0  # under one name, which may leave as well
            before = len(rig.provider.handed_over)
            await rig.send(state, each)
            bodies.append([left.content.partition(b"\r\n\r\n")[2] for left in rig.provider.handed_over[before:]])
    assert bodies[0], f"{name} is declared, and nothing left"
    assert bodies[0] != bodies[1], f"{name} is declared, and what leaves is the same without it"


@check("GC-CAP-041", after=SENDS)
async def schedule(rig: Rig) -> None:
    """A message that leaves at once is not the one that was asked for."""
    at = rig.clock.now() + timedelta(hours=1)
    await _makes_a_difference(rig, "send.schedule", {"send_at": at}, {"send_at": at + timedelta(hours=1)})


@check("GC-CAP-042", after=SENDS)
async def open_tracking(rig: Rig) -> None:
    """Whether opens are tracked is for the sender to say, and often the law's."""
    await _makes_a_difference(rig, "send.track_opens", {"track_opens": True}, {"track_opens": False})


@check("GC-CAP-043", after=SENDS)
async def click_tracking(rig: Rig) -> None:
    """Links that are rewritten against the sender's word are somebody else's links."""
    await _makes_a_difference(rig, "send.track_clicks", {"track_clicks": True}, {"track_clicks": False})


@check("GC-CAP-045", after=SENDS)
async def amp(rig: Rig) -> None:
    """AMP has a part of its own, beside the HTML that it is another form of."""
    fields = {"html": "<p>In short.</p>", "amp": f"<!doctype html><html ⚡4email><body>{BOLD}</body></html>"}
    await _is_honest(rig, Feature(name="send.amp", fields=fields, needles=("In short.", BOLD)))


@check("GC-CAP-044", after=SENDS)
async def templates(rig: Rig) -> None:
    """A template that is kept by the provider is filled in there: with its id goes what it is filled in with."""
    name, data = rig.contract.template_id, {"kit_field": "template nine hundred"}
    fields = {"text": None, "subject": "", "template": ProviderTemplate(id=name, data=data)}
    needles = (name, "kit_field", "template nine hundred")
    await _is_honest(rig, Feature(name="send.templates", fields=fields, needles=needles))
