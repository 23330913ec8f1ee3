"""Engines as the tests make them: quick to try again, and quick to notice a death."""

from __future__ import annotations

from docs.examples.celery_engine import CeleryEngine
from genie_connect.engine import Engine, Place
from genie_connect.engine.calls import Backoff
from genie_connect.engine.embedded import EmbeddedEngine
from genie_connect.engine.jetstream import Target
from genie_connect.engine.nats import NatsEngine
from genie_connect.engine.pgqueuer import PgQueuerEngine

QUICK = Backoff(first_s=0.05, longest_s=0.2)


def embedded(argument: str) -> Engine:
    """The embedded engine; the argument says nothing."""
    return EmbeddedEngine(backoff=QUICK)


def pgqueuer(url: str) -> Engine:
    """PgQueuer in a database that has its tables."""
    return PgQueuerEngine(Place(store="store", tenant="tests", store_url=url), backoff=QUICK, heartbeat_s=2.0)


def nats(argument: str) -> Engine:
    """NATS: the server's URL, a blank, the tenant."""
    url, tenant = argument.split()
    return NatsEngine(Target.of(url), Place(store="store", tenant=tenant), backoff=QUICK, ack_wait_s=2.0)


def celery(argument: str) -> Engine:
    """The example with Celery: the broker's URL, a blank, the tenant."""
    url, tenant = argument.split()
    return CeleryEngine(url, Place(store="store", tenant=tenant), backoff=QUICK)
