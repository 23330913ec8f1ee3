"""What the scripted SMTP server keeps of every connection, for tests to look at."""

from __future__ import annotations

import asyncio

import attrs

from genie_connect_spec.smtp_channel import Channel


@attrs.frozen(kw_only=True)
class Command:
    """One command (or AUTH response) as it came, without its line end."""

    stage: str
    line: bytes
    tls: bool
    message: int
    pipelined: bool


@attrs.frozen(kw_only=True)
class HandedOver:
    """A message that came complete, end mark and all; `accepted` if the client was told so (or would have been).

    `code` is that of the answer, and 0 where there was none that a client could read.
    """

    number: int
    connection: int
    envelope_from: str
    recipients: tuple[str, ...]
    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")
    auth_user: str | None
    tls: bool
    accepted: bool
    code: int = 0


class ConnectionRecord:
    """One connection: every byte the client sent, its commands, and how it went.

    `wire` is everything as it crossed the network, `received_plain` what was said in clear, `received_tls` what was
    said inside TLS. `ended` is set when the server's end is closed; `error` then names what broke the connection, if
    anything did.
    """

    def __init__(self, index: int, channel: Channel) -> None:
        self.index = index
        self.commands: list[Command] = []
        self.auth_attempts = 0
        self.error: str | None = None
        self.ended = asyncio.Event()
        self._channel = channel

    @property
    def wire(self) -> bytes:
        """Every byte the client sent, as it crossed the network."""
        return bytes(self._channel.wire)

    @property
    def received_plain(self) -> bytes:
        """What the client said in clear."""
        return bytes(self._channel.received_plain)

    @property
    def received_tls(self) -> bytes:
        """What the client said inside TLS."""
        return bytes(self._channel.received_tls)

    @property
    def tls_version(self) -> str | None:
        """The TLS version agreed on, None without TLS."""
        return self._channel.tls_version

    def stages(self) -> list[str]:
        """Return the stages of the commands in order."""
        return [command.stage for command in self.commands]
