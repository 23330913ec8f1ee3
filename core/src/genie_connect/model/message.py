"""What is to be said."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

import attrs

from genie_connect.errors import Problem, ValidationError
from genie_connect.model import text
from genie_connect.model.address import Address, AddressesLike, AddressLike, addresses
from genie_connect.model.attachment import Attachment
from genie_connect.model.frozen import EMPTY, FrozenMap
from genie_connect.model.headers import header_map
from genie_connect.model.plain_data import frozen_object
from genie_connect.model.provider_template import ProviderTemplate
from genie_connect.model.validation import attempt, each, settle

MAX_TAGS = 50
MAX_METADATA = 50
_TAG = re.compile(r"[^\s,;][^,;]*\Z")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}\Z")
_CID_REFERENCE = re.compile(r"""\bcid:([^"'\s>)]+)""")


class Purpose(StrEnum):
    """Why a message is sent: an unsubscribe stops marketing, and nothing else."""

    TRANSACTIONAL = "transactional"
    MARKETING = "marketing"


def _optional_address(value: AddressLike | None) -> Address | None:
    return attempt(lambda given: None if given is None else Address.parse(given), value)


def _address_list(value: AddressesLike) -> tuple[Address, ...]:
    return attempt(addresses, value)


def _line(value: str) -> str:
    return attempt(text.one_line, value)


def _body(value: str | None) -> str | None:
    return attempt(lambda given: None if given is None else text.body_text(given), value)


def _attachments(value: Iterable[Attachment] | None) -> tuple[Attachment, ...]:
    return attempt(lambda given: each(_attachment, given, noun="an Attachment"), value)


def _attachment(value: object) -> Attachment:
    if not isinstance(value, Attachment):
        raise TypeError
    return value


def _headers(value: Mapping[str, str] | Iterable[tuple[str, str]] | None) -> FrozenMap[str]:
    return attempt(header_map, value)


def _tags(value: Iterable[str] | None) -> tuple[str, ...]:
    return attempt(_tag_list, value)


def _tag_list(value: Iterable[str] | None) -> tuple[str, ...]:
    tags = tuple(dict.fromkeys(each(_tag, value, noun="text")))
    if len(tags) > MAX_TAGS:
        raise ValidationError.single("", f"has {len(tags)} tags; the most is {MAX_TAGS}")
    return tags


def _tag(value: object) -> str:
    tag = text.one_line(value, limit=128)
    if not _TAG.match(tag) or tag != tag.strip():
        raise ValidationError.single("", f"{tag!r} is not a tag: no comma or semicolon, no blank at an end")
    return tag


def is_key(name: object) -> bool:
    """Whether metadata and merge data may have an entry of that name."""
    return isinstance(name, str) and _KEY.match(name) is not None


def string_map(value: Mapping[str, Any] | None) -> FrozenMap[str]:
    """Metadata: plain keys to one-line text, every problem under its key. Numbers become text."""
    if value is None:
        return EMPTY
    if not isinstance(value, Mapping):
        raise ValidationError.single("", f"must map names to text, not {type(value).__name__}")
    problems: list[Problem] = []
    checked: dict[str, str] = {}
    for key, item in value.items():
        path = f"[{str(key)[:80]!r}]"
        if not is_key(key):
            fix = "a letter, then letters, digits, _ . or -, at most 64 characters"
            problems.append(Problem(path, "is not a metadata key", fix))
            continue
        if isinstance(item, int | float) and not isinstance(item, bool):
            item = str(item)
        try:
            checked[key] = text.one_line(item)
        except ValidationError as error:
            problems.extend(error.under(path))
    if len(checked) > MAX_METADATA:
        problems.append(Problem("", f"has {len(checked)} entries; the most is {MAX_METADATA}"))
    if problems:
        raise ValidationError(problems)
    return FrozenMap(checked)


def _metadata(value: Mapping[str, Any] | None) -> FrozenMap[str]:
    return attempt(string_map, value)


def _purpose(value: Purpose | str) -> Purpose:
    return attempt(_checked_purpose, value)


def _checked_purpose(value: Purpose | str) -> Purpose:
    try:
        return Purpose(value)
    except ValueError:
        choices = " or ".join(Purpose)
        raise ValidationError.single("", f"{value!r} is not a purpose", f"use {choices}") from None


def _to_template(value: ProviderTemplate | Mapping[str, Any] | None) -> ProviderTemplate | None:
    return attempt(_template, value)


def _template(value: object) -> ProviderTemplate | None:
    if value is None or isinstance(value, ProviderTemplate):
        return value
    raise ValidationError.single("", f"must be a ProviderTemplate, not {type(value).__name__}")


def _to_moment(value: datetime | None) -> datetime | None:
    return attempt(_moment, value)


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise ValidationError.single("", f"must be a time, not {type(value).__name__}")
    if value.tzinfo is None:
        raise ValidationError.single("", "has no time zone", "give the time in UTC")
    return value.astimezone(UTC)


def _to_switch(value: bool | None) -> bool | None:
    return attempt(_switch, value)


def _switch(value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise ValidationError.single("", f"must be true or false, not {type(value).__name__}", "or leave it out")


def _to_options(value: Mapping[str, Mapping[str, Any]] | None) -> FrozenMap[FrozenMap[Any]]:
    return attempt(_options, value)


def _options(value: Mapping[str, Mapping[str, Any]] | None) -> FrozenMap[FrozenMap[Any]]:
    options = frozen_object(value)
    problems = [
        Problem(f"[{name!r}]", "must be an object", "give the options of each connector under its id")
        for name, given in options.items()
        if not isinstance(given, FrozenMap)
    ]
    if problems:
        raise ValidationError(problems)
    return options


@attrs.frozen(kw_only=True, repr=False)
class Message:
    """A message: sender, recipients, subject, bodies, files, and what is kept about it.

    Without ``from_`` the connection's default From is used. ``envelope_from`` is where bounces go (RFC 5321
    reverse-path); without it they go to the From address. ``tags`` and ``metadata`` come back with events.

    ``amp`` is the AMP form of the HTML. ``template`` takes the place of the bodies. ``send_at`` is when the provider is
    to send. ``track_opens`` and ``track_clicks`` switch the provider's tracking on or off; ``None`` leaves it to the
    account. ``provider_options`` holds, by connector id, what is laid over that connector's request last; a message
    that has any goes only by connectors that it names, be it with an empty object.

    Raises ``ValidationError`` with every problem found.
    """

    from_: Address | None = attrs.field(default=None, converter=_optional_address)
    to: tuple[Address, ...] = attrs.field(default=(), converter=_address_list)
    cc: tuple[Address, ...] = attrs.field(default=(), converter=_address_list)
    bcc: tuple[Address, ...] = attrs.field(default=(), converter=_address_list)
    reply_to: tuple[Address, ...] = attrs.field(default=(), converter=_address_list)
    envelope_from: Address | None = attrs.field(default=None, converter=_optional_address)
    subject: str = attrs.field(default="", converter=_line)
    text: str | None = attrs.field(default=None, converter=_body)
    html: str | None = attrs.field(default=None, converter=_body)
    attachments: tuple[Attachment, ...] = attrs.field(default=(), converter=_attachments)
    headers: FrozenMap[str] = attrs.field(default=EMPTY, converter=_headers)
    tags: tuple[str, ...] = attrs.field(default=(), converter=_tags)
    metadata: FrozenMap[str] = attrs.field(default=EMPTY, converter=_metadata)
    purpose: Purpose = attrs.field(default=Purpose.TRANSACTIONAL, converter=_purpose)
    amp: str | None = attrs.field(default=None, converter=_body)
    template: ProviderTemplate | None = attrs.field(default=None, converter=_to_template)
    send_at: datetime | None = attrs.field(default=None, converter=_to_moment)
    track_opens: bool | None = attrs.field(default=None, converter=_to_switch)
    track_clicks: bool | None = attrs.field(default=None, converter=_to_switch)
    provider_options: FrozenMap[FrozenMap[Any]] = attrs.field(default=EMPTY, converter=_to_options)

    def __attrs_post_init__(self) -> None:
        settle(self, self._rules)

    def _rules(self) -> Iterable[Problem]:
        bodies = self.text is not None or self.html is not None
        if not bodies and not self.attachments and self.template is None:
            yield Problem("text", "there is nothing to send", "give text, html or an attachment")
        if self.amp is not None and not bodies:
            yield Problem("amp", "stands alone, and most readers show no AMP", "give html or text as well")
        if self.template is not None and (bodies or self.amp is not None):
            yield Problem("template", "stands beside bodies, which it has itself", "leave text, html and amp out")
        referenced = set(_CID_REFERENCE.findall(self.html or ""))
        ids = [attachment.content_id for attachment in self.attachments if attachment.content_id]
        for content_id in sorted({given for given in ids if ids.count(given) > 1}):
            yield Problem("attachments", f"two inline images have the Content-ID {content_id!r}", "give each its own")
        if ids and self.html is None and self.template is None:
            yield Problem("attachments", "an inline image needs an HTML body that shows it", "give html")
        for content_id in sorted(referenced - set(ids)):
            fix = f"attach it with content_id={content_id!r}"
            yield Problem("html", f"shows the image cid:{content_id}, which is not attached", fix)

    @property
    def recipients(self) -> tuple[Address, ...]:
        """Everybody it goes to: to, cc and bcc, each mailbox once."""
        unique = {address.key: address for address in reversed((*self.to, *self.cc, *self.bcc))}
        return tuple(reversed(unique.values()))

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """The names of the capabilities that a connection must have to carry what is in it."""
        international = any(address.needs_smtputf8 for address in self._all_addresses())
        named = [name for name, needed in FEATURES.items() if needed(self)]
        return (*named, "send.international_addresses") if international else tuple(named)

    def _all_addresses(self) -> Iterable[Address]:
        yield from (*self.to, *self.cc, *self.bcc, *self.reply_to)
        yield from (address for address in (self.from_, self.envelope_from) if address is not None)

    @property
    def inline_images(self) -> tuple[Attachment, ...]:
        """The attachments that the HTML shows."""
        return tuple(attachment for attachment in self.attachments if attachment.inline)

    @property
    def files(self) -> tuple[Attachment, ...]:
        """The attachments that are listed as files."""
        return tuple(attachment for attachment in self.attachments if not attachment.inline)

    def __repr__(self) -> str:
        return f"Message(subject={self.subject!r}, recipients={len(self.recipients)})"


FEATURES: dict[str, Callable[[Message], bool]] = {
    "send.html": lambda message: message.html is not None,
    "send.attachments": lambda message: bool(message.files),
    "send.inline_images": lambda message: bool(message.inline_images),
    "send.cc_bcc": lambda message: bool(message.cc or message.bcc),
    "send.reply_to": lambda message: bool(message.reply_to),
    "send.headers": lambda message: bool(message.headers),
    "send.envelope_sender": lambda message: message.envelope_from is not None,
    "send.tags": lambda message: bool(message.tags),
    "send.metadata": lambda message: bool(message.metadata),
    "send.amp": lambda message: message.amp is not None,
    "send.templates": lambda message: message.template is not None,
    "send.schedule": lambda message: message.send_at is not None,
    "send.track_opens": lambda message: message.track_opens is not None,
    "send.track_clicks": lambda message: message.track_clicks is not None,
}
"""The capability that each feature of a message needs."""
