"""Telling that a connection is in trouble, while something goes on."""

from __future__ import annotations

import attrs

from genie_connect.cli.terminal import Terminal
from genie_connect.hookspecs import hookimpl


@attrs.frozen(eq=False)
class Degraded:
    """Says at once that a connection is in trouble, even where another one takes over; and no more until it works."""

    terminal: Terminal
    _told: set[str] = attrs.field(factory=set, init=False)

    @hookimpl
    def connection_degraded(self, connection: str, reason: str, hint: str) -> None:
        """It failed, and is left alone for a while."""
        if connection not in self._told:
            self._told.add(connection)
            self.terminal.say(f"warning: {connection}: {reason}" + (f" ({hint})" if hint else ""))

    @hookimpl
    def connection_recovered(self, connection: str) -> None:
        """It works again."""
        self._told.discard(connection)
