"""What a connector says it supports.

Names are open dotted strings: a newer plug-in may use one that this version has not heard of. Those known here have a
title; the headline ones make the short table that operators see first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

import attrs

from genie_connect.model.frozen import EMPTY, FrozenMap


class Level(StrEnum):
    """How far a capability goes: ``host`` means the core does it on the connector's behalf."""

    YES = "yes"
    CONDITIONAL = "conditional"
    HOST = "host"
    NO = "no"


HEADLINES = {
    "send.transactional": "Transactional sends",
    "send.broadcast": "Broadcast sends",
    "send.attachments": "Attachments",
    "send.inline_images": "Inline images",
    "events.webhook": "Webhooks",
    "suppressions": "Suppressions",
}
"""The rows of the short table, in its order."""

TITLES = HEADLINES | {
    "send.html": "HTML bodies",
    "send.cc_bcc": "Cc and Bcc",
    "send.reply_to": "Reply-To",
    "send.headers": "Own header fields",
    "send.envelope_sender": "Own envelope sender (return path)",
    "send.international_addresses": "Non-ASCII addresses (SMTPUTF8)",
    "send.batch": "Several copies in one call",
    "send.merge": "Merge fields",
    "send.schedule": "Scheduled sends",
    "send.idempotency": "Idempotency keys",
    "send.tags": "Tags",
    "send.metadata": "Metadata",
    "send.track_opens": "Open tracking",
    "send.track_clicks": "Click tracking",
    "send.templates": "Provider templates",
    "send.amp": "AMP bodies",
    "send.provider_options": "Options of the provider's own",
    "events.signature": "Signed webhooks",
    "events.inbound": "Inbound mail",
    "lookup": "Look-up of unknown outcomes",
    "test.connection": "Connection test",
    "test.message": "Test message",
}
"""Every capability name of the registry with its title."""

_WORDS = {Level.YES: "Yes", Level.CONDITIONAL: "Yes", Level.HOST: "By the host", Level.NO: "No"}


def _limits(given: Mapping[str, int]) -> FrozenMap[int]:
    for name, limit in given.items():
        if type(limit) is not int or limit < 0:
            raise ValueError(f"the limit {name} is {limit!r}, not a whole number from 0 up")
    return FrozenMap(given)


@attrs.frozen(kw_only=True)
class Capability:
    """One capability: its level, limits by name (units in the names, as in ``max_message_bytes``), and a note.

    ``support`` is the text of the Support column where level and note do not make a good one. Raises ``ValueError``
    for a level or limit that is none.
    """

    name: str
    level: Level = attrs.field(converter=Level)
    note: str = ""
    limits: FrozenMap[int] = attrs.field(default=EMPTY, converter=_limits)
    support: str = ""

    @property
    def available(self) -> bool:
        """Whether a message that needs it can be sent, by the connector or by the core on its behalf."""
        return self.level is not Level.NO

    @property
    def title(self) -> str:
        """For people; the name itself where this version does not know it."""
        return TITLES.get(self.name, self.name)

    @property
    def text(self) -> str:
        """The Support column."""
        if self.support:
            return self.support
        return f"{_WORDS[self.level]}, {self.note}" if self.note else _WORDS[self.level]


def yes(name: str, note: str = "", *, support: str = "", **limits: int) -> Capability:
    """A capability the connector has."""
    return Capability(name=name, level=Level.YES, note=note, support=support, limits=FrozenMap(limits))


def conditional(name: str, note: str, *, support: str = "", **limits: int) -> Capability:
    """A capability that depends on the account, the server or a setting; the note says on what."""
    return Capability(name=name, level=Level.CONDITIONAL, note=note, support=support, limits=FrozenMap(limits))


def host(name: str, note: str = "", *, support: str = "") -> Capability:
    """Something the core does for the connector."""
    return Capability(name=name, level=Level.HOST, note=note, support=support)


def no(name: str, note: str = "") -> Capability:
    """A capability the connector does not have."""
    return Capability(name=name, level=Level.NO, note=note)


@attrs.frozen(kw_only=True)
class CapabilityTable:
    """All that a connector supports. What it does not list, it does not do.

    ``effective`` is set on the table of one connection whose server has been asked.
    """

    connector: str
    entries: tuple[Capability, ...] = ()
    effective: bool = False
    _by_name: dict[str, Capability] = attrs.field(init=False, repr=False, eq=False)
    _by_limit: dict[tuple[str, str], int] = attrs.field(init=False, repr=False, eq=False)

    @_by_name.default
    def _indexed(self) -> dict[str, Capability]:
        return {entry.name: entry for entry in self.entries}

    @_by_limit.default
    def _limited(self) -> dict[tuple[str, str], int]:
        return {(entry.name, limit): most for entry in self.entries for limit, most in entry.limits.items()}

    def __attrs_post_init__(self) -> None:
        names = [entry.name for entry in self.entries]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"capability {twice[0]!r} is listed twice")

    def __iter__(self) -> Iterator[Capability]:
        return iter(self.entries)

    def __getitem__(self, name: str) -> Capability:
        return self._by_name.get(name) or no(name)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def limit(self, name: str, limit: str) -> int | None:
        """A limit, or ``None`` where there is none."""
        return self._by_limit.get((name, limit))

    def replaced(self, entries: Iterable[Capability], *, effective: bool) -> CapabilityTable:
        """This table with some entries changed or added."""
        changed = {entry.name: entry for entry in entries}
        kept = [changed.pop(entry.name, entry) for entry in self.entries]
        return attrs.evolve(self, entries=(*kept, *changed.values()), effective=effective)

    def rows(self, *, full: bool = False) -> tuple[tuple[str, str], ...]:
        """Title and support of each row: the headline ones, or with ``full`` all."""
        if full:
            return tuple((entry.title, entry.text) for entry in self.entries)
        return tuple((title, self[name].text) for name, title in HEADLINES.items())

    def render(self, *, full: bool = False) -> str:
        """A Markdown table."""
        lines = ["| Capability | Support |", "|---|---|"]
        lines += [f"| {title} | {support} |" for title, support in self.rows(full=full)]
        return "\n".join(lines)
