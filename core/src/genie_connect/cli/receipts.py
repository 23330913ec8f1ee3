"""A receipt on the terminal: a row for each recipient, one for each attempt, and the exit code of both."""

from __future__ import annotations

from collections.abc import Iterable

from genie_connect.cli.exit_codes import ExitCode
from genie_connect.cli.terminal import Terminal
from genie_connect.model.codec import unstructure
from genie_connect.model.outcome import Outcome, State
from genie_connect.model.receipt import Attempt, Receipt


def show(terminal: Terminal, receipt: Receipt) -> ExitCode:
    """Print what is known; the code for that."""
    if terminal.json:
        terminal.document(unstructure(receipt))
    else:
        _show(terminal, receipt)
    # What a send that goes on has put off is no failure yet.
    states = {outcome.state for outcome in receipt.outcomes.values()}
    return _code(states - {State.DEFERRED} if receipt.pending else states)


def _show(terminal: Terminal, receipt: Receipt) -> None:
    if receipt.outcomes:
        _outcomes(terminal, receipt)
    if receipt.pending:
        terminal.say("pending: it is safe in the store, and a worker sends it (genie-connect worker)")
        terminal.say(f"hint: genie-connect receipt {receipt.id} shows what became of it")
    counts = ", ".join(f"{count} {state}" for state, count in receipt.outcomes.counts().items())
    known = ["pending"] * receipt.pending + [counts] * bool(counts) + [f"Message-ID {receipt.message_id}"]
    number = [] if receipt.id is None else [f"send {receipt.id}"]
    terminal.line(("\n" if receipt.outcomes else "") + "; ".join(known + number))


def _outcomes(terminal: Terminal, receipt: Receipt) -> None:
    outcomes = list(receipt.outcomes.values())
    rows = [
        (
            outcome.recipient,
            terminal.styled(outcome.state.value),
            outcome.connection or "",
            " ".join(str(code) for code in (outcome.code, outcome.enhanced) if code),
            _why(outcome),
        )
        for outcome in outcomes
    ]
    terminal.table(("recipient", "outcome", "connection", "code", "why"), rows)
    if _telling(receipt.attempts):
        terminal.line()
        terminal.table(
            ("attempt", "connection", "stage", "outcome", "recipients", "ms", "reason"),
            [
                (
                    number,
                    each.connection,
                    each.stage,
                    terminal.styled(each.outcome),
                    each.recipients,
                    each.ms,
                    _reason(each),
                )
                for number, each in enumerate(receipt.attempts, 1)
            ],
            right=("recipients", "ms"),
        )
    for hint in dict.fromkeys(outcome.hint for outcome in outcomes if outcome.hint and not _is_good(outcome)):
        terminal.say(f"hint: {hint}")


def _code(states: Iterable[State]) -> ExitCode:
    """Doubt weighs more than a refusal, and a refusal more than a suppression."""
    found = set(states)
    if State.UNKNOWN in found:
        return ExitCode.UNKNOWN
    if found & {State.DEFERRED, State.REJECTED}:
        return ExitCode.NOT_ACCEPTED
    return ExitCode.SUPPRESSED if found == {State.SUPPRESSED} else ExitCode.OK


def _telling(attempts: tuple[Attempt, ...]) -> bool:
    """Whether the attempts say something that the outcomes do not: that more than one was needed."""
    return len(attempts) > 1


def _is_good(outcome: Outcome) -> bool:
    return outcome.state in (State.ACCEPTED, State.SUPPRESSED)


def _why(outcome: Outcome) -> str:
    if outcome.state is State.SUPPRESSED:
        return outcome.hint or ""
    return outcome.text or outcome.reason or ""


def _reason(attempt: Attempt) -> str:
    return attempt.text or attempt.reason or ""
