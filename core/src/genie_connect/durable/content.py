"""Messages as the ledger keeps them: the JSON of the codec, compressed."""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import Final

import attrs

from genie_connect.delivery.merging import MergeCheck
from genie_connect.errors import StoreError, ValidationError
from genie_connect.model import known
from genie_connect.model.batch import Recipient
from genie_connect.model.codec import structure, unstructure, unstructure_said
from genie_connect.model.merge import template_of
from genie_connect.model.message import Message
from genie_connect.model.plan import Plan
from genie_connect.store.broadcasts import BroadcastRecord
from genie_connect.store.message_ids import MessageIds
from genie_connect.store.packing import Packed

_JSON_1: Final = b"\x01"
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_encode_in_order: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


def message_bytes(message: Message) -> bytes:
    """A message as a row keeps it, with the content of its files."""
    return _JSON_1 + zlib.compress(_encode(unstructure_said(message)).encode(), 1)


def message_of(row: bytes) -> Message:
    """The message of a row. Raises ``StoreError`` where it cannot be read."""
    if row[:1] != _JSON_1:
        raise StoreError("a message is kept in a form that this version does not know", hint="update genie-connect")
    try:
        return structure(Message, json.loads(zlib.decompress(row[1:])))
    except (zlib.error, ValueError, ValidationError):
        hint = "restore the store from a back-up"
        raise StoreError("a message in the store cannot be read", hint=hint) from None


class PlanText:
    """Plans as rows keep them. The next send's is nearly always the last one's."""

    def __init__(self) -> None:
        self._last: tuple[Plan, str] | None = None

    def of(self, plan: Plan) -> str:
        """The JSON of a plan."""
        if self._last is None or self._last[0] != plan:
            self._last = (plan, _encode(unstructure(plan)))
        return self._last[1]


def digest(row: bytes) -> bytes:
    """What an idempotency key stands for: the message of a row, however well it was compressed there.

    Other machines have another zlib, and the next version of one has it too. Headers, metadata and the like may stand
    in any order, as in messages that are equal: whoever makes one anew does not always keep it.
    """
    return hashlib.sha256(_encode_in_order(json.loads(zlib.decompress(row[1:]))).encode()).digest()


def packed(recipient: Recipient) -> Packed:
    """A recipient for the ledger."""
    return Packed(str(recipient.address), recipient.merge, recipient.headers, recipient.metadata)


def recipient_of(row: Packed) -> Recipient:
    """A recipient from the ledger."""
    return known.recipient_of(known.known_address(row.address), row.merge, row.headers, row.metadata)


@attrs.frozen(kw_only=True)
class BroadcastOptions:
    """What a broadcast was started with, as its row keeps it."""

    connection: str | None = None
    at_least_once: bool = False

    def to_json(self) -> str:
        """For the row."""
        return json.dumps(attrs.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> BroadcastOptions:
        """From the row; options of a later version are left out."""
        known = {field.name for field in attrs.fields(cls)}
        return cls(**{name: value for name, value in json.loads(text).items() if name in known})


@attrs.frozen(kw_only=True, eq=False)
class BroadcastContent:
    """All that the copies of a broadcast have in common. ``started`` is in seconds since 1970."""

    id: int
    started: float
    message: Message
    check: MergeCheck
    ids: MessageIds
    options: BroadcastOptions

    @classmethod
    def of(cls, record: BroadcastRecord) -> BroadcastContent:
        """From its row. Raises ``StoreError``."""
        message = message_of(record.message)
        return cls(
            id=record.id,
            started=record.started or record.created,
            message=message,
            check=MergeCheck(template_of(message)),
            ids=MessageIds(record.salt, record.sender_domain),
            options=BroadcastOptions.from_json(record.options),
        )
