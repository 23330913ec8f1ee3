"""Which connection is to carry a message, and why not the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import attrs

from genie_connect.contract import Kind
from genie_connect.delivery.breaker import BreakerState
from genie_connect.delivery.connection import Connection
from genie_connect.model.capability import TITLES, CapabilityTable, Level
from genie_connect.model.features import estimated_size_bytes, exceeded, offered, options_problem, required
from genie_connect.model.message import Message
from genie_connect.model.plan import Emulated, PassedOver, Plan

Order: TypeAlias = Callable[[Connection], Any]


def api_first(connection: Connection) -> tuple[int, int, int, str]:
    """The default order: API connectors before SMTP, then priority, then those with nothing against them, then name."""
    troubled = connection.breaker.state is not BreakerState.CLOSED
    return (int(connection.kind is Kind.SMTP), connection.config.priority, int(troubled), connection.name)


@attrs.frozen(kw_only=True)
class Route:
    """A plan with its connections.

    ``paused`` holds those that could carry the message and are left out only for now, by an open breaker.
    """

    plan: Plan
    connections: tuple[Connection, ...]
    paused: tuple[Connection, ...] = ()


def make_route(
    message: Message,
    connections: Iterable[Connection],
    *,
    broadcast: bool = False,
    merge: bool = False,
    only: str | None = None,
    order: Order = api_first,
) -> Route:
    """Filter, order and explain. ``only`` keeps to one connection by name."""
    needed = (*required(message, broadcast=broadcast), *(["send.merge"] if merge else []))
    size_bytes = estimated_size_bytes(message)
    chosen: list[Connection] = []
    paused: list[Connection] = []
    passed_over: list[PassedOver] = []
    for connection in sorted(connections, key=order):
        reasons = list(_reasons(connection, message, needed, size_bytes, only))
        pause = _pause(connection)
        if pause and not reasons:
            paused.append(connection)
        if reasons or pause:
            passed_over.append(PassedOver(connection=connection.name, reasons=(*reasons, *pause)))
        else:
            chosen.append(connection)
    plan = Plan(
        order=tuple(connection.name for connection in chosen),
        passed_over=tuple(passed_over),
        emulated=tuple(item for connection in chosen for item in _emulated(connection, needed, broadcast=broadcast)),
        chunk=chunk_size(chosen[0], size_bytes, broadcast=broadcast) if chosen else None,
    )
    return Route(plan=plan, connections=tuple(chosen), paused=tuple(paused))


def chunk_size(connection: Connection, size_bytes: int, *, broadcast: bool) -> int | None:
    """How many recipients one call to this connection may have; ``None`` is no limit.

    ``size_bytes`` is what each copy of a broadcast adds to the call.
    """
    table = connection.capabilities
    if broadcast and not batches(table):
        return 1
    if not broadcast:
        limit = table.limit("send.transactional", "max_recipients")
    else:
        room = table.limit("send.batch", "max_batch_bytes")
        limits = (table.limit("send.batch", "max_batch"), None if room is None else room // size_bytes)
        limit = min((each for each in limits if each is not None), default=None)
    # A server that announces a limit of none at all still gets one at a time: it may say so for each.
    return None if limit is None else max(1, limit)


def batches(table: CapabilityTable) -> bool:
    """Whether the connector itself takes several copies in one call."""
    return table["send.batch"].level in (Level.YES, Level.CONDITIONAL)


def _reasons(
    connection: Connection, message: Message, needed: Sequence[str], size_bytes: int, only: str | None
) -> Iterable[str]:
    if only is not None and connection.name != only:
        yield f"only {only} was asked for"
        return
    if not connection.config.active:
        yield "it is switched off"
    if connection.config.purposes and message.purpose not in connection.config.purposes:
        yield f"it is not for {message.purpose.value} messages"
    sender = connection.sender(message)
    if sender is None:
        yield "the message has no From and the connection no default From"
    elif not connection.may_send_from(sender):
        yield f"it may not send from {sender.email}"
    table = connection.capabilities
    for name in needed:
        if not offered(name, table):
            note = table[name].note
            yield f"it does not support {TITLES.get(name, name)} ({name})" + (f": {note}" if note else "")
    options = options_problem(message, table)
    if options:
        yield options
    yield from exceeded(message, table, now=connection.now())
    limit = table.limit("send.transactional", "max_message_bytes")
    if limit is not None and size_bytes > limit:
        yield f"the message has about {size_bytes} bytes and it takes at most {limit}"


def _pause(connection: Connection) -> tuple[str, ...]:
    if connection.breaker.state is not BreakerState.OPEN:
        return ()
    hint = f" {connection.breaker.hint}" if connection.breaker.hint else ""
    return (f"paused for {connection.breaker.pause_s:.0f} s after: {connection.breaker.reason}.{hint}",)


def _emulated(connection: Connection, needed: Iterable[str], *, broadcast: bool) -> Iterable[Emulated]:
    if broadcast and not batches(connection.capabilities):
        yield Emulated(connection=connection.name, capability="send.batch", how="one call for each copy")
    for name in needed:
        entry = connection.capabilities[name]
        if entry.level is Level.HOST:
            yield Emulated(connection=connection.name, capability=name, how=entry.note or "done by the host")
