"""Webhooks of the provider behind a server: read by its own connector, for a connection of another one.

A settings class that has ``webhook_provider`` says so of its connections. What the named connector's parser needs, its
settings of the group ``webhooks``, then stand among the connection's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import attrs

from genie_connect.contract import WebhookRequest
from genie_connect.errors import ConnectorUnavailable, ContractViolation, Problem, SettingsError
from genie_connect.model.capability import Capability, CapabilityTable
from genie_connect.model.event import Event
from genie_connect.model.settings import WEBHOOKS, derived, in_group, lonely_predecessors

if TYPE_CHECKING:
    from genie_connect.registry.handle import ConnectorHandle
    from genie_connect.registry.registry import Registry

PROVIDER: Final = "webhook_provider"
_PARSE: Final = "connector_parse_webhook"


@attrs.frozen(kw_only=True)
class Reader:
    """Reads a connection's webhooks by another connector.

    ``settings`` are what that one's parser needs, ``entries`` its capabilities that are about events.
    """

    handle: ConnectorHandle
    settings: Any = attrs.field(repr=False)
    entries: tuple[Capability, ...]

    def read(self, request: WebhookRequest) -> tuple[Event, ...]:
        """The events of a webhook. Raises ``WebhookRejected``.

        A provider that knows a message by its Message-ID knows it by ours: it came by SMTP, with that in its header.
        """
        return tuple([_by_message_id(event) for event in self.handle.parse_webhook(self.settings, request)])

    def shown(self, table: CapabilityTable) -> CapabilityTable:
        """A connection's table, with what this one reads."""
        return table.replaced(self.entries, effective=table.effective)


def settings_class(registry: Registry, handle: ConnectorHandle, data: object) -> type[Any]:
    """The class that a connection's settings have: the connector's own, or with those of the provider behind it.

    Raises ``SettingsError`` where nobody can read that provider's webhooks.
    """
    own = handle.info.settings_class
    name = data.get(PROVIDER) if isinstance(data, Mapping) and PROVIDER in attrs.fields_dict(own) else None
    # Another type, and an empty text, is for the setting itself to refuse.
    if not isinstance(name, str) or not name:
        return own
    provider = _provider(registry, str(name)).info.settings_class
    return _with(own, provider)  # type: ignore[arg-type]  # classes can be hashed


def reader_of(registry: Registry, handle: ConnectorHandle, settings: Any) -> Reader | None:
    """Who reads the webhooks of a connection with these settings; ``None`` where its own connector does, or nobody."""
    name = getattr(settings, PROVIDER, None)
    if name is None or PROVIDER not in attrs.fields_dict(handle.info.settings_class):
        return None
    provider = _provider(registry, name)
    cls = _alone(provider.info.settings_class)  # type: ignore[arg-type]  # the same
    given = {field.name: getattr(settings, field.name) for field in attrs.fields(cls)}
    return Reader(handle=provider, settings=cls(**given), entries=tuple(_entries(provider)))


def read_by(registry: Registry, handle: ConnectorHandle, settings: Any) -> ConnectorHandle | None:
    """The connector that reads the webhooks of a connection with these settings; ``None`` where none are taken."""
    reader = reader_of(registry, handle, settings)
    if reader is not None:
        return reader.handle
    return handle if handle.has(_PARSE) and handle.capabilities(settings)["events.webhook"].available else None


def _provider(registry: Registry, name: str) -> ConnectorHandle:
    readers = ", ".join(each.id for each in registry if _can_read(each)) or "none; install one"
    try:
        provider = registry[name]
    except (ConnectorUnavailable, ContractViolation) as error:
        fix = f"{error.hint}; those that read webhooks are {readers}" if error.hint else f"use {readers}"
        raise _wrong(f"is {name!r}: {error.message}", fix) from None
    if not provider.has(_PARSE):
        raise _wrong(f"is {name!r}, which reads no webhooks", f"those that do are {readers}")
    if not _can_read(provider):
        cause = f"is {name!r}, whose parser needs settings that stand in no group {WEBHOOKS}"
        raise _wrong(cause, f"those that can be used so are {readers}")
    return provider


def _entries(provider: ConnectorHandle) -> Iterable[Capability]:
    for entry in provider.capabilities():
        if entry.name.startswith("events.") and entry.available:
            said = f"of {provider.info.title}" + (f", {entry.note}" if entry.note else "")
            yield attrs.evolve(entry, note=said, support="")


def _wrong(cause: str, fix: str) -> SettingsError:
    return SettingsError([Problem(PROVIDER, cause, fix)])


def _can_read(handle: ConnectorHandle) -> bool:
    return handle.has(_PARSE) and bool(in_group(handle.info.settings_class, WEBHOOKS))


@cache
def _with(own: type[Any], provider: type[Any]) -> type[Any]:
    """The connector's own settings, with what the provider's parser needs, of which something has to be given."""
    fields = in_group(provider, WEBHOOKS)
    both = sorted(fields.keys() & attrs.fields_dict(own).keys())
    if both:
        raise _wrong(f"has a setting of the same name: {both[0]}", "use the connector itself")

    def rules(self: Any) -> Iterable[Problem]:
        yield from getattr(super(made, self), "rules", tuple)()
        yield from lonely_predecessors(self)
        if all(getattr(self, name) == field.default for name, field in fields.items()):
            current = [name for name in fields if not name.startswith("previous_")]
            cause = f"is missing, and without it no webhook of {self.webhook_provider} is taken"
            yield Problem(current[0], cause, f"give {' or '.join(current)}")

    made = derived(own.__name__, fields, provider, base=own, rules=rules)
    return made


@cache
def _alone(provider: type[Any]) -> type[Any]:
    """What the provider's parser needs, and nothing else."""
    return derived(f"{provider.__name__}ForWebhooks", in_group(provider, WEBHOOKS), provider)


def _by_message_id(event: Event) -> Event:
    if event.message_id is not None or event.provider_id is None or "@" not in event.provider_id:
        return event
    return attrs.evolve(event, message_id=event.provider_id)
