"""What the comparison needs of a vendor's library, and what several of them write alike."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import attrs

from genie_connect.http.fake import Request
from genie_connect.model.address import Address
from genie_connect.model.attachment import Attachment
from genie_connect.model.message import Message
from tests.contrib.providers.harness import SHOP, Provider


@attrs.frozen(kw_only=True)
class Library:
    """A vendor's library: ``send`` has it send a message, or gives the body that it would post.

    ``send_all`` has it send several in one request, where the vendor has one for them. ``client`` makes, for a URL,
    what both are given; the URL itself where there is nothing to keep open. ``least`` is how many of the messages it
    has to be compared on. ``unlike`` are messages that it sends otherwise, and why. ``ours`` takes away what our
    connector writes beside the message; ``answer`` is one that the library understands, and ``answer_to_all`` one to
    several messages.
    """

    provider: Provider
    send: Callable[[Any, Message], Any]
    send_all: Callable[[Any, Sequence[Message]], Any] | None = None
    client: Callable[[str], AbstractContextManager[Any]] = nullcontext
    least: int = 30
    unlike: Mapping[str, str] = attrs.field(factory=dict)
    read: Callable[[Request], Any] = lambda request: json.loads(request.content)
    ours: Callable[[Any], Any] = lambda body: body
    answer: Any = attrs.field(factory=lambda: {"id": "1"})
    answer_to_all: Any = None
    headers: tuple[str, ...] = ("authorization", "content-type")


def files(message: Message) -> list[tuple[Attachment, str]]:
    """The attachments, with their content in base64."""
    return [(each, base64.b64encode(each.read()).decode()) for each in message.attachments]


def sender(message: Message) -> Address:
    """The From that a batch of this message has."""
    return message.from_ or SHOP


def mailboxes(addresses: Iterable[Address]) -> list[str]:
    """``Ada <ada@example.com>``, one by one."""
    return [str(each) for each in addresses]


def given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Those that hold something."""
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}
