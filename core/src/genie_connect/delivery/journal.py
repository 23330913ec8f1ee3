"""Where attempts are written down: before the first byte leaves, and again after the answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import attrs

from genie_connect.errors import GenieConnectError
from genie_connect.model.batch import Batch
from genie_connect.model.outcome import Outcome
from genie_connect.model.receipt import Attempt


@attrs.frozen(kw_only=True)
class Leaving:
    """A hand-over that is about to begin: ``batch`` holds exactly the recipients that are to leave.

    Under ``idempotency_key`` the provider recognises it for ``key_kept_s`` seconds; ``None`` where it honours no keys.
    """

    attempt_id: str
    connection: str
    idempotency_key: str
    key_kept_s: float | None = None
    started: datetime
    batch: Batch


class StepBack(GenieConnectError):
    """Nobody may leave, for a reason that lies with the journal. Raised by ``Journal.leaving``.

    ``hand_back`` says that the work is no longer ours (another worker has taken it over, or it was paused): the attempt
    loop ends at once and gives no outcome. Without it the recipients are ``deferred``: nothing was handed over.
    """

    code = "step_back"
    retryable = True

    def __init__(self, message: str, *, hint: str = "", hand_back: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.hand_back = hand_back


class Journal(Protocol):
    """What the attempt loop tells before and after each hand-over."""

    async def leaving(self, leaving: Leaving) -> None:
        """Return once it is safe on disk that these recipients may have left. Raises ``StepBack`` to hold them."""
        ...

    async def answered(self, attempt: Attempt, outcomes: Sequence[Outcome]) -> None:
        """Keep what came of it, in the order of the batch's recipients.

        An error here changes no outcome: it is logged, and after a crash the recipients are ``unknown``.
        """
        ...
