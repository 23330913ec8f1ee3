"""Loading connectors, each alone.

pluggy's own loader ends at the first package that cannot be imported, and passes over a second one with the same name
in silence. Here every entry point is tried by itself; what fails is kept with package, stage and reason.
"""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Collection, Iterable

import attrs
import pluggy

from genie_connect.contract import API_MAJOR, API_MINOR, ConnectorInfo
from genie_connect.hookspecs import PROJECT, REQUIRED_HOOKS, ConnectorSpec
from genie_connect.model.schema import json_schema
from genie_connect.model.settings import is_settings
from genie_connect.registry.finding import EntryPoint, canonical, major_of, package_of
from genie_connect.registry.isolation import called, explained
from genie_connect.registry.manager import ConnectorManager

_CONTRIB = (
    "sandbox resend ses sendgrid mailgun postmark mailtrap brevo mailersend mailjet "
    "sparkpost mandrill ahasend azure cloudflare msgraph gmail postal file maildir"
)
FIRST_PARTY = {"smtp": "genie-connect-smtp", **dict.fromkeys(_CONTRIB.split(), "genie-connect-contrib")}
"""Ids that belong to our own packages, which no other may offer."""
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
        rivals = sorted({package_of(other)[0] for other in wanted if other.name == point.name and other is not point})
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
    manager = ConnectorManager(PROJECT)
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
    distribution, version = package_of(point)
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
    distribution, version = package_of(point)
    failure = _Stage(point.name, distribution, version)
    major = major_of(point)
    if major != API_MAJOR:
        made_for = f"it is made for version {major} of the connector contract; this host has {API_MAJOR}.{API_MINOR}"
        return failure.at("api", made_for, "upgrade genie-connect" if major > API_MAJOR else f"upgrade {distribution}")
    package = canonical(distribution)
    owner = FIRST_PARTY.get(point.name)
    if owner is not None and package != owner:
        return failure.at("name", f"the id {point.name!r} belongs to {owner}", f"uninstall {distribution}")
    if safe_mode and package not in FIRST_PARTY.values():
        return failure.at("allow", "safe mode is on", f"unset {SAFE_MODE} to load it")
    if allow is not None and point.name not in allow:
        return failure.at("allow", "it is not on the allow-list", f"add {point.name!r} to the allow-list to load it")
    return None


def _taken(point: EntryPoint, rivals: list[str]) -> Failure:
    distribution, version = package_of(point)
    others = ", ".join(rivals)
    return _Stage(point.name, distribution, version).at(
        "name", f"the id {point.name!r} is also offered by {others}", f"uninstall {distribution} or {others}"
    )


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
