"""The pytest plug-in: runs checks for ``ConnectorContract``, and prints waivers in the summary.

It is loaded in every run of pytest where the kit is installed, so the kit itself is imported when a check runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many checks each connector keeps, and which it is spared and why."""
    counts: dict[str, dict[str, int]] = {}
    waived: list[str] = []
    advice: list[str] = []
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name != _PROPERTY or getattr(report, "when", "") != "call":
                    continue
                connector, check, verdict, force, waiver, reason = value
                counts.setdefault(connector, {}).setdefault(verdict, 0)
                counts[connector][verdict] += 1
                if waiver:
                    unneeded = "" if verdict == "failed" else ", and is not needed: take it away"
                    waived.append(f"{connector}: {check} is waived{unneeded}: {waiver}")
                elif verdict == "failed" and force == "SHOULD":
                    advice.append(f"{connector}: {check} is advised and not so: {reason.splitlines()[0]}")
    if not counts:
        return
    terminalreporter.section("connector contract")
    for connector, found in sorted(counts.items()):
        said = ", ".join(f"{count} {verdict}" for verdict, count in sorted(found.items(), reverse=True))
        terminalreporter.write_line(f"{connector}: {said}")
    for line in (*sorted(waived), *sorted(advice)):
        terminalreporter.write_line(line)
