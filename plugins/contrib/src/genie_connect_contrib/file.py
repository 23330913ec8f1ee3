"""Messages as files: one .eml for each copy, as it would go over the wire, below the envelope.

``X-Envelope-From`` and ``X-Envelope-To`` stand on top, one for each recipient: blind copies are in no other field.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from genie_connect.contract import ConnectorInfo, Kind
from genie_connect.model.address import Address
from genie_connect.model.settings import settings
from genie_connect_contrib.local.connector import FolderConnector, FolderSettings, FolderState, NewFile


@settings
class FileSettings(FolderSettings):
    """Settings of a connection that writes .eml files."""


class File(FolderConnector):
    """The connector."""

    info = ConnectorInfo(
        id="file",
        title="Files",
        kind=Kind.SMTP,
        settings_class=FileSettings,
        summary="Messages as .eml files in a folder of this machine; nothing is sent.",
        quality="platinum",
    )

    def folders(self, settings: FolderSettings) -> Sequence[Path]:
        """The one of the settings."""
        return (settings.path,)

    def files(
        self, state: FolderState, sender: Address, recipients: Sequence[Address], now: datetime
    ) -> Iterable[NewFile]:
        """One, by a name that sorts by time and holds nothing of the message."""
        folder, name = state.settings.path, f"{now:%Y%m%dT%H%M%S.%fZ}-{os.urandom(8).hex()}"
        lines = [f"X-Envelope-From: <{sender.email}>", *(f"X-Envelope-To: <{address.email}>" for address in recipients)]
        yield NewFile(
            temporary=folder / f".{name}.tmp",
            final=folder / f"{name}.eml",
            recipients=tuple(recipients),
            head="".join(f"{line}\r\n" for line in lines),
        )


connector = File()
