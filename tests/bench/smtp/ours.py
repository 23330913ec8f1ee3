"""Which modes our connector offers, found out from its settings class."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin, get_type_hints

import attrs

from genie_connect.registry import ConnectorHandle

PIPELINING = "pipelining"
MODES: dict[str, dict[str, Any]] = {
    "auto": {PIPELINING: "auto"},
    "A": {PIPELINING: "off"},
    "B2": {PIPELINING: "envelope"},
    "B": {PIPELINING: "next"},
    "C1": {PIPELINING: "chunking", "window": 1},
    "C16": {PIPELINING: "chunking", "window": 16},
    "C64": {PIPELINING: "chunking", "window": 64},
}
"""Modes by the name they have in the tables. ``window`` is messages in flight, whatever the setting is called."""


class Unavailable(Exception):
    """The connector does not offer what is asked for; the text says why."""


def connection_settings(handle: ConnectorHandle, mode: dict[str, Any], **values: Any) -> dict[str, Any]:
    """Settings as plain data for that mode. Raises ``Unavailable``."""
    hints = get_type_hints(handle.info.settings_class)
    fields = [field.name for field in attrs.fields(handle.info.settings_class)]
    chosen = {"security": "none", "messages_per_connection": 10_000, "idle_timeout_s": 300, **values}
    wanted = mode.get(PIPELINING, "auto")
    if PIPELINING in fields:
        offered = _choices(hints[PIPELINING])
        if wanted not in offered:
            raise Unavailable(f"the setting {PIPELINING} does not offer {wanted!r}")
        chosen[PIPELINING] = wanted
    elif wanted not in ("off", "auto"):
        raise Unavailable(f"the connector has no setting {PIPELINING!r}: it knows one command at a time only")
    if "window" in mode:
        names = [name for name in fields if "window" in name and "bytes" not in name]
        if names:
            chosen[names[0]] = mode["window"]
        elif mode["window"] != 16:
            raise Unavailable("the connector has no setting for the window")
    return {name: value for name, value in chosen.items() if name in fields}


def _choices(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) is Literal:
        return get_args(hint)
    return tuple(choice for part in get_args(hint) for choice in _choices(part))
