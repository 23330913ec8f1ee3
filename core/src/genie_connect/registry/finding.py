"""Which connectors are installed, found without importing them and without reading more than has to be.

A machine has a thousand packages and a few connectors. Of each package the list of entry points is opened, which is a
small file; its metadata, which is a big one, only where a connector stands in the list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from genie_connect.contract import API_MAJOR, ENTRY_POINT_GROUP

if TYPE_CHECKING:
    import importlib_metadata

_STEM = "genie_connect.connectors.v"
_GROUP = re.compile(r"genie_connect\.connectors\.v[0-9]{1,4}\Z")
_LIST = "entry_points.txt"


class EntryPoint(Protocol):
    """The part of ``importlib_metadata.EntryPoint`` that loading needs."""

    @property
    def name(self) -> str:
        """The connector's id."""
        ...

    @property
    def value(self) -> str:
        """Where its plug-in is."""
        ...

    @property
    def dist(self) -> importlib_metadata.Distribution | None:
        """The package it comes with."""
        ...

    def load(self) -> object:
        """Import it."""
        ...


@attrs.frozen(eq=False)
class Known:
    """An entry point of which it is known already what package it comes with."""

    point: EntryPoint
    package: str
    version: str

    @property
    def name(self) -> str:
        """The connector's id."""
        return self.point.name

    @property
    def value(self) -> str:
        """Where its plug-in is."""
        return self.point.value

    @property
    def group(self) -> str:
        """The entry-point group."""
        return str(getattr(self.point, "group", ENTRY_POINT_GROUP))

    @property
    def dist(self) -> importlib_metadata.Distribution | None:
        """The package it comes with."""
        return self.point.dist

    def load(self) -> object:
        """Import it."""
        return self.point.load()


@attrs.frozen(eq=False)
class Unreadable:
    """Stands for the entry points of a package whose list of them is damaged. Its id is the package's name."""

    name: str
    dist: importlib_metadata.Distribution
    error: Exception
    value: str = ""

    def load(self) -> object:
        """Raise why it cannot be read."""
        raise self.error


def installed() -> tuple[EntryPoint, ...]:
    """The entry points of all installed connectors, stale copies of a package left out."""
    # Imported where it is used, once in a process: it is a good part of the core's start.
    import importlib_metadata

    points: list[Known] = []
    for distribution in importlib_metadata.distributions():
        listed = _listed(distribution)
        if _STEM in listed:
            package, version = _package(distribution)
            if not _is_shadowed(package, listed):
                points += [Known(point, package, version) for point in _points(distribution, package)]
    first: dict[tuple[str, str, str], EntryPoint] = {}
    for point in _of_this_version(points):
        first.setdefault((point.name, point.value, package_of(point)[0]), point)
    return tuple(first.values())


def package_of(point: EntryPoint) -> tuple[str, str]:
    """Name and version of the package that an entry point comes with; empty where it does not say."""
    if isinstance(point, Known):
        return point.package, point.version
    return ("", "") if point.dist is None else _package(point.dist)


def major_of(point: EntryPoint) -> int:
    """The major version of the contract that an entry point is for."""
    return int(getattr(point, "group", ENTRY_POINT_GROUP).rpartition(".v")[2])


def canonical(name: str) -> str:
    """A package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _listed(distribution: Any) -> str:
    """The list of entry points as it stands there, or nothing where there is none or nobody can read it."""
    try:
        return distribution.read_text(_LIST) or ""
    except Exception:  # noqa: BLE001  # one damaged package keeps nobody from finding the others
        return ""


def _is_shadowed(package: str, listed: str) -> bool:
    """Whether Python would import another copy of the package, which stands earlier on the path."""
    import importlib_metadata

    try:
        first = importlib_metadata.distribution(package)
    except Exception:  # noqa: BLE001  # its metadata do not say its name, so nothing is known to stand before it
        return False
    return _listed(first) != listed


def _points(distribution: Any, package: str) -> list[EntryPoint]:
    try:
        return [point for point in distribution.entry_points if _GROUP.match(point.group)]
    except Exception as error:  # noqa: BLE001
        return [Unreadable(canonical(package), distribution, error)]


def _of_this_version(points: Iterable[EntryPoint]) -> Iterator[EntryPoint]:
    """Without those for another version whose package offers the same connector for this one too."""
    every = list(points)
    here = {(point.name, package_of(point)[0]) for point in every if major_of(point) == API_MAJOR}
    for point in every:
        if major_of(point) == API_MAJOR or (point.name, package_of(point)[0]) not in here:
            yield point


def _package(distribution: Any) -> tuple[str, str]:
    return _stated(distribution, "name") or "a package without a name", _stated(distribution, "version")


def _stated(distribution: Any, fact: str) -> str:
    """What a package states of itself, or nothing where its metadata is damaged."""
    try:
        return str(getattr(distribution, fact) or "")
    except Exception:  # noqa: BLE001
        return ""
