"""The pytest plug-in: runs checks for ``ConnectorContract``, and prints waivers in the summary.

It is loaded in every run of pytest where the kit is installed, so the kit itself is imported when a check runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from genie_connect_spec.kit.check import Check
    from genie_connect_spec.kit.connector_contract import ConnectorContract
    from genie_connect_spec.kit.provider import Provider


_PROPERTY = "genie_connect"


@pytest.fixture
def genie_connect_report(request: pytest.FixtureRequest) -> Any:
    """Runs a check and turns what came of it into the result of a test."""

    def report(contract: ConnectorContract, check: Check, settings: dict[str, Any], provider: Provider | None) -> None:
        from genie_connect_spec.kit.check import Force
        from genie_connect_spec.kit.evaluation import Verdict, evaluate
        from genie_connect_spec.kit.rig import Rig

        waiver = _waiver(contract, check)
        result = evaluate(check, Rig(contract, settings, provider))
        said = (contract.connector, check.id, result.verdict.value, check.force.value, waiver, result.reason)
        request.node.user_properties.append((_PROPERTY, list(said)))
        if result.verdict is Verdict.NOT_APPLICABLE:
            pytest.skip(f"not applicable to {contract.connector}: {result.reason}")
        if result.verdict is Verdict.PASSED:
            return
        if waiver:
            pytest.xfail(f"{check.id} waived: {waiver}")
        if check.force is Force.SHOULD:
            pytest.xfail(f"{check.id} SHOULD: {result.reason}")
        # Without the kit's own frames: what is wrong is the connector.
        pytest.fail(
            f"{check.id} {check.force.value}: {check.reason}\n\n{result.reason}\n{_trace(result.error)}", pytrace=False
        )

    return report


def _waiver(contract: ConnectorContract, check: Check) -> str:
    from genie_connect_spec.kit.check import catalogue

    known = {each.id for each in catalogue()}
    for id, reason in contract.waivers.items():  # noqa: A001
        if id not in known:
            pytest.fail(f"waivers: there is no check {id}", pytrace=False)
        if not isinstance(reason, str) or not reason.strip():
            pytest.fail(f"waivers: {id} needs a reason", pytrace=False)
    return contract.waivers.get(check.id, "")


def _trace(error: BaseException | None) -> str:
    import traceback

    if error is None:
        return ""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if "genie_connect_spec/kit" not in frame.filename
    ]
    return "".join(traceback.format_list(frames[-6:]))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of the kit."""
    parser.getgroup("genie-connect").addoption(
        "--conformance",
        metavar="FOLDER",
        help="write ID.json for each connector under the conformance kit: its level, and every check",
    )


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say how far each connector has come, which checks it is spared and why."""
    found: dict[str, dict[str, _Said]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == _PROPERTY and getattr(report, "when", "") == "call":
                    said = _Said(*value)
                    found.setdefault(said.connector, {})[said.check] = said
    if found:
        terminalreporter.section("connector contract")
    for connector, checks in sorted(found.items()):
        for line in _lines(connector, checks, config.getoption("conformance")):
            terminalreporter.write_line(line)


class _Said(NamedTuple):
    connector: str
    check: str
    verdict: str
    force: str
    waiver: str
    reason: str


def _lines(connector: str, checks: dict[str, _Said], folder: str | None) -> Iterator[str]:
    from genie_connect_spec.kit.check import catalogue
    from genie_connect_spec.kit.levels import conformance

    verdicts = [said.verdict for said in checks.values()]
    counts = ", ".join(f"{verdicts.count(each)} {each}" for each in sorted(set(verdicts), reverse=True))
    waivers = {said.check: said.waiver for said in checks.values() if said.waiver}
    result = conformance(connector, {said.check: said.verdict for said in checks.values()}, waivers)
    # Of a part of the checks nothing can be said about the whole.
    whole = len(checks) == len(catalogue())
    yield f"{connector}: {counts}" + (f"; {result.level.value}" if whole else "")
    for said in sorted(checks.values()):
        if said.waiver:
            unneeded = "" if said.verdict == "failed" else ", and is not needed: take it away"
            yield f"{connector}: {said.check} is waived{unneeded}: {said.waiver}"
        elif said.verdict == "failed" and said.force == "SHOULD":
            yield f"{connector}: {said.check} is advised and not so: {said.reason.splitlines()[0]}"
    if folder is not None and whole:
        path = Path(folder) / f"{connector}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result.data(), indent=2) + "\n", encoding="utf-8")
        yield f"wrote {path}"
