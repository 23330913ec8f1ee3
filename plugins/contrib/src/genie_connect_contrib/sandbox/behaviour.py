"""What the sandbox provider can be told to do wrong."""

from __future__ import annotations

from enum import StrEnum

import attrs

from genie_connect.errors import ValidationError


class Reply(StrEnum):
    """How an answer leaves."""

    NORMAL = "normal"
    HELD = "held"
    """not before ``SandboxProvider.release()``; so never, if that is never called"""
    CLOSED = "closed"
    """not at all: the connection is closed instead"""


class Refusal(StrEnum):
    """Why an address is refused."""

    HARD = "hard"
    """there is no such mailbox"""
    SOFT = "soft"
    """not now"""
    BLOCKED = "blocked"
    """nothing from this sender"""


@attrs.frozen(kw_only=True)
class Behaviour:
    """How requests are treated, the next ``times`` of them or all.

    ``status`` replaces the answer's status (with ``retry_after_s`` as Retry-After), ``delay_s`` makes it late, and
    ``reply`` holds or drops it. ``accept`` says whether the messages are kept nevertheless; by default they are,
    unless a status says otherwise. Only sends are treated so, or every request with ``everywhere``.
    """

    status: int | None = None
    retry_after_s: int | None = None
    delay_s: float = 0.0
    reply: Reply = Reply.NORMAL
    accept: bool | None = None
    times: int | None = None
    everywhere: bool = False

    def __attrs_post_init__(self) -> None:
        if self.status is not None and not 300 <= self.status <= 599:
            raise ValidationError.single("status", f"is {self.status}", "give one from 300 to 599")
        if self.delay_s < 0:
            raise ValidationError.single("delay_s", "is negative")
        if self.times is not None and self.times < 1:
            raise ValidationError.single("times", f"is {self.times}", "give 1 or more, or leave it out")

    @property
    def accepts(self) -> bool:
        """Whether messages are kept."""
        return self.status is None if self.accept is None else self.accept


NORMAL = Behaviour()
