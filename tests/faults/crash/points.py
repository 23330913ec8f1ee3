"""The named points at which a process is killed: around every kind of write to the ledger, in each of its stages.

The writer is wrapped in the process that is to die, and only there. A point is a kind of write and a stage of it:

=========  ==========================================================
asked      somebody wants it; nothing has been done
began      its transaction is open
applied    its statements are done, and not committed
committed  it is committed, and nobody was told
told       whoever wanted it knows, and has not gone on
=========  ==========================================================

Three kinds are no writes of the writer: ``offering`` is the ledger's own transaction, ``submit`` the engine's call,
``hand over`` the connector's. They have the first and the last stage.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from genie_connect.engine.embedded import EmbeddedEngine
from genie_connect.engine.nats import NatsEngine
from genie_connect.engine.pgqueuer import PgQueuerEngine
from genie_connect.registry.handle import ConnectorHandle
from genie_connect.store.units import Units
from genie_connect.store.writer import Apply, Writer

STAGES: Final = ("asked", "began", "applied", "committed", "told")
WRITES: Final = {
    "accept": "send",
    "create": "load",
    "add": "load",
    "change": "load",
    "register": "work",
    "beat": "work",
    "mark": "work",
    "claim": "work",
    "leaving": "work",
    "answered": "work",
    "release": "work",
    "finish": "work",
    "reap": "work",
}
"""By the name of the write, the role in which it is met."""
POINTS: Final = (
    *((kind, stage) for kind in WRITES for stage in STAGES),
    *((kind, stage) for kind in ("offer", "submit", "hand over") for stage in ("asked", "told")),
)
CALLS: Final = (
    (Units, "offer", "offer"),
    (EmbeddedEngine, "submit", "submit"),
    (NatsEngine, "submit", "submit"),
    (PgQueuerEngine, "submit", "submit"),
    (ConnectorHandle, "send", "hand over"),
)
_armed: dict[str, Any] = {}


def role_of(kind: str) -> str:
    """The role in which a point is met."""
    return WRITES.get(kind, "work")


def reached(kind: str, stage: str) -> None:
    """Here is a point. If it is the one, this is the end."""
    if _armed.get("point") == (kind, stage):
        _armed["after"] -= 1
        if _armed["after"] < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def arm(kind: str, stage: str, *, after: int = 0) -> None:
    """Die at this point, when it is reached once more than ``after`` times."""
    _armed.update(point=(kind, stage), after=after)
    write, transaction = Writer.write, Writer._transaction
    wrapped: dict[Any, Any] = {}

    async def writing(self: Writer, apply: Apply[Any, Any], item: Any, *, synced: bool = True) -> Any:
        name = _name(apply)
        reached(name, "asked")
        # The same kind of write has to be the same function, or the writer would not put them together.
        result = await write(self, wrapped.setdefault(apply, _watched(apply)), item, synced=synced)
        reached(name, "told")
        return result

    async def committing(self: Writer, batch: list[Any]) -> Any:
        results = await transaction(self, batch)
        for name in {_name(waiting.apply) for waiting in batch}:
            reached(name, "committed")
        return results

    for service, method, name in CALLS:
        setattr(service, method, _around(getattr(service, method), name))
    Writer.write = writing  # type: ignore[method-assign]
    Writer._transaction = committing  # type: ignore[method-assign]


def _around(call: Any, name: str) -> Any:
    async def calling(*arguments: Any, **named: Any) -> Any:
        reached(name, "asked")
        result = await call(*arguments, **named)
        reached(name, "told")
        return result

    return calling


def _watched(apply: Apply[Any, Any]) -> Apply[Any, Any]:
    async def watching(connection: AsyncConnection, items: Sequence[Any]) -> Any:
        reached(_name(apply), "began")
        results = await apply(connection, items)
        reached(_name(apply), "applied")
        return results

    watching.__name__ = _name(apply)
    return watching


def _name(apply: Any) -> str:
    return str(apply.__name__).strip("_")
