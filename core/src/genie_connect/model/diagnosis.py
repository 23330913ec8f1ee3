"""What a connector test finds, step by step."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import attrs

from genie_connect.model.capability import CapabilityTable
from genie_connect.model.frozen import EMPTY, FrozenMap


class Status(StrEnum):
    """How a step ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@attrs.frozen(kw_only=True)
class Diagnosis:
    """Why something does not work and what to do: a stable ``code``, the cause, the evidence, the fixes.

    ``field`` names the setting to change, ``server_reply`` is what the other side said, cleaned.
    """

    code: str
    title: str
    cause: str
    evidence: str = ""
    fixes: tuple[str, ...] = ()
    field: str | None = None
    server_reply: str | None = None
    docs_url: str | None = None


NO_SENDER = Diagnosis(
    code="no_sender",
    title="There is no From",
    cause="the connection has no default From, so no test message can be sent",
    fixes=("give the connection a default_from",),
    field="default_from",
)
"""Why a test message cannot be sent that was asked for."""


@attrs.frozen(kw_only=True)
class Step:
    """One step of a connector test. ``ms`` is wall time in milliseconds.

    A step in which the other side says what it supports carries the effective ``capabilities``.
    """

    id: str
    title: str
    status: Status
    summary: str = ""
    facts: FrozenMap[Any] = EMPTY
    ms: float = 0.0
    diagnosis: Diagnosis | None = None
    capabilities: CapabilityTable | None = None
