"""The header of a message of which most fields are the same in all copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from genie_connect.mime import header
from genie_connect.mime.composer import MIME_VERSION
from genie_connect.mime.gate import are_single_lines, check_header, check_message_id, check_wire
from genie_connect.mime.spliced_text import Slots
from genie_connect.model.address import Address
from genie_connect.model.batch import Delivery
from genie_connect.model.frozen import EMPTY
from genie_connect.model.headers import STRUCTURED
from genie_connect.model.merge import Segment, Template, has_fields
from genie_connect.model.message import Message

_MAX_LAYOUTS = 64

_NOBODY = "To: undisclosed-recipients:;\r\n"


class Copy(NamedTuple):
    """What makes the header of one copy its own."""

    delivery: Delivery
    values: Sequence[str]
    date: datetime


_Writer = Callable[[Copy], str]


class HeadSplicer:
    """Writes the header of each copy. Copies that have the same fields of their own share a layout."""

    def __init__(self, message: Message, sender: Address, template: Template, slots: Slots) -> None:
        self._sender = sender
        self._reply_to = message.reply_to
        self._smtputf8 = any(shown.needs_smtputf8 for shown in (sender, *message.reply_to))
        self._subject = _subject(template, slots)
        self._own = {name.lower(): (name, _own_field(name, template)) for name in template.headers}
        self._layouts: dict[tuple[bool, bool, tuple[str, ...]], _Layout] = {}
        self._dated: tuple[datetime | None, str] = (None, "")

    def head(self, copy: Copy, content_names: tuple[str, ...], content_head: bytes) -> tuple[bytes, bool]:
        """The header fields, those apart that describe the content and follow; and whether they need SMTPUTF8.

        ``content_head`` is what follows, with the blank line, or what it looks like. Raises ``UnsafeMessage``.
        """
        check_message_id(copy.delivery.message_id)
        return self._layout(copy.delivery).head(copy, content_names, content_head, smtputf8=self._smtputf8)

    def _layout(self, delivery: Delivery) -> _Layout:
        own = delivery.headers
        key = (bool(delivery.to), bool(delivery.cc), () if own is EMPTY else tuple(own))
        layout = self._layouts.get(key)
        if layout is None:
            layout = _Layout(self._fields(delivery))
            if len(self._layouts) < _MAX_LAYOUTS:
                self._layouts[key] = layout
        return layout

    def _fields(self, delivery: Delivery) -> list[tuple[str, str | _Writer]]:
        fields: list[tuple[str, str | _Writer]] = [("From", header.address_list("From", (self._sender,)))]
        if delivery.to:
            fields.append(("To", _to))
        if delivery.cc:
            fields.append(("Cc", _cc))
        if not delivery.to and not delivery.cc:
            fields.append(("To", _NOBODY))
        if self._reply_to:
            fields.append(("Reply-To", header.address_list("Reply-To", self._reply_to)))
        fields += [("Subject", self._subject), ("Date", self._date), ("Message-ID", _message_id)]
        own = self._own | {name.lower(): (name, _recipients_field(name)) for name in delivery.headers}
        return [*fields, *own.values(), MIME_VERSION]

    def _date(self, copy: Copy) -> str:
        # One batch has one date, so it is nearly always the last one again.
        date, field = self._dated
        if date is not copy.date:
            field = f"Date: {header.date(copy.date)}\r\n"
            self._dated = (copy.date, field)
        return field


class _Layout:
    """Fields in their order, those that are the same in all copies made one."""

    def __init__(self, fields: Sequence[tuple[str, str | _Writer]]) -> None:
        self._names = [name for name, field in fields if field != ""]
        same: list[list[str]] = [[]]
        self._writers: list[_Writer] = []
        for _, field in fields:
            if isinstance(field, str):
                same[-1].append(field)
            else:
                self._writers.append(field)
                same.append([])
        self._pattern = "%s".join(["".join(run).replace("%", "%%") for run in same])
        self._checked: set[tuple[str, ...]] = set()

    def head(
        self, copy: Copy, content_names: tuple[str, ...], content_head: bytes, *, smtputf8: bool
    ) -> tuple[bytes, bool]:
        own = tuple([write(copy) for write in self._writers])
        head = (self._pattern % own).encode()
        if content_names in self._checked and are_single_lines(own):
            return head, smtputf8  # where its own fields are ASCII a copy needs no more than all of them do
        # A subject that is nothing but a field may come out empty, and then there is none.
        names = [name for name in self._names if name != "Subject" or "" not in own]
        whole = head + content_head
        check_header(whole[:-2], (*names, *content_names))
        smtputf8 = smtputf8 or any(shown.needs_smtputf8 for shown in (*copy.delivery.to, *copy.delivery.cc))
        check_wire(whole, eight_bit=smtputf8)
        if "" not in own:
            self._checked.add(content_names)
        return head, smtputf8


def _to(copy: Copy) -> str:
    return header.address_list("To", copy.delivery.to)


def _cc(copy: Copy) -> str:
    return header.address_list("Cc", copy.delivery.cc)


def _message_id(copy: Copy) -> str:
    return f"Message-ID: {copy.delivery.message_id}\r\n"


def _subject(template: Template, slots: Slots) -> str | _Writer:
    if not has_fields(template.subject):
        subject = _text(template.subject)
        return header.unstructured("Subject", subject) if subject else ""
    filling = slots.filling(template.subject)

    def write(copy: Copy) -> str:
        subject = template.checked_subject(filling(copy.values))
        return header.unstructured("Subject", subject) if subject else ""

    return write


def _own_field(name: str, template: Template) -> str | _Writer:
    write_value = _writer_of(name)
    segments = template.headers[name]
    if not has_fields(segments):
        return write_value(name, _text(segments))
    # Its fields have no slots: a recipient with such a header field of their own needs no values for them.
    return lambda copy: write_value(name, template.header_of(name, copy.delivery.merge or EMPTY))


def _recipients_field(name: str) -> _Writer:
    write_value = _writer_of(name)
    return lambda copy: write_value(name, copy.delivery.headers[name])


def _writer_of(name: str) -> Callable[[str, str], str]:
    return header.kept if name.lower() in STRUCTURED else header.unstructured


def _text(segments: Sequence[Segment]) -> str:
    return "".join([segment for segment in segments if isinstance(segment, str)])
