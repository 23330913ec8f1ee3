"""What the NATS engine keeps on the server, and how its URL is read.

``genie-STORE-TENANT-work``
    a work-queue stream on disk. Subject ``genie.STORE.TENANT.work.CLASS.UNIT.KEY``, one message at most for each
    subject: a unit that is offered again while it waits is there already. One consumer for each class of priority.
``genie-STORE-TENANT-dead``
    the dead letters, thirty days. Subject ``genie.STORE.TENANT.dead.UNIT``.
``genie.STORE.TENANT.wake``
    no stream: told to whoever listens that there is something new.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs, urlsplit

import attrs
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from genie_connect.engine.contract import Place
from genie_connect.errors import ConfigurationError

CLASSES: Final = ("high", "normal", "low")
"""Priorities above, at and below 0, in the order in which they are asked for work."""
DUPLICATES_S: Final = 120.0
"""How long the server recognises a publication that is repeated because its answer was lost."""
DEAD_LETTERS_S: Final = 30 * 86_400.0
_FORM: Final = "write it like nats://host:4222 or nats://user:password@host1:4222,host2:4222?replicas=3"
_OPTIONS: Final = frozenset({"credentials", "replicas"})
Arguments: TypeAlias = Mapping[str, Any]


@attrs.frozen(kw_only=True)
class Target:
    """Where the servers are. Its ``repr`` shows no password."""

    servers: tuple[str, ...] = attrs.field(repr=False)
    credentials: str | None = None
    replicas: int = 1

    @classmethod
    def of(cls, url: str) -> Target:
        """Read a URL. Raises ``ConfigurationError``, which does not repeat it: it may hold a password."""
        try:
            parts = urlsplit(url)
            options = parse_qs(parts.query, strict_parsing=bool(parts.query), keep_blank_values=True)
            user, at, hosts = parts.netloc.rpartition("@")
            servers = tuple(f"{parts.scheme}://{user}{at}{host}" for host in hosts.split(","))
            whole = all(urlsplit(server).hostname and urlsplit(server).port != 0 for server in servers)
        except ValueError:
            raise ConfigurationError("engine.url: it cannot be read", hint=_FORM) from None
        if not whole:
            raise ConfigurationError("engine.url: it names no host", hint=_FORM)
        if unknown := sorted(options.keys() - _OPTIONS):
            raise ConfigurationError(f"engine.url: there is no option {unknown[0]!r}", hint=_FORM)
        credentials = options.get("credentials", [None])[-1]
        if credentials is not None and not Path(credentials).is_file():
            raise ConfigurationError(f"engine.url: there is no file {credentials}", hint="correct credentials=")
        replicas = options.get("replicas", ["1"])[-1]
        if replicas not in ("1", "2", "3", "4", "5"):
            raise ConfigurationError("engine.url: replicas is a number from 1 to 5", hint="use 3 on a cluster of three")
        return cls(servers=servers, credentials=credentials, replicas=int(replicas))


@attrs.frozen(kw_only=True)
class Names:
    """The names of a place's streams and subjects."""

    work_stream: str
    dead_stream: str
    prefix: str

    @classmethod
    def of(cls, place: Place) -> Names:
        """The names for a place: other ones for each store and each tenant."""
        store, tenant = _token(place.store), _token(place.tenant)
        return cls(
            work_stream=f"genie-{store}-{tenant}-work",
            dead_stream=f"genie-{store}-{tenant}-dead",
            prefix=f"genie.{store}.{tenant}",
        )

    @property
    def wake(self) -> str:
        """The subject on which new work is announced."""
        return f"{self.prefix}.wake"

    def work(self, priority: int, unit: int, key: str) -> str:
        """The subject of a unit. It waits once for each key."""
        return f"{self.prefix}.work.{CLASSES[(priority < 0) - (priority > 0) + 1]}.{unit}.{key}"

    def dead(self, unit: int) -> str:
        """The subject of a unit's dead letters."""
        return f"{self.prefix}.dead.{unit}"

    def streams(self, replicas: int) -> tuple[StreamConfig, StreamConfig]:
        """What the streams are to be like."""
        return (
            StreamConfig(
                name=self.work_stream,
                subjects=[f"{self.prefix}.work.>"],
                retention=RetentionPolicy.WORK_QUEUE,
                storage=StorageType.FILE,
                discard=DiscardPolicy.NEW,
                discard_new_per_subject=True,
                max_msgs_per_subject=1,
                duplicate_window=DUPLICATES_S,
                num_replicas=replicas,
            ),
            StreamConfig(
                name=self.dead_stream,
                subjects=[f"{self.prefix}.dead.*"],
                retention=RetentionPolicy.LIMITS,
                storage=StorageType.FILE,
                max_age=DEAD_LETTERS_S,
                max_msgs_per_subject=10,
                num_replicas=replicas,
            ),
        )

    def consumers(self, ack_wait_s: float) -> tuple[ConsumerConfig, ...]:
        """What the consumers are to be like. How often a unit is delivered is bounded by the engine, not by them."""
        return tuple(
            ConsumerConfig(
                durable_name=name,
                filter_subject=f"{self.prefix}.work.{name}.>",
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ack_wait_s,
                max_deliver=-1,
                # What waits for its time counts as pending, and must not hold up what is due.
                max_ack_pending=-1,
            )
            for name in CLASSES
        )


def _token(text: str) -> str:
    """A text as a part of a subject: other texts give other tokens."""
    safe = re.sub(r"[^A-Za-z0-9_]", "_", text)
    if safe == text and text:
        return text
    return f"{safe}_{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"
