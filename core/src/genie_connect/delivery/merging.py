"""What has to be right about a copy before it may leave: every field has a value, and each value fits its place.

A recipient whose copy cannot be made is refused before anything is handed over, and the others go on: in a list of
thousands one empty cell is no reason to stop, and half a sentence ("Dear ,") or a literal ``{{ name }}`` is nothing to
send.
"""

from __future__ import annotations

from collections.abc import Iterable

from genie_connect.errors import Problem
from genie_connect.model.batch import Recipient
from genie_connect.model.frozen import FrozenMap
from genie_connect.model.headers import POST, one_click_problem
from genie_connect.model.merge import Template
from genie_connect.model.outcome import Outcome, Scope, State

REASON_MERGE_DATA = "merge_data"
REASON_HEADERS = "headers"


class MergeCheck:
    """The checks of one broadcast."""

    def __init__(self, template: Template) -> None:
        self.template = template
        self._asks_one_click = any(name.lower() == POST for name in template.headers)

    def merge_of(self, recipient: Recipient) -> FrozenMap[str] | None:
        """What the delivery carries: nothing, where the message has no fields."""
        return recipient.merge if self.template.active else None

    def refusal(self, recipient: Recipient) -> Outcome | None:
        """The outcome of a recipient whose copy cannot be made, else nothing."""
        if self.template.active and (problems := self.template.problems(recipient.merge, recipient.headers)):
            return _refused(recipient, REASON_MERGE_DATA, problems)
        if recipient.headers or self._asks_one_click:
            problem = one_click_problem(self._headers(recipient))
            if problem:
                return _refused(recipient, REASON_HEADERS, [problem.under("headers")])
        return None

    def _headers(self, recipient: Recipient) -> dict[str, str]:
        own = {name.lower(): value for name, value in recipient.headers.items()}
        if POST not in own and not self._asks_one_click:
            return {}
        rest = {name.lower(): name for name in self.template.headers if name.lower() not in own}
        return {lower: self.template.header_of(name, recipient.merge) for lower, name in rest.items()} | own


def _refused(recipient: Recipient, reason: str, problems: Iterable[Problem]) -> Outcome:
    return Outcome(
        recipient=recipient.address.email,
        state=State.REJECTED,
        stage="plan",
        reason=reason,
        hint="; ".join(str(problem) for problem in problems),
        scope=Scope.RECIPIENT,
    )
