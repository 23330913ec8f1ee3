"""Where a run takes place: a database, an engine, and the server at the other end."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import attrs

from tests.faults.crash.nursery import Nursery, nursery
from tests.faults.crash.receiving import Receiver, receiver
from tests.servers import nats, postgresql

GROUNDS: Final = (
    ("sqlite", "embedded"),
    ("postgresql", "embedded"),
    ("postgresql", "pgqueuer"),
    ("sqlite", "nats"),
    ("postgresql", "nats"),
)
"""Every database with every engine that can work with it: PgQueuer lives in PostgreSQL."""
SURE: Final[Mapping[str, str]] = {"fsync": "off"}
"""PostgreSQL for a test that kills it: what it has written survives, as only processes die, and it writes in time."""


def why_not(database: str, engine: str) -> str | None:
    """Why there can be no such ground here, or None."""
    return (postgresql.why_not() if database == "postgresql" else None) or (
        nats.why_not() if engine == "nats" else None
    )


@attrs.frozen(kw_only=True)
class Ground:
    """One run's own database and engine."""

    database: str
    engine: str
    store_url: str
    engine_url: str
    receiver: Receiver
    nursery: Nursery
    name: str

    def config(self, engine: Mapping[str, Any], **settings: Any) -> dict[str, Any]:
        """The configuration of a host; ``settings`` go to the SMTP connection."""
        smtp = {"host": self.receiver.host, "port": self.receiver.port, "security": "none", **settings}
        return {
            "connections": {"smtp": {"connector": "smtp", "settings": smtp}},
            "store": {"url": self.store_url},
            "engine": {"url": self.engine_url, **engine},
        }


class Field:
    """All that the runs of one test session share. Servers are started when the first run needs them."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._numbers = itertools.count()
        self._receiver: Receiver | None = None
        self._nursery: Nursery | None = None
        self._postgresql: postgresql.Postgresql | None = None
        self._nats: nats.Nats | None = None
        self.folder = Path()

    def __enter__(self) -> Self:
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="genie-connect-crash-")))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def postgresql(self) -> postgresql.Postgresql:
        """The PostgreSQL of all runs."""
        if self._postgresql is None:
            self._postgresql = self._stack.enter_context(postgresql.Postgresql(SURE))
        return self._postgresql

    @property
    def nats(self) -> nats.Nats:
        """The NATS of all runs."""
        if self._nats is None:
            folder = self.folder / "nats"
            folder.mkdir()
            self._nats = self._stack.enter_context(nats.Nats(folder))
        return self._nats

    def ground(self, database: str, engine: str) -> Ground:
        """A new ground, with nothing on it. One run at a time: what the receiver has counted is forgotten."""
        if self._receiver is None or self._nursery is None:
            self._receiver = self._stack.enter_context(receiver())
            self._nursery = self._stack.enter_context(nursery())
        self._receiver.forget()
        self._receiver.behave()
        name = f"run_{next(self._numbers)}"
        return Ground(
            database=database,
            engine=engine,
            store_url=self._store(database, name),
            engine_url={"embedded": "embedded:", "pgqueuer": "pgqueuer:"}.get(engine) or self.nats.url,
            receiver=self._receiver,
            nursery=self._nursery,
            name=name,
        )

    def _store(self, database: str, name: str) -> str:
        if database == "none":
            return ""
        return f"sqlite:///{self.folder / name}.db" if database == "sqlite" else self.postgresql.make_database()
