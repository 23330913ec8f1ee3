"""Our engines against the contract of engines, on real servers."""

from __future__ import annotations

import pytest

from genie_connect_spec.engine_contract import DurableEngineContract, EngineContract, EngineRecipe
from tests.servers.nats import Nats
from tests.servers.rabbitmq import RabbitMq


class TestEmbedded(EngineContract):
    """The engine in the process."""

    @pytest.fixture
    def recipe(self) -> EngineRecipe:
        """How to make it."""
        return EngineRecipe(module="tests.engine.making", function="embedded")


class TestPgQueuer(DurableEngineContract):
    """PgQueuer on PostgreSQL."""

    @pytest.fixture
    def recipe(self, pgqueuer_url: str) -> EngineRecipe:
        """How to make it."""
        return EngineRecipe(module="tests.engine.making", function="pgqueuer", argument=pgqueuer_url)


class TestNats(DurableEngineContract):
    """NATS JetStream."""

    @pytest.fixture
    def recipe(self, nats_server: Nats, tenant: str) -> EngineRecipe:
        """How to make it."""
        return EngineRecipe(module="tests.engine.making", function="nats", argument=f"{nats_server.url} {tenant}")


class TestCelery(DurableEngineContract):
    """The example of an engine of one's own, Celery on RabbitMQ."""

    @pytest.fixture
    def recipe(self, rabbitmq_server: RabbitMq, tenant: str) -> EngineRecipe:
        """How to make it."""
        return EngineRecipe(module="tests.engine.making", function="celery", argument=f"{rabbitmq_server.url} {tenant}")
