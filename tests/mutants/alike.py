"""Mutants that are left out, by rule: what no kit for strangers' connectors could or should tell from the original.

Each rule has its reason, and a run prints how many it leaves out.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Final

import attrs

TIMING: Final[Mapping[str, frozenset[str]]] = {
    "genie_connect_smtp": frozenset({"pace", "pace_rate", "pace_signals", "turns"})
}
"""Modules that decide when a message leaves, and neither whether nor how: their results are seconds.

``pace_signals`` reads for them what an answer says of the pace; what it says of the message is read elsewhere.
"""


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
    "it decides when a message leaves, and no rule says how fast a connector has to be": _in_timing,
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
