"""An open connection of the host's configuration: what lives between ``connector_open`` and ``connector_close``."""

from __future__ import annotations

import asyncio

from genie_connect.contract import Runtime
from genie_connect.mime.signing import SigningPool
from genie_connect.model.address import Address
from genie_connect.model.capability import CapabilityTable
from genie_connect_smtp import tls
from genie_connect_smtp.capabilities import declared, effective
from genie_connect_smtp.connection import Connection
from genie_connect_smtp.dkim import signing_of
from genie_connect_smtp.extensions import Extensions
from genie_connect_smtp.ladder import Ladder
from genie_connect_smtp.limits import Limits
from genie_connect_smtp.opening import Opening, Place
from genie_connect_smtp.pace import Pace
from genie_connect_smtp.pool import Pool
from genie_connect_smtp.resolve import Resolver
from genie_connect_smtp.settings import SmtpSettings
from genie_connect_smtp.turns import Turns


class SmtpState:
    """Settings, pool, pace, what signs, and the capability table, effective once a server has answered EHLO."""

    def __init__(
        self, settings: SmtpSettings, runtime: Runtime, place: Place, signing: SigningPool | None = None
    ) -> None:
        self.settings = settings
        self.runtime = runtime
        self.capabilities: CapabilityTable = declared(settings)
        self.pace = Pace(
            rate_per_second=settings.rate_per_second,
            adaptive=settings.adaptive,
            max_connections=settings.max_connections,
            messages_per_connection=settings.messages_per_connection,
        )
        self.turns = Turns(self.pace)
        self.pool = Pool(settings, self._open, self.pace)
        self.signing = signing
        self._place = place

    @property
    def ladder(self) -> Ladder:
        """What is known of how far commands may run ahead on this server."""
        return self._place.ladder

    async def _open(self, limits: Limits) -> Connection:
        connection = await Opening(self._place, limits).run()
        self.learned(connection.extensions)
        return connection

    def learned(self, extensions: Extensions) -> None:
        """Take note of what the server offers."""
        self.capabilities = effective(self.settings, extensions)


async def open_state(settings: SmtpSettings, runtime: Runtime) -> SmtpState:
    """A state with nothing connected yet.

    Raises ``OSError`` where the CA file has become unreadable, and what ``signing_of`` raises.
    """
    signing = await signing_of(settings)
    return SmtpState(settings, runtime, await place_of(settings, runtime.default_from), signing)


async def place_of(settings: SmtpSettings, default_from: Address | None) -> Place:
    """What the connections will share. Raises ``OSError`` where the CA file cannot be read."""
    context = None
    if settings.security != "none":
        # Reading the system's authorities takes tens of milliseconds.
        context = await asyncio.to_thread(tls.client_context, settings.ca_file)
    name = settings.ehlo_name or (default_from.domain if default_from is not None else None)
    resolver = Resolver(settings.host, settings.effective_port)
    ladder = Ladder(
        settings.pipelining, window=settings.pipelining_window, window_bytes=settings.pipelining_window_bytes
    )
    return Place(settings=settings, ehlo_name=name, resolver=resolver, tls_context=context, ladder=ladder)
