"""A plug-in manager that looks at no more of a plug-in than can be a hook."""

from __future__ import annotations

from types import FunctionType, MethodType, ModuleType
from typing import Any

import pluggy

_CAN_BE_A_HOOK = (FunctionType, MethodType, staticmethod, classmethod)


class ConnectorManager(pluggy.PluginManager):
    """Holds one connector.

    pluggy looks each attribute up in a way that runs no foreign code, which for fifty modules costs more than importing
    them. Of a module nothing but its functions can be a hook, and of nothing can a name of Python's own be one.
    """

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        """What marks an attribute as a hook, if anything does."""
        if name.startswith("__"):
            return None
        # No subclass of it: whatever such an object does when it is looked at, pluggy knows how to look.
        if type(plugin) is ModuleType and not isinstance(vars(plugin).get(name), _CAN_BE_A_HOOK):
            return None
        return super().parse_hookimpl_opts(plugin, name)

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        """What marks an attribute as the specification of a hook."""
        return None if name.startswith("__") else super().parse_hookspec_opts(module_or_class, name)
