"""What several hostile connectors have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genie_connect import (
    ConnectorInfo,
    Kind,
    Outcome,
    Retry,
    Scope,
    State,
    hookimpl,
)
from tests.spec.hostile.honest import Honest, HonestSettings


class Info(Honest):
    """Spoils its info."""

    facts: Mapping[str, Any] = {}

    @hookimpl
    def connector_info(self) -> Any:
        """What it is, spoilt."""
        usual = {
            "id": "honest",
            "title": "Honest",
            "kind": Kind.API,
            "settings_class": HonestSettings,
            "summary": "It.",
        }
        return ConnectorInfo(**usual | self.facts)


class Misjudges(Honest):
    """Takes a transport error for something else."""

    state = State.DEFERRED
    facts: Mapping[str, Any] = {"reason": "connect", "scope": Scope.CONNECTION, "retry": Retry.ANY, "hint": "Again."}

    @hookimpl
    async def connector_send(self, state: Any, batch: Any, context: Any) -> Any:
        """What is in doubt is called otherwise."""
        outcomes = await Honest.connector_send(self, state, batch, context)
        return [
            Outcome(recipient=each.recipient, state=self.state, stage="request", **self.facts)
            if self.misjudged(each)
            else each
            for each in outcomes
        ]

    def misjudged(self, outcome: Outcome) -> bool:
        """Which."""
        return outcome.state is State.UNKNOWN and outcome.stage == "request"
