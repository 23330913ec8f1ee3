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
        self._heard_by: dict[str, list[pluggy.HookImpl]] = {}
        self._look_around()

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
        self._look_around()

    def remove(self, observer: object) -> None:
        """Tell this object no more."""
        self._manager.unregister(observer)
        self._look_around()

    def notify(self, event: str, /, **facts: Any) -> None:
        """Call one hook of every observer that has it."""
        for implementation in self._heard_by[event]:
            try:
                implementation.function(*(facts[name] for name in implementation.argnames))
            except (Exception, SystemExit) as error:  # noqa: BLE001  # a stranger's code
                log_failure(logger, error, "observer %s failed in %s", implementation.plugin_name, event)

    def _look_around(self) -> None:
        # Kept, because this is asked for every recipient and mostly nobody listens. Made anew at each change, so that
        # whoever is being told meanwhile goes on with the old one.
        events = [name for name in vars(ObserverSpec) if not name.startswith("_")]
        self._heard_by = {event: getattr(self._manager.hook, event).get_hookimpls() for event in events}
