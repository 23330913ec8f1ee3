"""Mutants that are left out, by rule: what no kit for strangers' connectors could or should tell from the original.

Each rule has its reason, and a run prints how many it leaves out.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Final

import attrs

TIMING: Final[Mapping[str, frozenset[str]]] = {
    "genie_connect_smtp": frozenset({"pace", "pace_rate", "turns", "window"})
}
"""Modules that decide when a message leaves, and how many at once, and neither whether nor how."""
SECONDS: Final[Mapping[str, frozenset[str]]] = {"genie_connect_smtp.pace_signals": frozenset({"longest", "retry_s"})}
"""Variables, by module, that hold what the pace alone asks for: a wait in seconds."""
LIMITS: Final[Mapping[str, frozenset[str]]] = {"genie_connect_smtp.session": frozenset({"patience"})}
"""Functions, by module, that say whose time limit holds: how long silence is waited for, and nothing else."""


@attrs.frozen
class Place:
    """Where a mutant is: the expression or statement that is changed, what stands around it, and in which module."""

    kind: str
    node: ast.AST
    around: tuple[ast.AST, ...]
    module: str


def _in_timing(place: Place) -> bool:
    package, _, name = place.module.rpartition(".")
    return name in TIMING.get(package, ())


def _is_told_to_pace(place: Place) -> bool:
    """A statement that does nothing but tell the pace of an answer."""
    statement = next((each for each in reversed((*place.around, place.node)) if isinstance(each, ast.stmt)), None)
    return isinstance(statement, ast.Expr) and ast.unparse(statement).startswith("self._pace.")


def _is_seconds(place: Place) -> bool:
    """What a variable of seconds is set to."""
    names = SECONDS.get(place.module, frozenset())
    assigned = [
        target
        for each in (*place.around, place.node)
        if isinstance(each, ast.Assign)
        for target in each.targets
        if isinstance(target, ast.Name)
    ]
    return any(target.id in names for target in assigned)


def _is_time_limit(place: Place) -> bool:
    names = LIMITS.get(place.module, frozenset())
    return any(isinstance(each, ast.FunctionDef) and each.name in names for each in place.around)


def _is_told_to_ladder(place: Place) -> bool:
    """A statement, with its condition, that does nothing but have the ladder step down."""
    statements = [each for each in (*place.around, place.node) if isinstance(each, ast.If | ast.Expr)]
    told = [each.body if isinstance(each, ast.If) and not each.orelse else [each] for each in statements]
    return any(
        len(body) == 1 and isinstance(body[0], ast.Expr) and ast.unparse(body[0]).startswith("self.ladder.step_down(")
        for body in told
    )


def _in_thread_or_not(place: Place) -> bool:
    return place.kind == "branch" and "to_thread" in ast.unparse(place.node)


def _is_socket_option(place: Place) -> bool:
    calls = [ast.unparse(each) for each in (*place.around, place.node) if isinstance(each, ast.Call | ast.Expr)]
    return any(".setsockopt(" in call and "TCP_" in call for call in calls)


def _is_text_of_error(place: Place) -> bool:
    bases = [ast.unparse(base) for each in place.around if isinstance(each, ast.ClassDef) for base in each.bases]
    statement = next((each for each in reversed((*place.around, place.node)) if isinstance(each, ast.Expr)), None)
    return (
        any(base.endswith(("Error", "Exception")) for base in bases)
        and statement is not None
        and ast.unparse(statement).startswith("super().__init__(")
    )


def _is_no_all_the_same(place: Place) -> bool:
    function = next((each for each in reversed(place.around) if isinstance(each, ast.FunctionDef)), None)
    return (
        place.kind == "return"
        and isinstance(place.node, ast.Return)
        and isinstance(place.node.value, ast.Constant)
        and place.node.value.value is False
        and function is not None
        and function.returns is not None
        and ast.unparse(function.returns) == "bool"
    )


RULES: Final[Mapping[str, Callable[[Place], bool]]] = {
    "it decides when a message leaves, and how many at once, and no rule says how fast a connector is": _in_timing,
    "the seconds of a wait": _is_seconds,
    "it says how long silence is waited for": _is_time_limit,
    "it says how far ahead of the answers the next commands run": _is_told_to_ladder,
    "it tells the pace, which decides when a message leaves": _is_told_to_pace,
    "the same work is done, in a thread or not": _in_thread_or_not,
    "an option of TCP that hurries packets and changes none": _is_socket_option,
    "the text of an error that is caught here and shown to nobody": _is_text_of_error,
    "a function that answers yes or no says None for no": _is_no_all_the_same,
}
"""By reason: whether a mutant at that place is left out."""

_UNREAD = "aiosmtplib hands it to whoever has called connect, and nobody here looks at it"
ALIKE: Final[dict[str, str]] = {
    "genie_connect_smtp.guard:GuardedClient._create_connection:return:0": _UNREAD,
    "genie_connect_smtp.guard:GuardedClient._create_connection:constant:0": _UNREAD,
    "genie_connect_smtp.outcomes:OutcomeWriter._provider_id:constant:0": "what was read of a reply is read anew",
    "genie_connect_contrib.sandbox.connector:connector_send:constant:0": (
        "429 with a Retry-After means the same where it is not named: the table of statuses says so"
    ),
}
"""By name of the mutant."""
