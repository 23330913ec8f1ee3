"""Whom a message goes to, and what is handed to a connector.

Only the suppression gate makes ``Cleared`` recipients, and only those can be put in a ``Delivery``: nothing else can
reach a connector.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import attrs

from genie_connect.model.address import Address, AddressLike
from genie_connect.model.frozen import EMPTY, FrozenMap
from genie_connect.model.headers import header_map
from genie_connect.model.message import Message, string_map
from genie_connect.model.validation import attempt, settle

GATE = object()
"""What the suppression gate shows to make a ``Cleared``. Nothing else in the code base may use it."""


@attrs.frozen(repr=False)
class Cleared:
    """A recipient that the suppression gate has let through. Made by the gate alone."""

    address: Address
    _made_by: object = attrs.field(eq=False)

    def __attrs_post_init__(self) -> None:
        if self._made_by is not GATE:
            raise TypeError("only the suppression gate clears recipients")

    def __repr__(self) -> str:
        return f"Cleared({self.address.email!r})"


def _address(value: AddressLike) -> Address:
    if type(value) is Address:
        return value
    return attempt(Address.parse, value)


def _merge(value: Mapping[str, Any] | None) -> FrozenMap[str]:
    if value is EMPTY:
        return EMPTY
    return attempt(string_map, value)


def _headers(value: Mapping[str, str] | Iterable[tuple[str, str]] | None) -> FrozenMap[str]:
    if value is EMPTY:
        return EMPTY
    return attempt(header_map, value)


@attrs.frozen(kw_only=True)
class Recipient:
    """One recipient of a broadcast, with what is that recipient's own. Raises ``ValidationError``."""

    address: Address = attrs.field(converter=_address)
    merge: FrozenMap[str] = attrs.field(default=EMPTY, converter=_merge)
    headers: FrozenMap[str] = attrs.field(default=EMPTY, converter=_headers)
    metadata: FrozenMap[str] = attrs.field(default=EMPTY, converter=_merge)

    def __attrs_post_init__(self) -> None:
        settle(self)


@attrs.frozen(kw_only=True)
class Delivery:
    """One copy of the message: what its headers show, and whom this attempt has to reach.

    ``to`` and ``cc`` stand in the headers; ``recipients`` is the envelope, which holds the bcc as well and, in a
    second attempt, leaves out whoever has an outcome already. ``message_id`` stands between angle brackets and is the
    same in every attempt. ``merge`` fills in the merge fields; without it (``None``) the text stands as it is.
    """

    message_id: str
    recipients: tuple[Cleared, ...]
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    merge: FrozenMap[str] | None = None
    headers: FrozenMap[str] = EMPTY
    metadata: FrozenMap[str] = EMPTY

    @cached_property
    def addresses(self) -> tuple[Address, ...]:
        """The envelope recipients."""
        return tuple([cleared.address for cleared in self.recipients])

    @property
    def bcc(self) -> tuple[Address, ...]:
        """Envelope recipients that no header shows."""
        if self.addresses == self.to:
            return ()
        shown = {address.key for address in (*self.to, *self.cc)}
        return tuple(address for address in self.addresses if address.key not in shown)


@attrs.frozen(kw_only=True)
class Batch:
    """A message, the From that this connection gives it, and the copies that are to leave."""

    message: Message
    sender: Address
    deliveries: tuple[Delivery, ...]

    @property
    def envelope_from(self) -> Address:
        """Where bounces go (RFC 5321 reverse-path)."""
        return self.message.envelope_from or self.sender

    @cached_property
    def recipients(self) -> tuple[Address, ...]:
        """Every envelope recipient of every copy."""
        return tuple(address for delivery in self.deliveries for address in delivery.addresses)


def new_message_id(sender: Address) -> str:
    """A Message-ID that nobody has used, in the sender's domain (RFC 5322 section 3.6.4)."""
    return f"<{time.time_ns():x}.{os.urandom(8).hex()}@{sender.domain}>"
