"""A broadcast gone through without sending or keeping anything."""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

import attrs

from genie_connect.broadcast.recipients import Source, rows
from genie_connect.broadcast.sieve import Sieve
from genie_connect.delivery.suppression import SuppressionGate
from genie_connect.errors import Problem
from genie_connect.model.batch import Recipient
from genie_connect.model.message import Message

MOST_SHOWN: Final = 100
"""So many broken rows are told one by one."""


@attrs.frozen(kw_only=True)
class Rehearsal:
    """What came of it: how many rows the list has, and who of them would be sent to.

    ``problems`` are those of the first broken rows, each with the number of its row. ``first`` would be sent to first.
    """

    rows: int
    recipients: int
    duplicates: int
    broken: int
    suppressed: int
    problems: tuple[Problem, ...]
    first: Recipient | None


async def rehearse(message: Message, source: Source, gate: SuppressionGate) -> Rehearsal:
    """Read the whole list, check each row as ``Host.broadcast`` does, and ask who is suppressed.

    Raises ``UnusableList`` for a file that cannot be read, and ``ValidationError`` for a message whose merge
    fields cannot be read.
    """
    sieve = Sieve(message)
    count = recipients = suppressed = told_of = 0
    problems: list[Problem] = []
    first: Recipient | None = None
    async with aclosing(rows(source)) as batches:
        async for batch in batches:
            good: list[Recipient] = []
            for row in batch:
                taken = sieve.take(row)
                if isinstance(taken, Recipient):
                    good.append(taken)
                elif taken is not None and told_of < MOST_SHOWN:
                    told_of += 1
                    problems.extend(problem.under(f"row {row.number}") for problem in taken)
            count += len(batch)
            recipients += len(good)
            if good:
                clearance = await gate.clear([each.address for each in good], message.purpose)
                suppressed += len(clearance.suppressed)
                first = first or good[0]
    return Rehearsal(
        rows=count,
        recipients=recipients,
        duplicates=sieve.duplicates,
        broken=sieve.broken,
        suppressed=suppressed,
        problems=tuple(problems),
        first=first,
    )
