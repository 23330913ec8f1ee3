"""Choosing an engine by its URL: ``embedded:``, ``pgqueuer:``, ``nats://host:4222``, or one from another package."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import attrs

from genie_connect.engine.contract import Engine, Factory, Place
from genie_connect.errors import ConfigurationError
from genie_connect.registry.isolation import called, explained

ENTRY_POINT_GROUP: Final = "genie_connect.engines.v1"
"""Packages offer engines here: the entry point's name is the URL's scheme, its object a ``Factory``."""
DEFAULT_URL: Final = "embedded:"
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_EXAMPLES: Final = "use embedded:, pgqueuer: or nats://host:4222"


async def _nothing(place: Place) -> None:
    """For an engine that keeps nothing in the store."""


@attrs.frozen(kw_only=True)
class _Ours:
    """An engine that comes with the core. Both functions import what the extra brings."""

    factory: Factory
    extra: str = ""
    upgrade: Callable[[Place], Awaitable[None]] = _nothing


def _embedded(url: str, place: Place) -> Engine:
    from genie_connect.engine.embedded import EmbeddedEngine

    _bare(url)
    return EmbeddedEngine()


def _pgqueuer(url: str, place: Place) -> Engine:
    from genie_connect.engine.pgqueuer import PgQueuerEngine

    _bare(url)
    return PgQueuerEngine(place)


async def _pgqueuer_tables(place: Place) -> None:
    from genie_connect.engine.pgqueuer import upgrade_tables

    await upgrade_tables(place)


def _nats(url: str, place: Place) -> Engine:
    from genie_connect.engine.jetstream import Target
    from genie_connect.engine.nats import NatsEngine

    return NatsEngine(Target.of(url), place)


ENGINES: Final[Mapping[str, _Ours]] = {
    "embedded": _Ours(factory=_embedded),
    "pgqueuer": _Ours(factory=_pgqueuer, extra="pgqueuer", upgrade=_pgqueuer_tables),
    "nats": _Ours(factory=_nats, extra="nats"),
    "tls": _Ours(factory=_nats, extra="nats"),
}
"""By the scheme of the URL. ``tls`` is what NATS calls its own protocol over TLS."""


def open_engine(url: str, place: Place) -> Engine:
    """The engine of a URL, to be entered with ``async with``. Raises ``ConfigurationError``."""
    scheme = _scheme(url)
    ours = ENGINES.get(scheme)
    if ours is None:
        return _foreign(scheme)(url, place)
    try:
        return ours.factory(url, place)
    except ImportError as error:
        raise _missing(scheme, ours, error) from error


async def upgrade_engine(url: str, place: Place) -> None:
    """Bring up to date what an engine keeps in the store, if it keeps anything. May be called at any time.

    Raises ``ConfigurationError`` and ``EngineUnavailable``.
    """
    scheme = _scheme(url)
    ours = ENGINES.get(scheme)
    if ours is None:
        _foreign(scheme)
        return
    try:
        await ours.upgrade(place)
    except ImportError as error:
        raise _missing(scheme, ours, error) from error


def _scheme(url: str) -> str:
    found = _SCHEME.match(url)
    if found is None:
        # Not repeated: whatever it is, it may hold a password.
        raise ConfigurationError("engine.url: it names no engine", hint=_EXAMPLES)
    return found[1].lower()


def _bare(url: str) -> None:
    if url.partition(":")[2].strip("/"):
        raise ConfigurationError(
            f"engine.url: {_scheme(url)} takes nothing after its name", hint=f"write it as {_scheme(url)}:"
        )


def _missing(scheme: str, ours: _Ours, error: ImportError) -> ConfigurationError:
    return ConfigurationError(
        f"engine.url: the engine {scheme} needs a package that is not installed ({error.name})",
        hint=f"pip install 'genie-connect[{ours.extra}]'",
    )


def _foreign(scheme: str) -> Factory:
    # Imported where it is used: it is a good part of the core's start.
    import importlib_metadata

    points = list(importlib_metadata.entry_points(group=ENTRY_POINT_GROUP, name=scheme))
    packages = sorted({point.dist.name if point.dist else "a package" for point in points})
    if not points:
        raise ConfigurationError(
            f"engine.url: there is no engine {scheme!r}", hint=f"{_EXAMPLES}, or install its package"
        )
    if len(packages) > 1:
        names = " and ".join(packages)
        raise ConfigurationError(
            f"engine.url: the engine {scheme!r} is offered by {names}", hint=f"uninstall one of {names}"
        )
    try:
        factory: object = called(points[0].load)
    except Exception as error:
        raise ConfigurationError(
            f"engine.url: the engine {scheme!r} of {packages[0]} cannot be loaded: {explained(error)}",
            hint=f"reinstall {packages[0]}",
        ) from error
    if not callable(factory):
        raise ConfigurationError(
            f"engine.url: the entry point {scheme!r} of {packages[0]} is no factory", hint=f"upgrade {packages[0]}"
        )
    return factory
