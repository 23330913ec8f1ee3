"""The kit without pytest: every check on one connector, one after another, with one provider for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from genie_connect_spec.kit.check import Check, catalogue
from genie_connect_spec.kit.connector_contract import ConnectorContract
from genie_connect_spec.kit.evaluation import Result, Verdict, evaluate
from genie_connect_spec.kit.rig import Rig


def results_of(contract: ConnectorContract, checks: Iterable[Check] | None = None) -> Iterator[Result]:
    """What comes of these checks, or of all, as each ends. Settings come from ``settings_of``, not from a fixture."""
    with ExitStack() as stack:
        provider = contract.new_provider()
        if provider is not None:
            stack.enter_context(provider)
        settings = contract.settings_of(provider)
        for check in catalogue() if checks is None else checks:
            known = contract.results.get(check.id)
            yield evaluate(check, Rig(contract, settings, provider)) if known is None else known


def failures_of(contract: ConnectorContract, checks: Iterable[Check] | None = None) -> dict[str, str]:
    """The checks that fail, each with the reason; a waiver counts for nothing here."""
    return {each.check: each.reason for each in results_of(contract, checks) if each.verdict is Verdict.FAILED}
