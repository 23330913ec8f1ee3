"""Which connectors are installed, found without importing them and without reading more than has to be.

A machine has a thousand packages and a few connectors. Of each package the list of entry points is opened, which is a
small file; its metadata, which is a big one, only where a connector stands in the list.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
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
    points: list[Known] = []
    for distribution in _with_connectors():
        package, version = _package(distribution)
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


def _with_connectors() -> Iterator[importlib_metadata.Distribution]:
    """The packages whose lists of entry points name our group, in the order of the path, the first of each name."""
    # Imported where it is used, once in a process: it is a good part of the core's start.
    import importlib_metadata

    seen: set[str] = set()
    for place in dict.fromkeys(sys.path):
        here: set[str] = set()
        for name, folder in _metadata_folders(place):
            here.add(name)
            if name not in seen and _is_listed(folder):
                yield importlib_metadata.Distribution.at(folder)
        # Two folders of one name in one place are what an upgrade left behind: which of them counts, their lists say.
        seen |= here
    for distribution in _elsewhere(importlib_metadata):
        name = canonical(_package(distribution)[0])
        if name not in seen:
            seen.add(name)
            yield distribution


def _metadata_folders(place: str) -> list[tuple[str, str]]:
    """The folders with metadata in a place on the path, each with the name of its package."""
    try:
        names = [name for name in os.listdir(place or ".") if name.endswith((".dist-info", ".egg-info"))]  # noqa: PTH208
    except OSError:
        return []
    return [(canonical(name.rpartition(".")[0].partition("-")[0]), os.path.join(place, name)) for name in names]  # noqa: PTH118


def _is_listed(folder: str) -> bool:
    # A Path for each of a thousand packages would cost more than reading them.
    try:
        with open(f"{folder}/{_LIST}", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return _STEM in file.read()
    except OSError:
        return False


def _elsewhere(importlib_metadata: Any) -> list[importlib_metadata.Distribution]:
    """The packages with connectors that are in no folder on the path: in archives and eggs, or with other finders."""
    archives = [place for place in sys.path if place.endswith(".egg") or os.path.isfile(place)]  # noqa: PTH113
    found = list(importlib_metadata.distributions(path=archives)) if archives else []
    for finder in sys.meta_path:
        if not (finder is PathFinder or isinstance(finder, importlib_metadata.MetadataPathFinder)):
            find = getattr(finder, "find_distributions", None)
            found += find(importlib_metadata.DistributionFinder.Context()) if find is not None else ()
    return [distribution for distribution in found if _STEM in _text(distribution, _LIST)]


def _text(distribution: Any, name: str) -> str:
    """A file of the metadata, or nothing where there is none or nobody can read it."""
    try:
        return distribution.read_text(name) or ""
    except Exception:  # noqa: BLE001  # one damaged package keeps nobody from finding the others
        return ""


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
    head = _head(distribution)
    if head is not None:
        return head.get(fact, "")
    try:
        return str(getattr(distribution, fact) or "")
    except Exception:  # noqa: BLE001
        return ""


def _head(distribution: Any) -> dict[str, str] | None:
    """The header fields of the metadata, read as text: parsing them as mail takes a hundred times as long."""
    if not hasattr(distribution, "read_text"):
        return None
    text = _text(distribution, "METADATA") or _text(distribution, "PKG-INFO")
    lines = text.partition("\n\n")[0].splitlines()
    fields = (line.partition(":") for line in lines if line[:1].isalpha())
    return {name.lower(): value.strip() for name, _, value in reversed(list(fields))}
