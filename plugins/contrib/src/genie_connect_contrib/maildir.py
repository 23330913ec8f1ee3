"""Messages in a Maildir (https://cr.yp.to/proto/maildir.html), which any mail reader opens.

Written into ``tmp``, flushed, moved to ``new``; one file for each recipient, as whoever delivers mail writes them, with
``Return-Path`` (RFC 5321 section 4.4) and ``Delivered-To`` (RFC 9228) on top. So nobody sees the blind copy of another.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from genie_connect.contract import ConnectorInfo, Kind
from genie_connect.model.address import Address
from genie_connect.model.settings import settings
from genie_connect_contrib.local.connector import FolderConnector, FolderSettings, FolderState, NewFile


@settings
class MaildirSettings(FolderSettings):
    """Settings of a connection that delivers into a Maildir."""


class Maildir(FolderConnector):
    """The connector."""

    info = ConnectorInfo(
        id="maildir",
        title="Maildir",
        kind=Kind.SMTP,
        settings_class=MaildirSettings,
        summary="Messages into a Maildir of this machine; nothing is sent.",
        quality="platinum",
    )
    line_end = b"\n"

    def folders(self, settings: FolderSettings) -> Sequence[Path]:
        """The three of a Maildir."""
        return tuple(settings.path / name for name in ("tmp", "new", "cur"))

    def files(
        self, state: FolderState, sender: Address, recipients: Sequence[Address], now: datetime
    ) -> Iterable[NewFile]:
        """One for each recipient, by names that no other process makes."""
        for address in recipients:
            name = _unique(next(state.numbers), now)
            yield NewFile(
                temporary=state.settings.path / "tmp" / name,
                final=state.settings.path / "new" / name,
                recipients=(address,),
                head=f"Return-Path: <{sender.email}>\r\nDelivered-To: {address.email}\r\n",
            )


def _unique(number: int, now: datetime) -> str:
    # The host's name may hold anything; these two would lead elsewhere, or begin the flags of a message that was read.
    host = socket.gethostname().replace("/", "\\057").replace(":", "\\072")
    return f"{int(now.timestamp())}.M{now.microsecond}P{os.getpid()}Q{number}R{os.urandom(8).hex()}.{host}"


connector = Maildir()
