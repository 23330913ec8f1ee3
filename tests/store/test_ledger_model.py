"""The ledger under any interleaving of what workers, servers and people do; many more by ``./dev faults``."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from genie_connect.store.writer import Writer
from tests.store.ledger_model import LedgerModel, Twice, make_template


@pytest.mark.any_tenant
@pytest.mark.parametrize("writing", [Writer, Twice])
def test_nobody_twice_and_nobody_forgotten(writing: type[Writer], tmp_path: Path) -> None:
    """No recipient gets two copies, none is forgotten, and what left without an answer is listed."""
    asyncio.run(make_template(tmp_path / "template.db"))

    class Model(LedgerModel):
        template = tmp_path / "template.db"
        writer = writing

    run_state_machine_as_test(Model, settings=settings(max_examples=5, stateful_step_count=30))
