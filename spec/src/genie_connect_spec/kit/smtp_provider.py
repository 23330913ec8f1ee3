"""The scripted SMTP server as a provider of the kit: in a thread of its own, its script changing as it runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self, Unpack

from genie_connect_spec.kit.behaviour import Behaviour
from genie_connect_spec.kit.provider import HandedOver, Happenings, ServerThread
from genie_connect_spec.smtp_record import Command, ConnectionRecord
from genie_connect_spec.smtp_record import HandedOver as Taken
from genie_connect_spec.smtp_script import (
    Action,
    Answer,
    Close,
    Decide,
    Garbage,
    Hang,
    Reset,
    Rule,
    Say,
    SayThen,
    Script,
    rules_of,
)
from genie_connect_spec.smtp_server import ScriptedSmtpOptions, ScriptedSmtpServer

# What each behaviour does at which stage; TRUNCATED says 250 without the end of its line.
_AT: Final[Mapping[Behaviour, Mapping[str, Action]]] = {
    Behaviour.SILENT: {"final": Hang()},
    Behaviour.CLOSED: {"final": Reset()},
    Behaviour.TRUNCATED: {"final": SayThen(b"25", Close())},
    Behaviour.GARBAGE: {"final": Garbage()},
    Behaviour.THROTTLED: {"mail": Say(b"451 4.7.1 too many messages, come back later\r\n")},
    Behaviour.UNAUTHORIZED: {"auth": Say(b"535 5.7.8 user name or password is wrong\r\n")},
    Behaviour.HASTY: {"final": SayThen(b"250 2.0.0 taken\r\n", Close())},
}
_EVERYWHERE: Final[Mapping[Behaviour, Mapping[str, Action]]] = {
    Behaviour.SILENT: {"ehlo": Hang()},
    Behaviour.CLOSED: {"ehlo": Close()},
    Behaviour.GARBAGE: {"ehlo": Garbage()},
}
_STAGES: Final = ("ehlo", "auth", "mail", "final")


class SmtpProvider:
    """The server, which takes any credentials unless it is told otherwise.

    Its options are those of ``ScriptedSmtpServer``.
    """

    def __init__(self, **options: Unpack[ScriptedSmtpOptions]) -> None:
        self._behaviour = Behaviour.NORMAL
        self._everywhere = False
        self._happenings = Happenings()
        self._thread = ServerThread("kit SMTP provider")
        self._usual = tuple(Rule(stage=stage, action=Decide(self._deciding(stage))) for stage in _STAGES)
        self._server = ScriptedSmtpServer(self._usual, **options)
        self.host = self._server.host
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.__enter__()
        self._thread.run(self._server.__aenter__())
        self.port = self._server.port
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.ExitStack() as stack:
            stack.push(self._thread.__exit__)
            self._thread.run(self._server.close())

    @property
    def ca_file(self) -> Path:
        """The authority of its certificate. Raises ``ValueError`` where it does not encrypt."""
        return self._server.ca_file

    @property
    def handed_over(self) -> list[HandedOver]:
        """The messages that came whole."""
        return [
            HandedOver(content=one.data, envelope_from=one.envelope_from, recipients=one.recipients)
            for one in list(self._server.handed_over)
        ]

    @property
    def commands(self) -> list[str]:
        """The stages of all commands of all connections."""
        return [command.stage for command in self.said]

    @property
    def said(self) -> list[Command]:
        """All commands of all connections, one connection after another."""
        return [command for connection in self.connections for command in list(connection.commands)]

    @property
    def connections(self) -> list[ConnectionRecord]:
        """What is known of each connection."""
        return list(self._server.connections)

    @property
    def taken(self) -> list[Taken]:
        """The messages that came whole, and how each was answered."""
        return list(self._server.handed_over)

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""
        return sum(not connection.ended.is_set() for connection in list(self._server.connections))

    def can(self, behaviour: Behaviour) -> bool:
        """Whether SMTP knows it: there is no 500 that leaves open whether it was taken, and no redirection."""
        return behaviour is Behaviour.NORMAL or behaviour in _AT

    def behave(self, behaviour: Behaviour = Behaviour.NORMAL, *, everywhere: bool = False) -> None:
        """Treat messages like this from now on, or with ``everywhere`` every greeting."""
        self._behaviour, self._everywhere = behaviour, everywhere
        self._server.follow(self._usual)

    def play(self, script: Script) -> None:
        """Follow this script until ``behave`` is called again."""
        self._server.follow((*rules_of(script), *self._usual))

    def forget(self) -> None:
        """Nothing was handed over so far, and nobody is connected."""
        if self._server.connections:
            self._thread.run(self._server.forget())

    async def received(self, count: int, timeout_s: float) -> None:
        """Return once so many messages came whole. Raises ``TimeoutError``."""
        await self._happenings.until(lambda: len(self.handed_over) >= count, timeout_s)

    async def deserted(self, timeout_s: float) -> None:
        """Return once no client is connected any more. Raises ``TimeoutError``."""
        await self._thread.settled()
        ended = self._thread.later(self._server.wait_until_idle(timeout_s))
        await asyncio.wrap_future(ended)

    def knows(self, thread: int) -> bool:
        """Whether this is the server's thread."""
        return thread == self._thread.ident

    def _deciding(self, stage: str) -> Callable[[ConnectionRecord], Action]:
        def decide(record: ConnectionRecord) -> Action:
            self._happenings.tell()
            table = _EVERYWHERE if self._everywhere else _AT
            chosen = table.get(self._behaviour) or _AT.get(self._behaviour, {})
            return chosen.get(stage, Answer())

        return decide
