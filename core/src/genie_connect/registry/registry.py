"""The connectors of one host."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from genie_connect.errors import ConnectorUnavailable
from genie_connect.registry.handle import ConnectorHandle
from genie_connect.registry.loader import EntryPoint, Failure, Loaded, examine, installed, load_all


class Registry:
    """Handles by id, and what could not be loaded.

    ``strict`` raises at the first failure instead of keeping it; for development and CI.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self._strict = strict
        self._handles: dict[str, ConnectorHandle] = {}
        self._failures: list[Failure] = []

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
        points = installed() if entry_points is None else entry_points
        loaded, failures = load_all(points, allow=allow, safe_mode=safe_mode)
        for failure in failures:
            registry._keep(failure)
        for connector in loaded:
            registry._accept(connector)
        return registry

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
