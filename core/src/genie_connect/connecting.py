"""From the configuration to connections: those of the file, those of the store, and what is wrong with them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator

import attrs

from genie_connect.clock import Clock
from genie_connect.config import connection_settings
from genie_connect.delivery.connection import Connection, ConnectionConfig
from genie_connect.delivery.dispatch import Dispatcher
from genie_connect.delivery.limiter import Rooms
from genie_connect.delivery.observers import Observers
from genie_connect.errors import ConfigurationError, ConnectorUnavailable, ContractViolation, Problem, SettingsError
from genie_connect.registry import Registry
from genie_connect.registry.behind import reader_of

logger = logging.getLogger("genie_connect.host")


@attrs.frozen(kw_only=True)
class Connecting:
    """Makes connections. ``limiter`` gives one that is shared with other processes, where there is any."""

    registry: Registry
    clock: Clock
    limiter: Callable[[ConnectionConfig], Rooms | None]

    def make_all(self, configs: Iterable[ConnectionConfig], dispatcher: Dispatcher, observers: Observers) -> None:
        """Put them into the dispatcher. Raises ``ConfigurationError`` as ``Host.open`` does."""
        connections, unavailable = dispatcher.connections, dispatcher.unavailable
        problems: list[Problem] = []
        for config in configs:
            try:
                connections[config.name] = self._make(config)
            except SettingsError as error:
                problems.extend(error.under(f"connections.{config.name}.settings"))
            except (ConnectorUnavailable, ContractViolation) as error:
                unavailable[config.name] = error
        if problems or not connections:
            problems += [
                Problem(f"connections.{name}.connector", fault.message, fault.hint)
                for name, fault in unavailable.items()
            ]
        if problems:
            listed = "\n".join(f"  {problem}" for problem in problems)
            raise ConfigurationError(f"{len(problems)} problem(s) in the connections:\n{listed}", problems=problems)
        for name, fault in unavailable.items():
            # The others still work. Every plan says why this one does not.
            logger.error("the connection %s cannot be used: %s", name, fault.message)
            observers.notify("connection_degraded", connection=name, reason=fault.message, hint=fault.hint)

    def renew(
        self,
        configs: Iterable[ConnectionConfig],
        removed: Collection[str],
        dispatcher: Dispatcher,
        observers: Observers,
    ) -> list[Connection]:
        """Take away those whose connector is gone, and make those whose connector has come.

        Returns those taken away, still open: a send may be under way on them.
        """
        connections, unavailable = dispatcher.connections, dispatcher.unavailable
        gone = [connection for connection in connections.values() if connection.handle.id in removed]
        for connection in gone:
            del connections[connection.name]
            fault = ConnectorUnavailable(connection.handle.id, "its package was removed", hint="install it again")
            unavailable[connection.name] = fault
            observers.notify("connection_degraded", connection=connection.name, reason=fault.message, hint=fault.hint)
        for config in [each for each in configs if each.name in unavailable and each.connector not in removed]:
            try:
                connections[config.name] = self._make(config)
            except SettingsError as error:
                unavailable[config.name] = ConnectorUnavailable(config.connector, error.message)
            except (ConnectorUnavailable, ContractViolation) as error:
                unavailable[config.name] = error
            else:
                del unavailable[config.name]
                observers.notify("connection_recovered", connection=config.name)
        return gone

    def _make(self, config: ConnectionConfig) -> Connection:
        handle = self.registry[config.connector]
        settings = connection_settings(self.registry, config.connector, config.settings)
        reader = reader_of(self.registry, handle, settings)
        return Connection(config, handle, settings, self.clock, limiter=self.limiter(config), reader=reader)


def both(in_file: Iterable[ConnectionConfig], stored: Iterable[ConnectionConfig]) -> Iterator[ConnectionConfig]:
    """Those of the file, and those of the store that have other names."""
    named = set()
    for config in in_file:
        named.add(config.name)
        yield config
    for config in stored:
        if config.name in named:
            logger.warning("the connection %s is in the store too; that of the file is used", config.name)
        else:
            yield config
