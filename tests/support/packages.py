"""Installed packages that are not: entry points as objects, and folders that look like site-packages."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

GROUP = "genie_connect.connectors.v1"

GOOD_MODULE = """
from genie_connect import (
    CapabilityTable, ConnectorInfo, Kind, Outcome, State, Status, Step, hookimpl, setting, settings
)
from genie_connect.model.capability import yes

@settings
class Settings:
    region: str = setting(title="Region", default="eu")

@hookimpl
def connector_info():
    return ConnectorInfo(id="NAME", title="NAME", kind=Kind.API, settings_class=Settings)

@hookimpl
def connector_capabilities():
    return CapabilityTable(connector="NAME", entries=(yes("send.transactional"),))

@hookimpl
async def connector_open():
    return None

@hookimpl
async def connector_send(batch):
    return [Outcome(recipient=address.email, state=State.ACCEPTED, stage="final") for address in batch.recipients]

@hookimpl
async def connector_test():
    yield Step(id="connect", title="Connect", status=Status.OK)

@hookimpl
async def connector_close():
    return None
"""
"""Source of a connector that accepts everything; ``NAME`` stands for its id."""


@attrs.frozen
class FakeDistribution:
    """The package an entry point comes with."""

    name: str
    version: str = "1.0"


@attrs.frozen(eq=False)
class FakeEntryPoint:
    """An entry point that loads what ``make`` gives. ``loads`` grows with each load."""

    name: str
    make: Callable[[], Any]
    dist: Any = None
    value: str = "somewhere:plugin"
    loads: list[str] = attrs.field(factory=list)

    def load(self) -> object:
        """Import it, so to say."""
        self.loads.append(self.name)
        return self.make()


def offered(name: str, plugin: object, *, package: str = "") -> FakeEntryPoint:
    """An entry point of a package that offers this plug-in object."""
    return FakeEntryPoint(name, lambda: plugin, FakeDistribution(package or f"genie-connect-{name}"))


def raising(name: str, error: BaseException, *, package: str = "") -> FakeEntryPoint:
    """An entry point whose import raises."""

    def fail() -> object:
        raise error

    return FakeEntryPoint(name, fail, FakeDistribution(package or f"genie-connect-{name}"))


def install(
    site: Path, package: str, *, module: str, source: str, connector: str = "", entry_points: str | None = None
) -> None:
    """Write a package with one module, and its metadata, into a folder that stands on ``sys.path``."""
    (site / f"{module}.py").write_text(textwrap.dedent(source).replace("NAME", connector or module), encoding="utf-8")
    metadata = site / f"{package.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
    listed = f"[{GROUP}]\n{connector or module} = {module}\n" if entry_points is None else entry_points
    (metadata / "entry_points.txt").write_text(listed, encoding="utf-8")


@contextmanager
def forgotten_after(folder: Path) -> Iterator[None]:
    """Forget what was imported from below a folder, and nothing else: a library imported anew has other classes."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        module = sys.modules[name]
        if isinstance(module, ModuleType) and str(getattr(module, "__file__", "")).startswith(str(folder)):
            del sys.modules[name]
    importlib.invalidate_caches()
