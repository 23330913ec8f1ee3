"""One check of the kit, and all of them together."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Coroutine
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

if TYPE_CHECKING:
    from genie_connect_spec.kit.rig import Rig

_ID: Final = re.compile(r"GC-(DISC|SET|CAP|SEND|FAIL|SMTP|TEST|HOOK|LIFE|SAFE)-\d{3}\Z")
GROUPS: Final = (
    "discovery",
    "settings",
    "capabilities",
    "features",
    "sending",
    "failures",
    "dialogue",
    "replies",
    "batches",
    "interruptions",
    "encryption",
    "signing",
    "testing",
    "webhooks",
    "lifecycle",
    "safety",
)
"""The modules of the checks, in the order in which they run."""

Body: TypeAlias = "Callable[[Rig], Coroutine[Any, Any, None] | None]"


class Force(StrEnum):
    """Whether the contract demands it or advises it (RFC 2119)."""

    MUST = "MUST"
    SHOULD = "SHOULD"


class NotApplicable(Exception):
    """The check says nothing about this connector; the text says why."""


@attrs.frozen(kw_only=True)
class Check:
    """A check: the sentence of the contract that it looks at, why that matters, and since which version of the kit.

    ``after`` are the checks without which this one could only fail for their reason.
    """

    id: str = attrs.field(validator=attrs.validators.matches_re(_ID))
    name: str
    force: Force
    reason: str
    since: str
    after: tuple[str, ...]
    body: Body = attrs.field(repr=False)

    def __str__(self) -> str:
        return f"{self.id}-{self.name}"


_checks: dict[str, Check] = {}


def check(
    id: str,  # noqa: A002  # what it is called everywhere
    *,
    force: Force = Force.MUST,
    since: str = "0.1",
    after: tuple[str, ...] = (),
) -> Callable[[Body], Body]:
    """Make a check of a function or coroutine function; its docstring is the reason."""

    def add(body: Body) -> Body:
        if id in _checks:
            raise ValueError(f"two checks are called {id}")
        reason = inspect.cleandoc(body.__doc__ or "").replace("\n", " ")
        name = body.__name__.replace("_", "-")
        _checks[id] = Check(id=id, name=name, force=force, reason=reason, since=since, after=after, body=body)
        return body

    return add


def catalogue() -> tuple[Check, ...]:
    """Every check, group after group."""
    for group in GROUPS:
        import_module(f"genie_connect_spec.kit.checks.{group}")
    return tuple(_checks.values())


def check_of(id: str) -> Check:  # noqa: A002
    """The check of that id. Raises ``KeyError``."""
    catalogue()
    return _checks[id]


def needs(condition: object, why: str) -> None:
    """Go on only where the check says something. Raises ``NotApplicable``."""
    if not condition:
        raise NotApplicable(why)
