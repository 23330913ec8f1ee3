"""The tables of the store, the same on SQLite and PostgreSQL.

Theory of operation
===================

A **unit** is what a worker claims: one durable send, or one chunk of a broadcast. Its recipients are numbered from 0,
and two bitmaps (little-endian integers, bit *n* is position *n*) say how far each one has come:

======  ====  ===========================================================================================
intent  done  meaning
======  ====  ===========================================================================================
0       0     not handed over: to be sent, or put off and to be tried again
1       0     about to leave, or left without an answer yet; found so after a crash it is ``unknown``,
              and tried again only by the same batch under its key, or where the host chose so
any     1     settled: accepted, unless a row in ``outcomes`` says otherwise
======  ====  ===========================================================================================

A unit is owned by a worker at an **epoch**, which every claim raises. Each write of a worker names both, so that one
that was thought dead, and comes back, writes nothing: it is fenced. Whether a worker lives is told by its counter in
``workers`` (``beat``), which the others watch against their own monotonic clocks. No wall clock decides who owns what.

A worker writes to a unit's row twice for each hand-over, and SQLite writes a row whole. So the row holds numbers and
bitmaps alone: whom a chunk goes to stands beside it in ``chunks``, and a send's addresses in ``sends``.

Times are seconds since 1970 in UTC, as floats, given by the caller: SQLite before 3.42 has no function for them.
Every table that holds a customer's data has its ``tenant``, and every query names it.
"""

from __future__ import annotations

from enum import IntEnum

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A row number. SQLite numbers rows by itself only in a column of type INTEGER."""


class UnitKind(IntEnum):
    """What a unit is."""

    SEND = 1
    CHUNK = 2


class UnitState(IntEnum):
    """Where a unit stands. ``OPEN`` belongs to a send that its caller waits for: no worker may claim it."""

    READY = 0
    LEASED = 1
    DONE = 2
    OPEN = 3


class WorkerState(IntEnum):
    """Whether a worker may own units. ``DEAD`` was said by another one, ``LEFT`` by itself."""

    ALIVE = 0
    DEAD = 1
    LEFT = 2


class BroadcastState(IntEnum):
    """Where a broadcast stands. Only the chunks of a ``RUNNING`` one may be claimed."""

    LOADING = 0
    READY = 1
    RUNNING = 2
    PAUSED = 3
    STOPPED = 4
    DONE = 5


def _tenant() -> sa.Column[str]:
    return sa.Column("tenant", sa.String(64), nullable=False)


meta = sa.Table(
    "meta",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
"""Facts about the store itself: the key of the address digests, the check value of the secrets' key."""

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    _tenant(),
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("beat", sa.BigInteger, nullable=False),
    sa.Column("place", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("started", sa.Float, nullable=False),
    sa.Column("seen", sa.Float, nullable=False),
)
"""Processes owning units. ``place`` is machine, boot and process namespace; where it is ours, the pid tells more."""

units = sa.Table(
    "units",
    metadata,
    sa.Column("id", Number, primary_key=True, autoincrement=True),
    _tenant(),
    sa.Column("kind", sa.SmallInteger, nullable=False),
    sa.Column("broadcast_id", Number),
    sa.Column("number", sa.Integer, nullable=False, server_default="0"),
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False, server_default="0"),
    sa.Column("owner", sa.String(32)),
    sa.Column("not_before", sa.Float, nullable=False),
    sa.Column("due", sa.Float, nullable=False),
    sa.Column("expires", sa.Float),
    sa.Column("priority", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("offered_until", sa.Float, nullable=False, server_default="0"),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("intent", sa.LargeBinary, nullable=False, server_default=""),
    sa.Column("done", sa.LargeBinary, nullable=False, server_default=""),
    sa.Column("accepted", sa.Integer, nullable=False, server_default="0"),
    sa.Column("rejected", sa.Integer, nullable=False, server_default="0"),
    sa.Column("deferred", sa.Integer, nullable=False, server_default="0"),
    sa.Column("unknown", sa.Integer, nullable=False, server_default="0"),
    sa.Column("suppressed", sa.Integer, nullable=False, server_default="0"),
    sa.Index(
        "ix_units_broadcast",
        "broadcast_id",
        "number",
        unique=True,
        sqlite_where=sa.text("broadcast_id IS NOT NULL"),
        postgresql_where=sa.text("broadcast_id IS NOT NULL"),
    ),
    sa.Index(
        "ix_units_due",
        "tenant",
        "broadcast_id",
        "priority",
        "not_before",
        "offered_until",
        sqlite_where=sa.text("state = 0"),
        postgresql_where=sa.text("state = 0"),
    ),
    sa.Index(
        "ix_units_owned",
        "tenant",
        "broadcast_id",
        "owner",
        sqlite_where=sa.text("state in (1, 3)"),
        postgresql_where=sa.text("state in (1, 3)"),
    ),
    # A number that was given once is never given again: an engine may still hold work for it.
    sqlite_autoincrement=True,
)
"""Work. A higher ``priority`` goes first. ``due`` is when it was to begin; ``not_before`` moves with each retry.

``offered_until``: an engine was told, and is not to be told again before.
"""

chunks = sa.Table(
    "chunks",
    metadata,
    sa.Column("unit_id", Number, primary_key=True, autoincrement=False),
    _tenant(),
    sa.Column("recipients", sa.LargeBinary, nullable=False),
)
"""Whom the chunks of broadcasts go to, packed (``packing``)."""

sends = sa.Table(
    "sends",
    metadata,
    sa.Column("unit_id", Number, primary_key=True, autoincrement=False),
    _tenant(),
    sa.Column("message_id", sa.Text, nullable=False),
    sa.Column("recipients", sa.LargeBinary, nullable=False),
    sa.Column("message", sa.LargeBinary, nullable=False),
    sa.Column("plan", sa.Text),
    sa.Column("only", sa.Text),
    sa.Column("key", sa.Text),
    sa.Column("at_least_once", sa.Boolean, nullable=False),
    sa.Column("durable", sa.Boolean, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("finished", sa.Float),
    sa.Index("ix_sends_message_id", "tenant", "message_id"),
    sa.Index("ix_sends_created", "tenant", "created"),
)
"""A single message, its envelope packed. ``only`` is the connection it keeps to, ``key`` the host's idempotency key.

One that is not ``durable`` dies with the process that sends it: what had not left then is not sent by another one.
"""

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True),
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("unit_id", Number, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("until", sa.Float, nullable=False),
)
"""Keys of sends that were accepted: the same key with the same content is the same send."""

broadcasts = sa.Table(
    "broadcasts",
    metadata,
    sa.Column("id", Number, primary_key=True, autoincrement=True),
    _tenant(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("message", sa.LargeBinary, nullable=False),
    sa.Column("sender_domain", sa.Text, nullable=False),
    sa.Column("options", sa.Text, nullable=False),
    sa.Column("salt", sa.LargeBinary, nullable=False),
    sa.Column("total", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("chunks", sa.Integer, nullable=False, server_default="0"),
    sa.Column("duplicates", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("refused_rows", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("reason", sa.Text),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("started", sa.Float),
    sa.Column("finished", sa.Float),
    sa.Index("ix_broadcasts_state", "tenant", "state"),
    sqlite_autoincrement=True,
)
"""Broadcasts. ``salt`` keys the Message-IDs of its copies, so that they can be made again and not be guessed."""

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("unit_id", Number, primary_key=True, autoincrement=False),
    sa.Column("id", sa.String(32), primary_key=True),
    _tenant(),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("connection", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("positions", sa.LargeBinary, nullable=False),
    sa.Column("recipients", sa.Integer, nullable=False),
    sa.Column("accepted", sa.Integer, nullable=False, server_default="0"),
    sa.Column("started", sa.Float, nullable=False),
    sa.Column("repeat_until", sa.Float),
    sa.Column("ms", sa.Integer),
    sa.Column("stage", sa.Text, nullable=False, server_default=""),
    sa.Column("outcome", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("text", sa.Text),
    sa.Column("hint", sa.Text),
    sa.Index("ix_attempts_id", "id"),
    # In one tree, beside the others of the unit: two further ones would cost as much as the row.
    sqlite_with_rowid=False,
)
"""Hand-overs, written before the first byte leaves. ``positions`` is a bitmap; ``outcome`` comes with the answer.

Until ``repeat_until`` the provider recognises the key, so the same batch may be handed over once more.
"""

outcomes = sa.Table(
    "outcomes",
    metadata,
    sa.Column("unit_id", Number, primary_key=True, autoincrement=False),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    _tenant(),
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("connection", sa.Text),
    sa.Column("attempt_id", sa.String(32)),
    sa.Column("stage", sa.Text, nullable=False, server_default=""),
    sa.Column("code", sa.Integer),
    sa.Column("enhanced", sa.Text),
    sa.Column("text", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("hint", sa.Text),
    sa.Column("scope", sa.String(16), nullable=False),
    sa.Column("retry", sa.String(8), nullable=False),
    sa.Column("provider_id", sa.Text),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("resolved_by", sa.Text),
    sa.Index(
        "ix_outcomes_unknown",
        "tenant",
        "unit_id",
        "position",
        sqlite_where=sa.text("state = 'unknown'"),
        postgresql_where=sa.text("state = 'unknown'"),
    ),
    sa.Index(
        "ix_outcomes_provider_id",
        "tenant",
        "provider_id",
        sqlite_where=sa.text("provider_id IS NOT NULL"),
        postgresql_where=sa.text("provider_id IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)
"""What there is to say of one recipient. Of a chunk's accepted ones there is nothing; of a send's there always is.

A row ``deferred`` of a position that is not done is what the last attempt said; it will be tried again. So will one
``unknown`` that is not done: by the same batch under its key, or because the host chose ``at_least_once``.
``resolved_by`` says how an ``unknown`` came to be known: ``answer`` (a late one), ``lookup``, ``event``, or ``person``.
"""

accepted_ids = sa.Table(
    "accepted_ids",
    metadata,
    sa.Column("unit_id", Number, primary_key=True, autoincrement=False),
    sa.Column("attempt_id", sa.String(32), primary_key=True),
    _tenant(),
    sa.Column("packed", sa.LargeBinary, nullable=False),
)
"""The ids that providers gave to the accepted copies of a chunk, packed (``id_packing``).

There is no index of them: an event that names nothing else is looked for from the latest on (``matching``).
"""

suppressions = sa.Table(
    "suppressions",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True),
    sa.Column("digest", sa.LargeBinary(16), primary_key=True),
    sa.Column("scope", sa.SmallInteger, primary_key=True),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("reason", sa.String(16), nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("added", sa.Float, nullable=False),
    sa.Column("expires", sa.Float),
    sqlite_with_rowid=False,
)
"""Who is not to be written to, found by a keyed digest of the address."""

suppression_history = sa.Table(
    "suppression_history",
    metadata,
    sa.Column("id", Number, primary_key=True, autoincrement=True),
    _tenant(),
    sa.Column("digest", sa.LargeBinary(16), nullable=False),
    sa.Column("scope", sa.SmallInteger, nullable=False),
    sa.Column("action", sa.String(8), nullable=False),
    sa.Column("reason", sa.String(16), nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Index("ix_suppression_history_digest", "tenant", "digest"),
)
"""What was done to the suppressions of an address: ``add`` or ``remove``."""

connections = sa.Table(
    "connections",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("connector", sa.Text, nullable=False),
    sa.Column("config", sa.Text, nullable=False),
    sa.Column("updated", sa.Float, nullable=False),
)
"""Configured connections: JSON without the secrets."""

secrets = sa.Table(
    "secrets",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True),
    sa.Column("connection", sa.String(128), primary_key=True),
    sa.Column("field", sa.String(128), primary_key=True),
    sa.Column("token", sa.LargeBinary, nullable=False),
    sa.Column("updated", sa.Float, nullable=False),
)
"""Secrets of connections, encrypted, each bound to the row it stands in."""

events = sa.Table(
    "events",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True),
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("connection", sa.Text, nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("recipient", sa.Text),
    sa.Column("message_id", sa.Text),
    sa.Column("provider_id", sa.Text),
    sa.Column("unit_id", Number),
    sa.Column("position", sa.Integer),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("received", sa.Float, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.Index("ix_events_unit", "tenant", "unit_id", "received"),
    sa.Index("ix_events_received", "tenant", "received"),
)
"""Reports from after the hand-over, each once. ``unit_id`` and ``position`` say which copy, where that is known."""

health = sa.Table(
    "health",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True),
    sa.Column("connection", sa.String(128), primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("by_worker", sa.String(32), nullable=False),
    sa.Column("pause_s", sa.Float, nullable=False),
    sa.Column("pauses", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("hint", sa.Text, nullable=False),
    sa.Column("changed", sa.Float, nullable=False),
)
"""The breaker of each connection, as the worker saw it that changed it last."""

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True),
    sa.Column("connection", sa.String(128), primary_key=True),
    sa.Column("era", sa.Text, nullable=False),
    sa.Column("full_at", sa.Float, nullable=False),
)
"""One rate for all machines: when the bucket will be full again, on the clock that ``era`` names."""
