"""What a message needs from the connection that carries it, derived from what it contains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Final

from genie_connect.model.batch import Batch, Delivery
from genie_connect.model.capability import CapabilityTable, Level
from genie_connect.model.message import Message

EMULATED = frozenset({"send.batch", "send.metadata", "send.tags"})
"""What the core does for a connector whose table says ``host``: one call for each copy, keeping what is for our own
records. Anything else at that level nobody would do."""


LIMITS: Final[Mapping[tuple[str, str], tuple[str, Callable[[Message], int]]]] = {
    ("send.transactional", "max_subject_characters"): (
        "characters in the subject",
        lambda message: len(message.subject),
    ),
    ("send.transactional", "max_html_bytes"): (
        "bytes of HTML",
        lambda message: len((message.html or "").encode()),
    ),
    ("send.transactional", "max_text_bytes"): (
        "bytes of text",
        lambda message: len((message.text or "").encode()),
    ),
    ("send.attachments", "max_files"): ("files", lambda message: len(message.attachments)),
    ("send.cc_bcc", "max_cc"): ("recipients in cc", lambda message: len(message.cc)),
    ("send.cc_bcc", "max_bcc"): ("recipients in bcc", lambda message: len(message.bcc)),
    ("send.reply_to", "max_addresses"): ("addresses in reply_to", lambda message: len(message.reply_to)),
    ("send.headers", "max_fields"): ("header fields", lambda message: len(message.headers)),
    ("send.tags", "max_tags"): ("tags", lambda message: len(message.tags)),
    ("send.tags", "max_characters"): (
        "characters in a tag",
        lambda message: max(map(len, message.tags), default=0),
    ),
    ("send.metadata", "max_entries"): ("entries of metadata", lambda message: len(message.metadata)),
    ("send.metadata", "max_key_characters"): (
        "characters in a metadata key",
        lambda message: max(map(len, message.metadata), default=0),
    ),
    ("send.metadata", "max_value_characters"): (
        "characters in a metadata value",
        lambda message: max(map(len, message.metadata.values()), default=0),
    ),
}
"""Limits, beside those by which sends are split, that an entry of a table may have: what is counted, and how."""


def required(message: Message, *, broadcast: bool = False) -> tuple[str, ...]:
    """The names of the capabilities that ``message`` needs."""
    return ("send.broadcast" if broadcast else "send.transactional", *message.needs)


def required_by_delivery(delivery: Delivery) -> list[str]:
    """The names of the capabilities that one copy needs beyond what the message does."""
    names = []
    if delivery.merge is not None:
        names.append("send.merge")
    if delivery.headers:
        names.append("send.headers")
    if delivery.metadata:
        names.append("send.metadata")
    # As a rule the header shows whom the envelope names, and nobody else.
    alike = delivery.to == delivery.addresses
    if delivery.cc or (not alike and delivery.bcc):
        names.append("send.cc_bcc")
    shown = delivery.to if alike else (*delivery.addresses, *delivery.to)
    if not "".join([address.local for address in (*shown, *delivery.cc)]).isascii():
        names.append("send.international_addresses")
    return names


def required_by_batch(batch: Batch) -> tuple[str, ...]:
    """The names of the capabilities that ``batch`` needs as it is handed over.

    A single copy needs no kind of send: whether it is a transactional one or the last of a broadcast cannot be seen.
    """
    names = dict.fromkeys(batch.message.needs)
    if len(batch.deliveries) > 1:
        names["send.broadcast"] = None
    for delivery in batch.deliveries:
        for name in required_by_delivery(delivery):
            names[name] = None
    if batch.envelope_from.needs_smtputf8 or batch.sender.needs_smtputf8:
        names["send.international_addresses"] = None
    return tuple(names)


def missing(needed: Iterable[str], table: CapabilityTable) -> tuple[str, ...]:
    """Those of the needed capabilities that neither the table nor the core in its place offers."""
    return tuple(name for name in needed if not offered(name, table))


def offered(name: str, table: CapabilityTable) -> bool:
    """Whether a message that needs this capability can be sent, by the connector or by the core on its behalf."""
    level = table[name].level
    return level in (Level.YES, Level.CONDITIONAL) or (level is Level.HOST and name in EMULATED)


def exceeded(message: Message, table: CapabilityTable, *, now: datetime) -> Iterable[str]:
    """What of the message is more than the table's limits allow, each in a few words."""
    for (name, limit), (what, count) in LIMITS.items():
        most = table.limit(name, limit)
        if most is not None and (found := count(message)) > most:
            yield f"the message has {found} {what} and it takes at most {most}"
    furthest_s = table.limit("send.schedule", "max_ahead_s")
    if message.send_at is not None and furthest_s is not None:
        ahead_s = (message.send_at - now).total_seconds()
        if ahead_s > furthest_s:
            yield f"send_at is {ahead_s / 3600:.0f} hours ahead and it takes at most {furthest_s / 3600:.0f}"


def options_problem(message: Message, table: CapabilityTable) -> str | None:
    """What keeps the provider options of a message from this connector, or ``None``.

    Options of one provider say nothing to another. So a message that has any goes only where it says what is to be
    done with it, be it nothing.
    """
    if not message.provider_options:
        return None
    given = message.provider_options.get(table.connector)
    if given is None:
        return f"the message has provider_options, and none for {table.connector}"
    if given and not offered("send.provider_options", table):
        return "it takes no provider_options"
    return None


def estimated_size_bytes(message: Message) -> int:
    """About how many bytes the message has on the wire; never less than what a base64 part takes (RFC 2045)."""
    bodies = sum(len(body.encode()) for body in (message.text, message.html, message.amp) if body is not None)
    files = sum(attachment.size_bytes * 78 // 57 + 300 for attachment in message.attachments)
    return bodies + files + 1000
