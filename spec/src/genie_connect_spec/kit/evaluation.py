"""Running one check on one connector, and what came of it."""

from __future__ import annotations

from enum import StrEnum

import attrs

from genie_connect_spec.kit import guard as guards
from genie_connect_spec.kit.check import Check, NotApplicable, check_of
from genie_connect_spec.kit.rig import Rig
from genie_connect_spec.kit.running import run
from genie_connect_spec.kit.stalls import watched

TRIES = 3
"""So often a check is made that failed each time while the machine stood still."""


class Verdict(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"


@attrs.frozen(kw_only=True)
class Result:
    """What came of a check; ``reason`` says why it failed or says nothing."""

    check: str
    verdict: Verdict
    reason: str = ""
    error: BaseException | None = attrs.field(default=None, repr=False, eq=False)


def evaluate(check: Check, rig: Rig) -> Result:
    """Run a check, those it comes after first. What a connector raises is a failure, whatever it is."""
    known = rig.contract.results
    for earlier in check.after:
        result = known.get(earlier) or evaluate(check_of(earlier), rig)
        known[earlier] = result
        if result.verdict is not Verdict.PASSED:
            why = f"{earlier} says that first" if result.verdict is Verdict.FAILED else result.reason
            return Result(check=check.id, verdict=Verdict.NOT_APPLICABLE, reason=why)
    result = known[check.id] = _made(check, rig, TRIES)
    return result


def _made(check: Check, rig: Rig, tries: int) -> Result:
    with watched() as stalls:
        result = _evaluated(check, rig)
    again = result.verdict is Verdict.FAILED and stalls.any and tries > 1
    return _made(check, rig, tries - 1) if again else result


def _evaluated(check: Check, rig: Rig) -> Result:
    rig.reset()
    try:
        _run(check, rig)
    except NotApplicable as why:
        return Result(check=check.id, verdict=Verdict.NOT_APPLICABLE, reason=str(why))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # SystemExit of a connector included
        reason = str(error) or type(error).__name__
        if not isinstance(error, AssertionError):
            reason = f"the connector raised {type(error).__name__}: {reason}"
        if rig.faults:
            reason = f"the test class itself failed: {rig.faults[0]}\n{reason}"
        return Result(check=check.id, verdict=Verdict.FAILED, reason=reason, error=error)
    finally:
        rig.reset()
    return Result(check=check.id, verdict=Verdict.PASSED)


def _run(check: Check, rig: Rig) -> None:
    with guards.up(rig.guard):
        work = check.body(rig)
        if work is not None:
            run(work)
