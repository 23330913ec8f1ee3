"""Which rows of a list are sent to: those with a recipient, with data for every field, and each mailbox once."""

from __future__ import annotations

from genie_connect.broadcast.row import Row
from genie_connect.delivery.merging import MergeCheck
from genie_connect.delivery.seen import Seen
from genie_connect.errors import Problem
from genie_connect.model.batch import Recipient
from genie_connect.model.merge import template_of
from genie_connect.model.message import Message


class Sieve:
    """Looks at the rows of one list, and counts what it leaves out."""

    def __init__(self, message: Message) -> None:
        """Raises ``ValidationError`` for a message with braces in it that are no merge field."""
        self.duplicates = 0
        self.broken = 0
        self._check = MergeCheck(template_of(message))
        self._seen = Seen()

    def take(self, row: Row) -> Recipient | tuple[Problem, ...] | None:
        """The recipient of a row, or what is wrong with it; ``None`` for one who was in the list before."""
        recipient, problems = row.recipient, row.problems
        if recipient is not None:
            refusal = self._check.refusal(recipient)
            if refusal is None:
                if self._seen.add(recipient.address.key):
                    return recipient
                self.duplicates += 1
                return None
            problems = (Problem("", refusal.hint or refusal.reason or "cannot be sent to"),)
        self.broken += 1
        return problems
