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
    from genie_connect_spec.kit.levels import Conformance
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
        rig = Rig(contract, settings, provider)
        result = evaluate(check, rig)
        said = _Said(
            connector=contract.connector,
            check=check.id,
            verdict=result.verdict.value,
            force=check.force.value,
            waiver=waiver,
            reason=result.reason,
            quality=contract.quality,
            stated=rig.stated,
        )
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
        help="write ID.json and ID.svg for each connector under the conformance kit: its level, and every check",
    )


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say how far each connector has come, which checks it is spared and why."""
    found = _found(terminalreporter)
    if found:
        terminalreporter.section("connector contract")
    for connector, checks in sorted(found.items()):
        for line in _lines(connector, checks, config):
            terminalreporter.write_line(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A connector that states more of itself than the checks make has failed, though every check may have passed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    for connector, checks in _found(reporter).items() if reporter is not None else ():
        if _whole(checks) and _overstated(checks, _conformance(connector, checks, session.config)):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


class _Said(NamedTuple):
    connector: str
    check: str
    verdict: str
    force: str
    waiver: str
    reason: str
    quality: str
    stated: str


def _found(terminalreporter: Any) -> dict[str, dict[str, _Said]]:
    """What was said of each connector, check by check."""
    found: dict[str, dict[str, _Said]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == _PROPERTY and getattr(report, "when", "") == "call":
                    said = _Said(*value)
                    found.setdefault(said.connector, {})[said.check] = said
    return found


def _whole(checks: dict[str, _Said]) -> bool:
    from genie_connect_spec.kit.check import catalogue

    # Of a part of the checks nothing can be said about the whole.
    return len(checks) == len(catalogue())


def _conformance(connector: str, checks: dict[str, _Said], config: pytest.Config) -> Conformance:
    from genie_connect_spec.kit.levels import conformance
    from genie_connect_spec.kit.quality import read

    waivers = {said.check: said.waiver for said in checks.values() if said.waiver}
    statement = read(config.rootpath / next(iter(checks.values())).quality)
    return conformance(connector, {said.check: said.verdict for said in checks.values()}, waivers, statement)


def _overstated(checks: dict[str, _Said], result: Conformance) -> str:
    """The level that the package states, where that is higher than the one it has."""
    from genie_connect.contract import Quality

    order, stated = list(Quality), Quality(next(iter(checks.values())).stated)
    return stated.value if order.index(stated) > order.index(result.level) else ""


def _lines(connector: str, checks: dict[str, _Said], config: pytest.Config) -> Iterator[str]:
    from genie_connect_spec.kit.quality import QualityError, badge

    verdicts = [said.verdict for said in checks.values()]
    counts = ", ".join(f"{verdicts.count(each)} {each}" for each in sorted(set(verdicts), reverse=True))
    whole = _whole(checks)
    try:
        result = _conformance(connector, checks, config)
    except QualityError as error:
        yield f"{connector}: {counts}; {error}"
        return
    yield f"{connector}: {counts}" + (f"; {result.level.value}" if whole else "")
    if whole and (overstated := _overstated(checks, result)):
        yield f"{connector}: its connector_info states {overstated}, and it is {result.level.value}: correct that"
    for said in sorted(checks.values()):
        if said.waiver:
            unneeded = "" if said.verdict == "failed" else ", and is not needed: take it away"
            yield f"{connector}: {said.check} is waived{unneeded}: {said.waiver}"
        elif said.verdict == "failed" and said.force == "SHOULD":
            yield f"{connector}: {said.check} is advised and not so: {said.reason.splitlines()[0]}"
    if whole and result.missing:
        yield f"{connector}: for more it lacks {', '.join(result.missing)}"
    folder = config.getoption("conformance")
    if folder is not None and whole:
        path = Path(folder) / f"{connector}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result.data(), indent=2) + "\n", encoding="utf-8")
        path.with_suffix(".svg").write_text(badge(result.level), encoding="utf-8")
        yield f"wrote {path}"
