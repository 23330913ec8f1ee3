"""Connectors that do what the contract leaves open otherwise than ours: the kit has nothing to say against them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import pytest

from genie_connect import State, Status, Step, hookimpl
from genie_connect.model.frozen import FrozenMap
from genie_connect_smtp import plugin
from genie_connect_smtp.dkim import _FIRST, _SECOND, _key
from genie_connect_spec.kit.check import check_of
from genie_connect_spec.kit.whole import failures_of
from tests.spec.hostile.smtp import Ours
from tests.spec.smtp_contract import Smtp


class TriesToTheEnd(Ours):
    """Where a connection cannot be made, it tries as long as it has time."""

    @hookimpl
    async def connector_send(self, state: Any, batch: Any, context: Any) -> Any:
        """Again and again."""
        while True:
            outcomes = await plugin.connector_send(state, batch, context)
            if outcomes[0].state is not State.DEFERRED or context.remaining_s() < 0.1:
                return outcomes
            await asyncio.sleep(min(0.05, context.remaining_s()))


class WarnsOfClearText(Ours):
    """Warns of a server that does not encrypt."""

    def step(self, step: Step) -> Step:
        """Whatever else it finds."""
        if step.id != "connect" or step.status is not Status.OK:
            return step
        return attrs.evolve(step, status=Status.WARN, summary="the password is sent in clear")


class NamesTheDay(Ours):
    """Says when a certificate ends, and not in how many days."""

    def step(self, step: Step) -> Step:
        """On which day."""
        if step.status is not Status.WARN:
            return step
        return attrs.evolve(step, summary=f"renew the certificate before {step.facts['certificate_ends']}")


class LeavesBracketsOut(Ours):
    """Tells a Message-ID without its brackets."""

    def step(self, step: Step) -> Step:
        """As some logs have it."""
        facts = {name: value.strip("<>") if isinstance(value, str) else value for name, value in step.facts.items()}
        return attrs.evolve(step, facts=FrozenMap(facts))


class TakesKeysOfAnyKind(Ours):
    """Takes an RSA key for its second one as well."""

    replaced: Mapping[str, Any] = {"dkim:_keys": lambda settings: [_key(settings, each) for each in _places(settings)]}


def _places(settings: Any) -> list[dict[str, str]]:
    return [_FIRST] if settings.dkim_ed25519_private_key is None else [_FIRST, _SECOND]


OTHERS: tuple[tuple[type[Ours], Sequence[str]], ...] = (
    (TriesToTheEnd, ("GC-SMTP-069",)),
    (WarnsOfClearText, ("GC-SMTP-064",)),
    (NamesTheDay, ("GC-SMTP-058",)),
    (LeavesBracketsOut, ("GC-SMTP-067",)),
    (TakesKeysOfAnyKind, ("GC-SMTP-062", "GC-SMTP-063")),
)


@pytest.mark.parametrize(("other", "checks"), OTHERS, ids=lambda value: getattr(value, "__name__", ""))
def test_another_way_is_no_fault(other: type[Ours], checks: Sequence[str]) -> None:
    """It keeps the rule as well as we do."""
    connector = other()
    contract: Any = type("Other", (Smtp,), {"plugin": connector})()
    with connector.spoilt():
        assert failures_of(contract, [check_of(id_) for id_ in checks]) == {}
