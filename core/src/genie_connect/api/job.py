"""A batch as a mapping to a provider's request wants it: texts filled in, files encoded, only whom to reach."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Any

import attrs

from genie_connect.contract import SendContext
from genie_connect.mime import Composer, composer_of
from genie_connect.mime.header import address_list
from genie_connect.model.address import Address
from genie_connect.model.batch import Batch, Delivery
from genie_connect.model.frozen import EMPTY, FrozenMap
from genie_connect.model.merge import Template, Texts, plain_texts, template_of
from genie_connect.model.message import Message
from genie_connect.model.plain_data import thawed


@attrs.frozen(kw_only=True)
class File:
    """An attachment with its content in base64; ``content_id`` for an image that the HTML shows."""

    filename: str
    content_type: str
    content: str = attrs.field(repr=False)
    content_id: str | None = None

    @property
    def inline(self) -> bool:
        """Whether the HTML shows it."""
        return self.content_id is not None

    @property
    def disposition(self) -> str:
        """``inline`` or ``attachment`` (RFC 2183)."""
        return "inline" if self.inline else "attachment"


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Copy:
    """One copy of the message.

    ``to``, ``cc`` and ``bcc`` are whom this call has to reach, and nobody else: a provider writes to whoever it is
    shown. ``own_headers``, ``own_metadata`` and ``merge`` are those of the copy alone. Texts raise ``ValidationError``
    where the merge data does not fit them.
    """

    index: int
    message_id: str
    to: tuple[Address, ...]
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()
    own_headers: FrozenMap[str] = EMPTY
    own_metadata: FrozenMap[str] = EMPTY
    merge: FrozenMap[str] | None = None
    _message: Message
    _template: Template | None = None

    @cached_property
    def recipients(self) -> tuple[Address, ...]:
        """Everybody the copy goes to."""
        return (*self.to, *self.cc, *self.bcc)

    @cached_property
    def texts(self) -> Texts:
        """Subject, bodies and the message's header fields, merge fields filled in."""
        if self._template is None:
            return plain_texts(self._message)
        return self._template.texts(self.merge or EMPTY, self.own_headers)

    @property
    def headers(self) -> dict[str, str]:
        """Header fields of the message and, in place of those of the same name, of the copy."""
        if not self.own_headers:
            return dict(self.texts.headers)
        replaced = {name.lower() for name in self.own_headers}
        kept = {name: value for name, value in self.texts.headers.items() if name.lower() not in replaced}
        return kept | dict(self.own_headers)

    @property
    def metadata(self) -> dict[str, str]:
        """Metadata of the message, with that of the copy over it."""
        return {**self._message.metadata, **self.own_metadata}

    @property
    def template_data(self) -> dict[str, Any]:
        """What the provider's template is filled in with: the message's data, with that of the copy over it."""
        template = self._message.template
        return {**(thawed(template.data) if template else {}), **(self.merge or {})}


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Job:
    """What is handed over in one ``connector_send``.

    ``options`` are the message's ``provider_options`` for this connector. ``idempotency_key`` is the same when the
    same copies are handed over again, ``attempt_id`` is not.
    """

    message: Message
    sender: Address
    copies: tuple[Copy, ...]
    options: Mapping[str, Any]
    attempt_id: str
    idempotency_key: str | None
    now: datetime

    @cached_property
    def files(self) -> tuple[File, ...]:
        """The attachments, read and encoded once for all copies.

        Raises ``OSError`` or ``ValidationError`` for a file that is no longer what it was.
        """
        return tuple(
            File(
                filename=attachment.filename,
                content_type=attachment.content_type,
                content=base64.b64encode(attachment.read()).decode("ascii"),
                content_id=attachment.content_id,
            )
            for attachment in self.message.attachments
        )

    def mime(self, copy: Copy, *, with_bcc: bool = True) -> bytes:
        """The copy as a whole message (RFC 5322), for a provider that takes such and reads the recipients out of it.

        So To, Cc and Bcc name whom the copy has to reach, and nobody else. The provider has to take Bcc out before it
        delivers (RFC 5322 section 3.6.3): give this to no other. One that is told the recipients besides gets none
        ``with_bcc``. Raises what ``files`` raises, and ``ValidationError``
        for merge data that does not fit.
        """
        delivery = Delivery(
            message_id=copy.message_id,
            recipients=(),
            to=copy.to,
            cc=copy.cc,
            merge=copy.merge,
            headers=copy.own_headers,
        )
        composed = self._composer(delivery, date=self.now)
        if copy.bcc and with_bcc:
            composed = composed.below(address_list("Bcc", copy.bcc).encode())
        return composed.as_bytes()

    @cached_property
    def _composer(self) -> Composer:
        batch = Batch(message=self.message, sender=self.sender, deliveries=())
        return composer_of(batch, copies=len(self.copies))

    @property
    def merging(self) -> bool:
        """Whether the copies differ in their texts."""
        return any(copy.merge is not None for copy in self.copies)

    def key(self, *copies: Copy, longest: int = 255) -> str | None:
        """The idempotency key of the call that carries ``copies``; all of them where none are named.

        The same whenever the same copies are handed over again, and another for others.
        """
        key = self.idempotency_key
        if key is None:
            return None
        if copies:
            ids = "\n".join(copy.message_id for copy in copies)
            key = f"{key}-{hashlib.sha256(ids.encode()).hexdigest()[:16]}"
        return key if len(key) <= longest else hashlib.sha256(key.encode()).hexdigest()[:longest]


def job_of(batch: Batch, context: SendContext, connector: str) -> Job:
    """The batch as ``connector`` is to send it. Raises ``ValidationError`` for braces that are no merge field."""
    message = batch.message
    merging = any(delivery.merge is not None for delivery in batch.deliveries)
    template = template_of(message) if merging else None
    return Job(
        message=message,
        sender=batch.sender,
        copies=tuple([_copy(index, each, message, template) for index, each in enumerate(batch.deliveries)]),
        options=thawed(message.provider_options.get(connector, EMPTY)),
        attempt_id=context.attempt_id,
        idempotency_key=context.idempotency_key,
        now=context.clock.now(),
    )


def _copy(index: int, delivery: Delivery, message: Message, template: Template | None) -> Copy:
    to, cc = delivery.to, delivery.cc
    if cc or delivery.addresses != to:
        # A later attempt leaves out those who have an outcome already, and the headers may still name them.
        reached = {address.key for address in delivery.addresses}
        shown = {address.key: address for address in reversed(to) if address.key in reached}
        copied = {address.key: address for address in reversed(cc) if address.key in reached - shown.keys()}
        to, cc = tuple(reversed(shown.values())), tuple(reversed(copied.values()))
    return Copy(
        index=index,
        message_id=delivery.message_id,
        to=to,
        cc=cc,
        bcc=delivery.bcc,
        own_headers=delivery.headers,
        own_metadata=delivery.metadata,
        merge=delivery.merge,
        message=message,
        template=template if delivery.merge is not None else None,
    )
