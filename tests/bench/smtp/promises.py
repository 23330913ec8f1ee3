"""What a broadcast promises whatever its speed: each recipient accepted, and sent to once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from tests.bench.smtp import message as messages
from tests.bench.smtp.python_sink import hash_of
from tests.bench.smtp.sinks import CountedSink


def broken(states: Mapping[str, int], sink: CountedSink, count: int) -> list[str]:
    """The promises that were broken, in words."""
    found: list[str] = []
    known = {state: many for state, many in states.items() if many}
    if known != {"accepted": count}:
        found.append(f"outcomes {known}")
    if (taken := sink.settled_messages(count)) != count:
        found.append(f"the sink took {taken:,} messages")
    if sink.recipients() != _told_of(count):
        found.append("the sink was not told of each recipient once")
    return found


@cache
def _told_of(count: int) -> int:
    return sum(hash_of(messages.recipient(each).encode()) for each in range(count)) % (1 << 64)
