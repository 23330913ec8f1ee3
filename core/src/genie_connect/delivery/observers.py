"""Those who are told what happens. None of them can stop it."""

from __future__ import annotations

import inspect
import logging
from typing import Any

import pluggy

from genie_connect.hookspecs import PROJECT, ObserverSpec
from genie_connect.registry.isolation import log_failure

logger = logging.getLogger("genie_connect.observers")


class Observers:
    """A set of observers. Each is called alone; an exception is logged and ends with that observer."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(ObserverSpec)

    def add(self, observer: object) -> None:
        """Tell this object from now on. Its hooks are marked ``@hookimpl``.

        Raises ``pluggy.PluginValidationError`` for one that could never work: misspelt, or a coroutine function.
        """
        self._manager.register(observer)
        try:
            self._manager.check_pending()
            for caller in self._manager.get_hookcallers(observer) or ():
                if any(inspect.iscoroutinefunction(each.function) for each in caller.get_hookimpls()):
                    cause = f"{caller.name} is a coroutine function, and nobody awaits an observer"
                    raise pluggy.PluginValidationError(observer, cause)
        except pluggy.PluginValidationError:
            self._manager.unregister(observer)
            raise

    def remove(self, observer: object) -> None:
        """Tell this object no more."""
        self._manager.unregister(observer)

    def notify(self, event: str, **facts: Any) -> None:
        """Call one hook of every observer that has it."""
        for implementation in getattr(self._manager.hook, event).get_hookimpls():
            try:
                implementation.function(*(facts[name] for name in implementation.argnames))
            except (Exception, SystemExit) as error:  # noqa: BLE001  # a stranger's code
                log_failure(logger, error, "observer %s failed in %s", implementation.plugin_name, event)
