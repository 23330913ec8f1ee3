"""What the sandbox provider takes, keeps and says, as JSON has it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs

from genie_connect.model.frozen import EMPTY, FrozenMap
from genie_connect.model.provider_template import ProviderTemplate
from genie_connect_contrib.sandbox.behaviour import Refusal


@attrs.frozen(kw_only=True)
class Mailbox:
    """An address as it is shown."""

    email: str
    name: str = ""


@attrs.frozen(kw_only=True)
class File:
    """An attachment, or with a ``content_id`` an inline image."""

    filename: str
    content_type: str
    content: bytes = attrs.field(repr=False)
    content_id: str | None = None


@attrs.frozen(kw_only=True)
class Copy:
    """One copy of a submitted message: what its headers show, and whom it goes to.

    With ``merge`` the message is a template, even where that is empty; without it the text stands as it is.
    """

    message_id: str
    recipients: tuple[str, ...]
    to: tuple[Mailbox, ...] = ()
    cc: tuple[Mailbox, ...] = ()
    merge: FrozenMap[str] | None = None
    headers: FrozenMap[str] = EMPTY
    metadata: FrozenMap[str] = EMPTY


@attrs.frozen(kw_only=True)
class Submission:
    """The body of POST /v1/messages."""

    from_: Mailbox
    envelope_from: str
    copies: tuple[Copy, ...]
    reply_to: tuple[Mailbox, ...] = ()
    subject: str = ""
    text: str | None = None
    html: str | None = None
    attachments: tuple[File, ...] = ()
    headers: FrozenMap[str] = EMPTY
    tags: tuple[str, ...] = ()
    metadata: FrozenMap[str] = EMPTY
    amp: str | None = None
    template: ProviderTemplate | None = None
    send_at: datetime | None = None
    track_opens: bool | None = None
    track_clicks: bool | None = None
    options: FrozenMap[Any] = EMPTY


@attrs.frozen(kw_only=True)
class SandboxMessage:
    """A copy that was kept, merge fields filled in. ``recipients`` are those it was accepted for.

    A ``template`` has the merge data of the copy laid over its own; there are no templates to fill in.
    """

    id: str
    message_id: str
    attempt: str | None
    received_at: datetime
    from_: Mailbox
    envelope_from: str
    recipients: tuple[str, ...]
    to: tuple[Mailbox, ...]
    cc: tuple[Mailbox, ...]
    bcc: tuple[str, ...]
    reply_to: tuple[Mailbox, ...]
    subject: str
    text: str | None
    html: str | None
    attachments: tuple[File, ...]
    headers: FrozenMap[str]
    tags: tuple[str, ...]
    metadata: FrozenMap[str]
    amp: str | None = None
    template: ProviderTemplate | None = None
    send_at: datetime | None = None
    track_opens: bool | None = None
    track_clicks: bool | None = None
    options: FrozenMap[Any] = EMPTY


@attrs.frozen(kw_only=True)
class Result:
    """What became of one recipient."""

    message_id: str
    recipient: str
    status: str
    id: str | None = None
    kind: Refusal | None = None
    code: int | None = None
    enhanced: str | None = None
    text: str = ""
