"""Finding connectors among the installed packages, each loaded alone.

pluggy's own loader ends at the first package that cannot be imported, and passes over a second one with the same name
in silence. Here every entry point is tried by itself; what fails is kept with package, stage and reason.
"""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import pluggy

from genie_connect.contract import API_MAJOR, API_MINOR, ENTRY_POINT_GROUP, ConnectorInfo
from genie_connect.hookspecs import PROJECT, REQUIRED_HOOKS, ConnectorSpec
from genie_connect.model.schema import json_schema
from genie_connect.model.settings import is_settings
from genie_connect.registry.isolation import called, explained

if TYPE_CHECKING:
    import importlib_metadata

_CONTRIB = (
    "sandbox resend ses sendgrid mailgun postmark mailtrap brevo mailersend mailjet "
    "sparkpost mandrill ahasend azure cloudflare msgraph gmail postal file maildir"
)
FIRST_PARTY = {"smtp": "genie-connect-smtp", **dict.fromkeys(_CONTRIB.split(), "genie-connect-contrib")}
"""Ids that belong to our own packages, which no other may offer."""
_GROUP = re.compile(r"genie_connect\.connectors\.v[0-9]{1,4}\Z")
_ID = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z")
SAFE_MODE = "GENIE_CONNECT_SAFE_MODE"
"""Environment variable: when set to anything but 0, only our own packages are imported."""
ALLOW = "GENIE_CONNECT_CONNECTORS"
"""Environment variable: the ids that may be imported, separated by commas."""


@attrs.frozen(kw_only=True)
class Failure:
    """A connector that is installed and cannot be used.

    ``stage`` is how far it came: ``allow`` (not wanted), ``name`` (its id is taken), ``import``, ``hooks``, ``info``,
    ``api`` (made for another version).
    """

    connector: str
    distribution: str
    version: str
    stage: str
    reason: str
    hint: str = ""
    traceback: str = ""


@attrs.frozen(kw_only=True)
class Loaded:
    """A connector that passed every check, alone in its plug-in manager."""

    manager: pluggy.PluginManager
    info: ConnectorInfo
    distribution: str
    version: str


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


def installed() -> tuple[EntryPoint, ...]:
    """The entry points of all installed connectors, stale duplicates of one package removed."""
    # Imported where it is used, once in a process: it is a good part of the core's start.
    import importlib_metadata

    try:
        found: Iterable[EntryPoint] = [
            point for point in importlib_metadata.entry_points() if _GROUP.match(point.group)
        ]
    except Exception:  # noqa: BLE001  # one damaged package; find out which
        found = _one_by_one(importlib_metadata.distributions())
    # Whose they are is asked for many times below, and each time the package's metadata would be parsed anew.
    found = _of_this_version([Known(point, *_package(point)) for point in found])
    return tuple({(point.name, point.value, _package(point)[0]): point for point in found}.values())


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


def _major(point: EntryPoint) -> int:
    """The major version of the contract that an entry point is for."""
    return int(getattr(point, "group", ENTRY_POINT_GROUP).rpartition(".v")[2])


def _of_this_version(points: Iterable[EntryPoint]) -> list[EntryPoint]:
    """Without those for another version whose package offers the same connector for this one too."""
    every = list(points)
    here = {(point.name, _package(point)[0]) for point in every if _major(point) == API_MAJOR}
    return [point for point in every if _major(point) == API_MAJOR or (point.name, _package(point)[0]) not in here]


def _one_by_one(distributions: Iterable[Any]) -> Iterator[EntryPoint]:
    seen: set[str] = set()
    for distribution in distributions:
        name = _canonical(_name_of(distribution))
        if name in seen:
            continue  # shadowed by one that stands earlier on the path
        seen.add(name)
        try:
            yield from [point for point in distribution.entry_points if _GROUP.match(point.group)]
        except Exception as error:  # noqa: BLE001
            if ENTRY_POINT_GROUP in (distribution.read_text("entry_points.txt") or ""):
                yield Unreadable(name, distribution, error)


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


def load_all(
    points: Iterable[EntryPoint], *, allow: Collection[str] | None = None, safe_mode: bool | None = None
) -> tuple[list[Loaded], list[Failure]]:
    """Load each connector that may be loaded. ``safe_mode`` defaults to the environment's.

    Where ``allow`` and the environment both hold an allow-list, a connector must be on both.
    """
    allow = _allowed_by_both(allow, _allowed_by_environment())
    safe_mode = os.environ.get(SAFE_MODE, "0") not in ("", "0") if safe_mode is None else safe_mode
    loaded: list[Loaded] = []
    failures: list[Failure] = []
    wanted: list[EntryPoint] = []
    for point in points:
        refusal = _refusal(point, allow, safe_mode)
        if refusal:
            failures.append(refusal)
        else:
            wanted.append(point)
    for point in wanted:
        rivals = sorted({_package(other)[0] for other in wanted if other.name == point.name and other is not point})
        result = _taken(point, rivals) if rivals else _load_one(point)
        if isinstance(result, Failure):
            failures.append(result)
        else:
            loaded.append(result)
    return loaded, failures


def examine(name: str, plugin: object, *, distribution: str = "", version: str = "") -> Loaded | Failure:
    """Check a plug-in object against the contract, without registering it anywhere."""
    failure = _Stage(name, distribution, version)
    if not _ID.match(name):
        return failure.at("name", f"{name!r:.80} is not a connector id", "use small letters, digits, - and _")
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(ConnectorSpec)
    try:
        called(manager.register, plugin, name)
        called(manager.check_pending)
    except pluggy.PluginValidationError as error:
        return failure.at("hooks", str(error).replace("\n", " "))
    except Exception as error:  # noqa: BLE001  # whatever a stranger's object does when it is looked at
        return failure.at("hooks", f"cannot be registered: {explained(error)}")
    missing = [hook for hook in REQUIRED_HOOKS if not getattr(manager.hook, hook).get_hookimpls()]
    if missing:
        return failure.at("hooks", f"does not implement {', '.join(missing)}", "mark the functions with @hookimpl")
    try:
        info = called(manager.hook.connector_info)
    except Exception as error:  # noqa: BLE001
        return failure.at("info", f"connector_info raised {explained(error)}", trace=True)
    wrong = _wrong_info(name, info)
    if wrong:
        return failure.at("info", wrong)
    if info.api > API_MINOR:
        return failure.at(
            "api",
            f"it needs version {API_MAJOR}.{info.api} of the connector contract; this host has {API_MAJOR}.{API_MINOR}",
            "upgrade genie-connect",
        )
    return Loaded(manager=manager, info=info, distribution=distribution, version=version)


def _load_one(point: EntryPoint) -> Loaded | Failure:
    distribution, version = _package(point)
    try:
        plugin = called(point.load)
    except Exception as error:  # noqa: BLE001
        failure = _Stage(point.name, distribution, version)
        return failure.at("import", explained(error), f"reinstall {distribution}", trace=True)
    return examine(point.name, plugin, distribution=distribution, version=version)


def _wrong_info(name: str, info: object) -> str:
    if type(info) is not ConnectorInfo:
        return f"connector_info returned {type(info).__name__}, not ConnectorInfo"
    if info.id != name:
        return f"calls itself {info.id!r}, and its entry point is {name!r}"
    if not is_settings(info.settings_class):
        return "its settings class is not made with @settings"
    try:
        called(json_schema, info.settings_class)
    except Exception as error:  # noqa: BLE001  # types are annotations, so a stranger's code too
        return f"its settings class has no schema: {explained(error)}"
    return ""


def _refusal(point: EntryPoint, allow: Collection[str] | None, safe_mode: bool) -> Failure | None:
    distribution, version = _package(point)
    failure = _Stage(point.name, distribution, version)
    major = _major(point)
    if major != API_MAJOR:
        made_for = f"it is made for version {major} of the connector contract; this host has {API_MAJOR}.{API_MINOR}"
        return failure.at("api", made_for, "upgrade genie-connect" if major > API_MAJOR else f"upgrade {distribution}")
    canonical = _canonical(distribution)
    owner = FIRST_PARTY.get(point.name)
    if owner is not None and canonical != owner:
        return failure.at("name", f"the id {point.name!r} belongs to {owner}", f"uninstall {distribution}")
    if safe_mode and canonical not in FIRST_PARTY.values():
        return failure.at("allow", "safe mode is on", f"unset {SAFE_MODE} to load it")
    if allow is not None and point.name not in allow:
        return failure.at("allow", "it is not on the allow-list", f"add {point.name!r} to the allow-list to load it")
    return None


def _taken(point: EntryPoint, rivals: list[str]) -> Failure:
    distribution, version = _package(point)
    others = ", ".join(rivals)
    return _Stage(point.name, distribution, version).at(
        "name", f"the id {point.name!r} is also offered by {others}", f"uninstall {distribution} or {others}"
    )


def _package(point: EntryPoint) -> tuple[str, str]:
    if isinstance(point, Known):
        return point.package, point.version
    if point.dist is None:
        return "", ""
    return _name_of(point.dist), _stated(point.dist, "version")


def _name_of(distribution: importlib_metadata.Distribution) -> str:
    return _stated(distribution, "name") or "a package without a name"


def _stated(distribution: importlib_metadata.Distribution, fact: str) -> str:
    """What a package states of itself, or nothing where its metadata is damaged."""
    try:
        return str(getattr(distribution, fact) or "")
    except Exception:  # noqa: BLE001
        return ""


def _canonical(name: str) -> str:
    """A package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _allowed_by_both(first: Collection[str] | None, second: Collection[str] | None) -> Collection[str] | None:
    if first is None or second is None:
        return second if first is None else first
    return frozenset(first) & frozenset(second)


def _allowed_by_environment() -> frozenset[str] | None:
    given = os.environ.get(ALLOW)
    if given is None:
        return None
    return frozenset(name.strip() for name in given.split(",") if name.strip())


@attrs.frozen
class _Stage:
    connector: str
    distribution: str
    version: str

    def at(self, stage: str, reason: str, hint: str = "", *, trace: bool = False) -> Failure:
        return Failure(
            connector=self.connector,
            distribution=self.distribution,
            version=self.version,
            stage=stage,
            reason=reason,
            hint=hint,
            traceback=traceback.format_exc() if trace else "",
        )
