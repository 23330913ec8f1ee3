"""Hostile connectors: what they do wrong before they are opened."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from genie_connect import (
    ConnectorInfo,
    Kind,
    hookimpl,
)
from tests.spec.hostile.honest import Honest, HonestSettings
from tests.spec.hostile.registry import fails
from tests.spec.hostile.spoiling import Info


@fails("GC-DISC-001", "GC-DISC-004")
class CannotClose(Honest):
    """Lacks a required hook."""

    connector_close = None


@fails("GC-DISC-001", "GC-DISC-005")
class Misspelt(Honest):
    """Has a hook that nobody calls."""

    @hookimpl
    async def connector_sned(self, state: Any) -> None:
        """Nobody calls it."""


@fails("GC-DISC-001", "GC-DISC-006")
class AsksForMore(Honest):
    """Wants an argument that there is not."""

    @hookimpl
    async def connector_close(self, state: Any, politely: bool) -> None:  # type: ignore[override]
        """Cannot be called."""


@fails("GC-DISC-001", "GC-DISC-007")
class OtherId(Info):
    """Calls itself something else."""

    facts = {"id": "another"}


@fails("GC-DISC-001", "GC-DISC-007")
class Exits(Honest):
    """Ends the program when it is asked what it is."""

    @hookimpl
    def connector_info(self) -> Any:
        """Goodbye."""
        sys.exit(3)


@fails("GC-DISC-001", "GC-DISC-008")
class Futuristic(Info):
    """Needs a contract that there is not yet."""

    facts = {"api": 7}


@fails("GC-DISC-009")
class Fickle(Honest):
    """Says something else each time."""

    @hookimpl
    def connector_info(self) -> Any:
        """Never the same."""
        summary = f"It, at {time.monotonic_ns()}."
        return ConnectorInfo(id="honest", title="Honest", kind=Kind.API, settings_class=HonestSettings, summary=summary)


@fails("GC-DISC-010")
class ReadsAFile(Honest):
    """Reads a file to say what it is."""

    @hookimpl
    def connector_info(self) -> Any:
        """With a look at the disk."""
        with Path(__file__).open(encoding="utf-8"):
            return Info().connector_info()


@fails("GC-DISC-011")
class Untitled(Info):
    """Has no title."""

    facts = {"title": ""}


@fails("GC-DISC-012")
class Wordless(Info):
    """Says nothing about itself."""

    facts = {"summary": ""}


@fails("GC-DISC-013")
class PlainDocs(Info):
    """Leads to a page that anybody on the way can change."""

    facts = {"docs_url": "http://example.com/docs"}


@fails("GC-DISC-014")
class Disguised(Info):
    """Calls HTTP SMTP."""

    facts = {"kind": Kind.SMTP}


@fails("GC-DISC-015")
class Prehistoric(Info):
    """Is made for a version that never was."""

    facts = {"api": -1}


@fails("GC-DISC-018")
class SyncClose(Honest):
    """Closes without async, by a future."""

    @hookimpl
    def connector_close(self, state: Any) -> Any:
        """Not a coroutine function."""
        return Honest.connector_close(self, state)


@fails("GC-DISC-022")
class Defaults(Honest):
    """Gives an argument a default."""

    @hookimpl
    def connector_capabilities(self, settings: Any = None) -> Any:
        """Might not see the settings."""
        return Honest.connector_capabilities(self, settings)


@fails("GC-DISC-016")
class OpensAtOnce(Honest):
    """Opens without async."""

    @hookimpl
    def connector_open(self, settings: Any, runtime: Any) -> Any:
        """Blocks."""


@fails("GC-DISC-017")
class SendsAtOnce(Honest):
    """Sends without async."""

    @hookimpl
    def connector_send(self, state: Any, batch: Any, context: Any) -> Any:
        """Blocks."""


@fails("GC-DISC-019")
class LooksUpAtOnce(Honest):
    """Looks up without async."""

    @hookimpl
    def connector_lookup(self, state: Any, attempt: Any) -> Any:
        """Blocks."""


@fails("GC-DISC-020")
class TestsWithoutYield(Honest):
    """Gives its steps in a list."""

    __test__ = False

    @hookimpl
    async def connector_test(self, settings: Any, context: Any) -> Any:
        """At the end."""
        return [step async for step in Honest.connector_test(self, settings, context)]


@fails("GC-DISC-021")
class ThinksAboutItsTable(Honest):
    """Says later what it can do."""

    @hookimpl
    async def connector_capabilities(self, settings: Any) -> Any:
        """To be awaited, by nobody."""
        return Honest.connector_capabilities(self, settings)
