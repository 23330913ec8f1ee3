"""The connectors of one host."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterable, Iterator

import attrs

from genie_connect.errors import ConnectorUnavailable
from genie_connect.registry.finding import EntryPoint, installed
from genie_connect.registry.handle import ConnectorHandle
from genie_connect.registry.loader import Failure, Loaded, examine, load_all


@attrs.frozen(kw_only=True)
class Changes:
    """What has changed since the registry was made, or last looked: ids of connectors."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    upgraded: tuple[str, ...] = ()
    """Another version is installed than the one in use, which stays in use until the process is started again."""


class Registry:
    """Handles by id, and what could not be loaded.

    ``strict`` raises at the first failure instead of keeping it; for development and CI.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self._strict = strict
        self._handles: dict[str, ConnectorHandle] = {}
        self._failures: list[Failure] = []
        self._installed: set[str] = set()
        self._allow: Collection[str] | None = None
        self._safe_mode: bool | None = None

    @classmethod
    def discover(
        cls,
        *,
        allow: Collection[str] | None = None,
        safe_mode: bool | None = None,
        strict: bool = False,
        entry_points: Iterable[EntryPoint] | None = None,
    ) -> Registry:
        """Load what is installed. Imports run in the calling thread; a host with a loop calls this in another."""
        registry = cls(strict=strict)
        registry._allow, registry._safe_mode = allow, safe_mode
        points = installed() if entry_points is None else entry_points
        loaded, failures = load_all(points, allow=allow, safe_mode=safe_mode)
        for failure in failures:
            registry._keep(failure)
        for connector in loaded:
            registry._accept(connector)
            registry._installed.add(connector.info.id)
        return registry

    def look_again(self, *, entry_points: Iterable[EntryPoint] | None = None) -> tuple[list[Loaded], list[Failure]]:
        """Load what is installed now, for ``renew``. It changes nothing, and may run in another thread."""
        # Python remembers what lies in its folders; a package that has just come is not among it.
        importlib.invalidate_caches()
        points = installed() if entry_points is None else entry_points
        return load_all(points, allow=self._allow, safe_mode=self._safe_mode)

    def renew(self, found: tuple[list[Loaded], list[Failure]]) -> Changes:
        """Take in what was found. Handles of connectors that are still there stay the same."""
        loaded, failures = found
        there = {connector.info.id: connector for connector in loaded}
        removed = [name for name in self._installed if name not in there]
        for name in removed:
            del self._handles[name]
        self._failures = []
        for failure in failures:
            self._keep(failure)
        added, upgraded = [], []
        for name, connector in there.items():
            if name not in self._handles:
                self._accept(connector)
                added.append(name)
            elif name in self._installed and connector.version != self._handles[name].version:
                # Its modules are the old ones still: Python imports a module once.
                upgraded.append(name)
        self._installed = {name for name in there if name in self._installed or name in added}
        return Changes(added=tuple(sorted(added)), removed=tuple(sorted(removed)), upgraded=tuple(sorted(upgraded)))

    def register(self, connector: str, plugin: object, *, distribution: str = "") -> ConnectorHandle:
        """Add a connector that is not installed as a package, as tests and hosts with their own do.

        Raises ``ConnectorUnavailable`` with the reason if it cannot be used.
        """
        if connector in self._handles:
            raise ConnectorUnavailable(connector, "the id is taken", hint="choose another id")
        result = examine(connector, plugin, distribution=distribution)
        if isinstance(result, Failure):
            raise ConnectorUnavailable(connector, f"{result.stage}: {result.reason}", hint=result.hint)
        return self._accept(result)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What is installed and cannot be used, with the reasons."""
        return tuple(self._failures)

    def __getitem__(self, connector: str) -> ConnectorHandle:
        handle = self._handles.get(connector)
        if handle is None:
            raise self._unavailable(connector)
        return handle

    def __iter__(self) -> Iterator[ConnectorHandle]:
        return iter(sorted(self._handles.values(), key=lambda handle: handle.id))

    def __contains__(self, connector: object) -> bool:
        return connector in self._handles

    def _accept(self, connector: Loaded) -> ConnectorHandle:
        handle = self._handles[connector.info.id] = ConnectorHandle(
            connector.manager,
            connector.info,
            distribution=connector.distribution,
            version=connector.version,
            strict=self._strict,
        )
        return handle

    def _keep(self, failure: Failure) -> None:
        if self._strict and failure.stage != "allow":
            raise ConnectorUnavailable(failure.connector, f"{failure.stage}: {failure.reason}", hint=failure.hint)
        self._failures.append(failure)

    def _unavailable(self, connector: str) -> ConnectorUnavailable:
        failed = [failure for failure in self._failures if failure.connector == connector]
        if failed:
            causes = "; ".join(f"{each.distribution or 'unknown package'}: {each.reason}" for each in failed)
            return ConnectorUnavailable(connector, causes, hint=failed[0].hint)
        import difflib  # only on the way to an error

        near = difflib.get_close_matches(connector, self._handles, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"install the package that brings the connector {connector!r}"
        return ConnectorUnavailable(connector, "no installed package offers it", hint=hint)
