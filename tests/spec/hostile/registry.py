"""Every hostile connector by name, with the checks that it fails."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

PARTS = (
    "discovery",
    "settings",
    "capabilities",
    "carrying",
    "sending",
    "failures",
    "testing",
    "webhooks",
    "lifecycle",
    "safety",
    "smtp",
)

HOSTILE: dict[str, tuple[type[Any], tuple[str, ...]]] = {}
"""Every hostile connector by name, with the checks that it fails."""


def fails(*checks: str) -> Callable[[type[Any]], type[Any]]:
    """Enter a hostile connector."""

    def enter(cls: type[Any]) -> type[Any]:
        if cls.__name__ in HOSTILE:
            raise ValueError(f"two hostile connectors are called {cls.__name__}")
        HOSTILE[cls.__name__] = (cls, checks)
        return cls

    return enter


def hostile() -> dict[str, tuple[type[Any], tuple[str, ...]]]:
    """All of them."""
    for part in PARTS:
        import_module(f"tests.spec.hostile.{part}")
    return HOSTILE
